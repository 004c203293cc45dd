package account

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// The kinds of invites. A link carries a code. A phone invite has none: it admits whoever registers with that number,
// so that an app which knows nothing of codes can join. A setup link makes an administrator.
const (
	kindSetup = "setup"
	kindLink  = "link"
	kindPhone = "phone"
)

// InviteInput is the body of POST /invites.
type InviteInput struct {
	Body struct {
		PhoneNumber *string `json:"phoneNumber" required:"false" maxLength:"20" doc:"Admits this number without a code, once"`
		Uses        *int    `json:"uses" required:"false" minimum:"1" maximum:"1000" doc:"How many may register with it; 1 when absent"`
		ExpiresIn   *int    `json:"expiresIn" required:"false" minimum:"60" maximum:"31536000" doc:"Seconds; a week when absent"`
		Role        *string `json:"role" required:"false" enum:"user,super_admin"`
	}
}

// InviteInfo is an invite as administrators see it. Code, Path and URL are there only when it has just been made.
type InviteInfo struct {
	MongoID     string  `json:"_id"`
	ID          string  `json:"id"`
	Kind        string  `json:"kind"`
	PhoneNumber *string `json:"phoneNumber"`
	Role        string  `json:"role"`
	UsesMax     int     `json:"usesMax"`
	Uses        int     `json:"uses"`
	CreatedBy   string  `json:"createdBy"`
	CreatedAt   string  `json:"createdAt"`
	ExpiresAt   string  `json:"expiresAt"`
	RevokedAt   *string `json:"revokedAt"`
	Code        string  `json:"code,omitempty"`
	Path        string  `json:"path,omitempty" doc:"Of the page to join on, below the address of the server"`
	URL         string  `json:"url,omitempty" doc:"The whole address, when the server knows its own"`
}

const inviteLifetime = 7 * 24 * time.Hour

// Invite makes an invite. Earlier invites of the same phone number stop working. Codes: VALIDATION, PHONE_TAKEN.
func (s *Service) Invite(ctx context.Context, by api.Caller, in *InviteInput) (InviteInfo, error) {
	n := newInvite{kind: kindLink, uses: 1, lifetime: inviteLifetime, role: text(in.Body.Role)}
	if n.role == "" {
		n.role = api.RoleUser.String()
	}
	if in.Body.Uses != nil {
		n.uses = *in.Body.Uses
	}
	if in.Body.ExpiresIn != nil {
		n.lifetime = time.Duration(*in.Body.ExpiresIn) * time.Second
	}
	var wrong problems
	if n.phone = wrong.phone(text(in.Body.PhoneNumber)); n.phone != "" {
		n.kind, n.uses = kindPhone, 1
		if n.role != api.RoleUser.String() {
			wrong.add("role", "must be user: whoever knows the number could claim it")
		}
	}
	if err := wrong.err(); err != nil {
		return InviteInfo{}, err
	}
	if n.kind == kindLink {
		n.code = rand.Text()
	}
	var info InviteInfo
	err := s.db.Write(ctx, "account.invite", func(tx *storage.Tx) (err error) {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		if n.phone != "" {
			if err := free(tx, "", "", n.phone, ""); err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE invite SET revoked_at = ? WHERE phone = ? AND revoked_at IS NULL", tx.Millis(), n.phone); err != nil {
				return fmt.Errorf("replace invite: %w", err)
			}
		}
		info, err = n.insert(tx, by)
		return err
	})
	if err != nil || n.kind == kindPhone {
		return info, err
	}
	info.Code, info.Path = n.code, "/join#"+n.code
	info.URL = s.absolute(info.Path)
	return info, nil
}

// absolute is the whole address of a path of this server, "" when the server does not know its own.
func (s *Service) absolute(path string) string {
	if base := s.config.Get().PublicURL; base != "" {
		return strings.TrimSuffix(base, "/") + path
	}
	return ""
}

