package account_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// heard is what a socket has been told since the last call: presence as "online ada away", typing as "typing:start ada",
// other events by their names.
func heard(t *testing.T, s *servertest.Socket, people ...*servertest.User) (list []string) {
	t.Helper()
	for _, f := range s.Pending() {
		var v struct{ UserID, Status string }
		_ = json.Unmarshal(f.Data, &v)
		name := v.UserID
		for _, u := range people {
			if u.ID == v.UserID {
				name = u.Name
			}
		}
		switch f.Event {
		case "", "heartbeat":
		case "user:online", "user:offline":
			list = append(list, strings.TrimSpace(strings.TrimPrefix(f.Event, "user:")+" "+name+" "+v.Status))
		case "typing:start", "typing:stop", "message:read":
			list = append(list, f.Event+" "+name)
		default:
			list = append(list, f.Event)
		}
	}
	return list
}

func hears(t *testing.T, who string, s *servertest.Socket, people []*servertest.User, want ...string) {
	t.Helper()
	if got := heard(t, s, people...); !slices.Equal(got, want) {
		t.Errorf("%s hears %q, want %q", who, got, want)
	}
}

// settings is what these tests read of Settings.
type settings struct {
	BlockedUsers                             []string
	ReadReceipts, LastSeen                   bool
	ProfilePhotoVisibility, StatusVisibility string
}

func get[T any](u *servertest.User, path string) (out T) {
	u.Do("GET", path, nil).OK(&out)
	return out
}

type profile struct {
	ID, Username, Status  string
	Avatar, Bio, LastSeen *string
}

func (p profile) String() string {
	text := func(s *string) string {
		if s == nil {
			return "-"
		}
		return *s
	}
	picture := "-"
	if p.Avatar != nil {
		picture = "picture"
	}
	return fmt.Sprintf("%s %s %s %s %t", p.Username, p.Status, picture, text(p.Bio), p.LastSeen != nil)
}

