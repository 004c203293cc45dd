package chat

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"

	"github.com/danielgtaylor/huma/v2"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// This file is the operations that only the web client and the Flutter client call (contract 0, 3.4): the same
// features under other routes, with lists that say how long they are.

func (s *Service) webRoutes() []api.Row {
	web := api.For(api.DialectWeb)
	return []api.Row{
		api.Op("GET /conversations", "", api.RoleUser, api.TierRead, s.Inbox, api.Doc("My conversations, the liveliest first: all of them in a list, or with page or limit a page in the form of the web client.")),
		api.Op("GET /conversations/{conversationId}", "", api.RoleUser, api.TierRead, s.Detail, api.Doc("One conversation, its people readable in the form of the web client too.")),
		api.Op("POST /conversations", "", api.RoleUser, api.TierWrite, s.Open, web,
			api.Alias("participants", "participantIds"), api.Doc("Open a direct conversation or create a group.")),
		api.Op("POST /conversations/direct/{userId}", "", api.RoleUser, api.TierWrite, s.Direct, api.Doc("Open the conversation with one person.")),
		api.Op("GET /conversations/{conversationId}/messages", "", api.RoleUser, api.TierRead, s.Page, web, api.Doc("A page of history, newest first.")),
		api.Op("POST /conversations/{conversationId}/messages", "", api.RoleUser, api.TierMessage, s.SendTo, web,
			api.Alias("replyToId", "replyTo"), api.Doc("Send a message; idempotent by clientId.")),
		api.Op("GET /conversations/{conversationId}/messages/search", "", api.RoleUser, api.TierSearch, s.FindIn, web, api.Doc("Search one conversation.")),
		api.Op("PATCH /conversations/{conversationId}/messages/{messageId}", "", api.RoleUser, api.TierWrite, s.EditIn, web, api.Doc("Change the text of one's own message.")),
		api.Op("DELETE /conversations/{conversationId}/messages/{messageId}", "", api.RoleUser, api.TierWrite, s.DeleteIn, web, api.Doc("Delete one's own message for everyone.")),
		api.Op("POST /conversations/{conversationId}/messages/{messageId}/read", "", api.RoleUser, api.TierWrite, s.ReadIn, api.Doc("Mark everything up to a message as read.")),
	}
}

// ConversationList is all conversations of somebody as an array, which the phone app reads, or one page of them, with
// what the web client needs to know to ask for the next.
type ConversationList struct {
	all  []*Conversation
	page *ConversationPage
}

// ConversationPage is a page of conversations; Items repeats Conversations under another name.
type ConversationPage struct {
	Conversations []*WebConversation `json:"conversations" nullable:"false"`
	Items         []*WebConversation `json:"items" nullable:"false"`
	Total         int                `json:"total"`
	HasMore       bool               `json:"hasMore"`
}

// MarshalJSON is the list-shape rule of contract 0.
func (l ConversationList) MarshalJSON() ([]byte, error) {
	if l.page != nil {
		return json.Marshal(l.page)
	}
	return json.Marshal(l.all)
}

// Schema describes both shapes.
func (ConversationList) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{schemaOf[[]*Conversation](r), schemaOf[ConversationPage](r)}}
}

// WrappedPage is a page of conversations for the Flutter client.
type WrappedPage struct {
	Success bool             `json:"success"`
	Data    ConversationPage `json:"data"`
}

// View wraps the list for the Flutter client.
func (l ConversationList) View(d api.Dialect) any {
	if l.page == nil {
		return WrappedPage{true, pageOf(l.all, len(l.all), false, d)}
	}
	return WrappedPage{true, pageOf(l.all, l.page.Total, l.page.HasMore, d)}
}

func pageOf(list []*Conversation, total int, more bool, d api.Dialect) ConversationPage {
	p := ConversationPage{Conversations: make([]*WebConversation, 0, len(list)), Total: total, HasMore: more}
	for _, c := range list {
		p.Conversations = append(p.Conversations, c.own(d))
	}
	p.Items = p.Conversations
	return p
}

// Inbox lists the caller's conversations in the shape that the query asks for.
func (s *Service) Inbox(ctx context.Context, by api.Caller, in *ListInput) (out ConversationList, err error) {
	if out.all, err = s.List(ctx, by, in); err != nil || in.Page == 0 && in.Limit == 0 {
		return out, err
	}
	total := 0
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow(`SELECT count(*) FROM member m JOIN conversation c ON c.id = m.conversation_id
			WHERE m.user_id = ? AND m.left_seq IS NULL AND m.is_archived = ? AND m.hidden_n < c.last_n AND c.deleted_at IS NULL`, by.UserID, in.Archived).Scan(&total)
	})
	if err != nil {
		return out, fmt.Errorf("count conversations: %w", err)
	}
	limit, offset := in.span()
	page := pageOf(out.all, total, offset+min(limit, len(out.all)) < total, api.DialectWeb)
	out.page = &page
	return out, nil
}

// ConversationDetail is a conversation for whoever asks for it by its id: the phone app does not, so people can be read in
// either way.
type ConversationDetail struct {
	Conversation
	Participants []ParticipantDetail `json:"participants" nullable:"false"`
}

