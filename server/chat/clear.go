package chat

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
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
