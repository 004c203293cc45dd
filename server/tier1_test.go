package server_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// This file walks the part of the Tier-1 checklist of contract 4.8 that is about auth, users, conversations and messages,
// in the form that the shipped phone app reads. Every check begins with the line of the contract that it stands for.

// kinds are what a field may be. A kind with a question mark may also be null or absent (contract 1.6, Nulls).
var kinds = map[string]func(v any) bool{
	"id":     func(v any) bool { s, _ := v.(string); return regexp.MustCompile(`^[0-9a-f]{24}$`).MatchString(s) }, // 1.6
	"time":   func(v any) bool { s, _ := v.(string); return isTime(s) },                                           // 1.6
	"string": func(v any) bool { _, ok := v.(string); return ok },
	"bool":   func(v any) bool { _, ok := v.(bool); return ok },
	"number": func(v any) bool { _, ok := v.(float64); return ok },
	"array":  func(v any) bool { _, ok := v.([]any); return ok },
	"object": func(v any) bool { _, ok := v.(object); return ok },
	"false":  func(v any) bool { return v == false },
	"true":   func(v any) bool { return v == true },
	"null":   func(v any) bool { return v == nil },
	"status": func(v any) bool { s, _ := v.(string); return slices.Contains([]string{"online", "offline", "away"}, s) }, // 2.1
	"role": func(v any) bool {
		s, _ := v.(string)
		return slices.Contains([]string{"user", "moderator", "admin", "super_admin"}, s)
	}, // 2.1
	"jwt": func(v any) bool { s, _ := v.(string); return strings.Count(s, ".") == 2 }, // 1.2
}

func isTime(s string) bool {
	at, err := time.Parse("2006-01-02T15:04:05.000Z", s)
	return err == nil && time.Since(at) < time.Hour && time.Until(at) < time.Hour
}

// has checks fields of an object, given as "name:kind name:kind".
func has(t *testing.T, line string, v any, fields string) {
	t.Helper()
	o, ok := v.(object)
	if !ok {
		t.Errorf("%s: not an object: %v", line, v)
		return
	}
	for _, field := range strings.Fields(fields) {
		name, kind, _ := strings.Cut(field, ":")
		value, there := o[name]
		kind, optional := strings.CutSuffix(kind, "?")
		switch fits := kinds[kind]; {
		case fits == nil:
			t.Fatalf("%s: no kind %s", line, kind)
		case value == nil && optional:
		case !there && kind != "null" || !fits(value):
			t.Errorf("%s: %s is %v, want %s", line, name, value, kind)
		}
	}
	if there, second := o["_id"]; second && there != o["id"] {
		t.Errorf("0 always emit _id and id: %s: %v and %v", line, there, o["id"])
	}
}

// is checks one value.
func is(t *testing.T, line string, got, want any) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", line, got, want)
	}
}

// person is a person as others see them: 2.3 User (public).
func person(t *testing.T, line string, v any, who *servertest.User) {
	t.Helper()
	has(t, line+", 2.3 User (public)", v, "_id:id id:id username:string displayName:string phoneNumber:string? avatar:string? bio:string? status:status? lastSeen:time? isVerified:bool")
	is(t, line+", 2.3 User (public) _id", at(v, "_id"), who.ID)
	is(t, line+", 2.3 User (public) displayName", at(v, "displayName"), strings.ToUpper(who.Name))
	private(t, line, v)
}

// private checks that nothing is told of a person that is theirs alone.
func private(t *testing.T, line string, v any) {
	t.Helper()
	for _, field := range []string{"password", "passwordHash", "fcmTokens", "banReason", "bannedAt", "bannedBy", "oauthProviders", "twoFactorSecret", "backupCodes", "email"} {
		if field == "email" && at(v, "role") != nil {
			continue // their own
		}
		if at(v, field) != nil {
			t.Errorf("6 full user documents returned to anyone: %s: %s", line, field)
		}
	}
}

