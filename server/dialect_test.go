package server_test

import (
	"encoding/json"
	"net/http"
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

// read decodes an answer that must be a success.
func read[T any](r servertest.Reply) (out T) {
	r.OK(&out)
	return out
}

// contractRoutes are the routes of contract 3.1, 3.3, 3.4 and 3.5 that exist so far, in every spelling.
const contractRoutes = `
3.1 POST /auth/register
3.1 POST /auth/login
3.1 POST /auth/refresh
3.1 POST /auth/token/refresh
3.1 GET /auth/me
3.1 POST /auth/logout
3.1 POST /auth/logout-all
3.1 GET /auth/sessions
3.1 DELETE /auth/sessions/{sessionId}
3.1 DELETE /auth/sessions
3.1 POST /auth/password/change
3.1 POST /auth/password/set
3.1 POST /auth/password/strength
3.1 POST /auth/token/verify
3.3 GET /users/me
3.3 PUT /users/me
3.3 PATCH /users/me
3.3 GET /users/search
3.3 GET /users/{userId}
3.3 PUT /users/me/status
3.3 GET /users/me/settings
3.3 PUT /users/me/settings
3.3 POST /users/me/blocked-users
3.3 GET /users/me/blocked-users
3.3 DELETE /users/me/blocked-users/{userId}
3.4 POST /conversations/single
3.4 POST /conversations/direct/{userId}
3.4 POST /conversations/group
3.4 POST /conversations
3.4 GET /conversations
3.4 GET /conversations/{conversationId}
3.4 PUT /conversations/{conversationId}
3.4 PATCH /conversations/{conversationId}
3.4 PUT /conversations/{conversationId}/participants
3.4 POST /conversations/{conversationId}/participants
3.4 GET /conversations/{conversationId}/participants
3.4 DELETE /conversations/{conversationId}/participants/{participantId}
3.4 POST /conversations/{conversationId}/leave
3.4 PUT /conversations/{conversationId}/read
3.4 POST /conversations/{conversationId}/read
3.4 PUT /conversations/read-all
3.4 PUT /conversations/{conversationId}/mute
3.4 POST /conversations/{conversationId}/mute
3.4 POST /conversations/{conversationId}/unmute
3.4 POST /conversations/{conversationId}/pin
3.4 POST /conversations/{conversationId}/unpin
3.4 POST /conversations/{conversationId}/archive
3.4 POST /conversations/{conversationId}/unarchive
3.4 DELETE /conversations/{conversationId}/archive
3.4 DELETE /conversations/{conversationId}/messages
3.4 DELETE /conversations/{conversationId}
3.4 GET /conversations/unread/count
3.4 GET /conversations/ai-search
3.4 POST /conversations/{conversationId}/pin/{messageId}
3.4 DELETE /conversations/{conversationId}/pin/{messageId}
3.4 GET /conversations/{conversationId}/pinned
3.4 GET /conversations/{conversationId}/messages
3.4 POST /conversations/{conversationId}/messages
3.4 PATCH /conversations/{conversationId}/messages/{messageId}
3.4 DELETE /conversations/{conversationId}/messages/{messageId}
3.4 POST /conversations/{conversationId}/messages/{messageId}/read
3.4 GET /conversations/{conversationId}/messages/search
3.5 POST /messages
3.5 GET /messages/conversation/{conversationId}
3.5 GET /messages/{messageId}
3.5 PUT /messages/{messageId}
3.5 DELETE /messages/{messageId}
3.5 POST /messages/{messageId}/read
3.5 GET /messages/search/query
3.5 POST /messages/{messageId}/reactions
3.5 DELETE /messages/{messageId}/reactions/{emoji}
`

// TestEveryRouteOfTheContractIsThere asks for each with ids of nothing: whatever is answered, it is not that there is
// no such route.
func TestEveryRouteOfTheContractIsThere(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	for _, line := range strings.Split(strings.TrimSpace(contractRoutes), "\n") {
		section, route, _ := strings.Cut(line, " ")
		method, path, _ := strings.Cut(route, " ")
		for strings.Contains(path, "{") {
			before, rest, _ := strings.Cut(path, "{")
			_, after, _ := strings.Cut(rest, "}")
			path = before + "ffffffffffffffffffffffff" + after
		}
		r := ada.Do(method, path, nil)
		var e struct{ Code string }
		if r.Status >= 400 && json.Unmarshal(r.Body, &e) != nil || e.Code == "ROUTE_NOT_FOUND" || e.Code == "METHOD_NOT_ALLOWED" || r.Status >= 500 {
			t.Errorf("%s %s: %d %s", section, route, r.Status, r.Body)
		}
		if r.Status == http.StatusOK && strings.Contains(path, "/logout") || method == "DELETE" && strings.HasSuffix(path, "/sessions") {
			ada.Token = read[struct{ AccessToken string }](s.Nobody().Do("POST", "/auth/login", object{"username": "ada", "password": servertest.Password})).AccessToken
		}
	}
}

// TestTheFlutterClientFindsItsWay holds the paths without prefix (contract 0, 4.7).
func TestTheFlutterClientFindsItsWay(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	opened := read[object](ada.DoRoot("POST", "/conversations/direct/"+bob.ID, object{}))
	room, _ := at(opened, "data", "id").(string)
	if at(opened, "success") != true || room == "" { // 3.4: {success:true,data:Conversation}
		t.Fatalf("direct: %v", opened)
	}
	path := "/conversations/" + room
	first := read[object](ada.DoRoot("POST", path+"/messages", object{"conversationId": room, "type": "text", "content": "one", "attachments": nil, "replyTo": nil, "clientId": "k"}))
	id, _ := first["id"].(string)
	if id == "" || first["senderId"] != ada.ID || first["content"] != "one" || first["clientId"] != "k" || first["isEdited"] != false { // 4.7: senderId is a string
		t.Errorf("sent: %v", first)
	}
	reply := read[object](ada.DoRoot("POST", path+"/messages", object{"content": "two", "replyTo": id}))
	if reply["replyTo"] != id { // 4.7: an id
		t.Errorf("replied: %v", reply)
	}
	list := read[object](bob.DoRoot("GET", "/conversations", nil))
	item := at(list, "data", "items", 0)
	if at(list, "success") != true || at(list, "data", "total") != 1.0 || at(list, "data", "hasMore") != false || at(item, "id") != room || // 0: {success:true,data:{items,...}}
		at(item, "lastMessage", "replyTo") != id || at(item, "unreadCount") != 2.0 || at(item, "type") != "direct" || at(item, "isMuted") != false {
		t.Errorf("list: %v", list)
	}
	for i, who := range []*servertest.User{ada, bob} { // 2.3: userId is a string beside displayName, avatarUrl, role
		p := at(item, "participants", i)
		if at(p, "userId") != who.ID || at(p, "displayName") != strings.ToUpper(who.Name) || at(p, "role") != "member" {
			t.Errorf("participant: %v", p)
		}
	}
	if limited := read[object](bob.DoRoot("GET", "/conversations?limit=1", nil)); at(limited, "data", "items", 0, "id") != room || at(limited, "data", "total") != 1.0 {
		t.Errorf("a page of the list: %v", limited)
	}
	if one := read[object](bob.DoRoot("GET", path, nil)); one["id"] != room || at(one, "participants", 0, "userId") != ada.ID {
		t.Errorf("one: %v", one)
	}
	page := read[object](bob.DoRoot("GET", path+"/messages?limit=50", nil))
	if at(page, "total") != 2.0 || at(page, "messages", 0, "replyTo") != id || at(page, "messages", 1, "id") != id {
		t.Errorf("page: %v", page)
	}
	edited := read[object](ada.DoRoot("PATCH", path+"/messages/"+id, object{"content": "changed"}))
	if edited["content"] != "changed" || edited["senderId"] != ada.ID {
		t.Errorf("edited: %v", edited)
	}
	bob.DoRoot("POST", path+"/messages/"+id+"/read", nil).OK(nil)
	bob.DoRoot("POST", path+"/read", nil).OK(nil)
	ada.DoRoot("DELETE", path+"/messages/"+id, nil).OK(nil)
	s.Nobody().DoRoot("GET", "/conversations", nil).Fails(401, "UNAUTHORIZED")
	s.Register("eve").DoRoot("GET", path+"/messages", nil).Fails(404, "CONVERSATION_NOT_FOUND")

	r := s.Nobody().DoRoot("POST", "/api/auth/v1/token/refresh", object{"refreshToken": ada.Refresh}) // 0: alias all to one handler
	if tokens := read[object](r); tokens["accessToken"] == nil || tokens["refreshToken"] == nil || at(tokens, "user", "id") != ada.ID {
		t.Errorf("refresh: %v", tokens)
	}
	if got := r.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("tokens may be cached: %q", got)
	}
	if me := read[object](ada.DoRoot("GET", "/api/auth/v1/users/me", nil)); me["id"] != ada.ID {
		t.Errorf("me: %v", me)
	}
	if sessions := read[[]any](ada.DoRoot("GET", "/api/auth/v1/sessions", nil)); len(sessions) != 1 {
		t.Errorf("sessions: %v", sessions)
	}
	ada.DoRoot("POST", "/api/auth/v1/logout", nil).OK(nil)
}

