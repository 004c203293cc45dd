package hub_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/server/socketio"
)

func TestWhatIsNotTheProtocolEndsTheConnectionAndHarmsNobody(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	witness := bob.IO("/chat")
	const text, binary = websocket.TextMessage, websocket.BinaryMessage
	big := func(n int) []byte {
		head := `42/chat,["message:send",{"conversationId":"` + room + `","content":"`
		return []byte(head + strings.Repeat("x", n-len(head)-3) + `"}]`)
	}
	for _, c := range []struct {
		what      string
		connected bool
		kind      int
		raw       []byte
		code      int
	}{
		{"nothing", false, text, nil, 1002},
		{"no Engine.IO frame", false, text, []byte("hello"), 1002},
		{"a ping of the client", true, text, []byte("2"), 1002},
		{"an upgrade", true, text, []byte("5"), 1002},
		{"an open", true, text, []byte(`0{"sid":"x"}`), 1002},
		{"no Socket.IO packet", true, text, []byte("4"), 1002},
		{"an unknown packet", true, text, []byte("49"), 1002},
		{"a long namespace", true, text, []byte("40/" + strings.Repeat("x", 100) + ","), 1002},
		{"a long acknowledgement id", true, text, []byte(`42/chat,` + strings.Repeat("1", 100) + `["a"]`), 1002},
		{"malformed JSON", true, text, []byte(`42/chat,["a",{]`), 1002},
		{"deep JSON", true, text, []byte(`42/chat,["a",` + strings.Repeat("[", 100000) + strings.Repeat("]", 100000) + `]`), 1002},
		{"many arguments", true, text, []byte(`42/chat,["a"` + strings.Repeat(",1", 100000) + `]`), 1002},
		{"an event before connecting", false, text, []byte(`42/chat,["conversation:list"]`), 1002},
		{"an event of another namespace", true, text, []byte(`42["conversation:list"]`), 1002},
		{"an acknowledgement before connecting", false, text, []byte(`43/chat,1[]`), 1002},
		{"a second connect", true, text, []byte(`40/chat,{"token":"` + bob.Token + `"}`), 1002},
		{"a connect error", true, text, []byte(`44/chat,{"message":"no"}`), 1002},
		{"a reserved event", true, text, []byte(`42/chat,["disconnect"]`), 1002},
		{"a binary event", true, text, []byte(`451-/chat,["a",{"_placeholder":true,"num":0}]`), 1003},
		{"a binary acknowledgement", true, text, []byte(`461-/chat,1[]`), 1003},
		{"a binary frame", true, binary, []byte{4, 1, 2}, 1003},
		{"a large frame from a stranger", false, text, append([]byte(`40/chat,{"token":"`), big(20000)...), websocket.CloseMessageTooBig},
		{"an oversized frame", true, text, big(1_000_001), websocket.CloseMessageTooBig},
		{"a close", true, text, []byte("1"), 1000},
	} {
		conn := s.IO()
		if c.connected {
			conn.Connect("/chat", bob, nil)
		}
		conn.WriteRaw(c.kind, c.raw)
		if code := conn.Code(); code != c.code && !(c.code == websocket.CloseMessageTooBig && code == -1) {
			t.Errorf("%s: closed with %d, want %d", c.what, code, c.code)
		}
	}

	// What is odd and no more than that goes on.
	conn := s.IO()
	conn.WriteRaw(text, []byte("3"))
	conn.WriteRaw(text, []byte("41/chat,"))
	space := conn.Connect("/chat", bob, nil)
	for _, raw := range []string{"3", "3probe", `43/chat,1[{}]`, `42/chat,["unheard-of"]`, `42/chat,["",null]`, `42/chat,["message:send"]`, `42/chat,["message:send",[[[[]]]]]`, `42/chat,["conversation:join",7]`, "41/x,", `42/chat,["` + "\\ud800" + `"]`} {
		conn.WriteRaw(text, []byte(raw))
	}
	conn.WriteRaw(text, big(1_000_000))
	space.Ask("message:send", map[string]any{"conversationId": room, "content": strings.Repeat("x", 900_000)}).Fails("MESSAGE_TOO_LONG")
	for range 20 { // as the phone app looks for a namespace that is not there
		conn.Refused("/x", nil, nil)
	}
	space.Ask("conversation:list", nil).OK()
	for what, ask := range map[string]func(conn *servertest.IO){
		"no identity":           func(conn *servertest.IO) { conn.Refused("/chat", nil, nil) },
		"an unknown namespace":  func(conn *servertest.IO) { conn.Refused("/x", bob, nil) },
		"a bad token on a good": func(conn *servertest.IO) { conn.Refused("/", ada, nil) },
	} {
		conn := s.IO()
		if strings.HasSuffix(what, "good") {
			conn.Connect("/chat", bob, nil)
		}
		for range 5 {
			ask(conn)
		}
		if code := conn.Code(); code != 1002 {
			t.Errorf("%s, five times: %d", what, code)
		}
	}

	ada.Send(room, "unharmed")
	if m := in[message](t, witness.Expect("message:new").Data); *m.Content != "unharmed" {
		t.Errorf("the witness is told %+v", m)
	}
	witness.Silent()
}

