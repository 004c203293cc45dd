package doctor

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
)

// linkLife is how long a link may be opened, once.
const linkLife = 30 * time.Minute

// DoctorLink is a link to the page for somebody without an account; its secret is shown only once.
type DoctorLink struct {
	Path      string `json:"path" doc:"Of the page, below the address of the server"`
	URL       string `json:"url,omitempty" doc:"The whole address, when the server knows its own"`
	ExpiresAt string `json:"expiresAt"`
}

// Link makes a link that opens the page once within half an hour. Its holder gets credentials that reach the echo peer alone. The
// link is kept by its hash, in the cache.
func (s *Service) Link(_ context.Context, _ api.Caller, _ *struct{}) (DoctorLink, error) {
	secret := rand.Text()
	if err := s.Cache.Set(linkKey(secret), []byte{1}, linkLife); err != nil {
		return DoctorLink{}, err
	}
	link := DoctorLink{Path: "/doctor/calls#" + secret, ExpiresAt: api.Time(time.Now().Add(linkLife))}
	if base := s.Config.Get().PublicURL; base != "" {
		link.URL = strings.TrimSuffix(base, "/") + link.Path
	}
	return link, nil
}

// redeem uses a link up. Codes: DOCTOR_LINK_INVALID.
func (s *Service) redeem(secret string) error {
	value, err := s.Cache.Take(linkKey(strings.TrimSpace(secret)))
	if err != nil || value == nil {
		return api.E("DOCTOR_LINK_INVALID")
	}
	return nil
}

func linkKey(secret string) string {
	hash := sha256.Sum256([]byte(secret))
	return "doctor:" + hex.EncodeToString(hash[:])
}
