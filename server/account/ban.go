package account

import (
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// Ban shuts somebody out in the transaction of tx, until a time or, when until is zero, for good, and ends their
// sessions. A super_admin cannot be banned. Codes: USER_NOT_FOUND, INSUFFICIENT_PERMISSIONS.
func (s *Service) Ban(tx *storage.Tx, by api.Caller, userID string, until time.Time, reason string) error {
	if err := ValidUser(tx, userID); err != nil {
		return err
	}
	var end any
	if !until.IsZero() {
		end = until.UnixMilli()
	}
	result, err := tx.Exec("UPDATE user SET banned_at = ?, banned_until = ?, banned_by = ?, ban_reason = ?, updated_at = ? WHERE id = ? AND role <> 'super_admin'",
		tx.Millis(), end, creator(by), reason, tx.Millis(), userID)
	if err := affected(result, err, "INSUFFICIENT_PERMISSIONS"); err != nil {
		return fmt.Errorf("ban: %w", err)
	}
	if _, err := s.Revoke(tx, userID, Which{}, reasonBanned); err != nil {
		return err
	}
	return audit.Record(tx, by, "user_ban", audit.Target{Kind: "user", ID: userID}, nil, map[string]any{"reason": reason, "until": end})
}

// Unban lets somebody in again in the transaction of tx; they sign in anew. Code: USER_NOT_FOUND.
func (s *Service) Unban(tx *storage.Tx, by api.Caller, userID string) error {
	if err := ValidUser(tx, userID); err != nil {
		return err
	}
	_, err := tx.Exec("UPDATE user SET banned_at = NULL, banned_until = NULL, banned_by = NULL, ban_reason = NULL, updated_at = ? WHERE id = ?", tx.Millis(), userID)
	if err != nil {
		return fmt.Errorf("unban: %w", err)
	}
	if err := s.Changed(tx, userID); err != nil {
		return err
	}
	return audit.Record(tx, by, "user_unban", audit.Target{Kind: "user", ID: userID}, nil, nil)
}
