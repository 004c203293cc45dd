package hub_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/servertest"
)

// siege is a server with a conversation that goes on, whatever is done to the server.
type siege struct {
	*testing.T
	s         *servertest.Server
	ada, bob  *servertest.User
	eve       *servertest.User // has an account, and bad intentions
	room      string
	goroutine int // ours, before
	heap      uint64
}

// TestWhateverIsThrownAtTheSocketsHarmsNobody attacks both doors while two people talk over four sockets. Every message
// must arrive at every one of them at once, and in the end no connection, no goroutine and no memory is left.
func TestWhateverIsThrownAtTheSocketsHarmsNobody(t *testing.T) {
	s := servertest.Start(t)
	a := &siege{T: t, s: s, ada: s.Register("ada"), bob: s.Register("bob"), eve: s.Register("eve")}
	a.room = a.ada.Single(a.bob)
	speaker, phone, web, desk := a.ada.Socket(), a.bob.IO("/chat"), a.bob.IO("/"), a.bob.Socket()
	heard := 0
	talk := func() {
		t.Helper()
		text := fmt.Sprint("message ", heard)
		heard++
		speaker.Ask("message:send", map[string]any{"conversationId": a.room, "content": text})
		speaker.Expect("message:new")
		for who, data := range map[string][]byte{"phone": phone.Expect("message:new").Data, "web": web.Expect("message:new").Data, "desk": desk.Expect("message:new").Data} {
			if m := in[struct{ Content string }](t, data); m.Content != text {
				t.Fatalf("the %s hears %q, want %q", who, m.Content, text)
			}
		}
	}
	for range 50 {
		talk()
	}
	sockets := s.Inner.Hub().Stats().Sockets
	a.goroutine, a.heap = len(ours()), heap()

	for what, attack := range map[string]func(){
		"a thousand bad tokens":   a.badTokens,
		"namespaces of all kinds": a.namespaces,
		"coming and going":        a.comeAndGo,
		"frames of all kinds":     a.frames,
		"packets nobody asks for": a.packets,
	} {
		done := make(chan struct{})
		go func() {
			defer close(done)
			attack()
		}()
		for over := false; !over; {
			talk()
			select {
			case <-done:
				over = true
			default:
			}
		}
		if t.Failed() {
			t.Fatalf("%s", what)
		}
	}
	talk()

	var left string
	for deadline := time.Now().Add(servertest.Patience); ; time.Sleep(10 * time.Millisecond) {
		waiting, pending := s.Inner.Hub().Strangers()
		now := ours()
		if left = ""; waiting != 0 || pending != 0 || s.Inner.Hub().Stats().Sockets != sockets || len(now) > a.goroutine {
			left = fmt.Sprintf("%d wait, %d are unknown, %d sockets of %d, %d goroutines of %d:\n%s",
				waiting, pending, s.Inner.Hub().Stats().Sockets, sockets, len(now), a.goroutine, strings.Join(now, "\n\n"))
		}
		if left == "" || time.Now().After(deadline) {
			break
		}
	}
	if left != "" {
		t.Errorf("left behind: %s", left)
	}
	if now := heap(); now > a.heap+4<<20 {
		t.Errorf("%d kB of memory are left behind", (now-a.heap)>>10)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // pools are emptied by the second one
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// crowd does something so many times, by a few at once.
func crowd(times int, do func(i int)) {
	var all sync.WaitGroup
	for worker := range 16 {
		all.Go(func() {
			for i := worker; i < times; i += 16 {
				do(i)
			}
		})
	}
	all.Wait()
}

const (
	engineDoor = "/socket.io/" + upgradeQuery
	nativeDoor = "/api/v1/ws"
)

// knock opens a connection of which the test keeps no book. It is nil when the upgrade is refused.
func (a *siege) knock(path string, header http.Header) (ws *websocket.Conn, status int) {
	ws, answer, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(a.s.URL, "http")+path, header)
	if answer != nil {
		status = answer.StatusCode
	}
	if err != nil {
		if answer == nil {
			a.Errorf("%s: %v", path, err)
		}
		return nil, status
	}
	_ = ws.SetReadDeadline(time.Now().Add(2 * servertest.Patience))
	return ws, status
}

// say writes text frames.
func (a *siege) say(ws *websocket.Conn, texts ...string) {
	for _, text := range texts {
		if ws.WriteMessage(websocket.TextMessage, []byte(text)) != nil {
			return // the server has closed it
		}
	}
}

// until reads until a frame begins so, and reports whether one did.
func until(ws *websocket.Conn, prefix string) bool {
	for {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			return false
		}
		if strings.HasPrefix(string(raw), prefix) {
			return true
		}
	}
}

