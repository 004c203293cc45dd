package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// mentioning is a message with whom it mentions.
type mentioning struct {
	message
	Mentions    []string
	MentionsAll bool
}

// whom names those whom a message mentions, in the order of names.
func (m mentioning) whom(people ...*servertest.User) string {
	list := []string{}
	for _, id := range m.Mentions {
		name := id
		for _, u := range people {
			if u.ID == id {
				name = u.Name
			}
		}
		list = append(list, name)
	}
	slices.Sort(list)
	if m.MentionsAll {
		list = append(list, "all")
	}
	return strings.Join(list, " ")
}

func mention(u *servertest.User, room, text string, more ...map[string]any) mentioning {
	return fetch[mentioning](u, "POST", "/messages", draft(room, text, more...))
}

// calls is how many unread messages of a conversation mention somebody, in every place that says so.
func calls(t *testing.T, u *servertest.User, room string) int64 {
	t.Helper()
	type counted struct {
		ID             string
		UnreadMentions *int64
	}
	one := fetch[counted](u, "GET", "/conversations/"+room, nil)
	all := fetch[[]counted](u, "GET", "/conversations", nil)
	page := fetch[struct{ Conversations []counted }](u, "GET", "/conversations?limit=50", nil).Conversations
	for _, list := range [][]counted{all, page} {
		i := slices.IndexFunc(list, func(c counted) bool { return c.ID == room })
		if i < 0 || list[i].UnreadMentions == nil || one.UnreadMentions == nil || *list[i].UnreadMentions != *one.UnreadMentions {
			t.Fatalf("one says %+v, lists say %+v", one, list)
		}
	}
	return *one.UnreadMentions
}

// mentions are the texts of the messages that mention somebody, newest first, read in pages of limit.
func mentions(t *testing.T, u *servertest.User, limit int) (list []string) {
	t.Helper()
	for before := ""; ; {
		page := fetch[[]message](u, "GET", fmt.Sprintf("/messages/mentions?limit=%d%s", limit, before), nil)
		if len(page) > limit {
			t.Fatalf("a page of %d has %d", limit, len(page))
		}
		if len(page) == 0 {
			return list
		}
		for _, m := range page {
			list = append(list, m.text())
		}
		before = "&before=" + page[len(page)-1].ID
	}
}

func TestAMessageMentionsTheMembersItCalls(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, gone, eve := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("gone"), s.Register("eve")
	room := ada.Group("g", bob, carl, gone)
	gone.Do("POST", "/conversations/"+room+"/leave", nil).OK(nil)
	for text, want := range map[string]string{
		"hello": "", "@": "", "@BOB, look": "bob", "@[Whatever](" + carl.ID + ")": "carl", "@carl @[Bob](" + bob.ID + ") @bob @[Bob again](" + bob.ID + ")": "bob carl",
		"@ada myself @[Ada](" + ada.ID + ")": "", "@eve @gone @[Eve](" + eve.ID + ") @[Gone](" + gone.ID + ")": "", "bob@carl.org `@bob`": "",
		"@[x](ffffffffffffffffffffffff) @[x](bob) @" + bob.ID: "", "@[x](0') @nobody": "", "@all": "all", "@all and @bob": "bob all", "@[everybody](all)": "all",
	} {
		m := mention(ada, room, text)
		if got := m.whom(bob, carl, gone, eve, ada); got != want || m.text() != text {
			t.Errorf("%q mentions %q, want %q, and says %q", text, got, want, m.text())
		}
		if again := fetch[mentioning](bob, "GET", "/messages/"+m.ID, nil); !slices.Equal(again.Mentions, m.Mentions) || again.MentionsAll != m.MentionsAll {
			t.Errorf("%q: sent %v, read %v", text, m.Mentions, again.Mentions)
		}
	}
	for _, room := range []string{bob.Single(ada), room} { // in a single conversation nobody can, in a group its admins
		if m := mention(bob, room, "@all @ada"); m.MentionsAll || m.whom(ada) != "ada" {
			t.Errorf("mentions %+v", m)
		}
	}
	ada.Do("PUT", "/conversations/"+room+"/admins/"+bob.ID, nil).OK(nil)
	if m := mention(bob, room, "@all"); !m.MentionsAll {
		t.Errorf("an admin mentions %+v", m)
	}
	place := map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": 2}}
	if m := mention(ada, room, "here @bob", place); m.whom(bob) != "bob" {
		t.Errorf("below a place: %+v", m)
	}
	var crowd strings.Builder
	for i := range 60 {
		fmt.Fprintf(&crowd, "@stranger%d ", i)
	}
	if m := mention(ada, room, crowd.String()+"@bob"); m.whom(bob) != "" {
		t.Errorf("behind sixty names: %+v", m)
	}
	if m := mention(ada, room, "@bob "+crowd.String()); m.whom(bob) != "bob" {
		t.Errorf("before sixty names: %+v", m)
	}
	key := map[string]any{"clientId": "k"}
	if first, again := mention(ada, room, "@bob", key), mention(ada, room, "@bob", key); first.ID != again.ID || again.whom(bob) != "bob" {
		t.Errorf("sent again: %+v", again)
	}
}

