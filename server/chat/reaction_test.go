package chat_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// reactions are "name emoji" of a message, in order.
func reactions(m message, people ...*servertest.User) []string {
	list := []string{}
	for _, r := range m.Reactions {
		for _, u := range people {
			if u.ID == r.UserID {
				list = append(list, u.Name+" "+r.Emoji)
			}
		}
	}
	return list
}

func react(u *servertest.User, id, emoji string) servertest.Reply {
	return u.Do("POST", "/messages/"+id+"/reactions", map[string]any{"emoji": emoji})
}

func unreact(u *servertest.User, id, emoji string) servertest.Reply {
	return u.Do("DELETE", "/messages/"+id+"/reactions/"+url.PathEscape(emoji), nil)
}

func TestReactTwiceCountsOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	id := ada.Send(room, "hi")
	phone, laptop := ada.Socket(), ada.Socket()
	want := func(m message, list ...string) {
		t.Helper()
		if got := reactions(m, ada, bob); !slices.Equal(got, list) {
			t.Errorf("reactions %v, want %v", got, list)
		}
	}
	var m message
	for range 2 {
		react(bob, id, "👍").OK(&m)
		want(m, "bob 👍")
	}
	if m.Reactions[0].CreatedAt == "" || m.Sender.ID != ada.ID {
		t.Errorf("answered %+v", m)
	}
	react(bob, id, "❤️").OK(nil)
	react(ada, id, "👍").OK(&m)
	want(m, "bob 👍", "bob ❤️", "ada 👍")
	for _, socket := range []*servertest.Socket{phone, laptop} {
		for _, who := range []struct{ id, emoji string }{{bob.ID, "👍"}, {bob.ID, "❤️"}, {ada.ID, "👍"}} {
			f := socket.Expect("message:reaction:added")
			if want := fmt.Sprintf(`{"messageId":%q,"userId":%q,"emoji":%q,"conversationId":%q}`, id, who.id, who.emoji, room); string(f.Data) != want {
				t.Errorf("told %s, want %s", f.Data, want)
			}
		}
		socket.Silent()
	}
	for range 2 {
		unreact(bob, id, "👍").OK(&m)
		want(m, "bob ❤️", "ada 👍")
	}
	phone.Expect("message:reaction:removed")
	phone.Silent()
	unreact(ada, id, "❤️").OK(&m) // bob's is not hers
	want(m, "bob ❤️", "ada 👍")
	react(bob, id, ":yes:").OK(nil)
	for i, path := range []string{"%3Ayes%3A", "%e2%9d%a4%ef%b8%8f"} { // escaped in ways that clients escape
		bob.Do("DELETE", "/messages/"+id+"/reactions/"+path, nil).OK(&m)
		want(m, []string{"bob ❤️", "ada 👍"}[i:]...)
	}
}

func TestReactionsAreShownWhereverTheMessageIs(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	first := send(ada, room, "treasure", map[string]any{"clientId": "c"})
	socket := bob.Socket()
	f := socket.Ask("message:reaction:add", map[string]any{"messageId": first.ID, "emoji": "🎉", "conversationId": "elsewhere"})
	check := func(what string, m message) {
		t.Helper()
		if got := reactions(m, ada, bob); !slices.Equal(got, []string{"bob 🎉"}) {
			t.Errorf("%s: %v", what, got)
		}
	}
	var m message
	if err := json.Unmarshal(f.Data, &m); err != nil || !f.OK {
		t.Fatalf("answered %s", f.Raw)
	}
	check("answer", m)
	if f := socket.Ask("message:reaction:remove", map[string]any{"messageId": first.ID, "emoji": "👍"}); !f.OK {
		t.Errorf("removing nothing: %s", f.Raw)
	}
	check("history", history(t, ada, room, 5)[0])
	check("message", fetch[message](ada, "GET", "/messages/"+first.ID, nil))
	check("last message", *fetch[conversation](ada, "GET", "/conversations/"+room, nil).LastMessage)
	check("repeat", send(ada, room, "treasure", map[string]any{"clientId": "c"}))
	check("edit", fetch[message](ada, "PUT", "/messages/"+first.ID, map[string]any{"content": "treasure found"}))
	eventually(t, "it is found", func() bool { list, _ := found(ada, "found", ""); return len(list) == 1 })
	list, _ := found(ada, "found", "")
	check("search", list[0])
	socket.Until("message:edited")
	s.Stop()
	s.Boot()
	check("after a restart", fetch[message](ada, "GET", "/messages/"+first.ID, nil))
	ada.Do("DELETE", "/messages/"+first.ID, nil).OK(&m)
	if len(m.Reactions) != 0 || count(t, s, "SELECT count(*) FROM reaction") != 0 {
		t.Errorf("a tombstone keeps reactions: %+v", m)
	}
}

