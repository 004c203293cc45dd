package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/server/socketio"
	"github.com/quckchat/quckchat/storage"
)

const upgradeQuery = "?EIO=4&transport=websocket"

func TestWhoConnectsIsSaidByTokenTicketOrHeader(t *testing.T) {
	s := servertest.Start(t)
	bob, ada := s.Register("bob"), s.Register("ada")
	room := ada.Single(bob)
	hears := func(how string, space *servertest.Space) {
		t.Helper()
		ada.Send(room, how)
		if m := in[message](t, space.Expect("message:new").Data); *m.Content != how {
			t.Errorf("%s: told %+v", how, m)
		}
		space.Close()
	}
	hears("token", bob.IO("/chat"))
	hears("prefixed token", s.IO().Connect("/chat", nil, map[string]any{"token": "Bearer " + bob.Token, "recover": "perhaps", "offset": 7, "pid": nil}))
	hears("stale token", s.IO().Connect("/chat", bob.Aged(6*24*time.Hour), nil))
	header, _ := s.DialIO(upgradeQuery, bob.Bearer())
	hears("header", header.Connect("/chat", nil, nil))
	stale, _ := s.DialIO(upgradeQuery, bob.Aged(time.Hour).Bearer())
	hears("stale header", stale.Connect("/chat", nil, nil))
	other, _ := s.DialIO(upgradeQuery, ada.Bearer())
	hears("token before header", other.Connect("/chat", bob, nil))
	var ticket struct{ Ticket string }
	bob.Do("POST", "/ws/ticket", nil).OK(&ticket)
	hears("ticket", s.IO().Connect("/chat", nil, map[string]any{"ticket": ticket.Ticket}))

	for _, c := range []struct {
		who  *servertest.User
		more map[string]any
		code string
	}{
		{nil, nil, "UNAUTHORIZED"},
		{nil, map[string]any{"token": ""}, "UNAUTHORIZED"},
		{nil, map[string]any{"token": 42}, "UNAUTHORIZED"},
		{nil, map[string]any{"token": "nonsense"}, "INVALID_TOKEN"},
		{bob, map[string]any{"token": bob.Token + "x"}, "INVALID_TOKEN"},
		{nil, map[string]any{"token": bob.Refresh}, "INVALID_TOKEN"},
		{bob.Aged(8 * 24 * time.Hour), nil, "TOKEN_EXPIRED"},
		{nil, map[string]any{"ticket": ticket.Ticket}, "TICKET_INVALID"},
	} {
		conn := s.IO()
		if message, code := conn.Refused("/chat", c.who, c.more); code != c.code || message == "" {
			t.Errorf("%v: refused with %s %q, want %s", c.more, code, message, c.code)
		}
		conn.Connect("/chat", bob, nil).Ask("conversation:list", nil).OK() // the connection is still good
	}

	// Nothing but this handshake takes a stale token.
	past := bob.Aged(time.Minute)
	past.Do("GET", "/users/me", nil).Fails(http.StatusUnauthorized, "TOKEN_EXPIRED")
	past.Do("POST", "/ws/ticket", nil).Fails(http.StatusUnauthorized, "TOKEN_EXPIRED")
	if socket, status := s.Dial("", past.Bearer()); socket != nil || status != http.StatusUnauthorized {
		t.Errorf("the native socket takes a stale token: %d", status)
	}
	native, _ := s.Dial("", nil)
	native.WriteRaw(websocket.TextMessage, []byte(`{"op":"auth","data":{"token":"`+past.Token+`"}}`))
	if code := native.Code(); code != 4401 {
		t.Errorf("the first frame of a native socket with a stale token: %d", code)
	}
}

func TestNamespacesShareAConnectionAndASession(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	conn := s.IO()
	for _, name := range []string{"/x", "/chat/", "/chat?token=1", "/CHAT"} {
		if message, _ := conn.Refused(name, bob, nil); message != "Invalid namespace" {
			t.Errorf("%s: %s", name, message)
		}
	}
	chat := conn.Connect("/chat", bob, nil)
	web := conn.Connect("/", nil, nil) // as who is connected already
	if chat.SID == web.SID {
		t.Error("both namespaces have one name")
	}
	if _, code := s.IO().Refused("/", nil, nil); code != "UNAUTHORIZED" {
		t.Errorf("another connection: %s", code)
	}
	if got := s.Inner.Hub().Stats(); got.Sockets != 1 || got.People != 1 {
		t.Errorf("counted as %+v", got)
	}
	ada.Send(room, "both")
	if m := in[message](t, chat.Expect("message:new").Data); m.SenderID.ID != ada.ID {
		t.Errorf("phone: %+v", m)
	}
	type plain struct{ ID, SenderID, Content string }
	if m := in[plain](t, web.Expect("message:new").Data); m.SenderID != ada.ID || m.Content != "both" {
		t.Errorf("web: %+v", m)
	}
	second := s.IO()
	second.Connect("/chat", bob, nil)
	var again struct{ AccessToken string }
	s.Nobody().Do("POST", "/auth/login", map[string]any{"username": "bob", "password": servertest.Password}).OK(&again)
	for _, other := range []*servertest.User{ada, {Server: s, ID: bob.ID, Token: again.AccessToken}} {
		if message, code := second.Refused("/", other, nil); code != "OTHER_SESSION" || message == "" {
			t.Errorf("another identity: %s %q", code, message)
		}
	}
	chat.Disconnect()
	web.Ask("conversation:join", map[string]any{"conversationId": room}).OK()
	ada.Send(room, "one")
	web.Expect("message:new")
	chat = conn.Connect("/chat", bob, nil)
	web.Disconnect()
	chat.Silent()
	ada.Send(room, "back")
	chat.Expect("message:new")
	select {
	case p := <-conn.Packets("/"):
		t.Errorf("a namespace that was left hears %+v", p)
	default:
	}
}