// self is a person as they see themselves: 2.3 User (self/admin).
func self(t *testing.T, line string, v any) {
	t.Helper()
	has(t, line+", 2.3 User (self)", v, `_id:id id:id phoneNumber:string? email:string? username:string displayName:string avatar:string? bio:string?
		status:status lastSeen:time? publicKey:string? isActive:bool isVerified:bool role:role permissions:array isBanned:false linkedDevices:array createdAt:time updatedAt:time`)
	private(t, line, v)
}

// talk is a conversation: 2.3 Conversation, with its participants populated.
func talk(t *testing.T, line string, v any, kind string, people ...*servertest.User) {
	t.Helper()
	has(t, line+", 2.3 Conversation", v, `_id:id id:id type:string name:string? avatar:string? description:string? participants:array admins:array createdBy:id
		lastMessage:object? lastMessageAt:time isArchived:bool isLocked:bool pinnedMessages:array disappearingMessagesTimer:number createdAt:time updatedAt:time`)
	is(t, line+", 2.1 Conversation.type", at(v, "type"), kind)
	list, _ := at(v, "participants").([]any)
	is(t, line+", 2.3 Conversation participants", len(list), len(people))
	for _, who := range people {
		i := slices.IndexFunc(list, func(p any) bool { return at(p, "userId", "_id") == who.ID })
		if i < 0 {
			t.Errorf("%s, 2.3 Participant userId is a User: %s is not there: %v", line, who.Name, list)
			continue
		}
		has(t, line+", 2.3 Participant", list[i], "userId:object joinedAt:time lastReadMessageId:id? unreadCount:number isMuted:bool isPinned:bool")
		person(t, line+", 2.3 Participant", at(list[i], "userId"), who)
	}
	if last := at(v, "lastMessage"); last != nil {
		has(t, line+", 2.3 lastMessage is an object", last, "_id:id senderId:object type:string createdAt:time")
	}
}

// own is somebody's own entry among the participants, by which the phone app finds unreadCount and isMuted (2.3).
func own(v any, who *servertest.User) any {
	list, _ := at(v, "participants").([]any)
	for _, p := range list {
		if at(p, "userId", "_id") == who.ID {
			return p
		}
	}
	return nil
}

// said is a message: 2.3 Message.
func said(t *testing.T, line string, v any, by *servertest.User, room, content string) {
	t.Helper()
	has(t, line+", 2.3 Message", v, `_id:id id:id conversationId:id senderId:object type:string content:string attachments:array reactions:array
		readReceipts:array isEdited:bool isDeleted:false deletedAt:null isForwarded:bool metadata:object? expiresAt:time? createdAt:time updatedAt:time`)
	is(t, line+", 2.3 Message conversationId", at(v, "conversationId"), room)
	is(t, line+", 2.3 Message content", at(v, "content"), content)
	is(t, line+", 2.1 Message.type", at(v, "type"), "text")
	person(t, line+", 2.3 Message senderId", at(v, "senderId"), by)
	if _, there := v.(object)["encryptedContent"]; there {
		t.Errorf("%s, 2.3 do not send encryptedContent", line)
	}
}