func TestWhatCannotBeReactedToIsRefused(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve, carl := s.Register("ada"), s.Register("bob"), s.Register("eve"), s.Register("carl")
	group, single := ada.Group("g", bob, carl), ada.Single(bob)
	id, private, gone := ada.Send(group, "x"), ada.Send(single, "x"), ada.Send(group, "gone")
	for _, emoji := range []string{"", "x", "👍👍", "<b>", strings.Repeat(":", 70)} {
		react(bob, id, emoji).Fails(400, "VALIDATION")
	}
	bob.Do("POST", "/messages/"+id+"/reactions", map[string]any{}).Fails(400, "VALIDATION")
	react(eve, id, "👍").Fails(404, "MESSAGE_NOT_FOUND")
	react(bob, "nothing", "👍").Fails(404, "MESSAGE_NOT_FOUND")
	react(bob, gone, "👍").OK(nil)
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	react(bob, gone, "👍").Fails(404, "MESSAGE_NOT_FOUND")
	unreact(bob, gone, "👍").Fails(404, "MESSAGE_NOT_FOUND")
	react(carl, id, "👍").OK(nil)
	ada.Do("DELETE", "/conversations/"+group+"/participants/"+carl.ID, nil).OK(nil)
	react(carl, id, "🎉").Fails(404, "MESSAGE_NOT_FOUND")
	unreact(carl, id, "👍").Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("PUT", "/conversations/"+group+"/participants", map[string]any{"participantIds": []string{carl.ID}}).OK(nil)
	react(carl, id, "🎉").Fails(404, "MESSAGE_NOT_FOUND") // from before they came back
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", group)
	react(bob, id, "👍").Fails(403, "CONVERSATION_LOCKED")
	react(bob, private, "👍").OK(nil)
	for _, pair := range [][2]string{{ada.ID, bob.ID}, {bob.ID, ada.ID}} {
		write(t, s, "INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 0)", pair[0], pair[1])
		react(bob, private, "🎉").Fails(403, "BLOCKED")
		unreact(bob, private, "👍").Fails(403, "BLOCKED")
		write(t, s, "DELETE FROM block")
	}
}

func TestAMessageTakesSoManyReactionsAndNoMore(t *testing.T) {
	s := servertest.Start(t)
	people := []*servertest.User{s.Register("ada"), s.Register("bob"), s.Register("carl")}
	room := people[0].Group("g", people[1:]...)
	id := people[0].Send(room, "x")
	for i, u := range people {
		most := []int{20, 20, 10}[i] // fifty kinds in all
		for k := range most {
			react(u, id, fmt.Sprintf(":e%d-%d:", i, k)).OK(nil)
		}
		react(u, id, "👍").Fails(400, "REACTIONS_FULL")
	}
	react(people[2], id, ":e0-0:").OK(nil)                         // one more of a kind that is there
	write(t, s, "UPDATE reaction SET user_id = 'somebody' || seq") // not her own any more
	write(t, s, `WITH RECURSIVE c(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c WHERE i < 949)
		INSERT INTO reaction (message_id, user_id, emoji, seq, created_at) SELECT ?, 'other' || i, ':e0-0:', 1, 1 FROM c`, id)
	react(people[2], id, ":e0-0:").Fails(400, "REACTIONS_FULL")
	if m := fetch[message](people[1], "GET", "/messages/"+id, nil); len(m.Reactions) != 1000 {
		t.Errorf("%d reactions", len(m.Reactions))
	}
}

