package media_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// chief registers an administrator.
func chief(t *testing.T, s *servertest.Server) *servertest.User {
	t.Helper()
	u := s.Register("chief")
	err := s.Inner.Store().Write(context.Background(), "test", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET role = 'super_admin' WHERE id = ?", u.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u.Again()
}

func TestADiskThatIsNearlyFullRefusesFilesTakesMessagesAndTellsAdministrators(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_MEDIA_RESERVE=1000GiB")
	ada, bob, admin := s.Register("ada"), s.Register("bob"), chief(t, s)
	socket := admin.Socket()
	since := socket.Seq
	ada.Upload("/upload/file", servertest.File{Part: "file", Name: "x", Content: []byte("x")}).Fails(507, "STORAGE_FULL")
	ada.Upload("/upload/file", servertest.File{Part: "file", Name: "x", Content: []byte("x")}).Fails(507, "STORAGE_FULL")
	ada.Send(ada.Single(bob), "but text goes on")
	live := socket.Until("storage:low")
	var told struct{ Low bool }
	if err := json.Unmarshal(live.Data, &told); err != nil || !told.Low {
		t.Errorf("told %s", live.Data)
	}
	late := admin.Resume(since).Until("storage:low")
	if string(late.Raw) != string(live.Raw) {
		t.Errorf("live %s, late %s", live.Raw, late.Raw)
	}
	for _, f := range socket.Pending() {
		if f.Event == "storage:low" {
			t.Error("told twice")
		}
	}
	var overview struct{ Low bool }
	if admin.Do("GET", "/admin/media", nil).OK(&overview); !overview.Low {
		t.Error("the overview says nothing of it")
	}
}

// sweepTo sweeps until so many blobs are left. The calendar sweeps at the same time, and may be the one that finds them.
func sweepTo(t *testing.T, s *servertest.Server, admin *servertest.User, left int) {
	t.Helper()
	for tries := 0; ; tries++ {
		admin.Do("POST", "/admin/media/sweep", nil).OK(nil)
		if len(blobs(t, s)) == left {
			return
		}
		if tries == 100 {
			t.Fatalf("left %v, want %d", blobs(t, s), left)
		}
	}
}

func TestWhatNothingShowsGoesAfterADayAndBytesNobodyKnowsWithTheSweep(t *testing.T) {
	s := servertest.Start(t)
	ada, admin := s.Register("ada"), chief(t, s)
	upload(ada, "/upload/file", "left", []byte("left"))
	shown := upload(ada, "/upload/file", "shown", []byte("shown"))
	room := ada.Group("g")
	ada.Do("POST", "/messages", map[string]any{"conversationId": room, "type": "file", "attachments": []map[string]any{{"type": "file", "url": shown.URL}}}).OK(nil)
	stray := filepath.Join(s.Dir, "media", "ab", "cd", "abcd"+strings.Repeat("0", 60))
	if err := os.MkdirAll(filepath.Dir(stray), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(stray, []byte("a kill left me"), 0o600); err != nil {
		t.Fatal(err)
	}
	var swept struct{ Uploads, Blobs int }
	admin.Do("POST", "/admin/media/sweep", nil).OK(&swept)
	if swept.Uploads != 0 || swept.Blobs != 1 || len(blobs(t, s)) != 2 {
		t.Errorf("swept %+v, left %v", swept, blobs(t, s))
	}
	s.Advance(25 * time.Hour)
	sweepTo(t, s, admin.Refreshed(), 1)
	if raw, err := os.ReadFile(blobs(t, s)[0]); err != nil || string(raw) != "shown" {
		t.Errorf("left %q, %v", raw, err)
	}
}

func TestADamagedFileIsFoundNotServedAndHealedByTheSameBytes(t *testing.T) {
	s := servertest.Start(t)
	ada, admin := s.Register("ada"), chief(t, s)
	sound, broken := upload(ada, "/upload/file", "a", []byte("sound")), upload(ada, "/upload/file", "b", []byte("broken"))
	for _, path := range blobs(t, s) {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if string(raw) == "broken" {
			raw[3] ^= 1
			if err := os.WriteFile(path, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	type check struct {
		State       string
		Done, Total int64
		Damaged     []struct {
			SHA256  string
			Uploads []string
		}
	}
	verify := func() check {
		t.Helper()
		var o struct{ Check check }
		admin.Do("POST", "/admin/media/verify", nil).OK(nil)
		eventually(t, func() bool {
			admin.Do("GET", "/admin/media", nil).OK(&o)
			return o.Check.State == "done"
		})
		return o.Check
	}
	c := verify()
	if c.Done != 2 || c.Total != 2 || len(c.Damaged) != 1 || len(c.Damaged[0].Uploads) != 1 || c.Damaged[0].Uploads[0] != broken.ID {
		t.Errorf("found %+v", c)
	}
	get(ada, broken.URL).Fails(410, "MEDIA_DAMAGED")
	if r := get(ada, sound.URL); string(r.Body) != "sound" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	upload(ada, "/upload/file", "again", []byte("broken"))
	if r := get(ada, broken.URL); string(r.Body) != "broken" {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	if c := verify(); len(c.Damaged) != 0 {
		t.Errorf("after healing %+v", c)
	}
	ada.Do("POST", "/admin/media/verify", nil).Fails(403, "INSUFFICIENT_PERMISSIONS")
}

func TestAPictureOfAProfileTakesItsPlaceAndGoesWithIt(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	first := ada.Picture()
	var me struct{ Avatar *string }
	ada.Do("PUT", "/users/me", map[string]any{"avatar": first}).OK(&me)
	if r := get(s.Nobody(), *me.Avatar); r.Status != 200 || !strings.HasPrefix(r.Header.Get("Content-Type"), "image/") {
		t.Errorf("the picture: %d %s", r.Status, r.Header)
	}
	ada.Do("PUT", "/users/me", map[string]any{"avatar": *me.Avatar, "bio": "x"}).OK(&me) // the profile sent back
	bob.Do("PUT", "/users/me", map[string]any{"avatar": *me.Avatar}).Fails(400, "VALIDATION")
	before := *me.Avatar
	second := ada.Uploaded("/upload/image", "second.png", servertest.PNG(20, 20))
	ada.Do("PUT", "/users/me", map[string]any{"avatar": second}).OK(&me)
	get(s.Nobody(), before).Fails(404, "MEDIA_NOT_FOUND")
	ada.Do("PUT", "/users/me", map[string]any{"avatar": nil}).OK(&me)
	if me.Avatar != nil {
		t.Errorf("still %s", *me.Avatar)
	}
	eventually(t, func() bool { return len(blobs(t, s)) == 0 })
}
