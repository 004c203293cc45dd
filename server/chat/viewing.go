package chat

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// ViewingInput names the conversation that a client shows, or no longer shows.
type ViewingInput struct {
	ConversationID string `path:"conversationId"`
}

// Viewing takes note that a client shows a conversation, or has left it. It decides nothing: who is told what follows
// from membership, and a client that leaves goes on to hear. Code: CONVERSATION_NOT_FOUND.
func (s *Service) Viewing(ctx context.Context, by api.Caller, in *ViewingInput) (Done, error) {
	err := s.db.Read(ctx, func(v storage.View) error {
		_, err := memberOf(v, by, in.ConversationID)
		return err
	})
	return Done{err == nil}, err
}

func (s *Service) viewing() []api.Row {
	return []api.Row{
		api.Op("", "conversation:join", api.RoleUser, api.TierRead, s.Viewing, api.Doc("Say that one has opened a conversation of one's own. Hearing of it does not depend on this.")),
		api.Op("", "conversation:leave", api.RoleUser, api.TierRead, s.Viewing, api.Doc("Say that one has closed it.")),
	}
}
