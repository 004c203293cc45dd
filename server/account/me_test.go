package account_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/storage"
)

func TestMeChangesOnlyWhatAPersonMayChange(t *testing.T) {
	w := newWorld(t)
	p, other := w.join("olga"), w.join("pavel")
	before := w.ok(200, p, "GET", "/users/me")
	w.told()
	r := w.ok(200, p, "PUT", "/users/me", "displayName", "Olga O.", "bio", "Hello", "email", "Olga@example.org", "avatar", nil,
		"role", "super_admin", "permissions", []string{"manage_users"}, "isBanned", true, "isVerified", true, "password", "hacked!", "phoneNumber", "+34600",
		"_id", other.id, "id", other.id, "credential", 99, "isActive", false, "createdAt", "1999-01-01")
	for key, want := range map[string]any{
		"displayName": "Olga O.", "bio": "Hello", "email": "olga@example.org", "avatar": nil, "username": "olga", "role": "user",
		"isBanned": false, "isVerified": false, "isActive": true, "_id": p.id, "id": p.id, "phoneNumber": before.body["phoneNumber"], "createdAt": before.body["createdAt"],
	} {
		if r.body[key] != want {
			t.Errorf("%s is %v, want %v", key, r.body[key], want)
		}
	}
	for _, key := range []string{"permissions", "linkedDevices"} {
		if list, ok := r.body[key].([]any); !ok || len(list) != 0 {
			t.Errorf("%s is %v", key, r.body[key])
		}
	}
	w.login("olga")
	names, live := w.told()
	if !slices.Equal(names, []string{"user:updated user " + p.id}) {
		t.Errorf("events: %v", names)
	}
	if now, then := w.late(live)[0], live[0].Value; !reflect.DeepEqual(now, then) {
		t.Errorf("late form %+v\nlive form %+v", now, then)
	}

	// Null clears what may be empty; what is not sent stays.
	r = w.ok(200, p, "PUT", "/users/me", "bio", nil, "displayName", nil, "username", "Olga2")
	if r.body["bio"] != nil || r.text("displayName") != "Olga O." || r.text("username") != "Olga2" || r.text("email") != "olga@example.org" {
		t.Errorf("after null: %s", r.raw)
	}
	w.fails("USERNAME_TAKEN", p, "PUT", "/users/me", "username", "PAVEL")
	w.fails("EMAIL_TAKEN", other, "PUT", "/users/me", "email", "OLGA@example.org")
	w.ok(200, p, "PUT", "/users/me", "username", "olga2") // one's own name in other letters
	for _, wrong := range [][]any{
		{"bio", strings.Repeat("x", 501)}, {"username", "a"}, {"displayName", "x"}, {"email", "x"}, {"bio", 7}, {"publicKey", strings.Repeat("x", 5000)},
		{"avatar", "https://tracker.example/pixel.gif"}, {"avatar", "/uploads/../secrets.json"}, {"avatar", "javascript:alert(1)"},
	} {
		w.fails("VALIDATION", p, "PUT", "/users/me", wrong...)
	}
	w.fails("UNAUTHORIZED", local, "GET", "/users/me")
	w.fails("UNAUTHORIZED", local, "PUT", "/users/me", "bio", "x")
	w.fails("UNAUTHORIZED", local, "POST", "/auth/logout-all")
}

