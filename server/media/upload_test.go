package media_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

type uploaded struct {
	ID           string `json:"_id"`
	URL          string
	Type         string
	FileName     string
	FileSize     int64
	MimeType     string
	State        string
	ThumbnailURL string
	PreviewURL   string
	Thumbhash    string
	Width        int64
	Height       int64
	Duration     float64
	Waveform     []int
}

func upload(u *servertest.User, path, name string, content []byte) (out uploaded) {
	u.Upload(path, servertest.File{Part: "file", Name: name, Content: content}).OK(&out)
	for out.State == "processing" { // a slow machine: the answer does not wait for ever
		var row struct {
			State, URL, ThumbnailURL, PreviewURL, Thumbhash, MimeType string
			Size                                                      int64
			Waveform                                                  []int
			Dimensions                                                struct {
				Width, Height int64
				Duration      float64
			}
		}
		u.Do("GET", "/media/"+out.ID, nil).OK(&row)
		out.State, out.ThumbnailURL, out.PreviewURL, out.Thumbhash, out.FileSize, out.MimeType = row.State, row.ThumbnailURL, row.PreviewURL, row.Thumbhash, row.Size, row.MimeType
		out.Width, out.Height, out.Duration, out.Waveform = row.Dimensions.Width, row.Dimensions.Height, row.Dimensions.Duration, row.Waveform
		time.Sleep(20 * time.Millisecond)
	}
	out.URL = strings.TrimPrefix(out.URL, u.Server.URL)
	return out
}

func get(u *servertest.User, address string, header ...string) servertest.Reply {
	h := http.Header{}
	for i := 0; i+1 < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	return u.Request("GET", address, nil, h)
}

func TestAFileComesBackAsItWasUnderAnAddressNobodyGuesses(t *testing.T) {
	s := servertest.Start(t)
	ada, nobody := s.Register("ada"), s.Nobody()
	content := []byte("%PDF-1.4\n" + strings.Repeat("words ", 10000))
	up := upload(ada, "/upload/file", "../../Übersicht \u202e 2026.pdf", content)
	if up.Type != "file" || up.MimeType != "application/pdf" || up.FileName != "Übersicht  2026.pdf" || up.FileSize != int64(len(content)) || up.State != "ready" {
		t.Errorf("answered %+v", up)
	}
	r := get(nobody, up.URL)
	if r.Status != 200 || !bytes.Equal(r.Body, content) {
		t.Errorf("got %d and %d bytes", r.Status, len(r.Body))
	}
	for name, want := range map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
		"Content-Disposition": "attachment; filename*=utf-8''%C3%9Cbersicht%20%202026.pdf",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if csp := r.Header.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "sandbox; default-src 'none'") {
		t.Errorf("policy %q", csp)
	}
	if cache := r.Header.Get("Cache-Control"); !strings.HasPrefix(cache, "private, max-age=") {
		t.Errorf("cache %q", cache)
	}

	part := get(nobody, up.URL, "Range", "bytes=5-8")
	if part.Status != 206 || string(part.Body) != string(content[5:9]) || part.Header.Get("Content-Range") == "" {
		t.Errorf("a range: %d %q", part.Status, part.Body)
	}
	if again := get(nobody, up.URL, "If-None-Match", r.Header.Get("ETag")); again.Status != 304 {
		t.Errorf("unchanged: %d", again.Status)
	}
	if other := get(nobody, up.URL, "Range", "bytes=5-8", "If-Range", `"other"`); other.Status != 200 {
		t.Errorf("a range of something else: %d", other.Status)
	}
	if beyond := get(nobody, up.URL, "Range", "bytes=999999999-"); beyond.Status != 416 {
		t.Errorf("beyond the end: %d", beyond.Status)
	}

	path, query, _ := strings.Cut(up.URL, "?")
	for what, address := range map[string]string{
		"no capability": path, "another scope": path + "?" + strings.Replace(query, "s=o", "s=u", 1), "another end": path + "?" + strings.Replace(query, "e=t", "e=z", 1),
		"another file": strings.Replace(up.URL, "/files/", "/images/", 1), "another name": "/uploads/files/" + strings.Repeat("0", 32) + ".pdf?" + query,
		"a path": "/uploads/files/..%2f..%2fsecrets.json?" + query, "a rendition that is none": path[:len(path)-4] + "-clean?" + query,
	} {
		if r := get(nobody, address); r.Status != 404 {
			t.Errorf("%s: %d %s", what, r.Status, r.Body)
		}
	}
	s.Advance(61 * time.Minute)
	get(nobody, up.URL).Fails(404, "MEDIA_NOT_FOUND")
}

