package account_test

import (
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// TestATokenIsVerifiedAsARequestWouldBe holds contract 3.1, POST /auth/token/verify.
func TestATokenIsVerifiedAsARequestWouldBe(t *testing.T) {
	w := newWorld(t)
	ada, bob, carl, dora, erik := w.join("ada"), w.join("bob"), w.join("carl"), w.join("dora"), w.join("erik")
	check := func(token string) reply {
		t.Helper()
		return w.ok(200, person{}, "POST", "/auth/token/verify", "token", token)
	}
	for _, token := range []string{ada.token, "Bearer " + ada.token} {
		r := check(token)
		payload, _ := r.body["payload"].(map[string]any)
		number, _ := payload["phoneNumber"].(string)
		if r.body["valid"] != true || payload["userId"] != ada.id || !strings.HasPrefix(number, "+34") || payload["sessionId"] == nil || r.body["error"] != nil {
			t.Errorf("a good token: %s", r.raw)
		}
	}
	byMail := w.ok(201, person{}, "POST", "/auth/register", "email", "flor@example.org", "password", password).person()
	if r := check(byMail.token); r.body["valid"] != true || r.body["payload"].(map[string]any)["phoneNumber"] != nil {
		t.Errorf("without a phone number: %s", r.raw)
	}
	root := api.Caller{Local: "root", Role: api.RoleSuperAdmin}
	must(t, w.db.Write(t.Context(), "ban", func(tx *storage.Tx) error { return w.Ban(tx, root, bob.id, time.Time{}, "rude") }))
	w.ok(200, carl, "POST", "/auth/logout")
	w.ok(200, dora, "POST", "/auth/password/change", "currentPassword", password, "newPassword", "another horse 17 x")
	tampered := ada.token[:len(ada.token)-4] + "AAAA"
	refusals := map[string]string{
		"banned": bob.token, "signed out": carl.token, "of old credentials": dora.token, "tampered with": tampered, "empty": "", "nonsense": "a.b.c",
		"refresh": ada.refresh, "unsigned": "eyJhbGciOiJub25lIn0." + strings.Split(ada.token, ".")[1] + ".",
	}
	said := map[string]bool{}
	for name, token := range refusals {
		r := check(token)
		if r.body["valid"] != false || r.body["payload"] != nil || r.text("error") == "" {
			t.Errorf("%s: %s", name, r.raw)
		}
		said[string(r.raw)] = true
	}
	w.sleep(time.Hour)
	said[string(check(erik.token).raw)] = true // expired
	if len(said) != 1 {
		t.Errorf("why a token is refused can be told apart: %v", said)
	}
	spanish := person{headers: []string{"Accept-Language", "es"}}
	if r := w.ok(200, spanish, "POST", "/auth/token/verify", "token", "x"); !strings.Contains(r.text("error"), "no es válido") {
		t.Errorf("in Spanish: %s", r.raw)
	}
	w.fails("VALIDATION", person{}, "POST", "/auth/token/verify", "token", strings.Repeat("x", 4097))
	w.fails("VALIDATION", person{}, "POST", "/auth/token/verify", "other", "x")
	if r := w.do(person{}, "POST", "/auth/token/decode", "token", ada.token); r.status != 404 { // 3.1: dropped, it would verify nothing
		t.Errorf("decode: %d", r.status)
	}
}

// TestAPasswordIsSetOnceWhereThereIsNone holds contract 3.1, POST /auth/password/set.
func TestAPasswordIsSetOnceWhereThereIsNone(t *testing.T) {
	w := newWorld(t)
	ada := w.join("ada")
	other := w.login("ada")
	w.fails("PASSWORD_SET", ada, "POST", "/auth/password/set", "password", "another horse 17 x")
	must(t, w.db.Write(t.Context(), "forget", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET password_hash = NULL WHERE id = ?", ada.id)
		return err
	}))
	w.fails("WEAK_PASSWORD", ada, "POST", "/auth/password/set", "password", "secret")
	w.fails("UNAUTHORIZED", person{}, "POST", "/auth/password/set", "password", "another horse 17 x")
	r := w.ok(200, ada, "POST", "/auth/password/set", "password", "another horse 17 x")
	if r.body["success"] != true || r.text("message") == "" {
		t.Errorf("the answer: %s", r.raw)
	}
	ada.token = r.text("accessToken")
	w.ok(200, ada, "GET", "/users/me")
	w.fails("INVALID_TOKEN", other, "GET", "/users/me")
	if r := w.fails("PASSWORD_SET", ada, "POST", "/auth/password/set", "password", "a third horse 18 x"); r.status != 400 {
		t.Errorf("already set: %d", r.status) // never 401, which would sign the phone app out (contract 1.2)
	}
	w.ok(200, person{}, "POST", "/auth/login", "username", "ada", "password", "another horse 17 x")
	if actions, _ := w.audited(); actions[len(actions)-2] != "password_change" {
		t.Errorf("audited: %v", actions)
	}
}