// TestTier1Auth walks 4.8 "auth register, login, refresh". Codes by phone are not part of this server yet.
func TestTier1Auth(t *testing.T) {
	s := servertest.Start(t)
	nobody := s.Nobody()
	form := object{"phoneNumber": "+34600111222", "password": "secret", "username": "ada_l", "displayName": "Ada Lovelace", "somethingElse": true}
	r := nobody.Do("POST", "/auth/register", form)
	is(t, "3.1 POST /register: 201", r.Status, 201)
	ada := read[object](r)
	has(t, "3.1 POST /register", ada, "user:object accessToken:jwt refreshToken:string")
	self(t, "3.1 POST /register", ada["user"])
	is(t, "3.1 POST /register phoneNumber", at(ada, "user", "phoneNumber"), "+34600111222")
	is(t, "1.6 email is null when there is none", at(ada, "user", "email"), nil)
	for field, c := range map[string]struct {
		change object
		code   string
	}{"phone": {object{"username": "other"}, "PHONE_TAKEN"}, "username": {object{"phoneNumber": "+34600111223"}, "USERNAME_TAKEN"}} {
		body := object{"phoneNumber": "+34600111222", "password": "secret", "username": "ADA_L", "displayName": "Ada"}
		for k, v := range c.change {
			body[k] = v
		}
		failed := nobody.Do("POST", "/auth/register", body)
		is(t, "3.1 POST /register: 409 "+field, failed.Status, 409)
		failed.Fails(409, c.code)
	}
	failed := nobody.Do("POST", "/auth/register", object{"phoneNumber": "abc", "password": "x", "username": "a", "displayName": "b"})
	is(t, "3.1 POST /register: 400", failed.Status, 400)
	wrong := read4xx(t, failed)
	has(t, "1.4 Validation failure", wrong, "success:false statusCode:number error:string message:string errors:array path:string timestamp:time")
	is(t, "1.4 Validation failure error", wrong["error"], "Validation Error")
	has(t, "1.4 errors[{field, constraints}]", at(wrong, "errors", 0), "field:string constraints:array")

	r = nobody.Do("POST", "/auth/login", object{"phoneNumber": "+34600111222", "password": "secret"})
	is(t, "3.1 POST /login: 200", r.Status, 200)
	in := read[object](r)
	has(t, "3.1 POST /login", in, "user:object accessToken:jwt refreshToken:string requiresTwoFactor:null")
	self(t, "3.1 POST /login", in["user"])
	refused := nobody.Do("POST", "/auth/login", object{"phoneNumber": "+34600111222", "password": "wrong!"})
	is(t, "3.1 POST /login: 401 bad credentials", refused.Status, 401)
	has(t, "1.4 Other HTTP errors", read4xx(t, refused), "success:false statusCode:number error:string code:string message:string path:string timestamp:time requestId:string")
	is(t, "3.1 POST /login: 401 unknown account", nobody.Do("POST", "/auth/login", object{"phoneNumber": "+34999999999", "password": "wrong!"}).Status, 401)

	r = nobody.Do("POST", "/auth/refresh", object{"refreshToken": in["refreshToken"]})
	is(t, "3.1 POST /refresh: 200", r.Status, 200)
	again := read[object](r)
	has(t, "1.2 Refresh reply, top level", again, "user:object accessToken:jwt refreshToken:string")
	self(t, "1.2 Refresh reply", again["user"])
	if again["refreshToken"] == in["refreshToken"] {
		t.Error("3.1 POST /refresh: rotate")
	}
	is(t, "3.1 POST /refresh: 401", nobody.Do("POST", "/auth/refresh", object{"refreshToken": "nothing"}).Status, 401)
	is(t, "1.2 Failure: 401", nobody.Do("GET", "/users/me", nil).Status, 401)
	nobody.Token = ada["accessToken"].(string)
	change := nobody.Do("POST", "/auth/password/change", object{"currentPassword": "wrong!", "newPassword": "Kittens7!Purr"})
	is(t, "1.2 never use 401 outside login: a wrong current password", change.Status, 400)
}

func read4xx(t *testing.T, r servertest.Reply) (out object) {
	t.Helper()
	if err := json.Unmarshal(r.Body, &out); err != nil || r.Status < 400 {
		t.Fatalf("not an error: %d %s", r.Status, r.Body)
	}
	return out
}

