package account_test

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

func TestLoginTakesAnyNameOfAnAccount(t *testing.T) {
	w := newWorld(t)
	w.ok(201, person{}, "POST", "/auth/register", "phoneNumber", "+34633333333", "password", password, "username", "Eva", "displayName", "Eva", "email", "eva@example.org")
	for _, name := range [][]any{
		{"phoneNumber", "34633333333"}, {"phoneNumber", "+34633333333"}, {"email", "EVA@example.org"}, {"username", "eva"}, {"identifier", "Eva"},
		{"identifier", "eva@example.org"}, {"identifier", "+34633333333", "phoneNumber", nil},
	} {
		r := w.ok(200, person{}, "POST", "/auth/login", append(name, "password", password)...)
		w.ok(200, r.person(), "GET", "/users/me")
	}
	w.fails("VALIDATION", person{}, "POST", "/auth/login", "password", password)
}

func TestFiveWrongPasswordsLockAnAccountForAWhile(t *testing.T) {
	w := newWorld(t)
	w.join("frank")
	wrong := []any{"username", "frank", "password", "wrong password"}
	for range 4 {
		w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", wrong...)
	}
	w.login("frank") // clears the count
	var known, unknown reply
	for range 5 {
		known = w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", wrong...)
		unknown = w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", "username", "nobody", "password", "wrong password")
	}
	if known.text("message") != unknown.text("message") {
		t.Errorf("an unknown account is told apart: %s, %s", known.raw, unknown.raw)
	}
	w.fails("ACCOUNT_LOCKED", person{}, "POST", "/auth/login", "username", "frank", "password", password)
	w.fails("ACCOUNT_LOCKED", person{}, "POST", "/auth/login", "username", "nobody", "password", password)
	w.sleep(16 * time.Minute)
	w.login("frank")
}

func TestRefreshTokensRotateAndALostReplyIsAnsweredAgain(t *testing.T) {
	w := newWorld(t)
	first := w.join("gina")
	r := w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", first.refresh)
	second := r.person()
	if second.refresh == first.refresh || r.body["user"].(map[string]any)["username"] != "gina" {
		t.Fatalf("refresh: %s", r.raw)
	}
	w.sleep(59 * time.Second)
	again := w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", first.refresh).person()
	if again.refresh != second.refresh {
		t.Error("a lost reply is not answered with the same successor")
	}
	w.ok(200, again, "GET", "/users/me")
	w.told()

	// After a minute the old token is somebody else's: everything on it ends.
	w.sleep(2 * time.Second)
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", first.refresh)
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", second.refresh)
	w.fails("INVALID_TOKEN", again, "GET", "/users/me")
	names, live := w.told()
	session := session(t, first.token)
	if !slices.Equal(names, []string{"auth:revoked session " + session}) || live[0].SubjectID != session {
		t.Errorf("events: %v", names)
	}
	if got := w.late(live); !reflect.DeepEqual(got[0], live[0].Value) || got[0] != (account.Revoked{SessionID: session, Reason: "refresh_reuse"}) {
		t.Errorf("late form %v, live form %v", got[0], live[0].Value)
	}
	if actions, _ := w.audited(); !slices.Contains(actions, "refresh_reuse") {
		t.Errorf("audit: %v", actions)
	}
	for _, bad := range []string{"", "x", "a.b.c", first.refresh + "x", session + ".1.", strings.Replace(first.refresh, ".1.", ".2.", 1)} {
		w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", bad)
	}
}

func TestASessionEndsWhenItIsNotUsedForAMonth(t *testing.T) {
	w := newWorld(t)
	p := w.join("hugo")
	w.sleep(29 * 24 * time.Hour)
	p = w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", p.refresh).person()
	w.sleep(16 * time.Minute)
	w.fails("TOKEN_EXPIRED", p, "GET", "/users/me")
	w.sleep(30 * 24 * time.Hour)
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", p.refresh)
	w.sleep(31 * 24 * time.Hour)
	must(t, w.Sweep(t.Context()))
	must(t, w.db.Read(t.Context(), func(v storage.View) error {
		var left int
		err := v.QueryRow("SELECT count(*) FROM session").Scan(&left)
		if left != 0 {
			t.Errorf("%d sessions are left after the sweep", left)
		}
		return err
	}))
}

