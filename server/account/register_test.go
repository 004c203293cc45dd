package account_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/config"
)

func invited(c *config.Config) { c.Registration = "invite" }

func TestRegisterTakesTheFormOfThePhoneAppAndOfTheBrowser(t *testing.T) {
	w := newWorld(t)
	r := w.ok(201, person{}, "POST", "/auth/register", "phoneNumber", "34600000001", "password", "secret", "username", "admin",
		"displayName", "Ana Ñ", "email", nil, "isAdmin", true, "role", "super_admin")
	user := r.body["user"].(map[string]any)
	for key, want := range map[string]any{
		"_id": user["id"], "phoneNumber": "+34600000001", "username": "admin", "displayName": "Ana Ñ", "role": "user", "email": nil,
		"isActive": true, "isBanned": false, "isVerified": false, "avatar": nil,
	} {
		if user[key] != want {
			t.Errorf("%s is %v, want %v", key, user[key], want)
		}
	}
	if strings.Contains(string(r.raw), "password") || strings.Contains(string(r.raw), "hash") {
		t.Errorf("the answer tells too much: %s", r.raw)
	}
	first := w.ok(201, person{}, "POST", "/auth/register", "email", "Bo.Li@Example.org", "password", "secret", "firstName", "Bo", "lastName", "Li")
	second := w.ok(201, person{}, "POST", "/auth/register", "email", "bo.li@example.com", "password", "secret", "firstName", "Bo", "lastName", "Li")
	one, two := first.body["user"].(map[string]any), second.body["user"].(map[string]any)
	if one["username"] != "boli" || one["displayName"] != "Bo Li" || one["email"] != "bo.li@example.org" || one["phoneNumber"] != nil {
		t.Errorf("browser form: %v", one)
	}
	if name := two["username"].(string); name == "boli" || !strings.HasPrefix(name, "boli") {
		t.Errorf("second username: %s", name)
	}
	w.ok(200, first.person(), "GET", "/users/me")
	for address, names := range map[string][4]string{ // first and last name, and what comes of them
		"x1@example.org": {"É", "", "É", ""}, "x2@example.org": {"  Ana\x07 ", " B ", "Ana B", "anab"}, "x3@example.org": {strings.Repeat("ñ", 60), "", strings.Repeat("ñ", 50), ""},
		"w@example.org": {"", "", "", ""}, "12345678@example.org": {"", "", "12345678", ""}, "zoë.müller@example.org": {"", "", "zoë.müller", "zo.mller"},
	} {
		r := w.ok(201, person{ip: "10.0.0." + address[1:2]}, "POST", "/auth/register", "email", address, "password", "secret", "firstName", names[0], "lastName", names[1])
		user := r.body["user"].(map[string]any)
		display, username := user["displayName"].(string), user["username"].(string)
		if names[2] != "" && utf8.RuneCountInString(names[2]) > 1 && display != names[2] || utf8.RuneCountInString(display) < 2 || names[3] != "" && username != names[3] || len(username) < 3 {
			t.Errorf("%s: %s, %s", address, display, username)
		}
	}
}

