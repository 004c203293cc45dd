package chat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func hide(u *servertest.User, id string) servertest.Reply {
	return u.Do("DELETE", "/messages/"+id+"?type=for_me", nil)
}

func TestAMessageDeletedForOneselfIsGoneThroughEveryDoorForOneAlone(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl)
	path := "/conversations/" + room
	first := send(ada, room, "secret-one", map[string]any{"metadata": map[string]any{"a": "secret"}})
	reply := send(carl, room, "an answer", map[string]any{"replyTo": first.ID})
	last := send(ada, room, "secret-two")
	start := bob.Socket().Seq
	eventually(t, "the index is there", func() bool { _, n := found(bob, "secret", ""); return n == 2 })
	one, two, others := bob.Socket(), bob.Socket(), carl.Socket()
	for _, id := range []string{first.ID, last.ID} {
		var at string
		for range 2 { // again it changes nothing
			m := fetch[struct {
				message
				DeletedAt string
			}](bob, "DELETE", "/messages/"+id+"?forEveryone=false", nil)
			if !m.IsDeleted || m.Content != nil || m.Metadata != nil || m.Sender.ID != ada.ID || m.DeletedAt == "" || at != "" && m.DeletedAt != at {
				t.Errorf("answered %+v", m)
			}
			at = m.DeletedAt
		}
		for _, device := range []*servertest.Socket{one, two} {
			if f := device.Expect("message:hidden"); string(f.Data) != `{"messageId":"`+id+`","conversationId":"`+room+`"}` {
				t.Errorf("told %s", f.Raw)
			}
		}
	}
	others.Silent()
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.Stop()
			s.Boot()
		}
		for _, door := range []string{
			"/messages/conversation/" + room, "/conversations", path, path + "/messages", path + "/pinned", "/messages/" + reply.ID,
			"/messages/search/query?q=secret", "/messages/search/query?q=answer", "/messages/search/query?q=secret&conversationId=" + room,
		} {
			r := bob.Do("GET", door, nil)
			if r.OK(nil); strings.Contains(string(r.Body), "secret") {
				t.Errorf("%s still shows it: %s", door, r.Body)
			}
		}
		for _, r := range []servertest.Reply{
			bob.Do("GET", "/messages/"+first.ID, nil), bob.Do("GET", "/messages/"+first.ID+"/edits", nil), react(bob, first.ID, "👍"), bob.Do("POST", "/messages/"+first.ID+"/read", nil),
		} {
			r.Fails(404, "MESSAGE_NOT_FOUND")
		}
		bob.Do("POST", "/messages", draft(room, "x", map[string]any{"replyTo": first.ID})).Fails(400, "REPLY_NOT_FOUND")
		c := fetch[conversation](bob, "GET", path, nil)
		total := fetch[struct{ Count int64 }](bob, "GET", "/conversations/unread/count", nil)
		if c.UnreadCount != 1 || total.Count != 1 || c.LastMessage.ID != reply.ID || c.LastMessage.ReplyTo != nil {
			t.Errorf("after hiding: %+v, %d unread in all", c, total.Count)
		}
		if got := texts(history(t, bob, room, 1)); !slices.Equal(got, []string{"an answer"}) {
			t.Errorf("history: %v", got)
		}
		for _, u := range []*servertest.User{ada, carl} {
			if got := texts(history(t, u, room, 10)); !slices.Equal(got, []string{"secret-one", "an answer", "secret-two"}) {
				t.Errorf("%s's history: %v", u.Name, got)
			}
		}
		if m := fetch[message](ada, "GET", "/messages/"+reply.ID, nil); m.ReplyTo == nil || m.ReplyTo.text() != "secret-one" {
			t.Errorf("ada's reply: %+v", m)
		}
	}
	// What becomes of it is not told either, live or late.
	one, others = bob.Socket(), carl.Socket()
	ada.Do("PUT", "/messages/"+first.ID, map[string]any{"content": "secret-three"}).OK(nil)
	react(ada, first.ID, "👍").OK(nil)
	again := send(carl, room, "quoting", map[string]any{"replyTo": first.ID})
	carl.Do("PUT", "/messages/"+again.ID, map[string]any{"content": "quoting again"}).OK(nil)
	ada.Do("DELETE", "/messages/"+last.ID, nil).OK(nil)
	for what, frames := range map[string][]servertest.Frame{"live": one.Pending(), "late": bob.Resume(start).Pending()} {
		kinds := []string{}
		for _, f := range frames {
			if strings.Contains(string(f.Raw), "secret") {
				t.Errorf("%s: told %s", what, f.Raw)
			}
			if f.Seq > 0 {
				kinds = append(kinds, f.Event)
			}
		}
		want := []string{"message:new", "message:edited"}
		if what == "late" {
			want = []string{"message:hidden", "message:hidden", "message:new", "message:edited"}
		}
		if !slices.Equal(kinds, want) {
			t.Errorf("%s: told %v, want %v", what, kinds, want)
		}
	}
	if f := others.Until("message:new"); !strings.Contains(string(f.Raw), "secret-three") {
		t.Errorf("the others are not shown what is quoted: %s", f.Raw)
	}
}

