package chat

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// pinsMax is how many messages of a conversation may be pinned. Those that no member can see take no place.
const pinsMax = 10

// Pinning is the payload of message:pinned and message:unpinned. Members who cannot see the message are not told.
type Pinning struct {
	MessageID      string `json:"messageId"`
	ConversationID string `json:"conversationId"`
	By             string `json:"by"`
	At             string `json:"at"`
}

// PinInput names a message in its conversation.
type PinInput struct {
	ConversationID string `path:"conversationId"`
	MessageID      string `path:"messageId"`
}

// PinMessage pins a message for all members; pinning it again changes nothing. In a group admins may, in a single
// conversation both. Codes: CONVERSATION_NOT_FOUND, NOT_ADMIN, MESSAGE_NOT_FOUND, PINS_FULL, CONVERSATION_LOCKED, BLOCKED.
func (s *Service) PinMessage(ctx context.Context, by api.Caller, in *PinInput) (*Conversation, error) {
	return s.pinning(ctx, by, in, func(tx *storage.Tx, m *Message) error {
		if m.IsDeleted {
			return api.E("MESSAGE_NOT_FOUND")
		}
		var pinned bool
		var others int
		if err := tx.QueryRow(pinsCount, m.ConversationID, m.ID, m.ConversationID, tx.Millis()).Scan(&pinned, &others); err != nil {
			return fmt.Errorf("count pins: %w", err)
		}
		switch {
		case pinned:
			return nil
		case others >= pinsMax:
			return api.E("PINS_FULL", "max", pinsMax)
		}
		if _, err := tx.Exec("INSERT INTO pinned_message (conversation_id, message_id, n, pinned_by, pinned_at) VALUES (?, ?, ?, ?, ?)",
			m.ConversationID, m.ID, m.N, by.UserID, tx.Millis()); err != nil {
			return fmt.Errorf("pin message: %w", err)
		}
		if _, err := tx.Exec("UPDATE conversation SET pins_changed_at = ? WHERE id = ?", tx.Millis(), m.ConversationID); err != nil {
			return fmt.Errorf("note change of pins: %w", err)
		}
		return s.pinned(tx, by, MessagePinned, m)
	})
}

// UnpinMessage unpins a message; one that is not pinned stays so. Who may, and codes: as PinMessage.
func (s *Service) UnpinMessage(ctx context.Context, by api.Caller, in *PinInput) (*Conversation, error) {
	return s.pinning(ctx, by, in, func(tx *storage.Tx, m *Message) error {
		var pinned bool
		if err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM pinned_message WHERE message_id = ?)", m.ID).Scan(&pinned); err != nil {
			return fmt.Errorf("find pin: %w", err)
		}
		if !pinned {
			return nil
		}
		if err := unpin(tx, []string{m.ID}); err != nil {
			return err
		}
		return s.pinned(tx, by, MessageUnpinned, m)
	})
}

