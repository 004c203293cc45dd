package chat

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Clear removes everything said so far from the caller's sight, on all their devices and through every door. The
// others keep it, and see nothing of this. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Clear(ctx context.Context, by api.Caller, in *ConversationInput) (Done, error) {
	err := s.db.Write(ctx, "conversation.clear", func(tx *storage.Tx) error {
		at, err := memberOf(tx, by, in.ConversationID)
		if err != nil {
			return err
		}
		// Earlier stays are cleared too, so that a device that was away then is not told of them any more.
		return s.keep(tx, by, in.ConversationID, "UPDATE member SET clear_n = ?1 WHERE user_id = ?2 AND conversation_id = ?3 AND clear_n < ?1",
			at.lastN, by.UserID, in.ConversationID)
	})
	return Done{err == nil}, err
}

// apart is what those who no longer see the message that m replies to are told instead of value: for all others it is
// shown with the reply.
func apart(tx *storage.Tx, m *Message, value func(m *Message) any) (event.Apart, error) {
	if m.ReplyTo == nil {
		return event.Apart{}, nil
	}
	people, err := newcomers(tx, m.ReplyTo)
	if err != nil || len(people) == 0 {
		return event.Apart{}, err
	}
	bare := *m
	bare.ReplyTo = nil
	return event.Apart{People: people, Value: value(&bare)}, nil
}

// sparing shows a late reader what show does, but for what they have cleared or hidden.
func sparing(q storage.Querier, viewer string, list []*Message, show shown) (shown, error) {
	var ids []string
	for _, m := range list {
		if m.ReplyToID != nil && viewer != "" {
			ids = append(ids, *m.ReplyToID)
		}
	}
	cleared := map[string]bool{}
	for _, chunk := range storage.Chunks(distinct(ids)) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT x.id FROM message x WHERE x.id IN (`+marks+`) AND EXISTS (
			SELECT 1 FROM member m WHERE m.conversation_id = x.conversation_id AND m.user_id = ? AND m.clear_n >= x.n UNION ALL
			SELECT 1 FROM message_hidden h WHERE h.conversation_id = x.conversation_id AND h.user_id = ? AND h.n = x.n)`, append(args, viewer, viewer)...)
		if err != nil {
			return nil, fmt.Errorf("read what is cleared: %w", err)
		}
		gone, err := storage.ScanIDs(rows)
		if err != nil {
			return nil, fmt.Errorf("read what is cleared: %w", err)
		}
		for _, id := range gone {
			cleared[id] = true
		}
	}
	return func(m, r *Message) bool { return show(m, r) && !cleared[r.ID] }, nil
}
