package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

// Conversation is a conversation on the wire (contract 2.3). In events, which all members share, the counters, the
// participants' own switches and how far they have read are those of nobody.
type Conversation struct {
	MongoID           string        `json:"_id"`
	ID                string        `json:"id"`
	Type              string        `json:"type"`
	Name              *string       `json:"name"`
	Description       *string       `json:"description"`
	Avatar            *string       `json:"avatar"`
	Participants      []Participant `json:"participants"`
	Admins            []string      `json:"admins"`
	CreatedBy         string        `json:"createdBy"`
	LastMessage       *Message      `json:"lastMessage,omitempty"`
	LastMessageAt     string        `json:"lastMessageAt"`
	LastN             int64         `json:"lastN"`
	UnreadCount       int64         `json:"unreadCount"`
	UnreadMentions    int64         `json:"unreadMentions"` // how many of them call the viewer, 1000 at most
	IsArchived        bool          `json:"isArchived"`
	IsLocked          bool          `json:"isLocked"`
	PinnedMessages    []any         `json:"pinnedMessages"` // messages; in events ids, of those that all members can see
	PinsUpdatedAt     string        `json:"pinnedMessagesUpdatedAt,omitempty"`
	DisappearingTimer int64         `json:"disappearingMessagesTimer"`
	DisappearingAt    string        `json:"disappearingMessagesUpdatedAt,omitempty"`
	DisappearingBy    *string       `json:"disappearingMessagesUpdatedBy,omitempty"`
	CreatedAt         string        `json:"createdAt"`
	UpdatedAt         string        `json:"updatedAt"`
}

// Participant is a member of a conversation; the switches are shown to the member alone.
type Participant struct {
	User              account.Public `json:"userId"`
	Role              string         `json:"role"`
	JoinedAt          string         `json:"joinedAt"`
	LastReadMessageID *string        `json:"lastReadMessageId"`
	UnreadCount       int64          `json:"unreadCount"`
	IsMuted           bool           `json:"isMuted"`
	MutedUntil        *string        `json:"mutedUntil,omitempty"`
	IsPinned          bool           `json:"isPinned"`
}

// The limits of a group.
const (
	nameMax        = 100
	descriptionMax = 1000
	adminsMax      = 10
)

// SingleInput names the other person.
type SingleInput struct {
	Body struct {
		RecipientID string `json:"recipientId"`
	}
}

// Single opens the conversation of two people, the same one for both. Codes: SELF_CONVERSATION, USER_NOT_FOUND,
// BLOCKED.
func (s *Service) Single(ctx context.Context, by api.Caller, in *SingleInput) (*Conversation, error) {
	other := in.Body.RecipientID
	if other == by.UserID {
		return nil, api.E("SELF_CONVERSATION")
	}
	pair := min(by.UserID, other) + ":" + max(by.UserID, other)
	var c *Conversation
	err := s.db.Write(ctx, "conversation.single", func(tx *storage.Tx) error {
		if err := reachable(tx, by, []string{other}); err != nil {
			return err
		}
		var id string
		err := tx.QueryRow("SELECT id FROM conversation WHERE pair = ?", pair).Scan(&id)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			if id, err = s.create(tx, by, newConversation{kind: "single", pair: &pair, people: []string{by.UserID, other}}); err != nil {
				return err
			}
		case err != nil:
			return fmt.Errorf("find conversation: %w", err)
		default:
			if err := s.keep(tx, by, id, "UPDATE member SET hidden_n = -1 WHERE user_id = ? AND conversation_id = ? AND left_seq IS NULL AND hidden_n >= 0", by.UserID, id); err != nil {
				return err
			}
		}
		c, err = mine(tx, by, id)
		return err
	})
	return c, err
}

// GroupInput describes a new group.
type GroupInput struct {
	Body struct {
		Name           string     `json:"name"`
		ParticipantIDs stringList `json:"participantIds"`
		Description    *string    `json:"description,omitempty"`
		Avatar         *string    `json:"avatar,omitempty"`
	}
}

// Group creates a group of the caller, who becomes its admin, and the people named. Codes: VALIDATION,
// USER_NOT_FOUND, BLOCKED, GROUP_FULL.
func (s *Service) Group(ctx context.Context, by api.Caller, in *GroupInput) (*Conversation, error) {
	b := &in.Body
	return s.group(ctx, by, newConversation{name: &b.Name, description: b.Description, avatar: b.Avatar, people: b.ParticipantIDs})
}

// group creates a group of the caller and the people of n.
func (s *Service) group(ctx context.Context, by api.Caller, n newConversation) (*Conversation, error) {
	if err := checkNames(n.name, n.description); err != nil {
		return nil, err
	}
	people := distinct(append([]string{by.UserID}, n.people...))
	if most := s.config.Get().GroupMembersMax; len(people) > most {
		return nil, api.E("GROUP_FULL", "max", most)
	}
	var c *Conversation
	err := s.db.Write(ctx, "conversation.group", func(tx *storage.Tx) error {
		if err := reachable(tx, by, people[1:]); err != nil {
			return err
		}
		n := n
		n.kind, n.people = "group", people
		id, err := s.create(tx, by, n)
		if err != nil {
			return err
		}
		c, err = mine(tx, by, id)
		return err
	})
	return c, err
}

