package hub_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/servertest"
)

// in decodes what a test needs of some JSON.
func in[T any](t *testing.T, raw json.RawMessage) (out T) {
	t.Helper()
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return out
}

type message struct {
	ID             string `json:"_id"`
	ConversationID string
	Content        *string
	ClientID       string
	IsEdited       bool
	EditedAt       string
	N              int64
	SenderID       struct {
		ID          string `json:"_id"`
		DisplayName string
	}
	ReplyTo *struct {
		ID       string `json:"_id"`
		Content  *string
		SenderID struct{ DisplayName string }
	}
}

func TestTheHandshakeIsThatOfEngineIO(t *testing.T) {
	s := servertest.Start(t)
	bob := s.Register("bob")
	conn := s.IO()
	if o := conn.Open; o.SID == "" || len(o.Upgrades) != 0 || o.Upgrades == nil || o.PingInterval != 10000 || o.PingTimeout != 30000 || o.MaxPayload != 1000000 {
		t.Errorf("opened with %+v", o)
	}
	space := conn.Connect("/chat", bob, nil)
	if space.SID == "" || space.SID == conn.Open.SID || space.PID != "" {
		t.Errorf("connected with %+v", space)
	}
	for _, c := range []struct {
		method, query, origin string
		upgrade               bool
		status, code          int
		message               string
	}{
		{"GET", "?EIO=4&transport=polling", "", false, 400, 0, "Transport unknown"},
		{"POST", "?EIO=4&transport=polling&sid=x", "", false, 400, 0, "Transport unknown"},
		{"GET", "", "", false, 400, 0, "Transport unknown"},
		{"GET", "?EIO=4&transport=websocket", "", false, 400, 3, "Bad request"},
		{"POST", "?EIO=4&transport=websocket", "", false, 400, 2, "Bad handshake method"},
		{"GET", "?EIO=3&transport=websocket", "", true, 400, 5, "Unsupported protocol version"},
		{"GET", "?transport=websocket", "", true, 400, 5, "Unsupported protocol version"},
		{"GET", "?EIO=4&transport=websocket&sid=x", "", true, 400, 1, "Session ID unknown"},
		{"GET", "?EIO=4&transport=websocket", "https://evil.example", true, 403, 4, "Forbidden"},
	} {
		r, err := http.NewRequest(c.method, s.URL+"/socket.io/"+c.query, nil)
		if err != nil {
			t.Fatal(err)
		}
		if c.upgrade {
			for name, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
				r.Header.Set(name, value)
			}
		}
		if c.origin != "" {
			r.Header.Set("Origin", c.origin)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if want := fmt.Sprintf(`{"code":%d,"message":%q}`, c.code, c.message); answer.StatusCode != c.status || strings.TrimSpace(string(body)) != want {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.query, answer.StatusCode, body, c.status, want)
		}
	}
}