// Invites lists the latest invites, without setup links.
func (s *Service) Invites(ctx context.Context, _ api.Caller, _ *struct{}) ([]InviteInfo, error) {
	list := []InviteInfo{}
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT id, kind, phone, role, uses_max, uses, created_by, created_at, expires_at, revoked_at FROM invite
			WHERE kind <> 'setup' ORDER BY id DESC LIMIT 500`)
		if err != nil {
			return fmt.Errorf("list invites: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var i InviteInfo
			var created, expires int64
			var revoked sql.NullInt64
			if err := rows.Scan(&i.ID, &i.Kind, &i.PhoneNumber, &i.Role, &i.UsesMax, &i.Uses, &i.CreatedBy, &created, &expires, &revoked); err != nil {
				return fmt.Errorf("list invites: %w", err)
			}
			i.MongoID, i.CreatedAt, i.ExpiresAt = i.ID, api.Millis(created), api.Millis(expires)
			if revoked.Valid {
				at := api.Millis(revoked.Int64)
				i.RevokedAt = &at
			}
			list = append(list, i)
		}
		return rows.Err()
	})
	return list, err
}

// RevokeInviteInput names an invite.
type RevokeInviteInput struct {
	InviteID string `path:"inviteId" maxLength:"64"`
}

// RevokeInvite makes an invite invalid. Code: INVITE_NOT_FOUND.
func (s *Service) RevokeInvite(ctx context.Context, by api.Caller, in *RevokeInviteInput) (Outcome, error) {
	err := s.db.Write(ctx, "account.invite.revoke", func(tx *storage.Tx) error {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		result, err := tx.Exec("UPDATE invite SET revoked_at = ? WHERE id = ? AND kind <> 'setup' AND revoked_at IS NULL", tx.Millis(), in.InviteID)
		if err := affected(result, err, "INVITE_NOT_FOUND"); err != nil {
			return fmt.Errorf("revoke invite: %w", err)
		}
		return audit.Record(tx, by, "invite_revoke", audit.Target{Kind: "invite", ID: in.InviteID}, nil, nil)
	})
	return Outcome{true, "The invite is revoked."}, err
}

// newInvite is an invite to be.
type newInvite struct {
	kind, code, phone, role string
	uses                    int
	lifetime                time.Duration
}

func (n *newInvite) insert(tx *storage.Tx, by api.Caller) (InviteInfo, error) {
	i := InviteInfo{
		ID: storage.NewID(), Kind: n.kind, Role: n.role, UsesMax: n.uses, CreatedBy: creator(by),
		CreatedAt: api.Time(tx.Now), ExpiresAt: api.Time(tx.Now.Add(n.lifetime)),
	}
	i.MongoID = i.ID
	var hash any
	if n.code != "" {
		hash = codeHash(n.code)
	}
	if n.phone != "" {
		i.PhoneNumber = &n.phone
	}
	_, err := tx.Exec(`INSERT INTO invite (id, kind, code_hash, phone, role, uses_max, created_by, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		i.ID, n.kind, hash, i.PhoneNumber, n.role, n.uses, i.CreatedBy, tx.Millis(), tx.Now.Add(n.lifetime).UnixMilli())
	if err != nil {
		return InviteInfo{}, fmt.Errorf("insert invite: %w", err)
	}
	return i, audit.Record(tx, by, "invite_create", audit.Target{Kind: "invite", ID: i.ID}, nil,
		map[string]any{"kind": n.kind, "role": n.role, "uses": n.uses, "expiresAt": i.ExpiresAt})
}

// creator is who made an invite: an account, or a user of this machine.
func creator(by api.Caller) string {
	if by.Local != "" {
		return "local:" + by.Local
	}
	return by.UserID
}

// liveInvite is an invite that somebody can use now.
type liveInvite struct{ id, role string }

// admission decides whether somebody may register, and by which invite; its id is empty when none is needed.
// Codes: REGISTRATION_CLOSED, INVITE_REQUIRED, INVITE_INVALID.
func admission(q storage.Querier, mode, code, phone string, now int64) (liveInvite, error) {
	if mode == modeClosed {
		return liveInvite{}, api.E("REGISTRATION_CLOSED")
	}
	if code != "" {
		invite, err := findInvite(q, "SELECT id, role FROM invite WHERE kind = 'link' AND code_hash = ? AND uses < uses_max AND revoked_at IS NULL AND expires_at > ?", codeHash(code), now)
		if err == nil && invite.id == "" {
			err = api.E("INVITE_INVALID")
		}
		return invite, err
	}
	invite := liveInvite{role: api.RoleUser.String()}
	if phone != "" {
		found, err := findInvite(q, "SELECT id, role FROM invite WHERE kind = 'phone' AND phone = ? AND uses < uses_max AND revoked_at IS NULL AND expires_at > ?", phone, now)
		if err != nil || found.id != "" {
			return found, err
		}
	}
	if mode != modeOpen {
		return liveInvite{}, api.E("INVITE_REQUIRED")
	}
	return invite, nil
}

func findInvite(q storage.Querier, query string, args ...any) (i liveInvite, err error) {
	err = q.QueryRow(query, args...).Scan(&i.id, &i.role)
	if errors.Is(err, sql.ErrNoRows) {
		return liveInvite{}, nil
	}
	if err != nil {
		return liveInvite{}, fmt.Errorf("find invite: %w", err)
	}
	return i, nil
}

// redeem takes one use of an invite, or fails with the code otherwise.
func redeem(tx *storage.Tx, by api.Caller, id, otherwise string) error {
	result, err := tx.Exec("UPDATE invite SET uses = uses + 1 WHERE id = ? AND uses < uses_max AND revoked_at IS NULL AND expires_at > ?", id, tx.Millis())
	if err := affected(result, err, otherwise); err != nil {
		return fmt.Errorf("redeem invite: %w", err)
	}
	return audit.Record(tx, by, "invite_redeem", audit.Target{Kind: "invite", ID: id}, nil, nil)
}

// affected returns the error of a statement, or the code otherwise when it changed nothing.
func affected(result sql.Result, err error, otherwise string) error {
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return api.E(otherwise)
	}
	return nil
}

// codeHash is the stored form of a code, which is random enough to need no salt.
func codeHash(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}
