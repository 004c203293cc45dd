package chat_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestALocationAndAContactAreKeptAsTheyAreSent(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	socket := bob.Socket()
	for kind, cards := range map[string][]string{
		"location": {`{"latitude":-90,"longitude":180}`, `{"latitude":0.1,"longitude":-1e1,"name":"Home","address":"1, Way","accuracy":[3]}`, `{"latitude":1,"longitude":2,"name":null,"address":""}`},
		"contact":  {`{"name":"Eve"}`, `{"name":"Eve Ñ","phoneNumber":"+34 (600) 123-456","userId":"` + ada.ID + `"}`, `{"name":"x","phoneNumber":null}`},
	} {
		for _, card := range cards {
			m := send(ada, room, " ", map[string]any{"type": kind, "metadata": json.RawMessage(card), "clientId": card[:min(len(card), 100)]})
			if m.Type != kind || string(m.Metadata) != card || m.Content != nil {
				t.Errorf("%s answered as %+v", card, m)
			}
			if again := fetch[message](bob, "GET", "/messages/"+m.ID, nil); again.Type != kind || string(again.Metadata) != card {
				t.Errorf("%s read as %+v", card, again)
			}
			socket.Expect("message:new")
			again := send(ada, room, "", map[string]any{"type": kind, "metadata": json.RawMessage(card), "clientId": card[:min(len(card), 100)]})
			if again.ID != m.ID {
				t.Errorf("%s sent again is another message", card)
			}
		}
	}
	if m := send(ada, room, "here", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": 1}, "clientId": "c"}); m.text() != "here" {
		t.Errorf("with a text: %+v", m)
	}
	ada.Do("POST", "/messages", draft(room, "here", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": 2}, "clientId": "c"})).Fails(409, "CLIENT_ID_REUSED")
	ada.Do("POST", "/messages", draft(room, "here", map[string]any{"clientId": "c"})).Fails(409, "CLIENT_ID_REUSED")
	if c := fetch[conversation](bob, "GET", "/conversations/"+room, nil); c.UnreadCount != 7 {
		t.Errorf("%d unread", c.UnreadCount)
	}
}

func TestNoOtherKindOfMessageCanBeSent(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	socket := ada.Socket()
	attachment := map[string]any{"type": "image", "url": "/uploads/images/x.png", "fileName": "x.png", "fileSize": 3, "width": 1, "height": 1, "duration": 0.5}
	list := func(n int) (l []any) {
		for range n {
			l = append(l, attachment)
		}
		return l
	}
	for _, test := range []struct {
		code string
		body map[string]any
	}{
		{"ATTACHMENT_MISSING", map[string]any{"type": "image", "attachments": []any{}}}, {"ATTACHMENT_MISSING", map[string]any{"type": "sticker"}},
		{"ATTACHMENT_FOREIGN", map[string]any{"type": "video", "attachments": list(10)}}, {"ATTACHMENTS_TOO_MANY", map[string]any{"attachments": list(11)}},
		{"VALIDATION", map[string]any{"attachments": []any{map[string]any{"type": "image"}}}}, {"VALIDATION", map[string]any{"attachments": []any{"x"}}},
		{"VALIDATION", map[string]any{"attachments": []any{map[string]any{"type": "image", "url": "x", "fileSize": -1}}}},
		{"VALIDATION", map[string]any{"type": "system", "metadata": map[string]any{"action": "left"}}}, {"VALIDATION", map[string]any{"TYPE": "system"}},
		{"VALIDATION", map[string]any{"type": "call"}}, {"VALIDATION", map[string]any{"type": "huddle"}}, {"VALIDATION", map[string]any{"type": "poll"}},
		{"VALIDATION", map[string]any{"type": ""}}, {"VALIDATION", map[string]any{"type": "Text"}}, {"VALIDATION", map[string]any{"type": "location"}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": []any{1}}}, {"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 90.001, "longitude": 1}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": -181}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": "1", "longitude": 1}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"Latitude": 1, "longitude": 1}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": 1, "name": strings.Repeat("x", 201)}}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": json.RawMessage(`{"latitude":1e999,"longitude":1}`)}},
		{"VALIDATION", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1, "longitude": 1, "address": 3}}},
		{"VALIDATION", map[string]any{"type": "contact"}}, {"VALIDATION", map[string]any{"type": "contact", "metadata": map[string]any{"name": " "}}},
		{"VALIDATION", map[string]any{"type": "contact", "metadata": map[string]any{"name": strings.Repeat("é", 101)}}},
		{"VALIDATION", map[string]any{"type": "contact", "metadata": map[string]any{"name": "x", "phoneNumber": "javascript:1"}}},
		{"VALIDATION", map[string]any{"type": "contact", "metadata": map[string]any{"name": "x", "phoneNumber": 1}}},
		{"VALIDATION", map[string]any{"type": "contact", "metadata": map[string]any{"name": "x", "userId": "../x"}}},
		{"MESSAGE_TOO_LONG", map[string]any{"type": "contact", "metadata": map[string]any{"name": "x"}, "content": strings.Repeat("x", 4001)}},
	} {
		body := draft(room, "x", test.body)
		r := ada.Do("POST", "/messages", body)
		if r.Status != 400 || !strings.Contains(string(r.Body), `"code":"`+test.code+`"`) {
			t.Errorf("%v: %d %s, want %s", test.body, r.Status, r.Body, test.code)
		}
		if f := socket.Ask("message:send", body); f.OK || f.Error.Code != test.code {
			t.Errorf("%v on the socket: %s, want %s", test.body, f.Raw, test.code)
		}
	}
	if n := count(t, s, "SELECT count(*) FROM message"); n != 1 {
		t.Errorf("%d messages stored, want the notice alone", n)
	}
}
