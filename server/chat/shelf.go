package chat

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Pin keeps a conversation at the top of the caller's list. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Pin(ctx context.Context, by api.Caller, in *ConversationInput) (*Conversation, error) {
	return s.shelve(ctx, by, in.ConversationID, pinShelf, true)
}

// Unpin lets a conversation take its place in the list by its newest message. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Unpin(ctx context.Context, by api.Caller, in *ConversationInput) (*Conversation, error) {
	return s.shelve(ctx, by, in.ConversationID, pinShelf, false)
}

// Archive takes a conversation out of the caller's list. It stays in the archive whatever is said in it, until they
// take it out: the archive is for what somebody wants to keep and not to see. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Archive(ctx context.Context, by api.Caller, in *ConversationInput) (*Conversation, error) {
	return s.shelve(ctx, by, in.ConversationID, archiveShelf, true)
}

// Unarchive brings a conversation back into the list. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Unarchive(ctx context.Context, by api.Caller, in *ConversationInput) (*Conversation, error) {
	return s.shelve(ctx, by, in.ConversationID, archiveShelf, false)
}

// The two switches; they do not depend on each other.
const (
	pinShelf     = "UPDATE member SET is_pinned = ?1 WHERE user_id = ?2 AND conversation_id = ?3 AND left_seq IS NULL AND is_pinned <> ?1"
	archiveShelf = "UPDATE member SET is_archived = ?1 WHERE user_id = ?2 AND conversation_id = ?3 AND left_seq IS NULL AND is_archived <> ?1"
)

func (s *Service) shelve(ctx context.Context, by api.Caller, conversationID, shelf string, on bool) (*Conversation, error) {
	var c *Conversation
	err := s.db.Write(ctx, "conversation.shelve", func(tx *storage.Tx) error {
		if _, err := memberOf(tx, by, conversationID); err != nil {
			return err
		}
		if err := s.keep(tx, by, conversationID, shelf, on, by.UserID, conversationID); err != nil {
			return err
		}
		var err error
		c, err = mine(tx, by, conversationID)
		return err
	})
	return c, err
}