func TestMentionsAreTheSameThroughEveryDoor(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl)
	native, app, web := bob.Socket(), bob.IO("/chat"), bob.IO("/")
	start := native.Seq
	m := mention(ada, room, "look @bob @carl @all")
	people := []string{bob.ID, carl.ID}
	slices.Sort(people)
	list, _ := json.Marshal(people)
	want := `"mentions":` + string(list) + `,"mentionsAll":true`
	path := "/conversations/" + room
	shown := map[string]string{
		"live": string(native.Until("message:new").Raw), "app": string(app.Until("message:new").Data), "web": string(web.Until("message:new").Data),
		"late": string(bob.Resume(start).Until("message:new").Raw),
	}
	eventually(t, "the index is there", func() bool { _, n := found(bob, "look", ""); return n == 1 })
	for name, door := range map[string]string{
		"history": "/messages/conversation/" + room, "one": "/messages/" + m.ID, "page": path + "/messages", "last message": "/conversations",
		"search": "/messages/search/query?q=look", "mentions": "/messages/mentions",
	} {
		r := bob.Do("GET", door, nil)
		r.OK(nil)
		shown[name] = string(r.Body)
	}
	r := bob.DoRoot("GET", path+"/messages", nil)
	r.OK(nil)
	shown["flutter"] = string(r.Body)
	for name, text := range shown {
		if !strings.Contains(text, want) || !strings.Contains(text, "look @bob @carl @all") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if shown["live"] != shown["late"] {
		t.Errorf("live %s\nlate %s", shown["live"], shown["late"])
	}
	// A reply shows of what it replies to that it mentions nobody, live and late.
	mention(ada, room, "yes", map[string]any{"replyTo": m.ID})
	live := native.Until("message:new")
	late := bob.Resume(live.Seq - 1).Until("message:new")
	if string(live.Raw) != string(late.Raw) || strings.Contains(string(live.Raw), "mentionsAll") {
		t.Errorf("a reply: live %s\nlate %s", live.Raw, late.Raw)
	}
	if f := bob.Socket().Ask("message:mentions", map[string]any{"limit": 5}); !f.OK || !strings.Contains(string(f.Data), want) {
		t.Errorf("by the socket: %s", f.Raw)
	}
}

