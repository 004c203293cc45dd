package chat

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

const purgeKind = "conversation.purge"

type purgePayload struct {
	ConversationID string `json:"conversationId"`
}

// purge removes the messages of a deleted conversation in short batches; a legal hold keeps them.
func (s *Service) purge(ctx context.Context, j job.Job) error {
	var p purgePayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	for {
		var gone int
		err := s.db.Write(ctx, purgeKind, func(tx *storage.Tx) error {
			rows, err := tx.Query(`SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id
				WHERE x.conversation_id = ? AND c.deleted_at IS NOT NULL AND c.legal_hold = 0 AND x.legal_hold = 0 LIMIT 200`, p.ConversationID)
			if err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			ids, err := storage.ScanIDs(rows)
			if err != nil {
				return fmt.Errorf("purge messages: %w", err)
			}
			gone = len(ids)
			tx.OnCommit(s.db.Forget)
			if err := s.media.Unclaim(tx, media.ConversationScope(p.ConversationID)); err != nil {
				return err
			}
			if _, err := tx.Exec("DELETE FROM message_hidden WHERE conversation_id = ?", p.ConversationID); err != nil { // nobody reads it again
				return fmt.Errorf("purge messages: %w", err)
			}
			return s.forget(tx, ids)
		})
		if err != nil || gone == 0 {
			return err
		}
		if err := pause(ctx, sweepBreak); err != nil {
			return err
		}
	}
}

// forget removes messages and everything that hangs on them, but for who has hidden them: a late reader is not told that
// what they hid has expired (hub, missed).
func (s *Service) forget(tx *storage.Tx, ids []string) error {
	if err := s.strip(tx, ids); err != nil {
		return err
	}
	return eachChunk(tx, ids, "DELETE FROM message WHERE id IN (%s)")
}

// strip removes what a message loses together with its text: its pin, reactions, mentions, what it said before it was edited,
// its files. Who hid it stays known, so that they are not told of it again. A legal hold keeps what it said before and its
// files, which nobody is shown.
func (s *Service) strip(tx *storage.Tx, ids []string) error {
	if err := unpin(tx, ids); err != nil {
		return err
	}
	if err := s.release(tx, ids); err != nil {
		return err
	}
	return eachChunk(tx, ids,
		"DELETE FROM reaction WHERE message_id IN (%s)",
		"DELETE FROM mention WHERE message_id IN (%s)",
		`DELETE FROM message_edit WHERE message_id IN (SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id
			WHERE x.legal_hold = 0 AND c.legal_hold = 0 AND x.id IN (%s))`)
}

// eachChunk runs statements on ids; %s stands for the marks of an IN list.
func eachChunk(tx *storage.Tx, ids []string, statements ...string) error {
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		for _, statement := range statements {
			if _, err := tx.Exec(fmt.Sprintf(statement, marks), args...); err != nil {
				return fmt.Errorf("forget messages: %w", err)
			}
		}
	}
	return nil
}
