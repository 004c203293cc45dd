package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

func TestATicketOpensOneSocketOnce(t *testing.T) {
	s := servertest.Start(t)
	bob := s.Register("bob")
	ticket := func() string {
		var out struct {
			Ticket    string
			ExpiresIn int
		}
		bob.Do("POST", "/ws/ticket", nil).OK(&out)
		if out.ExpiresIn != 30 {
			t.Errorf("expires in %d", out.ExpiresIn)
		}
		return "?ticket=" + out.Ticket
	}
	var opened, refused atomic.Int64
	query, done := ticket(), make(chan struct{})
	for range 8 {
		go func() {
			if socket, status := s.Dial(query, nil); socket != nil {
				opened.Add(1)
			} else if status == http.StatusUnauthorized {
				refused.Add(1)
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	if opened.Load() != 1 || refused.Load() != 7 {
		t.Errorf("one ticket: %d opened, %d refused", opened.Load(), refused.Load())
	}
	for _, wrong := range []string{"?ticket=", "?ticket=x", query} {
		if socket, status := s.Dial(wrong, nil); socket != nil || status != http.StatusUnauthorized {
			t.Errorf("%s: %d", wrong, status)
		}
	}
	socket, _ := s.Dial(ticket(), nil)
	if h := decode[struct{ UserID string }](t, socket.Expect("hello")); h.UserID != bob.ID {
		t.Errorf("hello: %+v", h)
	}
	late := ticket()
	bob.Do("POST", "/auth/logout", nil).OK(nil)
	if socket, _ := s.Dial(late, nil); socket != nil && socket.Code() != 4401 {
		t.Error("a ticket outlives its session")
	}
}

func TestAFirstFrameMaySignIn(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	bob := s.Register("bob")
	silent, _ := s.Dial("", nil)
	auth := func(token string) []byte {
		raw, _ := json.Marshal(map[string]any{"id": 7, "op": "auth", "data": map[string]any{"token": token}})
		return raw
	}
	for _, token := range []string{bob.Token, "Bearer " + bob.Token} {
		socket, _ := s.Dial("?since=0", nil)
		socket.WriteRaw(websocket.TextMessage, auth(token))
		if f := socket.Next(); f.ID != 7 || !f.OK {
			t.Errorf("answer: %s", f.Raw)
		}
		if h := decode[struct{ UserID string }](t, socket.Expect("hello")); h.UserID != bob.ID {
			t.Errorf("hello: %+v", h)
		}
		socket.Expect("resumed")
	}
	for raw, code := range map[string]int{
		string(auth("nonsense")): 4401, string(auth("")): 4401, `{"id":1,"op":"message:send","data":{}}`: 4408, `{`: 4408, `[]`: 4408, "": 4408,
	} {
		socket, _ := s.Dial("", nil)
		socket.WriteRaw(websocket.TextMessage, []byte(raw))
		if got := socket.Code(); got != code {
			t.Errorf("%s: closed with %d, want %d", raw, got, code)
		}
	}
	if socket, status := s.Dial("", http.Header{"Authorization": {"Bearer nonsense"}}); socket != nil || status != http.StatusUnauthorized {
		t.Errorf("a wrong bearer token: %d", status)
	}
	if socket, status := s.Dial("", http.Header{"Authorization": bob.Bearer()["Authorization"], "Origin": {"https://evil.example"}}); socket != nil || status != http.StatusForbidden {
		t.Errorf("a page of another origin: %d", status)
	}
	if code := silent.Code(); code != 4408 { // after ten seconds
		t.Errorf("a silent socket is closed with %d", code)
	}
}

func TestASessionThatEndsTakesItsSocketsAlong(t *testing.T) {
	s := servertest.Start(t)
	bob := s.Register("bob")
	login := func() *servertest.User {
		var out struct{ AccessToken, RefreshToken string }
		s.Nobody().Do("POST", "/auth/login", map[string]any{"username": "bob", "password": servertest.Password}).OK(&out)
		return &servertest.User{Server: s, Name: "bob", ID: bob.ID, Token: out.AccessToken, Refresh: out.RefreshToken}
	}
	second, third := login(), login()
	one, other, two, three := bob.Socket(), bob.Socket(), second.Socket(), third.Socket()
	bob.Do("POST", "/auth/logout", nil).OK(nil)
	for _, socket := range []*servertest.Socket{one, other} {
		f := socket.Expect("auth:revoked")
		if got := decode[struct{ SessionID, Reason string }](t, f); got.SessionID != bob.SessionID || got.Reason == "" {
			t.Errorf("told %s", f.Raw)
		}
		if code := socket.Code(); code != 4401 {
			t.Errorf("logout closes with %d", code)
		}
	}
	second.Do("DELETE", "/auth/sessions/"+third.SessionID, nil).OK(nil)
	three.Expect("auth:revoked")
	if code := three.Code(); code != 4401 {
		t.Errorf("revocation closes with %d", code)
	}
	if f := two.Ask("ping", nil); !f.OK {
		t.Errorf("the socket of another session: %s", f.Raw)
	}
	err := s.Inner.Store().Write(context.Background(), "ban", func(tx *storage.Tx) error {
		return s.Inner.Account().Ban(tx, api.Caller{Local: "test", Role: api.RoleSuperAdmin}, bob.ID, time.Time{}, "test")
	})
	if err != nil {
		t.Fatal(err)
	}
	two.Expect("auth:revoked")
	if code := two.Code(); code != 4401 {
		t.Errorf("a ban closes with %d", code)
	}
}

func TestNobodyHasMoreSocketsThanAllowedEvenWhenTheyComeAtOnce(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_SOCKET_MAX_PER_USER=3")
	bob, ada := s.Register("bob"), s.Register("ada")
	results := make(chan *servertest.Socket, 20)
	var status429 atomic.Int64
	for range cap(results) {
		go func() {
			socket, status := s.Dial("", bob.Bearer())
			if status == http.StatusTooManyRequests {
				status429.Add(1)
			}
			results <- socket
		}()
	}
	open := []*servertest.Socket{}
	closed := 0
	for range cap(results) {
		socket := <-results
		if socket == nil {
			continue
		}
		select {
		case f, ok := <-socket.Greeting():
			if !ok {
				closed++
				if code := socket.Code(); code != 4429 {
					t.Errorf("closed with %d", code)
				}
				continue
			}
			if f.Event != "hello" {
				t.Errorf("greeted with %s", f.Raw)
			}
			open = append(open, socket)
		case <-time.After(servertest.Patience):
			t.Fatal("neither greeted nor closed")
		}
	}
	if len(open) != 3 || int(status429.Load())+closed != cap(results)-3 {
		t.Errorf("%d open, %d refused, %d closed", len(open), status429.Load(), closed)
	}
	ada.Socket()
	if socket, status := s.Dial("", bob.Bearer()); socket != nil || status != http.StatusTooManyRequests {
		t.Errorf("one more: %d", status)
	}
	late, _ := s.Dial("", nil)
	late.WriteRaw(websocket.TextMessage, []byte(`{"op":"auth","data":{"token":"`+bob.Token+`"}}`))
	if code := late.Code(); code != 4429 {
		t.Errorf("one more by a first frame is closed with %d", code)
	}
	open[0].Close()
	for deadline := time.Now().Add(servertest.Patience); ; time.Sleep(5 * time.Millisecond) {
		if socket, _ := s.Dial("", bob.Bearer()); socket != nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a closed socket counts for ever")
		}
	}
}

// lazy opens a socket whose client reads nothing until it is told to.
func lazy(t *testing.T, s *servertest.Server, u *servertest.User) *websocket.Conn {
	t.Helper()
	return lazyAt(t, s.URL+"/api/v1/ws", u)
}

func lazyAt(t *testing.T, url string, u *servertest.User) *websocket.Conn {
	t.Helper()
	d := websocket.Dialer{NetDial: func(network, addr string) (net.Conn, error) {
		c, err := net.Dial(network, addr)
		if err == nil {
			err = c.(*net.TCPConn).SetReadBuffer(256 << 10)
		}
		return c, err
	}}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(url, "http"), u.Bearer())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ws.Close() })
	return ws
}

