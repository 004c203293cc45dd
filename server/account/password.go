package account

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"database/sql"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// ChangePasswordInput is the body of POST /auth/password/change.
type ChangePasswordInput struct {
	Body struct {
		CurrentPassword string `json:"currentPassword" maxLength:"200"`
		NewPassword     string `json:"newPassword" maxLength:"200"`
	}
}

// PasswordChanged is its answer. The access token used for the call is of the old credentials and no longer valid;
// the refresh token stays.
type PasswordChanged struct {
	Outcome
	AccessToken string `json:"accessToken"`
}

// ChangePassword replaces the caller's password and ends their other sessions.
// Codes: WRONG_PASSWORD, ACCOUNT_LOCKED, WEAK_PASSWORD, SAME_PASSWORD.
func (s *Service) ChangePassword(ctx context.Context, by api.Caller, in *ChangePasswordInput) (PasswordChanged, error) {
	current, next := in.Body.CurrentPassword, in.Body.NewPassword
	if err := strongPassword(next); err != nil {
		return PasswordChanged{}, err
	}
	var c credentials
	err := s.db.Read(ctx, func(v storage.View) (err error) {
		c, err = findCredentials(v, "id", by.UserID)
		return err
	})
	if err != nil {
		return PasswordChanged{}, err
	}
	if c.id == "" {
		return PasswordChanged{}, api.E("UNAUTHORIZED")
	}
	attempts := "attempts:password:" + c.id
	if err := s.countAttempt(attempts); err != nil {
		return PasswordChanged{}, err
	}
	if ok, err := s.passwordMatches(ctx, c.hash.String, current); err != nil {
		return PasswordChanged{}, err
	} else if !ok {
		err := s.db.Write(ctx, "account.password.wrong", func(tx *storage.Tx) error {
			return audit.Record(tx, by, "password_change_failed", audit.Target{Kind: "user", ID: c.id}, nil, nil)
		})
		if err != nil {
			return PasswordChanged{}, err
		}
		return PasswordChanged{}, api.E("WRONG_PASSWORD")
	}
	s.clearAttempts(attempts)
	if current == next {
		return PasswordChanged{}, api.E("SAME_PASSWORD")
	}
	hash, err := s.hashPassword(ctx, next)
	if err != nil {
		return PasswordChanged{}, err
	}
	var g grant
	err = s.db.Write(ctx, "account.password", func(tx *storage.Tx) (err error) {
		g = grant{session: by.SessionID}
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if err := s.setPassword(tx, by, c, hash); err != nil {
			return err
		}
		g.credential = c.credential + 1
		g.self, err = readSelf(tx, c.id)
		return err
	})
	if err != nil {
		return PasswordChanged{}, err
	}
	access, err := s.accessToken(g)
	return PasswordChanged{Outcome{true, "Password changed."}, access}, err
}

// SetPasswordInput is the body of POST /auth/password/set.
type SetPasswordInput struct {
	Body struct {
		Password string `json:"password" maxLength:"200"`
	}
}

// SetPassword gives a password to an account that has none, and ends its other sessions.
// Codes: PASSWORD_SET, WEAK_PASSWORD.
func (s *Service) SetPassword(ctx context.Context, by api.Caller, in *SetPasswordInput) (PasswordChanged, error) {
	var c credentials
	find := func(q storage.Querier) (err error) {
		c, err = findCredentials(q, "id", by.UserID)
		switch {
		case err != nil:
			return err
		case c.id == "":
			return api.E("UNAUTHORIZED")
		case c.hash.Valid:
			return api.E("PASSWORD_SET")
		}
		return nil
	}
	if err := s.db.Read(ctx, func(v storage.View) error { return find(v) }); err != nil {
		return PasswordChanged{}, err
	}
	if err := strongPassword(in.Body.Password); err != nil {
		return PasswordChanged{}, err
	}
	hash, err := s.hashPassword(ctx, in.Body.Password)
	if err != nil {
		return PasswordChanged{}, err
	}
	var g grant
	err = s.db.Write(ctx, "account.password.set", func(tx *storage.Tx) (err error) {
		g = grant{session: by.SessionID}
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if err := find(tx); err != nil {
			return err
		}
		if err := s.setPassword(tx, by, c, hash); err != nil {
			return err
		}
		g.credential = c.credential + 1
		g.self, err = readSelf(tx, c.id)
		return err
	})
	if err != nil {
		return PasswordChanged{}, err
	}
	access, err := s.accessToken(g)
	return PasswordChanged{Outcome{true, "Password set."}, access}, err
}

// setPassword stores a hash in place of the one in c and ends every session of the person but the caller's.
func (s *Service) setPassword(tx *storage.Tx, by api.Caller, c credentials, hash string) error {
	result, err := tx.Exec("UPDATE user SET password_hash = ?, password_at = ?, credential = credential + 1, updated_at = ? WHERE id = ? AND credential = ?",
		hash, tx.Millis(), tx.Millis(), c.id, c.credential)
	if err := affected(result, err, "WRONG_PASSWORD"); err != nil { // or changed since it was checked
		return fmt.Errorf("set password: %w", err)
	}
	if _, err := tx.Exec("UPDATE session SET credential = ? WHERE id = ? AND user_id = ?", c.credential+1, by.SessionID, c.id); err != nil {
		return fmt.Errorf("keep session: %w", err)
	}
	if err := s.Changed(tx, c.id); err != nil {
		return err
	}
	ended, err := s.Revoke(tx, c.id, Which{Except: by.SessionID}, reasonPassword)
	if err != nil {
		return err
	}
	return audit.Record(tx, by, "password_change", audit.Target{Kind: "user", ID: c.id}, nil, map[string]any{"sessionsEnded": len(ended)})
}