// ParticipantDetail is a participant that is also a person of the web client.
type ParticipantDetail struct {
	Participant
	WebUser
}

// Detail returns one conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Detail(ctx context.Context, by api.Caller, in *ConversationInput) (*ConversationDetail, error) {
	c, err := s.Conversation(ctx, by, in)
	if err != nil {
		return nil, err
	}
	d := &ConversationDetail{*c, make([]ParticipantDetail, 0, len(c.Participants))}
	for _, p := range c.Participants {
		d.Participants = append(d.Participants, ParticipantDetail{p, webUser(p.User)})
	}
	return d, nil
}

// OpenInput describes a conversation to open. Without a type it is direct with one person and no name, and a
// group otherwise.
type OpenInput struct {
	Body struct {
		ParticipantIDs stringList `json:"participantIds"`
		Type           *string    `json:"type,omitempty" enum:"direct,single,group"`
		Name           *string    `json:"name,omitempty" doc:"of a group, which may have none"`
		Description    *string    `json:"description,omitempty"`
		Avatar         *string    `json:"avatar,omitempty"`
	}
}

// Open opens the conversation with one person, or creates a group. Codes: those of Single and of Group.
func (s *Service) Open(ctx context.Context, by api.Caller, in *OpenInput) (*Conversation, error) {
	b := &in.Body
	others := slices.DeleteFunc(distinct(b.ParticipantIDs), func(id string) bool { return id == by.UserID })
	direct := len(others) <= 1 && b.Name == nil
	if b.Type != nil {
		direct = *b.Type != "group"
	}
	switch {
	case !direct:
		return s.group(ctx, by, newConversation{name: b.Name, description: b.Description, avatar: b.Avatar, people: others})
	case len(others) == 0 && len(b.ParticipantIDs) > 0:
		return nil, api.E("SELF_CONVERSATION")
	case len(others) != 1:
		return nil, api.Invalid("participantIds", "expected one person for a direct conversation")
	}
	single := &SingleInput{}
	single.Body.RecipientID = others[0]
	return s.Single(ctx, by, single)
}

// DirectInput names the other person.
type DirectInput struct {
	UserID string `path:"userId"`
}

// OpenedDirect is the answer to it, in the form of the Flutter client, the only one to ask.
type OpenedDirect struct {
	Success bool             `json:"success"`
	Data    *WebConversation `json:"data"`
}

// Direct opens the conversation with one person. Codes: those of Single.
func (s *Service) Direct(ctx context.Context, by api.Caller, in *DirectInput) (OpenedDirect, error) {
	single := &SingleInput{}
	single.Body.RecipientID = in.UserID
	c, err := s.Single(ctx, by, single)
	if err != nil {
		return OpenedDirect{}, err
	}
	return OpenedDirect{true, c.own(api.DialectFlutter)}, nil
}

// PageInput asks for a page of a conversation: the newest, those before a message, or the next ones after one.
type PageInput struct {
	ConversationID string `path:"conversationId"`
	Page           int    `query:"page" minimum:"0" maximum:"1000" doc:"pages are counted from 1, from where before says"`
	Limit          int    `query:"limit" minimum:"1" default:"50" doc:"at most 100 are given"`
	Before         string `query:"before" doc:"id of a message: the page ends before it"`
	After          string `query:"after" doc:"id of a message: the page begins after it"`
}

// MessagePage is a page of messages, newest first. Total counts the places of the caller's history, those of deleted
// messages too. NextCursor is what to send as before, or as after, to go on in the same direction.
type MessagePage struct {
	Messages   []*Message `json:"messages" nullable:"false"`
	Total      int64      `json:"total"`
	HasMore    bool       `json:"hasMore"`
	NextCursor *string    `json:"nextCursor,omitempty"`
}

// WebPage is a MessagePage as the web client and the Flutter client read it.
type WebPage struct {
	Messages   []*WebMessage `json:"messages" nullable:"false"`
	Total      int64         `json:"total"`
	HasMore    bool          `json:"hasMore"`
	NextCursor *string       `json:"nextCursor,omitempty"`
}

// View is the page as the web client and the Flutter client read it.
func (p *MessagePage) View(d api.Dialect) any {
	w := WebPage{Messages: make([]*WebMessage, 0, len(p.Messages)), Total: p.Total, HasMore: p.HasMore, NextCursor: p.NextCursor}
	for _, m := range p.Messages {
		w.Messages = append(w.Messages, m.web(d))
	}
	return w
}

