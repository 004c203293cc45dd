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

// pins are the texts of the pinned messages that somebody is shown, through both doors.
func pins(t *testing.T, u *servertest.User, room string) []string {
	t.Helper()
	list := fetch[[]message](u, "GET", "/conversations/"+room+"/pinned", nil)
	got, again := []string{}, []string{}
	for _, m := range list {
		got = append(got, m.text())
		if m.Sender.ID == "" || m.ConversationID != room {
			t.Errorf("a pin is not populated: %+v", m)
		}
	}
	for _, m := range fetch[own](u, "GET", "/conversations/"+room, nil).PinnedMessages {
		again = append(again, m.text())
	}
	if !slices.Equal(got, again) {
		t.Errorf("pinned are %v, on the conversation %v", got, again)
	}
	return got
}

func TestPinsAreAtMostTenAndToldOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	path := "/conversations/" + room + "/pin/"
	ids := []string{}
	for i := range 12 {
		ids = append(ids, ada.Send(room, fmt.Sprint(i)))
	}
	elsewhere := ada.Send(ada.Single(bob), "elsewhere")
	one, two, stranger := ada.Socket(), bob.Socket(), eve.Socket()
	c := fetch[struct {
		own
		PinnedMessagesUpdatedAt string
	}](ada, "POST", path+ids[0], nil)
	if len(c.PinnedMessages) != 1 || c.PinnedMessages[0].text() != "0" || c.PinnedMessages[0].Sender.ID != ada.ID || c.PinnedMessagesUpdatedAt == "" {
		t.Errorf("answered %+v", c)
	}
	for _, device := range []*servertest.Socket{one, two} {
		var told struct{ MessageID, ConversationID, By, At string }
		if err := json.Unmarshal(device.Expect("message:pinned").Data, &told); err != nil {
			t.Fatal(err)
		}
		if told.MessageID != ids[0] || told.ConversationID != room || told.By != ada.ID || told.At != c.PinnedMessagesUpdatedAt {
			t.Errorf("told %+v", told)
		}
	}
	ada.Do("POST", path+ids[0], nil).OK(nil)
	bob.Do("POST", path+ids[1], nil).Fails(403, "NOT_ADMIN")
	bob.Do("DELETE", path+ids[0], nil).Fails(403, "NOT_ADMIN")
	eve.Do("POST", path+ids[1], nil).Fails(404, "CONVERSATION_NOT_FOUND")
	eve.Do("DELETE", path+ids[0], nil).Fails(404, "CONVERSATION_NOT_FOUND")
	eve.Do("GET", "/conversations/"+room+"/pinned", nil).Fails(404, "CONVERSATION_NOT_FOUND")
	ada.Do("POST", path+elsewhere, nil).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("POST", path+"ffffffffffffffffffffffff", nil).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("DELETE", path+ids[5], nil).OK(nil) // not pinned
	stranger.Silent()
	one.Silent()
	two.Silent()
	for _, id := range ids[1:10] {
		ada.Do("POST", path+id, nil).OK(nil)
		one.Expect("message:pinned")
	}
	ada.Do("POST", path+ids[10], nil).Fails(403, "PINS_FULL")
	ada.Do("POST", path+ids[3], nil).OK(nil)
	if got := pins(t, bob, room); len(got) != 10 || !slices.Contains(got, "9") {
		t.Errorf("pinned: %v", got)
	}
	ada.Do("DELETE", path+ids[0], nil).OK(nil)
	one.Expect("message:unpinned")
	ada.Do("POST", path+ids[10], nil).OK(nil)
	one.Expect("message:pinned")
	ada.Do("DELETE", "/messages/"+ids[1], nil).OK(nil)
	one.Expect("message:deleted")
	ada.Do("POST", path+ids[1], nil).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("POST", path+ids[11], nil).OK(nil)
	one.Expect("message:pinned")
	write(t, s, "UPDATE message SET expires_at = ? WHERE id = ?", time.Now().Add(-time.Second).UnixMilli(), ids[2])
	write(t, s, "UPDATE pinned_message SET pinned_at = n")
	s.Stop()
	s.Boot()
	if got := strings.Join(pins(t, bob, room), " "); got != "11 10 9 8 7 6 5 4 3" {
		t.Errorf("after a restart: %s", got)
	}
	ada.Do("DELETE", "/conversations/"+room, nil).OK(nil)
	if n := count(t, s, "SELECT count(*) FROM pinned_message"); n != 0 {
		t.Errorf("%d pins of a deleted group", n)
	}
}