// TestTier1Users walks 4.8 "users me (PUT), search, :id".
func TestTier1Users(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	me := read[object](ada.Do("GET", "/users/me", nil))
	self(t, "3.3 GET /me", me)

	picture := ada.Picture()
	changed := read[object](ada.Do("PUT", "/users/me", object{
		"displayName": "Ada L", "username": "ada_l", "email": "Ada@Example.org", "bio": "first", "avatar": "https://old.example.org" + picture,
		"role": "super_admin", "isBanned": true, "password": "hacked!1A", "permissions": []string{"ban_users"}, "isVerified": true, "phoneNumber": "+1", // 6 mass assignment
	}))
	self(t, "3.3 PUT /me", changed)
	for field, want := range (object{"displayName": "Ada L", "username": "ada_l", "email": "ada@example.org", "bio": "first"}) {
		is(t, "3.3 PUT /me "+field, changed[field], want)
	}
	is(t, "3.3 PUT /me avatar", servertest.Shown(changed["avatar"].(string)), servertest.Shown(picture))
	for field, want := range (object{"role": "user", "isVerified": false, "phoneNumber": me["phoneNumber"], "permissions": "[]"}) {
		is(t, "3.3 PUT /me FIX mass assignment: "+field, changed[field], want)
	}
	s.Nobody().Do("POST", "/auth/login", object{"username": "ada_l", "password": servertest.Password}).OK(nil)
	is(t, "3.3 PUT /me: 409 on duplicates", bob.Do("PUT", "/users/me", object{"username": "ADA_L"}).Status, 409)
	is(t, "3.3 PUT /me: 409 on duplicates", bob.Do("PUT", "/users/me", object{"email": "ada@example.org"}).Status, 409)

	found := read[[]any](ada.Do("GET", "/users/search?q=bo", nil))
	is(t, "3.3 GET /search: bare array", len(found), 1)
	person(t, "3.3 GET /search", found[0], bob)
	is(t, "3.3 GET /search (Flutter: query)", len(read[[]any](ada.Do("GET", "/users/search?query=BO", nil))), 1)
	is(t, "3.3 GET /search excluding self", len(read[[]any](bob.Do("GET", "/users/search?q=bob", nil))), 0)
	is(t, "3.3 GET /search FIX min 2 chars", len(read[[]any](ada.Do("GET", "/users/search?q=b", nil))), 0)
	is(t, "3.3 GET /search FIX exact match only for e-mail", len(read[[]any](bob.Do("GET", "/users/search?q=example.org", nil))), 0)
	is(t, "3.3 GET /search FIX exact match for e-mail", len(read[[]any](bob.Do("GET", "/users/search?q=ada@example.org", nil))), 1)
	is(t, "3.3 GET /search FIX no regex", len(read[[]any](ada.Do("GET", "/users/search?q=.*", nil))), 0)

	other := read[object](ada.Do("GET", "/users/"+bob.ID, nil))
	person(t, "3.3 GET /:id", other, bob)
	has(t, "3.3 GET /:id", other, "status:status bio:string? lastSeen:time?")
	is(t, "3.3 GET /:id: 404", ada.Do("GET", "/users/ffffffffffffffffffffffff", nil).Status, 404)
	is(t, "1.6 invalid ids: 404, never 500", ada.Do("GET", "/users/nonsense", nil).Status, 404)
}