// TestAConversationByItsIDReadsEitherWay: the phone app does not ask for it, the others read people in the web form.
func TestAConversationByItsIDReadsEitherWay(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	c := read[object](ada.Do("GET", "/conversations/"+ada.Single(bob), nil))
	p := at(c, "participants", 1)
	if at(c, "type") != "single" || at(p, "userId", "_id") != bob.ID || at(p, "id") != bob.ID || at(p, "displayName") != "BOB" || at(p, "joinedAt") == nil {
		t.Errorf("one conversation: %v", c)
	}
}

// TestOldSpellingsDoTheSame calls each old path below the prefix.
func TestOldSpellingsDoTheSame(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob)
	ada.Send(room, "x")
	// 3.3: add PATCH
	if me := read[object](ada.Do("PATCH", "/users/me", object{"displayName": "Ada L"})); me["displayName"] != "Ada L" || me["username"] != "ada" {
		t.Errorf("PATCH /users/me: %v", me)
	}
	// 3.1: alias of /users/me
	if me := read[object](ada.Do("GET", "/auth/me", nil)); me["displayName"] != "Ada L" || me["id"] != ada.ID {
		t.Errorf("GET /auth/me: %v", me)
	}
	// 3.4: alias PATCH
	if c := read[object](ada.Do("PATCH", "/conversations/"+room, object{"name": "n"})); c["name"] != "n" {
		t.Errorf("PATCH /conversations/:id: %v", c)
	}
	// 3.4: alias POST, and the aliases of the field
	r := ada.Do("POST", "/conversations/"+room+"/participants", object{"userId": carl.ID})
	if c := read[object](r); r.Status != 201 || at(c, "participants", 2, "userId", "_id") != carl.ID {
		t.Errorf("POST /conversations/:id/participants: %d %v", r.Status, c)
	}
	// 3.4: alias POST
	if done := read[object](bob.Do("POST", "/conversations/"+room+"/read", nil)); done["success"] != true {
		t.Errorf("POST /conversations/:id/read: %v", done)
	}
	// 3.1: alias /token/refresh
	if tokens := read[object](s.Nobody().Do("POST", "/auth/token/refresh", object{"refreshToken": bob.Refresh})); tokens["accessToken"] == nil || at(tokens, "user", "_id") != bob.ID {
		t.Errorf("POST /auth/token/refresh: %v", tokens)
	}
}

