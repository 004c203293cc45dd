package chat

import (
	"encoding/json"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
)

// This file is the forms of conversations, messages and events that the web client and the Flutter client read
// (contract 4.6, 3.4). They are made of the form of the phone app, which all other code speaks, where a value leaves.

// WebUser is a person as the web client reads one. Nobody's e-mail address is told.
type WebUser struct {
	MongoID     string  `json:"_id"`
	ID          string  `json:"id"`
	Email       string  `json:"email"`
	Username    string  `json:"username"`
	DisplayName string  `json:"displayName"`
	Avatar      *string `json:"avatar"`
	IsVerified  bool    `json:"isVerified"`
	Status      string  `json:"status"`
	LastSeenAt  *string `json:"lastSeenAt,omitempty"`
}

func webUser(p account.Public) WebUser {
	return WebUser{
		MongoID: p.ID, ID: p.ID, Username: p.Username, DisplayName: p.DisplayName, Avatar: p.Avatar, IsVerified: p.IsVerified,
		Status: webStatus(p.Status), LastSeenAt: p.LastSeen,
	}
}

// webStatus is one of the three that the web client knows.
func webStatus(status string) string {
	switch status {
	case "":
		return "offline"
	case "busy":
		return "away"
	}
	return status
}

// WebMessage is a message as the web client and the Flutter client read it. ReplyTo is a WebMessage for the one and an
// id for the other; the one knows four types of message, the other all.
type WebMessage struct {
	MongoID        string          `json:"_id"`
	ID             string          `json:"id"`
	ConversationID string          `json:"conversationId"`
	N              int64           `json:"n"`
	SenderID       string          `json:"senderId"`
	Sender         WebUser         `json:"sender"`
	Type           string          `json:"type"`
	Content        string          `json:"content"`
	ClientID       *string         `json:"clientId,omitempty"`
	Attachments    []WebAttachment `json:"attachments" nullable:"false"`
	Reactions      []WebReaction   `json:"reactions" nullable:"false"`
	ReadBy         []string        `json:"readBy" nullable:"false"` // begins with the sender: two are a second tick
	ReplyToID      *string         `json:"replyToId,omitempty"`
	ReplyTo        any             `json:"replyTo,omitempty"`
	IsEdited       bool            `json:"isEdited"`
	IsDeleted      bool            `json:"isDeleted"`
	DeletedAt      string          `json:"deletedAt,omitempty"`
	IsForwarded    bool            `json:"isForwarded"`
	ForwardedFrom  *string         `json:"forwardedFrom,omitempty"`
	Mentions       []string        `json:"mentions" nullable:"false"`
	MentionsAll    bool            `json:"mentionsAll,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	CreatedAt      string          `json:"createdAt"`
	UpdatedAt      string          `json:"updatedAt"`
}

// WebAttachment is an attachment as these clients read it.
type WebAttachment struct {
	ID           string  `json:"id"`
	Name         string  `json:"name"`
	URL          string  `json:"url"`
	Type         string  `json:"type"`
	Size         int64   `json:"size"`
	MimeType     string  `json:"mimeType,omitempty"`
	ThumbnailURL *string `json:"thumbnailUrl,omitempty"`
	Width        *int64  `json:"width,omitempty"`
	Height       *int64  `json:"height,omitempty"`
	Duration     *int64  `json:"duration,omitempty"` // seconds, whole
	State        string  `json:"state,omitempty"`    // processing, refused
}

// WebReaction is who reacted with one emoji.
type WebReaction struct {
	Emoji   string   `json:"emoji"`
	UserIDs []string `json:"userIds" nullable:"false"`
	Count   int      `json:"count"`
}

// webTypes are the types of message that the web client knows otherwise than by their own name.
var webTypes = map[string]string{
	"sticker": "image", "video": "file", "audio": "file", "call": "system", "huddle": "system",
	"poll": "text", "location": "text", "contact": "text",
}

// View is the message as the web client and the Flutter client read it.
func (m *Message) View(d api.Dialect) any { return m.web(d) }

func (m *Message) web(d api.Dialect) *WebMessage {
	w := &WebMessage{
		MongoID: m.ID, ID: m.ID, ConversationID: m.ConversationID, N: m.N, SenderID: m.Sender.ID, Sender: webUser(m.Sender), Type: m.Type,
		ClientID: m.ClientID, Attachments: webAttachments(m.Attachments), Reactions: webReactions(m.Reactions), ReadBy: []string{m.Sender.ID},
		ReplyToID: m.ReplyToID, IsEdited: m.IsEdited, IsDeleted: m.IsDeleted, DeletedAt: m.DeletedAt, IsForwarded: m.IsForwarded,
		ForwardedFrom: m.ForwardedFrom, Mentions: m.Mentions, MentionsAll: m.MentionsAll, Metadata: m.Metadata, CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
	}
	if m.Content != nil {
		w.Content = *m.Content
	}
	for _, r := range m.ReadReceipts {
		w.ReadBy = append(w.ReadBy, r.UserID)
	}
	switch {
	case d == api.DialectFlutter:
		if m.ReplyToID != nil {
			w.ReplyTo = *m.ReplyToID
		}
		return w
	case m.ReplyTo != nil:
		w.ReplyTo = m.ReplyTo.web(d)
	}
	if known, ok := webTypes[w.Type]; ok {
		w.Type = known
	}
	return w
}

func webAttachments(list []Attachment) []WebAttachment {
	out := []WebAttachment{}
	for _, a := range list {
		w := WebAttachment{ID: a.URL, URL: a.URL, Type: a.Type, ThumbnailURL: a.ThumbnailURL, Width: a.Width, Height: a.Height, State: a.State}
		if a.FileName != nil {
			w.Name = *a.FileName
		}
		if a.FileSize != nil {
			w.Size = *a.FileSize
		}
		if a.MimeType != nil {
			w.MimeType = *a.MimeType
		}
		if a.Duration != nil && *a.Duration > 0 {
			seconds := int64(*a.Duration)
			w.Duration = &seconds
		}
		out = append(out, w)
	}
	return out
}

// webReactions gathers reactions by emoji, in the order in which each emoji came first.
func webReactions(list []Reaction) []WebReaction {
	out, at := []WebReaction{}, map[string]int{}
	for _, r := range list {
		i, ok := at[r.Emoji]
		if !ok {
			i = len(out)
			at[r.Emoji], out = i, append(out, WebReaction{Emoji: r.Emoji})
		}
		out[i].UserIDs = append(out[i].UserIDs, r.UserID)
		out[i].Count++
	}
	return out
}

// WebConversation is a conversation as the web client and the Flutter client read it. A single one is called direct.
type WebConversation struct {
	MongoID           string           `json:"_id"`
	ID                string           `json:"id"`
	Type              string           `json:"type"`
	Name              *string          `json:"name"`
	Description       *string          `json:"description"`
	Avatar            *string          `json:"avatar"`
	AvatarURL         *string          `json:"avatarUrl"`
	Participants      []WebParticipant `json:"participants" nullable:"false"`
	Admins            []string         `json:"admins" nullable:"false"`
	CreatedBy         string           `json:"createdBy"`
	LastMessage       *WebMessage      `json:"lastMessage,omitempty"`
	UnreadCount       *int64           `json:"unreadCount,omitempty"` // this, the next and the switches: absent where they are nobody's
	UnreadMentions    *int64           `json:"unreadMentions,omitempty"`
	IsMuted           *bool            `json:"isMuted,omitempty"`
	IsPinned          *bool            `json:"isPinned,omitempty"`
	IsArchived        *bool            `json:"isArchived,omitempty"`
	DisappearingTimer int64            `json:"disappearingMessagesTimer"`
	CreatedAt         string           `json:"createdAt"`
	UpdatedAt         string           `json:"updatedAt"` // the last message counts: the web client sorts by it
}

// WebParticipant is a member of a conversation, for both clients.
type WebParticipant struct {
	WebUser
	UserID      string  `json:"userId"`
	AvatarURL   *string `json:"avatarUrl"`
	Role        string  `json:"role"`
	JoinedAt    string  `json:"joinedAt"`
	UnreadCount int64   `json:"unreadCount"`
	IsMuted     bool    `json:"isMuted"`
	IsPinned    bool    `json:"isPinned"`
}

// View is the conversation as the web client and the Flutter client read it.
func (c *Conversation) View(d api.Dialect) any { return c.own(d) }

// own is the conversation with what is the viewer's own.
func (c *Conversation) own(d api.Dialect) *WebConversation {
	w := c.web(d)
	muted, pinned := false, false
	for _, p := range c.Participants { // only the viewer's own entry can have one set
		muted, pinned = muted || p.IsMuted, pinned || p.IsPinned
	}
	w.UnreadCount, w.UnreadMentions, w.IsMuted, w.IsPinned, w.IsArchived = &c.UnreadCount, &c.UnreadMentions, &muted, &pinned, &c.IsArchived
	return w
}

func (c *Conversation) web(d api.Dialect) *WebConversation {
	w := &WebConversation{
		MongoID: c.ID, ID: c.ID, Type: c.Type, Name: c.Name, Description: c.Description, Avatar: c.Avatar, AvatarURL: c.Avatar,
		Participants: make([]WebParticipant, 0, len(c.Participants)), Admins: c.Admins, CreatedBy: c.CreatedBy,
		DisappearingTimer: c.DisappearingTimer, CreatedAt: c.CreatedAt, UpdatedAt: max(c.UpdatedAt, c.LastMessageAt),
	}
	if w.Type == "single" {
		w.Type = "direct"
	}
	for _, p := range c.Participants {
		w.Participants = append(w.Participants, WebParticipant{
			WebUser: webUser(p.User), UserID: p.User.ID, AvatarURL: p.User.Avatar, Role: p.Role, JoinedAt: p.JoinedAt,
			UnreadCount: p.UnreadCount, IsMuted: p.IsMuted, IsPinned: p.IsPinned,
		})
	}
	if c.LastMessage != nil {
		w.LastMessage = c.LastMessage.web(d)
	}
	return w
}

// ConversationChange is the payload of conversation:updated.
type ConversationChange struct{ *Conversation }

// View leaves out what differs from member to member: the web client lays the change over what it has.
func (c ConversationChange) View(d api.Dialect) any { return c.web(d) }

// View is the edited message; the web client knows it by its id.
func (e Edited) View(d api.Dialect) any { return e.Message.web(d) }

// View is what the web client reads of a deletion.
func (d Deletion) View(api.Dialect) any {
	return struct {
		MessageID      string `json:"messageId"`
		ConversationID string `json:"conversationId"`
	}{d.MessageID, d.ConversationID}
}

// View is what the web client reads of a reading.
func (r Reading) View(api.Dialect) any {
	return struct {
		ConversationID string `json:"conversationId"`
		UserID         string `json:"userId"`
		MessageID      string `json:"messageId"`
		ReadAt         string `json:"readAt"`
	}{r.ConversationID, r.UserID, r.MessageID, r.ReadAt}
}

// View is what the web client reads of somebody's typing.
func (t Typing) View(api.Dialect) any {
	return struct {
		ConversationID string `json:"conversationId"`
		UserID         string `json:"userId"`
		IsTyping       bool   `json:"isTyping"`
	}{t.ConversationID, t.UserID, t.typing}
}

// View is the conversation, when people came: it is new to them, and the web client passes over one that it has. Who
// leaves it is not told of at once.
func (c ParticipantsChange) View(d api.Dialect) any {
	if c.room == nil {
		return nil
	}
	return c.room.own(d)
}

// View is nothing: the web client has no event for it.
func (ConversationGone) View(api.Dialect) any { return nil }
