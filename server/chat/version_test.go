package chat_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

type version struct{ Content, EditedAt, EditedBy string }

func versions(u *servertest.User, id string) (list []string) {
	for _, v := range fetch[[]version](u, "GET", "/messages/"+id+"/edits", nil) {
		list = append(list, v.Content)
	}
	return list
}

func TestWhatAMessageSaidBeforeIsKeptForThoseWhoSeeIt(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, eve := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("eve")
	room := ada.Group("g", bob)
	m := send(ada, room, "one")
	edit := func(text string) message {
		return fetch[message](ada, "PUT", "/messages/"+m.ID, map[string]any{"content": text})
	}
	if got := versions(bob, m.ID); len(got) != 0 {
		t.Errorf("before any edit: %v", got)
	}
	edit("two")
	edit("two") // changes nothing
	edited := edit("three")
	for _, u := range []*servertest.User{ada, bob} {
		list := fetch[[]version](u, "GET", "/messages/"+m.ID+"/edits", nil)
		if len(list) != 2 || list[0].Content != "one" || list[1].Content != "two" || list[1].EditedBy != ada.ID || list[0].EditedAt < m.CreatedAt || edited.text() != "three" {
			t.Errorf("%s sees %+v", u.Name, list)
		}
	}
	ada.Do("PUT", "/conversations/"+room+"/participants", map[string]any{"userIds": []string{carl.ID}}).OK(nil)
	for _, u := range []*servertest.User{carl, eve} { // came later, and never
		u.Do("GET", "/messages/"+m.ID+"/edits", nil).Fails(404, "MESSAGE_NOT_FOUND")
	}
	s.Stop()
	s.Boot()
	if got := versions(bob, m.ID); !slices.Equal(got, []string{"one", "two"}) {
		t.Errorf("after a restart: %v", got)
	}
	bob.Do("POST", "/conversations/"+room+"/leave", nil).OK(nil)
	bob.Do("GET", "/messages/"+m.ID+"/edits", nil).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("DELETE", "/messages/"+m.ID, nil).OK(nil)
	if got := versions(ada, m.ID); len(got) != 0 || count(t, s, "SELECT count(*) FROM message_edit") != 0 {
		t.Errorf("of a deleted message: %v", got)
	}
}

func TestOfManyVersionsTheFirstAndTheLatestAreKept(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	m := send(ada, ada.Single(bob), "v0")
	socket := ada.Socket()
	for i := range 105 {
		if f := socket.Ask("message:edit", map[string]any{"messageId": m.ID, "content": fmt.Sprint("v", i+1)}); !f.OK {
			t.Fatalf("%s", f.Raw)
		}
	}
	got := versions(bob, m.ID)
	if len(got) != 100 || got[0] != "v0" || got[1] != "v6" || got[99] != "v104" {
		t.Errorf("%d versions: %v", len(got), got)
	}
}
