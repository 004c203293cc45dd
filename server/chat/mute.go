package chat

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// MuteInput says whether to be silent about a conversation, and for how long: without isMuted it mutes, without a
// time, or with 0, it does so without end. Both spellings of the time are those of shipped clients.
type MuteInput struct {
	ConversationID string `path:"conversationId"`
	Body           *struct {
		IsMuted         *bool  `json:"isMuted,omitempty"`
		Duration        *int64 `json:"duration,omitempty" minimum:"0" maximum:"3153600000" doc:"seconds"`
		DurationMinutes *int64 `json:"durationMinutes,omitempty" minimum:"0" maximum:"52560000"`
	}
}

// Mute makes a conversation silent for the caller, or no longer. It is theirs alone: nobody else learns of it, and
// what is said still counts as unread. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Mute(ctx context.Context, by api.Caller, in *MuteInput) (Done, error) {
	on, seconds := true, int64(0)
	if b := in.Body; b != nil {
		on = b.IsMuted == nil || *b.IsMuted
		switch {
		case b.DurationMinutes != nil:
			seconds = *b.DurationMinutes * 60
		case b.Duration != nil:
			seconds = *b.Duration
		}
	}
	return s.mute(ctx, by, in.ConversationID, on, seconds)
}

// Unmute makes a conversation heard again. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Unmute(ctx context.Context, by api.Caller, in *ConversationInput) (Done, error) {
	return s.mute(ctx, by, in.ConversationID, false, 0)
}

func (s *Service) mute(ctx context.Context, by api.Caller, conversationID string, on bool, seconds int64) (Done, error) {
	err := s.db.Write(ctx, "conversation.mute", func(tx *storage.Tx) error {
		if _, err := memberOf(tx, by, conversationID); err != nil {
			return err
		}
		var until any
		if on && seconds > 0 {
			until = tx.Millis() + seconds*1000
		}
		return s.keep(tx, by, conversationID, `UPDATE member SET is_muted = ?1, muted_until = ?2
			WHERE user_id = ?3 AND conversation_id = ?4 AND left_seq IS NULL AND (is_muted <> ?1 OR muted_until IS DISTINCT FROM ?2)`,
			on, until, by.UserID, conversationID)
	})
	return Done{err == nil}, err
}