func TestOnlyThoseToWhomAMessageIsShownFetchItsFile(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, eve, nobody := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("eve"), s.Nobody()
	room := ada.Group("g", bob, carl)
	up := upload(ada, "/upload/file", "plan.txt", []byte("the plan"))

	type message struct {
		ID          string `json:"_id"`
		Attachments []struct{ URL, FileName, MimeType, Type string }
	}
	var sent message
	ada.Do("POST", "/messages", map[string]any{"conversationId": room, "type": "file", "attachments": []map[string]any{{"type": "file", "url": s.URL + up.URL}}}).OK(&sent)
	var seen []message
	bob.Do("GET", "/messages/conversation/"+room+"?limit=1", nil).OK(&seen)
	if len(seen) != 1 || len(seen[0].Attachments) != 1 || seen[0].Attachments[0].FileName != "plan.txt" {
		t.Fatalf("bob sees %+v", seen)
	}
	address := seen[0].Attachments[0].URL
	if r := get(nobody, address); string(r.Body) != "the plan" {
		t.Fatalf("by its address: %d %s", r.Status, r.Body)
	}
	path, _, _ := strings.Cut(address, "?")
	if r := get(bob, path); string(r.Body) != "the plan" {
		t.Errorf("a member with a token: %d %s", r.Status, r.Body)
	}
	get(eve, path).Fails(404, "MEDIA_NOT_FOUND")
	eve.Do("GET", "/media/"+up.ID, nil).Fails(404, "MEDIA_NOT_FOUND")
	eve.Do("DELETE", "/media/"+up.ID, nil).Fails(404, "MEDIA_NOT_FOUND")
	eve.Do("POST", "/messages", map[string]any{"conversationId": eve.Group("own"), "type": "file", "attachments": []map[string]any{{"type": "file", "url": address}}}).Fails(400, "ATTACHMENT_NOT_FOUND")
	eve.Do("POST", "/messages", map[string]any{"conversationId": eve.Group("own"), "type": "image", "attachments": []map[string]any{{"type": "image", "url": "https://tracker.example/pixel.gif"}}}).Fails(400, "ATTACHMENT_FOREIGN")
	ada.Do("DELETE", "/media/"+up.ID, nil).Fails(409, "MEDIA_IN_USE")

	ada.Do("DELETE", "/conversations/"+room+"/participants/"+carl.ID, nil).OK(nil)
	get(carl, path).Fails(404, "MEDIA_NOT_FOUND")
	s.Advance(61 * time.Minute)
	for _, u := range []*servertest.User{ada, bob, carl, eve} {
		u.Refreshed()
	}
	get(carl, address).Fails(404, "MEDIA_NOT_FOUND")
	get(nobody, address).Fails(404, "MEDIA_NOT_FOUND")
	bob.Do("GET", "/messages/conversation/"+room+"?limit=20", nil).OK(&seen)
	fresh := ""
	for _, m := range seen {
		if m.ID == sent.ID {
			fresh = m.Attachments[0].URL
		}
	}
	if r := get(nobody, fresh); string(r.Body) != "the plan" || fresh == address {
		t.Errorf("a new address %s: %d", fresh, r.Status)
	}

	// The file goes with the message, at once for whoever has the address and from the disk soon.
	ada.Do("DELETE", "/messages/"+sent.ID, nil).OK(nil)
	get(nobody, fresh).Fails(404, "MEDIA_NOT_FOUND")
	get(bob, path).Fails(404, "MEDIA_NOT_FOUND")
	eventually(t, func() bool { return len(blobs(t, s)) == 0 })
}

func TestAForwardKeepsTheFileWhenTheOriginalGoes(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	first, second := ada.Single(bob), bob.Single(carl)
	up := upload(ada, "/upload/file", "plan.txt", []byte("the plan"))
	var sent, forward struct {
		ID          string `json:"_id"`
		Attachments []struct{ URL, FileName string }
	}
	ada.Do("POST", "/messages", map[string]any{"conversationId": first, "type": "file", "content": "see", "attachments": []map[string]any{{"type": "file", "url": up.URL}}}).OK(&sent)
	bob.Do("POST", "/messages", map[string]any{"conversationId": second, "forwardedFrom": sent.ID}).OK(&forward)
	if len(forward.Attachments) != 1 || forward.Attachments[0].FileName != "plan.txt" {
		t.Fatalf("the forward has %+v", forward)
	}
	ada.Do("DELETE", "/messages/"+sent.ID, nil).OK(nil)
	if r := get(carl, forward.Attachments[0].URL); string(r.Body) != "the plan" {
		t.Errorf("the file of the forward: %d %s", r.Status, r.Body)
	}
	bob.Do("DELETE", "/messages/"+forward.ID, nil).OK(nil)
	eventually(t, func() bool { return len(blobs(t, s)) == 0 })
}

func TestARepeatedSendWithAFileIsTheFirstOne(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	one, other := upload(ada, "/upload/file", "a", []byte("a")), upload(ada, "/upload/file", "b", []byte("b"))
	body := func(url string) map[string]any {
		return map[string]any{"conversationId": room, "type": "file", "clientId": "c1", "attachments": []map[string]any{{"type": "file", "url": url}}}
	}
	var first, again struct {
		ID          string `json:"_id"`
		Attachments []struct{ URL string }
	}
	ada.Do("POST", "/messages", body(one.URL)).OK(&first)
	ada.Do("POST", "/messages", body(one.URL)).OK(&again)
	if first.ID != again.ID || len(again.Attachments) != 1 {
		t.Errorf("sent again: %+v, first %+v", again, first)
	}
	ada.Do("POST", "/messages", body(other.URL)).Fails(409, "CLIENT_ID_REUSED")
}

