package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestNumbersStayDenseUnderEightSendersAtOnce(t *testing.T) {
	s := servertest.Start(t)
	senders := []*servertest.User{}
	for i := range 8 {
		senders = append(senders, s.Register(fmt.Sprint("sender", i)))
	}
	room := senders[0].Group("g", senders[1:]...)
	listener := senders[0].Socket()
	const each = 25
	together(len(senders), func(i int) {
		for k := range each {
			if r := senders[i].Do("POST", "/messages", draft(room, fmt.Sprint(i, " ", k))); r.Status != 201 {
				t.Errorf("send: %d %s", r.Status, r.Body)
			}
		}
	})
	next := make([]int, len(senders))
	for n := int64(2); n <= each*int64(len(senders))+1; n++ { // the first is the notice of the new group
		var m message
		if err := json.Unmarshal(listener.Expect("message:new").Data, &m); err != nil {
			t.Fatal(err)
		}
		var i, k int
		if _, err := fmt.Sscan(m.text(), &i, &k); err != nil || m.N != n || k != next[i] {
			t.Fatalf("message %d is %+v, of sender %d expected %d", n, m, i, next[i])
		}
		next[i]++
	}
	for _, limit := range []int{7, 100} {
		all := history(t, senders[3], room, limit)
		for i, m := range all {
			if m.N != int64(len(all)-i)+1 {
				t.Fatalf("page size %d: message %d has n %d", limit, i, m.N)
			}
		}
		if len(all) != each*len(senders) {
			t.Errorf("page size %d: %d messages", limit, len(all))
		}
	}
}

func TestSendingTwiceUnderOneClientIDStoresOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, other := ada.Group("g", bob), ada.Single(bob)
	listener := bob.Socket()
	id := map[string]any{"clientId": "a-1"}
	var mu sync.Mutex
	answers := map[string]int{}
	together(12, func(int) {
		r := ada.Do("POST", "/messages", draft(room, "once", id))
		var m message
		if err := json.Unmarshal(r.Body, &m); err != nil || r.Status != 201 {
			t.Errorf("send: %d %s", r.Status, r.Body)
		}
		mu.Lock()
		answers[m.ID]++
		mu.Unlock()
	})
	if len(answers) != 1 {
		t.Errorf("several messages: %v", answers)
	}
	listener.Expect("message:new")
	listener.Silent()
	first := history(t, ada, room, 10)[0]
	ada.Do("POST", "/messages", draft(room, "twice", id)).Fails(409, "CLIENT_ID_REUSED")
	ada.Do("POST", "/messages", draft(room, "once", id, map[string]any{"replyTo": first.ID})).Fails(409, "CLIENT_ID_REUSED")
	if m := send(bob, room, "once", id); m.ID == first.ID {
		t.Error("the clientId of somebody else counts")
	}
	if m := send(ada, other, "once", id); m.ID == first.ID {
		t.Error("the clientId of another conversation counts")
	}
	for range 2 {
		if m := send(ada, room, "empty", map[string]any{"clientId": ""}); m.ClientID != nil {
			t.Errorf("an empty clientId is one: %+v", m)
		}
	}
	if m := send(ada, room, "next"); m.N != 6 {
		t.Errorf("n %d after four messages and a notice: repeats used numbers up", m.N)
	}
}

func TestARepeatIsAnsweredWhateverBecameOfTheFirst(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	target := send(bob, room, "target")
	same := func(what string, first message, body map[string]any) {
		t.Helper()
		if again := fetch[message](ada, "POST", "/messages", body); again.ID != first.ID {
			t.Errorf("%s: another message %+v", what, again)
		}
	}
	reply := draft(room, "reply", map[string]any{"clientId": "r", "replyTo": target.ID})
	first := fetch[message](ada, "POST", "/messages", reply)
	bob.Do("DELETE", "/messages/"+target.ID, nil).OK(nil)
	same("after the message replied to was deleted", first, reply)
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", room)
	same("after the conversation was locked", first, reply)
	ada.Do("POST", "/messages", draft(room, "other", map[string]any{"clientId": "new"})).Fails(403, "CONVERSATION_LOCKED")
	write(t, s, "UPDATE conversation SET is_locked = 0 WHERE id = ?", room)
	write(t, s, "INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 0)", bob.ID, ada.ID)
	same("after a block", first, reply)
	write(t, s, "DELETE FROM block")
	ada.Do("PUT", "/messages/"+first.ID, map[string]any{"content": "edited"}).OK(nil)
	same("after an edit", first, reply)
	ada.Do("DELETE", "/messages/"+first.ID, nil).OK(nil)
	same("after it was deleted itself", first, reply)
}