func TestSearchFindsByNameAndOnlyExactlyByNumberAndAddress(t *testing.T) {
	w := newWorld(t)
	me, found := w.join("quentin"), w.join("under_score")
	w.join("underXscore")
	w.ok(200, found, "PUT", "/users/me", "displayName", "Ángel 100%", "email", "angel@example.org")
	banned, blocker, blocked := w.join("rosa_banned"), w.join("rosa_blocker"), w.join("rosa_blocked")
	rosa := w.join("rosa")
	root := api.Caller{Local: "root", Role: api.RoleSuperAdmin}
	must(t, w.db.Write(t.Context(), "prepare", func(tx *storage.Tx) error {
		for _, pair := range [][2]string{{blocker.id, me.id}, {me.id, blocked.id}} {
			if _, err := tx.Exec("INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 1)", pair[0], pair[1]); err != nil {
				return err
			}
		}
		return w.Ban(tx, root, banned.id, tx.Now.Add(1e15), "rude")
	}))
	phone := w.ok(200, found, "GET", "/users/me").text("phoneNumber")
	find := func(query string) (names []string) {
		r := w.ok(200, me, "GET", "/users/search?"+query)
		var list []account.Public
		must(t, json.Unmarshal(r.raw, &list))
		for _, p := range list {
			names = append(names, p.Username)
		}
		if strings.Contains(string(r.raw), "phone") || strings.Contains(string(r.raw), "example.org") {
			t.Errorf("search tells too much: %s", r.raw)
		}
		return names
	}
	for query, want := range map[string][]string{
		"q=DER_SC": {"under_score"}, "query=under": {"under_score", "underXscore"}, "q=%C3%A1ngel": {"under_score"}, "q=100%25": {"under_score"},
		"q=%25%25": nil, "q=__": nil, "q=u": nil, "q=": nil, "": nil, "q=%5C%5C": nil, "q=quentin": nil, "q=rosa": {"rosa"},
		"q=angel%40example.org": {"under_score"}, "q=ngel%40example.org": nil, "q=example": nil,
		"q=%2B" + phone[1:]: {"under_score"}, "q=" + phone[1:]: {"under_score"}, "q=" + phone[1:8]: nil, "q=%27%20OR%201%3D1": nil,
	} {
		if got := find(query); !slices.Equal(got, want) {
			t.Errorf("%s finds %v, want %v", query, got, want)
		}
	}
	w.fails("VALIDATION", me, "GET", "/users/search?q="+strings.Repeat("x", 101))

	r := w.ok(200, me, "GET", "/users/"+rosa.id)
	if r.text("username") != "rosa" || r.text("status") != "offline" || r.body["lastSeen"] != nil || r.body["_id"] != rosa.id {
		t.Errorf("profile: %s", r.raw)
	}
	for _, key := range []string{"phoneNumber", "email", "role"} {
		if _, there := r.body[key]; there {
			t.Errorf("a profile shows %s", key)
		}
	}
	w.fails("USER_NOT_FOUND", me, "GET", "/users/000000000000000000000000")
	w.fails("USER_NOT_FOUND", me, "GET", "/users/x")
	if err := w.db.Read(t.Context(), func(v storage.View) error { return account.ValidUser(v, "nobody") }); !api.HasCode(err, "USER_NOT_FOUND") {
		t.Errorf("ValidUser: %v", err)
	}
}

func TestSecretsAreMadeOnceKeptPrivateAndNeverReplaced(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, account.SecretsFile)
	first, err := account.LoadSecrets(dir)
	must(t, err)
	var entries map[string]any
	raw, err := os.ReadFile(path)
	must(t, err)
	must(t, json.Unmarshal(raw, &entries))
	delete(entries, "turnSecret")
	entries["later"] = "kept"
	raw, err = json.Marshal(entries)
	must(t, err)
	must(t, os.WriteFile(path, raw, 0o644))
	must(t, os.Chmod(path, 0o644))
	second, err := account.LoadSecrets(dir)
	must(t, err)
	if !reflect.DeepEqual(first.Signing, second.Signing) || reflect.DeepEqual(first.TURN, second.TURN) || len(second.TURN) != 32 {
		t.Error("a missing secret is not added beside the others")
	}
	info, err := os.Stat(path)
	must(t, err)
	raw, err = os.ReadFile(path)
	must(t, err)
	if info.Mode().Perm() != 0o600 || !strings.Contains(string(raw), "kept") {
		t.Errorf("file %v: %s", info.Mode(), raw)
	}
	must(t, os.WriteFile(path, raw[:20], 0o600))
	if _, err := account.LoadSecrets(dir); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("a damaged file: %v", err)
	}
}

func TestAccountsAreMadeWithoutAServer(t *testing.T) {
	c := config.Default()
	c.Data = t.TempDir()
	s, closeAll, err := account.Offline(config.Fixed(c))
	must(t, err)
	var in account.CreateInput
	in.Body.Username, in.Body.Password = "root", "secret"
	self, err := s.Create(t.Context(), api.Caller{Local: "me", Role: api.RoleSuperAdmin}, &in)
	if err != nil || self.Username != "root" || self.DisplayName != "root" || self.Role != "user" {
		t.Errorf("%+v %v", self, err)
	}
	if _, err := s.Create(t.Context(), api.Caller{Local: "me", Role: api.RoleSuperAdmin}, &in); api.Sentence(err, "en") != "This username is taken." {
		t.Errorf("twice: %v", err)
	}
	in.Body.Username = "x"
	if _, err := s.Create(t.Context(), api.Caller{Local: "me", Role: api.RoleSuperAdmin}, &in); !strings.Contains(api.Sentence(err, "en"), "username must be 3 to 30") {
		t.Errorf("short: %v", err)
	}
	must(t, closeAll())
}