// TestTier1Settings walks 4.8 "users me/status, me/settings, me/blocked-users".
func TestTier1Settings(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	socket := bob.Socket() // presence is shown of somebody who is here
	for _, status := range []string{"away", "offline", "online"} {
		me := read[object](bob.Do("PUT", "/users/me/status", object{"status": status}))
		self(t, "3.3 PUT /me/status", me)
		is(t, "3.3 PUT /me/status", at(read[object](ada.Do("GET", "/users/"+bob.ID, nil)), "status"), status)
	}
	is(t, "3.3 PUT /me/status enum check", bob.Do("PUT", "/users/me/status", object{"status": "nonsense"}).Status, 400)

	const all = `_id:id id:id userId:id darkMode:bool autoDownloadMedia:bool saveToGallery:bool pushNotifications:bool messageNotifications:bool
		groupNotifications:bool callNotifications:bool soundEnabled:bool vibrationEnabled:bool showPreview:bool inAppNotifications:bool notificationLight:bool
		readReceipts:bool lastSeen:bool profilePhotoVisibility:string statusVisibility:string twoFactorAuth:bool fingerprintLock:bool blockedUsers:array`
	settings := read[object](ada.Do("GET", "/users/me/settings", nil))
	has(t, "2.3 Settings", settings, all)
	for _, field := range []string{"darkMode", "saveToGallery", "twoFactorAuth", "fingerprintLock"} {
		is(t, "2.3 Settings default of "+field, settings[field], false)
	}
	for _, field := range strings.Fields("autoDownloadMedia pushNotifications messageNotifications groupNotifications callNotifications soundEnabled vibrationEnabled showPreview inAppNotifications notificationLight readReceipts lastSeen") {
		is(t, "2.3 Settings default of "+field, settings[field], true)
	}
	is(t, "2.3 Settings default", settings["profilePhotoVisibility"], "everyone")
	is(t, "2.3 Settings default", settings["statusVisibility"], "everyone")
	is(t, "2.3 Settings userId", settings["userId"], ada.ID)
	for _, secret := range []string{"twoFactorSecret", "backupCodes"} {
		if _, there := settings[secret]; there {
			t.Errorf("3.3 GET /me/settings orig leaks %s", secret)
		}
	}
	changed := read[object](ada.Do("PUT", "/users/me/settings", object{"darkMode": true, "lastSeen": false, "statusVisibility": "contacts", "twoFactorAuth": true, "unknown": 1}))
	has(t, "3.3 PUT /me/settings", changed, all)
	is(t, "3.3 PUT /me/settings booleans", changed["darkMode"], true)
	is(t, "3.3 PUT /me/settings lastSeen is a boolean", changed["lastSeen"], false)
	is(t, "3.3 PUT /me/settings visibility", changed["statusVisibility"], "contacts")
	is(t, "3.3 PUT /me/settings the others stay", changed["soundEnabled"], true)
	is(t, "3.3 PUT /me/settings ignore twoFactorAuth", changed["twoFactorAuth"], false)
	is(t, "3.3 PUT /me/settings kept", fmt.Sprint(read[object](ada.Do("GET", "/users/me/settings", nil))), fmt.Sprint(changed))

	r := bob.Do("POST", "/users/me/blocked-users", object{"userId": ada.ID})
	is(t, "3.3 POST /me/blocked-users: 201", r.Status, 201)
	blocking := read[object](r)
	has(t, "3.3 POST /me/blocked-users: Settings", blocking, all)
	is(t, "2.3 Settings blockedUsers ids", blocking["blockedUsers"], []string{ada.ID})
	list := read[[]any](bob.Do("GET", "/users/me/blocked-users", nil))
	is(t, "3.3 GET /me/blocked-users: array of User", len(list), 1)
	person(t, "3.3 GET /me/blocked-users", list[0], ada)
	is(t, "3.3 FIX blocks on single-chat send", ada.Do("POST", "/messages", object{"conversationId": room, "content": "x"}).Status, 403)
	is(t, "3.3 FIX blocks on search", len(read[[]any](ada.Do("GET", "/users/search?q=bob", nil))), 0)
	is(t, "3.3 FIX blocks on presence", at(read[object](ada.Do("GET", "/users/"+bob.ID, nil)), "status"), "offline")
	is(t, "3.3 FIX blocks on invites", ada.Do("POST", "/conversations/group", object{"name": "g", "participantIds": []string{bob.ID}}).Status, 403)
	is(t, "3.4 POST /single FIX blocked", ada.Do("POST", "/conversations/single", object{"recipientId": bob.ID}).Status, 403)
	freed := read[object](bob.Do("DELETE", "/users/me/blocked-users/"+ada.ID, nil))
	has(t, "3.3 DELETE /me/blocked-users/:userId: Settings", freed, all)
	is(t, "3.3 DELETE /me/blocked-users/:userId", len(freed["blockedUsers"].([]any)), 0)
	ada.Send(room, "x")
	socket.Close()
}