// checkNames trims and checks what a group is called.
func checkNames(name, description *string) error {
	if name != nil {
		if *name = strings.TrimSpace(strings.ToValidUTF8(*name, "\uFFFD")); *name == "" || utf8.RuneCountInString(*name) > nameMax {
			return api.Invalid("name", fmt.Sprintf("expected 1 to %d characters", nameMax))
		}
	}
	if description != nil && utf8.RuneCountInString(*description) > descriptionMax {
		return api.Invalid("description", fmt.Sprintf("expected at most %d characters", descriptionMax))
	}
	return nil
}

type newConversation struct {
	kind                            string
	pair, name, description, avatar *string
	people                          []string // the first is the creator
}

// create stores a conversation and its members and tells them.
func (s *Service) create(tx *storage.Tx, by api.Caller, n newConversation) (string, error) {
	id, now := storage.NewID(), tx.Millis()
	if n.avatar != nil {
		path, err := s.media.ClaimPicture(tx, by, *n.avatar, media.ConversationScope(id), nil)
		if err != nil {
			return "", err
		}
		n.avatar = path
	}
	if _, err := tx.Exec(`INSERT INTO conversation (id, type, pair, name, description, avatar, created_by, last_message_at, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`, id, n.kind, n.pair, n.name, n.description, n.avatar, by.UserID, now, now, now); err != nil {
		return "", fmt.Errorf("create conversation: %w", err)
	}
	seq, err := event.Next(tx)
	if err != nil {
		return "", err
	}
	for i, userID := range n.people { // one insert each: at most the size of a group
		role := "member"
		if i == 0 && n.kind == "group" {
			role = "admin"
		}
		if err := join(tx, id, userID, role, seq, 0); err != nil {
			return "", err
		}
	}
	notice, err := s.note(tx, by, id, Notice{Action: "created"})
	if err != nil {
		return "", err
	}
	c, err := shared(tx, id)
	if err != nil {
		return "", err
	}
	if _, err := s.events.Emit(tx, event.Event{
		Kind: ConversationNew, Scope: event.ScopeConversation, ScopeID: id, SubjectID: id, ActorID: by.UserID, Data: packIDs(n.people),
	}, c); err != nil {
		return "", err
	}
	return id, s.announce(tx, by, notice)
}

// ConversationInput names a conversation.
type ConversationInput struct {
	ConversationID string `path:"conversationId"`
}

// Conversation returns one conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Conversation(ctx context.Context, by api.Caller, in *ConversationInput) (c *Conversation, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if c, err = mine(v, by, in.ConversationID); err != nil {
			return err
		}
		return s.here(v, by, c)
	})
	return c, err
}

// here adds to the people of single conversations whether they are here. In a group presence is asked for.
func (s *Service) here(q storage.Querier, by api.Caller, list ...*Conversation) error {
	var people []*account.Public
	for _, c := range list {
		for i := range c.Participants {
			if p := &c.Participants[i]; c.Type == "single" && p.User.ID != by.UserID {
				people = append(people, &p.User)
			}
		}
	}
	if len(people) == 0 {
		return nil
	}
	return s.presence(q, by.UserID, people)
}

// ListInput may ask for a page, and for the archive.
type ListInput struct {
	Archived bool `query:"archived" doc:"what is archived, instead of what is not"`
	Page     int  `query:"page" minimum:"0" maximum:"100000"`
	Limit    int  `query:"limit" minimum:"0" doc:"at most 100 are given"`
}

// span is the page as SQL has it: a limit of -1 is none.
func (in *ListInput) span() (limit, offset int) {
	if in.Page == 0 && in.Limit == 0 {
		return -1, 0
	}
	if limit = min(in.Limit, pageMax); limit == 0 {
		limit = 50
	}
	return limit, limit * max(0, in.Page-1)
}

// List returns the caller's conversations, the liveliest first; those hidden are left out, and those archived have a
// list of their own. In pages the pinned ones come first, because a client that has not seen them all cannot put them
// there; the whole list keeps the order of the contract, and clients place the pinned ones.
func (s *Service) List(ctx context.Context, by api.Caller, in *ListInput) ([]*Conversation, error) {
	list := []*Conversation{}
	err := s.db.Read(ctx, func(v storage.View) error {
		limit, offset := in.span()
		rows, err := v.Query(`SELECT c.id FROM member m JOIN conversation c ON c.id = m.conversation_id
			WHERE m.user_id = ? AND m.left_seq IS NULL AND m.is_archived = ? AND m.hidden_n < c.last_n AND c.deleted_at IS NULL
			ORDER BY m.is_pinned * ? DESC, c.last_message_at DESC, c.id DESC LIMIT ? OFFSET ?`, by.UserID, in.Archived, limit >= 0, limit, offset)
		if err != nil {
			return fmt.Errorf("list conversations: %w", err)
		}
		ids, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("list conversations: %w", err)
		}
		found, err := conversations(v, by.UserID, ids)
		for _, id := range ids {
			if found[id] != nil {
				list = append(list, found[id])
			}
		}
		if err != nil {
			return err
		}
		return s.here(v, by, list...)
	})
	return list, err
}

