package chat_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// state is what conversation:state says.
type state struct {
	ConversationID                          string
	IsMuted, IsPinned, IsArchived, IsHidden bool
	MutedUntil                              *string
	ClearedN                                int64
}

// stated waits for the next event, which must be conversation:state.
func stated(t *testing.T, socket *servertest.Socket) (out state) {
	t.Helper()
	if err := json.Unmarshal(socket.Expect("conversation:state").Data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// own is how somebody is shown their own place in a conversation.
type own struct {
	IsArchived     bool
	UnreadCount    int64
	LastMessage    *message
	PinnedMessages []message
	Participants   []struct {
		User              person `json:"userId"`
		IsMuted, IsPinned bool
		MutedUntil        *string
	}
}

// seat is somebody's own switches in a conversation; everybody else's must look untouched.
func seat(t *testing.T, u *servertest.User, room string) (muted, pinned, archived bool, until *string) {
	t.Helper()
	c := fetch[own](u, "GET", "/conversations/"+room, nil)
	for _, p := range c.Participants {
		if p.User.ID == u.ID {
			muted, pinned, until = p.IsMuted, p.IsPinned, p.MutedUntil
		} else if p.IsMuted || p.IsPinned || p.MutedUntil != nil {
			t.Fatalf("%s is shown the switches of somebody else: %+v", u.Name, p)
		}
	}
	return muted, pinned, c.IsArchived, until
}

func TestAMuteIsOnesOwnAndKnownToAllOnesDevices(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	path := "/conversations/" + room
	one, two, other := ada.Socket(), ada.Socket(), bob.Socket()
	for _, step := range []struct {
		method, path, body string
		muted              bool
		minutes            time.Duration
		silent             bool
	}{
		{"PUT", "/mute", `{"isMuted":true}`, true, 0, false},
		{"PUT", "/mute", `{"isMuted":true}`, true, 0, true},
		{"PUT", "/mute", `{"muted":false,"duration":0}`, false, 0, false},
		{"POST", "/unmute", ``, false, 0, true},
		{"PUT", "/mute", `{"muted":true,"duration":3600}`, true, 60, false},
		{"PUT", "/mute", `{"isMuted":true,"duration":null}`, true, 0, false},
		{"POST", "/mute", `{"durationMinutes":480}`, true, 480, false},
		{"POST", "/unmute", ``, false, 0, false},
		{"POST", "/mute", ``, true, 0, false},
		{"PUT", "/mute", `{"isMuted":false,"durationMinutes":5}`, false, 0, false},
	} {
		var body any
		if step.body != "" {
			body = step.body
		}
		before := time.Now()
		r := ada.Do(step.method, path+step.path, body)
		r.OK(nil)
		what := step.method + " " + step.path + " " + step.body
		if string(r.Body) != "{\"success\":true}\n" {
			t.Errorf("%s answers %s", what, r.Body)
		}
		muted, _, _, until := seat(t, ada, room)
		if muted != step.muted || (until != nil) != (step.minutes > 0) {
			t.Errorf("%s: muted %v until %v", what, muted, until)
		}
		if until != nil {
			at, err := time.Parse(time.RFC3339, *until)
			if d := at.Sub(before) - step.minutes*time.Minute; err != nil || d < -time.Second || d > servertest.Patience {
				t.Errorf("%s: until %s", what, *until)
			}
		}
		if step.silent {
			continue
		}
		for _, device := range []*servertest.Socket{one, two} {
			if got := stated(t, device); got.ConversationID != room || got.IsMuted != muted || (got.MutedUntil == nil) != (until == nil) || until != nil && *until != *got.MutedUntil {
				t.Errorf("%s: told %+v, shown %v until %v", what, got, muted, until)
			}
		}
	}
	for _, wrong := range []string{`{"isMuted":"yes"}`, `{"isMuted":1}`, `{"duration":-1}`, `{"duration":1e30}`, `{"durationMinutes":"8h"}`, `{"durationMinutes":1.5}`} {
		ada.Do("PUT", path+"/mute", wrong).Fails(400, "VALIDATION")
	}
	one.Silent()
	other.Silent()
}

func TestATimedMuteEndsByItself(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	since := ada.Socket().Seq
	ada.Do("POST", "/conversations/"+room+"/mute", map[string]any{"durationMinutes": 1}).OK(nil)
	write(t, s, "UPDATE member SET muted_until = ? WHERE user_id = ?", time.Now().Add(-time.Second).UnixMilli(), ada.ID)
	if muted, _, _, until := seat(t, ada, room); muted || until != nil {
		t.Errorf("still muted, until %v", until)
	}
	socket := ada.Resume(since)
	if got := stated(t, socket); got.IsMuted || got.MutedUntil != nil {
		t.Errorf("late, still muted: %+v", got)
	}
	ada.Do("POST", "/conversations/"+room+"/mute", nil).OK(nil)
	if muted, _, _, _ := seat(t, ada, room); !muted {
		t.Error("cannot be muted again")
	}
}

func TestShelvesAreOnesOwnAndSurviveARestart(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	rooms := map[string]string{"bob": ada.Single(bob), "group": ada.Group("group", bob), "carl": ada.Single(carl)}
	names := map[string]string{}
	for name, id := range rooms {
		names[id] = name
	}
	for _, name := range []string{"bob", "group", "carl"} { // so carl is the liveliest
		ada.Send(rooms[name], "hello")
	}
	list := func(u *servertest.User, query string) string {
		got := []string{}
		var page struct{ Items []struct{ ID string } }
		if r := u.Do("GET", "/conversations"+query, nil); strings.Contains(query, "limit") {
			r.OK(&page) // contract 0: then it is a page
		} else {
			r.OK(&page.Items)
		}
		for _, c := range page.Items {
			got = append(got, names[c.ID])
		}
		return strings.Join(got, " ")
	}
	do := func(method, name, verb string) own {
		return fetch[own](ada, method, "/conversations/"+rooms[name]+verb, nil)
	}
	device, other := ada.Socket(), bob.Socket()
	if c := do("POST", "bob", "/pin"); !c.Participants[0].IsPinned && !c.Participants[1].IsPinned {
		t.Errorf("pinned: %+v", c)
	}
	do("POST", "bob", "/pin")
	if got := stated(t, device); !got.IsPinned || got.IsArchived || got.ConversationID != rooms["bob"] {
		t.Errorf("told %+v", got)
	}
	if c := do("POST", "group", "/archive"); !c.IsArchived {
		t.Errorf("archived: %+v", c)
	}
	if got := stated(t, device); got.IsPinned || !got.IsArchived || got.ConversationID != rooms["group"] {
		t.Errorf("told %+v", got)
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.Stop()
			s.Boot()
		}
		for query, want := range map[string]string{
			"": "carl bob", "?limit=10": "bob carl", "?page=1&limit=1": "bob", "?page=2&limit=1": "carl", "?archived=true": "group", "?archived=true&limit=5": "group",
		} {
			if got := list(ada, query); got != want {
				t.Errorf("list %q: %q, want %q (restarted: %v)", query, got, want, restarted)
			}
		}
		if got := list(bob, "?limit=10"); got != "group bob" {
			t.Errorf("bob's list: %q", got)
		}
	}
	// The archive is left by hand only, and does not call.
	bob.Send(rooms["group"], "are you there?")
	if got := list(ada, ""); got != "carl bob" {
		t.Errorf("after a message in the archive: %q", got)
	}
	if n := fetch[struct{ Count int64 }](ada, "GET", "/conversations/unread/count", nil).Count; n != 0 {
		t.Errorf("%d unread in the list", n)
	}
	if got := fetch[[]conversation](ada, "GET", "/conversations?archived=true", nil); got[0].UnreadCount != 1 {
		t.Errorf("unread in the archive: %+v", got[0])
	}
	device = ada.Socket()
	do("DELETE", "group", "/archive")
	do("POST", "group", "/unarchive")
	do("POST", "bob", "/unpin")
	if got := list(ada, "?limit=10"); got != "group carl bob" {
		t.Errorf("in the end: %q", got)
	}
	if n := fetch[struct{ Count int64 }](ada, "GET", "/conversations/unread/count", nil).Count; n != 1 {
		t.Errorf("%d unread", n)
	}
	if a, b := stated(t, device), stated(t, device); a.IsArchived || b.IsPinned {
		t.Errorf("told %+v and %+v", a, b)
	}
	device.Silent()
	other.Close()
}

func TestOneIsToldLateHowOneKeepsAConversationNowUnlessOneHasLeft(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	kept, left := ada.Group("kept", bob), ada.Group("left", bob)
	since := bob.Socket().Seq
	for _, room := range []string{kept, left} {
		bob.Do("POST", "/conversations/"+room+"/pin", nil).OK(nil)
		bob.Do("POST", "/conversations/"+room+"/archive", nil).OK(nil)
	}
	bob.Do("POST", "/conversations/"+kept+"/unpin", nil).OK(nil)
	bob.Do("POST", "/conversations/"+left+"/leave", nil).OK(nil)
	socket := bob.Resume(since)
	for range 3 {
		if got := stated(t, socket); got.ConversationID != kept || got.IsPinned || !got.IsArchived {
			t.Errorf("told %+v", got)
		}
	}
	socket.Expect("conversation:participant:removed")
	socket.Expect("resumed")
	if got := drain(t, ada.Resume(since).Pending()); len(got) != 1 {
		t.Errorf("ada is told %v", got)
	}
}

func TestOnlyMembersHaveSwitches(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+bob.ID, nil).OK(nil)
	for _, u := range []*servertest.User{bob, eve} {
		socket := u.Socket()
		for _, call := range [][2]string{
			{"PUT", "/mute"}, {"POST", "/mute"}, {"POST", "/unmute"}, {"POST", "/pin"}, {"POST", "/unpin"}, {"POST", "/archive"}, {"POST", "/unarchive"},
			{"DELETE", "/archive"}, {"DELETE", "/messages"},
		} {
			u.Do(call[0], "/conversations/"+room+call[1], nil).Fails(404, "CONVERSATION_NOT_FOUND")
		}
		for _, verb := range []string{"mute", "unmute", "pin", "unpin", "archive", "unarchive", "clear"} {
			if f := socket.Ask("conversation:"+verb, map[string]any{"conversationId": room}); f.OK || f.Error.Code != "CONVERSATION_NOT_FOUND" {
				t.Errorf("conversation:%s: %s", verb, f.Raw)
			}
		}
		socket.Silent()
	}
	if n := count(t, s, "SELECT count(*) FROM member WHERE is_muted + is_pinned + is_archived + clear_n > 0"); n != 0 {
		t.Errorf("%d rows changed", n)
	}
}