// TestTier1Conversations walks 4.8 "conversations list, single, group, read-all, ai-search, :id/mute, :id/messages (DELETE)".
func TestTier1Conversations(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	is(t, "3.4 GET /: bare array", len(read[[]any](ada.Do("GET", "/conversations", nil))), 0)

	single := read[object](ada.Do("POST", "/conversations/single", object{"recipientId": bob.ID}))
	talk(t, "3.4 POST /single", single, "single", ada, bob)
	room, _ := single["_id"].(string)
	again := read[object](bob.Do("POST", "/conversations/single", object{"participantId": ada.ID}))
	is(t, "3.4 POST /single get-or-create, alias participantId", again["_id"], room)
	is(t, "3.4 POST /single FIX reject self", ada.Do("POST", "/conversations/single", object{"recipientId": ada.ID}).Status, 400)
	is(t, "3.4 POST /single FIX unknown user", ada.Do("POST", "/conversations/single", object{"recipientId": "nobody"}).Status, 404)

	group := read[object](ada.Do("POST", "/conversations/group", object{"name": "Group", "participantIds": []string{bob.ID, carl.ID, bob.ID, ada.ID}, "description": "d"}))
	talk(t, "3.4 POST /group, deduped", group, "group", ada, bob, carl)
	is(t, "3.4 POST /group name", group["name"], "Group")
	is(t, "3.4 POST /group: the creator is the sole admin", group["admins"], []string{ada.ID})
	is(t, "3.4 POST /group createdBy", group["createdBy"], ada.ID)
	talk(t, "3.4 POST /group, alias participants", read[object](ada.Do("POST", "/conversations/group", object{"name": "G2", "participants": []string{carl.ID}})), "group", ada, carl)

	ada.Send(room, "one")
	last := ada.Send(room, "two")
	list := read[[]any](bob.Do("GET", "/conversations", nil))
	is(t, "3.4 GET /: sorted by lastMessageAt desc", at(list, 0, "_id"), room)
	talk(t, "3.4 GET /", list[0], "single", ada, bob)
	said(t, "3.4 GET /: lastMessage populated", at(list, 0, "lastMessage"), ada, room, "two")
	is(t, "2.3 Participant: one's own entry has unreadCount", at(own(list[0], bob), "unreadCount"), 2)
	is(t, "2.3 Participant: nothing of others", at(own(list[0], ada), "unreadCount"), 0)

	r := bob.Do("PUT", "/conversations/"+room+"/mute", object{"isMuted": true})
	has(t, "3.4 PUT /:id/mute", read[object](r), "success:true")
	is(t, "2.3 Participant: one's own entry has isMuted", at(own(find(t, bob, room), bob), "isMuted"), true)
	is(t, "3.4 PUT /:id/mute: per participant", at(own(find(t, ada, room), bob), "isMuted"), false)
	bob.Do("PUT", "/conversations/"+room+"/mute", object{"isMuted": false}).OK(nil)
	is(t, "3.4 PUT /:id/mute off", at(own(find(t, bob, room), bob), "isMuted"), false)

	r = bob.Do("PUT", "/conversations/"+room+"/read", nil)
	has(t, "3.4 PUT /:id/read", read[object](r), "success:true")
	is(t, "3.4 PUT /:id/read: unreadCount 0", at(own(find(t, bob, room), bob), "unreadCount"), 0)
	is(t, "3.4 PUT /:id/read: lastReadMessageId", at(own(find(t, bob, room), bob), "lastReadMessageId"), last)
	ada.Send(room, "three")
	ada.Send(group["_id"].(string), "hello")
	r = bob.Do("PUT", "/conversations/read-all", nil)
	is(t, "3.4 PUT /read-all, orig is shadowed and 500", r.Status, 200)
	has(t, "3.4 PUT /read-all", read[object](r), "success:true")
	for _, c := range read[[]any](bob.Do("GET", "/conversations", nil)) {
		is(t, "3.4 PUT /read-all: unreadCount 0", at(own(c, bob), "unreadCount"), 0)
	}

	for _, spelling := range []string{"query", "q"} {
		r = bob.Do("GET", "/conversations/ai-search?"+spelling+"=group", nil)
		is(t, "3.4 GET /ai-search, orig is shadowed and 500", r.Status, 200)
		recalled := read[object](r)
		has(t, "3.4 GET /ai-search", recalled, "results:array count:number")
		is(t, "3.4 GET /ai-search (alias q) count", recalled["count"], 1)
		has(t, "3.4 GET /ai-search: ...conversation + relevance", at(recalled, "results", 0), "relevance:number")
		talk(t, "3.4 GET /ai-search", at(recalled, "results", 0), "group", ada, bob, carl)
	}

	r = bob.Do("DELETE", "/conversations/"+room+"/messages", nil)
	has(t, "3.4 DELETE /:id/messages", read[object](r), "success:true")
	is(t, "3.4 DELETE /:id/messages: clear for me", len(read[[]any](bob.Do("GET", "/messages/conversation/"+room, nil))), 0)
	is(t, "3.4 DELETE /:id/messages: not for everybody", len(read[[]any](ada.Do("GET", "/messages/conversation/"+room, nil))), 3)
	for _, path := range []string{"/conversations/" + room + "/messages", "/conversations/" + room} {
		is(t, "6 no membership checks: a stranger deletes "+path, carl.Do("DELETE", path, nil).Status, 404)
	}
}

