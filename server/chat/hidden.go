package chat

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// A message that somebody deletes for themselves alone is hidden from them for good, as if they had never been told of
// it: everybody else keeps it. A row of message_hidden says so.

// MessageHidden is the kind of event that tells somebody's devices what they deleted for themselves.
const MessageHidden = "message:hidden"

// Hiding is the payload of message:hidden.
type Hiding struct {
	MessageID      string `json:"messageId"`
	ConversationID string `json:"conversationId"`
}

func hiddenEvents() []event.Kind {
	return []event.Kind{{Name: MessageHidden, Doc: "You deleted a message for yourself; to your own devices.", Value: Hiding{}, Render: func(_ storage.Querier, events []event.Event) ([]any, error) {
		return each(events, func(e event.Event) any { return Hiding{e.SubjectID, e.Data} }), nil
	}}}
}

// unhidden is what holds of a message x that the member m has not hidden.
const unhidden = "NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = m.user_id AND h.conversation_id = x.conversation_id AND h.n = x.n)"

// hide deletes a message for the caller alone, anybody's message, and answers the tombstone that it is to them. Again it
// changes nothing. Codes: MESSAGE_NOT_FOUND.
func (s *Service) hide(ctx context.Context, by api.Caller, messageID string) (*Message, error) {
	var gone *Message
	err := s.db.Write(ctx, "message.hide", func(tx *storage.Tx) error {
		m, _, err := reached(tx, by, messageID)
		if err != nil {
			return err
		}
		result, err := tx.Exec("INSERT INTO message_hidden (user_id, conversation_id, n, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", by.UserID, m.ConversationID, m.N, tx.Millis())
		if err != nil {
			return fmt.Errorf("hide message: %w", err)
		}
		var at int64
		if err := tx.QueryRow("SELECT at FROM message_hidden WHERE user_id = ? AND conversation_id = ? AND n = ?", by.UserID, m.ConversationID, m.N).Scan(&at); err != nil {
			return fmt.Errorf("hide message: %w", err)
		}
		gone = &Message{
			ID: m.ID, ConversationID: m.ConversationID, N: m.N, Sender: m.Sender, Type: m.Type, ClientID: m.ClientID, IsDeleted: true, DeletedAt: api.Millis(at),
			CreatedAt: m.CreatedAt, UpdatedAt: m.UpdatedAt,
		}
		gone.fill()
		if err := people(tx, by.UserID, gone); err != nil {
			return err
		}
		gone.Content = nil // of a notice
		if added, err := result.RowsAffected(); err != nil || added == 0 {
			return err
		}
		_, err = s.events.Emit(tx, event.Event{
			Kind: MessageHidden, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: m.ID, ActorID: by.UserID, Data: m.ConversationID,
		}, Hiding{m.ID, m.ConversationID})
		return err
	})
	return gone, err
}

// hiddenFrom returns those of the messages that somebody has hidden.
func hiddenFrom(q storage.Querier, userID string, ids []string) (map[string]bool, error) {
	hidden := map[string]bool{}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT x.id FROM message x CROSS JOIN message_hidden h
			WHERE x.id IN (`+marks+") AND h.user_id = ? AND h.conversation_id = x.conversation_id AND h.n = x.n", append(args, userID)...)
		if err != nil {
			return nil, fmt.Errorf("read what is hidden: %w", err)
		}
		found, err := storage.ScanIDs(rows)
		if err != nil {
			return nil, fmt.Errorf("read what is hidden: %w", err)
		}
		for _, id := range found {
			hidden[id] = true
		}
	}
	return hidden, nil
}
