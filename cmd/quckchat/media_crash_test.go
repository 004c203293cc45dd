package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"math/rand/v2"
	"mime/multipart"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// upload sends a file as a form, and returns its address without the host.
func (p *person) upload(content []byte) (address string, err error) {
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("file", "some file.bin")
	if err == nil {
		_, err = part.Write(content)
	}
	if err != nil || form.Close() != nil {
		return "", fmt.Errorf("make a form: %w", err)
	}
	r, err := http.NewRequest("POST", "http://"+p.site.address+"/api/v1/upload/file", &body)
	if err != nil {
		return "", err
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Authorization", "Bearer "+p.token)
	answer, err := web.Do(r)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errGone, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errGone, err)
	}
	var out struct{ URL string }
	if answer.StatusCode != http.StatusCreated {
		return "", fmt.Errorf("upload: %d %s", answer.StatusCode, raw)
	}
	err = json.Unmarshal(raw, &out)
	return strings.TrimPrefix(out.URL, "http://"+p.site.address), err
}

// fetch reads an address.
func (p *person) fetch(address string) (int, []byte, error) {
	answer, err := web.Get("http://" + p.site.address + address)
	if err != nil {
		return 0, nil, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	return answer.StatusCode, raw, err
}

// sharer uploads files, sends them, and deletes some of the messages again.
type sharer struct {
	*person
	room    string
	count   int
	shown   map[string][]byte // by the id of an acknowledged message, the content of its file
	deleted map[string]bool   // of those whose deletion was acknowledged or is unsure
	failure error
}

func (w *sharer) work(killed <-chan struct{}) {
	for w.failure == nil {
		select {
		case <-killed:
			return
		default:
		}
		if err := w.share(); err != nil && !strings.Contains(err.Error(), errGone.Error()) {
			w.failure = err
		} else if err != nil {
			time.Sleep(5 * time.Millisecond)
		}
	}
}

// drawing is a picture that nothing is taken out of, and of which small ones are made.
func drawing() []byte {
	m := image.NewGray(image.Rect(0, 0, 400+rand.IntN(100), 300))
	for i := range m.Pix {
		m.Pix[i] = byte(i) ^ byte(rand.IntN(4))
	}
	var out bytes.Buffer
	if err := png.Encode(&out, m); err != nil {
		panic(err) // memory does not fail
	}
	return out.Bytes()
}

func (w *sharer) share() error {
	w.count++
	content := make([]byte, 1+rand.IntN(200<<10))
	for i := 0; i+8 <= len(content); i += 8 {
		v := rand.Uint64()
		for j := range 8 {
			content[i+j] = byte(v >> (8 * j))
		}
	}
	if w.count%3 == 0 {
		content = drawing()
	}
	address, err := w.upload(content)
	if err != nil {
		return err
	}
	var m wireMessage
	err = w.call("POST", "/messages", map[string]any{
		"conversationId": w.room, "type": "file", "clientId": fmt.Sprintf("%s-%d", w.name, w.count), "attachments": []map[string]any{{"type": "file", "url": address}},
	}, &m)
	if err != nil {
		return err
	}
	w.shown[m.ID] = content
	if w.count%5 == 0 {
		w.deleted[m.ID] = true
		return w.call("DELETE", "/messages/"+m.ID, nil, nil)
	}
	return nil
}

func TestAKillLeavesNoOrphanAndNoMessageWithoutItsFile(t *testing.T) {
	rounds := 3
	if os.Getenv("QUCKCHAT_TORTURE") == "1" {
		rounds = 10
	}
	s := newSite(t)
	s.start()
	ada, bob := s.register("ada"), s.register("bob")
	room := ada.pair(bob)
	var workers []*sharer
	for _, p := range []*person{ada, ada, bob, bob} {
		workers = append(workers, &sharer{person: p, room: room, shown: map[string][]byte{}, deleted: map[string]bool{}, count: 1_000_000 * len(workers)})
	}
	for range rounds {
		killed := make(chan struct{})
		var all sync.WaitGroup
		for _, w := range workers {
			all.Go(func() { w.work(killed) })
		}
		time.Sleep(200*time.Millisecond + time.Duration(rand.IntN(400))*time.Millisecond)
		s.kill()
		close(killed)
		all.Wait()
		for _, w := range workers {
			if w.failure != nil {
				t.Fatalf("%s: %v\n%s", w.name, w.failure, s.log.end())
			}
		}
		s.start()
	}
	until(t, "what was deleted is forgotten", 20*time.Second, func() bool {
		out, _ := s.command("media", "sweep", "--data", s.dir, "--json")
		return strings.Contains(out, `"blobs": 0`)
	})
	files, fetched := 0, 0
	for _, w := range workers {
		for id, content := range w.shown {
			files++
			var m struct {
				IsDeleted   bool
				Attachments []struct{ URL string }
			}
			w.must("GET", "/messages/"+id, nil, &m)
			if w.deleted[id] && m.IsDeleted {
				continue
			}
			if len(m.Attachments) != 1 {
				t.Fatalf("message %s points to nothing", id)
			}
			status, raw, err := w.fetch(m.Attachments[0].URL)
			for ; status == http.StatusServiceUnavailable; status, raw, err = w.fetch(m.Attachments[0].URL) {
				time.Sleep(50 * time.Millisecond) // a job that was interrupted begins again
			}
			if err != nil || status != 200 || !bytes.Equal(raw, content) {
				t.Fatalf("the file of message %s: %d, %d bytes of %d, %v", id, status, len(raw), len(content), err)
			}
			fetched++
		}
	}
	out, code := s.command("media", "verify", "--data", s.dir)
	if code != 0 || !strings.Contains(out, "0 damaged, 0 missing") {
		t.Errorf("verify: %s", out)
	}
	s.stop()
	s.checkMedia()
	t.Logf("%d kills: %d files acknowledged in messages, %d still shown and fetched", rounds, files, fetched)
}

// checkMedia compares the disk with the tables: every blob that is named is there, and nothing else is.
func (s *site) checkMedia() {
	s.t.Helper()
	onDisk := map[string]bool{}
	err := filepath.WalkDir(filepath.Join(s.dir, "media"), func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(name)
		sum := sha256.Sum256(raw)
		if hex.EncodeToString(sum[:]) != entry.Name() {
			s.t.Errorf("%s is not what its name says", name)
		}
		onDisk[entry.Name()] = true
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	db, err := storage.Open(storage.Options{Path: filepath.Join(s.dir, storage.FileName)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	err = db.Read(context.Background(), func(v storage.View) error {
		rows, err := v.Query("SELECT sha256 FROM blob")
		if err != nil {
			return err
		}
		names, err := storage.ScanIDs(rows)
		if err != nil {
			return err
		}
		for _, name := range names {
			if !onDisk[name] {
				s.t.Errorf("blob %s is named and not there", name)
			}
			delete(onDisk, name)
		}
		for name := range onDisk {
			s.t.Errorf("blob %s is there and nobody names it", name)
		}
		var lost int
		err = v.QueryRow(`SELECT (SELECT count(*) FROM attachment a WHERE NOT EXISTS (SELECT 1 FROM upload u JOIN blob b ON b.sha256 = u.sha256 WHERE u.id = a.upload_id))
			+ (SELECT count(*) FROM attachment a WHERE NOT EXISTS (SELECT 1 FROM message m WHERE m.id = a.message_id))
			+ (SELECT count(*) FROM blob b WHERE NOT EXISTS (SELECT 1 FROM upload u WHERE u.sha256 = b.sha256) AND NOT EXISTS (SELECT 1 FROM rendition r WHERE r.sha256 = b.sha256))`).Scan(&lost)
		if lost != 0 {
			s.t.Errorf("%d rows point to nothing, or nothing points to them", lost)
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

// noise is a file of any size that is the same every time.
type noise struct{ at, size int64 }

func (n *noise) Read(b []byte) (int, error) {
	if n.at == n.size {
		return 0, io.EOF
	}
	b = b[:min(int64(len(b)), n.size-n.at)]
	for i := range b {
		x := uint64(n.at + int64(i))
		b[i] = byte((x * 0x9E3779B97F4A7C15) >> 56)
	}
	n.at += int64(len(b))
	return len(b), nil
}

func TestALargeResumableUploadSurvivesKillsOfBothSides(t *testing.T) {
	size := int64(48 << 20)
	if os.Getenv("QUCKCHAT_TORTURE") == "1" {
		size = 2 << 30
	}
	s := newSite(t)
	s.start()
	ada := s.register("ada")
	begin, err := http.NewRequest("POST", "http://"+s.address+"/api/v1/media/tus", nil)
	if err != nil {
		t.Fatal(err)
	}
	request := func(r *http.Request) (*http.Response, error) {
		r.Header.Set("Tus-Resumable", "1.0.0")
		r.Header.Set("Authorization", "Bearer "+ada.token)
		answer, err := (&http.Client{}).Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
		}
		return answer, err
	}
	begin.Header.Set("Upload-Length", strconv.FormatInt(size, 10))
	answer, err := request(begin)
	if err != nil || answer.StatusCode != 201 {
		t.Fatalf("begin: %v %v", answer, err)
	}
	id := path.Base(answer.Header.Get("Location"))
	where := "http://" + s.address + "/api/v1/media/tus/" + id
	offset := func() int64 {
		t.Helper()
		r, err := http.NewRequest("HEAD", where, nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := request(r)
		if err != nil {
			t.Fatal(err)
		}
		at, err := strconv.ParseInt(answer.Header.Get("Upload-Offset"), 10, 64)
		if err != nil {
			t.Fatalf("HEAD: %v", answer.Status)
		}
		return at
	}
	// send sends the rest; when stop is positive, meanwhile is called when about that much of the file is on its way.
	send := func(stop int64, meanwhile func(cancel func())) {
		t.Helper()
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		from := offset()
		body := &noise{from, size}
		trip := io.Reader(body)
		if stop > 0 {
			trip = &tripwire{Reader: body, at: stop - from, fn: func() { meanwhile(cancel) }}
		}
		r, err := http.NewRequestWithContext(ctx, "PATCH", where, io.NopCloser(trip))
		if err != nil {
			t.Fatal(err)
		}
		r.ContentLength = size - from
		r.Header.Set("Content-Type", "application/offset+octet-stream")
		r.Header.Set("Upload-Offset", strconv.FormatInt(from, 10))
		answer, err := request(r)
		if stop == 0 && (err != nil || answer.StatusCode != 204) {
			t.Fatalf("the rest: %v %v\n%s", answer, err, s.log.end())
		}
	}
	kept := []int64{}
	for _, part := range []int64{1, 2} { // the server is killed twice
		send(size*part/4, func(func()) { s.kill() })
		s.start()
		kept = append(kept, offset())
	}
	send(size*3/4, func(cancel func()) { cancel() }) // and the client once
	until(t, "the server has noticed", 20*time.Second, func() bool { return offset() > kept[1] })
	kept = append(kept, offset())
	began := time.Now()
	send(0, nil)
	took := time.Since(began)
	var row struct{ State, URL string }
	until(t, "the upload is ready", time.Minute, func() bool {
		ada.must("GET", "/media/"+id, nil, &row)
		return row.State == "ready"
	})
	whole, err := (&http.Client{}).Get("http://" + s.address + row.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer whole.Body.Close()
	got, want := sha256.New(), sha256.New()
	n, err := io.Copy(got, whole.Body)
	if _, wantErr := io.Copy(want, &noise{0, size}); err != nil || wantErr != nil {
		t.Fatal(err, wantErr)
	}
	if n != size || !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Errorf("%d of %d bytes came back, and they differ", n, size)
	}
	t.Logf("%d MiB, kept after the interruptions: %v MiB; the rest took %v", size>>20, []int64{kept[0] >> 20, kept[1] >> 20, kept[2] >> 20}, took.Round(time.Millisecond))
	for i, part := range []int64{1, 2, 3} {
		if kept[i] < size*part/4-(32<<20) || kept[i] == 0 {
			t.Errorf("after interruption %d only %d bytes were kept of %d", i+1, kept[i], size*part/4)
		}
	}
}

// tripwire calls fn when at bytes were read.
type tripwire struct {
	io.Reader
	at int64
	fn func()
}

func (w *tripwire) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if w.at -= int64(n); w.at <= 0 && w.fn != nil {
		fn := w.fn
		w.fn = nil
		fn()
	}
	return n, err
}