// credentials are what a person proves to be themselves with.
type credentials struct {
	id         string
	hash       sql.NullString
	credential int64
}

// findCredentials returns the person whose column has this value; the id is empty when there is none.
func findCredentials(q storage.Querier, column, value string) (credentials, error) {
	texts := map[string]string{
		"id":       "SELECT id, password_hash, credential FROM user WHERE id = ? AND erased_at IS NULL",
		"phone":    "SELECT id, password_hash, credential FROM user WHERE phone = ? AND erased_at IS NULL",
		"email":    "SELECT id, password_hash, credential FROM user WHERE email = ? AND erased_at IS NULL",
		"username": "SELECT id, password_hash, credential FROM user WHERE username_key = ? AND erased_at IS NULL",
	}
	var c credentials
	err := q.QueryRow(texts[column], value).Scan(&c.id, &c.hash, &c.credential)
	if err == sql.ErrNoRows {
		return credentials{}, nil
	}
	if err != nil {
		return credentials{}, fmt.Errorf("find account: %w", err)
	}
	return c, nil
}

// cost is what it takes to compute a hash.
type cost struct {
	memory, passes uint32 // KiB, times over it
}

// fullCost is 19 MiB and two passes (OWASP): 35 ms here. Two hashes at a time bound the memory.
var fullCost = cost{memory: 19 << 10, passes: 2}

const (
	hashesAtOnce = 2
	saltLength   = 16
	keyLength    = 32
)

func (c cost) encode(salt, key []byte) string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, c.memory, c.passes,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// hashPassword returns the PHC string of a password. It waits for a place until ctx ends.
func (s *Service) hashPassword(ctx context.Context, password string) (string, error) {
	salt := make([]byte, saltLength)
	_, _ = rand.Read(salt)
	key, err := s.derive(ctx, password, salt, s.cost, keyLength)
	return s.cost.encode(salt, key), err
}

// passwordMatches compares a password with a PHC string. With an empty one, that of somebody unknown or without a
// password, it takes as long and answers false.
func (s *Service) passwordMatches(ctx context.Context, phc, password string) (bool, error) {
	if phc == "" {
		_, err := s.derive(ctx, password, make([]byte, saltLength), s.cost, keyLength)
		return false, err
	}
	var version int
	var c cost
	fields := strings.Split(phc, "$")
	if len(fields) != 6 || fields[1] != "argon2id" {
		return false, fmt.Errorf("check password: stored hash has an unknown form")
	}
	if _, err := fmt.Sscanf(fields[2]+" "+fields[3], "v=%d m=%d,t=%d,p=1", &version, &c.memory, &c.passes); err != nil {
		return false, fmt.Errorf("check password: stored hash: %w", err)
	}
	salt, err := base64.RawStdEncoding.DecodeString(fields[4])
	if err != nil {
		return false, fmt.Errorf("check password: stored salt: %w", err)
	}
	want, err := base64.RawStdEncoding.DecodeString(fields[5])
	if err != nil {
		return false, fmt.Errorf("check password: stored key: %w", err)
	}
	key, err := s.derive(ctx, password, salt, c, uint32(len(want)))
	return err == nil && subtle.ConstantTimeCompare(key, want) == 1, err
}

func (s *Service) derive(ctx context.Context, password string, salt []byte, c cost, length uint32) ([]byte, error) {
	select {
	case s.hashing <- struct{}{}:
		defer func() { <-s.hashing }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return argon2.IDKey([]byte(password), salt, c.passes, c.memory, 1, length), nil
}

// longPassphrase is the length from which a password need not mix kinds of characters.
const (
	longPassphrase = 16
	passwordMax    = 128
)

var commonWords = []string{"password", "passwort", "123456", "qwerty", "letmein", "iloveyou", "abc123", "quckchat"}

// strongPassword checks a password that is set or changed (contract 2.2). Code: WEAK_PASSWORD.
func strongPassword(password string) error {
	weak := func(why string) error { return api.E("WEAK_PASSWORD", "why", why) }
	switch n := utf8.RuneCountInString(password); {
	case n < 8:
		return weak("min. 8")
	case n > passwordMax:
		return weak("max. 128")
	case n >= longPassphrase:
		return nil
	}
	if kindsOf(password) != [4]bool{true, true, true, true} {
		return weak("a-z, A-Z, 0-9, @$!%*?&")
	}
	if word := commonWord(password); word != "" {
		return weak("“" + word + "”")
	}
	return nil
}

// commonWord is a word in the password that everybody tries first, or "".
func commonWord(password string) string {
	folded := strings.ToLower(password)
	for _, word := range commonWords {
		if strings.Contains(folded, word) {
			return word
		}
	}
	return ""
}