// big is a message of about 24 KiB.
func big(room string) map[string]any {
	return map[string]any{"conversationId": room, "content": strings.Repeat("語", 4000), "metadata": strings.Repeat("x", 8000)}
}

// readAll reads events until the connection ends or count of them have come; code is how it ended.
func readAll(ws *websocket.Conn, count int) (last int64, n, code int) {
	for n < count {
		_, raw, err := ws.ReadMessage()
		if err != nil {
			if e, ok := err.(*websocket.CloseError); ok {
				return last, n, e.Code
			}
			return last, n, -1
		}
		var f struct{ Seq int64 }
		if json.Unmarshal(raw, &f) == nil && f.Seq > 0 {
			last, n = f.Seq, n+1
		}
	}
	return last, n, 0
}

func TestASlowReaderIsDroppedAndLosesNothingWhileOthersGoOn(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_SOCKET_QUEUE=8", "QUCKCHAT_SOCKET_HEARTBEAT=1m") // a ping would not fit behind a page of the log
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	since := bob.Socket().Seq
	slow, phone := lazy(t, s, bob), lazyPhone(t, s, bob)
	sender := ada.Socket()
	const count = 400
	for i := range count {
		if f := sender.Ask("message:send", big(room)); !f.OK {
			t.Fatalf("send %d: %s", i, f.Raw)
		}
	}
	if got := len(logged(sender.Pending())); got != count {
		t.Errorf("the sender heard %d of %d", got, count)
	}
	last, n, code := readAll(slow, count)
	if n >= count || code != 4001 && code != -1 && code != websocket.CloseAbnormalClosure {
		t.Fatalf("the slow reader got %d messages and %d", n, code)
	}
	for n := 0; ; n++ {
		if _, _, err := phone.ReadMessage(); err != nil {
			break
		}
		if n == count {
			t.Fatal("the slow phone is not cut off")
		}
	}
	back := bob.Resume(max(last, since))
	for range count - n {
		back.Expect("message:new")
	}
	back.Expect("resumed")
	back.Silent()
}

