package media_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestARealScannerKeepsAVirusFromEverybodyAndMayGoAndComeBack(t *testing.T) {
	scanner := servertest.StartClamAV(t, "5M")
	s := servertest.Start(t, "QUCKCHAT_MEDIA_CLAMAV=unix:"+scanner.Socket)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	clean := upload(ada, "/upload/file", "a.txt", []byte("healthy"))
	if r := get(s.Nobody(), clean.URL); string(r.Body) != "healthy" {
		t.Errorf("clean: %d %s", r.Status, r.Body)
	}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	w, err := archive.Create("inner/notes.txt")
	if err == nil {
		_, err = w.Write([]byte(servertest.EICAR))
	}
	if err != nil || archive.Close() != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		path    string
		content []byte
	}{
		"alone":            {"/upload/file", []byte(servertest.EICAR)},
		"in an archive":    {"/upload/file", packed.Bytes()},
		"behind a picture": {"/upload/image", append(servertest.PNG(20, 20), servertest.EICAR...)},
		"as a profile":     {"/media/upload/avatar", append(servertest.PNG(20, 20), servertest.EICAR...)},
	} {
		if r := ada.Upload(c.path, servertest.File{Part: "file", Name: "x", Content: c.content}); r.Status != 400 {
			t.Errorf("%s: %d %s", what, r.Status, r.Body)
		} else {
			r.Fails(400, "FILE_INFECTED")
		}
	}
	r := ada.Request("POST", "/api/v1/media/tus", nil, http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Length": {strconv.Itoa(len(servertest.EICAR))}})
	piece := ada.Request("PATCH", r.Header.Get("Location")[len(s.URL):], bytes.NewReader([]byte(servertest.EICAR)),
		http.Header{"Tus-Resumable": {"1.0.0"}, "Upload-Offset": {"0"}, "Content-Type": {"application/offset+octet-stream"}})
	if piece.Status != 400 || !bytes.Contains(piece.Body, []byte("FILE_INFECTED")) {
		t.Errorf("piece by piece: %d %s", piece.Status, piece.Body)
	}
	eventually(t, func() bool { return len(blobs(t, s)) == 1 })

	scanner.Stop()
	live := bob.Socket()
	sent := map[string]string{} // of each message its file
	for name, content := range map[string]string{"sick.txt": servertest.EICAR, "well.txt": "patient"} {
		address, _ := ada.Begun("/upload/file", servertest.File{Part: "file", Name: name, Content: []byte(content)})
		var m struct {
			ID          string `json:"_id"`
			Attachments []struct{ URL, State string }
		}
		ada.Do("POST", "/messages", map[string]any{"conversationId": room, "type": "file", "attachments": []map[string]any{{"type": "file", "url": address}}}).OK(&m)
		if m.Attachments[0].State != "processing" {
			t.Errorf("%s: %+v", name, m)
		}
		sent[m.ID] = name
		get(s.Nobody(), m.Attachments[0].URL).Fails(503, "MEDIA_PROCESSING")
		get(ada, m.Attachments[0].URL).Fails(503, "MEDIA_PROCESSING")
	}
	scanner.Start()
	s.Advance(10 * time.Minute) // the next attempt
	for range sent {
		var m struct {
			ID          string `json:"_id"`
			Attachments []struct{ URL, State, Refused string }
		}
		if err := json.Unmarshal(live.Until("message:media").Data, &m); err != nil || len(m.Attachments) != 1 {
			t.Fatalf("%v %+v", err, m)
		}
		a := m.Attachments[0]
		if sent[m.ID] == "sick.txt" {
			if a.State != "refused" || a.Refused != "FILE_INFECTED" {
				t.Errorf("sick: %+v", a)
			}
			get(s.Nobody(), a.URL).Fails(404, "MEDIA_NOT_FOUND")
			get(ada.Refreshed(), a.URL).Fails(404, "MEDIA_NOT_FOUND")
			continue
		}
		if r := get(s.Nobody(), a.URL); a.State != "" || string(r.Body) != "patient" {
			t.Errorf("well: %+v, %d %s", a, r.Status, r.Body)
		}
	}
	eventually(t, func() bool { return len(blobs(t, s)) == 2 })
}