func TestUploadsThatCannotBeKeptAreRefusedClearly(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MEDIA_FILE_MAX=64KiB", "QUCKCHAT_MEDIA_VIDEO_MAX=64KiB", "QUCKCHAT_MEDIA_AUDIO_MAX=64KiB", "QUCKCHAT_MEDIA_IMAGE_MAX=64KiB", "QUCKCHAT_MEDIA_USER_QUOTA=100KiB")
	ada := s.Register("ada")
	file := func(part string, size int) servertest.File {
		return servertest.File{Part: part, Name: "x.bin", Content: bytes.Repeat([]byte{7}, size)}
	}
	ada.Upload("/upload/file").Fails(400, "FILE_MISSING")
	ada.Upload("/upload/file", file("other", 1)).Fails(400, "FILE_MISSING")
	ada.Upload("/upload/file", file("file", 0)).Fails(400, "FILE_EMPTY")
	ada.Upload("/upload/file", file("file", 64<<10+1)).Fails(413, "FILE_TOO_LARGE")
	ada.Upload("/upload/file", file("file", 4<<20)).Fails(413, "FILE_TOO_LARGE")
	ada.Upload("/upload/image", file("file", 100)).Fails(400, "INVALID_FILE_TYPE")
	ada.Upload("/upload/audio", servertest.File{Part: "file", Name: "a.mp3", Content: []byte("<html><script>alert(1)</script>")}).Fails(400, "INVALID_FILE_TYPE")
	ada.Upload("/upload/file", file("file", 1), file("file", 1)).Fails(400, "FILES_TOO_MANY")
	ada.Do("POST", "/upload/file", map[string]any{"file": "x"}).Fails(415, "UNSUPPORTED_MEDIA_TYPE")
	cut := "--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x\"\r\n\r\nabc"
	ada.Request("POST", "/api/v1/upload/file", strings.NewReader(cut), http.Header{"Content-Type": {"multipart/form-data; boundary=b"}}).Fails(400, "BAD_REQUEST")
	s.Nobody().Upload("/upload/file", file("file", 1)).Fails(401, "UNAUTHORIZED")
	upload(ada, "/upload/file", "a", bytes.Repeat([]byte{1}, 60<<10))
	ada.Upload("/upload/file", file("file", 60<<10)).Fails(507, "MEDIA_QUOTA")
	if n := len(blobs(t, s)); n != 1 {
		t.Errorf("%d files are kept, want 1", n)
	}
	var usage struct{ Bytes, Quota, Files int64 }
	ada.Do("GET", "/media/usage", nil).OK(&usage)
	if usage.Bytes != 60<<10 || usage.Quota != 100<<10 || usage.Files != 1 {
		t.Errorf("usage %+v", usage)
	}
}

func TestSeveralFilesAreKeptTogetherOrNotAtAll(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MEDIA_FILE_MAX=1KiB")
	ada := s.Register("ada")
	small := servertest.File{Part: "files", Name: "a.txt", Content: []byte("a")}
	ada.Upload("/upload/multiple", small, servertest.File{Part: "files", Name: "b.txt", Content: bytes.Repeat([]byte{1}, 2000)}).Fails(413, "FILE_TOO_LARGE")
	if n := len(blobs(t, s)); n != 0 {
		t.Errorf("%d files are kept, want none", n)
	}
	var list []uploaded
	ada.Upload("/upload/multiple", small, servertest.File{Part: "files", Name: "b.txt", Content: []byte("b")}, servertest.File{Part: "files", Name: "c.txt", Content: []byte("b")}).OK(&list)
	if len(list) != 3 || list[0].FileName != "a.txt" || list[2].FileName != "c.txt" || list[1].URL == list[2].URL {
		t.Errorf("kept %+v", list)
	}
	if n := len(blobs(t, s)); n != 2 {
		t.Errorf("%d contents are kept, want 2: the same one once", n)
	}
}

func TestAddressesAreWholeWhereTheServerKnowsItsName(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_PUBLIC_URL=https://chat.example.org")
	ada, bob := s.Register("ada"), s.Register("bob")
	up := upload(ada, "/upload/file", "a.txt", []byte("a"))
	var m struct{ Attachments []struct{ URL string } }
	ada.Do("POST", "/messages", map[string]any{"conversationId": ada.Single(bob), "type": "file", "attachments": []map[string]any{{"type": "file", "url": up.URL}}}).OK(&m)
	for _, address := range []string{up.URL, m.Attachments[0].URL} {
		path, ok := strings.CutPrefix(address, "https://chat.example.org/uploads/files/")
		if r := get(s.Nobody(), "/uploads/files/"+path); !ok || string(r.Body) != "a" {
			t.Errorf("%s: %d %s", address, r.Status, r.Body)
		}
	}
}
