package servertest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/socketio"
)

// IO is a Socket.IO connection. It answers pings by itself.
//
//	chat := ada.IO("/chat")
//	chat.Ask("message:send", map[string]any{"conversationId": room, "content": "hello"}).OK()
//	chat.Expect("message:new")
type IO struct {
	t      testing.TB
	server *Server
	ws     *websocket.Conn
	Open   socketio.Handshake
	Closed chan int // gets the close code, once

	mu     sync.Mutex // of writing, and of what follows
	spaces map[string]chan socketio.Packet
	ended  bool // the channels are closed
}

// Space is a connected namespace of a connection. One goroutine uses it.
type Space struct {
	*IO
	Name   string
	SID    string
	PID    string // when recovery was asked for
	Offset string // of the newest event heard
	userID string
	next   int
	before []Told // arrived while an acknowledgement was awaited
}

// Told is an event as a client hears it. In the root namespace the data is the payload, taken out of its envelope.
type Told struct {
	Event  string
	Data   json.RawMessage
	Offset string // with recovery
	Raw    string
}

// Acked is an acknowledgement.
type Acked struct {
	t       testing.TB
	Success bool            `json:"success"`
	Error   string          `json:"error"`
	Code    string          `json:"code"`
	Message json.RawMessage `json:"message"`
	Data    json.RawMessage `json:"data"`
	Raw     string          `json:"-"`
}

// OK checks that what was asked has been done.
func (a Acked) OK() Acked {
	a.t.Helper()
	if !a.Success || a.Error != "" {
		a.t.Fatalf("not done: %s", a.Raw)
	}
	return a
}

// Fails checks for this code.
func (a Acked) Fails(code string) {
	a.t.Helper()
	if a.Success || a.Code != code || a.Error == "" {
		a.t.Fatalf("got %s, want %s", a.Raw, code)
	}
}

// DialIO opens a connection, with a query such as "?EIO=4&transport=websocket". When the upgrade is refused the
// connection is nil. Tests may call it from any goroutine.
func (s *Server) DialIO(query string, header http.Header) (io *IO, status int) {
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/"+query, header)
	if err != nil {
		if answer != nil {
			status = answer.StatusCode
		}
		return nil, status
	}
	s.t.Cleanup(func() { ws.Close() })
	io = &IO{t: s.t, server: s, ws: ws, Closed: make(chan int, 1), spaces: map[string]chan socketio.Packet{}}
	_, raw, err := ws.ReadMessage()
	if kind, payload, e := socketio.DecodeFrame(raw); err != nil || e != nil || kind != socketio.Open || json.Unmarshal(payload, &io.Open) != nil {
		s.t.Errorf("opened with %s, %v", raw, err)
	}
	go io.read()
	return io, answer.StatusCode
}

// IO opens a connection without a namespace.
func (s *Server) IO() *IO {
	s.t.Helper()
	io, status := s.DialIO("?EIO=4&transport=websocket", nil)
	if io == nil {
		s.t.Fatalf("open Socket.IO: %d", status)
	}
	return io
}

// IO opens a connection and connects one namespace of it.
func (u *User) IO(namespace string) *Space {
	u.Server.t.Helper()
	return u.Server.IO().Connect(namespace, u, nil)
}

func (io *IO) read() {
	for {
		_, raw, err := io.ws.ReadMessage()
		if err != nil {
			code := -1
			if e, ok := err.(*websocket.CloseError); ok {
				code = e.Code
			}
			io.Closed <- code
			io.mu.Lock()
			for _, packets := range io.spaces {
				close(packets)
			}
			io.ended = true
			io.mu.Unlock()
			return
		}
		kind, payload, err := socketio.DecodeFrame(raw)
		switch {
		case err == nil && kind == socketio.Ping:
			io.WriteRaw(websocket.TextMessage, []byte{byte(socketio.Pong)})
		case err == nil && kind == socketio.Message:
			p, err := socketio.Decode(payload)
			if err != nil {
				io.t.Errorf("packet %s: %v", payload, err)
				continue
			}
			io.space(p.Namespace) <- p
		default:
			io.t.Errorf("frame %s", raw)
		}
	}
}

// space is where the packets of a namespace go, until the connection has ended.
func (io *IO) space(name string) chan socketio.Packet {
	io.mu.Lock()
	defer io.mu.Unlock()
	if io.spaces[name] == nil {
		io.spaces[name] = make(chan socketio.Packet, 10000)
		if io.ended {
			close(io.spaces[name])
		}
	}
	return io.spaces[name]
}