func TestWhoeverWasAwayEndsWithTheRightReactionsEachToldOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	old := ada.Send(room, "old")
	since := []int64{bob.Socket().Seq}
	mark := func() { since = append(since, bob.Socket().Seq) }
	react(ada, old, "👍").OK(nil)
	mark()
	unreact(ada, old, "👍").OK(nil)
	mark()
	react(ada, old, "👍").OK(nil)
	fresh := ada.Send(room, "fresh")
	react(ada, fresh, "🎉").OK(nil)
	react(ada, fresh, "👀").OK(nil)
	mark()
	unreact(ada, fresh, "👀").OK(nil)
	ada.Do("PUT", "/messages/"+fresh, map[string]any{"content": "edited"}).OK(nil)
	react(bob, fresh, "👀").OK(nil)
	gone := ada.Send(room, "gone")
	react(ada, gone, "👍").OK(nil)
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	for i, at := range since {
		// What a client shows that believes everything it is told, as the mobile one does, from what it knew.
		shown := map[string][]string{}
		if i == 1 {
			shown[old] = []string{"👍"}
		}
		if i == 3 {
			shown[old], shown[fresh] = []string{"👍"}, []string{"🎉", "👀"}
		}
		for _, f := range bob.Resume(at).Pending() {
			var e struct {
				message
				MessageID, Emoji, UserID string
			}
			if f.Seq == 0 {
				continue
			}
			if err := json.Unmarshal(f.Data, &e); err != nil {
				t.Fatal(err)
			}
			switch f.Event {
			case "message:new", "message:edited":
				shown[e.ID] = []string{}
				for _, r := range e.Reactions {
					shown[e.ID] = append(shown[e.ID], r.Emoji)
				}
			case "message:reaction:added":
				shown[e.MessageID] = append(shown[e.MessageID], e.Emoji)
			case "message:reaction:removed":
				shown[e.MessageID] = slices.DeleteFunc(shown[e.MessageID], func(emoji string) bool { return emoji == e.Emoji })
			}
		}
		if got := fmt.Sprint(shown[old], shown[fresh], shown[gone]); got != "[👍] [🎉 👀] []" {
			t.Errorf("away since %d: %s", at, got)
		}
	}
}

func TestReactionsAreToldOnlyToWhoSeesTheMessage(t *testing.T) {
	w := newWindows(t)
	live := w.carl.Socket()
	start := live.Seq
	w.say("before")
	w.add()
	w.say("in")
	react(w.ada, w.ids["before"], "👍").OK(nil)
	react(w.ada, w.ids["in"], "👍").OK(nil)
	unreact(w.ada, w.ids["before"], "👍").OK(nil)
	w.remove()
	react(w.ada, w.ids["in"], "🎉").OK(nil)
	unreact(w.ada, w.ids["in"], "👍").OK(nil)
	for what, frames := range map[string][]servertest.Frame{"live": live.Pending(), "late": w.carl.Resume(start).Pending()} {
		told := []string{}
		for _, f := range frames {
			if strings.HasPrefix(f.Event, "message:") && !strings.Contains(string(f.Raw), `"type":"system"`) {
				told = append(told, f.Event)
			}
			if strings.Contains(string(f.Raw), w.ids["before"]) || strings.Contains(string(f.Raw), "🎉") {
				t.Errorf("%s: told %s", what, f.Raw)
			}
		}
		want := []string{"message:new", "message:reaction:added"}
		if what == "late" {
			want = want[:1] // taken back since
		}
		if !slices.Equal(told, want) {
			t.Errorf("%s: told %v, want %v", what, told, want)
		}
	}
}

func TestWhatHangsOnAMessageGoesWithItsGroup(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	for range 3 {
		react(bob, ada.Send(room, "x"), "👍").OK(nil)
	}
	ada.Do("DELETE", "/conversations/"+room, nil).OK(nil)
	eventually(t, "nothing is left of it", func() bool {
		return count(t, s, "SELECT (SELECT count(*) FROM message) + (SELECT count(*) FROM reaction)") == 0
	})
}

func TestReactingAtOnceFromManyDevicesCountsOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	id := ada.Send(ada.Single(bob), "x")
	listener := ada.Socket()
	together(8, func(int) {
		if r := react(bob, id, "👍"); r.Status != 201 {
			t.Errorf("%d %s", r.Status, r.Body)
		}
	})
	listener.Expect("message:reaction:added")
	listener.Silent()
	if n := count(t, s, "SELECT count(*) FROM reaction"); n != 1 {
		t.Errorf("%d rows", n)
	}
}
