package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// windows is a group with two stays of carl: before, first (in), between (out), second (in), after (out).
type windows struct {
	*servertest.Server
	ada, carl *servertest.User
	room      string
	ids       map[string]string
}

func (w *windows) say(text string, more ...map[string]any) message {
	m := send(w.ada, w.room, "secret-"+text, more...)
	w.ids[text] = m.ID
	return m
}

func (w *windows) add() {
	w.ada.Do("PUT", "/conversations/"+w.room+"/participants", map[string]any{"participantIds": []string{w.carl.ID}}).OK(nil)
}

func (w *windows) remove() {
	w.ada.Do("DELETE", "/conversations/"+w.room+"/participants/"+w.carl.ID, nil).OK(nil)
}

func (w *windows) edit(id, text string) {
	w.ada.Do("PUT", "/messages/"+w.ids[id], map[string]any{"content": "secret-" + text}).OK(nil)
}

func newWindows(t *testing.T) *windows {
	s := servertest.Start(t)
	w := &windows{Server: s, ada: s.Register("ada"), carl: s.Register("carl"), ids: map[string]string{}}
	w.room = w.ada.Group("circle")
	return w
}

// drain reads what has come to a socket and returns the kinds of the log's events, with the texts of messages.
func drain(t *testing.T, frames []servertest.Frame) (kinds []string) {
	t.Helper()
	for _, f := range frames {
		if f.Seq == 0 {
			continue
		}
		var m message
		if err := json.Unmarshal(f.Data, &m); err != nil {
			t.Fatal(err)
		}
		if m.Type == "system" {
			continue
		}
		kind := f.Event
		if text, ok := strings.CutPrefix(m.text(), "secret-"); ok {
			kind += " " + text
		}
		if m.ReplyTo != nil {
			kind += " > " + strings.TrimPrefix(m.ReplyTo.text(), "secret-")
		}
		kinds = append(kinds, kind)
	}
	return kinds
}

