package account

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
)

// tierVerify lets another service behind this address ask for its users, and leaves nothing to be guessed: a token
// cannot be.
var tierVerify = api.Tier{Name: "verify", Limit: 120, Window: time.Minute, ByIP: true}

// VerifyTokenInput is the body of POST /auth/token/verify.
type VerifyTokenInput struct {
	Body struct {
		Token string `json:"token" maxLength:"4096" doc:"an access token"`
	}
}

// VerifiedToken says whether an access token is good now, and if so what it says.
type VerifiedToken struct {
	Valid   bool          `json:"valid"`
	Payload *TokenPayload `json:"payload,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// TokenPayload is what a good token says.
type TokenPayload struct {
	UserID      string  `json:"userId"`
	PhoneNumber *string `json:"phoneNumber"`
	SessionID   string  `json:"sessionId"`
}

// VerifyToken checks an access token as every request does: its signature, its lifetime, its session and its person.
// Why one is refused is not told: whoever holds it could learn who is banned.
func (s *Service) VerifyToken(ctx context.Context, by api.Caller, in *VerifyTokenInput) (VerifiedToken, error) {
	token := strings.TrimPrefix(strings.TrimSpace(in.Body.Token), "Bearer ")
	var who api.Caller
	if err := s.Authenticate(ctx, token, &who); err != nil {
		var refused *api.Error
		if !errors.As(err, &refused) {
			return VerifiedToken{}, err
		}
		return VerifiedToken{Error: api.Sentence(api.E("INVALID_TOKEN"), by.Locale)}, nil
	}
	out := VerifiedToken{Valid: true, Payload: &TokenPayload{UserID: who.UserID, SessionID: who.SessionID}}
	if c, err := s.verify(token, 0); err == nil && c.Phone != "" {
		out.Payload.PhoneNumber = &c.Phone
	}
	return out, nil
}
