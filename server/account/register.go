package account

import (
	"context"
	"crypto/rand"
	"fmt"
	"math/big"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// RegisterInput is the body of POST /auth/register, in the form of the phone app (phoneNumber, username, displayName)
// or of the browser client (email, firstName, lastName).
type RegisterInput struct {
	Body struct {
		PhoneNumber *string `json:"phoneNumber" required:"false" maxLength:"40"`
		Email       *string `json:"email" required:"false" maxLength:"254"`
		Password    string  `json:"password" maxLength:"200"`
		Username    *string `json:"username" required:"false" maxLength:"60"`
		DisplayName *string `json:"displayName" required:"false" maxLength:"200"`
		FirstName   *string `json:"firstName" required:"false" maxLength:"100"`
		LastName    *string `json:"lastName" required:"false" maxLength:"100"`
		InviteCode  *string `json:"inviteCode" required:"false" maxLength:"100"`
	}
}

// The registration modes.
const (
	modeOpen   = "open"
	modeClosed = "closed"
)

// Register creates an account and signs in. Codes: VALIDATION, REGISTRATION_CLOSED, INVITE_REQUIRED, INVITE_INVALID,
// USERNAME_TAKEN, PHONE_TAKEN, EMAIL_TAKEN.
func (s *Service) Register(ctx context.Context, by api.Caller, in *RegisterInput) (SignedIn, error) {
	n, synthesised, err := in.newcomer()
	if err != nil {
		return SignedIn{}, err
	}
	code := strings.TrimSpace(text(in.Body.InviteCode))
	mode := s.config.Get().Registration
	// Asked before the costly hash, and again in the transaction.
	err = s.db.Read(ctx, func(v storage.View) error {
		_, err := admission(v, mode, code, n.phone, s.db.Now().UnixMilli())
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	hash, err := s.hashPassword(ctx, in.Body.Password)
	if err != nil {
		return SignedIn{}, err
	}
	var g grant
	err = s.db.Write(ctx, "account.register", func(tx *storage.Tx) error {
		n := n
		invite, err := admission(tx, mode, code, n.phone, tx.Millis())
		if err != nil {
			return err
		}
		if synthesised {
			if n.username, err = freeUsername(tx, n.username); err != nil {
				return err
			}
		}
		n.role = invite.role
		id, err := n.insert(tx, hash)
		if err != nil {
			return err
		}
		by := by
		by.UserID = id
		if invite.id != "" {
			if err := redeem(tx, by, invite.id, "INVITE_INVALID"); err != nil {
				return err
			}
		}
		if err := audit.Record(tx, by, "register", audit.Target{Kind: "user", ID: id}, nil, map[string]any{"role": n.role}); err != nil {
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

// newcomer reads either form. A synthesised username is a wish, to be made unique.
func (in *RegisterInput) newcomer() (n newcomer, synthesised bool, err error) {
	b := &in.Body
	n = newcomer{username: text(b.Username), displayName: text(b.DisplayName), phone: text(b.PhoneNumber), email: text(b.Email)}
	local, _, _ := strings.Cut(n.email, "@")
	if n.displayName == "" {
		n.displayName = shown(text(b.FirstName) + " " + text(b.LastName))
		if n.displayName == "" && n.email != "" {
			n.displayName = shown(local)
		}
	}
	if n.username == "" && n.email != "" {
		synthesised = true
		n.username = usernameFrom(text(b.FirstName)+text(b.LastName), local)
		if utf8.RuneCountInString(n.displayName) < 2 {
			n.displayName = n.username
		}
	}
	var wrong problems
	n.check(&wrong)
	wrong.registerPassword(b.Password)
	return n, synthesised, wrong.err()
}

// shown makes a display name of names that nobody chose as one: what it cannot have is left out.
func shown(name string) string {
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(name, ""))
	name = strings.Join(strings.Fields(name), " ")
	if runes := []rune(name); len(runes) > displayNameMax {
		name = strings.TrimSpace(string(runes[:displayNameMax]))
	}
	return name
}

// usernameFrom makes a wish for a username of what was given: what is left of a name, else of the local part of an
// e-mail address, else "user".
func usernameFrom(names ...string) string {
	for _, name := range names {
		name = strings.Map(func(r rune) rune {
			if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || strings.ContainsRune("_.-", r) {
				return r
			}
			return -1
		}, fold(name))
		if len(name) > 22 {
			name = name[:22]
		}
		if len(name) >= 3 && !numberForm.MatchString(name) {
			return name
		}
	}
	return "user"
}

// freeUsername returns the wish, or the wish with a few digits when it is taken.
func freeUsername(q storage.Querier, wish string) (string, error) {
	name := wish
	for digits := int64(1_000); ; digits *= 10 {
		var taken bool
		if err := q.QueryRow("SELECT EXISTS (SELECT 1 FROM user WHERE username_key = ?)", fold(name)).Scan(&taken); err != nil {
			return "", fmt.Errorf("look for username: %w", err)
		}
		if !taken || digits > 10_000_000 {
			return name, nil
		}
		suffix, err := rand.Int(rand.Reader, big.NewInt(digits))
		if err != nil {
			return "", fmt.Errorf("make username: %w", err)
		}
		name = wish + suffix.String()
	}
}
