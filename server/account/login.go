package account

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// LoginInput is the body of POST /auth/login: a password and one name of the account. Identifier may be any of the
// three kinds.
type LoginInput struct {
	Body struct {
		PhoneNumber *string `json:"phoneNumber" required:"false" maxLength:"254"`
		Email       *string `json:"email" required:"false" maxLength:"254"`
		Username    *string `json:"username" required:"false" maxLength:"254"`
		Identifier  *string `json:"identifier" required:"false" maxLength:"254"`
		Password    string  `json:"password" maxLength:"200"`
	}
}

// Login signs in with a password. An unknown account is answered like a wrong password, and takes as long.
// Codes: INVALID_CREDENTIALS, ACCOUNT_LOCKED, USER_BANNED, USER_DEACTIVATED.
func (s *Service) Login(ctx context.Context, by api.Caller, in *LoginInput) (SignedIn, error) {
	column, name := in.name()
	if name == "" {
		return SignedIn{}, api.Invalid("phoneNumber", "is required")
	}
	var c credentials
	err := s.db.Read(ctx, func(v storage.View) (err error) {
		c, err = findCredentials(v, column, name)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	target := audit.Target{Kind: "user", ID: c.id}
	if c.id == "" {
		target = audit.Target{Kind: "unknown", ID: s.mark(name)}
	}
	attempts := "attempts:login:" + target.ID
	if err := s.countAttempt(attempts); err != nil {
		return SignedIn{}, err
	}
	ok, err := s.passwordMatches(ctx, c.hash.String, in.Body.Password)
	if err != nil {
		return SignedIn{}, err
	}
	if !ok {
		err := s.db.Write(ctx, "account.login.failed", func(tx *storage.Tx) error {
			return audit.Record(tx, by, "login_failed", target, nil, nil)
		})
		if err != nil {
			return SignedIn{}, err
		}
		return SignedIn{}, api.E("INVALID_CREDENTIALS")
	}
	s.clearAttempts(attempts)
	by.UserID = c.id
	var g grant
	err = s.db.Write(ctx, "account.login", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		now, err := findCredentials(tx, "id", c.id)
		if err != nil {
			return err
		}
		if now.credential != c.credential {
			return api.E("INVALID_CREDENTIALS") // the password was changed while it was checked
		}
		if err := audit.Record(tx, by, "login", target, nil, nil); err != nil {
			return err
		}
		g, err = s.openSession(tx, by, c.id)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	return s.signedIn(g)
}

// name returns what the account is called, and the column to look for that in. No username looks like a phone number
// or an e-mail address, so no name fits two accounts.
func (in *LoginInput) name() (column, name string) {
	for _, field := range []*string{in.Body.PhoneNumber, in.Body.Email, in.Body.Username, in.Body.Identifier} {
		if name = strings.TrimSpace(text(field)); name != "" {
			break
		}
	}
	switch {
	case phoneForm.MatchString(name):
		return "phone", canonicalPhone(name)
	case strings.Contains(name, "@"):
		return "email", fold(name)
	}
	return "username", fold(name)
}

// Wrong passwords for one account in one window, from wherever they come; after that it answers ACCOUNT_LOCKED.
const (
	wrongMax    = 5
	wrongWindow = 15 * time.Minute
)

// countAttempt counts a try before its password is checked, so that tries at once are no way around the limit.
// A try that succeeds clears the count. Code: ACCOUNT_LOCKED.
func (s *Service) countAttempt(key string) error {
	s.counting.Lock()
	defer s.counting.Unlock()
	now := s.db.Now()
	old, err := s.cache.Get(key)
	if err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	count, ends := uint64(0), now.Add(wrongWindow)
	if len(old) == 16 {
		if e := time.UnixMilli(int64(binary.BigEndian.Uint64(old[8:]))); e.After(now) {
			count, ends = binary.BigEndian.Uint64(old), e
		}
	}
	left := ends.Sub(now)
	if count >= wrongMax {
		return api.E("ACCOUNT_LOCKED", "minutes", int((left+time.Minute-1)/time.Minute))
	}
	value := binary.BigEndian.AppendUint64(nil, count+1)
	value = binary.BigEndian.AppendUint64(value, uint64(ends.UnixMilli()))
	if err := s.cache.Set(key, value, left); err != nil {
		return fmt.Errorf("count attempt: %w", err)
	}
	return nil
}

func (s *Service) clearAttempts(key string) {
	if err := s.cache.Delete(key); err != nil {
		s.log.Warn("attempts not cleared", "error", err) // they lapse by themselves
	}
}

// openSession signs a person in within a transaction.
func (s *Service) openSession(tx *storage.Tx, by api.Caller, userID string) (grant, error) {
	g := grant{session: storage.NewID(), generation: 1}
	err := tx.QueryRow("SELECT credential FROM user WHERE id = ?", userID).Scan(&g.credential)
	if err != nil {
		return grant{}, fmt.Errorf("open session: %w", err)
	}
	name, kind := describeDevice(by.UserAgent)
	_, err = tx.Exec(`INSERT INTO session (id, user_id, generation, rotated_at, credential, device_id, device_name, device_type, ip, user_agent, created_at, last_active_at, expires_at)
		VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		g.session, userID, tx.Millis(), g.credential, by.DeviceID, name, kind, by.IP, by.UserAgent, tx.Millis(), tx.Millis(),
		tx.Now.Add(s.config.Get().RefreshTokenTTL).UnixMilli())
	if err != nil {
		return grant{}, fmt.Errorf("open session: %w", err)
	}
	if by.DeviceID != "" {
		if err := s.signedInOn(tx, userID, by.DeviceID, name, kind); err != nil {
			return grant{}, err
		}
	}
	g.self, err = readSelf(tx, userID)
	return g, err
}

// describeDevice guesses from a User-Agent what a person would call the device, and its type of contract 2.1.
func describeDevice(userAgent string) (name, kind string) {
	for _, d := range []struct{ sign, name, kind string }{
		{"okhttp", "Android app", "mobile"}, {"CFNetwork", "iPhone app", "mobile"}, {"Expo", "Mobile app", "mobile"}, {"Dart", "Mobile app", "mobile"},
		{"iPhone", "iPhone", "web"}, {"iPad", "iPad", "web"}, {"Android", "Android", "web"}, {"Windows", "Windows", "web"},
		{"Macintosh", "Mac", "web"}, {"Linux", "Linux", "web"},
	} {
		if strings.Contains(userAgent, d.sign) {
			return d.name, d.kind
		}
	}
	return "Unknown device", "desktop"
}