func TestWhatCannotBeSentIsRefused(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MESSAGE_MAX_LENGTH=10")
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room, group, foreign := ada.Single(bob), ada.Group("g", bob), ada.Single(eve)
	elsewhere := ada.Send(foreign, "x")
	gone := ada.Send(room, "gone")
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	socket := ada.Socket()
	for _, test := range []struct {
		what, code string
		status     int
		body       map[string]any
	}{
		{"nothing", "MESSAGE_EMPTY", 400, map[string]any{"conversationId": room}},
		{"null", "MESSAGE_EMPTY", 400, map[string]any{"conversationId": room, "content": nil}},
		{"blanks", "MESSAGE_EMPTY", 400, draft(room, " \n\t\u2003")},
		{"too long", "MESSAGE_TOO_LONG", 400, draft(room, strings.Repeat("x", 11))},
		{"attachments", "ATTACHMENT_FOREIGN", 400, draft(room, "x", map[string]any{"attachments": []any{map[string]any{"type": "image", "url": "x"}}})},
		{"a number", "VALIDATION", 400, map[string]any{"conversationId": room, "content": 1}},
		{"a long clientId", "VALIDATION", 400, draft(room, "x", map[string]any{"clientId": strings.Repeat("x", 129)})},
		{"a long clientId beside a short one", "VALIDATION", 400, draft(room, "x", map[string]any{"clientId": "x", "clientid": strings.Repeat("x", 129)})},
		{"big metadata", "VALIDATION", 400, draft(room, "x", map[string]any{"metadata": map[string]any{"a": strings.Repeat("x", 8<<10)}})},
		{"no conversation", "VALIDATION", 400, map[string]any{"content": "x"}},
		{"an unknown conversation", "CONVERSATION_NOT_FOUND", 404, draft("nowhere", "x")},
		{"a reply to nothing", "REPLY_NOT_FOUND", 400, draft(room, "x", map[string]any{"replyTo": "nothing"})},
		{"a reply to elsewhere", "REPLY_NOT_FOUND", 400, draft(room, "x", map[string]any{"replyTo": elsewhere})},
		{"a reply to a tombstone", "REPLY_NOT_FOUND", 400, draft(room, "x", map[string]any{"replyTo": gone})},
	} {
		t.Run(test.what, func(t *testing.T) {
			ada.Do("POST", "/messages", test.body).Fails(test.status, test.code)
			if f := socket.Ask("message:send", test.body); f.OK || f.Error.Code != test.code {
				t.Errorf("on the socket: %s", f.Raw)
			}
		})
	}
	eve.Do("POST", "/messages", draft(room, "x")).Fails(404, "CONVERSATION_NOT_FOUND")
	for _, fine := range []string{strings.Repeat("ñ", 10), strings.Repeat("👩", 10), " x ", "a\x00b", "\"<&>'"} {
		if m := send(ada, room, fine); m.text() != fine {
			t.Errorf("%q becomes %q", fine, m.text())
		}
		if m := history(t, bob, room, 1); m[0].text() != fine {
			t.Errorf("%q is stored as %q", fine, m[0].text())
		}
	}
	for _, meta := range []string{`{"a":[1,{"b":null}],"c":"é"}`, `"text"`, `[]`, `12345678901234567890`} {
		m := send(ada, room, "x", map[string]any{"metadata": json.RawMessage(meta)})
		if again := fetch[message](bob, "GET", "/messages/"+m.ID, nil); string(again.Metadata) != meta || string(m.Metadata) != meta {
			t.Errorf("metadata %s becomes %s, then %s", meta, m.Metadata, again.Metadata)
		}
	}
	if m := send(ada, room, "x", map[string]any{"metadata": nil}); m.Metadata != nil {
		t.Errorf("null metadata becomes %s", m.Metadata)
	}

	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", room)
	mine := ada.Send(group, "mine")
	ada.Do("POST", "/messages", draft(room, "x")).Fails(403, "CONVERSATION_LOCKED")
	write(t, s, "UPDATE conversation SET is_locked = 0 WHERE id = ?", room)
	for _, pair := range [][2]string{{ada.ID, bob.ID}, {bob.ID, ada.ID}} {
		write(t, s, "INSERT INTO block (user_id, blocked_id, created_at) VALUES (?, ?, 0)", pair[0], pair[1])
		ada.Do("POST", "/messages", draft(room, "x")).Fails(403, "BLOCKED")
		bob.Do("POST", "/messages", draft(room, "x")).Fails(403, "BLOCKED")
		ada.Do("POST", "/conversations/single", map[string]any{"recipientId": bob.ID}).Fails(403, "BLOCKED")
		ada.Do("POST", "/conversations/group", map[string]any{"name": "x", "participantIds": []string{bob.ID}}).Fails(403, "BLOCKED")
		bob.Send(group, "they meet")
		write(t, s, "DELETE FROM block")
	}
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", group)
	ada.Do("PUT", "/messages/"+mine, map[string]any{"content": "y"}).Fails(403, "CONVERSATION_LOCKED")
}

