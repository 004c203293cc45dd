package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// notices are the sentences of the notices somebody sees in a conversation, oldest first.
func notices(t *testing.T, u *servertest.User, room string) (list []string) {
	t.Helper()
	for _, m := range everything(t, u, room, 50) {
		if m.Type == "system" {
			list = append(list, m.text())
		}
	}
	slices.Reverse(list)
	return list
}

func TestAGroupTellsWhatHappensToIt(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, dora := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora")
	more := []string{carl.ID, dora.ID}
	for i := range 4 {
		more = append(more, s.Register(fmt.Sprint("guest", i)).ID)
	}
	room := ada.Group("g", bob)
	path := "/conversations/" + room
	live := bob.Socket()
	do := func(u *servertest.User, method, where string, body any) { u.Do(method, path+where, body).OK(nil) }
	do(ada, "PUT", "/participants", map[string]any{"participantIds": more[:1]})
	do(ada, "PUT", "/participants", map[string]any{"participantIds": more}) // carl is there already
	do(ada, "PATCH", "", map[string]any{"name": "new", "description": "d", "avatar": ada.Picture()})
	do(ada, "PATCH", "", map[string]any{"name": "new", "description": "d"}) // as it was
	do(ada, "PUT", "/admins/"+bob.ID, nil)
	do(ada, "PUT", "/admins/"+bob.ID, nil) // is one
	do(ada, "DELETE", "/admins/"+bob.ID, nil)
	do(ada, "DELETE", "/participants/"+dora.ID, nil)
	do(carl, "POST", "/leave", nil)
	do(ada, "POST", "/leave", nil)
	want := []string{
		"ADA created the group", "ADA added CARL", "ADA added DORA, GUEST0, GUEST1 and 2 others", "ADA named the group “new”", "ADA changed the description",
		"ADA changed the picture", "BOB is now an admin", "BOB is no longer an admin", "ADA removed DORA", "CARL left", "ADA left", "BOB is now an admin",
	}
	if got := notices(t, bob, room); !slices.Equal(got, want) {
		t.Errorf("notices:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	told := []string{}
	for _, f := range live.Pending() {
		if f.Event == "message:new" {
			var m message
			if err := json.Unmarshal(f.Data, &m); err != nil {
				t.Fatal(err)
			}
			told = append(told, m.text())
		}
	}
	if !slices.Equal(told, want[1:]) {
		t.Errorf("told: %v", told)
	}
	all := everything(t, bob, room, 50)
	for i, m := range all {
		if m.N != int64(len(all)-i) || m.Type != "system" {
			t.Errorf("number %d is %+v", len(all)-i, m)
		}
	}
	if got := string(all[3].Metadata); got != fmt.Sprintf(`{"action":"removed","by":%q,"userIds":[%q],"count":1}`, ada.ID, dora.ID) {
		t.Errorf("metadata %s", got)
	}
	// People are called as they are called now, and keep their place when they are gone.
	ada.Do("PUT", "/users/me", map[string]any{"displayName": "Adelaide"}).OK(nil)
	if got := notices(t, bob, room)[0]; got != "Adelaide created the group" {
		t.Errorf("after a new name: %s", got)
	}
	eventually(t, "the index is there", func() bool { bob.Send(room, "group"); _, n := found(bob, "group", ""); return n > 0 })
	if list, _ := found(bob, "created", ""); len(list) != 0 {
		t.Errorf("a notice is found: %+v", list)
	}
}

func TestAJoinerSeesThatTheyWereAddedAndNothingBefore(t *testing.T) {
	w := newWindows(t)
	socket := w.carl.Socket()
	start := socket.Seq
	w.say("before")
	w.add()
	want := []string{"ADA added CARL"}
	if got := notices(t, w.carl, w.room); !slices.Equal(got, want) {
		t.Errorf("carl sees %v", got)
	}
	w.remove()
	for what, frames := range map[string][]servertest.Frame{"live": socket.Pending(), "late": w.carl.Resume(start).Pending()} {
		got := []string{}
		for _, f := range frames {
			if f.Event == "message:new" {
				var m message
				if err := json.Unmarshal(f.Data, &m); err != nil {
					t.Fatal(err)
				}
				got = append(got, m.text())
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s, carl is told %v", what, got)
		}
	}
	if got := notices(t, w.ada, w.room); !slices.Equal(got, []string{"ADA created the group", "ADA added CARL", "ADA removed CARL"}) {
		t.Errorf("ada sees %v", got)
	}
}

func TestANoticeIsNobodysNewsAndNobodysToChange(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	ada.Do("PATCH", "/conversations/"+room, map[string]any{"name": "new"}).OK(nil)
	list := fetch[[]conversation](bob, "GET", "/conversations", nil)
	if list[0].UnreadCount != 0 || list[0].LastN != 2 || list[0].LastMessage.text() != "ADA named the group “new”" {
		t.Errorf("bob's list: %+v", list)
	}
	if total := fetch[struct{ Count int64 }](bob, "GET", "/conversations/unread/count", nil); total.Count != 0 {
		t.Errorf("%d unread in all", total.Count)
	}
	path := "/messages/" + list[0].LastMessage.ID
	for _, u := range []*servertest.User{ada, bob} {
		u.Do("PUT", path, map[string]any{"content": "x"}).Fails(403, "MESSAGE_NOT_EDITABLE")
		u.Do("DELETE", path, nil).Fails(403, "MESSAGE_NOT_DELETABLE")
	}
	if reply := send(bob, room, "why", map[string]any{"replyTo": list[0].LastMessage.ID}); reply.ReplyTo.text() != "ADA named the group “new”" {
		t.Errorf("a reply to a notice: %+v", reply.ReplyTo)
	}
	single := ada.Single(bob)
	ada.Send(single, "hi")
	if got := everything(t, bob, single, 10); len(got) != 1 || got[0].N != 1 {
		t.Errorf("a single conversation has notices: %+v", got)
	}
}
