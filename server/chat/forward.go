package chat

import (
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// A forward is a message that is sent with forwardedFrom, the id of one that the sender can see. It says what that one
// says now: the server copies it, whatever the client sends along, and it cannot be edited afterwards, so that nobody
// puts words into a forward. From then on the two have nothing to do with each other: the forward has the timer of where
// it went to, and stays when the original goes.
//
// It tells its readers that it is a forward, and nothing of where it comes from: not who said it, nor where, nor when. Whoever
// can see the original themselves is told its id where they look, never in a frame that several get.

// forwardable are the types of message that can be forwarded. What the server writes (notices, calls) is of its
// conversation alone.
var forwardable = []string{"text", "image", "video", "audio", "file", "sticker", "location", "contact"}

// forward makes a draft say what the message says that it is to be a copy of. Codes: MESSAGE_NOT_FOUND,
// MESSAGE_NOT_FORWARDABLE.
func forward(tx *storage.Tx, by api.Caller, d *draft) (*draft, error) {
	m, _, err := visible(tx, by, *d.original)
	switch {
	case err != nil:
		return d, err
	case m.IsDeleted:
		return d, api.E("MESSAGE_NOT_FOUND")
	case !slices.Contains(forwardable, m.Type):
		return d, api.E("MESSAGE_NOT_FORWARDABLE")
	}
	copied := *d // the closure may run again
	copied.kind, copied.content, copied.metadata, copied.copies = m.Type, m.Content, m.Metadata, m.attached
	return &copied, nil
}

// addOriginals fills in which message each forward is a copy of, where the viewer can see that one; for nobody when
// viewer is "". Pages without forwards cost no query.
func addOriginals(q storage.Querier, viewer string, list []*Message) error {
	var ids []string
	for _, m := range list {
		if m.original != nil && viewer != "" {
			ids = append(ids, *m.original)
		}
	}
	seen := map[string]bool{}
	for _, chunk := range storage.Chunks(distinct(ids)) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(fmt.Sprintf(originalsSeen, marks), slices.Concat(args, []any{viewer, q.Millis()})...)
		if err != nil {
			return fmt.Errorf("read originals: %w", err)
		}
		found, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("read originals: %w", err)
		}
		for _, id := range found {
			seen[id] = true
		}
	}
	for _, m := range list {
		if m.original != nil && seen[*m.original] {
			m.ForwardedFrom = m.original
		}
	}
	return nil
}

// originalsSeen finds those of some messages that somebody can see.
const originalsSeen = `SELECT x.id FROM message x CROSS JOIN member m WHERE x.id IN (%s) AND m.user_id = ? AND m.conversation_id = x.conversation_id
	AND m.left_seq IS NULL AND x.n > max(m.history_from_n, m.clear_n) AND ` + there + " AND " + unhidden
