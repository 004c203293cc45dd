package servertest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// Socket is an open native socket.
type Socket struct {
	t      testing.TB
	server *Server
	ws     *websocket.Conn
	userID string // known after hello
	next   int
	Seq    int64 // the newest seq seen, or that of hello
	frames chan Frame
	before []Frame  // arrived while an answer was awaited
	Closed chan int // gets the close code, once
}

// pull takes the next frame, or fails saying what was awaited.
func (s *Socket) pull(awaited string) Frame {
	s.t.Helper()
	if len(s.before) > 0 {
		f := s.before[0]
		s.before = s.before[1:]
		return f
	}
	return s.arrive(awaited)
}

func (s *Socket) arrive(awaited string) Frame {
	s.t.Helper()
	select {
	case f, ok := <-s.frames:
		if !ok {
			s.t.Fatalf("the socket is closed before %s", awaited)
		}
		s.Seq = max(s.Seq, f.Seq)
		if f.Event == "hello" {
			var h struct{ UserID string }
			if err := json.Unmarshal(f.Data, &h); err != nil {
				s.t.Fatal(err)
			}
			s.userID = h.UserID
		}
		return f
	case <-time.After(Patience):
		s.t.Fatalf("%s does not arrive", awaited)
	}
	return Frame{}
}

// Frame is what a server sends.
type Frame struct {
	ID    int             `json:"id"`
	OK    bool            `json:"ok"`
	Seq   int64           `json:"seq"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	Error *struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
	Raw []byte `json:"-"`
}

// Socket opens a socket and waits for hello.
func (u *User) Socket() *Socket { return u.Resume(-1) }

// settle waits until what is committed has been told, so that a socket opened now hears only what comes later.
func (s *Server) settle() {
	s.t.Helper()
	seq := s.Inner.Events().Committed()
	for deadline := time.Now().Add(Patience); s.Inner.Hub().Stats().Seq < seq; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatal("what is committed is not told")
		}
	}
}

// Resume opens a socket that catches up from seq; -1 does not.
func (u *User) Resume(since int64) *Socket {
	u.Server.t.Helper()
	u.Server.settle()
	url := "ws" + strings.TrimPrefix(u.Server.URL, "http") + "/api/v1/ws"
	if since >= 0 {
		url += fmt.Sprintf("?since=%d", since)
	}
	ws, answer, err := websocket.DefaultDialer.Dial(url, http.Header{"Authorization": {"Bearer " + u.Token}})
	if err != nil {
		body := []byte{}
		if answer != nil {
			body, _ = io.ReadAll(answer.Body)
		}
		u.Server.t.Fatalf("open socket: %v %s", err, body)
	}
	s := &Socket{t: u.Server.t, server: u.Server, ws: ws, frames: make(chan Frame, 10000), Closed: make(chan int, 1)}
	u.Server.t.Cleanup(func() { ws.Close() })
	go s.read()
	hello := s.Expect("hello")
	var h struct {
		Seq       int64  `json:"seq"`
		SessionID string `json:"sessionId"`
	}
	if err := json.Unmarshal(hello.Data, &h); err != nil {
		s.t.Fatal(err)
	}
	s.Seq, u.SessionID = h.Seq, h.SessionID
	return s
}

func (s *Socket) read() {
	for {
		_, raw, err := s.ws.ReadMessage()
		if err != nil {
			code := -1
			if e, ok := err.(*websocket.CloseError); ok {
				code = e.Code
			}
			s.Closed <- code
			close(s.frames)
			return
		}
		var f Frame
		if err := json.Unmarshal(raw, &f); err != nil {
			s.t.Errorf("frame: %v in %s", err, raw)
			continue
		}
		f.Raw = raw
		s.frames <- f
	}
}

// Expect waits for the next frame of this event, passing over heartbeats and presence, and fails on another event.
func (s *Socket) Expect(name string) Frame {
	s.t.Helper()
	f := s.Next()
	if f.Event != name {
		s.t.Fatalf("got event %q (%s), want %q", f.Event, f.Raw, name)
	}
	return f
}

// Next waits for the next frame that is neither a heartbeat nor presence.
func (s *Socket) Next() Frame {
	s.t.Helper()
	for {
		f := s.pull("the next frame")
		if f.Event != "heartbeat" && f.Event != "user:online" && f.Event != "user:offline" && f.Event != settled {
			return f
		}
	}
}

// Until waits for a frame of this event, whatever comes before it.
func (s *Socket) Until(name string) Frame {
	s.t.Helper()
	for {
		if f := s.pull(name); f.Event == name {
			return f
		}
	}
}

// Ask sends a request and waits for its answer; events that arrive before it stay for later.
func (s *Socket) Ask(op string, data any) Frame {
	s.t.Helper()
	s.next++
	id := s.next
	if err := s.ws.WriteJSON(map[string]any{"id": id, "op": op, "data": data}); err != nil {
		s.t.Fatal(err)
	}
	for {
		f := s.arrive("the answer to " + op)
		if f.ID == id {
			return f
		}
		s.before = append(s.before, f)
	}
}

// WriteRaw sends a frame as it is.
func (s *Socket) WriteRaw(kind int, raw []byte) {
	if err := s.ws.WriteMessage(kind, raw); err != nil {
		s.t.Log("write:", err)
	}
}

// Close ends the connection at once.
func (s *Socket) Close() { s.ws.Close() }

// Code waits for the server to close the socket and returns the code.
func (s *Socket) Code() int {
	s.t.Helper()
	select {
	case code := <-s.Closed:
		return code
	case <-time.After(2 * Patience): // a silent socket is left alone for ten seconds
		s.t.Fatal("the socket stays open")
		return 0
	}
}

// Silent fails when an event of the log has arrived, or was on its way.
func (s *Socket) Silent() {
	s.t.Helper()
	for _, f := range s.Pending() {
		if f.Seq > 0 {
			s.t.Fatalf("heard what it must not: %s", f.Raw)
		}
	}
}