func TestABlockKeepsTwoPeopleApartAtOnceAndAfterARestart(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	all := []*servertest.User{ada, bob, carl}
	ada.Do("PUT", "/users/me", map[string]any{"bio": "about ada", "avatar": ada.Picture()}).OK(nil)
	single, group := ada.Single(bob), ada.Group("all", bob, carl)
	second := ada.Again()
	phone, desktop, his, hers := ada.Socket(), second.Socket(), bob.Socket(), carl.Socket()
	for _, socket := range []*servertest.Socket{phone, desktop, his, hers} {
		socket.Pending()
	}

	var now settings
	block := ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID})
	if block.OK(&now); block.Status != 201 || !slices.Equal(now.BlockedUsers, []string{bob.ID}) {
		t.Errorf("blocked: %d %+v", block.Status, now)
	}
	hears(t, "ada's phone", phone, all, "offline bob", "user:settings")
	hears(t, "ada's desktop", desktop, all, "offline bob", "user:settings")
	hears(t, "bob", his, all, "offline ada")
	hears(t, "carl", hers, all)

	apart := func() {
		t.Helper()
		for _, pair := range [][2]*servertest.User{{ada, bob}, {bob, ada}} {
			one, other := pair[0], pair[1]
			one.Do("POST", "/messages", map[string]any{"conversationId": single, "content": "x"}).Fails(403, "BLOCKED")
			one.Do("POST", "/conversations/single", map[string]any{"recipientId": other.ID}).Fails(403, "BLOCKED")
			one.Do("POST", "/conversations/group", map[string]any{"name": "x", "participantIds": []string{carl.ID, other.ID}}).Fails(403, "BLOCKED")
			if found := get[[]profile](one, "/users/search?q="+other.Name); len(found) != 0 {
				t.Errorf("%s finds %v", one.Name, found)
			}
			if got := get[struct{ Online []string }](one, "/presence").Online; slices.Contains(got, other.ID) {
				t.Errorf("%s sees %s online", one.Name, other.Name)
			}
		}
		if got := get[profile](bob, "/users/"+ada.ID).String(); got != "ada offline - - false" {
			t.Errorf("bob sees %s", got)
		}
		if got := get[profile](ada, "/users/"+bob.ID).String(); got != "bob offline - - false" {
			t.Errorf("ada sees %s", got)
		}
		if got := get[[]profile](second, "/users/me/blocked-users"); len(got) != 1 || got[0].ID != bob.ID {
			t.Errorf("ada blocks %v", got)
		}
		if got := get[profile](carl, "/users/"+ada.ID).String(); got != "ada online picture about ada false" {
			t.Errorf("carl sees %s", got)
		}
	}
	apart()

	// In a group that both are in, messages go on; presence and typing do not.
	ada.Send(group, "hello all")
	bob.Send(group, "hello")
	for who, socket := range map[string]*servertest.Socket{"ada": phone, "bob": his, "carl": hers} {
		hears(t, who, socket, all, "message:new", "message:new")
	}
	his.Ask("typing:start", map[string]any{"conversationId": group})
	his.Ask("typing:stop", map[string]any{"conversationId": group})
	phone.Ask("typing:start", map[string]any{"conversationId": group})
	phone.Ask("typing:start", map[string]any{"conversationId": single})
	phone.Ask("typing:stop", map[string]any{"conversationId": single})
	hears(t, "ada", phone, all)
	hears(t, "bob", his, all)
	hears(t, "carl", hers, all, "typing:start bob", "typing:stop bob", "typing:start ada")

	// Twice is once, on whichever device.
	if second.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(&now); len(now.BlockedUsers) != 1 {
		t.Errorf("blocked twice: %+v", now)
	}
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": ada.ID}).Fails(400, "VALIDATION")
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": "000000000000000000000000"}).Fails(404, "USER_NOT_FOUND")
	ada.Do("POST", "/users/me/blocked-users", map[string]any{}).Fails(400, "VALIDATION")
	ada.Do("DELETE", "/users/me/blocked-users/nobody", nil).OK(&now)
	hears(t, "ada", phone, all)

	s.Stop()
	s.Boot()
	hers, phone, his = carl.Socket(), ada.Socket(), bob.Socket()
	hears(t, "carl", hers, all, "online ada online", "online bob online")
	hears(t, "ada", phone, all)
	hears(t, "bob", his, all)
	apart()

	second.Do("DELETE", "/users/me/blocked-users/"+bob.ID, nil).OK(&now)
	if len(now.BlockedUsers) != 0 {
		t.Errorf("unblocked: %+v", now)
	}
	hears(t, "ada", phone, all, "online bob online", "user:settings")
	hears(t, "bob", his, all, "online ada online")
	bob.Send(single, "friends again")
	if got := get[profile](bob, "/users/"+ada.ID).String(); got != "ada online picture about ada false" {
		t.Errorf("bob sees %s", got)
	}
}

func TestNobodyBlocksTheWholeWorld(t *testing.T) {
	w := newWorld(t)
	me, other := w.join("ada"), w.join("bob")
	w.manyPeople(t, 1000, "INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 1)", me.id)
	w.fails("BLOCKS_FULL", me, "POST", "/users/me/blocked-users", "userId", other.id)
	w.ok(200, me, "DELETE", "/users/me/blocked-users/guest0")
	w.ok(201, me, "POST", "/users/me/blocked-users", "userId", other.id)
	r := w.ok(200, me, "GET", "/users/me/settings")
	if list, _ := r.body["blockedUsers"].([]any); len(list) != 1000 || list[0] != other.id {
		t.Errorf("blocks %d people", len(list))
	}
}

func TestABlockEndsWhatWasBeingTyped(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	all := []*servertest.User{ada, bob}
	group := ada.Group("two", bob)
	hers, his := ada.Socket(), bob.Socket()
	his.Pending()
	hers.Ask("typing:start", map[string]any{"conversationId": group})
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(nil)
	hers.Ask("typing:start", map[string]any{"conversationId": group})
	hers.Ask("typing:stop", map[string]any{"conversationId": group})
	hears(t, "bob", his, all, "typing:start ada", "offline ada", "typing:stop ada")
}