// ended reads to the end of a connection and returns the close code, -1 for one that ended without.
func ended(ws *websocket.Conn) int {
	for {
		_, _, err := ws.ReadMessage()
		if e, ok := err.(*websocket.CloseError); ok {
			return e.Code
		}
		if err != nil {
			if e, ok := err.(net.Error); ok && e.Timeout() {
				return 0 // it is still open
			}
			return -1
		}
	}
}

// badTokens are a thousand connections that say they are somebody, by every way there is. Every other one hangs up as
// soon as it has spoken.
func (a *siege) badTokens() {
	bad := []string{"x", "a.b.c", a.eve.Token + "x", strings.Repeat("x", 3000), a.eve.Refresh, "", "null", "Bearer "}
	crowd(1000, func(i int) {
		token, stays := bad[i%len(bad)], i%2 == 0
		switch way := i / len(bad) % 5; way {
		case 0, 1: // a connect packet
			ws, status := a.knock(engineDoor, nil)
			if ws == nil {
				a.Errorf("not opened: %d", status)
				return
			}
			defer ws.Close()
			name := []string{"/chat,", ""}[way]
			a.say(ws, fmt.Sprintf(`40%s{"token":%q,"recover":true}`, name, token))
			if stays && !until(ws, "44"+name+`{"message":`) {
				a.Errorf("%q is not refused", token)
			}
		case 2: // a header, of a native socket: no upgrade
			if ws, status := a.knock(nativeDoor, http.Header{"Authorization": {"Bearer  " + token + "-"}}); ws != nil || status != 401 {
				a.Errorf("%q is answered with %d", token, status)
			}
		case 3: // a ticket
			if ws, status := a.knock(nativeDoor+"?ticket="+fmt.Sprint(i), nil); ws != nil || status != 401 {
				a.Errorf("a bad ticket is answered with %d", status)
			}
		case 4: // a first frame
			ws, status := a.knock(nativeDoor, nil)
			if ws == nil {
				a.Errorf("not opened: %d", status)
				return
			}
			defer ws.Close()
			a.say(ws, fmt.Sprintf(`{"op":"auth","data":{"token":%q}}`, token))
			if code := ended(ws); stays && code != 4401 {
				a.Errorf("%q is closed with %d", token, code)
			}
		}
	})
}

// namespaces asks for those that there are not: as a stranger, and thousands of times as somebody who is connected.
func (a *siege) namespaces() {
	names := []string{"/x", "/chat/", "/Chat", "/chat?token=1", "//", "/admin", "/webrtc/x", "/../chat", "/*", "/%2f"}
	crowd(80, func(i int) {
		ws, _ := a.knock(engineDoor, nil)
		defer ws.Close()
		for j := range 10 {
			a.say(ws, fmt.Sprintf(`40%s,{"token":%q}`, names[(i+j)%len(names)], a.eve.Token))
		}
		if code := ended(ws); code != 1002 {
			a.Errorf("a stranger looking for namespaces is closed with %d", code)
		}
	})
	ws, _ := a.knock(engineDoor, a.eve.Bearer())
	defer ws.Close()
	a.say(ws, "40/chat,")
	const times = 1500
	var flood sync.WaitGroup
	flood.Go(func() {
		for i := range times {
			a.say(ws, "40"+names[i%len(names)]+",")
		}
	})
	for i := range times {
		if !until(ws, "44/") {
			a.Errorf("answer %d of a flood does not come", i)
			return
		}
	}
	flood.Wait()
	a.say(ws, `42/chat,7["conversation:list"]`)
	if !until(ws, `43/chat,7[{"success":true`) {
		a.Error("who looks for namespaces is not heard any more")
	}
}