func TestThePhoneAppTalksAndHears(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	mine, other, yours, native := ada.IO("/chat"), ada.IO("/chat"), bob.IO("/chat"), bob.Socket()
	everybody := []*servertest.Space{mine, other, yours}

	ack := mine.Ask("message:send", map[string]any{"conversationId": room, "type": "text", "content": "hello <b>", "clientId": "c-1"}).OK()
	first := in[message](t, ack.Message)
	if first.ID == "" || *first.Content != "hello <b>" || first.ClientID != "c-1" || first.SenderID.ID != ada.ID || strings.Contains(ack.Raw, `"data"`) {
		t.Errorf("acknowledged with %s", ack.Raw)
	}
	same := native.Expect("message:new").Data
	for _, space := range everybody {
		if e := space.Expect("message:new"); string(e.Data) != string(same) || e.Offset != "" {
			t.Errorf("over Socket.IO %s, natively %s", e.Raw, same)
		}
	}

	reply := in[message](t, yours.Ask("message:send", map[string]any{"conversationId": room, "type": "text", "content": "yes", "replyTo": first.ID}).OK().Message)
	for _, space := range everybody {
		m := in[message](t, space.Expect("message:new").Data)
		if m.ReplyTo == nil || *m.ReplyTo.Content != "hello <b>" || m.ReplyTo.SenderID.DisplayName != "ADA" || m.SenderID.DisplayName != "BOB" || m.N != 2 {
			t.Errorf("a reply: %+v", m)
		}
	}

	edited := in[message](t, mine.Ask("message:edit", map[string]any{"messageId": first.ID, "content": "hello"}).OK().Message)
	if !edited.IsEdited || *edited.Content != "hello" {
		t.Errorf("edited: %+v", edited)
	}
	for _, space := range everybody {
		e := space.Expect("message:edited").Data
		who := in[struct{ MessageID, EditedBy string }](t, e)
		if m := in[message](t, e); m.ID != first.ID || *m.Content != "hello" || m.EditedAt == "" || m.SenderID.ID != ada.ID || who.MessageID != first.ID || who.EditedBy != ada.ID {
			t.Errorf("edited: %s", e)
		}
	}

	if ack := mine.Ask("message:read", map[string]any{"messageId": reply.ID, "conversationId": room}).OK(); ack.Raw != `3/chat,2[{"success":true}]` {
		t.Errorf("read: %s", ack.Raw)
	}
	for _, space := range everybody {
		r := in[struct{ MessageID, UserID, ConversationID, ReadAt string }](t, space.Expect("message:read").Data)
		if r.MessageID != reply.ID || r.UserID != ada.ID || r.ConversationID != room || r.ReadAt == "" {
			t.Errorf("read: %+v", r)
		}
	}

	if ack := yours.Ask("message:delete", map[string]any{"messageId": reply.ID}).OK(); ack.Raw != `3/chat,1[{"success":true}]` {
		t.Errorf("delete: %s", ack.Raw)
	}
	for _, space := range everybody {
		d := in[struct{ MessageID, ConversationID, DeletedBy, DeletedAt string }](t, space.Expect("message:deleted").Data)
		if d.MessageID != reply.ID || d.ConversationID != room || d.DeletedBy != bob.ID || d.DeletedAt == "" {
			t.Errorf("deleted: %+v", d)
		}
	}

	yours.Emit("typing:start", map[string]any{"conversationId": room})
	yours.Ask("typing:stop", map[string]any{"conversationId": room}).OK() // the app does not ask; whoever does is answered
	for _, space := range []*servertest.Space{mine, other} {
		for _, name := range []string{"typing:start", "typing:stop"} {
			e := in[struct{ ConversationID, UserID, UserName, Timestamp string }](t, space.Expect(name).Data)
			if e.ConversationID != room || e.UserID != bob.ID || e.UserName != "BOB" || e.Timestamp == "" {
				t.Errorf("%s: %+v", name, e)
			}
		}
	}
	for _, space := range everybody {
		space.Silent()
	}
}

func TestJoinAndLeaveAreHints(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	yours, stranger := bob.IO("/chat"), eve.IO("/chat")
	at := map[string]any{"conversationId": room}
	for range 2 {
		if ack := yours.Ask("conversation:join", at).OK(); !strings.HasSuffix(ack.Raw, `[{"success":true}]`) {
			t.Errorf("join: %s", ack.Raw)
		}
		yours.Ask("conversation:leave", at).OK()
	}
	stranger.Ask("conversation:join", at).Fails("CONVERSATION_NOT_FOUND")
	stranger.Ask("conversation:leave", map[string]any{"conversationId": "x"}).Fails("CONVERSATION_NOT_FOUND")
	stranger.Ask("conversation:join", nil).Fails("VALIDATION")
	ada.Send(room, "after leaving")
	yours.Expect("message:new")
	stranger.Silent()
}

func TestEveryVerbOfTheTableCanBeSpoken(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	ada.Send(room, "one")
	chat := bob.IO("/chat")
	if list := in[[]message](t, chat.Ask("message:history", map[string]any{"conversationId": room}).OK().Data); len(list) != 1 || *list[0].Content != "one" {
		t.Errorf("history: %+v", list)
	}
	if c := in[struct{ Count int }](t, chat.Ask("conversation:unread", nil).OK().Data); c.Count != 1 {
		t.Errorf("unread: %+v", c)
	}
	chat.Ask("message:unheard-of", nil).Fails("UNKNOWN_OPERATION")
	failed := chat.Ask("message:send", map[string]any{"conversationId": room, "content": " "})
	failed.Fails("MESSAGE_EMPTY")
	if failed.Error != "The message is empty." {
		t.Errorf("the sentence: %s", failed.Raw)
	}
	invalid := chat.Ask("message:send", map[string]any{"content": 5})
	invalid.Fails("VALIDATION")
	if !strings.Contains(invalid.Raw, `"errors":[{"field"`) {
		t.Errorf("the fields: %s", invalid.Raw)
	}
	chat.Emit("message:send", map[string]any{"conversationId": room, "content": "nobody is answered"})
	if m := in[message](t, chat.Expect("message:new").Data); *m.Content != "nobody is answered" {
		t.Errorf("told %+v", m)
	}
	chat.Emit("message:send", map[string]any{"conversationId": room})
	chat.Silent()
	chat.WriteRaw(websocket.TextMessage, []byte(`42/chat,["message:send",{"conversationId":"`+room+`","content":"two"},"more",{}]`))
	chat.Expect("message:new")
}

