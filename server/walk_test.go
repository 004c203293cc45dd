package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// world is a server with something to spy on: ada and bob talk, carl was removed, dora is banned, eve is a stranger, and
// flo is somebody whom ada has blocked.
type world struct {
	*servertest.Server
	ada, bob, carl, dora, eve, flo, nobody *servertest.User
	group, single, message                 string
	device                                 string // of ada
	media, file                            string // of the message: the id and the path of its attachment
	call, huddle                           string // of ada with bob, and in the group
}

const secretText = "the-hidden-treasure"

func newWorld(t *testing.T) *world {
	s := servertest.Start(t)
	w := &world{Server: s, nobody: s.Nobody()}
	w.ada, w.bob, w.carl, w.dora, w.eve, w.flo = s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora"), s.Register("eve"), s.Register("flo")
	w.group = w.ada.Group("secret circle", w.bob, w.carl, w.dora)
	w.single = w.ada.Single(w.bob)
	w.ada.Send(w.group, "@carl @eve @flo: "+secretText)
	w.ada.Do("DELETE", "/conversations/"+w.group+"/participants/"+w.carl.ID, nil).OK(nil)
	w.attach(t)
	w.ada.Send(w.single, secretText)
	w.ada.Do("POST", "/conversations/"+w.group+"/pin/"+w.message, nil).OK(nil)
	w.device = "adas-phone"
	w.ada.Do("POST", "/users/me/linked-devices", map[string]any{"deviceId": w.device, "deviceName": "phone", "fcmToken": "adas-token"}).OK(nil)
	w.ada.Do("POST", "/users/me/contacts", map[string]any{"userId": w.bob.ID}).OK(nil)
	w.ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": w.flo.ID}).OK(nil)
	w.ada.Socket() // something for fan-out to reach
	var begun struct {
		ID     string `json:"_id"`
		RoomID string `json:"roomId"`
	}
	w.ada.Do("POST", "/calls", map[string]any{"type": "audio", "conversationId": w.single}).OK(&begun)
	w.call = begun.ID
	w.ada.Do("POST", "/huddle", map[string]any{"type": "audio", "chatId": w.group}).OK(&begun)
	w.huddle = begun.RoomID
	return w
}

// attach has ada send the message, with a file.
func (w *world) attach(t *testing.T) {
	t.Helper()
	var up struct {
		ID  string `json:"_id"`
		URL string
	}
	w.ada.Upload("/upload/file", servertest.File{Part: "file", Name: "secret circle.txt", Content: []byte(secretText)}).OK(&up)
	var sent struct {
		ID string `json:"_id"`
	}
	w.ada.Do("POST", "/messages", map[string]any{
		"conversationId": w.group, "content": secretText, "attachments": []map[string]any{{"type": "file", "url": up.URL}},
	}).OK(&sent)
	address, _, _ := strings.Cut(up.URL, "?")
	w.message, w.media, w.file = sent.ID, up.ID, path.Base(address)
}

// ids are what a path parameter may be replaced by.
func (w *world) fill(path, with string) string {
	real := map[string]string{
		"{conversationId}": w.group, "{messageId}": w.message, "{userId}": w.ada.ID, "{participantId}": w.bob.ID,
		"{sessionId}": w.ada.SessionID, "{inviteId}": w.group, "{emoji}": "👍", "{deviceId}": w.device,
		"{mediaId}": w.media, "{uploadId}": w.media, "{folder}": "files", "{file}": w.file,
		"{callId}": w.call, "{roomId}": w.huddle, "{chatId}": w.group,
	}
	for name, id := range real {
		if with != "" {
			id = with
		}
		path = strings.ReplaceAll(path, name, id)
	}
	return path
}

// payload is a plausible body that names what the caller should not reach.
func (w *world) payload() map[string]any {
	return map[string]any{
		"conversationId": w.group, "messageId": w.message, "content": "x", "name": "x", "recipientId": w.bob.ID, "participantIds": []string{w.bob.ID},
		"participantId": w.bob.ID, "userId": w.ada.ID, "sessionId": w.ada.SessionID, "inviteId": w.group, "q": secretText,
		"emoji": "👍", "deviceId": "callers-device", "deviceName": "x", "status": "busy", "token": "callers-token",
		"callId": w.call, "roomId": w.huddle, "targetUserId": w.ada.ID, "to": w.ada.ID, "offer": map[string]any{}, "answer": map[string]any{}, "candidate": map[string]any{},
		"enabled": true, "userIds": []string{w.bob.ID}, "callType": "audio", "type": "audio", "chatId": w.group,
	}
}

