package chat_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

const day = 24 * time.Hour

// timed is what these tests read of a conversation, and of a message.
type timed struct {
	conversation
	DisappearingMessagesTimer     int64
	DisappearingMessagesUpdatedAt *string
	DisappearingMessagesUpdatedBy *string
}

type mortal struct {
	message
	ExpiresAt *time.Time
	IsExpired *bool
}

func setTimer(u *servertest.User, room string, seconds int) servertest.Reply {
	return u.Do("PUT", "/conversations/"+room+"/disappearing-messages", map[string]any{"timer": seconds})
}

// gone reads a message:deleted as shipped clients do, and what it says beyond that.
func gone(t *testing.T, f servertest.Frame) (messageID, conversationID string, expired bool) {
	t.Helper()
	var d struct {
		MessageID, ConversationID, DeletedBy, DeletedAt string
		Expired                                         bool
	}
	if err := json.Unmarshal(f.Data, &d); err != nil {
		t.Fatal(err)
	}
	if d.Expired != (d.DeletedBy == "") || d.DeletedAt == "" {
		t.Errorf("not complete: %s", f.Raw)
	}
	return d.MessageID, d.ConversationID, d.Expired
}

func TestTheTimerHasFourValuesAndIsForAdminsToSet(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	group, single := ada.Group("g", bob), ada.Single(bob)
	live := bob.Socket()
	path := "/conversations/" + group + "/disappearing-messages"
	for _, test := range []struct {
		body  string
		timer int64 // -1 is refused
	}{
		{`{"timer":86400}`, 86400}, {`{"timer":604800}`, 604800}, {`{"timer":2592000}`, 2592000}, {`{"timer":0}`, 0},
		{`{"enabled":true,"duration":604800}`, 604800}, {`{"enabled":false,"duration":86400}`, 0}, {`{"duration":86400}`, 86400}, {`{"enabled":false}`, 0},
		{`{"enabled":true,"duration":0}`, -1}, {`{"enabled":true}`, -1}, {`{}`, -1}, {`{"timer":null}`, -1}, {`{"timer":1}`, -1}, {`{"timer":-86400}`, -1},
		{`{"timer":86401}`, -1}, {`{"timer":"86400"}`, -1}, {`{"timer":86400.5}`, -1}, {`{"timer":true}`, -1}, {`{"timer":9223372036854775808}`, -1}, {``, -1}, {`[]`, -1},
	} {
		was := fetch[timed](ada, "GET", "/conversations/"+group, nil)
		r := ada.Do("PUT", path, test.body)
		if test.timer < 0 {
			if r.Status != 400 {
				t.Errorf("%s: %d %s", test.body, r.Status, r.Body)
			}
			continue
		}
		var c timed
		r.OK(&c)
		if c.DisappearingMessagesTimer != test.timer || c.DisappearingMessagesUpdatedAt == nil || c.DisappearingMessagesUpdatedBy == nil || *c.DisappearingMessagesUpdatedBy != ada.ID {
			t.Errorf("%s: %s", test.body, r.Body)
		}
		if was.DisappearingMessagesTimer != test.timer {
			var told timed
			if err := json.Unmarshal(live.Until("conversation:updated").Data, &told); err != nil || told.DisappearingMessagesTimer != test.timer {
				t.Errorf("%s: told %+v", test.body, told)
			}
		}
		label := map[int64]string{0: "Off", 86400: "24 hours", 604800: "7 days", 2592000: "30 days"}[test.timer]
		want := fmt.Sprintf(`{"enabled":%v,"timer":%d,"timerLabel":"%s"}`, test.timer > 0, test.timer, label)
		if r := bob.Do("GET", path, nil); r.Status != 200 || strings.TrimSpace(string(r.Body)) != want {
			t.Errorf("%s: %d %s, want %s", test.body, r.Status, r.Body, want)
		}
	}
	before := fetch[timed](ada, "GET", "/conversations/"+group, nil)
	live.Pending()
	setTimer(ada, group, int(before.DisappearingMessagesTimer)).OK(nil)
	live.Silent()
	if c := fetch[timed](bob, "GET", "/conversations/"+group, nil); *c.DisappearingMessagesUpdatedAt != *before.DisappearingMessagesUpdatedAt {
		t.Error("setting what is set changed something")
	}
	setTimer(bob, group, 86400).Fails(403, "NOT_ADMIN")
	setTimer(eve, group, 86400).Fails(404, "CONVERSATION_NOT_FOUND")
	eve.Do("GET", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	setTimer(bob, single, 86400).OK(nil)
	write(t, s, "UPDATE conversation SET is_locked = 1 WHERE id = ?", single)
	setTimer(ada, single, 0).Fails(403, "CONVERSATION_LOCKED")
	socket := ada.Socket()
	if f := socket.Ask("conversation:disappearing", map[string]any{"conversationId": single}); !f.OK || !strings.Contains(string(f.Data), `"24 hours"`) {
		t.Errorf("by socket: %s", f.Raw)
	}
	if f := socket.Ask("conversation:disappear", map[string]any{"conversationId": group, "timer": 5}); f.OK || f.Error.Code != "VALIDATION" {
		t.Errorf("by socket: %s", f.Raw)
	}
}

func TestWhatIsSentUnderATimerExpiresAndNothingElse(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_EVENT_RETENTION=8760h")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	lasting := ada.Send(room, "sent before the timer")
	setTimer(ada, room, 86400).OK(nil)
	live := bob.Socket()
	start := live.Seq
	brief := fetch[mortal](ada, "POST", "/messages", draft(room, "for a day"))
	var told mortal
	if err := json.Unmarshal(live.Expect("message:new").Data, &told); err != nil {
		t.Fatal(err)
	}
	got := fetch[mortal](bob, "GET", "/messages/"+brief.ID, nil)
	for what, m := range map[string]mortal{"answered": brief, "told": told, "read": got} {
		created, err := time.Parse(time.RFC3339, m.CreatedAt)
		if err != nil || m.ExpiresAt == nil || !m.ExpiresAt.Equal(created.Add(day)) || m.IsExpired == nil || *m.IsExpired {
			t.Errorf("%s: %+v", what, m)
		}
	}
	s.Advance(time.Hour)
	setTimer(ada.Refreshed(), room, 604800).OK(nil)
	ada.Do("PUT", "/messages/"+brief.ID, map[string]any{"content": "for a day, edited"}).OK(nil)
	if m := fetch[mortal](ada, "GET", "/messages/"+brief.ID, nil); !m.IsEdited || !m.ExpiresAt.Equal(*brief.ExpiresAt) {
		t.Errorf("edited: %+v", m)
	}
	longer := fetch[mortal](ada, "POST", "/messages", draft(room, "for a week", map[string]any{"replyTo": brief.ID}))
	setTimer(ada, room, 0).OK(nil)
	if m := fetch[mortal](ada, "POST", "/messages", draft(room, "for ever")); m.ExpiresAt != nil {
		t.Errorf("without a timer: %+v", m)
	}
	live.Pending()

	s.Advance(23*time.Hour - time.Minute)
	ada.Refreshed()
	if list := texts(history(t, ada, room, 10)); len(list) != 4 {
		t.Errorf("a minute before: %v", list)
	}
	live.Silent()
	s.Advance(2 * time.Minute)
	if id, conversation, expired := gone(t, live.Expect("message:deleted")); id != brief.ID || conversation != room || !expired {
		t.Error("another one is told to be gone")
	}
	live.Silent()
	if list := texts(history(t, ada, room, 10)); !slices.Equal(list, []string{"sent before the timer", "for a week", "for ever"}) {
		t.Errorf("after a day: %v", list)
	}
	reply := fetch[mortal](ada, "GET", "/messages/"+longer.ID, nil)
	if reply.ReplyTo != nil || reply.ReplyToID == nil {
		t.Errorf("the reply shows %+v", reply)
	}
	s.Advance(6*day + time.Hour)
	ada.Refreshed()
	if id, _, _ := gone(t, live.Expect("message:deleted")); id != longer.ID {
		t.Error("another one is told to be gone")
	}
	s.Advance(-7 * day) // what is gone does not come back
	if list := history(t, ada, room, 10); len(list) != 2 || list[0].N != 4 || list[1].N != 1 || list[1].ID != lasting {
		t.Errorf("in the end: %v", list)
	}
	if n := send(ada, room, "new").N; n != 5 {
		t.Errorf("number %d", n)
	}
	want := []string{"message:deleted", "conversation:updated", "conversation:updated", "message:new for ever", "message:deleted", "message:deleted", "message:new new"}
	if late := drainAll(t, bob.Refreshed().Resume(start).Pending()); !slices.Equal(late, slices.Delete(want, 0, 1)) {
		t.Errorf("late: %q", late)
	}
}

// drainAll returns the kinds of the log's events, with the texts of messages.
func drainAll(t *testing.T, frames []servertest.Frame) (kinds []string) {
	t.Helper()
	for _, f := range frames {
		var m message
		if f.Seq == 0 {
			continue
		}
		if err := json.Unmarshal(f.Data, &m); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, strings.TrimSpace(f.Event+" "+m.text()))
	}
	return kinds
}

