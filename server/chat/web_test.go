package chat_test

import (
	"encoding/json"
	"testing"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/chat"
)

// viewed is the JSON of a value in a dialect.
func viewed(t *testing.T, value any, d api.Dialect) map[string]any {
	t.Helper()
	raw, err := json.Marshal(api.View(value, d))
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return out
}

// is compares a field with the JSON of what it should be; "" is a field that is absent.
func is(t *testing.T, what string, object map[string]any, field, want string) {
	t.Helper()
	got, ok := object[field]
	raw, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !ok {
		raw = nil
	}
	if string(raw) != want {
		t.Errorf("%s: %s is %s, want %s", what, field, raw, want)
	}
}

func text(s string) *string { return &s }

func number(n int64) *int64 { return &n }

func talk() (*chat.Message, *chat.Message) {
	ada, length := account.Public{MongoID: "a", ID: "a", Username: "ada", DisplayName: "Ada"}, 2.5
	first := &chat.Message{MongoID: "m1", ID: "m1", ConversationID: "c", N: 1, Sender: ada, Type: "text", Content: text(" one ")}
	reply := &chat.Message{
		MongoID: "m2", ID: "m2", ConversationID: "c", N: 2, Sender: ada, Type: "video", ReplyToID: text("m1"), ReplyTo: first, ClientID: text("k"),
		Attachments: []chat.Attachment{{
			Type: "video", URL: "/uploads/videos/x.mp4", FileName: text("x.mp4"), FileSize: number(7), MimeType: text("video/mp4"), Duration: &length, Width: number(3),
		}},
		Reactions:    []chat.Reaction{{Emoji: "👍", UserID: "b", CreatedAt: "t"}, {Emoji: "🎉", UserID: "b"}, {Emoji: "👍", UserID: "a"}},
		ReadReceipts: []chat.Receipt{{UserID: "b", ReadAt: "t"}}, CreatedAt: "2026-01-01T00:00:00.000Z", UpdatedAt: "2026-01-01T00:00:00.000Z",
	}
	return first, reply
}

func TestTheWebFormOfAMessage(t *testing.T) {
	first, reply := talk()
	w := viewed(t, reply, api.DialectWeb)
	is(t, "4.6 Web Message", w, "id", `"m2"`)
	is(t, "0 always emit _id and id", w, "_id", `"m2"`)
	is(t, "4.6 conversationId", w, "conversationId", `"c"`)
	is(t, "4.6 senderId is a string", w, "senderId", `"a"`)
	sender := w["sender"].(map[string]any)
	is(t, "4.6 sender", sender, "id", `"a"`)
	is(t, "4.6 sender", sender, "displayName", `"Ada"`)
	is(t, "4.6 sender: status is one of 2.1", sender, "status", `"offline"`)
	is(t, "6 nobody's e-mail address", sender, "email", `""`)
	is(t, "4.6 type: text image file system", w, "type", `"file"`)
	is(t, "4.7 content is a string", w, "content", `""`)
	is(t, "4.6 readBy ids, the sender first", w, "readBy", `["a","b"]`)
	is(t, "4.6 replyToId", w, "replyToId", `"m1"`)
	is(t, "4.6 attachments {id,name,url,type,size}", w, "attachments",
		`[{"duration":2,"id":"/uploads/videos/x.mp4","mimeType":"video/mp4","name":"x.mp4","size":7,"type":"video","url":"/uploads/videos/x.mp4","width":3}]`)
	is(t, "4.7 reactions [{emoji,userIds,count}]", w, "reactions", `[{"count":2,"emoji":"👍","userIds":["b","a"]},{"count":1,"emoji":"🎉","userIds":["b"]}]`)
	is(t, "4.7 clientId", w, "clientId", `"k"`)
	is(t, "4.6 createdAt", w, "createdAt", `"2026-01-01T00:00:00.000Z"`)
	quoted := w["replyTo"].(map[string]any)
	is(t, "4.6 replyTo is a message", quoted, "senderId", `"a"`)
	is(t, "4.6 content is echoed unchanged", quoted, "content", `" one "`)
	is(t, "4.6 nothing replied to", viewed(t, first, api.DialectWeb), "replyTo", "")

	f := viewed(t, reply, api.DialectFlutter)
	is(t, "4.7 replyTo is an id", f, "replyTo", `"m1"`)
	is(t, "2.1 the types are all known", f, "type", `"video"`)
	is(t, "4.7 senderId is a string", f, "senderId", `"a"`)
	is(t, "2.3 the phone app's form stays", viewed(t, reply, api.DialectMobile), "content", "null")
}