// call calls a row where it is mounted.
func call(u *servertest.User, row api.Row, path string, body any) servertest.Reply {
	if row.Root {
		return u.DoRoot(row.Method, path, body)
	}
	return u.Do(row.Method, path, body)
}

// signsOut reports whether the row would end the caller's own session, or all the others.
func signsOut(row api.Row) bool {
	return strings.Contains(row.Path, "/logout") || strings.HasSuffix(row.Path, "/sessions") && row.Method == http.MethodDelete
}

// TestNobodySeesWhatIsNotTheirs calls every row as everybody who has no business there, with real ids.
func TestNobodySeesWhatIsNotTheirs(t *testing.T) {
	w := newWorld(t)
	w.ban(w.dora)
	callers := map[string]*servertest.User{"nobody": w.nobody, "stranger": w.eve, "blocked": w.flo, "removed": w.carl, "banned": w.dora}
	for name, u := range callers {
		for _, row := range w.Inner.Table().Rows() {
			if row.Path == "" || signsOut(row) {
				continue // these would sign the caller out, which is their right
			}
			var body any
			if row.Method != http.MethodGet && row.Method != http.MethodDelete {
				body = w.payload()
			}
			path := w.fill(row.Path, "")
			if row.Method == http.MethodGet {
				path += "?q=" + secretText
			}
			r := call(u, row, path, body)
			what := fmt.Sprintf("%s as %s: %d %s", row.Name(), name, r.Status, r.Body)
			w.harmless(t, what, r)
			public := row.Role == api.RolePublic
			switch {
			case name == "nobody" && !public && r.Status != http.StatusUnauthorized:
				t.Errorf("not refused: %s", what)
			case name == "banned" && !public && r.Status != http.StatusForbidden && r.Status != http.StatusUnauthorized:
				t.Errorf("not refused: %s", what)
			case row.Role > api.RoleUser && r.Status < 400:
				t.Errorf("not refused: %s", what)
			}
		}
	}
	for _, u := range []*servertest.User{w.eve, w.flo, w.carl} {
		u.Do("GET", "/users/me", nil).OK(nil) // or else what came last was refused for another reason
		forward := u.Do("POST", "/messages", map[string]any{"conversationId": u.Group("own"), "forwardedFrom": w.message})
		forward.Fails(http.StatusNotFound, "MESSAGE_NOT_FOUND")
		w.harmless(t, "a forward by "+u.Name, forward)
	}
	w.unharmed(t)
}

// TestEveryRowRefusesNonsensePolitely calls every row with wrong ids, wrong types, oversized and malformed bodies.
func TestEveryRowRefusesNonsensePolitely(t *testing.T) {
	w := newWorld(t)
	huge := strings.Repeat("9", 300)
	wrongIDs := []string{"0", "ffffffffffffffffffffffff", "%00", "..%2f..", "%F0%9F%92%A9", huge, "'%20OR%201=1", "null"}
	bodies := []any{
		"", "{", "null", "[]", "42", `"x"`, `{"content":`, "\x00\x01", `{"conversationId":42,"content":{},"participantIds":"x","name":[],"messageId":false,"username":1}`,
		`{"conversationId":null,"content":null,"participantIds":null,"name":null,"metadata":{"a":[[[[]]]]}}`,
		`{"content":"` + strings.Repeat("x", 200<<10) + `"}`, `{"content":"\ud800","conversationId":"\ud800"}`, strings.Repeat("[", 90<<10),
	}
	for _, row := range w.Inner.Table().Rows() {
		if row.Path == "" || signsOut(row) {
			continue
		}
		for _, id := range wrongIDs {
			if !strings.Contains(row.Path, "{") {
				break
			}
			var body any
			if row.Method != http.MethodGet {
				body = w.payload()
			}
			w.harmless(t, row.Name()+" with id "+id[:min(len(id), 20)], call(w.eve, row, w.fill(row.Path, id), body))
		}
		for _, query := range []string{"?limit=-1", "?limit=999999999999999999999", "?limit=x&before=%00&page=-5", "?q=%22%29%28*%3A&limit=1", "?q=" + huge, "?before=" + huge, "?skip=1e9"} {
			w.harmless(t, row.Name()+query[:min(len(query), 30)], call(w.eve, row, w.fill(row.Path, "")+query, nil))
		}
		if row.Method == http.MethodGet {
			continue
		}
		for i, body := range bodies {
			w.harmless(t, fmt.Sprintf("%s with body %d", row.Name(), i), call(w.eve, row, w.fill(row.Path, ""), body))
		}
	}
	w.unharmed(t)
}