func TestAMemberHearsOnlyOfTheirOwnStaysLiveAndLate(t *testing.T) {
	w := newWindows(t)
	live := w.carl.Socket()
	start := live.Seq
	w.say("before")
	w.add()
	w.edit("before", "before-edited")
	w.say("in")
	w.say("deleted")
	w.say("reply-out", map[string]any{"replyTo": w.ids["before"]})
	w.say("reply-in", map[string]any{"replyTo": w.ids["in"]})
	w.edit("reply-out", "reply-out-edited")
	w.ada.Do("DELETE", "/messages/"+w.ids["before"], nil).OK(nil)
	w.remove()
	w.say("between")
	w.edit("in", "in-edited-after-leaving")
	w.ada.Do("DELETE", "/messages/"+w.ids["deleted"], nil).OK(nil)
	w.ada.Do("PUT", "/conversations/"+w.room, map[string]any{"name": "secret-name"}).OK(nil)
	w.add()
	w.edit("between", "between-edited")
	w.edit("in", "in-edited-again")
	w.say("second", map[string]any{"replyTo": w.ids["in"]})
	w.remove()
	w.say("after")

	want := []string{
		"conversation:participant:added", "conversation:updated", "message:new in", "message:new deleted", "message:new reply-out", "message:new reply-in > in",
		"message:edited reply-out-edited", "conversation:participant:removed", "conversation:participant:added", "conversation:updated", "message:new second",
		"conversation:participant:removed",
	}
	if got := drain(t, live.Pending()); !slices.Equal(got, want) {
		t.Errorf("live:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	// Late, what was changed after they left is left out, and how the conversation is now.
	want = []string{
		"conversation:participant:added", "message:new", "message:new reply-out-edited", "message:new reply-in", "message:edited reply-out-edited",
		"conversation:participant:removed", "conversation:participant:added", "message:new second", "conversation:participant:removed",
	}
	late := w.carl.Resume(start).Pending()
	got := drain(t, late)
	if !slices.Equal(got, want) {
		t.Errorf("late:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, f := range late {
		for _, secret := range []string{"before", "between", "after", "again", "secret-name", "secret-in"} {
			if strings.Contains(string(f.Raw), secret) {
				t.Errorf("late, %q is told: %s", secret, f.Raw)
			}
		}
	}
}

func TestNoDoorLeadsAroundTheWindow(t *testing.T) {
	w := newWindows(t)
	w.say("one before")
	w.add()
	w.say("two in", map[string]any{"replyTo": w.ids["one before"]})
	w.remove()
	w.say("three between")
	w.add()
	w.say("four reply", map[string]any{"replyTo": w.ids["three between"]})
	w.say("five reply", map[string]any{"replyTo": w.ids["four reply"]})
	eventually(t, "the index is there", func() bool { _, n := found(w.ada, "secret", ""); return n == 5 })

	var c conversation
	w.carl.Do("GET", "/conversations/"+w.room, nil).OK(&c)
	if c.UnreadCount != 2 {
		t.Errorf("unread %d of the two of this stay", c.UnreadCount)
	}
	for _, id := range []string{"one before", "two in", "three between"} {
		path := "/messages/" + w.ids[id]
		w.carl.Do("GET", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
		w.carl.Do("PUT", path, map[string]any{"content": "x"}).Fails(404, "MESSAGE_NOT_FOUND")
		w.carl.Do("DELETE", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
		w.carl.Do("POST", path+"/read", nil).Fails(404, "MESSAGE_NOT_FOUND")
		w.carl.Do("PUT", "/conversations/"+w.room+"/read", map[string]any{"messageId": w.ids[id]}).Fails(404, "MESSAGE_NOT_FOUND")
		w.carl.Do("POST", "/messages", draft(w.room, "x", map[string]any{"replyTo": w.ids[id]})).Fails(400, "REPLY_NOT_FOUND")
		if got := fetch[[]message](w.carl, "GET", "/messages/conversation/"+w.room+"?before="+w.ids[id], nil); len(got) != 0 {
			t.Errorf("before %q: %v", id, texts(got))
		}
	}
	for _, path := range []string{
		"/messages/conversation/" + w.room, "/messages/" + w.ids["four reply"], "/conversations", "/conversations/" + w.room, "/messages/search/query?q=secret",
		"/messages/search/query?q=secret&conversationId=" + w.room, "/messages/search/query?q=between",
	} {
		r := w.carl.Do("GET", path, nil)
		r.OK(nil)
		for _, secret := range []string{"one before", "two in", "three between"} {
			if strings.Contains(string(r.Body), secret) {
				t.Errorf("%s tells %q: %s", path, secret, r.Body)
			}
		}
	}
	list := history(t, w.carl, w.room, 1)
	if got := texts(list); !slices.Equal(got, []string{"secret-four reply", "secret-five reply"}) {
		t.Fatalf("history: %v", got)
	}
	if four := list[1]; four.ReplyTo != nil || four.ReplyToID == nil || *four.ReplyToID != w.ids["three between"] {
		t.Errorf("a reply to what is not theirs: %+v", four)
	}
	if five := list[0]; five.ReplyTo == nil || five.ReplyTo.text() != "secret-four reply" {
		t.Errorf("a reply to what is theirs: %+v", five)
	}
	// Who was there all the time sees every reply.
	for _, m := range history(t, w.ada, w.room, 10) {
		if m.ReplyToID != nil && m.ReplyTo == nil {
			t.Errorf("ada does not see what %q replies to", m.text())
		}
	}
	if got := send(w.ada, w.room, "secret-six", map[string]any{"replyTo": w.ids["one before"]}); got.ReplyTo == nil {
		t.Error("the sender does not see what they reply to")
	}
}

func TestSomebodyWhoHasLeftCannotComeBackByAnyRow(t *testing.T) {
	w := newWindows(t)
	w.add()
	m := send(w.carl, w.room, "mine")
	w.remove()
	for _, r := range []servertest.Reply{
		w.carl.Do("PUT", "/messages/"+m.ID, map[string]any{"content": "x"}), w.carl.Do("DELETE", "/messages/"+m.ID, nil), w.carl.Do("GET", "/messages/"+m.ID, nil),
	} {
		r.Fails(404, "MESSAGE_NOT_FOUND")
	}
	socket := w.carl.Socket()
	if f := socket.Ask("typing:start", map[string]any{"conversationId": w.room}); f.OK || f.Error.Code != "CONVERSATION_NOT_FOUND" {
		t.Errorf("typing: %s", f.Raw)
	}
	for i := range 3 {
		w.say(fmt.Sprint("after ", i))
	}
	socket.Silent()
	if list := fetch[[]conversation](w.carl, "GET", "/conversations", nil); len(list) != 0 {
		t.Errorf("still listed: %+v", list)
	}
}
