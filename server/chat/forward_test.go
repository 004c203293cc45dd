package chat_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// forwarded is a message with what it says of being a forward.
type forwarded struct {
	message
	IsForwarded   bool
	ForwardedFrom *string
	ExpiresAt     *string
	Attachments   []any
}

// from is the id of the original that is shown, "" for none.
func (m forwarded) from() string {
	if m.ForwardedFrom == nil {
		return ""
	}
	return *m.ForwardedFrom
}

func forward(u *servertest.User, room, id string, more ...map[string]any) servertest.Reply {
	body := draft(room, "what the client says it says", more...)
	body["isForwarded"], body["forwardedFrom"] = true, id
	return u.Do("POST", "/messages", body)
}

func forwards(t *testing.T, u *servertest.User, room, id string, more ...map[string]any) (m forwarded) {
	t.Helper()
	forward(u, room, id, more...).OK(&m)
	return m
}

func TestAForwardSaysWhatTheServerKnowsOfTheOriginal(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	from, to := ada.Single(bob), bob.Single(carl)
	said := send(ada, from, "what ada said")
	place := send(ada, from, "look", map[string]any{"type": "location", "metadata": map[string]any{"latitude": 1.5, "longitude": 2, "name": "here"}})
	card := send(ada, from, "", map[string]any{"type": "contact", "metadata": map[string]any{"name": "Eve", "phoneNumber": "+34600111222"}})
	claims := []map[string]any{
		{"content": "words put into a mouth", "type": "text", "metadata": map[string]any{"a": 1}},
		{"type": "image", "attachments": []map[string]any{{"type": "image", "url": "/uploads/images/x.png"}}},
		{"content": strings.Repeat("x", 5000)},
		{"content": nil, "type": "location", "metadata": map[string]any{"latitude": "nonsense"}},
	}
	for _, original := range []message{said, place, card} {
		for _, claim := range claims {
			m := forwards(t, bob, to, original.ID, claim)
			if m.Type != original.Type || m.text() != original.text() || string(m.Metadata) != string(original.Metadata) || len(m.Attachments) != 0 {
				t.Errorf("the forward of %+v is %+v", original, m)
			}
			if !m.IsForwarded || m.from() != original.ID || m.Sender.ID != bob.ID || m.ID == original.ID || m.ConversationID != to {
				t.Errorf("it is a forward by bob: %+v", m)
			}
		}
	}
	// Only a source makes a forward, and it makes one whatever else is said.
	for _, ordinary := range []map[string]any{{"isForwarded": true}, {"isForwarded": true, "forwardedFrom": ""}, {"isForwarded": true, "forwardedFrom": nil}} {
		if m := fetch[forwarded](bob, "POST", "/messages", draft(to, "my own", ordinary)); m.IsForwarded || m.text() != "my own" {
			t.Errorf("%v makes %+v", ordinary, m)
		}
	}
	if m := forwards(t, bob, to, said.ID, map[string]any{"isForwarded": false}); !m.IsForwarded || m.text() != "what ada said" {
		t.Errorf("made %+v", m)
	}
	if m := forwards(t, ada, from, said.ID, map[string]any{"replyTo": place.ID}); m.ReplyTo == nil || m.ReplyTo.ID != place.ID || m.text() != "what ada said" {
		t.Errorf("into the same conversation, as an answer: %+v", m)
	}
}

func TestNobodyForwardsWhatTheyCannotSee(t *testing.T) {
	w := newWindows(t)
	eve := w.Register("eve")
	own := w.carl.Group("carl's")
	w.say("before")
	w.add()
	w.say("first")
	w.remove()
	w.say("between")
	w.add()
	w.say("second")
	w.say("deleted")
	w.say("hidden")
	w.say("cleared")
	w.ada.Do("DELETE", "/messages/"+w.ids["deleted"], nil).OK(nil)
	hide(w.carl, w.ids["hidden"]).OK(nil)
	for _, id := range []string{"before", "first", "between", "deleted", "hidden"} {
		forward(w.carl, own, w.ids[id]).Fails(404, "MESSAGE_NOT_FOUND")
	}
	if m := forwards(t, w.carl, own, w.ids["second"]); m.text() != "secret-second" {
		t.Errorf("forwarded %+v", m)
	}
	w.carl.Do("DELETE", "/conversations/"+w.room+"/messages", nil).OK(nil)
	forward(w.carl, own, w.ids["cleared"]).Fails(404, "MESSAGE_NOT_FOUND")
	w.say("last")
	w.remove()
	for _, id := range []string{"second", "last"} {
		forward(w.carl, own, w.ids[id]).Fails(404, "MESSAGE_NOT_FOUND")
	}
	forward(eve, eve.Group("eve's"), w.ids["last"]).Fails(404, "MESSAGE_NOT_FOUND")
	forward(w.ada, own, w.ids["last"]).Fails(404, "CONVERSATION_NOT_FOUND")
	for _, id := range []string{"nonsense", "ffffffffffffffffffffffff", "\x00", own} {
		forward(w.carl, own, id).Fails(404, "MESSAGE_NOT_FOUND")
	}
	notice := everything(t, w.ada, w.room, 10)[0]
	if notice.Type != "system" {
		t.Fatalf("not a notice: %+v", notice)
	}
	forward(w.ada, w.room, notice.ID).Fails(403, "MESSAGE_NOT_FORWARDABLE")
	write(t, w.Server, "UPDATE message SET type = 'call' WHERE id = ?", w.ids["last"])
	forward(w.ada, w.room, w.ids["last"]).Fails(403, "MESSAGE_NOT_FORWARDABLE")
	if got := texts(history(t, w.carl, own, 10)); !slices.Equal(got, []string{"secret-second"}) {
		t.Errorf("forwarded were %v", got)
	}
}

