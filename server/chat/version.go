package chat

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Version is what a message said before one of its edits.
type Version struct {
	Content  string `json:"content"`
	EditedAt string `json:"editedAt"` // when it was replaced
	EditedBy string `json:"editedBy"`
}

// versionsMax is how many versions are kept: what was said first, and the latest.
const versionsMax = 100

func (s *Service) versionRoutes() []api.Row {
	return []api.Row{api.Op("GET /messages/{messageId}/edits", "message:edits", api.RoleUser, api.TierRead, s.Versions, api.Doc("What a message said before each of its edits, the original first."))}
}

// Versions lists what a message said before each of its edits, for everybody who sees the message. Codes:
// MESSAGE_NOT_FOUND.
func (s *Service) Versions(ctx context.Context, by api.Caller, in *MessageInput) ([]Version, error) {
	list := []Version{}
	err := s.db.Read(ctx, func(v storage.View) error {
		if m, _, err := visible(v, by, in.MessageID); err != nil || m.IsDeleted {
			return err
		}
		rows, err := v.Query("SELECT content, at, by FROM message_edit WHERE message_id = ? ORDER BY at", in.MessageID)
		if err != nil {
			return fmt.Errorf("read versions: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var version Version
			var at int64
			if err := rows.Scan(&version.Content, &at, &version.EditedBy); err != nil {
				return fmt.Errorf("read versions: %w", err)
			}
			version.EditedAt = api.Millis(at)
			list = append(list, version)
		}
		return rows.Err()
	})
	return list, err
}

// keepVersion keeps what a message says now, before the edit that replaces it. Two edits in one millisecond count as one
// after the other.
func keepVersion(tx *storage.Tx, by api.Caller, m *Message) error {
	if _, err := tx.Exec(`INSERT INTO message_edit (message_id, at, content, by)
		SELECT ?1, max(?2, coalesce(max(e.at) + 1, 0)), ?3, ?4 FROM message_edit e WHERE e.message_id = ?1`, m.ID, tx.Millis(), *m.Content, by.UserID); err != nil {
		return fmt.Errorf("keep version: %w", err)
	}
	if _, err := tx.Exec(`DELETE FROM message_edit WHERE message_id = ?1 AND at = (SELECT at FROM message_edit WHERE message_id = ?1 ORDER BY at LIMIT 1 OFFSET 1)
		AND (SELECT count(*) FROM message_edit WHERE message_id = ?1) > ?2`, m.ID, versionsMax); err != nil {
		return fmt.Errorf("drop version: %w", err)
	}
	return nil
}