// Packets gives the packets of a namespace as they come, to tests that read them themselves.
func (io *IO) Packets(namespace string) <-chan socketio.Packet { return io.space(namespace) }

// WriteRaw sends a frame as it is.
func (io *IO) WriteRaw(kind int, raw []byte) {
	io.mu.Lock()
	defer io.mu.Unlock()
	if err := io.ws.WriteMessage(kind, raw); err != nil {
		io.t.Log("write:", err)
	}
}

// Write sends a packet.
func (io *IO) Write(p socketio.Packet) { io.WriteRaw(websocket.TextMessage, p.Frame()) }

// Close ends the connection at once.
func (io *IO) Close() { io.ws.Close() }

// Code waits for the server to close the connection and returns the code.
func (io *IO) Code() int {
	io.t.Helper()
	select {
	case code := <-io.Closed:
		return code
	case <-time.After(2 * Patience):
		io.t.Fatal("the connection stays open")
		return 0
	}
}

// Connect connects a namespace as u, or as nobody when u is nil; more is added to what is said.
func (io *IO) Connect(namespace string, u *User, more map[string]any) *Space {
	io.t.Helper()
	io.server.settle()
	s := &Space{IO: io, Name: namespace}
	p := io.knock(namespace, u, more)
	var answer struct{ SID, PID string }
	if err := json.Unmarshal(p.Data, &answer); p.Type != socketio.Connect || err != nil || answer.SID == "" {
		io.t.Fatalf("connect %s: %s", namespace, p.Append(nil))
	}
	if u != nil {
		s.userID = u.ID
	}
	s.SID, s.PID = answer.SID, answer.PID
	return s
}

// Refused connects a namespace, checks that it is refused, and returns sentence and code.
func (io *IO) Refused(namespace string, u *User, more map[string]any) (message, code string) {
	io.t.Helper()
	p := io.knock(namespace, u, more)
	var answer struct {
		Message string
		Data    struct{ Code string }
	}
	if err := json.Unmarshal(p.Data, &answer); p.Type != socketio.ConnectError || err != nil || answer.Message == "" {
		io.t.Fatalf("not refused: %s", p.Append(nil))
	}
	return answer.Message, answer.Data.Code
}

func (io *IO) knock(namespace string, u *User, more map[string]any) socketio.Packet {
	io.t.Helper()
	auth := map[string]any{}
	if u != nil {
		auth["token"] = u.Token
	}
	maps.Copy(auth, more)
	data, err := json.Marshal(auth)
	if err != nil {
		io.t.Fatal(err)
	}
	packets := io.space(namespace)
	io.Write(socketio.Packet{Type: socketio.Connect, Namespace: namespace, Data: data})
	select {
	case p, ok := <-packets:
		if !ok {
			io.t.Fatalf("closed before %s is connected", namespace)
		}
		return p
	case <-time.After(Patience):
		io.t.Fatalf("no answer to connect %s", namespace)
	}
	return socketio.Packet{}
}

// Disconnect leaves the namespace.
func (s *Space) Disconnect() {
	s.Write(socketio.Packet{Type: socketio.Disconnect, Namespace: s.Name})
}

// Emit sends an event and does not ask for an acknowledgement.
func (s *Space) Emit(name string, payload any) { s.emit(name, "", payload) }