func TestEitherOfTwoPinsAndWhoMayNotWriteMayNotPin(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	path := "/conversations/" + room + "/pin/"
	mine, theirs := ada.Send(room, "mine"), bob.Send(room, "theirs")
	socket := bob.Socket()
	if f := socket.Ask("message:pin", map[string]any{"conversationId": room, "messageId": mine}); !f.OK || !strings.Contains(string(f.Data), `"mine"`) {
		t.Errorf("by socket: %s", f.Raw)
	}
	ada.Do("POST", path+theirs, nil).OK(nil)
	if f := socket.Ask("conversation:pinned", map[string]any{"conversationId": room}); !f.OK || !strings.Contains(string(f.Data), `"theirs"`) {
		t.Errorf("by socket: %s", f.Raw)
	}
	if f := socket.Ask("message:unpin", map[string]any{"conversationId": room, "messageId": mine}); !f.OK {
		t.Errorf("by socket: %s", f.Raw)
	}
	if got := pins(t, ada, room); !slices.Equal(got, []string{"theirs"}) {
		t.Errorf("pinned: %v", got)
	}
	write(t, s, "INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 1)", bob.ID, ada.ID)
	ada.Do("POST", path+mine, nil).Fails(403, "BLOCKED")
	ada.Do("DELETE", path+theirs, nil).Fails(403, "BLOCKED")
	write(t, s, "DELETE FROM block")
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", room)
	ada.Do("POST", path+mine, nil).Fails(403, "CONVERSATION_LOCKED")
	if got := pins(t, bob, room); !slices.Equal(got, []string{"theirs"}) {
		t.Errorf("pinned: %v", got)
	}
}

func TestPinsRespectWhatEachMemberSees(t *testing.T) {
	w := newWindows(t)
	dora := w.Register("dora")
	w.ada.Do("PUT", "/conversations/"+w.room+"/participants", map[string]any{"participantIds": []string{dora.ID}}).OK(nil)
	path := "/conversations/" + w.room
	old := w.say("old")
	w.add() // carl joins after it
	since := w.carl.Socket().Seq
	live, early := w.carl.Socket(), dora.Socket()
	young := w.say("young", map[string]any{"replyTo": old.ID})
	for _, id := range []string{old.ID, young.ID} {
		w.ada.Do("POST", path+"/pin/"+id, nil).OK(nil)
	}
	w.ada.Do("PUT", path, map[string]any{"description": "d"}).OK(nil)
	w.ada.Do("DELETE", path+"/pin/"+old.ID, nil).OK(nil)
	w.ada.Do("POST", path+"/pin/"+old.ID, nil).OK(nil)
	write(t, w.Server, "UPDATE pinned_message SET pinned_at = n")
	for name, device := range map[string]*servertest.Socket{"live": live, "late": w.carl.Resume(since)} {
		frames := device.Pending()
		if got := drain(t, frames); !slices.Equal(got, []string{"message:new young", "message:pinned", "conversation:updated"}) {
			t.Errorf("carl, %s, is told %v", name, got)
		}
		for _, f := range frames {
			if f.Event == "conversation:updated" && !strings.Contains(string(f.Data), `"pinnedMessages":["`+young.ID+`"]`) {
				t.Errorf("%s, a frame for all: %s", name, f.Raw)
			}
			if f.Event != "message:new" && strings.Contains(string(f.Raw), old.ID) { // a reply names it
				t.Errorf("%s, carl is told of what he does not see: %s", name, f.Raw)
			}
		}
	}
	if got := drain(t, early.Pending()); len(got) != 6 {
		t.Errorf("dora is told %v", got)
	}
	for _, restarted := range []bool{false, true} {
		if restarted {
			w.Stop()
			w.Boot()
		}
		for u, want := range map[*servertest.User]string{w.ada: "secret-young secret-old", dora: "secret-young secret-old", w.carl: "secret-young"} {
			if got := strings.Join(pins(t, u, w.room), " "); got != want {
				t.Errorf("%s sees %q pinned, want %q", u.Name, got, want)
			}
		}
	}
	if r := w.carl.Do("GET", path+"/pinned", nil); strings.Contains(string(r.Body), "secret-old") {
		t.Errorf("a pin shows what it replies to: %s", r.Body)
	}
	// What somebody cleared or hid is not pinned for them, and is for the others.
	dora.Do("DELETE", path+"/messages", nil).OK(nil)
	if got := pins(t, dora, w.room); len(got) != 0 {
		t.Errorf("dora has cleared it and sees %v", got)
	}
	if got := pins(t, w.ada, w.room); len(got) != 2 {
		t.Errorf("ada sees %v", got)
	}
	// An admin cannot pin what they do not see, nor learn whether it is pinned.
	w.ada.Do("PUT", path+"/admins/"+w.carl.ID, nil).OK(nil)
	w.carl.Do("POST", path+"/pin/"+old.ID, nil).Fails(404, "MESSAGE_NOT_FOUND")
	w.carl.Do("DELETE", path+"/pin/"+old.ID, nil).Fails(404, "MESSAGE_NOT_FOUND")
	w.remove()
	w.carl.Do("GET", path+"/pinned", nil).Fails(404, "CONVERSATION_NOT_FOUND")
}

func TestPinsThatNobodyCanSeeTakeNoPlace(t *testing.T) {
	w := newWindows(t)
	path := "/conversations/" + w.room
	for i := range 10 {
		w.ada.Do("POST", path+"/pin/"+w.say(fmt.Sprint(i)).ID, nil).OK(nil)
	}
	w.add()
	w.ada.Do("POST", path+"/leave", nil).OK(nil)
	mine := w.carl.Send(w.room, "mine")
	w.carl.Do("POST", path+"/pin/"+mine, nil).OK(nil)
	if got := pins(t, w.carl, w.room); !slices.Equal(got, []string{"mine"}) {
		t.Errorf("pinned: %v", got)
	}
}