// comeAndGo connects and leaves again, namespaces and whole connections, with an answer and without waiting for it.
func (a *siege) comeAndGo() {
	ws, _ := a.knock(engineDoor, a.eve.Bearer())
	defer ws.Close()
	for range 100 {
		a.say(ws, "40/chat,", "40", "41/chat,", "41", fmt.Sprintf(`40/chat,{"token":%q}`, a.eve.Token), "41/chat,")
		if !until(ws, `40/chat,{"sid"`) || !until(ws, `40{"sid"`) || !until(ws, `40/chat,{"sid"`) {
			a.Error("one who came and went cannot come any more")
			return
		}
	}
	crowd(160, func(i int) {
		path := []string{engineDoor, nativeDoor}[i%2]
		header := []http.Header{nil, a.eve.Bearer()}[i/2%2]
		ws, status := a.knock(path, header)
		if ws == nil && status != 429 { // eve has too many at once
			a.Errorf("%s: %d", path, status)
		}
		if ws != nil {
			a.say(ws, "40/chat,", `42/chat,1["message:history",{"conversationId":"x"}]`)
			ws.Close()
		}
	})
}

// wsFrame is a WebSocket frame as a client writes it, byte by byte: fin and opcode as given, masked with zeros.
func wsFrame(head byte, length uint64, payload string) []byte {
	b := []byte{head}
	switch {
	case length < 126:
		b = append(b, 0x80|byte(length))
	case length < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(length))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), length)
	}
	return append(append(b, 0, 0, 0, 0), payload...)
}

// frames are what no WebSocket client writes, at both doors.
func (a *siege) frames() {
	of := func(head byte, payload string) []byte { return wsFrame(head, uint64(len(payload)), payload) }
	const fin, text, more, ping, closing = 0x80, 0x1, 0x0, 0x9, 0x8
	cases := map[string][]byte{
		"an unmasked frame":               {fin | text, 2, '4', '0'},
		"an opcode that there is not":     of(fin|0x3, "40"),
		"a reserved bit":                  of(fin|0x40|text, "40"), // as if compressed
		"a continuation of nothing":       of(fin|more, "40"),
		"a message within a message":      append(of(text, "4"), of(fin|text, "40")...),
		"a ping in pieces":                of(ping, "x"),
		"a long ping":                     of(fin|ping, strings.Repeat("x", 126)),
		"a close code of one byte":        of(fin|closing, "x"),
		"a close code that there is not":  of(fin|closing, "\x00\x05"),
		"a length of half the world":      wsFrame(fin|text, 1<<62, "40"),
		"a length below zero":             wsFrame(fin|text, 1<<63+5, "40"),
		"an oversized frame in pieces":    append(of(text, `42/chat,["`), bytes.Repeat(of(more, strings.Repeat("x", 60_000)), 40)...),
		"an oversized message in many":    append(of(text, "4"), bytes.Repeat(of(more, "x"), 1_100_000)...),
		"not a frame at all":              []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"zeros":                           make([]byte, 4096),
		"half a frame, and then no more":  nil,
		"binary, announced and delivered": append(of(fin|text, `451-/chat,["message:send",{"_placeholder":true,"num":0}]`), of(fin|0x2, "\x04xyz")...),
	}
	for _, door := range []string{engineDoor, nativeDoor} {
		for what, raw := range cases {
			ws, status := a.knock(door, a.eve.Bearer())
			if ws == nil {
				a.Errorf("not opened: %d", status)
				continue
			}
			greeting := `40/chat,{"sid"`
			if door == engineDoor {
				a.say(ws, "40/chat,")
			} else {
				greeting = `{"event":"hello"`
			}
			if !until(ws, greeting) {
				a.Errorf("%s: not greeted", what)
			}
			conn := ws.NetConn()
			if raw == nil {
				_, _ = conn.Write(wsFrame(fin|text, 50, "42/chat,"))
				conn.Close()
				continue
			}
			go func() { _, _ = io.Copy(conn, bytes.NewReader(raw)) }() // the server need not read to the end
			if code := ended(ws); code == 0 {
				a.Errorf("%s, %s: the connection stays open", what, door)
			}
			ws.Close()
		}
	}
}

// packets are a flood of what is allowed and good for nothing.
func (a *siege) packets() {
	crowd(4, func(int) {
		ws, _ := a.knock(engineDoor, a.eve.Bearer())
		if ws == nil {
			a.Error("not opened")
			return
		}
		defer ws.Close()
		a.say(ws, "40/chat,")
		for i := range 150 {
			a.say(ws, "3", `43/chat,1[{"success":true}]`, "41/x,", `42/chat,["typing:start"]`, `42/chat,["message:shout",{}]`, fmt.Sprintf(`42/chat,["message:read",{"messageId":"%024d"}]`, i))
		}
		a.say(ws, `42/chat,7["conversation:list"]`)
		if !until(ws, `43/chat,7[{"success":true`) {
			a.Error("a flood is not heard to its end")
		}
	})
}