func TestTheSwitchesWorkBySocketToo(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	one, two := ada.Socket(), ada.Socket()
	for _, step := range []struct {
		verb string
		more map[string]any
		want func(c state) bool
	}{
		{"conversation:mute", map[string]any{"muted": true, "durationMinutes": 1}, func(c state) bool { return c.IsMuted && c.MutedUntil != nil }},
		{"conversation:unmute", nil, func(c state) bool { return !c.IsMuted }},
		{"conversation:pin", nil, func(c state) bool { return c.IsPinned }},
		{"conversation:archive", nil, func(c state) bool { return c.IsPinned && c.IsArchived }},
		{"conversation:delete", nil, func(c state) bool { return c.IsHidden && !c.IsPinned && !c.IsArchived }},
		{"conversation:single", map[string]any{"recipientId": bob.ID}, func(c state) bool { return !c.IsHidden }},
	} {
		body := map[string]any{"conversationId": room}
		for k, v := range step.more {
			body[k] = v
		}
		if f := one.Ask(step.verb, body); !f.OK {
			t.Fatalf("%s: %s", step.verb, f.Raw)
		}
		for _, device := range []*servertest.Socket{one, two} {
			if got := stated(t, device); !step.want(got) {
				t.Errorf("%s: told %+v", step.verb, got)
			}
		}
	}
	if f := one.Ask("conversation:list", map[string]any{"archived": true}); !f.OK || string(f.Data) != "[]" {
		t.Errorf("the archive by socket: %s", f.Raw)
	}
}

func TestEverythingIsReadAtOnceByTheRouteOfTheButton(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, other := ada.Single(bob), ada.Group("g", bob)
	ada.Send(room, "x")
	ada.Send(other, "y")
	r := bob.Do("PUT", "/conversations/read-all", nil)
	r.OK(nil)
	if string(r.Body) != "{\"success\":true}\n" {
		t.Errorf("answers %s", r.Body)
	}
	if n := fetch[struct{ Count int64 }](bob, "GET", "/conversations/unread/count", nil).Count; n != 0 {
		t.Errorf("%d unread", n)
	}
}