func TestWhoWasAwayIsNotToldOfWhatTheyHidElsewhere(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	start := bob.Socket().Seq
	m := send(ada, room, "secret")
	send(ada, room, "plain")
	hide(bob, m.ID).OK(nil)
	got := []string{}
	for _, f := range bob.Resume(start).Pending() {
		if f.Seq > 0 {
			got = append(got, f.Event)
		}
		if strings.Contains(string(f.Raw), "secret") {
			t.Errorf("told %s", f.Raw)
		}
	}
	if !slices.Equal(got, []string{"message:new", "message:hidden"}) {
		t.Errorf("told %v", got)
	}
}

func TestForWhomAMessageIsDeletedCanBeSaidInManyWays(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	socket := ada.Socket()
	deleted := func(id string) bool {
		t.Helper()
		return fetch[message](bob, "GET", "/messages/"+id, nil).IsDeleted
	}
	for _, test := range []struct {
		query string
		body  any
		all   bool
	}{
		{"", nil, true}, {"?type=for_everyone", nil, true}, {"?forEveryone=true", nil, true}, {"", map[string]any{"forEveryone": true}, true},
		{"?type=for_me", nil, false}, {"?forEveryone=false", nil, false}, {"", map[string]any{"forEveryone": false}, false}, {"", map[string]any{"type": "for_me"}, false},
		{"?type=for_everyone", map[string]any{"forEveryone": false}, false}, {"?forEveryone=true&type=for_me", nil, false},
	} {
		id := ada.Send(room, "x")
		ada.Do("DELETE", "/messages/"+id+test.query, test.body).OK(nil)
		if got := deleted(id); got != test.all {
			t.Errorf("%s %v: for everyone %v", test.query, test.body, got)
		}
	}
	for _, test := range []struct {
		more map[string]any
		all  bool
	}{{nil, true}, {map[string]any{"forEveryone": false}, false}, {map[string]any{"type": "for_me"}, false}, {map[string]any{"forEveryone": true}, true}} {
		id := ada.Send(room, "x")
		data := map[string]any{"messageId": id}
		for k, v := range test.more {
			data[k] = v
		}
		f := socket.Ask("message:delete", data)
		var m message
		if err := json.Unmarshal(f.Data, &m); err != nil || !f.OK || !m.IsDeleted || deleted(id) != test.all {
			t.Errorf("%v: %s", test.more, f.Raw)
		}
	}
	id := ada.Send(room, "x")
	ada.Do("DELETE", "/messages/"+id+"?type=nobody", nil).Fails(400, "VALIDATION")
	ada.Do("DELETE", "/messages/"+id+"?forEveryone=perhaps", nil).Fails(400, "VALIDATION")
	bob.Do("DELETE", "/messages/"+id, nil).Fails(403, "MESSAGE_NOT_DELETABLE")
	hide(eve, id).Fails(404, "MESSAGE_NOT_FOUND")
	hide(bob, "nothing").Fails(404, "MESSAGE_NOT_FOUND")
	notice := everything(t, bob, room, 100)
	if m := fetch[message](bob, "DELETE", "/messages/"+notice[len(notice)-1].ID+"?type=for_me", nil); m.Content != nil {
		t.Errorf("a hidden notice: %+v", m)
	}
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", room)
	hide(bob, id).OK(nil) // one's own affair, whatever holds of the conversation
}

func TestAWindowForDeletingAndALegalHold(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MESSAGE_DELETE_WINDOW=1h")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	old := ada.Send(room, "old")
	write(t, s, "UPDATE message SET created_at = created_at - 3600001 WHERE id = ?", old)
	ada.Do("DELETE", "/messages/"+old, nil).Fails(403, "MESSAGE_TOO_OLD")
	hide(ada, old).OK(nil)
	for _, hold := range []string{"UPDATE message SET legal_hold = 1 WHERE id = ?1", "UPDATE conversation SET legal_hold = 1 WHERE id = (SELECT conversation_id FROM message WHERE id = ?1)"} {
		held := send(ada, room, "before", map[string]any{"metadata": map[string]any{"kept": 1}})
		ada.Do("PUT", "/messages/"+held.ID, map[string]any{"content": "kept"}).OK(nil)
		write(t, s, hold, held.ID)
		if m := fetch[message](ada, "DELETE", "/messages/"+held.ID, nil); m.Content != nil || m.Metadata != nil {
			t.Errorf("answered %+v", m)
		}
		r := bob.Do("GET", "/messages/"+held.ID, nil)
		if r.OK(nil); strings.Contains(string(r.Body), "kept") {
			t.Errorf("shown %s", r.Body)
		}
		if got := versions(bob, held.ID); len(got) != 0 {
			t.Errorf("versions %v", got)
		}
		if n := count(t, s, "SELECT count(*) FROM message x JOIN message_edit e ON e.message_id = x.id WHERE x.id = ? AND x.content = 'kept' AND e.content = 'before' AND x.deleted_at > 0", held.ID); n != 1 {
			t.Error("what is held is not there")
		}
	}
}