func TestAClientThatWasSlowOnceIsNotCutOffLater(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t, "QUCKCHAT_SOCKET_QUEUE=10000", "QUCKCHAT_SOCKET_HEARTBEAT=1m")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	slow := lazy(t, s, bob)
	sender := ada.Socket()
	const count = 300
	for range count {
		if f := sender.Ask("message:send", big(room)); !f.OK {
			t.Fatalf("send: %s", f.Raw)
		}
	}
	if _, n, code := readAll(slow, count); n != count {
		t.Fatalf("got %d of %d, closed with %d", n, count, code)
	}
	// The deadline of the last waiting write must not hit one that comes after it: nothing but time can show that.
	time.Sleep(10500 * time.Millisecond)
	ada.Send(room, "later")
	if _, n, code := readAll(slow, 1); n != 1 {
		t.Errorf("cut off with %d", code)
	}
}

func TestAStopDoesNotWaitForWhoHasNotSignedInAndLeavesNothingBehind(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for range 30 {
		ada.Send(room, strings.Repeat("x", 1000))
	}
	sockets := []*servertest.Socket{}
	for i := range 10 {
		sockets = append(sockets, ada.Socket(), bob.Resume(0))
		if i%2 == 0 {
			sockets[len(sockets)-1].Close()
		}
	}
	sockets[0].Ask("typing:start", map[string]any{"conversationId": room})
	phones := []*servertest.IO{s.IO(), ada.IO("/chat").IO, bob.IO("/").IO, s.IO().Connect("/chat", bob, map[string]any{"recover": true}).IO}
	phones[1].Connect("/", ada, nil)
	ada.IO("/chat").Close()
	stranger, _ := s.Dial("", nil)
	gone := lazy(t, s, bob)
	gone.Close()
	start := time.Now()
	s.Stop()
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("stopping takes %s", took)
	}
	for i, socket := range append(sockets, stranger) {
		if code := socket.Code(); code != 1012 && code != -1 {
			t.Errorf("socket %d is closed with %d", i, code)
		}
	}
	for i, phone := range phones {
		if code := phone.Code(); code != 1012 {
			t.Errorf("Socket.IO connection %d is closed with %d", i, code)
		}
	}
	for deadline := time.Now().Add(servertest.Patience); len(ours()) > 0; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("left behind:\n%s", strings.Join(ours(), "\n\n"))
		}
	}
}

// ours are the goroutines that run code of the server; those that the cache's library leaves behind are not.
func ours() (list []string) {
	stacks := make([]byte, 4<<20)
	for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		if strings.Contains(g, "quckchat/quckchat/server") && !strings.Contains(g, "testing.tRunner") && !strings.Contains(g, "servertest.(*Socket).read") && !strings.Contains(g, "servertest.(*IO).read") {
			list = append(list, g)
		}
	}
	return list
}

func TestTheGreetingComesFirstHoweverMuchIsGoingOn(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				ada.Do("POST", "/messages", map[string]any{"conversationId": room, "content": fmt.Sprint(i)})
			}
		}
	}()
	for range 60 {
		socket, _ := s.Dial("", bob.Bearer())
		select {
		case f := <-socket.Greeting():
			if f.Event != "hello" {
				t.Errorf("greeted with %s", f.Raw)
			}
		case <-time.After(servertest.Patience):
			t.Error("no greeting")
		}
		socket.Close()
	}
	close(stop)
	<-done
}