func TestAForwardDoesNotTellWhereItComesFrom(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, dora, flo := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora"), s.Register("flo")
	from, to, further := ada.Group("the secret circle", bob, dora, flo), bob.Group("g", carl, dora, flo), carl.Group("h", dora)
	said := send(ada, from, "hear this")
	native, app, web := carl.Socket(), carl.IO("/chat"), carl.IO("/")
	start := native.Seq
	m := forwards(t, bob, to, said.ID)
	if again := forwards(t, carl, further, m.ID); again.from() != m.ID || again.text() != "hear this" { // a forward of a forward
		t.Errorf("forwarded again: %+v", again)
	}
	told := map[string]string{"late": string(carl.Resume(start).Until("message:new").Raw), "live": string(native.Until("message:new").Raw)}
	if told["late"] != told["live"] {
		t.Errorf("live %s\nlate %s", told["live"], told["late"])
	}
	told["app"], told["web"] = string(app.Until("message:new").Data), string(web.Until("message:new").Data)
	path := "/conversations/" + to
	for name, door := range map[string]string{"history": "/messages/conversation/" + to, "page": path + "/messages", "list": "/conversations", "one": "/messages/" + m.ID} {
		r := carl.Do("GET", door, nil)
		r.OK(nil)
		told[name] = string(r.Body)
	}
	for name, text := range told {
		if !strings.Contains(text, `"isForwarded":true`) || !strings.Contains(text, "hear this") {
			t.Errorf("%s: no forward: %s", name, text)
		}
		for _, secret := range []string{said.ID, from, ada.ID, "the secret circle", said.CreatedAt} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells %q: %s", name, secret, text)
			}
		}
	}
	// Those who can see the original themselves find it, through every door, as long as they can.
	shows := func(what string, u *servertest.User, want string) {
		t.Helper()
		if got := fetch[forwarded](u, "GET", "/messages/"+m.ID, nil); got.from() != want || !got.IsForwarded {
			t.Errorf("%s: one shows %+v", what, got)
		}
		page := fetch[[]forwarded](u, "GET", "/messages/conversation/"+to, nil)
		if page[0].from() != want {
			t.Errorf("%s: history shows %+v", what, page[0])
		}
		shown := fetch[struct {
			Messages []struct{ ForwardedFrom *string }
		}](u, "GET", path+"/messages", nil).Messages[0].ForwardedFrom
		if want == "" && shown != nil || want != "" && (shown == nil || *shown != want) {
			t.Errorf("%s: the web client is shown %v", what, shown)
		}
	}
	shows("bob", bob, said.ID)
	shows("dora", dora, said.ID)
	shows("carl", carl, "")
	hide(dora, said.ID).OK(nil)
	shows("dora has hidden it", dora, "")
	shows("flo", flo, said.ID)
	flo.Do("POST", "/conversations/"+from+"/leave", nil).OK(nil)
	shows("flo has left", flo, "")
	bob.Do("DELETE", "/conversations/"+from+"/messages", nil).OK(nil)
	shows("bob has cleared it", bob, "")
	bob.Do("PUT", path+"/participants", map[string]any{"participantIds": []string{ada.ID}}).OK(nil)
	last := forwards(t, ada, to, said.ID)
	if fetch[forwarded](ada, "GET", "/messages/"+last.ID, nil).from() != said.ID {
		t.Error("ada does not find her own")
	}
	ada.Do("DELETE", "/messages/"+said.ID, nil).OK(nil)
	if got := fetch[forwarded](ada, "GET", "/messages/"+last.ID, nil); got.from() != "" || got.text() != "hear this" || !got.IsForwarded {
		t.Errorf("after the original was deleted: %+v", got)
	}
}

