package servertest

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Dial opens a socket without a sign of who asks but what query and header say, and without waiting for the greeting.
// When the upgrade is refused the socket is nil; status is that of the answer. Tests may call it from any goroutine.
func (s *Server) Dial(query string, header http.Header) (socket *Socket, status int) {
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/api/v1/ws"+query, header)
	if err != nil {
		if answer != nil {
			status = answer.StatusCode
		}
		return nil, status
	}
	socket = &Socket{t: s.t, server: s, ws: ws, frames: make(chan Frame, 10000), Closed: make(chan int, 1)}
	s.t.Cleanup(func() { ws.Close() })
	go socket.read()
	return socket, answer.StatusCode
}

// Bearer is the header that signs a user in.
func (u *User) Bearer() http.Header { return http.Header{"Authorization": {"Bearer " + u.Token}} }

// settled is the event that follows everything told before it.
const settled = "test:settled"

// Pending returns what has arrived and was not read yet, and all that was committed before the call.
func (s *Socket) Pending() []Frame {
	s.t.Helper()
	s.Ask("ping", nil) // answered after what the socket catches up on
	s.next++
	mark := strconv.Itoa(s.next)
	s.server.mark(s.userID, mark)
	for {
		f := s.arrive("what was said before")
		if f.Event == settled && string(f.Data) == strconv.Quote(mark) {
			break
		}
		s.before = append(s.before, f)
	}
	frames := slices.DeleteFunc(s.before, func(f Frame) bool { return f.Event == settled })
	s.before = nil
	return frames
}

// Emitted waits until the log has so many events of a kind: for what comes by itself.
func (s *Server) Emitted(kind string, count int) {
	s.t.Helper()
	for deadline := time.Now().Add(Patience); ; time.Sleep(5 * time.Millisecond) {
		var have int
		err := s.Inner.Store().Read(context.Background(), func(v storage.View) error {
			return v.QueryRow("SELECT count(*) FROM event WHERE kind = ?", kind).Scan(&have)
		})
		switch {
		case err == nil && have == count:
			return
		case err != nil || have > count || time.Now().After(deadline):
			s.t.Fatalf("%d of %d %s: %v", have, count, kind, err)
		}
	}
}

// mark tells somebody's devices a mark that follows all that was committed before.
func (s *Server) mark(userID, mark string) {
	s.settle()
	s.Inner.Events().Tell(event.Live{Event: event.Event{Kind: settled, Scope: event.ScopeUser, ScopeID: userID}, Value: mark})
}

// unwrap takes the payload of an event of the root namespace out of its envelope {type, payload, timestamp}, which must
// be that and nothing else.
func unwrap(t testing.TB, name string, data json.RawMessage) json.RawMessage {
	t.Helper()
	var envelope struct {
		Type      string
		Payload   json.RawMessage
		Timestamp time.Time
	}
	read := json.NewDecoder(bytes.NewReader(data))
	read.DisallowUnknownFields()
	if err := read.Decode(&envelope); err != nil || envelope.Type != name || envelope.Payload == nil || envelope.Timestamp.IsZero() {
		t.Fatalf("the envelope of %s: %s", name, data)
	}
	return envelope.Payload
}

// Greeting gives the frames as they come, the first one first.
func (s *Socket) Greeting() <-chan Frame { return s.frames }

// Arrived returns what has come and was not read yet: at least all that was committed before the call.
func (s *Socket) Arrived() []Frame {
	s.t.Helper()
	s.server.settle()
	s.Ask("ping", nil) // what was told before is queued before the answer, and what is caught up on comes first
	return s.Taken()
}

// Taken returns what had come before the last answer and was not read yet.
func (s *Socket) Taken() []Frame {
	frames := s.before
	s.before = nil
	return frames
}
