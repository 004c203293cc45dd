package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// SetupState is the answer of GET /setup/state.
type SetupState struct {
	Needed bool `json:"needed"` // there is no super_admin yet
}

// SetupState says whether the first administrator is still missing.
func (s *Service) SetupState(ctx context.Context, _ api.Caller, _ *struct{}) (state SetupState, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		err := v.QueryRow("SELECT NOT EXISTS (SELECT 1 FROM user WHERE role = 'super_admin' AND erased_at IS NULL)").Scan(&state.Needed)
		if err != nil {
			return fmt.Errorf("look for administrator: %w", err)
		}
		return nil
	})
	return state, err
}

// SetupLinkInfo is a setup link; its secret is shown only once.
type SetupLinkInfo struct {
	Secret    string `json:"secret"`
	Path      string `json:"path" doc:"Of the setup page, below the address of the server"`
	URL       string `json:"url,omitempty" doc:"The whole address, when the server knows its own"`
	ExpiresAt string `json:"expiresAt"`
}

const setupLifetime = 30 * time.Minute

// SetupLink makes a link that creates an administrator, good for one use within half an hour. Earlier links stop
// working, and so does this one when an administrator comes to be in another way.
func (s *Service) SetupLink(ctx context.Context, by api.Caller, _ *struct{}) (SetupLinkInfo, error) {
	n := newInvite{kind: kindSetup, code: rand.Text(), role: api.RoleSuperAdmin.String(), uses: 1, lifetime: setupLifetime}
	var info InviteInfo
	err := s.db.Write(ctx, "account.setup.link", func(tx *storage.Tx) (err error) {
		if by.UserID != "" { // the server itself has no account
			if err := MayAct(tx, by, tx.Millis()); err != nil {
				return err
			}
		}
		if err := revokeSetupLinks(tx); err != nil {
			return err
		}
		info, err = n.insert(tx, by)
		return err
	})
	if err != nil {
		return SetupLinkInfo{}, err
	}
	path := "/setup#" + n.code
	return SetupLinkInfo{Secret: n.code, Path: path, URL: s.absolute(path), ExpiresAt: info.ExpiresAt}, nil
}

func revokeSetupLinks(tx *storage.Tx) error {
	if _, err := tx.Exec("UPDATE invite SET revoked_at = ? WHERE kind = 'setup' AND revoked_at IS NULL", tx.Millis()); err != nil {
		return fmt.Errorf("revoke setup links: %w", err)
	}
	return nil
}

// SetupInput is the body of POST /setup, and how it came here.
type SetupInput struct {
	Body struct {
		Secret      string  `json:"secret" maxLength:"100"`
		Username    string  `json:"username" maxLength:"60"`
		DisplayName *string `json:"displayName" required:"false" maxLength:"200" doc:"The username when absent"`
		Password    string  `json:"password" maxLength:"200"`
		Email       *string `json:"email" required:"false" maxLength:"254"`
		PhoneNumber *string `json:"phoneNumber" required:"false" maxLength:"40"`
	}
	encrypted bool   // this connection is TLS
	forwarded string // X-Forwarded-Proto, worth what peer is worth
	peer      string // address of the other end of the connection
}

// Resolve notes how the request came, which is part of what Setup decides by.
func (in *SetupInput) Resolve(c huma.Context) []error {
	in.encrypted, in.forwarded, in.peer = c.TLS() != nil, c.Header("X-Forwarded-Proto"), c.RemoteAddr()
	return nil
}

// Setup creates an administrator with the secret of a setup link and signs in.
// Codes: SETUP_INSECURE, SETUP_INVALID, VALIDATION, WEAK_PASSWORD, USERNAME_TAKEN, PHONE_TAKEN, EMAIL_TAKEN.
func (s *Service) Setup(ctx context.Context, by api.Caller, in *SetupInput) (SignedIn, error) {
	if !s.confidential(by, in) {
		return SignedIn{}, api.E("SETUP_INSECURE")
	}
	b := &in.Body
	var link liveInvite
	find := func(q storage.Querier, now int64) (err error) {
		link, err = findInvite(q, "SELECT id, role FROM invite WHERE kind = 'setup' AND code_hash = ? AND uses < uses_max AND revoked_at IS NULL AND expires_at > ?",
			codeHash(strings.TrimSpace(b.Secret)), now)
		if err == nil && link.id == "" {
			err = api.E("SETUP_INVALID")
		}
		return err
	}
	if err := s.db.Read(ctx, func(v storage.View) error { return find(v, s.db.Now().UnixMilli()) }); err != nil {
		return SignedIn{}, err
	}
	n := newcomer{username: b.Username, displayName: text(b.DisplayName), phone: text(b.PhoneNumber), email: text(b.Email), role: api.RoleSuperAdmin.String()}
	if strings.TrimSpace(n.displayName) == "" {
		n.displayName = n.username
	}
	var wrong problems
	n.check(&wrong)
	if err := wrong.err(); err != nil {
		return SignedIn{}, err
	}
	if err := strongPassword(b.Password); err != nil {
		return SignedIn{}, err
	}
	hash, err := s.hashPassword(ctx, b.Password)
	if err != nil {
		return SignedIn{}, err
	}
	var g grant
	err = s.db.Write(ctx, "account.setup", func(tx *storage.Tx) error {
		if err := find(tx, tx.Millis()); err != nil {
			return err
		}
		by := by
		if err := redeem(tx, by, link.id, "SETUP_INVALID"); err != nil {
			return err
		}
		id, err := n.insert(tx, hash)
		if err != nil {
			return err
		}
		by.UserID = id
		if err := audit.Record(tx, by, "setup", audit.Target{Kind: "user", ID: id}, nil, map[string]any{"role": n.role}); err != nil {
			return err
		}
		g, err = s.openSession(tx, by, id)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(g)
}

// confidential reports whether the password on its way here could be read on the public net: it cannot over TLS, ours
// or that of a configured proxy, nor from this machine or a private network.
func (s *Service) confidential(by api.Caller, in *SetupInput) bool {
	peer, _, err := net.SplitHostPort(in.peer)
	if err != nil {
		peer = in.peer
	}
	if by.Local != "" || in.encrypted || strings.EqualFold(in.forwarded, "https") && s.config.Get().Trusts(peer) {
		return true
	}
	ip, err := netip.ParseAddr(by.IP)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate() || ip.IsLinkLocalUnicast()
}