func TestLogoutEndsASessionAtOnceAndOnlyOnesOwn(t *testing.T) {
	w := newWorld(t)
	one, other := w.join("iris"), w.join("jan")
	two, three, four := w.login("iris"), w.login("iris"), w.login("iris")
	w.ok(200, one, "GET", "/users/me") // remembered now

	var list []account.SessionInfo
	must(t, json.Unmarshal(w.ok(200, one, "GET", "/auth/sessions").raw, &list))
	if len(list) != 4 {
		t.Fatalf("sessions: %+v", list)
	}
	for _, s := range list {
		if s.ID != s.SessionID || s.IsCurrent != (s.ID == session(t, one.token)) || s.Current != s.IsCurrent {
			t.Errorf("session: %+v", s)
		}
	}
	w.fails("SESSION_NOT_FOUND", other, "DELETE", "/auth/sessions/"+session(t, one.token))
	w.fails("SESSION_NOT_FOUND", one, "DELETE", "/auth/sessions/nonsense")
	w.ok(200, two, "GET", "/users/me")
	w.told()

	w.ok(200, one, "POST", "/auth/logout", "refreshToken", one.refresh)
	w.fails("INVALID_TOKEN", one, "GET", "/users/me")
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", one.refresh)
	w.ok(200, two, "DELETE", "/auth/sessions/"+session(t, three.token))
	w.fails("INVALID_TOKEN", three, "GET", "/users/me")
	w.ok(200, two, "DELETE", "/auth/sessions")
	w.fails("INVALID_TOKEN", four, "GET", "/users/me")
	if names, _ := w.told(); len(names) != 3 {
		t.Errorf("events: %v", names)
	}
	w.login("iris")
	if r := w.ok(200, two, "POST", "/auth/logout-all"); r.body["devicesLoggedOut"] != 2.0 || r.body["success"] != true {
		t.Errorf("logout-all: %s", r.raw)
	}
	w.fails("INVALID_TOKEN", two, "GET", "/users/me")
	w.ok(200, other, "GET", "/users/me")
}

func TestAPasswordIsChangedOnlyForAStrongOneAndWithTheCurrentOne(t *testing.T) {
	w := newWorld(t)
	p := w.join("kim")
	change := func(current, next string) []any { return []any{"currentPassword", current, "newPassword", next} }
	for _, weak := range []string{"Sh0rt-!", "only lower", "ONLY UPPER 1", "NoDigits!!", "NoSigns123", "Password1!", strings.Repeat("x", 129)} {
		w.fails("WEAK_PASSWORD", p, "POST", "/auth/password/change", change(password, weak)...)
	}
	for range 5 {
		if r := w.fails("WRONG_PASSWORD", p, "POST", "/auth/password/change", change("wrong", "N3w-secret!")...); r.status != 400 {
			t.Errorf("wrong current password: %d", r.status)
		}
	}
	w.fails("ACCOUNT_LOCKED", p, "POST", "/auth/password/change", change(password, "N3w-secret!")...)
	w.login("kim") // guessing here does not lock the door there
}

// session is the session of an access token.
func session(t *testing.T, token string) string {
	t.Helper()
	var c jwt.MapClaims
	_, _, err := jwt.NewParser().ParseUnverified(token, &c)
	must(t, err)
	id, _ := c["sid"].(string)
	return id
}

func TestOnlyOurOwnUnexpiredAccessTokensAreTaken(t *testing.T) {
	w := newWorld(t)
	p := w.join("lena")
	header, rest, _ := strings.Cut(p.token, ".")
	claims, signature, _ := strings.Cut(rest, ".")
	none, err := jwt.NewWithClaims(jwt.SigningMethodNone, jwt.MapClaims{"sub": p.id, "sid": session(t, p.token), "typ": "access", "cred": 1, "exp": 4e9}).
		SignedString(jwt.UnsafeAllowNoneSignatureType)
	must(t, err)
	foreign, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": p.id, "sid": session(t, p.token), "typ": "access", "cred": 1, "exp": 4e9}).
		SignedString([]byte("another key"))
	must(t, err)
	for name, token := range map[string]string{
		"empty": "", "refresh token": p.refresh, "no signature": header + "." + claims + ".", "other claims": header + "." + claims[:len(claims)-4] + "AAAA." + signature,
		"alg none": none, "another key": foreign,
	} {
		by := api.Caller{}
		if err := w.Authenticate(t.Context(), token, &by); !api.HasCode(err, "INVALID_TOKEN") || by.SignedIn() {
			t.Errorf("%s: %v", name, err)
		}
	}
	by := api.Caller{Locale: "de"}
	must(t, w.Authenticate(t.Context(), p.token, &by))
	if by.UserID != p.id || by.Role != api.RoleUser || by.SessionID != session(t, p.token) || by.Locale != "de" {
		t.Errorf("caller: %+v", by)
	}
	w.sleep(15 * time.Minute)
	if err := w.Authenticate(t.Context(), p.token, &by); !api.HasCode(err, "TOKEN_EXPIRED") {
		t.Errorf("after 15 minutes: %v", err)
	}
}