func TestTheWebFormOfAConversation(t *testing.T) {
	_, last := talk()
	ada := chat.Participant{User: account.Public{MongoID: "a", ID: "a", Username: "ada", DisplayName: "Ada", Avatar: text("/uploads/images/a.png")}, Role: "member", UnreadCount: 3, IsMuted: true}
	c := &chat.Conversation{
		MongoID: "c", ID: "c", Type: "single", Participants: []chat.Participant{ada}, Admins: []string{}, CreatedBy: "a", LastMessage: last, UnreadCount: 3,
		LastMessageAt: "2026-01-03T00:00:00.000Z", CreatedAt: "2026-01-01T00:00:00.000Z", UpdatedAt: "2026-01-02T00:00:00.000Z",
	}
	w := viewed(t, c, api.DialectWeb)
	is(t, "4.6 Web Conversation", w, "id", `"c"`)
	is(t, "0 always emit _id and id", w, "_id", `"c"`)
	is(t, "2.1 single is direct", w, "type", `"direct"`)
	is(t, "4.6 unreadCount", w, "unreadCount", "3")
	is(t, "4.6 createdBy", w, "createdBy", `"a"`)
	is(t, "4.6 updatedAt, by which the list is sorted", w, "updatedAt", `"2026-01-03T00:00:00.000Z"`)
	is(t, "4.7 isMuted", w, "isMuted", "true")
	p := w["participants"].([]any)[0].(map[string]any)
	is(t, "4.6 participants are ChatUsers", p, "id", `"a"`)
	is(t, "4.6 participants are ChatUsers", p, "displayName", `"Ada"`)
	is(t, "4.6 participants are ChatUsers", p, "avatar", `"/uploads/images/a.png"`)
	is(t, "2.3 Flutter: userId is a string", p, "userId", `"a"`)
	is(t, "2.3 Flutter: avatarUrl", p, "avatarUrl", `"/uploads/images/a.png"`)
	is(t, "2.3 Flutter: role", p, "role", `"member"`)
	is(t, "4.6 lastMessage", w["lastMessage"].(map[string]any), "replyToId", `"m1"`)
	f := viewed(t, c, api.DialectFlutter)
	is(t, "4.7 lastMessage's replyTo", f["lastMessage"].(map[string]any), "replyTo", `"m1"`)

	changed := viewed(t, chat.ConversationChange{Conversation: c}, api.DialectWeb)
	for _, own := range []string{"unreadCount", "isMuted", "isPinned"} {
		is(t, "4.6 a change is laid over what the client has", changed, own, "")
	}
	is(t, "4.6 conversation:update", changed, "type", `"direct"`)
	is(t, "2.3 the phone app's form stays", viewed(t, chat.ConversationChange{Conversation: c}, api.DialectMobile), "unreadCount", "3")
}

func TestTheWebFormsOfEvents(t *testing.T) {
	first, _ := talk()
	edited := viewed(t, chat.Edited{Message: first, MessageID: "m1", EditedBy: "a"}, api.DialectWeb)
	is(t, "4.6 message:update is the message", edited, "senderId", `"a"`)
	gone := viewed(t, chat.Deletion{MessageID: "m", ConversationID: "c", DeletedBy: "a", DeletedAt: "t"}, api.DialectWeb)
	is(t, "4.6 message:delete {messageId,conversationId}", gone, "messageId", `"m"`)
	is(t, "4.6 message:delete {messageId,conversationId}", gone, "conversationId", `"c"`)
	read := viewed(t, chat.Reading{MessageID: "m", UserID: "u", ConversationID: "c", N: 1, ReadAt: "t"}, api.DialectWeb)
	for field, want := range map[string]string{"conversationId": `"c"`, "userId": `"u"`, "messageId": `"m"`, "readAt": `"t"`} {
		is(t, "4.6 read:receipt {conversationId,userId,messageId}", read, field, want)
	}
	is(t, "4.6 typing {conversationId,userId,isTyping}", viewed(t, chat.Typing{ConversationID: "c", UserID: "u"}, api.DialectWeb), "isTyping", "false")
	if api.View(chat.ParticipantsChange{}, api.DialectWeb) != nil || api.View(chat.ConversationGone{}, api.DialectWeb) != nil {
		t.Error("the web client is told of what it has no event for")
	}
}
