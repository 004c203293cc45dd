package account

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// blocksMax is how many people somebody may block. Everybody online keeps their own in memory, and settings list them.
const blocksMax = 1000

func (s *Service) blockRoutes() []api.Row {
	return []api.Row{
		api.Op("POST /users/me/blocked-users", "block:add", api.RoleUser, api.TierWrite, s.Block,
			api.Doc("Block somebody: neither can write to the other or see whether they are here. In groups that both are in, messages go on.")),
		api.Op("GET /users/me/blocked-users", "block:list", api.RoleUser, api.TierRead, s.BlockedUsers, api.Doc("The people I block, the latest first.")),
		api.Op("DELETE /users/me/blocked-users/{userId}", "block:remove", api.RoleUser, api.TierWrite, s.Unblock, api.Doc("Stop blocking somebody.")),
	}
}

// BlockInput names who is to be blocked.
type BlockInput struct {
	Body struct {
		UserID string `json:"userId" maxLength:"64"`
	}
}

// Block keeps somebody away: no single conversation, no invite into a group, no finding each other, no presence and no
// typing, in both directions, from the commit on. Blocking twice is blocking once. What was said stays, and in groups
// that both are in messages go on. Codes: VALIDATION for oneself, USER_NOT_FOUND, BLOCKS_FULL.
func (s *Service) Block(ctx context.Context, by api.Caller, in *BlockInput) (*Settings, error) {
	other := in.Body.UserID
	if other == by.UserID {
		return nil, api.Invalid("userId", "cannot be yourself")
	}
	var out *Settings
	err := s.db.Write(ctx, "account.block", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		var exists, already bool
		var count int
		err := tx.QueryRow(`SELECT EXISTS (SELECT 1 FROM user WHERE id = ?2 AND erased_at IS NULL), EXISTS (SELECT 1 FROM block WHERE user_id = ?1 AND blocked_id = ?2),
			(SELECT count(*) FROM block WHERE user_id = ?1)`, by.UserID, other).Scan(&exists, &already, &count)
		switch {
		case err != nil:
			return fmt.Errorf("block: %w", err)
		case !exists:
			return api.E("USER_NOT_FOUND")
		case already:
			out, err = settingsOf(tx, by.UserID)
			return err
		case count >= blocksMax:
			return api.E("BLOCKS_FULL", "max", blocksMax)
		}
		if _, err := tx.Exec("INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, ?)", by.UserID, other, tx.Millis()); err != nil {
			return fmt.Errorf("block: %w", err)
		}
		if out, err = s.settingsChanged(tx, by); err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return out, err
}

// Unblock lifts a block; there need not be one.
func (s *Service) Unblock(ctx context.Context, by api.Caller, in *UserInput) (*Settings, error) {
	var out *Settings
	err := s.db.Write(ctx, "account.unblock", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		result, err := tx.Exec("DELETE FROM block WHERE user_id = ? AND blocked_id = ?", by.UserID, in.UserID)
		if err != nil {
			return fmt.Errorf("unblock: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			out, err = settingsOf(tx, by.UserID)
			return err
		}
		if out, err = s.settingsChanged(tx, by); err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return out, err
}

// BlockedUsers lists the people whom the caller blocks, the latest first.
func (s *Service) BlockedUsers(ctx context.Context, by api.Caller, _ *struct{}) ([]Public, error) {
	list := []Public{}
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT "+PublicColumnsFor+` FROM block b JOIN user u ON u.id = b.blocked_id
			WHERE b.user_id = ?1 AND u.erased_at IS NULL ORDER BY b.created_at DESC, b.blocked_id`, by.UserID)
		if err != nil {
			return fmt.Errorf("list blocks: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var p Public
			if err := rows.Scan(p.PublicTargets()...); err != nil {
				return fmt.Errorf("list blocks: %w", err)
			}
			p.Show(v)
			list = append(list, p)
		}
		return rows.Err()
	})
	return list, err
}
