package chat_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestAClearedConversationIsEmptyThroughEveryDoorForOneAlone(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	path := "/conversations/" + room
	start := ada.Socket().Seq
	other := bob.Socket()
	first := send(ada, room, "secret-one")
	send(bob, room, "secret-two", map[string]any{"replyTo": first.ID})
	eventually(t, "the index is there", func() bool { _, n := found(ada, "secret", ""); return n == 2 })
	for range 2 {
		other.Expect("message:new")
	}
	one, two := ada.Socket(), ada.Socket()
	r := ada.Do("DELETE", path+"/messages", nil)
	r.OK(nil)
	if string(r.Body) != "{\"success\":true}\n" {
		t.Errorf("answers %s", r.Body)
	}
	ada.Do("DELETE", path+"/messages", nil).OK(nil) // nothing is left to clear
	for _, device := range []*servertest.Socket{one, two} {
		if got := stated(t, device); got.ClearedN != 3 || got.IsHidden {
			t.Errorf("told %+v", got)
		}
		device.Silent()
	}
	other.Silent()
	for _, restarted := range []bool{false, true} {
		if restarted {
			s.Stop()
			s.Boot()
		}
		for _, door := range []string{"/messages/conversation/" + room, "/conversations", path, path + "/participants", "/messages/search/query?q=secret", "/messages/search/query?q=secret&conversationId=" + room} {
			r := ada.Do("GET", door, nil)
			if r.OK(nil); strings.Contains(string(r.Body), "secret") {
				t.Errorf("%s still shows it: %s", door, r.Body)
			}
		}
		ada.Do("GET", "/messages/"+first.ID, nil).Fails(404, "MESSAGE_NOT_FOUND")
		if c := fetch[own](ada, "GET", path, nil); c.UnreadCount != 0 || c.LastMessage != nil {
			t.Errorf("after clearing: %+v", c)
		}
		if got := texts(history(t, bob, room, 10)); !slices.Equal(got, []string{"secret-one", "secret-two"}) {
			t.Errorf("the other one's history: %v", got)
		}
		if c := fetch[own](bob, "GET", path, nil); c.LastMessage == nil || c.LastMessage.text() != "secret-two" {
			t.Errorf("the other one's conversation: %+v", c)
		}
	}
	late := ada.Resume(start)
	if got := drain(t, late.Pending()); !slices.Equal(got, []string{"conversation:state"}) {
		t.Errorf("late: %v", got)
	}
	if got := drain(t, bob.Resume(start).Pending()); !slices.Equal(got, []string{"message:new one", "message:new two > one"}) {
		t.Errorf("the other one, late: %v", got)
	}
}

func TestWhatBecomesOfAClearedMessageIsNotTold(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	edited, deleted := send(bob, room, "secret-edited"), send(bob, room, "secret-deleted")
	ada.Do("DELETE", "/conversations/"+room+"/messages", nil).OK(nil)
	live := ada.Socket()
	start := live.Seq
	bob.Do("PUT", "/messages/"+edited.ID, map[string]any{"content": "secret-again"}).OK(nil)
	bob.Do("DELETE", "/messages/"+deleted.ID, nil).OK(nil)
	send(bob, room, "secret-new")
	want := []string{"message:new new"}
	if got := drain(t, live.Pending()); !slices.Equal(got, want) {
		t.Errorf("live: %v", got)
	}
	if got := drain(t, ada.Resume(start).Pending()); !slices.Equal(got, want) {
		t.Errorf("late: %v", got)
	}
	if c := fetch[own](ada, "GET", "/conversations/"+room, nil); c.UnreadCount != 1 || c.LastMessage.text() != "secret-new" {
		t.Errorf("after a new message: %+v", c)
	}
	ada.Do("POST", "/messages", draft(room, "x", map[string]any{"replyTo": edited.ID})).Fails(400, "REPLY_NOT_FOUND")
}

func TestClearingCoversEarlierStaysToo(t *testing.T) {
	w := newWindows(t)
	start := w.carl.Socket().Seq
	w.add()
	w.say("first stay")
	w.remove()
	w.add()
	w.say("second stay")
	w.carl.Do("DELETE", "/conversations/"+w.room+"/messages", nil).OK(nil)
	for _, f := range w.carl.Resume(start).Pending() {
		if strings.Contains(string(f.Raw), "stay") {
			t.Errorf("late, still told: %s", f.Raw)
		}
	}
}

func TestAReplyToAClearedMessageShowsItToTheOthersAlone(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl)
	old := send(bob, room, "secret-old")
	ada.Do("DELETE", "/conversations/"+room+"/messages", nil).OK(nil)
	one, two, other := ada.Socket(), ada.Socket(), carl.Socket()
	start := one.Seq
	reply := send(bob, room, "secret-reply", map[string]any{"replyTo": old.ID})
	bob.Do("PUT", "/messages/"+reply.ID, map[string]any{"content": "secret-edited"}).OK(nil)
	if reply.ReplyTo.text() != "secret-old" {
		t.Errorf("the sender is shown %+v", reply)
	}
	spared := []string{"message:new reply", "message:edited edited"}
	full := []string{"message:new reply > old", "message:edited edited > old"}
	for _, device := range []*servertest.Socket{one, two} {
		if got := drain(t, device.Pending()); !slices.Equal(got, spared) {
			t.Errorf("ada is told %v", got)
		}
	}
	if got := drain(t, other.Pending()); !slices.Equal(got, full) {
		t.Errorf("carl is told %v", got)
	}
	spared[0], full[0] = "message:new edited", "message:new edited > old"
	if got := drain(t, ada.Resume(start).Pending()); !slices.Equal(got, spared) {
		t.Errorf("ada is told late %v", got)
	}
	if got := drain(t, carl.Resume(start).Pending()); !slices.Equal(got, full) {
		t.Errorf("carl is told late %v", got)
	}
	if got := history(t, ada, room, 10); len(got) != 1 || got[0].ReplyTo != nil || *got[0].ReplyToID != old.ID {
		t.Errorf("ada's history: %+v", got)
	}
	// The editor's own answer keeps to it too.
	bob.Do("DELETE", "/conversations/"+room+"/messages", nil).OK(nil)
	last := send(carl, room, "secret-last")
	mine := send(bob, room, "secret-mine", map[string]any{"replyTo": last.ID})
	write(t, s, "UPDATE member SET clear_n = ? WHERE user_id = ?", last.N, bob.ID)
	if got := fetch[message](bob, "PUT", "/messages/"+mine.ID, map[string]any{"content": "secret-again"}); got.ReplyTo != nil {
		t.Errorf("bob is answered %+v", got)
	}
}