// Page reads a page of a conversation. Codes: CONVERSATION_NOT_FOUND, MESSAGE_NOT_FOUND for a before or after that is
// not of this conversation.
func (s *Service) Page(ctx context.Context, by api.Caller, in *PageInput) (*MessagePage, error) {
	out := &MessagePage{Messages: []*Message{}}
	limit := min(in.Limit, pageMax)
	err := s.db.Read(ctx, func(v storage.View) error {
		at, err := memberOf(v, by, in.ConversationID)
		if err != nil {
			return err
		}
		out.Total = max(0, at.lastN-at.floor)
		part := stretch{before: at.lastN + 1, limit: limit + 1, skip: limit * max(0, in.Page-1), upwards: in.After != "" && in.Before == ""}
		for _, bound := range []struct {
			id string
			n  *int64
		}{{in.Before, &part.before}, {in.After, &part.after}} {
			if bound.id == "" {
				continue
			}
			if *bound.n, err = edge(v, in.ConversationID, bound.id, bound.n == &part.after); err != nil {
				return err
			}
		}
		list, err := history(v, in.ConversationID, at, part)
		if err != nil {
			return err
		}
		if out.HasMore = len(list) > limit; out.HasMore && part.upwards {
			list = list[1:]
		} else if out.HasMore {
			list = list[:limit]
		}
		if out.Messages = list; out.HasMore {
			out.NextCursor = &list[len(list)-1].ID
			if part.upwards {
				out.NextCursor = &list[0].ID
			}
		}
		return nil
	})
	return out, err
}

// SendToInput is a new message for the conversation in the path.
type SendToInput struct {
	ConversationID string `path:"conversationId"`
	Body           struct {
		Type        *string         `json:"type,omitempty" enum:"text,image,video,audio,file,sticker,location,contact" doc:"text, the default"`
		Content     *string         `json:"content,omitempty"`
		Attachments []Attachment    `json:"attachments,omitempty"`
		ReplyTo     *string         `json:"replyTo,omitempty"`
		ClientID    *string         `json:"clientId,omitempty" maxLength:"128"`
		Metadata    json.RawMessage `json:"metadata,omitempty"`
		IsForwarded *bool           `json:"isForwarded,omitempty" doc:"says nothing by itself"`

		ForwardedFrom *string `json:"forwardedFrom,omitempty" doc:"id of a message one can see: what is sent is a copy of it"`
	}
}

// SendTo stores a message. Codes: those of Send.
func (s *Service) SendTo(ctx context.Context, by api.Caller, in *SendToInput) (*Message, error) {
	send := &SendInput{}
	b, from := &send.Body, &in.Body
	b.ConversationID, b.Type, b.Content, b.Attachments = in.ConversationID, from.Type, from.Content, from.Attachments
	b.ReplyTo, b.ClientID, b.Metadata, b.ForwardedFrom = from.ReplyTo, from.ClientID, from.Metadata, from.ForwardedFrom
	return s.Send(ctx, by, send)
}

// MessageInInput names a message by its conversation and its id.
type MessageInInput struct {
	ConversationID string `path:"conversationId"`
	MessageID      string `path:"messageId"`
}

// within checks that a message is of the conversation it is called by; a message never moves. Whether the caller may
// see it is the operation's to check.
func (s *Service) within(ctx context.Context, conversationID, messageID string) error {
	return s.db.Read(ctx, func(v storage.View) error {
		_, err := place(v, conversationID, messageID)
		return err
	})
}

// EditInInput replaces the text of a message.
type EditInInput struct {
	ConversationID string `path:"conversationId"`
	MessageID      string `path:"messageId"`
	Body           struct {
		Content string `json:"content"`
	}
}

// EditIn is Edit for a message of the conversation named.
func (s *Service) EditIn(ctx context.Context, by api.Caller, in *EditInInput) (*Message, error) {
	if err := s.within(ctx, in.ConversationID, in.MessageID); err != nil {
		return nil, err
	}
	edit := &EditInput{MessageID: in.MessageID}
	edit.Body.Content = in.Body.Content
	return s.Edit(ctx, by, edit)
}

// DeleteIn is Delete for a message of the conversation named.
func (s *Service) DeleteIn(ctx context.Context, by api.Caller, in *MessageInInput) (*Message, error) {
	if err := s.within(ctx, in.ConversationID, in.MessageID); err != nil {
		return nil, err
	}
	return s.Delete(ctx, by, &DeleteInput{MessageID: in.MessageID, ForEveryone: true})
}

// ReadIn is ReadMessage for a message of the conversation named.
func (s *Service) ReadIn(ctx context.Context, by api.Caller, in *MessageInInput) (Done, error) {
	if err := s.within(ctx, in.ConversationID, in.MessageID); err != nil {
		return Done{}, err
	}
	return s.ReadMessage(ctx, by, &MessageInput{MessageID: in.MessageID})
}

// FindInInput is a search of one conversation.
type FindInInput struct {
	ConversationID string `path:"conversationId"`
	Q              string `query:"q" maxLength:"256" required:"true"`
	Page           int    `query:"page" minimum:"0" maximum:"100"`
	Limit          int    `query:"limit" minimum:"1" default:"50" doc:"at most 100 are given"`
}

// FindIn searches one conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) FindIn(ctx context.Context, by api.Caller, in *FindInInput) (*MessagePage, error) {
	limit := min(in.Limit, pageMax)
	skip := limit * max(0, in.Page-1)
	found, err := s.Find(ctx, by, &FindInput{Q: in.Q, ConversationID: in.ConversationID, Limit: limit, Skip: skip})
	if err != nil {
		return nil, err
	}
	return &MessagePage{Messages: found.Messages, Total: int64(found.Total), HasMore: found.HasMore}, nil
}

func schemaOf[T any](r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}
