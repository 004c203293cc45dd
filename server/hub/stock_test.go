package hub_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// quickly makes the stock client come back without its usual patience.
var quickly = map[string]any{"reconnectionDelay": 20, "reconnectionDelayMax": 100}

func token(u *servertest.User) map[string]any { return map[string]any{"token": u.Token} }

type connected struct {
	SID       string
	Recovered bool
}

func TestTheStockClientTalksInTwoNamespacesOfOneConnection(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	conn := stock.Connect(s.URL, nil)
	chat := conn.Space("/chat", token(bob))
	if c := in[connected](t, chat.Expect("connect").Data); c.SID == "" || c.Recovered {
		t.Errorf("connected: %+v", c)
	}
	web := conn.Space("/", token(bob))
	web.Expect("connect")
	if n := s.Inner.Hub().Stats().Sockets; n != 1 {
		t.Errorf("two namespaces take %d connections", n)
	}
	sent := in[message](t, chat.Ask("message:send", map[string]any{"conversationId": room, "type": "text", "content": "ñ 👩 \u2028"}).OK().Message)
	if m := in[message](t, chat.Expect("message:new").Data); m.ID != sent.ID || *m.Content != "ñ 👩 \u2028" || m.SenderID.ID != bob.ID {
		t.Errorf("told %+v", m)
	}
	if m := in[struct{ ID, SenderID string }](t, web.Expect("message:new").Data); m.ID != sent.ID || m.SenderID != bob.ID {
		t.Errorf("the web client is told %+v", m)
	}
	chat.Ask("message:send", map[string]any{"conversationId": "x", "content": "x"}).Fails("CONVERSATION_NOT_FOUND")
	web.Ask("conversation:join", map[string]any{"conversationId": room}).OK()
	web.Disconnect()
	web.Expect("disconnect")
	ada.Send(room, "still there")
	chat.Expect("message:new")
}

func TestTheStockClientUnderstandsARefusal(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	bob := s.Register("bob")
	type refusal struct {
		Message string
		Data    struct{ Code string }
		Active  bool // it would come back by itself
	}
	for _, c := range []struct {
		namespace     string
		auth          map[string]any
		message, code string
	}{
		{"/chat", nil, "Sign in first.", "UNAUTHORIZED"},
		{"/chat", map[string]any{"token": "nonsense"}, "The access token is not valid. Sign in again.", "INVALID_TOKEN"},
		{"/chat", token(bob.Aged(8 * 24 * time.Hour)), "The access token has expired.", "TOKEN_EXPIRED"},
		{"/nowhere", token(bob), "Invalid namespace", ""},
	} {
		conn := stock.Connect(s.URL, quickly)
		space := conn.Space(c.namespace, c.auth)
		if r := in[refusal](t, space.Expect("connect_error").Data); r.Message != c.message || r.Data.Code != c.code || r.Active {
			t.Errorf("%s %v: %+v", c.namespace, c.auth, r)
		}
		again := conn.Space("/", token(bob))
		again.Expect("connect")
	}
}

func TestTheStockClientComesBackAfterARestartWithAnOldToken(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	line := servertest.NewLine(t)
	line.Lead(s)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	chat := stock.Connect(line.URL, quickly).Space("/chat", token(bob.Aged(3*24*time.Hour)))
	first := in[connected](t, chat.Expect("connect").Data)
	s.Stop()
	if reason := in[struct{ Reason string }](t, chat.Expect("disconnect").Data).Reason; reason != "transport close" {
		t.Errorf("a restart is %q", reason) // after "io server disconnect" it would not come back
	}
	s.Boot()
	line.Lead(s)
	again := in[connected](t, chat.Until("connect").Data)
	if again.SID == first.SID || again.Recovered {
		t.Errorf("back as %+v, was %+v", again, first)
	}
	chat.Ask("message:send", map[string]any{"conversationId": room, "content": "back"}).OK()
	chat.Expect("message:new")
}

func TestTheStockClientRecoversWhatItMissed(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	line := servertest.NewLine(t)
	line.Lead(s)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	auth := token(bob)
	auth["recover"] = true
	chat := stock.Connect(line.URL, quickly).Space("/chat", auth)
	chat.Expect("connect")
	for round := range 3 { // the first time it has heard nothing yet
		line.Cut()
		chat.Expect("disconnect")
		for i := range 3 {
			ada.Send(room, fmt.Sprint(round, i))
		}
		if c := in[connected](t, chat.Until("connect").Data); !c.Recovered {
			t.Fatalf("round %d: not recovered", round)
		}
		for i := range 3 {
			if e := chat.Expect("message:new"); *in[message](t, e.Data).Content != fmt.Sprint(round, i) || e.Offset == "" {
				t.Errorf("round %d: told %s", round, e.Raw)
			}
		}
	}
	s.Stop()
	chat.Expect("disconnect")
	s.Boot()
	ada.Send(room, "after a restart")
	line.Lead(s)
	if c := in[connected](t, chat.Until("connect").Data); !c.Recovered {
		t.Error("not recovered after a restart")
	}
	if e := chat.Expect("message:new"); *in[message](t, e.Data).Content != "after a restart" {
		t.Errorf("told %s", e.Raw)
	}
	chat.Cut() // the transport alone
	chat.Until("connect")
	ada.Send(room, "the end")
	chat.Expect("message:new")
}