// find is a conversation in somebody's list.
func find(t *testing.T, who *servertest.User, room string) any {
	t.Helper()
	for _, c := range read[[]any](who.Do("GET", "/conversations", nil)) {
		if at(c, "_id") == room {
			return c
		}
	}
	t.Errorf("%s does not have %s in the list", who.Name, room)
	return nil
}

// TestTier1Messages walks 4.8 "messages/conversation/:id, messages/search/query".
func TestTier1Messages(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	r := ada.Do("POST", "/messages", object{"conversationId": room, "type": "text", "content": "hello there", "clientId": "k"})
	is(t, "3.5 POST /: 201", r.Status, 201)
	first := read[object](r)
	said(t, "3.5 POST /", first, ada, room, "hello there")
	is(t, "4.3 clientId echoed", first["clientId"], "k")
	reply := read[object](bob.Do("POST", "/messages", object{"conversationId": room, "content": "hello back", "replyTo": first["_id"], "attachments": []any{}}))
	said(t, "3.5 POST /", reply, bob, room, "hello back")
	ids := []any{first["_id"], reply["_id"]}
	for i := range 58 {
		ids = append(ids, ada.Send(room, fmt.Sprint("m", i)))
	}
	slices.Reverse(ids)

	path := "/messages/conversation/" + room
	page := read[[]any](bob.Do("GET", path, nil))
	is(t, "1.5 cursor: limit 50 by default", len(page), 50)
	for i, m := range page {
		is(t, "1.5 cursor: newest first", at(m, "_id"), ids[i])
	}
	page = read[[]any](bob.Do("GET", path+"?limit=50&before="+at(page, 49, "_id").(string), nil))
	is(t, "1.5 cursor: before is a message id", len(page), 10)
	said(t, "3.5 GET /conversation/:id", page[9], ada, room, "hello there")
	said(t, "3.5 GET /conversation/:id", page[8], bob, room, "hello back")
	quoted := at(page, 8, "replyTo")
	is(t, "2.3 mobile reads replyTo.content", at(quoted, "content"), "hello there")
	is(t, "2.3 mobile reads replyTo.senderId.displayName", at(quoted, "senderId", "displayName"), "ADA")
	is(t, "1.5 FIX cap 100", len(read[[]any](bob.Do("GET", path+"?limit=500", nil))), 60)
	is(t, "3.5 membership check", eve.Do("GET", path, nil).Status, 404)

	one := read[object](bob.Do("GET", "/messages/"+first["_id"].(string), nil))
	said(t, "3.5 GET /:id", one, ada, room, "hello there")
	is(t, "3.5 GET /:id: 404", bob.Do("GET", "/messages/ffffffffffffffffffffffff", nil).Status, 404)
	r = bob.Do("POST", "/messages/"+first["_id"].(string)+"/read", nil)
	is(t, "3.5 POST /:id/read: 201", r.Status, 201)
	has(t, "3.5 POST /:id/read", read[object](r), "success:true")
	one = read[object](ada.Do("GET", "/messages/"+first["_id"].(string), nil))
	has(t, "2.3 ReadReceipt", at(one, "readReceipts", 0), "userId:id readAt:time")
	is(t, "2.3 ReadReceipt userId is an id string", at(one, "readReceipts", 0, "userId"), bob.ID)

	edited := read[object](ada.Do("PUT", "/messages/"+first["_id"].(string), object{"content": "changed"}))
	said(t, "3.5 PUT /:id", edited, ada, room, "changed")
	is(t, "2.3 isEdited", edited["isEdited"], true)
	is(t, "3.5 PUT /:id: own only", bob.Do("PUT", "/messages/"+first["_id"].(string), object{"content": "x"}).Status, 403)

	r = bob.Do("POST", "/messages/"+first["_id"].(string)+"/reactions", object{"emoji": "👍"})
	reacted := read[object](r)
	has(t, "2.3 Reaction", at(reacted, "reactions", 0), "emoji:string userId:id createdAt:time")
	is(t, "2.3 Reaction userId is an id string", at(reacted, "reactions", 0, "userId"), bob.ID)
	bob.Do("POST", "/messages/"+first["_id"].(string)+"/reactions", object{"emoji": "👍"}).OK(&reacted)
	is(t, "3.5 POST /:id/reactions: idempotent", len(at(reacted, "reactions").([]any)), 1)
	bob.Do("DELETE", "/messages/"+first["_id"].(string)+"/reactions/"+url.PathEscape("👍"), nil).OK(&reacted)
	is(t, "3.5 DELETE /:id/reactions/:emoji: url-encoded", len(at(reacted, "reactions").([]any)), 0)

	app := bob.IO("/chat") // the phone app forwards by the socket alone, one message at a time
	var forward object
	if err := json.Unmarshal(app.Ask("message:send", object{
		"conversationId": room, "type": "text", "content": "changed", "isForwarded": true, "forwardedFrom": first["_id"],
	}).OK().Message, &forward); err != nil {
		t.Fatal(err)
	}
	said(t, "4.3 message:send isForwarded?, forwardedFrom?", forward, bob, room, "changed")
	is(t, "2.3 isForwarded", forward["isForwarded"], true)
	is(t, "2.3 forwardedFrom", forward["forwardedFrom"], first["_id"])
	bob.Do("DELETE", "/messages/"+forward["_id"].(string), nil).OK(nil)

	gone := read[object](ada.Do("DELETE", "/messages/"+first["_id"].(string), nil))
	has(t, "3.5 DELETE /:id: tombstone", gone, "_id:id conversationId:id isDeleted:true deletedAt:time content:null attachments:array")
	is(t, "3.5 DELETE /:id: attachments []", len(at(gone, "attachments").([]any)), 0)
	is(t, "3.5 DELETE /:id: own only", bob.Do("DELETE", "/messages/"+ids[0].(string), nil).Status, 403)
	is(t, "3.5 GET /conversation/:id: deleted ones excluded", len(read[[]any](bob.Do("GET", path+"?limit=100", nil))), 59)

	var found object
	for deadline := time.Now().Add(servertest.Patience); len(found) == 0 || at(found, "total") != 1.0; time.Sleep(10 * time.Millisecond) {
		found = read[object](ada.Do("GET", "/messages/search/query?q=back&limit=50&type=text", nil))
		if time.Now().After(deadline) {
			t.Fatalf("3.5 GET /search/query: %v", found)
		}
	}
	has(t, "3.5 GET /search/query", found, "messages:array items:array total:number")
	said(t, "3.5 GET /search/query: mobile reads items", at(found, "items", 0), bob, room, "hello back")
	is(t, "3.5 GET /search/query: items = messages", at(found, "items", 0, "_id"), at(found, "messages", 0, "_id"))
	is(t, "3.5 GET /search/query: own conversations", at(read[object](eve.Do("GET", "/messages/search/query?q=back", nil)), "total"), 0)
	is(t, "3.5 GET /search/query: orig trusts conversationId", eve.Do("GET", "/messages/search/query?q=back&conversationId="+room, nil).Status, 404)
}
