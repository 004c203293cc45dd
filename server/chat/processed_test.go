package chat_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// shown is a message as these tests read it, whatever the dialect.
type shown struct {
	ID          string `json:"_id"`
	MessageID   string
	IsEdited    bool
	ReplyTo     any
	Attachments []struct {
		State, Refused, Thumbhash string
		FileSize, Width, Height   int
	}
}

func read(t *testing.T, raw json.RawMessage) (m shown) {
	t.Helper()
	if err := json.Unmarshal(raw, &m); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return m
}

// files is a message that shows uploads.
func files(addresses ...string) map[string]any {
	var list []map[string]any
	for _, address := range addresses {
		list = append(list, map[string]any{"type": "file", "url": address})
	}
	return map[string]any{"type": "file", "attachments": list}
}

// tells are the frames about files among those given.
func tells(frames []servertest.Frame) []servertest.Frame {
	return slices.DeleteFunc(frames, func(f servertest.Frame) bool { return f.Event != "message:media" })
}

var picture = servertest.File{Part: "file", Name: "p.png", Content: servertest.PNG(40, 20)}

func TestMembersAreToldWhatBecomesOfAFileThatWasSentBeforeItWasLookedAt(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	live, phone, browser := bob.Socket(), bob.IO("/chat"), bob.IO("/")
	scanner.Hold()
	address, answer := ada.Begun("/upload/image", picture)
	id := send(ada, room, "look", files(address)).ID
	first := live.Until("message:new")
	if m := read(t, first.Data); len(m.Attachments) != 1 || m.Attachments[0].State != "processing" || m.Attachments[0].Width != 0 {
		t.Errorf("before: %s", first.Data)
	}
	scanner.Release()
	(<-answer).OK(nil)

	told := live.Until("message:media")
	if m := read(t, told.Data); m.ID != id || m.MessageID != id || m.IsEdited || m.Attachments[0].State != "" || m.Attachments[0].Width != 40 || m.Attachments[0].Height != 20 || m.Attachments[0].Thumbhash == "" {
		t.Errorf("told %s", told.Data)
	}
	if e := phone.Until("message:edited"); read(t, e.Data).ID != id || read(t, e.Data).IsEdited || read(t, e.Data).Attachments[0].Width != 40 {
		t.Errorf("the phone is told %s", e.Raw)
	}
	if e := browser.Until("message:update"); !strings.Contains(string(e.Data), `"width":40`) || !strings.Contains(string(e.Data), `"isEdited":false`) || strings.Contains(string(e.Data), "state") {
		t.Errorf("the browser is told %s", e.Raw)
	}
	if late := ada.Resume(first.Seq).Until("message:media"); string(late.Raw) != string(told.Raw) {
		t.Errorf("live %s\nlate %s", told.Raw, late.Raw)
	}
	ada.Do("DELETE", "/messages/"+id, nil).OK(nil)
	if late := tells(bob.Resume(first.Seq).Pending()); len(late) != 0 {
		t.Errorf("of what is deleted late readers are told %s", late[0].Raw)
	}
}

func TestAFileThatIsRefusedAfterItWasSentIsToldByCodeAndServedToNobody(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob := s.Register("ada"), s.Register("bob")
	live := bob.Socket()
	scanner.Hold()
	address, answer := ada.Begun("/upload/file", servertest.File{Part: "file", Name: "p.txt", Content: []byte("the plague")})
	id := send(ada, ada.Single(bob), "look", files(address)).ID
	scanner.Release()
	(<-answer).Fails(400, "FILE_INFECTED")
	told := live.Until("message:media")
	if a := read(t, told.Data).Attachments; len(a) != 1 || a[0].State != "refused" || a[0].Refused != "FILE_INFECTED" || a[0].FileSize != 0 {
		t.Errorf("told %s", told.Data)
	}
	var m struct {
		Attachments []struct {
			ID  string `json:"_id"`
			URL string
		}
	}
	bob.Do("GET", "/messages/"+id, nil).OK(&m)
	for _, who := range []*servertest.User{ada, bob, s.Nobody()} {
		who.DoRoot("GET", m.Attachments[0].URL, nil).Fails(404, "MEDIA_NOT_FOUND")
	}
	var row struct{ State, Refused string }
	if ada.Do("GET", "/media/"+m.Attachments[0].ID, nil).OK(&row); row.State != "refused" || row.Refused != "FILE_INFECTED" {
		t.Errorf("the sender finds %+v", row)
	}
	ada.Do("POST", "/messages", draft(ada.Single(bob), "again", files(address))).Fails(400, "ATTACHMENT_NOT_FOUND")
}