func TestRegisterRefusesWhatIsTakenOrMalformed(t *testing.T) {
	w := newWorld(t)
	form := func(change ...any) []any {
		return append([]any{"phoneNumber", "+34611111111", "password", "secret", "username", "Carla", "displayName", "Carla", "email", "carla@example.org"}, change...)
	}
	w.ok(201, person{}, "POST", "/auth/register", form()...)
	w.fails("PHONE_TAKEN", person{}, "POST", "/auth/register", form("phoneNumber", "34611111111", "username", "other", "email", "o@example.org")...)
	w.fails("USERNAME_TAKEN", person{}, "POST", "/auth/register", form("phoneNumber", "+34611111112", "username", "cARLA", "email", "o@example.org")...)
	w.fails("EMAIL_TAKEN", person{}, "POST", "/auth/register", form("phoneNumber", "+34611111112", "username", "other", "email", "CARLA@example.org")...)
	for name, change := range map[string][]any{
		"short password": {"password", "12345"}, "long password": {"password", strings.Repeat("x", 101)}, "short username": {"username", "ab"},
		"username with a space": {"username", "a b c"}, "username like a phone number": {"username", "34611111111"},
		"username like an e-mail": {"username", "a@example.org"}, "phone with letters": {"phoneNumber", "+34abc"}, "phone with zero": {"phoneNumber", "0611111111"},
		"one letter": {"displayName", "x"}, "control character": {"displayName", "a\u0000b"}, "no e-mail": {"email", "nothing"},
		"e-mail with a name": {"email", "Ana <ana@example.org>"}, "wrong type": {"username", 7}, "no password": {"password", nil},
	} {
		r := w.do(person{}, "POST", "/auth/register", form(change...)...)
		if r.status != 400 || r.text("code") != "VALIDATION" || r.body["errors"] == nil {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
	}
}

func TestModesDecideWhoMayRegister(t *testing.T) {
	body := []any{"phoneNumber", "34622222222", "password", "secret", "username", "dora", "displayName", "Dora"}
	with := func(more ...any) []any { return append(append([]any{}, body...), more...) }

	closed := newWorld(t, func(c *config.Config) { c.Registration = "closed" })
	code := closed.ok(201, local, "POST", "/invites", "uses", 1).text("code")
	closed.fails("REGISTRATION_CLOSED", person{}, "POST", "/auth/register", with("inviteCode", code)...)

	w := newWorld(t, invited)
	w.fails("INVITE_REQUIRED", person{}, "POST", "/auth/register", body...)
	w.fails("INVITE_INVALID", person{}, "POST", "/auth/register", with("inviteCode", "nonsense")...)
	late := w.ok(201, local, "POST", "/invites", "expiresIn", 3600).text("code")
	revoked := w.ok(201, local, "POST", "/invites", "uses", 1)
	w.ok(200, local, "DELETE", "/invites/"+revoked.text("_id"))
	w.fails("INVITE_NOT_FOUND", local, "DELETE", "/invites/"+revoked.text("_id"))
	w.fails("INVITE_INVALID", person{}, "POST", "/auth/register", with("inviteCode", revoked.text("code"))...)
	w.sleep(2 * time.Hour)
	w.fails("INVITE_INVALID", person{}, "POST", "/auth/register", with("inviteCode", late)...)

	// A number that is invited needs no code, once; the newest invite of a number is the one that counts.
	w.ok(201, local, "POST", "/invites", "phoneNumber", "+34622222222")
	w.ok(201, local, "POST", "/invites", "phoneNumber", "+34622222222")
	w.fails("INVITE_REQUIRED", person{}, "POST", "/auth/register", with("phoneNumber", "+34622222223")...)
	dora := w.ok(201, person{}, "POST", "/auth/register", body...).person()
	w.fails("INVITE_REQUIRED", person{}, "POST", "/auth/register", with("username", "dora2")...)
	w.fails("PHONE_TAKEN", local, "POST", "/invites", "phoneNumber", "34622222222")
	w.fails("VALIDATION", local, "POST", "/invites", "phoneNumber", "+34622222224", "role", "super_admin")

	// An invite gives the role it was made for, and is an administrator's to make.
	chief := w.ok(201, local, "POST", "/invites", "role", "super_admin").text("code")
	boss := w.ok(201, person{}, "POST", "/auth/register", with("inviteCode", chief, "username", "boss", "phoneNumber", nil)...).person()
	w.fails("INSUFFICIENT_PERMISSIONS", dora, "POST", "/invites", "uses", 1)
	w.fails("INSUFFICIENT_PERMISSIONS", dora, "GET", "/invites")
	w.fails("UNAUTHORIZED", person{}, "POST", "/admin/users", "username", "x", "password", "secret")
	list := w.ok(200, boss, "GET", "/invites")
	if strings.Contains(string(list.raw), chief) || !strings.Contains(string(list.raw), `"uses":1`) {
		t.Errorf("list of invites: %s", list.raw)
	}
}

func TestAnInviteAdmitsExactlyAsManyAsItSaysWhenAllComeAtOnce(t *testing.T) {
	w := newWorld(t, invited)
	code := w.ok(201, local, "POST", "/invites", "uses", 3).text("code")
	var in, out atomic.Int64
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			r := w.do(person{}, "POST", "/auth/register", "username", fmt.Sprintf("guest%d", i), "displayName", "Guest", "password", "secret", "inviteCode", code)
			switch {
			case r.status == 201:
				in.Add(1)
			case r.text("code") == "INVITE_INVALID":
				out.Add(1)
			default:
				t.Errorf("%d %s", r.status, r.raw)
			}
		})
	}
	all.Wait()
	if in.Load() != 3 || out.Load() != 5 {
		t.Errorf("%d came in, %d were refused", in.Load(), out.Load())
	}
}

