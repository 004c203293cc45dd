package hub_test

import (
	"slices"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/servertest"
)

// about reads until this event about somebody.
func about(t *testing.T, s *servertest.Socket, event, userID string) servertest.Frame {
	t.Helper()
	for {
		if f := s.Until(event); decode[struct{ UserID string }](t, f).UserID == userID {
			return f
		}
	}
}

func TestPresenceIsToldToThoseWhoShareAConversationAndOutlastsAMoment(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	ada.Single(bob)
	watcher, stranger := ada.Socket(), eve.Socket()
	one := bob.Socket()
	about(t, watcher, "user:online", bob.ID)
	two := bob.Socket()
	one.Close()
	one.Code()
	online := func(u *servertest.User) []string {
		var out struct{ Online []string }
		u.Do("GET", "/presence", nil).OK(&out)
		return out.Online
	}
	if got := online(ada); !slices.Equal(got, []string{bob.ID}) {
		t.Errorf("ada sees %v", got)
	}
	if got := online(eve); len(got) != 0 {
		t.Errorf("a stranger sees %v", got)
	}
	two.Close()
	two.Code()
	start := time.Now()
	three := bob.Socket() // within the grace: they were never away
	for _, f := range watcher.Pending() {
		if f.Event == "user:offline" || f.Event == "user:online" {
			t.Errorf("told %s", f.Raw)
		}
	}
	three.Close()
	three.Code()
	f := about(t, watcher, "user:offline", bob.ID)
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("offline after %s", took)
	}
	if decode[struct{ LastSeen string }](t, f).LastSeen == "" {
		t.Errorf("told %s", f.Raw)
	}
	if got := online(ada); len(got) != 0 {
		t.Errorf("still online: %v", got)
	}
	for _, f := range stranger.Pending() {
		if f.Event == "user:offline" || f.Event == "user:online" {
			t.Errorf("a stranger is told %s", f.Raw)
		}
	}
}

func TestTypingIsToldToTheOthersAndEndsWithTheSocket(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	watcher, typist, second, stranger := ada.Socket(), bob.Socket(), bob.Socket(), eve.Socket()
	say := func(verb string) {
		if f := typist.Ask(verb, map[string]any{"conversationId": room}); !f.OK {
			t.Fatalf("%s: %s", verb, f.Raw)
		}
	}
	type typing struct{ ConversationID, UserID, UserName, Timestamp string }
	say("typing:stop") // without a start: nobody is told
	for range 2 {
		say("typing:start")
		got := decode[typing](t, watcher.Expect("typing:start"))
		if got.ConversationID != room || got.UserID != bob.ID || got.UserName != "BOB" || got.Timestamp == "" {
			t.Errorf("told %+v", got)
		}
	}
	say("typing:stop")
	watcher.Expect("typing:stop")
	say("typing:start")
	watcher.Expect("typing:start")
	if f := stranger.Ask("typing:start", map[string]any{"conversationId": room}); f.OK || f.Error.Code != "CONVERSATION_NOT_FOUND" {
		t.Errorf("a stranger types: %s", f.Raw)
	}
	for _, socket := range []*servertest.Socket{typist, second, stranger} {
		for _, f := range socket.Pending() {
			if f.Event == "typing:start" || f.Event == "typing:stop" {
				t.Errorf("told %s", f.Raw)
			}
		}
	}
	second.Close()
	typist.Close()
	if got := decode[typing](t, watcher.Until("typing:stop")); got.UserID != bob.ID || got.UserName != "BOB" {
		t.Errorf("told %+v", got)
	}
}

func TestHeartbeatsCarryTheSeqOfAQuietClient(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "QUCKCHAT_SOCKET_HEARTBEAT=1s")
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	socket := eve.Socket()
	start := socket.Seq
	if h := decode[struct{ Seq int64 }](t, socket.Until("heartbeat")); h.Seq != start {
		t.Errorf("heartbeat at %d, greeted at %d", h.Seq, start)
	}
	ada.Send(ada.Single(bob), "x")
	for {
		if h := decode[struct{ Seq int64 }](t, socket.Until("heartbeat")); h.Seq == start+2 {
			break
		}
	}
	again := eve.Resume(start + 2)
	again.Expect("resumed")
	again.Silent()
}

func TestAFrameThatIsNotARequestIsRefusedInThePersonsLanguage(t *testing.T) {
	s := servertest.Start(t)
	bob := s.Register("bob")
	header := bob.Bearer()
	header.Set("Accept-Language", "es-ES")
	socket, _ := s.Dial("", header)
	socket.Expect("hello")
	for raw, want := range map[string]string{
		`{`: "No se pudo leer la petición.", `{"id":1,"op":5}`: "No se pudo leer la petición.", `{"id":2}`: "No se pudo leer la petición.",
		`{"id":3,"op":"no:such"}`: "No existe esa operación.", `{"id":4,"op":"message:get","data":{"messageId":"x"}}`: "Mensaje no encontrado.",
	} {
		socket.WriteRaw(websocket.TextMessage, []byte(raw))
		if f := socket.Next(); f.OK || f.Error == nil || f.Error.Message != want {
			t.Errorf("%s: %s", raw, f.Raw)
		}
	}
}

func TestAPhoneIsAsPresentAsANativeClient(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	ada.Single(bob)
	watcher := ada.IO("/chat")
	phone := bob.IO("/chat")
	if e := watcher.Until("user:online"); in[struct{ UserID string }](t, e.Data).UserID != bob.ID {
		t.Errorf("told %s", e.Raw)
	}
	phone.Connect("/", bob, nil).Disconnect()
	native := bob.Socket()
	phone.Disconnect() // the connection is still there, and says nothing of anybody
	native.Close()
	native.Code()
	start := time.Now()
	e := watcher.Until("user:offline")
	if told := in[struct{ UserID, LastSeen string }](t, e.Data); told.UserID != bob.ID || told.LastSeen == "" {
		t.Errorf("told %s", e.Raw)
	}
	if took := time.Since(start); took < 4*time.Second {
		t.Errorf("offline after %s", took)
	}
	phone.Connect("/chat", bob, nil)
	if e := watcher.Until("user:online"); in[struct{ UserID string }](t, e.Data).UserID != bob.ID {
		t.Errorf("told %s", e.Raw)
	}
}