func TestABanEndsEverythingUntilItsEnd(t *testing.T) {
	w := newWorld(t)
	p := w.join("mia")
	w.ok(200, p, "GET", "/users/me")
	root := api.Caller{Local: "root", Role: api.RoleSuperAdmin}
	must(t, w.db.Write(t.Context(), "ban", func(tx *storage.Tx) error { return w.Ban(tx, root, p.id, tx.Now.Add(time.Hour), "rude") }))
	w.fails("USER_BANNED", p, "GET", "/users/me")
	w.fails("USER_BANNED", person{}, "POST", "/auth/refresh", "refreshToken", p.refresh)
	w.fails("USER_BANNED", person{}, "POST", "/auth/login", "username", "mia", "password", password)
	w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", "username", "mia", "password", "wrong")
	w.sleep(time.Hour)
	w.login("mia")
	must(t, w.db.Write(t.Context(), "unban", func(tx *storage.Tx) error { return w.Unban(tx, root, p.id) }))
	w.login("mia")
}

func TestTheAuditLogTellsOfEverySignInAndOfNoSecret(t *testing.T) {
	w := newWorld(t, invited)
	code := w.ok(201, local, "POST", "/invites", "uses", 1).text("code")
	p := w.ok(201, person{}, "POST", "/auth/register", "username", "nora", "displayName", "Nora", "password", password, "inviteCode", code).person()
	w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", "username", "nora", "password", "a wrong one")
	w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", "phoneNumber", "+34699999999", "password", "a wrong one")
	q := w.login("nora")
	w.fails("WRONG_PASSWORD", q, "POST", "/auth/password/change", "currentPassword", "a wrong one", "newPassword", "N3w-secret!")
	changed := w.ok(200, q, "POST", "/auth/password/change", "currentPassword", password, "newPassword", "N3w-secret!")

	// The other session is over; this one goes on with new tokens.
	w.fails("INVALID_TOKEN", p, "GET", "/users/me")
	w.fails("INVALID_TOKEN", person{}, "POST", "/auth/refresh", "refreshToken", p.refresh)
	w.fails("INVALID_TOKEN", q, "GET", "/users/me")
	w.ok(200, person{token: changed.text("accessToken")}, "GET", "/users/me")
	q = w.ok(200, person{}, "POST", "/auth/refresh", "refreshToken", q.refresh).person()
	w.fails("SAME_PASSWORD", q, "POST", "/auth/password/change", "currentPassword", "N3w-secret!", "newPassword", "N3w-secret!")
	w.fails("INVALID_CREDENTIALS", person{}, "POST", "/auth/login", "username", "nora", "password", password)
	w.ok(200, q, "POST", "/auth/logout")

	actions, all := w.audited()
	want := []string{"invite_create", "invite_redeem", "register", "login_failed", "login_failed", "login", "password_change_failed", "password_change", "login_failed", "logout"}
	if !slices.Equal(actions, want) {
		t.Errorf("actions %v\nwant    %v", actions, want)
	}
	for name, secret := range map[string]string{
		"invite code": code, "password": password, "new password": "N3w-secret!", "wrong password": "a wrong one", "access token": p.token,
		"refresh token": p.refresh, "unknown number": "699999999", "hash": "argon2id",
	} {
		if strings.Contains(all, secret) {
			t.Errorf("the audit log holds the %s:\n%s", name, all)
		}
	}
}