func TestAConnectionWithoutANamespaceIsClosedAfterAWhile(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	bob := s.Register("bob")
	silent, chatty, left, good := s.IO(), s.IO(), bob.IO("/chat"), bob.IO("/chat")
	left.Disconnect()
	start := time.Now()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Second):
				chatty.WriteRaw(websocket.TextMessage, []byte("3"))
			}
		}
	}()
	for what, conn := range map[string]*servertest.IO{"silent": silent, "chatty": chatty, "left": left.IO} {
		if code := conn.Code(); code != 4408 {
			t.Errorf("%s: closed with %d", what, code)
		}
	}
	if took := time.Since(start); took < 9*time.Second || took > 14*time.Second {
		t.Errorf("closed after %s", took)
	}
	good.Ask("conversation:list", nil).OK()
}

func TestAClientThatDoesNotAnswerPingsIsClosed(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "QUCKCHAT_SOCKET_HEARTBEAT=1s")
	bob := s.Register("bob")
	answers := bob.IO("/chat")
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/"+upgradeQuery, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	data, _ := json.Marshal(map[string]string{"token": bob.Token})
	if err := ws.WriteMessage(websocket.TextMessage, socketio.Packet{Type: socketio.Connect, Namespace: "/chat", Data: data}.Frame()); err != nil {
		t.Fatal(err)
	}
	start, pings := time.Now(), 0
	for {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			break
		}
		if string(raw) == "2" {
			pings++
		}
		if strings.HasPrefix(string(raw), "0") && !strings.Contains(string(raw), `"pingInterval":1000,"pingTimeout":3000`) {
			t.Errorf("opened with %s", raw)
		}
	}
	if took := time.Since(start); pings < 3 || took < 3500*time.Millisecond || took > 7*time.Second {
		t.Errorf("closed after %s and %d pings", took, pings)
	}
	answers.Ask("conversation:list", nil).OK() // it has answered all the while
}

// lazyPhone opens a Socket.IO connection whose client reads no event until it is told to.
func lazyPhone(t *testing.T, s *servertest.Server, u *servertest.User) *websocket.Conn {
	t.Helper()
	ws := lazyAt(t, s.URL+"/socket.io/"+upgradeQuery, u)
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40/chat,")); err != nil {
		t.Fatal(err)
	}
	for range 2 { // open, connected
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	return ws
}

func TestAFloodOfRequestsThatAreNotReadIsCutOff(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_SOCKET_QUEUE=4")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 50 {
		ada.Send(room, fmt.Sprint(i, strings.Repeat("x", 3000)))
	}
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(s.URL, "http")+"/socket.io/"+upgradeQuery, bob.Bearer())
	if err != nil {
		t.Fatal(err)
	}
	defer ws.Close()
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40/chat,")); err != nil {
		t.Fatal(err)
	}
	ask := []byte(`42/chat,1["message:history",{"conversationId":"` + room + `"}]`)
	_ = ws.SetWriteDeadline(time.Now().Add(servertest.Patience))
	for err = nil; err == nil; {
		err = ws.WriteMessage(websocket.TextMessage, ask)
	}
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("never cut off: %v", err)
	}
	ada.IO("/chat").Ask("conversation:list", nil).OK()
}