// UpdateInput changes what is given; null clears the description or the picture.
type UpdateInput struct {
	ConversationID string `path:"conversationId"`
	Body           struct {
		Name        *string        `json:"name,omitempty"`
		Description account.Change `json:"description" required:"false"`
		Avatar      account.Change `json:"avatar" required:"false"`
	}
}

// Update changes how a group is called and shown. Codes: CONVERSATION_NOT_FOUND, NOT_GROUP, NOT_ADMIN, VALIDATION.
func (s *Service) Update(ctx context.Context, by api.Caller, in *UpdateInput) (*Conversation, error) {
	b := &in.Body
	if err := checkNames(b.Name, &b.Description.Text); err != nil {
		return nil, err
	}
	var c *Conversation
	err := s.db.Write(ctx, "conversation.update", func(tx *storage.Tx) error {
		if err := runs(tx, by, in.ConversationID); err != nil {
			return err
		}
		old, err := looksOf(tx, in.ConversationID)
		if err != nil {
			return err
		}
		picture := old.avatar
		if b.Avatar.Sent {
			if picture, err = s.media.ClaimPicture(tx, by, b.Avatar.Text, media.ConversationScope(in.ConversationID), old.avatar); err != nil {
				return err
			}
		}
		if _, err := tx.Exec(`UPDATE conversation SET name = coalesce(?, name), updated_at = ?,
			description = CASE WHEN ? THEN nullif(?, '') ELSE description END, avatar = ?
			WHERE id = ?`, b.Name, tx.Millis(), b.Description.Sent, b.Description.Text, picture, in.ConversationID); err != nil {
			return fmt.Errorf("update conversation: %w", err)
		}
		notices, err := s.noteChanges(tx, by, in.ConversationID, old)
		if err != nil {
			return err
		}
		if err := s.updated(tx, by, in.ConversationID); err != nil {
			return err
		}
		if err := s.announce(tx, by, notices...); err != nil {
			return err
		}
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

// updated tells the members that the conversation is not as it was.
func (s *Service) updated(tx *storage.Tx, by api.Caller, id string) error {
	c, err := shared(tx, id)
	if err != nil {
		return err
	}
	_, err = s.events.Emit(tx, event.Event{
		Kind: ConversationUpdated, Scope: event.ScopeConversation, ScopeID: id, SubjectID: id, ActorID: by.UserID,
	}, ConversationChange{c})
	return err
}

// DeleteConversation hides a single conversation from the caller's list until the next message, takes it off their
// shelves and clears it, all for them alone; a group is deleted for everyone by its admin. Codes: CONVERSATION_NOT_FOUND, NOT_ADMIN.
func (s *Service) DeleteConversation(ctx context.Context, by api.Caller, in *ConversationInput) (Done, error) {
	err := s.db.Write(ctx, "conversation.delete", func(tx *storage.Tx) error {
		at, err := memberOf(tx, by, in.ConversationID)
		switch {
		case err != nil:
			return err
		case at.kind == "single":
			return s.keep(tx, by, in.ConversationID, `UPDATE member SET hidden_n = ?1, clear_n = ?1, is_pinned = 0, is_archived = 0
				WHERE user_id = ?2 AND conversation_id = ?3 AND left_seq IS NULL AND hidden_n < ?1`, at.lastN, by.UserID, in.ConversationID)
		case !at.admin():
			return api.E("NOT_ADMIN")
		}
		return s.dissolve(tx, by, in.ConversationID)
	})
	return Done{err == nil}, err
}

// CountOutput is a number.
type CountOutput struct {
	Count int64 `json:"count"`
}

// Unread counts the caller's unread messages in the conversations of their list: what is archived does not call.
func (s *Service) Unread(ctx context.Context, by api.Caller, _ *struct{}) (out CountOutput, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow(`SELECT coalesce(sum((SELECT count(*) FROM message x WHERE x.conversation_id = m.conversation_id
			AND x.n > max(m.read_n, m.clear_n, m.history_from_n) AND `+countsUnread+`)), 0)
			FROM member m WHERE m.user_id = ? AND m.left_seq IS NULL AND m.is_archived = 0`, v.Millis(), by.UserID).Scan(&out.Count)
	})
	return out, err
}
