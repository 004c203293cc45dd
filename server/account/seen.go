package account

import (
	"context"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Alive reports whether the caller's session still stands, for sockets that outlive their access token.
func (s *Service) Alive(ctx context.Context, by api.Caller) bool {
	st, err := s.standing(ctx, by.SessionID)
	return err == nil && st.check(by.UserID, s.db.Now().UnixMilli()) == nil
}

// Seen notes when somebody went offline, unless they appeared to be that before.
func (s *Service) Seen(ctx context.Context, userID string, at time.Time) error {
	return s.db.Write(ctx, "account.seen", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET last_seen_at = ? WHERE id = ? AND status <> 'hidden'", at.UnixMilli(), userID)
		if err != nil {
			return fmt.Errorf("note last seen: %w", err)
		}
		return nil
	})
}
