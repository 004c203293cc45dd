package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// decode reads what a test needs of an event's data.
func decode[T any](t *testing.T, f servertest.Frame) (out T) {
	t.Helper()
	if err := json.Unmarshal(f.Data, &out); err != nil {
		t.Fatalf("%v in %s", err, f.Raw)
	}
	return out
}

// logged are the frames of the log among those given.
func logged(frames []servertest.Frame) []servertest.Frame {
	return slices.DeleteFunc(frames, func(f servertest.Frame) bool { return f.Seq == 0 })
}

// offsets are the events of the log among those given, as they were said.
func offsets(events []servertest.Told) (said []string) {
	for _, e := range events {
		if e.Offset != "" {
			said = append(said, e.Raw)
		}
	}
	return said
}

func TestEveryKindOfEventIsTheSameLiveAndLate(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	live := bob.Socket()
	at, seen := live.Seq, map[string]bool{}
	spaces := []*servertest.Space{s.IO().Connect("/chat", bob, asking("", "")), s.IO().Connect("/", bob, asking("", ""))}
	var room, first, reply, hidden string
	put := func(by *servertest.User, method, path string, body any) { by.Do(method, path, body).OK(nil) }
	send := func(body map[string]any) string {
		var m struct {
			ID string `json:"_id"`
		}
		body["conversationId"] = room
		ada.Do("POST", "/messages", body).OK(&m)
		return m.ID
	}
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"a new group", func() { room = ada.Group("g", bob) }},
		{"somebody added", func() {
			put(ada, "PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{carl.ID}})
		}},
		{"renamed", func() {
			put(ada, "PUT", "/conversations/"+room, map[string]any{"name": "<new> & \u2028 ñ", "description": "d"})
		}},
		{"a message", func() {
			first = send(map[string]any{"content": "<b>&\u2028\x00👩", "clientId": "c", "metadata": map[string]any{"b": []any{1, nil}, "a": "<"}})
		}},
		{"a reply", func() { reply = send(map[string]any{"content": "r", "replyTo": first}) }},
		{"a forward", func() { send(map[string]any{"forwardedFrom": first}) }},
		{"a file that is not looked at yet", func() {
			scanner.Hold()
			address, _ := ada.Begun("/upload/image", servertest.File{Part: "file", Name: "p.png", Content: servertest.PNG(40, 20)})
			send(map[string]any{"type": "image", "replyTo": first, "attachments": []map[string]any{{"type": "image", "url": address}}})
		}},
		{"a file that is looked at", func() {
			scanner.Release()
			s.Emitted("message:media", 1)
		}},
		{"a mention", func() { send(map[string]any{"content": "@carl @bob @all"}) }},
		{"an edit", func() { put(ada, "PUT", "/messages/"+first, map[string]any{"content": "edited"}) }},
		{"an edited reply, which mentions", func() { put(ada, "PUT", "/messages/"+reply, map[string]any{"content": "edited @bob"}) }},
		{"a reaction", func() { put(carl, "POST", "/messages/"+first+"/reactions", map[string]any{"emoji": "👍"}) }},
		{"an edit of what has a reaction", func() { put(ada, "PUT", "/messages/"+first, map[string]any{"content": "edited again"}) }},
		{"a reaction taken back", func() { put(carl, "DELETE", "/messages/"+first+"/reactions/👍", nil) }},
		{"a message to hide", func() { hidden = send(map[string]any{"content": "not for bob"}) }},
		{"hidden", func() { put(bob, "DELETE", "/messages/"+hidden+"?type=for_me", nil) }},
		{"a reading", func() { put(carl, "PUT", "/conversations/"+room+"/read", nil) }},
		{"a new role", func() { put(ada, "PUT", "/conversations/"+room+"/admins/"+carl.ID, nil) }},
		{"a pin", func() { put(ada, "POST", "/conversations/"+room+"/pin/"+first, nil) }},
		{"another pin", func() { put(ada, "POST", "/conversations/"+room+"/pin/"+reply, nil) }},
		{"pins in an update", func() { put(ada, "PUT", "/conversations/"+room, map[string]any{"description": "pinned"}) }},
		{"no pin", func() { put(ada, "DELETE", "/conversations/"+room+"/pin/"+reply, nil) }},
		{"a deletion", func() { put(ada, "DELETE", "/messages/"+first, nil) }},
		{"an edited reply to a tombstone", func() { put(ada, "PUT", "/messages/"+reply, map[string]any{"content": "again"}) }},
		{"somebody removed", func() { put(ada, "DELETE", "/conversations/"+room+"/participants/"+carl.ID, nil) }},
		{"somebody back", func() {
			put(ada, "PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{carl.ID}})
		}},
		{"a reply to what not all may see", func() { send(map[string]any{"content": "r", "replyTo": reply}) }},
		{"a mute", func() { put(bob, "POST", "/conversations/"+room+"/mute", map[string]any{"durationMinutes": 60}) }},
		{"an archive", func() { put(bob, "POST", "/conversations/"+room+"/archive", nil) }},
		{"a clearing", func() { put(bob, "DELETE", "/conversations/"+room+"/messages", nil) }},
		{"a profile", func() { put(bob, "PUT", "/users/me", map[string]any{"displayName": "Bobby"}) }},
		{"a setting", func() { put(bob, "PUT", "/users/me/settings", map[string]any{"darkMode": true}) }},
		{"a contact", func() {
			put(bob, "POST", "/users/me/contacts", map[string]any{"userId": carl.ID, "name": "c"})
		}},
		{"a contact gone", func() { put(bob, "DELETE", "/users/me/contacts/"+carl.ID, nil) }},
		{"a block", func() { put(bob, "POST", "/users/me/blocked-users", map[string]any{"userId": carl.ID}) }},
		{"a status", func() { put(bob, "PUT", "/users/me/status", map[string]any{"status": "busy"}) }},
		{"a reading in secret", func() {
			put(bob, "PUT", "/users/me/settings", map[string]any{"readReceipts": false})
			send(map[string]any{"content": "s"})
			put(bob, "PUT", "/conversations/"+room+"/read", nil)
			put(ada, "PUT", "/conversations/"+room+"/read", nil)
		}},
		{"a deleted group", func() { put(ada, "DELETE", "/conversations/"+room, nil) }},
	} {
		step.do()
		told := logged(live.Pending())
		late := logged(bob.Resume(at).Pending())
		if len(told) == 0 || len(told) != len(late) {
			t.Fatalf("%s: %d events live, %d late", step.what, len(told), len(late))
		}
		for i, f := range told {
			seen[f.Event] = true
			if string(f.Raw) != string(late[i].Raw) {
				t.Errorf("%s:\nlive %s\nlate %s", step.what, f.Raw, late[i].Raw)
			}
		}
		for _, space := range spaces { // and so in the dialects of Socket.IO
			back := s.IO().Connect(space.Name, bob, asking(space.PID, fmt.Sprint(at)))
			told, late := offsets(space.Pending()), offsets(back.Pending())
			if !slices.Equal(told, late) {
				t.Errorf("%s, %s:\nlive %s\nlate %s", step.what, space.Name, told, late)
			}
			back.Close()
		}
		at = told[len(told)-1].Seq
	}

	// Whoever is told of the end of a session cannot come back with it: its late form is compared below the socket.
	put(bob, "POST", "/auth/logout", nil)
	revoked := live.Until("auth:revoked")
	seen[revoked.Event] = true
	err := s.Inner.Store().Read(context.Background(), func(v storage.View) error {
		rows, err := v.Query("SELECT seq, at, kind, scope, scope_id, subject_id, actor_id, data FROM event WHERE seq = ?", revoked.Seq)
		if err != nil {
			return err
		}
		events, err := event.Scan(rows)
		if err != nil {
			return err
		}
		values, err := s.Inner.Events().Values(v, events)
		if err != nil {
			return err
		}
		raw, err := json.Marshal(values[0])
		if string(raw) != string(revoked.Data) {
			t.Errorf("auth:revoked: live %s, late %s", revoked.Data, raw)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, kind := range s.Inner.Events().Kinds() {
		if kind.Render != nil && !seen[name] && name != "storage:low" && name != "message:transcribed" && name != "call:missed" { // which server/media, server/chat and server/call compare
			t.Errorf("%s is not compared here", name)
		}
	}
}

func TestComingBackAtRandomHearsEverythingOnceAndInOrder(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := servertest.Start(t)
	bob := s.Register("bob")
	rooms := map[string]int64{}
	var senders sync.WaitGroup
	since := bob.Socket().Seq
	const people, each = 3, 120
	for i := range people {
		u := s.Register(fmt.Sprint("sender", i))
		rooms[u.Group("g", bob)] = 0
	}
	for room := range rooms {
		senders.Go(func() {
			for k := range each {
				if reply := bob.Do("POST", "/messages", map[string]any{"conversationId": room, "content": fmt.Sprint(k)}); reply.Status != 201 {
					t.Errorf("send: %d %s", reply.Status, reply.Body)
				}
			}
		})
	}
	heard, connections := 0, 0
	for heard < people*(each+2) { // a conversation, a notice of it, and what is said
		socket, _ := s.Dial(fmt.Sprint("?since=", since), bob.Bearer())
		if socket == nil {
			t.Fatal("refused")
		}
		connections++
		socket.Expect("hello")
		for range r.IntN(60) {
			if heard == people*(each+2) {
				break
			}
			f := socket.Next()
			if f.Seq == 0 {
				if f.Event != "resumed" {
					t.Fatalf("got %s", f.Raw)
				}
				continue
			}
			if f.Seq <= since {
				t.Fatalf("seq %d after %d", f.Seq, since)
			}
			since = f.Seq
			heard++
			if f.Event == "conversation:new" {
				continue
			}
			m := decode[struct {
				ConversationID string
				N              int64
			}](t, f)
			if rooms[m.ConversationID]++; m.N != rooms[m.ConversationID] {
				t.Fatalf("message %d of a conversation after %d others", m.N, rooms[m.ConversationID]-1)
			}
		}
		socket.Close()
		socket.Code() // gone, so that it does not count against the limit
	}
	senders.Wait()
	t.Logf("%d connections", connections)
	socket := bob.Resume(since)
	socket.Expect("resumed")
	socket.Silent()
}

func TestASinceThatTheLogDoesNotHoldAsksForAResync(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for range 5 {
		ada.Send(room, "x")
	}
	head := bob.Socket().Seq
	expect := func(since, want string) {
		t.Helper()
		socket, _ := s.Dial("?since="+since, bob.Bearer())
		socket.Expect("hello")
		f := socket.Expect(want)
		if got := decode[struct{ Seq int64 }](t, f).Seq; got != head {
			t.Errorf("since %s: at %d, want %d", since, got, head)
		}
		socket.Silent()
		ada.Send(room, "live")
		head++
		socket.Expect("message:new")
	}
	expect(fmt.Sprint(head), "resumed")
	expect(fmt.Sprint(head+1), "resync")
	expect("-1", "resync")
	expect("x", "resync")
	expect("99999999999999999999", "resync")
	err := s.Inner.Store().Write(context.Background(), "test", func(tx *storage.Tx) error {
		_, err := tx.Exec("DELETE FROM event WHERE seq <= ?", head-2)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(fmt.Sprint(head-3), "resync")
	expect("0", "resync")
	socket := bob.Resume(head - 4) // the two that were kept, and the two above
	if got := len(logged(socket.Pending())); got != 4 {
		t.Errorf("at the floor: %d events, want 4", got)
	}
}

func TestTwoDevicesHearTheSame(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	one, two := bob.Socket(), bob.Socket()
	room := ada.Single(bob)
	f := one.Ask("message:send", map[string]any{"conversationId": room, "content": "x"})
	if !f.OK {
		t.Fatalf("send: %s", f.Raw)
	}
	mine, theirs := logged(one.Pending()), logged(two.Pending())
	if len(mine) != 2 || len(theirs) != 2 {
		t.Fatalf("%d and %d events", len(mine), len(theirs))
	}
	for i := range mine {
		if string(mine[i].Raw) != string(theirs[i].Raw) {
			t.Errorf("%s\n%s", mine[i].Raw, theirs[i].Raw)
		}
	}
	if !reflect.DeepEqual(decode[map[string]any](t, f), decode[map[string]any](t, mine[1])) {
		t.Errorf("answered %s, told %s", f.Raw, mine[1].Raw)
	}
}