// pinning runs change if the caller may pin the message, and answers the conversation.
func (s *Service) pinning(ctx context.Context, by api.Caller, in *PinInput, change func(tx *storage.Tx, m *Message) error) (*Conversation, error) {
	var c *Conversation
	err := s.db.Write(ctx, "message.pin", func(tx *storage.Tx) error {
		at, err := memberOf(tx, by, in.ConversationID)
		switch {
		case err != nil:
			return err
		case !at.admin():
			return api.E("NOT_ADMIN")
		}
		m, _, err := visible(tx, by, in.MessageID)
		switch {
		case err != nil:
			return err
		case m.ConversationID != in.ConversationID:
			return api.E("MESSAGE_NOT_FOUND")
		}
		if _, err := sendable(tx, by, in.ConversationID); err != nil { // who may not write there may not point either
			return err
		}
		if err := change(tx, m); err != nil {
			return err
		}
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

// unpin removes the pins of messages that are unpinned or gone.
func unpin(tx *storage.Tx, ids []string) error {
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		if _, err := tx.Exec("UPDATE conversation SET pins_changed_at = ? WHERE id IN (SELECT conversation_id FROM pinned_message WHERE message_id IN ("+marks+"))",
			append([]any{tx.Millis()}, args...)...); err != nil {
			return fmt.Errorf("note change of pins: %w", err)
		}
		if _, err := tx.Exec("DELETE FROM pinned_message WHERE message_id IN ("+marks+")", args...); err != nil {
			return fmt.Errorf("unpin messages: %w", err)
		}
	}
	return nil
}

// pinned tells those who can see the message.
func (s *Service) pinned(tx *storage.Tx, by api.Caller, kind string, m *Message) error {
	late, err := newcomers(tx, m)
	if err != nil {
		return err
	}
	_, err = s.events.Emit(tx, event.Event{
		Kind: kind, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID, ActorID: by.UserID,
	}, Pinning{m.ID, m.ConversationID, by.UserID, api.Millis(tx.Millis())}, late...)
	return err
}

// renderPinnings needs no table: the pointer says everything.
func renderPinnings(_ storage.Querier, events []event.Event) ([]any, error) {
	return each(events, func(e event.Event) any { return Pinning{e.SubjectID, e.ScopeID, e.ActorID, api.Millis(e.At)} }), nil
}

// Pinned lists the pinned messages that the caller can see, the latest pin first. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Pinned(ctx context.Context, by api.Caller, in *ConversationInput) ([]*Message, error) {
	list := []*Message{}
	err := s.db.Read(ctx, func(v storage.View) error {
		if _, err := memberOf(v, by, in.ConversationID); err != nil {
			return err
		}
		marks, args := storage.In([]string{in.ConversationID})
		found, err := pinsOf(v, by.UserID, marks, args)
		if err == nil {
			list = append(list, found[in.ConversationID]...)
		}
		return err
	})
	return list, err
}

// The queries for pins look at the pins first: a conversation has few of them, and any number of messages. The joins are
// written so that no planner turns them round. A message that has expired is not there any more; the time is a parameter.
const (
	pinsThere = "CROSS JOIN message x WHERE x.conversation_id = p.conversation_id AND x.n = p.n AND x.deleted_at IS NULL"

	// Whether a message is pinned, and how many are.
	pinsCount = `SELECT EXISTS (SELECT 1 FROM pinned_message WHERE conversation_id = ? AND message_id = ?), (SELECT count(*) FROM pinned_message p ` + pinsThere + `
		AND p.conversation_id = ? AND (x.expires_at IS NULL OR x.expires_at > ?)
		AND p.n > (SELECT min(h.history_from_n) FROM member h WHERE h.conversation_id = p.conversation_id AND h.left_seq IS NULL))`

	// What one person sees of the pins of some conversations.
	pinsSeen = `SELECT p.message_id, p.conversation_id, max(m.history_from_n, m.clear_n) FROM member m CROSS JOIN pinned_message p ` + pinsThere + `
		AND m.user_id = ? AND m.left_seq IS NULL AND m.conversation_id IN (%s) AND p.conversation_id = m.conversation_id
		AND p.n > max(m.history_from_n, m.clear_n) AND (x.expires_at IS NULL OR x.expires_at > ?)
		AND NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = m.user_id AND h.conversation_id = p.conversation_id AND h.n = p.n)
		ORDER BY p.pinned_at DESC, p.n DESC`

	// What all members see.
	pinsShared = `SELECT p.message_id, p.conversation_id, 0 FROM pinned_message p ` + pinsThere + `
		AND p.conversation_id IN (%s) AND (x.expires_at IS NULL OR x.expires_at > ?)
		AND p.n > (SELECT max(h.history_from_n) FROM member h WHERE h.conversation_id = p.conversation_id AND h.left_seq IS NULL)
		ORDER BY p.pinned_at DESC, p.n DESC`
)

// pinsOf reads the pinned messages of conversations that the viewer can see, the latest pin first.
func pinsOf(q storage.Querier, viewer, marks string, args []any) (map[string][]*Message, error) {
	rows, err := q.Query(fmt.Sprintf(pinsSeen, marks), slices.Concat([]any{viewer}, args, []any{q.Millis()})...)
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	floors := map[string]int64{}
	ids, err := scanPins(rows, func(_, conversationID string, floor int64) { floors[conversationID] = floor })
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	found, err := messagesByID(q, ids)
	if err != nil {
		return nil, err
	}
	list, pins := []*Message{}, map[string][]*Message{}
	for _, id := range ids {
		if m := found[id]; m != nil {
			list, pins[m.ConversationID] = append(list, m), append(pins[m.ConversationID], m)
		}
	}
	return pins, completeFor(q, viewer, list, func(m, r *Message) bool { return r.N > floors[m.ConversationID] })
}

// addPins fills in the pinned messages that the viewer can see, or, when viewer is "", the ids of those that all members
// can: the others are not for a frame that everybody gets.
func addPins(q storage.Querier, viewer, marks string, args []any, found map[string]*Conversation) error {
	if viewer != "" {
		pins, err := pinsOf(q, viewer, marks, args)
		for id, list := range pins {
			for _, m := range list {
				if c := found[id]; c != nil {
					c.PinnedMessages = append(c.PinnedMessages, m)
				}
			}
		}
		return err
	}
	rows, err := q.Query(fmt.Sprintf(pinsShared, marks), slices.Concat(args, []any{q.Millis()})...)
	if err != nil {
		return fmt.Errorf("read pins: %w", err)
	}
	_, err = scanPins(rows, func(id, conversationID string, _ int64) {
		if c := found[conversationID]; c != nil {
			c.PinnedMessages = append(c.PinnedMessages, id)
		}
	})
	return err
}

func scanPins(rows *sql.Rows, take func(id, conversationID string, floor int64)) (ids []string, err error) {
	defer rows.Close()
	for rows.Next() {
		var id, conversationID string
		var floor int64
		if err := rows.Scan(&id, &conversationID, &floor); err != nil {
			return nil, fmt.Errorf("read pins: %w", err)
		}
		take(id, conversationID, floor)
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