func TestEditingDecidesAnewWhomAMessageMentions(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, late := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("late")
	room := ada.Group("g", bob, carl)
	m := mention(ada, room, "@bob")
	ada.Do("PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{late.ID}}).OK(nil)
	socket := bob.Socket()
	for _, edit := range []struct {
		text, want   string
		bob, carl, l int64
	}{
		{"@carl", "carl", 0, 1, 0}, {"nobody", "", 0, 0, 0}, {"@bob @carl", "bob carl", 1, 1, 0}, {"@bob @late @[Late](" + late.ID + ")", "bob", 1, 0, 0},
		{"@all", "all", 1, 1, 0}, {"@all @bob", "bob all", 1, 1, 0}, {"bob", "", 0, 0, 0},
	} {
		got := fetch[mentioning](ada, "PUT", "/messages/"+m.ID, map[string]any{"content": edit.text})
		if got.whom(bob, carl, late) != edit.want {
			t.Errorf("%q mentions %q, want %q", edit.text, got.whom(bob, carl, late), edit.want)
		}
		live := socket.Until("message:edited")
		if after := bob.Resume(live.Seq - 1).Until("message:edited"); string(after.Raw) != string(live.Raw) {
			t.Errorf("%q: live %s\nlate %s", edit.text, live.Raw, after.Raw)
		}
		for u, want := range map[*servertest.User]int64{bob: edit.bob, carl: edit.carl, late: edit.l} {
			if n := calls(t, u, room); n != want || len(mentions(t, u, 10)) != int(want) {
				t.Errorf("%q: %s has %d of %d: %v", edit.text, u.Name, n, want, mentions(t, u, 10))
			}
		}
	}
	ada.Do("PUT", "/messages/"+m.ID, map[string]any{"content": "@bob @all"}).OK(nil)
	ada.Do("DELETE", "/messages/"+m.ID, nil).OK(nil)
	if n := count(t, s, "SELECT count(*) FROM mention"); n != 0 || calls(t, bob, room) != 0 {
		t.Errorf("%d are left of a deleted message", n)
	}
	if f := socket.Until("message:deleted"); strings.Contains(string(f.Raw), "mention") {
		t.Errorf("told %s", f.Raw)
	}
}

func TestUnreadMentionsCountWhatOneCanSeeAndHasNotRead(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl)
	path := "/conversations/" + room
	is := func(what string, want int64) {
		t.Helper()
		if n := calls(t, bob, room); n != want {
			t.Errorf("%s: %d unread mentions, want %d", what, n, want)
		}
	}
	is("at first", 0)
	ada.Send(room, "nobody")
	first := mention(ada, room, "@bob one")
	mention(carl, room, "@bob two")
	mention(ada, room, "@all @bob three") // once
	mention(bob, room, "@bob @carl mine")
	is("three and one's own", 3)
	bob.Do("PUT", path+"/read", map[string]any{"messageId": first.ID}).OK(nil)
	is("one read", 2)
	bob.Do("POST", "/users/me/blocked-users", map[string]any{"userId": carl.ID}).OK(nil)
	is("by somebody who is blocked", 1)
	if got := mentions(t, bob, 2); !slices.Equal(got, []string{"@all @bob three", "@bob one"}) {
		t.Errorf("without those of somebody who is blocked: %q", got)
	}
	if m := mention(carl, room, "@bob do you see it"); m.whom(bob) != "bob" { // or else carl would know
		t.Errorf("who is blocked is shown %+v", m)
	}
	bob.Do("DELETE", "/users/me/blocked-users/"+carl.ID, nil).OK(nil)
	is("no longer blocked", 3)
	carl.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(nil)
	is("by somebody who blocks", 3)
	ada.Do("PUT", path+"/admins/"+bob.ID, nil).OK(nil)
	mention(bob, room, "@all mine")
	is("one's own to all", 3)
	hidden := mention(ada, room, "@bob hidden")
	is("one more", 4)
	hide(bob, hidden.ID).OK(nil)
	is("hidden", 3)
	if got := mentions(t, bob, 10); slices.Contains(got, "@bob hidden") || len(got) != 4 {
		t.Errorf("hidden: %q", got)
	}
	setTimer(ada, room, 86400).OK(nil)
	mention(ada, room, "@all mortal")
	is("a mortal one", 4)
	s.Advance(24*time.Hour + time.Second)
	bob.Refreshed()
	is("expired", 3)
	if got := mentions(t, bob, 10); slices.Contains(got, "@all mortal") || len(got) != 4 {
		t.Errorf("expired: %q", got)
	}
	bob.Do("DELETE", path+"/messages", nil).OK(nil)
	is("cleared", 0)
	if got := mentions(t, bob, 2); len(got) != 0 {
		t.Errorf("cleared: %q", got)
	}
	setTimer(ada.Refreshed(), room, 0).OK(nil)
	mention(ada, room, "@bob before leaving")
	is("after clearing", 1)
	ada.Do("DELETE", path+"/participants/"+bob.ID, nil).OK(nil)
	if got := mentions(t, bob, 2); len(got) != 0 {
		t.Errorf("removed: %q", got)
	}
	mention(ada, room, "@bob while he is away @all")
	ada.Do("PUT", path+"/participants", map[string]any{"participantIds": []string{bob.ID}}).OK(nil)
	is("back", 0)
	mention(ada, room, "@bob @all again")
	is("after coming back", 1)
	if got := mentions(t, bob, 1); !slices.Equal(got, []string{"@bob @all again"}) {
		t.Errorf("after coming back: %q", got)
	}
	bob.Do("PUT", "/conversations/read-all", nil).OK(nil)
	is("all read", 0)
}

func TestMentionsAreListedNewestFirstFromAllConversations(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	rooms := []string{ada.Group("one", bob), ada.Group("two", bob, eve), ada.Single(bob), ada.Group("without bob", eve)}
	var want []string
	for i := range 40 {
		room := rooms[i%len(rooms)]
		text := fmt.Sprintf("%d ", i) + []string{"@bob", "@all", "@all @bob", "nobody", "@eve"}[i%5]
		ada.Send(room, text)
		bobs := room != rooms[3] && (strings.Contains(text, "@bob") || strings.Contains(text, "@all") && room != rooms[2])
		if bobs {
			want = append([]string{text}, want...)
		}
	}
	for _, limit := range []int{1, 3, 7, 100} {
		if got := mentions(t, bob, limit); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q\nwant %q", limit, got, want)
		}
	}
	if got := mentions(t, ada, 100); len(got) != 0 {
		t.Errorf("by herself: %q", got)
	}
	bob.Do("GET", "/messages/mentions?limit=0", nil).Fails(400, "VALIDATION")
	for _, before := range []string{"nonsense", "~", "%00", "0"} {
		bob.Do("GET", "/messages/mentions?before="+before, nil).OK(nil)
	}
	s.Nobody().Do("GET", "/messages/mentions", nil).Fails(401, "UNAUTHORIZED")
	// A reply shows what it replies to as far as one sees that.
	first := send(ada, rooms[1], "cleared words")
	bob.Do("DELETE", "/conversations/"+rooms[1]+"/messages", nil).OK(nil)
	send(ada, rooms[1], "@bob", map[string]any{"replyTo": first.ID})
	if r := bob.Do("GET", "/messages/mentions", nil); strings.Contains(string(r.Body), "cleared words") {
		t.Errorf("shown: %s", r.Body)
	}
}

func TestAForwardMentionsNobody(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	m := mention(ada, room, "@bob @all")
	f := fetch[mentioning](ada, "POST", "/messages", draft(room, "", map[string]any{"forwardedFrom": m.ID}))
	if f.text() != "@bob @all" || f.whom(bob) != "" || len(mentions(t, bob, 10)) != 1 || calls(t, bob, room) != 1 {
		t.Errorf("a forward mentions %+v", f)
	}
}