func TestTheWebClientHearsItsOwnNamesInEnvelopes(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	web, phone := bob.IO("/"), bob.IO("/chat")
	ada.IO("/chat")
	room := ada.Group("g", bob)
	if c := in[struct{ ID, Type string }](t, web.Expect("conversation:new").Data); c.ID != room || c.Type != "group" {
		t.Errorf("conversation:new: %+v", c)
	}
	about := func(name string) json.RawMessage { t.Helper(); return web.Expect(name).Data }
	type plain struct{ ID, ConversationID, SenderID, Type, Content string }
	if m := in[plain](t, about("message:new")); m.Type != "system" || m.Content != "ADA created the group" {
		t.Errorf("the notice of a group: %+v", m)
	}
	first := ada.Send(room, "temp-1 & <b>")
	if m := in[plain](t, about("message:new")); m.ID != first || m.SenderID != ada.ID || m.Content != "temp-1 & <b>" || m.ConversationID != room {
		t.Errorf("message:new: %+v", m)
	}
	ada.Do("PUT", "/messages/"+first, map[string]any{"content": "changed"}).OK(nil)
	if m := in[plain](t, about("message:update")); m.ID != first || m.Content != "changed" {
		t.Errorf("message:update: %+v", m)
	}
	ada.Do("POST", "/conversations/"+room+"/read", nil).OK(nil)
	if r := in[struct{ ConversationID, UserID, MessageID string }](t, about("read:receipt")); r.ConversationID != room || r.UserID != ada.ID || r.MessageID != first {
		t.Errorf("read:receipt: %+v", r)
	}
	ada.Do("DELETE", "/messages/"+first, nil).OK(nil)
	if d := in[struct{ MessageID, ConversationID string }](t, about("message:delete")); d.MessageID != first || d.ConversationID != room {
		t.Errorf("message:delete: %+v", d)
	}
	ada.Do("PUT", "/conversations/"+room, map[string]any{"name": "renamed"}).OK(nil)
	if c := in[struct{ ID, Name string }](t, about("conversation:update")); c.ID != room || c.Name != "renamed" {
		t.Errorf("conversation:update: %+v", c)
	}
	about("message:new") // the notice of it
	other := ada.IO("/")
	for _, name := range []string{"typing:start", "typing:stop"} {
		other.Emit(name, map[string]any{"conversationId": room})
		e := in[struct {
			ConversationID, UserID string
			IsTyping               *bool
		}](t, about(name))
		if e.ConversationID != room || e.UserID != ada.ID || e.IsTyping == nil || *e.IsTyping != (name == "typing:start") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	sent := other.Ask("message:send", map[string]any{"conversationId": room, "content": "by socket"}).OK()
	if m := in[plain](t, sent.Message); m.SenderID != ada.ID || m.Content != "by socket" {
		t.Errorf("acknowledged with %s", sent.Raw)
	}
	about("message:new")
	carlsRoom := carl.Single(bob)
	about("conversation:new")
	carl.IO("/chat")
	if p := in[struct{ ID, Status string }](t, web.Until("user:online").Data); p.ID != carl.ID || p.Status != "online" {
		t.Errorf("user:online: %+v of %s", p, carlsRoom)
	}
	for _, want := range []string{"conversation:new", "message:new", "message:new", "message:edited", "message:read", "message:deleted", "conversation:updated", "message:new", "typing:start", "typing:stop", "message:new", "conversation:new"} {
		phone.Expect(want)
	}
	phone.Silent()
}

func TestBothDoorsHearTheSameInTheSameOrder(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl)
	native, phone, web := carl.Socket(), carl.IO("/chat"), carl.IO("/")
	const each = 40
	done := make(chan struct{})
	speakers := []*servertest.Space{ada.IO("/chat"), bob.IO("/")}
	for i, speaker := range speakers {
		go func() {
			for j := range each {
				speaker.Emit("message:send", map[string]any{"conversationId": room, "content": fmt.Sprint(i, "/", j)})
			}
			done <- struct{}{}
		}()
	}
	typist := ada.Socket()
	for j := range each {
		if f := typist.Ask("message:send", map[string]any{"conversationId": room, "content": fmt.Sprint("n/", j)}); !f.OK {
			t.Errorf("%s", f.Raw)
		}
	}
	for range speakers {
		<-done
	}
	for n := 1; n <= 3*each; n++ { // the first is the notice of the group
		want := decode[message](t, native.Expect("message:new"))
		p, w := in[message](t, phone.Expect("message:new").Data), in[struct{ ID, Content string }](t, web.Expect("message:new").Data)
		if want.N != int64(n+1) || p.ID != want.ID || w.ID != want.ID || *p.Content != w.Content || *want.Content != w.Content {
			t.Fatalf("at %d: native %+v, phone %+v, web %+v", n+1, want, p, w)
		}
	}
}