// TestTheWebClientLearnsOfAGroupItIsAddedTo holds 4.6 conversation:new for those who come later.
func TestTheWebClientLearnsOfAGroupItIsAddedTo(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob)
	web := carl.IO("/")
	ada.Do("POST", "/conversations/"+room+"/participants", object{"userIds": []string{carl.ID}}).OK(nil)
	var c object
	if err := json.Unmarshal(web.Expect("conversation:new").Data, &c); err != nil {
		t.Fatal(err)
	}
	if c["id"] != room || c["name"] != "g" || c["unreadCount"] != 0.0 || at(c, "participants", 2, "id") != carl.ID {
		t.Errorf("added: %v", c)
	}
	var update object
	if err := json.Unmarshal(web.Expect("conversation:update").Data, &update); err != nil {
		t.Fatal(err)
	}
	if _, there := update["unreadCount"]; there || update["id"] != room {
		t.Errorf("updated: %v", update)
	}
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+bob.ID, nil).OK(nil)
	for _, e := range web.Pending() {
		if e.Event != "conversation:update" && e.Event != "message:new" && e.Event != "user:online" && e.Event != "user:offline" {
			t.Errorf("told of what it does not know: %s", e.Raw)
		}
	}
}

// TestWhoWasAwayLearnsOfAGroupUnlessTheyHaveLeftIt: late forms are of today, which is not for those who have gone.
func TestWhoWasAwayLearnsOfAGroupUnlessTheyHaveLeftIt(t *testing.T) {
	s := servertest.Start(t)
	ada, carl := s.Register("ada"), s.Register("carl")
	room := ada.Group("g")
	away := s.IO().Connect("/", carl, map[string]any{"recover": true})
	away.Close()
	away.Code()
	ada.Do("POST", "/conversations/"+room+"/participants", object{"userIds": []string{carl.ID}}).OK(nil)
	back := s.IO().Connect("/", carl, map[string]any{"recover": true, "pid": away.PID})
	if e := back.Expect("conversation:new"); !strings.Contains(string(e.Data), room) {
		t.Errorf("late: %s", e.Raw)
	}
	back.Close()
	back.Code()
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+carl.ID, nil).OK(nil)
	ada.Do("PUT", "/conversations/"+room, object{"name": "secret"}).OK(nil)
	gone := s.IO().Connect("/", carl, map[string]any{"recover": true, "pid": away.PID})
	for _, e := range gone.Pending() {
		if strings.Contains(e.Raw, "secret") || strings.HasPrefix(e.Event, "conversation:") {
			t.Errorf("told of a group they have left: %s", e.Raw)
		}
	}
}
