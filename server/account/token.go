package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// claims is what an access token says.
type claims struct {
	jwt.RegisteredClaims
	Session    string `json:"sid"`
	Type       string `json:"typ"`
	Role       string `json:"role"`
	Phone      string `json:"phoneNumber,omitempty"`
	Credential int64  `json:"cred"` // number of the credentials it was given for; a change of password ends it
}

const typeAccess = "access"

// SignedIn is the answer of everything that signs somebody in.
type SignedIn struct {
	User         Self   `json:"user"`
	AccessToken  string `json:"accessToken"`
	RefreshToken string `json:"refreshToken"`
}

// grant is a session as far as its tokens need it.
type grant struct {
	self       Self
	session    string
	generation int64
	credential int64
}

// signedIn makes the tokens of a grant.
func (s *Service) signedIn(g grant) (SignedIn, error) {
	access, err := s.accessToken(g)
	return SignedIn{User: g.self, AccessToken: access, RefreshToken: s.refreshToken(g.session, g.generation)}, err
}

func (s *Service) accessToken(g grant) (string, error) {
	now := s.db.Now()
	c := claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Subject: g.self.ID, IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(s.config.Get().AccessTokenTTL)),
		},
		Session: g.session, Type: typeAccess, Role: g.self.Role, Credential: g.credential,
	}
	if g.self.PhoneNumber != nil {
		c.Phone = *g.self.PhoneNumber
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, c).SignedString(s.secrets.Signing)
	if err != nil {
		return "", fmt.Errorf("sign access token: %w", err)
	}
	return token, nil
}

// verify checks signature, kind and lifetime of an access token, which may be stale for so long. Codes: INVALID_TOKEN,
// TOKEN_EXPIRED.
func (s *Service) verify(token string, stale time.Duration) (*claims, error) {
	var c claims
	_, err := jwt.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return s.secrets.Signing, nil },
		jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired(), jwt.WithTimeFunc(s.db.Now), jwt.WithLeeway(stale))
	if errors.Is(err, jwt.ErrTokenExpired) {
		return nil, api.E("TOKEN_EXPIRED")
	}
	if err != nil || c.Type != typeAccess || !storage.IsID(c.Subject) || !storage.IsID(c.Session) {
		return nil, api.E("INVALID_TOKEN")
	}
	return &c, nil
}

// refreshToken is "session.generation.digest". The digest proves that we gave it; the session row says whether it is
// still the one in force.
func (s *Service) refreshToken(session string, generation int64) string {
	body := session + "." + strconv.FormatInt(generation, 10)
	return body + "." + s.refreshDigest(body)
}

func (s *Service) refreshDigest(body string) string {
	m := hmac.New(sha256.New, s.secrets.Refresh)
	m.Write([]byte(body))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// parseRefresh returns what a refresh token of ours names; ok is false for any other string.
func (s *Service) parseRefresh(token string) (session string, generation int64, ok bool) {
	at := strings.LastIndexByte(token, '.')
	if at < 0 || !hmac.Equal([]byte(token[at+1:]), []byte(s.refreshDigest(token[:at]))) {
		return "", 0, false
	}
	session, number, _ := strings.Cut(token[:at], ".")
	generation, err := strconv.ParseInt(number, 10, 64)
	return session, generation, err == nil
}

// mark is a short keyed digest, for audit rows about names that are not to be written in clear.
func (s *Service) mark(text string) string {
	m := hmac.New(sha256.New, s.secrets.Refresh)
	m.Write([]byte("mark|" + text))
	return fmt.Sprintf("%x", m.Sum(nil)[:6])
}