// TestNoDoorShowsWhatHasExpired looks at a message that has expired and is still in the table, as it is for the seconds
// before it is removed, and for good when a legal hold keeps it.
func TestNoDoorShowsWhatHasExpired(t *testing.T) {
	for _, held := range []bool{false, true} {
		s := servertest.Start(t)
		ada, bob := s.Register("ada"), s.Register("bob")
		room := ada.Single(bob)
		path := "/conversations/" + room
		first := send(ada, room, "one")
		start := bob.Socket().Seq
		key := map[string]any{"clientId": "c"}
		secret := send(ada, room, "the secret", key)
		reply := send(ada, room, "reply", map[string]any{"replyTo": secret.ID})
		ada.Do("PUT", "/messages/"+secret.ID, map[string]any{"content": "the secret edited"}).OK(nil)
		ada.Do("POST", path+"/pin/"+secret.ID, nil).OK(nil)
		react(bob, secret.ID, "👍").OK(nil)
		last := send(ada, room, "the secret last")
		if held {
			write(t, s, "UPDATE message SET legal_hold = 1 WHERE id = ?", secret.ID)
			write(t, s, "UPDATE conversation SET legal_hold = 1 WHERE id = ?", room)
		}
		eventually(t, "the index is there", func() bool { _, n := found(bob, "secret", ""); return n == 2 })
		write(t, s, "UPDATE message SET expires_at = ? WHERE id IN (?, ?)", s.Now().Add(-time.Millisecond).UnixMilli(), secret.ID, last.ID)
		if held {
			socket := bob.Socket()
			s.Advance(time.Second)
			for range 2 {
				if _, _, expired := gone(t, socket.Until("message:deleted")); !expired {
					t.Error("deleted by somebody")
				}
			}
			if n := count(t, s, "SELECT count(*) FROM message WHERE content LIKE 'the secret%'"); n != 2 {
				t.Errorf("%d of 2 held messages are kept", n)
			}
			s.Advance(-day) // whatever the clock does
			s.Stop()
			s.Boot()
		}
		for _, door := range []string{
			"/messages/conversation/" + room, path + "/messages", path + "/messages?after=" + first.ID, "/messages/" + reply.ID, "/conversations", "/conversations?page=1", path, path + "/pinned",
			path + "/participants", "/messages/search/query?q=secret", "/messages/search/query?q=edited&conversationId=" + room, path + "/messages/search?q=secret",
		} {
			r := bob.Do("GET", door, nil)
			if r.OK(nil); strings.Contains(string(r.Body), "the secret") || strings.Contains(string(r.Body), "👍") {
				t.Errorf("held %v: %s shows it: %s", held, door, r.Body)
			}
		}
		if list, _ := found(bob, "secret", ""); len(list) != 0 {
			t.Errorf("held %v: search finds %v", held, texts(list))
		}
		for _, r := range []servertest.Reply{
			bob.Do("GET", "/messages/"+secret.ID, nil), ada.Do("PUT", "/messages/"+secret.ID, map[string]any{"content": "x"}), ada.Do("DELETE", "/messages/"+secret.ID, nil),
			react(bob, secret.ID, "🎉"), unreact(bob, secret.ID, "👍"), bob.Do("POST", "/messages/"+secret.ID+"/read", nil), bob.Do("PUT", path+"/read", map[string]any{"messageId": secret.ID}),
			bob.Do("POST", path+"/pin/"+secret.ID, nil),
		} {
			r.Fails(404, "MESSAGE_NOT_FOUND")
		}
		bob.Do("POST", "/messages", draft(room, "x", map[string]any{"replyTo": secret.ID})).Fails(400, "REPLY_NOT_FOUND")
		c := fetch[own](bob, "GET", path, nil)
		if c.UnreadCount != 2 || c.LastMessage == nil || c.LastMessage.ID != reply.ID || len(c.PinnedMessages) != 0 {
			t.Errorf("held %v: the conversation is %+v", held, c)
		}
		if n := fetch[struct{ Count int }](bob, "GET", "/conversations/unread/count", nil).Count; n != 2 {
			t.Errorf("held %v: %d unread", held, n)
		}
		again := fetch[mortal](ada, "POST", "/messages", draft(room, "the secret", key))
		if again.ID != secret.ID || again.Content != nil || again.IsExpired == nil || !*again.IsExpired || !again.IsDeleted {
			t.Errorf("held %v: sent again: %+v", held, again)
		}
		late := bob.Resume(start).Pending()
		for _, f := range late {
			if strings.Contains(string(f.Raw), "the secret") || strings.Contains(f.Event, "reaction") || f.Event == "message:pinned" {
				t.Errorf("held %v: told late: %s", held, f.Raw)
			}
		}
		if held {
			write(t, s, "UPDATE message SET legal_hold = 0")
			s.Advance(2 * time.Hour)
			if n := count(t, s, "SELECT count(*) FROM message WHERE id = ?", secret.ID); n != 1 {
				t.Error("removed while the conversation is held")
			}
			write(t, s, "UPDATE conversation SET legal_hold = 0")
			s.Advance(2 * time.Hour)
			eventually(t, "what was held is removed after the hold has ended", func() bool {
				return count(t, s, "SELECT count(*) FROM message WHERE id IN (?, ?)", secret.ID, last.ID) == 0
			})
		}
		s.Stop()
	}
}

func TestWhatHasExpiredLeavesNoRowAndNobodyHearsOfItWhoNeverSawIt(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, dora := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora")
	room := ada.Group("g", bob, dora)
	path := "/conversations/" + room
	setTimer(ada, room, 86400).OK(nil)
	sent := []string{}
	for i := range 130 { // several writes of the sweeper
		sent = append(sent, ada.Send(room, fmt.Sprint("text ", i)))
	}
	kept := count(t, s, "SELECT last_n FROM conversation WHERE id = ?", room)
	bob.Do("PUT", path+"/read", map[string]any{"messageId": sent[9]}).OK(nil)
	ada.Do("PUT", "/messages/"+sent[3], map[string]any{"content": "changed"}).OK(nil)
	ada.Do("DELETE", "/messages/"+sent[4], nil).OK(nil)
	ada.Do("POST", path+"/pin/"+sent[5], nil).OK(nil)
	react(bob, sent[6], "👍").OK(nil)
	hide(bob, sent[8]).OK(nil)
	dora.Do("DELETE", path+"/messages", nil).OK(nil)
	for _, row := range []struct {
		insert string
		args   []any
	}{
		{"INSERT INTO mention (user_id, conversation_id, n, message_id) SELECT ?, conversation_id, n, id FROM message WHERE id = ?", []any{bob.ID, sent[7]}},
		{"INSERT INTO message_edit (message_id, at, content, by) VALUES (?, 1, 'before', ?) ON CONFLICT DO NOTHING", []any{sent[3], ada.ID}},
	} {
		write(t, s, row.insert, row.args...)
	}
	ada.Do("PUT", path+"/participants", map[string]any{"participantIds": []string{carl.ID}}).OK(nil)
	listeners := map[string]*servertest.Socket{"ada": ada.Socket(), "bob": bob.Socket(), "carl": carl.Socket(), "dora": dora.Socket()}
	start := listeners["ada"].Seq
	s.Advance(day + time.Second)
	eventually(t, "all are removed", func() bool { return count(t, s, "SELECT count(*) FROM message WHERE expires_at IS NOT NULL") == 0 })
	for _, table := range []string{"reaction", "mention", "message_edit", "pinned_message"} {
		if n := count(t, s, "SELECT count(*) FROM "+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
	people := map[string]*servertest.User{"ada": ada.Refreshed(), "bob": bob.Refreshed(), "carl": carl.Refreshed(), "dora": dora.Refreshed()}
	for name, want := range map[string]int{"ada": 129, "bob": 128, "carl": 0, "dora": 0} { // one was deleted before, one hidden
		live, late := logged(listeners[name].Pending()), logged(people[name].Resume(start).Pending())
		if len(live) != want || len(late) != want {
			t.Fatalf("%s is told %d live and %d late, want %d", name, len(live), len(late), want)
		}
		for i := range live {
			if string(live[i].Raw) != string(late[i].Raw) {
				t.Errorf("live %s, late %s", live[i].Raw, late[i].Raw)
			}
			if id, _, expired := gone(t, live[i]); !expired || id == sent[4] || !slices.Contains(sent, id) {
				t.Errorf("told %s", live[i].Raw)
			}
		}
	}

	// Numbers have a gap now, and everything that goes by them does.
	if c := fetch[conversation](bob, "GET", path, nil); c.UnreadCount != 0 || c.LastMessage != nil && slices.Contains(sent, c.LastMessage.ID) || c.LastN < kept {
		t.Errorf("the conversation is %+v", c)
	}
	setTimer(ada, room, 0).OK(nil)
	m := send(ada, room, "after the gap")
	if m.N <= kept {
		t.Errorf("number %d was given before", m.N)
	}
	if got := history(t, bob, room, 10); got[0].ID != m.ID || slices.ContainsFunc(got, func(m message) bool { return slices.Contains(sent, m.ID) }) {
		t.Errorf("history: %v", texts(got))
	}
	for _, page := range []struct {
		query string
		has   bool
	}{{"before=" + sent[20], false}, {"after=" + sent[20], true}, {"before=" + m.ID, false}, {"after=" + m.ID, false}} {
		r := bob.Do("GET", path+"/messages?"+page.query, nil)
		if r.OK(nil); strings.Contains(string(r.Body), m.ID) != page.has {
			t.Errorf("%s: %s", page.query, r.Body)
		}
	}
	bob.Do("GET", "/messages/conversation/"+room+"?before="+sent[20], nil).OK(nil)
	if c := fetch[conversation](bob, "GET", path, nil); c.UnreadCount != 1 {
		t.Errorf("%d unread", c.UnreadCount)
	}
	bob.Do("PUT", path+"/read", nil).OK(nil)
	if c := fetch[conversation](bob, "GET", path, nil); c.UnreadCount != 0 {
		t.Errorf("%d unread after reading", c.UnreadCount)
	}
}

func TestReadingToTheEndWorksWhenTheEndIsGone(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	setTimer(ada, room, 86400).OK(nil)
	ada.Send(room, "gone tomorrow")
	live := ada.Socket()
	s.Advance(day + time.Second)
	live.Expect("message:deleted")
	bob.Refreshed().Do("PUT", "/conversations/"+room+"/read", nil).OK(nil)
	bob.Do("PUT", "/conversations/read-all", nil).OK(nil)
	var reading struct {
		N         int64
		MessageID *string
	}
	if err := json.Unmarshal(live.Expect("message:read").Data, &reading); err != nil || reading.N != 1 || reading.MessageID == nil || *reading.MessageID != "" {
		t.Errorf("told %+v, %v", reading, err)
	}
	live.Silent()
}

func TestWhatExpiresWhileTheServerIsDownIsRemovedAtItsStart(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	setTimer(ada, room, 86400).OK(nil)
	start := bob.Socket().Seq
	id := ada.Send(room, "gone tomorrow")
	s.Stop()
	s.Advance(day + time.Second)
	s.Boot()
	eventually(t, "it is removed", func() bool { return count(t, s, "SELECT count(*) FROM message") == 0 })
	late := logged(bob.Refreshed().Resume(start).Pending())
	if len(late) != 1 {
		t.Fatalf("told %d events", len(late))
	}
	if gone, _, expired := gone(t, late[0]); gone != id || !expired {
		t.Errorf("told %s", late[0].Raw)
	}
}

// logged are the frames of the log among those given.
func logged(frames []servertest.Frame) []servertest.Frame {
	return slices.DeleteFunc(frames, func(f servertest.Frame) bool { return f.Seq == 0 })
}

func TestTheSweeperFindsWhatExpiresByItsIndex(t *testing.T) {
	s := servertest.Start(t)
	for _, query := range []string{
		"SELECT coalesce(min(expires_at), 0) FROM message WHERE expires_at > 0",
		"SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id WHERE x.expires_at > 0 AND x.expires_at <= 5 ORDER BY x.expires_at LIMIT 5",
		"SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id WHERE x.expires_at < 0 AND x.legal_hold = 0 AND c.legal_hold = 0 LIMIT 5",
	} {
		err := s.Inner.Store().Read(context.Background(), func(v storage.View) error {
			rows, err := v.Query("EXPLAIN QUERY PLAN " + query)
			if err != nil {
				return err
			}
			defer rows.Close()
			plan := ""
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				plan += detail + "\n"
			}
			if !strings.Contains(plan, "INDEX message_expiry") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s\n%s", query, plan)
			}
			return rows.Err()
		})
		must(t, err)
	}
}
