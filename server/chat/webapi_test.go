package chat_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

type object = map[string]any

// at follows names and numbers into decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch key := p.(type) {
		case string:
			o, _ := v.(object)
			v = o[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

func ids(list any) string {
	out := []string{}
	for _, item := range list.([]any) {
		out = append(out, at(item, "id").(string))
	}
	return strings.Join(out, " ")
}

func TestTheListOfConversationsIsAnArrayOrAPage(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	for i := range 3 {
		ada.Group(fmt.Sprint("g", i), bob)
	}
	room := bob.Single(ada)
	ada.Send(room, "hello")
	// Contract 0: no page or limit, a bare array in the form of the phone app.
	all := fetch[[]any](bob, "GET", "/conversations", nil)
	if len(all) != 4 || at(all, 0, "participants", 0, "userId", "_id") == nil || at(all, 0, "type") != "single" || at(all, 0, "unreadCount") != 1.0 {
		t.Errorf("the bare array: %v", all)
	}
	// Contract 0: with page or limit an object holding conversations, items, total and hasMore.
	for _, c := range []struct {
		query    string
		has      int
		more     bool
		contains bool
	}{
		{"?page=1&limit=20", 4, false, true}, {"?limit=3", 3, true, true}, {"?limit=3&page=2", 1, false, false}, {"?limit=4", 4, false, true},
		{"?page=2", 0, false, false}, {"?page=9&limit=2", 0, false, false}, {"?limit=5000", 4, false, true},
	} {
		page := fetch[object](bob, "GET", "/conversations"+c.query, nil)
		list := at(page, "conversations").([]any)
		if len(list) != c.has || len(at(page, "items").([]any)) != c.has || at(page, "total") != 4.0 || at(page, "hasMore") != c.more {
			t.Errorf("%s: %v", c.query, page)
		}
		if c.contains { // in the form of 4.6
			first := list[0]
			if at(first, "id") != room || at(first, "_id") != room || at(first, "type") != "direct" || at(first, "unreadCount") != 1.0 ||
				at(first, "participants", 1, "id") != bob.ID || at(first, "lastMessage", "senderId") != ada.ID {
				t.Errorf("%s: %v", c.query, first)
			}
		}
	}
	bob.Do("GET", "/conversations?limit=-1", nil).Fails(400, "VALIDATION")
	bob.Do("GET", "/conversations?page=x", nil).Fails(400, "VALIDATION")
	if empty := fetch[object](s.Register("carl"), "GET", "/conversations?page=1", nil); fmt.Sprint(empty) != "map[conversations:[] hasMore:false items:[] total:0]" {
		t.Errorf("nobody's list: %v", empty)
	}
}

func TestOpeningAConversationTheWebWay(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_GROUP_MEMBERS_MAX=4")
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Single(bob)
	open := func(body object) servertest.Reply { return ada.Do("POST", "/conversations", body) }
	for _, body := range []object{
		{"participantIds": []string{bob.ID}}, {"participantIds": []string{bob.ID}, "type": "direct"}, {"participantIds": []string{bob.ID, bob.ID, ada.ID}, "type": "single"},
		{"participants": []string{bob.ID}, "type": "direct", "name": nil, "description": nil}, {"participantIds": bob.ID, "type": "direct", "name": "ignored"},
	} {
		var c object
		r := open(body)
		if r.OK(&c); r.Status != 201 || c["id"] != room || c["type"] != "direct" || at(c, "participants", 1, "displayName") != "BOB" {
			t.Errorf("%v: %d %v", body, r.Status, c)
		}
	}
	for _, body := range []object{
		{"participantIds": []string{bob.ID, carl.ID}}, {"participantIds": []string{bob.ID}, "type": "group"}, {"participantIds": []string{bob.ID}, "name": "n"},
		{"participantIds": []string{}, "type": "group", "name": "alone"},
	} {
		var c object
		if open(body).OK(&c); c["type"] != "group" || c["name"] != body["name"] || c["id"] == room || at(c, "admins", 0) != ada.ID {
			t.Errorf("%v: %v", body, c)
		}
	}
	open(object{"participantIds": []string{ada.ID}}).Fails(400, "SELF_CONVERSATION")
	open(object{"participantIds": []string{}, "type": "direct"}).Fails(400, "VALIDATION")
	open(object{"participantIds": []string{bob.ID, carl.ID}, "type": "direct"}).Fails(400, "VALIDATION")
	open(object{"participantIds": []string{"nobody"}}).Fails(404, "USER_NOT_FOUND")
	open(object{"participantIds": []string{bob.ID, carl.ID}, "name": " "}).Fails(400, "VALIDATION")
	open(object{"participantIds": []string{"a", "b", "c", "d"}}).Fails(400, "GROUP_FULL")
	open(object{"participantIds": []string{bob.ID}, "type": "channel"}).Fails(400, "VALIDATION")

	// Contract 3.4: {success:true,data:Conversation} in the form of the Flutter client.
	var direct object
	if ada.Do("POST", "/conversations/direct/"+bob.ID, object{}).OK(&direct); at(direct, "success") != true || at(direct, "data", "_id") != room ||
		at(direct, "data", "participants", 1, "userId") != bob.ID || at(direct, "data", "type") != "direct" {
		t.Errorf("direct: %v", direct)
	}
	ada.Do("POST", "/conversations/direct/"+carl.ID, nil).OK(&direct)
	ada.Do("POST", "/conversations/direct/"+ada.ID, nil).Fails(400, "SELF_CONVERSATION")
	ada.Do("POST", "/conversations/direct/nobody", nil).Fails(404, "USER_NOT_FOUND")
}

func TestTalkingTheWebWay(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room, other := ada.Single(bob), ada.Group("other", bob)
	path := "/conversations/" + room + "/messages"
	listener := bob.Socket()
	var first, reply object
	r := ada.Do("POST", path, object{"content": " first ", "type": "text", "replyToId": nil})
	if r.OK(&first); r.Status != 201 || first["senderId"] != ada.ID || first["content"] != " first " || at(first, "sender", "displayName") != "ADA" || first["id"] == nil {
		t.Fatalf("sent: %d %v", r.Status, first)
	}
	if m := decode(t, listener.Expect("message:new")); at(m, "_id") != first["id"] || at(m, "senderId", "_id") != ada.ID { // 3.4: must also broadcast message:new
		t.Errorf("told: %v", m)
	}
	id := first["id"].(string)
	body := object{"conversationId": other, "content": "second", "replyToId": id, "clientId": "k", "attachments": nil}
	if ada.Do("POST", path, body).OK(&reply); reply["conversationId"] != room || reply["replyToId"] != id || at(reply, "replyTo", "content") != " first " || reply["clientId"] != "k" {
		t.Errorf("a reply, whatever conversation the body names: %v", reply)
	}
	var again object
	if ada.Do("POST", path, body).OK(&again); again["id"] != reply["id"] {
		t.Errorf("sent twice: %v", again)
	}
	if ada.Do("POST", path, object{"content": "third", "replyTo": id}).OK(&reply); reply["replyToId"] != id {
		t.Errorf("the other spelling: %v", reply)
	}
	ada.Do("POST", path, object{"content": " "}).Fails(400, "MESSAGE_EMPTY")
	ada.Do("POST", path, object{"content": "x", "type": "nonsense"}).Fails(400, "VALIDATION")
	ada.Do("POST", "/conversations/"+other+"/messages", object{"content": "x", "replyTo": id}).Fails(400, "REPLY_NOT_FOUND")
	eve.Do("POST", path, object{"content": "x"}).Fails(404, "CONVERSATION_NOT_FOUND")

	var read object
	r = bob.Do("POST", path+"/"+id+"/read", nil)
	if r.OK(&read); read["success"] != true {
		t.Errorf("read: %v", read)
	}
	page := fetch[object](ada, "GET", path+"?page=1&limit=50", nil)
	oldest := at(page, "messages", 2)
	if at(page, "total") != 3.0 || at(page, "hasMore") != false || at(oldest, "id") != id || fmt.Sprint(at(oldest, "readBy")) != fmt.Sprint([]any{ada.ID, bob.ID}) {
		t.Errorf("the page: %v", page)
	}
	var edited object
	if ada.Do("PATCH", path+"/"+id, object{"content": "changed"}).OK(&edited); edited["content"] != "changed" || edited["isEdited"] != true || edited["senderId"] != ada.ID {
		t.Errorf("edited: %v", edited)
	}
	wrong := "/conversations/" + other + "/messages/" + id
	ada.Do("PATCH", wrong, object{"content": "x"}).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("DELETE", wrong, nil).Fails(404, "MESSAGE_NOT_FOUND")
	bob.Do("POST", wrong+"/read", nil).Fails(404, "MESSAGE_NOT_FOUND")
	bob.Do("PATCH", path+"/"+id, object{"content": "x"}).Fails(403, "MESSAGE_NOT_EDITABLE")
	bob.Do("DELETE", path+"/"+id, nil).Fails(403, "MESSAGE_NOT_DELETABLE")
	for _, what := range []string{"PATCH", "DELETE"} {
		eve.Do(what, path+"/"+id, object{"content": "x"}).Fails(404, "MESSAGE_NOT_FOUND")
	}
	eve.Do("POST", path+"/"+id+"/read", nil).Fails(404, "MESSAGE_NOT_FOUND")
	eve.Do("GET", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	eve.Do("GET", path+"/search?q=changed", nil).Fails(404, "CONVERSATION_NOT_FOUND")

	ada.Do("POST", "/conversations/"+other+"/messages", object{"content": "changed elsewhere"}).OK(nil)
	eventually(t, "the search of a conversation finds its message and no other", func() bool {
		found := fetch[object](bob, "GET", path+"/search?q="+url.QueryEscape("changed"), nil)
		return at(found, "total") == 1.0 && ids(at(found, "messages")) == id && at(found, "messages", 0, "senderId") == ada.ID && at(found, "hasMore") == false
	})
	var gone object
	if ada.Do("DELETE", path+"/"+id, nil).OK(&gone); gone["isDeleted"] != true || gone["content"] != "" {
		t.Errorf("deleted: %v", gone)
	}
}

func TestPagesTheWebWay(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, other := ada.Single(bob), ada.Group("other", bob)
	sent := []string{}
	for i := range 9 {
		sent = append(sent, ada.Send(room, fmt.Sprint(i)))
	}
	path := "/conversations/" + room + "/messages"
	ada.Do("DELETE", path+"/"+sent[4], nil).OK(nil)
	want := func(numbers ...int) string {
		list := []string{}
		for _, n := range numbers {
			list = append(list, sent[n])
		}
		return strings.Join(list, " ")
	}
	for _, c := range []struct {
		query, ids string
		more       bool
		next       any
	}{
		{"", want(8, 7, 6, 5, 3, 2, 1, 0), false, nil},
		{"?limit=8", want(8, 7, 6, 5, 3, 2, 1, 0), false, nil},
		{"?limit=5", want(8, 7, 6, 5, 3), true, sent[3]},
		{"?limit=5&page=1", want(8, 7, 6, 5, 3), true, sent[3]},
		{"?limit=5&page=2", want(2, 1, 0), false, nil},
		{"?limit=5&page=3", "", false, nil},
		{"?limit=2&before=" + sent[3], want(2, 1), true, sent[1]},
		{"?limit=2&before=" + sent[4], want(3, 2), true, sent[2]},
		{"?limit=2&before=" + sent[1], want(0), false, nil},
		{"?limit=3&after=" + sent[2], want(6, 5, 3), true, sent[6]},
		{"?limit=3&after=" + sent[5], want(8, 7, 6), false, nil},
		{"?limit=3&after=" + sent[8], "", false, nil},
		{"?after=" + sent[1] + "&before=" + sent[5], want(3, 2), false, nil},
		{"?limit=1&after=" + sent[1] + "&before=" + sent[5], want(3), true, sent[3]},
		{"?limit=1000", want(8, 7, 6, 5, 3, 2, 1, 0), false, nil},
	} {
		page := fetch[object](bob, "GET", path+c.query, nil)
		if got := ids(at(page, "messages")); got != c.ids || at(page, "hasMore") != c.more || at(page, "nextCursor") != c.next || at(page, "total") != 9.0 {
			t.Errorf("%s: got %v, want %s, more %v", c.query, page, c.ids, c.more)
		}
	}
	elsewhere := ada.Send(other, "x") // a place in time: whether there is such a message is not told
	for query, want := range map[string]string{"?before=": want(8, 7, 6, 5, 3, 2, 1, 0), "?after=": ""} {
		if got := ids(at(fetch[object](bob, "GET", path+query+elsewhere, nil), "messages")); got != want {
			t.Errorf("%s elsewhere: %v", query, got)
		}
		bob.Do("GET", path+query+"nothing", nil).Fails(404, "MESSAGE_NOT_FOUND")
	}
	for _, query := range []string{"?limit=0", "?limit=x", "?page=-1", "?page=1001"} {
		bob.Do("GET", path+query, nil).Fails(400, "VALIDATION")
	}
	// Somebody who joined later sees neither what was before nor how much it was.
	late := s.Register("late")
	for range 3 {
		ada.Send(other, "before")
	}
	ada.Do("POST", "/conversations/"+other+"/participants", object{"userIds": []string{late.ID}}).OK(nil)
	added := everything(t, late, other, 1)[0] // the notice of it
	after := ada.Send(other, "after")
	page := fetch[object](late, "GET", "/conversations/"+other+"/messages", nil)
	if ids(at(page, "messages")) != after+" "+added.ID || at(page, "total") != 2.0 || at(page, "hasMore") != false {
		t.Errorf("somebody new sees %v", page)
	}
}

func decode(t *testing.T, f servertest.Frame) (out object) {
	t.Helper()
	if err := json.Unmarshal(f.Data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestPeopleOfSingleConversationsShowWhetherTheyAreHere holds 2.3 User (populated): status and lastSeen, as the settings say.
func TestPeopleOfSingleConversationsShowWhetherTheyAreHere(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room, other := ada.Single(bob), ada.Single(carl)
	group := ada.Group("g", bob)
	person := func(viewer *servertest.User, path string, who *servertest.User) object {
		t.Helper()
		for _, p := range at(fetch[object](viewer, "GET", path, nil), "participants").([]any) {
			if at(p, "userId", "_id") == who.ID {
				return at(p, "userId").(object)
			}
		}
		t.Fatalf("%s is not there", who.Name)
		return nil
	}
	listener := ada.Socket()
	bob.Socket()
	is(t, "2.3 User status", person(ada, "/conversations/"+room, bob), "status", `"online"`)
	is(t, "2.3 User status", person(ada, "/conversations/"+other, carl), "status", `"offline"`)
	is(t, "presence is asked for in groups", person(ada, "/conversations/"+group, bob), "status", "")
	for _, c := range fetch[[]any](ada, "GET", "/conversations", nil) {
		want := map[string]any{room: "online", other: "offline", group: nil}[at(c, "_id").(string)]
		for i := range 2 {
			if p := at(c, "participants", i, "userId"); at(p, "_id") != ada.ID && at(p, "status") != want {
				t.Errorf("in the list: %v", p)
			}
		}
	}
	web := fetch[object](ada, "GET", "/conversations?limit=5", nil)
	online := 0
	for _, c := range at(web, "conversations").([]any) {
		for _, p := range at(c, "participants").([]any) {
			if at(p, "status") == "online" {
				online++
			}
		}
	}
	if online != 1 {
		t.Errorf("%d are online on the web: %v", online, web)
	}
	bob.Do("PUT", "/users/me/status", object{"status": "busy"}).OK(nil)
	is(t, "2.3 User status", person(ada, "/conversations/"+room, bob), "status", `"busy"`)
	is(t, "4.6 the web client knows no other", at(fetch[object](ada, "GET", "/conversations?limit=1&page=3", nil), "conversations", 0, "participants", 1).(object), "status", `"away"`)
	for name, c := range map[string]struct{ hide, show func() }{
		"a setting": {
			func() { bob.Do("PUT", "/users/me/settings", object{"statusVisibility": "nobody"}).OK(nil) },
			func() { bob.Do("PUT", "/users/me/settings", object{"statusVisibility": "everyone"}).OK(nil) },
		},
		"a setting of the viewer": {
			func() { ada.Do("PUT", "/users/me/settings", object{"lastSeen": false}).OK(nil) },
			func() { ada.Do("PUT", "/users/me/settings", object{"lastSeen": true}).OK(nil) },
		},
		"a block": {
			func() { bob.Do("POST", "/users/me/blocked-users", object{"userId": ada.ID}).OK(nil) },
			func() { bob.Do("DELETE", "/users/me/blocked-users/"+ada.ID, nil).OK(nil) },
		},
	} {
		c.hide()
		hidden := person(ada, "/conversations/"+room, bob)
		is(t, name, hidden, "status", `"offline"`)
		is(t, name, hidden, "lastSeen", "")
		c.show()
		is(t, name+" no longer", person(ada, "/conversations/"+room, bob), "status", `"busy"`)
	}
	for _, f := range listener.Pending() {
		if f.Seq > 0 && strings.Contains(string(f.Raw), `"status"`) {
			t.Errorf("presence in what all members are told: %s", f.Raw)
		}
	}
}
