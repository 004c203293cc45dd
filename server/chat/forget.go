package chat

import (
	"fmt"

	"github.com/quckchat/quckchat/storage"
)

// forget removes messages and everything that hangs on them.
func forget(tx *storage.Tx, ids []string) error {
	if err := strip(tx, ids); err != nil {
		return err
	}
	return eachChunk(tx, ids,
		"DELETE FROM message_hidden WHERE (conversation_id, n) IN (SELECT conversation_id, n FROM message WHERE id IN (%s))",
		"DELETE FROM message WHERE id IN (%s)")
}

// strip removes what a message loses together with its text: its pin, reactions, mentions, what it said before it was edited.
// Who hid it stays known, so that they are not told of it again.
func strip(tx *storage.Tx, ids []string) error {
	if err := unpin(tx, ids); err != nil {
		return err
	}
	return eachChunk(tx, ids,
		"DELETE FROM reaction WHERE message_id IN (%s)",
		"DELETE FROM mention WHERE message_id IN (%s)",
		"DELETE FROM message_edit WHERE message_id IN (%s)")
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
