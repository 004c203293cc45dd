package chat

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Message is a message on the wire (contract 2.3). N numbers the messages of a conversation densely from 1; clients
// order and page by it.
type Message struct {
	MongoID        string          `json:"_id"`
	ID             string          `json:"id"`
	ConversationID string          `json:"conversationId"`
	N              int64           `json:"n"`
	Sender         account.Public  `json:"senderId"`
	Type           string          `json:"type"`
	Content        *string         `json:"content"`
	ClientID       *string         `json:"clientId,omitempty"`
	Attachments    []Attachment    `json:"attachments"`
	Reactions      []Reaction      `json:"reactions"` // of a message that is replied to: none
	ReadReceipts   []Receipt       `json:"readReceipts"`
	ReplyToID      *string         `json:"replyToId,omitempty"`
	ReplyTo        *Message        `json:"replyTo,omitempty"` // absent when it is not for everybody who is shown the reply
	IsEdited       bool            `json:"isEdited"`
	EditedAt       string          `json:"editedAt,omitempty"`
	IsDeleted      bool            `json:"isDeleted"`
	DeletedAt      string          `json:"deletedAt,omitempty"`
	ExpiresAt      string          `json:"expiresAt,omitempty"` // when it disappears
	IsExpired      bool            `json:"isExpired"`           // true only for its sender who sends it again afterwards
	IsForwarded    bool            `json:"isForwarded"`
	ForwardedFrom  *string         `json:"forwardedFrom,omitempty"` // the original, where one person looks who can see it
	Mentions       []string        `json:"mentions"`                // ids; of a message that is replied to: none
	MentionsAll    bool            `json:"mentionsAll,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	CreatedAt      string          `json:"createdAt"`
	UpdatedAt      string          `json:"updatedAt"`

	original *string // which message it is a forward of, whoever looks
	attached int     // how many attachments it has
	reacted  bool    // somebody has reacted to it, and may have taken it back
}

// SendInput is a new message. The ClientID is the client's own name for it: sent again with the same one, the first
// message is answered and nothing is stored twice.
type SendInput struct {
	Body struct {
		ConversationID string          `json:"conversationId"`
		Type           *string         `json:"type,omitempty" enum:"text,image,video,audio,file,sticker,location,contact" doc:"text, the default"`
		Content        *string         `json:"content,omitempty"`
		Attachments    []Attachment    `json:"attachments,omitempty"`
		ReplyTo        *string         `json:"replyTo,omitempty"`
		ClientID       *string         `json:"clientId,omitempty" maxLength:"128"`
		Metadata       json.RawMessage `json:"metadata,omitempty"`
		IsForwarded    *bool           `json:"isForwarded,omitempty" doc:"says nothing by itself"`
		ForwardedFrom  *string         `json:"forwardedFrom,omitempty" doc:"id of a message one can see: what is sent is a copy of it"`
	}
}

// Send stores a message and tells the members: the one way by which messages of people come to be. Codes: VALIDATION,
// MESSAGE_EMPTY, MESSAGE_TOO_LONG, ATTACHMENT_MISSING, ATTACHMENTS_TOO_MANY, ATTACHMENT_FOREIGN, ATTACHMENT_NOT_FOUND,
// GIF_UNUSABLE, GIF_UNAVAILABLE (and of a GIF those of an upload),
// CONVERSATION_NOT_FOUND, CONVERSATION_LOCKED, BLOCKED, REPLY_NOT_FOUND, CLIENT_ID_REUSED, USER_BANNED, and of a forward
// MESSAGE_NOT_FOUND, MESSAGE_NOT_FORWARDABLE.
func (s *Service) Send(ctx context.Context, by api.Caller, in *SendInput) (*Message, error) {
	d, err := s.check(ctx, by, in)
	if err != nil {
		return nil, err
	}
	var sent *Message
	err = s.db.Write(ctx, "message.send", func(tx *storage.Tx) (err error) {
		sent, err = s.send(tx, by, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return sent, nil
}

// Post stores what the server writes in somebody's name, such as that they called, and tells the members. Where they may
// not write (any more) nothing is posted.
func (s *Service) Post(tx *storage.Tx, userID, conversationID, kind string, metadata json.RawMessage) error {
	_, err := s.send(tx, api.Caller{UserID: userID}, &draft{conversationID: conversationID, kind: kind, metadata: metadata})
	if errors.As(err, new(*api.Error)) {
		return nil
	}
	return err
}

func (s *Service) send(tx *storage.Tx, by api.Caller, d *draft) (*Message, error) {
	room, err := sendable(tx, by, d.conversationID)
	var reply *Message
	if err == nil && d.replyTo != nil {
		reply, err = repliedTo(tx, by, d.conversationID, *d.replyTo, room.from)
	}
	if err == nil && d.original != nil {
		d, err = forward(tx, by, d)
	}
	if err != nil {
		if d.clientID != nil && slices.ContainsFunc(inTheWay, func(code string) bool { return api.HasCode(err, code) }) {
			// What stands in the way now may have come after the message was stored.
			if first, repeatErr := repeated(tx, by, d, room.from); !api.HasCode(repeatErr, "MESSAGE_NOT_FOUND") {
				return first, repeatErr
			}
		}
		return nil, err
	}
	now := tx.Millis()
	m := &Message{
		ID: storage.NewID(), ConversationID: d.conversationID, N: room.lastN + 1, Sender: room.sender, Type: d.kind,
		Content: d.content, ClientID: d.clientID, Metadata: d.metadata, ReplyToID: d.replyTo, ReplyTo: reply,
		IsForwarded: d.original != nil, original: d.original,
		CreatedAt: api.Millis(now), UpdatedAt: api.Millis(now),
	}
	m.fill()
	var expires *int64
	if room.timer > 0 {
		at := now + room.timer*1000
		expires, m.ExpiresAt = &at, api.Millis(at)
		s.sweep.sent(tx, at)
	}
	result, err := tx.Exec(`INSERT INTO message (conversation_id, n, id, sender_id, client_id, type, content, reply_to_id, forwarded_from, metadata, created_at, updated_at, expires_at, attached)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (conversation_id, sender_id, client_id) WHERE client_id IS NOT NULL DO NOTHING`,
		m.ConversationID, m.N, m.ID, by.UserID, m.ClientID, m.Type, m.Content, m.ReplyToID, m.original, column(m.Metadata), now, now, expires, d.attached())
	if err != nil {
		return nil, fmt.Errorf("store message: %w", err)
	}
	if added, err := result.RowsAffected(); err != nil {
		return nil, err
	} else if added == 0 {
		return repeated(tx, by, d, room.from)
	}
	if _, err := tx.Exec("UPDATE conversation SET last_n = ?, last_message_at = ? WHERE id = ?", m.N, now, m.ConversationID); err != nil {
		return nil, fmt.Errorf("count message: %w", err)
	}
	if err := mention(tx, m, room.admin); err != nil {
		return nil, err
	}
	if err := s.attach(tx, by, m, d); err != nil {
		return nil, err
	}
	told := m
	if reply != nil {
		shown, err := forAll(tx, []*Message{m})
		if err != nil {
			return nil, err
		}
		if !shown(m, reply) {
			bare := *m
			bare.ReplyTo, told = nil, &bare
		}
	}
	split, err := apart(tx, told, func(m *Message) any { return m })
	if err != nil {
		return nil, err
	}
	_, err = s.events.EmitApart(tx, event.Event{
		Kind: MessageNew, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID, ActorID: by.UserID,
	}, told, split)
	if err == nil && m.original != nil {
		answer := *m // the others are not told
		answer.ForwardedFrom, m = m.original, &answer
	}
	return m, err
}

// inTheWay are the codes of what may have come between a message that was stored and its repetition.
var inTheWay = []string{"REPLY_NOT_FOUND", "MESSAGE_NOT_FOUND", "MESSAGE_NOT_FORWARDABLE", "CONVERSATION_LOCKED", "BLOCKED"}

// column is a JSON value as a table keeps it.
func column(raw json.RawMessage) *string {
	if raw == nil {
		return nil
	}
	text := string(raw)
	return &text
}

// room is what a sender needs to know of a conversation.
type room struct {
	lastN  int64
	from   int64 // the sender sees nothing up to this number
	timer  int64 // seconds after which what is sent disappears, 0 never
	admin  bool  // the sender is an admin of a group
	sender account.Public
}

// sendable finds the conversation if the caller may write there now.
func sendable(tx *storage.Tx, by api.Caller, conversationID string) (room, error) {
	var r room
	var locked, active, blocked bool
	var bannedAt, bannedUntil sql.NullInt64
	targets := append([]any{&r.lastN, &r.from, &r.timer, &r.admin, &locked, &active, &bannedAt, &bannedUntil, &blocked}, r.sender.PublicTargets()...)
	err := tx.QueryRow(`SELECT c.last_n, max(m.history_from_n, m.clear_n), c.disappearing_seconds, c.type = 'group' AND m.role = 'admin', c.is_locked, u.is_active, u.banned_at, u.banned_until,
		c.type = 'single' AND EXISTS (SELECT 1 FROM member o WHERE o.conversation_id = c.id AND o.user_id <> m.user_id AND (
			EXISTS (SELECT 1 FROM block b WHERE b.user_id = o.user_id AND b.blocked_id = m.user_id) OR
			EXISTS (SELECT 1 FROM block b WHERE b.user_id = m.user_id AND b.blocked_id = o.user_id))),
		`+account.PublicColumns+`
		FROM member m JOIN conversation c ON c.id = m.conversation_id JOIN user u ON u.id = m.user_id
		WHERE m.user_id = ? AND m.conversation_id = ? AND m.left_seq IS NULL`, by.UserID, conversationID).Scan(targets...)
	r.sender.Show(tx)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, api.E("CONVERSATION_NOT_FOUND")
	case err != nil:
		return r, fmt.Errorf("check sender: %w", err)
	case !active:
		return r, api.E("USER_DEACTIVATED")
	case bannedAt.Valid && (!bannedUntil.Valid || bannedUntil.Int64 > tx.Millis()):
		return r, api.E("USER_BANNED")
	case locked:
		return r, api.E("CONVERSATION_LOCKED")
	case blocked:
		return r, api.E("BLOCKED")
	}
	return r, nil
}

// repliedTo returns the message that somebody replies to, if they can see it.
func repliedTo(tx *storage.Tx, by api.Caller, conversationID, id string, from int64) (*Message, error) {
	found, err := messagesByID(tx, []string{id})
	if err != nil {
		return nil, err
	}
	r := found[id]
	if r == nil || r.ConversationID != conversationID || r.N <= from || r.IsDeleted {
		return nil, api.E("REPLY_NOT_FOUND")
	}
	hidden, err := hiddenFrom(tx, by.UserID, []string{id})
	if err != nil {
		return nil, err
	}
	if hidden[id] {
		return nil, api.E("REPLY_NOT_FOUND")
	}
	return r, people(tx, "", r)
}

// repeated answers a message that was sent before under the same clientId; MESSAGE_NOT_FOUND when there is none. One
// that was deleted since is answered as its tombstone.
func repeated(tx *storage.Tx, by api.Caller, d *draft, from int64) (*Message, error) {
	var id string
	err := tx.QueryRow("SELECT id FROM message WHERE conversation_id = ? AND sender_id = ? AND client_id = ?", d.conversationID, by.UserID, d.clientID).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.E("MESSAGE_NOT_FOUND")
	}
	if err != nil {
		return nil, fmt.Errorf("find repeated message: %w", err)
	}
	first, err := one(tx, id, above(from))
	if api.HasCode(err, "MESSAGE_NOT_FOUND") { // it was found: it has expired
		return goneSince(tx, id)
	}
	if err != nil || first.IsDeleted {
		return first, err
	}
	same := equal(first.ReplyToID, d.replyTo) && equal(first.original, d.original)
	if same && d.original == nil {
		same = first.Type == d.kind && (first.IsEdited || equal(first.Content, d.content)) && (d.kind == "text" || bytes.Equal(first.Metadata, d.metadata)) && d.shows(first.Attachments)
	}
	if !same {
		return nil, api.E("CLIENT_ID_REUSED")
	}
	return first, addOriginals(tx, by.UserID, []*Message{first})
}

func equal(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }
