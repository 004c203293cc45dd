package media_test

import (
	"archive/zip"
	"bytes"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

type sticker struct {
	GiphyID, URL, Type string
	Title              *string
	UseCount           int64
}

func TestStickersAreKeptByUse(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	own := ada.Picture()
	save := func(id, url, kind string) {
		t.Helper()
		var out struct {
			Success bool
			Data    sticker
		}
		ada.Do("POST", "/stickers", map[string]any{"url": url, "giphyId": id, "type": kind, "title": "t " + id}).OK(&out)
		if !out.Success || out.Data.GiphyID != id || out.Data.Type != kind {
			t.Errorf("saved %+v", out)
		}
	}
	save("a", "https://media1.giphy.com/media/a/giphy.gif", "gif")
	save("own", own, "sticker")
	save("own", own, "sticker")
	ada.Do("POST", "/stickers/own/use", nil).OK(nil)
	ada.Do("POST", "/stickers/none/use", nil).Fails(404, "STICKER_NOT_FOUND")
	ada.Do("POST", "/stickers", map[string]any{"url": "https://tracker.example/x.gif", "giphyId": "x"}).Fails(400, "VALIDATION")
	ada.Do("POST", "/stickers", map[string]any{"url": "https://giphy.com.evil.example/x.gif", "giphyId": "x"}).Fails(400, "VALIDATION")
	bob.Do("POST", "/stickers", map[string]any{"url": own, "giphyId": "x"}).Fails(400, "VALIDATION")

	var page struct {
		Data       []sticker
		Pagination struct{ Total, Limit, Skip int }
	}
	ada.Do("GET", "/stickers", nil).OK(&page)
	if len(page.Data) != 2 || page.Data[0].GiphyID != "own" || page.Data[0].UseCount != 3 || page.Pagination.Total != 2 || page.Pagination.Limit != 50 {
		t.Errorf("by use: %+v", page)
	}
	if r := get(s.Nobody(), page.Data[0].URL); r.Status != 200 {
		t.Errorf("the picture of a sticker: %d %s", r.Status, r.Body)
	}
	ada.Do("GET", "/stickers?type=gif&limit=1", nil).OK(&page)
	if len(page.Data) != 1 || page.Data[0].GiphyID != "a" || page.Pagination.Total != 1 {
		t.Errorf("GIFs: %+v", page)
	}
	var stats struct {
		Data struct{ TotalSaved, TotalGifs, TotalStickers int }
	}
	ada.Do("GET", "/stickers/stats", nil).OK(&stats)
	if stats.Data.TotalSaved != 2 || stats.Data.TotalGifs != 1 || stats.Data.TotalStickers != 1 {
		t.Errorf("stats %+v", stats)
	}
	saved := func(u *servertest.User, id string) bool {
		var out struct{ Saved bool }
		u.Do("GET", "/stickers/"+id+"/saved", nil).OK(&out)
		return out.Saved
	}
	if !saved(ada, "a") || saved(bob, "a") {
		t.Error("ada has it and bob has not")
	}
	var done struct{ Success bool }
	ada.Do("DELETE", "/stickers/own", nil).OK(&done)
	if !done.Success || saved(ada, "own") {
		t.Errorf("removed: %+v", done)
	}
	eventually(t, func() bool { return len(blobs(t, s)) == 0 })
	ada.Do("DELETE", "/stickers/own", nil).OK(&done)
	if done.Success {
		t.Error("removed twice")
	}
}

// pack makes a ZIP of names and contents.
func pack(t *testing.T, files ...any) []byte {
	t.Helper()
	var out bytes.Buffer
	w := zip.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		f, err := w.Create(files[i].(string))
		if err != nil {
			t.Fatal(err)
		}
		switch content := files[i+1].(type) {
		case string:
			_, err = f.Write([]byte(content))
		case []byte:
			_, err = f.Write(content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestAPackIsImportedSentAndRemovedWithoutWhatWasSent(t *testing.T) {
	s := servertest.Start(t)
	admin, ada, bob := chief(t, s), s.Register("ada"), s.Register("bob")
	archive := pack(t, "cats/manifest.json", `{"title":"Cats","author":"us","stickers":[{"file":"b.png","emoji":"😺"},{"file":"a.png","emoji":"😾","title":"no"}]}`,
		"cats/a.png", servertest.PNG(10, 10), "cats/b.png", servertest.PNG(12, 12), "__MACOSX/cats/._a.png", "junk")
	file := servertest.File{Part: "file", Name: "cats.zip", Content: archive}
	ada.Upload("/stickers/packs", file).Fails(403, "INSUFFICIENT_PERMISSIONS")
	type packed struct {
		ID, Title, Author string
		Stickers          []struct{ ID, Emoji, Title, URL, ThumbnailURL string }
	}
	var p packed
	admin.Upload("/stickers/packs", file).OK(&p)
	if p.Title != "Cats" || p.Author != "us" || len(p.Stickers) != 2 || p.Stickers[0].Emoji != "😺" || p.Stickers[1].Title != "no" {
		t.Fatalf("imported %+v", p)
	}
	var list []packed
	ada.Do("GET", "/stickers/packs", nil).OK(&list)
	if len(list) != 1 || len(list[0].Stickers) != 2 {
		t.Fatalf("packs %+v", list)
	}
	url := list[0].Stickers[0].URL
	if r := get(s.Nobody(), list[0].Stickers[0].ThumbnailURL); r.Status != 200 {
		t.Errorf("a sticker: %d %s", r.Status, r.Body)
	}
	room := ada.Single(bob)
	var sent struct {
		Type        string
		Attachments []struct{ Type, URL string }
	}
	ada.Do("POST", "/messages", map[string]any{"conversationId": room, "type": "sticker", "attachments": []map[string]any{{"type": "sticker", "url": url}}}).OK(&sent)
	if sent.Type != "sticker" || len(sent.Attachments) != 1 || sent.Attachments[0].Type != "sticker" {
		t.Errorf("sent %+v", sent)
	}
	ada.Do("DELETE", "/stickers/packs/"+p.ID, nil).Fails(403, "INSUFFICIENT_PERMISSIONS")
	admin.Do("DELETE", "/stickers/packs/"+p.ID, nil).OK(nil)
	admin.Do("DELETE", "/stickers/packs/"+p.ID, nil).Fails(404, "STICKER_NOT_FOUND")
	get(s.Nobody(), url).Fails(404, "MEDIA_NOT_FOUND")
	if r := get(bob, sent.Attachments[0].URL); r.Status != 200 {
		t.Errorf("what was sent: %d %s", r.Status, r.Body)
	}
}

func TestAHostilePackIsRefusedWhole(t *testing.T) {
	s := servertest.Start(t)
	admin := chief(t, s)
	for what, archive := range map[string][]byte{
		"no ZIP": []byte("hello"), "empty": pack(t), "leads out": pack(t, "../../a.png", servertest.PNG(4, 4)), "leads out on Windows": pack(t, `..\a.png`, servertest.PNG(4, 4)),
		"absolute": pack(t, "/etc/a.png", servertest.PNG(4, 4)), "no picture": pack(t, "a.png", "<html><script>"), "a picture and no picture": pack(t, "a.png", servertest.PNG(4, 4), "b.svg", "<svg onload=alert(1)>"),
		"a bomb": pack(t, "a.png", strings.Repeat("\x00", 70<<20)), "not there": pack(t, "manifest.json", `{"stickers":[{"file":"b.png"}]}`, "a.png", servertest.PNG(4, 4)),
		"a broken manifest": pack(t, "manifest.json", `{"stickers":`, "a.png", servertest.PNG(4, 4)),
	} {
		r := admin.Upload("/stickers/packs", servertest.File{Part: "file", Name: "x.zip", Content: archive})
		if r.Status != 400 || !strings.Contains(string(r.Body), "PACK_INVALID") {
			t.Errorf("%s: %d %s", what, r.Status, r.Body)
		}
	}
	if left := blobs(t, s); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}
