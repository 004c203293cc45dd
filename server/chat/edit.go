package chat

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Edited is the payload of message:edited: the message as it is now, and who changed it.
type Edited struct {
	*Message
	MessageID string `json:"messageId"`
	EditedBy  string `json:"editedBy"`
}

// Deletion is the payload of message:deleted.
type Deletion struct {
	MessageID      string `json:"messageId"`
	ConversationID string `json:"conversationId"`
	DeletedBy      string `json:"deletedBy"`
	DeletedAt      string `json:"deletedAt"`
	Expired        bool   `json:"expired,omitempty"` // by the timer of the conversation
}

// EditInput replaces the text of a message.
type EditInput struct {
	MessageID string `path:"messageId"`
	Body      struct {
		Content string `json:"content"`
	}
}

// Edit replaces the text of one's own message within the edit window; a forward stays what somebody said. Codes: MESSAGE_NOT_FOUND, MESSAGE_NOT_EDITABLE,
// MESSAGE_EMPTY, MESSAGE_TOO_LONG, CONVERSATION_LOCKED.
func (s *Service) Edit(ctx context.Context, by api.Caller, in *EditInput) (*Message, error) {
	content := strings.ToValidUTF8(in.Body.Content, "\uFFFD")
	limits := s.config.Get()
	switch {
	case strings.TrimSpace(content) == "":
		return nil, api.E("MESSAGE_EMPTY")
	case utf8.RuneCountInString(content) > limits.MessageMaxLength:
		return nil, api.E("MESSAGE_TOO_LONG", "max", limits.MessageMaxLength)
	}
	var edited *Message
	err := s.db.Write(ctx, "message.edit", func(tx *storage.Tx) error {
		m, _, err := visible(tx, by, in.MessageID)
		if err != nil {
			return err
		}
		if m.Sender.ID != by.UserID || m.Type != "text" || m.IsDeleted || m.IsForwarded || tooOld(tx, m.CreatedAt, limits.MessageEditWindow) {
			return api.E("MESSAGE_NOT_EDITABLE")
		}
		room, err := sendable(tx, by, m.ConversationID)
		if err != nil {
			return err
		}
		if m.Content != nil && *m.Content == content {
			edited = m
			return nil
		}
		if err := keepVersion(tx, by, m); err != nil {
			return err
		}
		now := tx.Millis()
		if _, err := tx.Exec("UPDATE message SET content = ?, edited_at = ?, edited_by = ?, updated_at = ? WHERE id = ?", content, now, by.UserID, now, m.ID); err != nil {
			return fmt.Errorf("edit message: %w", err)
		}
		if err := mentionAnew(tx, m, content, room.admin); err != nil {
			return err
		}
		if edited, err = oneForAll(tx, m.ID); err != nil {
			return err
		}
		late, err := newcomers(tx, m)
		if err != nil {
			return err
		}
		split, err := apart(tx, edited, func(bare *Message) any { return Edited{bare, m.ID, by.UserID} })
		if err != nil {
			return err
		}
		_, err = s.events.EmitApart(tx, event.Event{
			Kind: MessageEdited, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID, ActorID: by.UserID,
		}, Edited{edited, m.ID, by.UserID}, split, late...)
		if m.ReplyTo == nil { // the editor is told what they see themselves
			bare := *edited
			bare.ReplyTo, edited = nil, &bare
		}
		return err
	})
	return edited, err
}

// newcomers returns the members who joined after a message was sent, began anew by clearing it, or hid it: they are not
// told what becomes of it. Late readers find the same in the tables (hub, missed).
func newcomers(q storage.Querier, m *Message) ([]string, error) {
	rows, err := q.Query(`SELECT user_id FROM member WHERE conversation_id = ?1 AND left_seq IS NULL AND max(history_from_n, clear_n) >= ?2
		UNION SELECT user_id FROM message_hidden WHERE conversation_id = ?1 AND n = ?2`, m.ConversationID, m.N)
	if err != nil {
		return nil, fmt.Errorf("find newcomers: %w", err)
	}
	return storage.ScanIDs(rows)
}

// tooOld reports whether a message is past a window; a window of 0 never ends.
func tooOld(tx *storage.Tx, created string, window time.Duration) bool {
	at, err := time.Parse(time.RFC3339, created)
	return window > 0 && (err != nil || tx.Now.Sub(at) > window)
}

// DeleteInput names a message, and for whom it goes: for everyone, unless anything asks to delete it for oneself alone.
type DeleteInput struct {
	MessageID   string `path:"messageId"`
	Type        string `query:"type" enum:"for_me,for_everyone" doc:"for_everyone, the default, or for_me"`
	ForEveryone bool   `query:"forEveryone" default:"true" doc:"false is for_me"`
	Body        *struct {
		Type        *string `json:"type,omitempty" enum:"for_me,for_everyone"`
		ForEveryone *bool   `json:"forEveryone,omitempty"`
	}
}

func (in *DeleteInput) forMe() bool {
	b := in.Body
	return in.Type == "for_me" || !in.ForEveryone || b != nil && (b.Type != nil && *b.Type == "for_me" || b.ForEveryone != nil && !*b.ForEveryone)
}

// Delete turns one's own message into a tombstone for everyone: its text is gone, its place stays. Deleting it again
// answers the tombstone. For oneself one may delete any message. A legal hold keeps the text, which nobody is shown.
// Codes: MESSAGE_NOT_FOUND, MESSAGE_NOT_DELETABLE.
func (s *Service) Delete(ctx context.Context, by api.Caller, in *DeleteInput) (*Message, error) {
	if in.forMe() {
		return s.hide(ctx, by, in.MessageID)
	}
	var gone *Message
	err := s.db.Write(ctx, "message.delete", func(tx *storage.Tx) error {
		m, _, err := visible(tx, by, in.MessageID)
		if err != nil {
			return err
		}
		if m.Sender.ID != by.UserID || m.Type == system {
			return api.E("MESSAGE_NOT_DELETABLE")
		}
		if gone = m; m.IsDeleted {
			return nil
		}
		if window := s.config.Get().MessageDeleteWindow; tooOld(tx, m.CreatedAt, window) {
			return api.E("MESSAGE_TOO_OLD")
		}
		now := tx.Millis()
		if _, err := tx.Exec("UPDATE message SET deleted_at = ?, deleted_by = ?, updated_at = ? WHERE id = ?", now, by.UserID, now, m.ID); err != nil {
			return fmt.Errorf("delete message: %w", err)
		}
		if _, err := tx.Exec(`UPDATE message SET content = NULL, metadata = NULL, reply_to_id = NULL, forwarded_from = NULL
			WHERE id = ? AND legal_hold = 0 AND (SELECT legal_hold FROM conversation c WHERE c.id = message.conversation_id) = 0`, m.ID); err != nil {
			return fmt.Errorf("empty message: %w", err)
		}
		if err := s.strip(tx, []string{m.ID}); err != nil {
			return err
		}
		if gone, err = oneForAll(tx, m.ID); err != nil {
			return err
		}
		late, err := newcomers(tx, m)
		if err != nil {
			return err
		}
		tx.OnCommit(s.db.Forget)
		_, err = s.events.Emit(tx, deletion(m.ID, m.ConversationID, by.UserID, m.N), Deletion{m.ID, m.ConversationID, by.UserID, api.Millis(now), false}, late...)
		return err
	})
	return gone, err
}