func TestASetupLinkMakesOneAdministratorOnce(t *testing.T) {
	w := newWorld(t, invited)
	needed := func() any { return w.ok(200, person{}, "GET", "/setup/state").body["needed"] }
	form := func(secret string, more ...any) []any {
		return append([]any{"secret", secret, "username", "admin", "displayName", "The Admin", "password", "Tr0ub4dor&3"}, more...)
	}
	old := w.ok(201, local, "POST", "/admin/setup-link").text("secret")
	link := w.ok(201, local, "POST", "/admin/setup-link")
	secret := link.text("secret")
	if needed() != true || link.text("path") != "/setup#"+secret {
		t.Errorf("setup link: %s", link.raw)
	}
	w.fails("SETUP_INVALID", person{}, "POST", "/setup", form(old)...)
	w.fails("INVITE_INVALID", person{}, "POST", "/auth/register", "username", "sly", "displayName", "Sly", "password", "secret", "inviteCode", secret)
	w.fails("WEAK_PASSWORD", person{}, "POST", "/setup", form(secret, "password", "secret")...)
	w.fails("VALIDATION", person{}, "POST", "/setup", form(secret, "username", "a")...)

	// The password must not cross the public net in clear; a header that says otherwise counts only from a proxy of ours.
	public := person{ip: "203.0.113.9"}
	w.fails("SETUP_INSECURE", public, "POST", "/setup", form(secret)...)
	public.headers = []string{"X-Forwarded-Proto", "https"}
	w.fails("SETUP_INSECURE", public, "POST", "/setup", form(secret)...)

	admin := w.ok(201, person{}, "POST", "/setup", form(secret)...).person()
	if me := w.ok(200, admin, "GET", "/users/me"); me.text("role") != "super_admin" || needed() != false {
		t.Errorf("administrator: %s", me.raw)
	}
	w.fails("SETUP_INVALID", person{}, "POST", "/setup", form(secret, "username", "admin2")...)
	w.ok(201, admin, "POST", "/invites", "uses", 1)

	// Later only a fresh link works, until it lapses.
	second := w.ok(201, local, "POST", "/admin/setup-link").text("secret")
	w.sleep(31 * time.Minute)
	w.fails("SETUP_INVALID", person{}, "POST", "/setup", form(second, "username", "admin2")...)
	third := w.ok(201, local, "POST", "/admin/setup-link").text("secret")
	w.ok(201, local, "POST", "/admin/users", "username", "chief", "password", "secret", "role", "super_admin")
	w.fails("SETUP_INVALID", person{}, "POST", "/setup", form(third, "username", "admin2")...)

	proxied := newWorld(t, func(c *config.Config) { c.TrustedProxies = []string{"203.0.113.0/24"} })
	s := proxied.ok(201, local, "POST", "/admin/setup-link").text("secret")
	proxied.ok(201, public, "POST", "/setup", form(s)...)
}
