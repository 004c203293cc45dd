package media_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestAVideoSaysHowLongAndLargeItIsAndShowsAPoster(t *testing.T) {
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIPPED: there is no ffmpeg to make a video with: apt-get install ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "film.mp4")
	if out, err := exec.Command(ffmpeg, "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x180:rate=10:duration=2", "-f", "lavfi", "-i", "sine=duration=2",
		"-metadata", "location=+41.38+002.17/", "-pix_fmt", "yuv420p", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	film, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for setting, posters := range map[string]bool{"on": true, "off": false} {
		s := servertest.Start(t, "QUCKCHAT_MEDIA_FFMPEG="+setting)
		ada := s.Register("ada")
		up := upload(ada, "/upload/video", "film.mp4", film)
		if up.Type != "video" || up.MimeType != "video/mp4" || up.Width != 320 || up.Height != 180 || up.Duration < 1.9 || up.Duration > 2.2 {
			t.Errorf("ffmpeg %s: %+v", setting, up)
		}
		if (up.ThumbnailURL != "") != posters {
			t.Errorf("ffmpeg %s: thumbnail %q", setting, up.ThumbnailURL)
		}
		if posters {
			if m, _ := decoded(t, get(s.Nobody(), strings.TrimPrefix(up.ThumbnailURL, s.URL))); m.Bounds().Dx() != 320 {
				t.Errorf("thumbnail %v", m.Bounds())
			}
		}
		r := get(s.Nobody(), up.URL, "Range", "bytes=0-99")
		if r.Status != 206 || len(r.Body) != 100 || r.Header.Get("Content-Type") != "video/mp4" {
			t.Errorf("a range: %d %v", r.Status, r.Header)
		}
		if whole := get(s.Nobody(), up.URL); strings.Contains(string(whole.Body), "+41.38") || len(whole.Body) != len(film) {
			t.Error("the place is still there, or something else is not")
		}
	}
}

func TestNobodyIsServedWhatTheVirusScannerHasNotSeen(t *testing.T) {
	c := servertest.StartClamd(t)
	s := servertest.Start(t, c.Setting())
	ada, bob := s.Register("ada"), s.Register("bob")
	clean := upload(ada, "/upload/file", "a.txt", []byte("healthy"))
	if r := get(s.Nobody(), clean.URL); string(r.Body) != "healthy" {
		t.Errorf("clean: %d %s", r.Status, r.Body)
	}
	ada.Upload("/upload/file", servertest.File{Part: "file", Name: "b.txt", Content: []byte("the plague")}).Fails(400, "FILE_INFECTED")
	eventually(t, func() bool { return len(blobs(t, s)) == 1 })

	// While it is away everything waits, also over a restart, and a message may be sent already.
	c.Away(true)
	var waiting uploaded
	ada.Upload("/upload/file", servertest.File{Part: "file", Name: "c.txt", Content: []byte("patient")}).OK(&waiting)
	if waiting.State != "processing" {
		t.Errorf("%+v", waiting)
	}
	address := strings.TrimPrefix(waiting.URL, s.URL)
	get(s.Nobody(), address).Fails(503, "MEDIA_PROCESSING")
	ada.Do("POST", "/messages", map[string]any{"conversationId": ada.Single(bob), "type": "file", "attachments": []map[string]any{{"type": "file", "url": address}}}).OK(nil)
	s.Stop()
	s.Boot()
	get(s.Nobody(), address).Fails(503, "MEDIA_PROCESSING")
	c.Away(false)
	s.Advance(1 << 40) // some minutes: the next attempt
	ada.Refreshed()
	eventually(t, func() bool {
		var row struct{ State string }
		ada.Do("GET", "/media/"+waiting.ID, nil).OK(&row)
		return row.State == "ready"
	})
}