func TestOnesOwnTextIsEditedAndDeletedAndNobodyElses(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MESSAGE_EDIT_WINDOW=1h", "QUCKCHAT_MESSAGE_MAX_LENGTH=10")
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Group("g", bob)
	first := send(ada, room, "first", map[string]any{"metadata": map[string]any{"secret": 1}})
	path := "/messages/" + first.ID
	reply := send(bob, room, "reply", map[string]any{"replyTo": first.ID})
	if reply.ReplyTo == nil || reply.ReplyTo.text() != "first" || reply.ReplyTo.Sender.ID != ada.ID {
		t.Fatalf("reply: %+v", reply)
	}
	listener := bob.Socket()
	edit := func(by *servertest.User, path, text string) servertest.Reply {
		return by.Do("PUT", path, map[string]any{"content": text})
	}
	edit(bob, path, "x").Fails(403, "MESSAGE_NOT_EDITABLE")
	edit(eve, path, "x").Fails(404, "MESSAGE_NOT_FOUND")
	edit(ada, path, " ").Fails(400, "MESSAGE_EMPTY")
	edit(ada, path, strings.Repeat("é", 11)).Fails(400, "MESSAGE_TOO_LONG")
	edit(ada, "/messages/nothing", "x").Fails(404, "MESSAGE_NOT_FOUND")
	edit(ada, path, "first").OK(nil) // changes nothing, tells nobody
	listener.Silent()
	var m message
	edit(ada, path, strings.Repeat("é", 10)).OK(&m)
	if !m.IsEdited || m.text() != strings.Repeat("é", 10) || m.N != first.N || m.CreatedAt != first.CreatedAt {
		t.Errorf("edited: %+v", m)
	}
	listener.Expect("message:edited")
	if m := fetch[message](bob, "GET", "/messages/"+reply.ID, nil); m.ReplyTo.text() != strings.Repeat("é", 10) {
		t.Errorf("the reply shows the old text: %+v", m.ReplyTo)
	}
	write(t, s, "UPDATE message SET created_at = created_at - 3600001 WHERE id = ?", first.ID)
	edit(ada, path, "late").Fails(403, "MESSAGE_NOT_EDITABLE")

	bob.Do("DELETE", path, nil).Fails(403, "MESSAGE_NOT_DELETABLE")
	eve.Do("DELETE", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
	for range 2 {
		ada.Do("DELETE", path, nil).OK(&m)
		m.Metadata = fetch[message](bob, "GET", path, nil).Metadata
		if !m.IsDeleted || m.Content != nil && *m.Content != "" || m.Metadata != nil {
			t.Errorf("tombstone: %+v", m)
		}
	}
	listener.Expect("message:deleted")
	listener.Silent()
	edit(ada, path, "x").Fails(403, "MESSAGE_NOT_EDITABLE")
	if n := count(t, s, "SELECT count(*) FROM message WHERE content = ? OR metadata LIKE '%secret%'", strings.Repeat("é", 10)); n != 0 {
		t.Error("the text of a deleted message is still stored")
	}
	list := history(t, bob, room, 2)
	if !slices.Equal(texts(list), []string{"reply"}) || !list[0].ReplyTo.IsDeleted || list[0].ReplyTo.Content != nil {
		t.Errorf("history after the deletion: %+v", list)
	}
	if m := send(ada, room, "n"); m.N != 4 {
		t.Errorf("a deleted message's number is given again: %d", m.N)
	}
}

func TestAnEditWindowOfZeroNeverEnds(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MESSAGE_EDIT_WINDOW=0s")
	ada, bob := s.Register("ada"), s.Register("bob")
	id := ada.Send(ada.Single(bob), "old")
	write(t, s, "UPDATE message SET created_at = 1 WHERE id = ?", id)
	ada.Do("PUT", "/messages/"+id, map[string]any{"content": "new"}).OK(nil)
}

func TestHistoryPagesAreCompleteWhateverIsDeletedBetweenThem(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, other := ada.Single(bob), ada.Group("other", bob)
	ids, want := []string{}, []string{}
	for i := range 41 {
		ids = append(ids, ada.Send(room, fmt.Sprint(i)))
	}
	for i, id := range ids {
		if i%5 == 0 {
			ada.Do("DELETE", "/messages/"+id, nil).OK(nil)
		} else {
			want = append(want, fmt.Sprint(i))
		}
	}
	for _, limit := range []int{1, 3, 8, 33, 100} {
		if got := texts(history(t, bob, room, limit)); !slices.Equal(got, want) {
			t.Errorf("pages of %d: %v", limit, got)
		}
	}
	path := "/messages/conversation/" + room
	if got := fetch[[]message](bob, "GET", path+"?limit=100&before="+ids[10], nil); len(got) != 8 {
		t.Errorf("before a deleted message: %v", texts(got))
	}
	if got := fetch[[]message](bob, "GET", "/messages/conversation/"+room, nil); len(got) != 32 {
		t.Errorf("without a limit: %d", len(got))
	}
	for _, limit := range []string{"0", "-1", "x", "1.5"} {
		bob.Do("GET", path+"?limit="+limit, nil).Fails(400, "VALIDATION")
	}
	bob.Do("GET", path+"?before=nothing", nil).Fails(404, "MESSAGE_NOT_FOUND")
	if got := fetch[[]message](bob, "GET", path+"?before="+ada.Send(other, "x"), nil); len(got) != 32 { // a place in time, as of a message that is gone
		t.Errorf("before a message of elsewhere: %d", len(got))
	}
}