func TestWhoDoesNotSeeAMessageIsNotToldOfItsFiles(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob, carl, dora, late := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora"), s.Register("late")
	room := ada.Group("g", bob, carl, dora)
	other := late.Group("h", ada)
	question := ada.Send(room, "question")
	carl.Do("DELETE", "/conversations/"+room+"/messages", nil).OK(nil) // carl no longer sees what the next one replies to
	scanner.Hold()
	address, _ := ada.Begun("/upload/image", picture)
	id := send(ada, room, "answer", files(address), map[string]any{"replyTo": question}).ID
	gone := send(ada, room, "a mistake", files(address)).ID
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	dora.Do("DELETE", "/messages/"+id+"?type=for_me", nil).OK(nil)
	ada.Do("PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{late.ID}}).OK(nil)
	forward := fetch[message](ada, "POST", "/messages", map[string]any{"conversationId": other, "forwardedFrom": id}).ID
	people := map[*servertest.User]*servertest.Socket{}
	for _, u := range []*servertest.User{bob, carl, dora, late} {
		people[u] = u.Socket()
	}
	scanner.Release()
	s.Emitted("message:media", 2) // of both messages
	for u, want := range map[*servertest.User][]string{bob: {id + " with its question"}, carl: {id}, dora: nil, late: {forward}} {
		live, since := people[u], people[u].Seq
		for how, frames := range map[string][]servertest.Frame{"live": live.Pending(), "late": u.Resume(since).Pending()} {
			var got []string
			for _, f := range tells(frames) {
				m := read(t, f.Data)
				if got = append(got, m.ID); m.ReplyTo != nil {
					got[len(got)-1] += " with its question"
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s is told %s %q, want %q", u.Name, how, got, want)
			}
		}
	}
}

func TestFilesThatAreDoneTogetherAreToldTogether(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob := s.Register("ada"), s.Register("bob")
	live := bob.Socket()
	scanner.Hold()
	var addresses []string
	for i := range 10 {
		address, _ := ada.Begun("/upload/file", servertest.File{Part: "file", Name: fmt.Sprint(i, ".txt"), Content: []byte{byte('a' + i)}})
		addresses = append(addresses, address)
	}
	send(ada, ada.Single(bob), "ten", files(addresses...))
	scanner.Release()
	told, ready := 0, 0
	for ready < 10 {
		m := read(t, live.Until("message:media").Data)
		told, ready = told+1, 0
		for _, a := range m.Attachments {
			if a.State == "" {
				ready++
			}
		}
	}
	if told >= 10 {
		t.Errorf("told %d times of ten files", told)
	}
}

func TestAFileThatManyMessagesShowIsToldOfInEachOnce(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	scanner.Hold()
	address, _ := ada.Begun("/upload/image", picture)
	want := []string{send(ada, room, "first", files(address)).ID}
	for range 44 {
		want = append(want, fetch[message](ada, "POST", "/messages", map[string]any{"conversationId": room, "forwardedFrom": want[0]}).ID)
	}
	live := bob.Socket()
	scanner.Release()
	var got []string
	for range want {
		got = append(got, read(t, live.Until("message:media").Data).ID)
	}
	if !slices.Equal(got, want) {
		t.Errorf("told of %q, want %q", got, want)
	}
	soon(t, "nothing is left to do", func() bool { return count(t, s, "SELECT count(*) FROM job WHERE kind = 'message.media'") == 0 })
	if more := tells(live.Pending()); len(more) != 0 {
		t.Errorf("told again: %s", more[0].Raw)
	}
}

func TestWhoHasLeftIsToldLateWhatWasSaidAndNotLetInToItsFilesAgain(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	live := bob.Socket()
	since := live.Seq
	address := ada.Uploaded("/upload/image", "p.png", servertest.PNG(400, 200))
	send(ada, room, "look", map[string]any{"type": "image", "attachments": []map[string]any{{"type": "image", "url": address}}})
	type sight struct {
		Attachments []struct{ URL, ThumbnailURL string }
	}
	see := func(f servertest.Frame) (m sight) {
		t.Helper()
		if err := json.Unmarshal(f.Data, &m); err != nil || len(m.Attachments) != 1 {
			t.Fatalf("%v in %s", err, f.Raw)
		}
		return m
	}
	first := see(live.Until("message:new")).Attachments[0]
	s.Nobody().DoRoot("GET", first.URL, nil).OK(nil)
	s.Nobody().DoRoot("GET", first.ThumbnailURL, nil).OK(nil)
	if late := see(bob.Resume(since).Until("message:new")).Attachments[0]; late != first {
		t.Errorf("a member is told %+v late, %+v live", late, first)
	}
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+bob.ID, nil).OK(nil)
	late := see(bob.Resume(since).Until("message:new")).Attachments[0]
	if strings.Contains(late.URL, "?") || late.ThumbnailURL != "" {
		t.Errorf("bob, who was removed, is given %+v", late)
	}
	for _, u := range []*servertest.User{bob, s.Nobody()} {
		u.DoRoot("GET", late.URL, nil).Fails(404, "MEDIA_NOT_FOUND")
	}
}