func (s *Space) emit(name, id string, payload any) {
	s.t.Helper()
	data, err := json.Marshal(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	s.Write(socketio.Packet{Type: socketio.Event, Namespace: s.Name, ID: id, Event: name, Args: []json.RawMessage{data}})
}

// Ask sends an event and waits for its acknowledgement; events that arrive before it stay for later.
func (s *Space) Ask(name string, payload any) Acked {
	s.t.Helper()
	id := strconv.Itoa(s.next)
	s.next++
	s.emit(name, id, payload)
	for {
		p := s.arrive("the acknowledgement of " + name)
		if p.Type == socketio.Event {
			s.before = append(s.before, s.told(p))
			continue
		}
		a := Acked{t: s.t, Raw: string(p.Append(nil))}
		if p.Type != socketio.Ack || p.ID != id || len(p.Args) != 1 || json.Unmarshal(p.Args[0], &a) != nil {
			s.t.Fatalf("%s is acknowledged with %s", name, a.Raw)
		}
		return a
	}
}

func (s *Space) arrive(awaited string) socketio.Packet {
	s.t.Helper()
	select {
	case p, ok := <-s.space(s.Name):
		if !ok {
			s.t.Fatalf("the connection is closed before %s", awaited)
		}
		return p
	case <-time.After(Patience):
		s.t.Fatalf("%s does not arrive", awaited)
	}
	return socketio.Packet{}
}

// told reads an event packet. An envelope must be complete.
func (s *Space) told(p socketio.Packet) Told {
	s.t.Helper()
	e := Told{Event: p.Event, Raw: string(p.Append(nil))}
	if p.Type != socketio.Event || p.ID != "" || len(p.Args) == 0 {
		s.t.Fatalf("not an event: %s", e.Raw)
	}
	e.Data = p.Args[0]
	if len(p.Args) > 1 {
		if err := json.Unmarshal(p.Args[1], &e.Offset); err != nil || len(p.Args) > 2 {
			s.t.Fatalf("arguments: %s", e.Raw)
		}
		s.Offset = e.Offset
	}
	if s.Name == socketio.Root {
		e.Data = unwrap(s.t, p.Event, e.Data)
	}
	return e
}

func (s *Space) pull(awaited string) Told {
	s.t.Helper()
	if len(s.before) > 0 {
		e := s.before[0]
		s.before = s.before[1:]
		return e
	}
	return s.told(s.arrive(awaited))
}

// Next waits for the next event that is not presence.
func (s *Space) Next() Told {
	s.t.Helper()
	for {
		e := s.pull("the next event")
		if e.Event != "user:online" && e.Event != "user:offline" && e.Event != settled {
			return e
		}
	}
}

// Expect waits for the next event that is not presence, and fails when it has another name.
func (s *Space) Expect(name string) Told {
	s.t.Helper()
	e := s.Next()
	if e.Event != name {
		s.t.Fatalf("got event %q (%s), want %q", e.Event, e.Raw, name)
	}
	return e
}

// Until waits for an event of this name, whatever comes before it.
func (s *Space) Until(name string) Told {
	s.t.Helper()
	for {
		if e := s.pull(name); e.Event == name {
			return e
		}
	}
}

var marks atomic.Int64

// Pending returns what has arrived and was not read yet, and all that was committed before the call. It needs a Space
// that was connected as somebody.
func (s *Space) Pending() []Told {
	s.t.Helper()
	s.Ask("test:ask", nil) // acknowledged, though unknown, after what the namespace catches up on
	mark := "io-" + strconv.FormatInt(marks.Add(1), 10)
	s.server.mark(s.userID, mark)
	for {
		e := s.told(s.arrive("what was said before"))
		if e.Event == settled && string(e.Data) == strconv.Quote(mark) {
			break
		}
		s.before = append(s.before, e)
	}
	list := slices.DeleteFunc(s.before, func(e Told) bool { return e.Event == settled })
	s.before = nil
	return list
}

// Arrived returns what has come and was not read yet: at least all that was committed before the call.
func (s *Space) Arrived() []Told {
	s.t.Helper()
	s.server.settle()
	s.Ask("test:ask", nil) // acknowledged, though unknown, after what was told before
	return s.Taken()
}

// Taken returns what had come before the last acknowledgement and was not read yet.
func (s *Space) Taken() []Told {
	list := s.before
	s.before = nil
	return list
}

// Silent fails when an event has arrived, or was on its way, other than presence.
func (s *Space) Silent() {
	s.t.Helper()
	for _, e := range s.Pending() {
		if e.Event != "user:online" && e.Event != "user:offline" {
			s.t.Fatalf("heard what it must not: %s", e.Raw)
		}
	}
}

// Aged is the same person with an access token that ran out so long ago.
func (u *User) Aged(past time.Duration) *User {
	u.Server.t.Helper()
	secrets, err := account.LoadSecrets(u.Server.Dir)
	if err != nil {
		u.Server.t.Fatal(err)
	}
	claims := jwt.MapClaims{}
	if _, err := jwt.ParseWithClaims(u.Token, claims, func(*jwt.Token) (any, error) { return secrets.Signing, nil }); err != nil {
		u.Server.t.Fatal(err)
	}
	claims["iat"], claims["exp"] = time.Now().Add(-past-15*time.Minute).Unix(), time.Now().Add(-past).Unix()
	aged := *u
	if aged.Token, err = jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secrets.Signing); err != nil {
		u.Server.t.Fatal(err)
	}
	return &aged
}