// TestEveryVerbRefusesNonsensePolitely does the same on the socket.
func TestEveryVerbRefusesNonsensePolitely(t *testing.T) {
	w := newWorld(t)
	for name, u := range map[string]*servertest.User{"stranger": w.eve, "blocked": w.flo, "removed": w.carl} {
		socket := u.Socket()
		for _, row := range w.Inner.Table().Rows() {
			if row.Verb == "" {
				continue
			}
			payloads := []any{w.payload(), nil, 42, "x", []int{1}, map[string]any{"conversationId": 42, "messageId": []int{}, "content": map[string]any{}, "limit": "x", "q": 1}}
			for i, payload := range payloads {
				f := socket.Ask(row.Verb, payload)
				what := fmt.Sprintf("%s as %s, payload %d: %s", row.Verb, name, i, f.Raw)
				if strings.Contains(string(f.Raw), secretText) {
					t.Errorf("leaks: %s", what)
				}
				if !f.OK && (f.Error == nil || f.Error.Code == "" || f.Error.Message == "" || f.Error.Code == "INTERNAL") {
					t.Errorf("not a clear error: %s", what)
				}
			}
		}
		for _, raw := range []string{"", "{", "[]", "null", `{"id":1}`, `{"id":{"a":1},"op":"nope"}`, `{"id":"` + strings.Repeat("x", 100) + `","op":"message:send"}`} {
			socket.WriteRaw(websocket.TextMessage, []byte(raw))
		}
		if f := socket.Ask("ping", nil); !f.OK {
			t.Errorf("the socket of the %s does not answer any more: %s", name, f.Raw)
		}
	}
	w.unharmed(t)
}

// TestNothingThatABlockedPersonDoesReachesTheOneWhoBlocks calls every row and every verb as somebody who has a single
// conversation with the one who blocks them, in that conversation and on a message of it.
func TestNothingThatABlockedPersonDoesReachesTheOneWhoBlocks(t *testing.T) {
	w := newWorld(t)
	w.ada.Do("DELETE", "/users/me/blocked-users/"+w.flo.ID, nil).OK(nil)
	w.group = w.ada.Single(w.flo)
	w.message = w.ada.Send(w.group, "before")
	w.flo.Send(w.group, "answer")
	w.ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": w.flo.ID}).OK(nil)
	listener := w.ada.Socket()
	socket := w.flo.Socket()
	listener.Pending()
	heard := func(what string) {
		t.Helper()
		for _, f := range listener.Pending() {
			if f.Event != "" && f.Event != "heartbeat" {
				t.Errorf("%s: she hears %s", what, f.Raw)
			}
		}
	}
	type content struct{ Content *string }
	said := func() (list []string) {
		var page []content
		w.ada.Do("GET", "/messages/conversation/"+w.group, nil).OK(&page)
		for _, m := range page {
			list = append(list, *m.Content)
		}
		return list
	}
	for _, row := range w.Inner.Table().Rows() {
		if signsOut(row) {
			continue
		}
		payload := w.payload()
		payload["isMuted"], payload["timer"], payload["recipientId"], payload["participantIds"] = true, 86400, w.ada.ID, []string{w.ada.ID}
		if row.Path != "" {
			var body any
			if row.Method != http.MethodGet {
				body = payload
			}
			if r := call(w.flo, row, w.fill(row.Path, ""), body); r.Status >= 500 {
				t.Errorf("%s: %d %s", row.Name(), r.Status, r.Body)
			}
			heard(row.Name())
		}
		if row.Verb != "" {
			payload["deviceId"] = w.device // the caller's own would end their session
			socket.Ask(row.Verb, payload)
			heard(row.Verb)
		}
	}
	if got := said(); !slices.Equal(got, []string{"answer", "before"}) {
		t.Errorf("the conversation says %q", got)
	}
}

