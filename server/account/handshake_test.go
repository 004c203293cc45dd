package account_test

import (
	"context"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/storage"
)

// shake tries a token at the Socket.IO handshake; the code is empty when it is let in.
func (w *world) shake(token string) (by api.Caller, code string) {
	w.t.Helper()
	by = api.Caller{IP: "192.168.1.7"}
	err := w.Handshake(context.Background(), token, &by)
	for _, known := range []string{"INVALID_TOKEN", "TOKEN_EXPIRED", "USER_BANNED", "USER_DEACTIVATED"} {
		if api.HasCode(err, known) {
			return by, known
		}
	}
	must(w.t, err)
	return by, ""
}

func TestAStaleTokenOpensTheHandshakeForAWeekAndNothingElse(t *testing.T) {
	w := newWorld(t)
	ada := w.join("ada")
	if by, code := w.shake(ada.token); code != "" || by.UserID != ada.id || by.SessionID == "" || by.Role != api.RoleUser || by.IP != "192.168.1.7" {
		t.Fatalf("fresh: %+v %s", by, code)
	}
	w.sleep(15*time.Minute + 7*24*time.Hour - time.Second)
	if by, code := w.shake(ada.token); code != "" || by.UserID != ada.id {
		t.Errorf("a second before the week is over: %+v %s", by, code)
	}
	w.fails("TOKEN_EXPIRED", ada, "GET", "/users/me")
	if err := w.Authenticate(t.Context(), ada.token, new(api.Caller)); !api.HasCode(err, "TOKEN_EXPIRED") {
		t.Errorf("elsewhere a stale token is %v", err)
	}
	w.sleep(2 * time.Second)
	if _, code := w.shake(ada.token); code != "TOKEN_EXPIRED" {
		t.Errorf("after the week: %q", code)
	}
}

func TestAStaleTokenDiesWithItsSessionItsCredentialsAndItsPerson(t *testing.T) {
	w := newWorld(t)
	ada := w.join("ada")
	w.sleep(time.Hour)
	stale := ada.token
	fresh := w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", ada.refresh).person()
	if _, code := w.shake(stale); code != "" {
		t.Errorf("a refresh ends the token before it: %s", code)
	}
	if _, code := w.shake(stale + "x"); code != "INVALID_TOKEN" {
		t.Errorf("another signature: %q", code)
	}
	if _, code := w.shake(fresh.refresh); code != "INVALID_TOKEN" {
		t.Errorf("a refresh token: %q", code)
	}
	w.ok(200, fresh, "POST", "/auth/password/change", "currentPassword", password, "newPassword", "Another7!horse")
	if _, code := w.shake(stale); code != "INVALID_TOKEN" {
		t.Errorf("of a password that was changed: %q", code)
	}

	bob := w.join("bob")
	w.sleep(time.Hour)
	again := w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", bob.refresh).person()
	w.ok(200, again, "POST", "/auth/logout")
	if _, code := w.shake(bob.token); code != "INVALID_TOKEN" {
		t.Errorf("after logging out: %q", code)
	}

	carl := w.join("carl")
	w.sleep(time.Hour)
	must(t, w.db.Write(t.Context(), "ban", func(tx *storage.Tx) error {
		return w.Ban(tx, api.Caller{Local: "test", Role: api.RoleSuperAdmin}, carl.id, time.Time{}, "test")
	}))
	if _, code := w.shake(carl.token); code != "USER_BANNED" {
		t.Errorf("of somebody banned: %q", code)
	}
}

func TestAStaleTokenDoesNotOutliveASessionThatIsNotUsed(t *testing.T) {
	w := newWorld(t, func(c *config.Config) { c.RefreshTokenTTL = 48 * time.Hour })
	ada := w.join("ada")
	w.sleep(47 * time.Hour)
	if _, code := w.shake(ada.token); code != "" {
		t.Errorf("while the session lives: %s", code)
	}
	w.sleep(2 * time.Hour)
	if _, code := w.shake(ada.token); code != "INVALID_TOKEN" {
		t.Errorf("when it is over: %q", code)
	}
}