func TestAForwardLivesByItself(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	from, to, timed := ada.Single(bob), bob.Single(carl), bob.Group("g", carl)
	setTimer(ada, from, 86400).OK(nil)
	setTimer(bob, timed, 604800).OK(nil)
	mortal := send(ada, from, "gone tomorrow")
	kept, week := forwards(t, bob, to, mortal.ID), forwards(t, bob, timed, mortal.ID)
	if kept.ExpiresAt != nil || week.ExpiresAt == nil {
		t.Errorf("expire at %v, %v", kept.ExpiresAt, week.ExpiresAt)
	}
	bob.Do("PUT", "/messages/"+kept.ID, map[string]any{"content": "other words"}).Fails(403, "MESSAGE_NOT_EDITABLE")
	s.Advance(24*time.Hour + time.Second)
	bob.Refreshed()
	for _, m := range []forwarded{kept, week} {
		if got := fetch[forwarded](bob, "GET", "/messages/"+m.ID, nil); got.text() != "gone tomorrow" || !got.IsForwarded || got.from() != "" {
			t.Errorf("after the original has expired: %+v", got)
		}
	}
	forward(bob, to, mortal.ID).Fails(404, "MESSAGE_NOT_FOUND")
	if m := forwards(t, bob, to, kept.ID); m.text() != "gone tomorrow" || m.from() != kept.ID {
		t.Errorf("a forward of the forward: %+v", m)
	}
	gone := fetch[forwarded](bob, "DELETE", "/messages/"+kept.ID, nil)
	if !gone.IsDeleted || gone.IsForwarded || gone.ForwardedFrom != nil {
		t.Errorf("deleted, it is %+v", gone)
	}
}

func TestAForwardIsStoredOnceByItsClientID(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	from, to := ada.Group("from"), ada.Single(bob)
	said, other := send(ada, from, "one"), send(ada, from, "two")
	key := map[string]any{"clientId": "k"}
	got := make([]forwarded, 8)
	together(len(got), func(i int) { forward(ada, to, said.ID, key).OK(&got[i]) })
	for _, m := range got {
		if m.ID != got[0].ID || m.from() != said.ID {
			t.Errorf("stored %+v and %+v", got[0], m)
		}
	}
	forward(ada, to, other.ID, key).Fails(409, "CLIENT_ID_REUSED")
	ada.Do("POST", "/messages", draft(to, "one", key)).Fails(409, "CLIENT_ID_REUSED")
	plain := map[string]any{"clientId": "p"}
	send(ada, to, "one", plain)
	forward(ada, to, said.ID, plain).Fails(409, "CLIENT_ID_REUSED")
	ada.Do("PUT", "/messages/"+said.ID, map[string]any{"content": "changed since"}).OK(nil)
	if m := forwards(t, ada, to, said.ID, key); m.ID != got[0].ID || m.text() != "one" {
		t.Errorf("sent again: %+v", m)
	}
	ada.Do("DELETE", "/messages/"+said.ID, nil).OK(nil)
	if m := forwards(t, ada, to, said.ID, key); m.ID != got[0].ID || m.text() != "one" || m.from() != "" {
		t.Errorf("sent again after the original is gone: %+v", m)
	}
	if list := history(t, bob, to, 10); len(list) != 2 {
		t.Errorf("bob has %v", texts(list))
	}
}

func TestForwardingGoesThroughEveryDoor(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	from, to := ada.Group("from"), ada.Single(bob)
	said := send(ada, from, "pass it on")
	socket, app, hears := ada.Socket(), ada.IO("/chat"), bob.Socket()
	body := map[string]any{"conversationId": to, "type": "text", "content": "made up", "isForwarded": true, "forwardedFrom": said.ID}
	answers := map[string]json.RawMessage{}
	answers["native"] = socket.Ask("message:send", body).Data
	answers["app"] = app.Ask("message:send", body).OK().Message
	answers["rest"] = ada.Do("POST", "/messages", body).Body
	answers["web"] = ada.Do("POST", "/conversations/"+to+"/messages", body).Body
	answers["flutter"] = ada.DoRoot("POST", "/conversations/"+to+"/messages", body).Body
	for door, raw := range answers {
		var m struct {
			Content       string
			IsForwarded   bool
			ForwardedFrom string
		}
		if err := json.Unmarshal(raw, &m); err != nil || m.Content != "pass it on" || !m.IsForwarded || m.ForwardedFrom != said.ID {
			t.Errorf("%s answers %s, %v", door, raw, err)
		}
	}
	for range answers {
		if f := hears.Expect("message:new"); !strings.Contains(string(f.Data), `"isForwarded":true`) || strings.Contains(string(f.Data), said.ID) {
			t.Errorf("bob is told %s", f.Raw)
		}
	}
	bob.Do("POST", "/users/me/blocked-users", map[string]any{"userId": ada.ID}).OK(nil)
	ada.Do("POST", "/messages", body).Fails(403, "BLOCKED")
}