// TestOversizedAndBinaryFramesEndOnlyTheirSocket holds two ways to be cut off.
func TestOversizedAndBinaryFramesEndOnlyTheirSocket(t *testing.T) {
	w := newWorld(t)
	bystander := w.bob.Socket()
	big := w.eve.Socket()
	big.WriteRaw(websocket.TextMessage, []byte(strings.Repeat("x", 2<<20)))
	big.Code()
	binary := w.eve.Socket()
	binary.WriteRaw(websocket.BinaryMessage, []byte{1, 2, 3})
	if code := binary.Code(); code != 1003 {
		t.Errorf("binary frame: closed with %d, want 1003", code)
	}
	if f := bystander.Ask("ping", nil); !f.OK {
		t.Errorf("a bystander is disturbed: %s", f.Raw)
	}
}

// harmless holds of every answer to somebody who should get nothing: never our fault, always the error form, never
// what others said.
func (w *world) harmless(t *testing.T, what string, r servertest.Reply) {
	t.Helper()
	if r.Status >= 500 {
		t.Errorf("%s: %d %s", what, r.Status, r.Body)
	}
	if strings.Contains(string(r.Body), secretText) || strings.Contains(string(r.Body), "secret circle") {
		t.Errorf("%s leaks: %s", what, r.Body)
	}
	if r.Status >= 400 && !strings.HasPrefix(what, "HEAD ") { // those have no body
		var e struct {
			Success    *bool
			StatusCode int
			Error      string
			Message    string
			Path       string
			Timestamp  string
		}
		if err := json.Unmarshal(r.Body, &e); err != nil || e.Success == nil || *e.Success || e.StatusCode != r.Status || e.Error == "" || e.Message == "" || e.Path == "" || e.Timestamp == "" {
			t.Errorf("%s: not the error form of the contract: %d %s", what, r.Status, r.Body)
		}
	}
}

// unharmed checks that what was attacked is as it was.
func (w *world) unharmed(t *testing.T) {
	t.Helper()
	var c struct {
		Name         string
		Participants []struct{}
		IsArchived   bool
		Pinned       []struct{ Content string } `json:"pinnedMessages"`
	}
	w.ada.Do("GET", "/conversations/"+w.group, nil).OK(&c)
	if c.Name != "secret circle" || len(c.Participants) != 3 {
		t.Errorf("the group has changed: %+v", c)
	}
	if len(c.Pinned) != 1 || c.Pinned[0].Content != secretText || c.IsArchived {
		t.Errorf("the pins have changed, or the switches: %+v", c)
	}
	var page []struct{ Type, Content string }
	w.ada.Do("GET", "/messages/conversation/"+w.group, nil).OK(&page)
	page = slices.DeleteFunc(page, func(m struct{ Type, Content string }) bool { return m.Type == "system" })
	if len(page) != 2 || page[0].Content != secretText {
		t.Errorf("the messages have changed: %+v", page)
	}
	var self struct {
		Status        string
		LinkedDevices []struct{ DeviceID, FCMToken string }
	}
	w.ada.Do("GET", "/users/me", nil).OK(&self)
	if self.Status != "online" || len(self.LinkedDevices) != 1 || self.LinkedDevices[0].FCMToken != "adas-token" {
		t.Errorf("ada has changed: %+v", self)
	}
	var contacts []struct{ ID string }
	w.ada.Do("GET", "/users/me/contacts", nil).OK(&contacts)
	var settings struct{ BlockedUsers []string }
	w.ada.Do("GET", "/users/me/settings", nil).OK(&settings)
	if len(contacts) != 1 || contacts[0].ID != w.bob.ID || !slices.Equal(settings.BlockedUsers, []string{w.flo.ID}) {
		t.Errorf("whom ada knows has changed: %+v, %+v", contacts, settings)
	}
}

func (w *world) ban(u *servertest.User) {
	by := api.Caller{Local: "test", Role: api.RoleSuperAdmin}
	err := w.Inner.Store().Write(context.Background(), "ban", func(tx *storage.Tx) error {
		return w.Inner.Account().Ban(tx, by, u.ID, time.Time{}, "test")
	})
	if err != nil {
		panic(err)
	}
}