func TestTheEndOfASessionIsToldInEveryNamespaceBeforeTheConnectionCloses(t *testing.T) {
	s := servertest.Start(t)
	bob := s.Register("bob")
	var again struct{ AccessToken string }
	s.Nobody().Do("POST", "/auth/login", map[string]any{"username": "bob", "password": servertest.Password}).OK(&again)
	second := &servertest.User{Server: s, ID: bob.ID, Token: again.AccessToken}
	chat, stays := bob.IO("/chat"), second.IO("/chat")
	web := chat.Connect("/", bob, nil)
	bob.Do("POST", "/auth/logout", nil).OK(nil)
	for _, space := range []*servertest.Space{chat, web} {
		if e := space.Expect("auth:revoked"); in[struct{ SessionID, Reason string }](t, e.Data).Reason != "logout" {
			t.Errorf("told %s", e.Raw)
		}
	}
	if code := chat.Code(); code != 4401 {
		t.Errorf("closed with %d", code)
	}
	if _, code := s.IO().Refused("/chat", bob, nil); code != "INVALID_TOKEN" {
		t.Errorf("coming back: %s", code)
	}
	stays.Ask("conversation:list", nil).OK()
	err := s.Inner.Store().Write(context.Background(), "ban", func(tx *storage.Tx) error {
		return s.Inner.Account().Ban(tx, api.Caller{Local: "test", Role: api.RoleSuperAdmin}, bob.ID, time.Time{}, "test")
	})
	if err != nil {
		t.Fatal(err)
	}
	stays.Expect("auth:revoked")
	if code := stays.Code(); code != 4401 {
		t.Errorf("a ban closes with %d", code)
	}
	if _, code := s.IO().Refused("/chat", second, nil); code != "USER_BANNED" {
		t.Errorf("coming back banned: %s", code)
	}
}

func TestNobodyHasMoreConnectionsThanAllowedWhateverTheDoor(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_SOCKET_MAX_PER_USER=2")
	bob := s.Register("bob")
	one := bob.IO("/chat")
	one.Connect("/", bob, nil) // the same connection
	bob.Socket()
	late := s.IO()
	if _, code := late.Refused("/chat", bob, nil); code != "TOO_MANY_SOCKETS" {
		t.Errorf("one more: %s", code)
	}
	if socket, status := s.Dial("", bob.Bearer()); socket != nil || status != http.StatusTooManyRequests {
		t.Errorf("one more natively: %d", status)
	}
	one.Close()
	one.Code()
	for deadline := time.Now().Add(servertest.Patience); s.Inner.Hub().Stats().Sockets > 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a connection that has ended counts")
		}
	}
	late.Connect("/chat", bob, nil)
}

func TestAThousandConnectionsWithBadTokensHarmNobody(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	before := bob.IO("/chat")
	var refused, odd atomic.Int64
	var crowd sync.WaitGroup
	work := make(chan int)
	for range 50 {
		crowd.Go(func() {
			for i := range work {
				conn, status := s.DialIO(upgradeQuery, nil)
				if conn == nil {
					t.Errorf("not opened: %d", status)
					continue
				}
				data, _ := json.Marshal(map[string]any{"token": fmt.Sprintf("bad-%d", i)})
				packets := conn.Packets("/chat")
				conn.Write(socketio.Packet{Type: socketio.Connect, Namespace: "/chat", Data: data})
				select {
				case p := <-packets:
					if p.Type == socketio.ConnectError {
						refused.Add(1)
					} else {
						odd.Add(1)
					}
				case <-time.After(servertest.Patience):
					odd.Add(1)
				}
			}
		})
	}
	for i := range 1000 {
		if work <- i; i%100 == 99 { // meanwhile
			ada.Send(room, fmt.Sprint(i))
			before.Expect("message:new")
			bob.IO("/chat").Close()
		}
	}
	close(work)
	crowd.Wait()
	if refused.Load() != 1000 {
		t.Errorf("%d refused, %d otherwise", refused.Load(), odd.Load())
	}
	bob.IO("/chat").Ask("message:send", map[string]any{"conversationId": room, "content": "after"}).OK()
}

func TestAnAddressThatKeepsFailingWaits(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_RATE_LIMITS=on", "QUCKCHAT_TRUSTED_PROXIES=127.0.0.1")
	bob := s.Register("bob")
	from := func(address string) http.Header { return http.Header{"X-Forwarded-For": {address}} }
	failed, barred := 0, false
	for range 60 {
		conn, status := s.DialIO(upgradeQuery, from("198.51.100.7"))
		if conn == nil {
			barred = true
			if status != http.StatusTooManyRequests {
				t.Errorf("refused with %d", status)
			}
			break
		}
		conn.Refused("/chat", nil, map[string]any{"token": "bad"})
		conn.Close()
		failed++
	}
	if !barred || failed != 50 {
		t.Errorf("barred %v after %d failures", barred, failed)
	}
	conn, _ := s.DialIO(upgradeQuery, from("198.51.100.8"))
	conn.Connect("/chat", bob, nil).Ask("conversation:list", nil).OK()
}
