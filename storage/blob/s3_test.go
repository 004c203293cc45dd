package blob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage/blob"
)

// film is content that takes several parts and several spans.
func film(t testing.TB, size int) string {
	t.Helper()
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return string(b)
}

func claim() error { return nil }

// counter counts the requests of each method.
type counter struct{ puts, gets, heads, posts, bytes atomic.Int64 }

func (c *counter) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Method {
		case http.MethodPut:
			c.puts.Add(1)
		case http.MethodGet:
			c.gets.Add(1)
		case http.MethodHead:
			c.heads.Add(1)
		case http.MethodPost:
			c.posts.Add(1)
		}
		next.ServeHTTP(&tally{w, c}, r)
	})
}

type tally struct {
	http.ResponseWriter
	c *counter
}

func (t *tally) Write(b []byte) (int, error) {
	t.c.bytes.Add(int64(len(b)))
	return t.ResponseWriter.Write(b)
}

func (t *tally) Unwrap() http.ResponseWriter { return t.ResponseWriter }

func TestALargeBlobIsSentInPartsAndServedInSpans(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	var c counter
	s := g.open(g.between(c.watch))
	body := film(t, 12<<20)
	d := draft(t, s, body)
	name := d.Name()
	if err := s.Keep(ctx, d, claim); err != nil {
		t.Fatal(err)
	}
	if puts, posts := c.puts.Load(), c.posts.Load(); puts != 3 || posts != 2 {
		t.Errorf("%d parts, %d requests to begin and complete", puts, posts)
	}
	if got, err := os.ReadFile(filepath.Join(g.bucket(), "media", string(name[:2]), string(name[2:4]), string(name))); err != nil || string(got) != body {
		t.Errorf("the object: %d bytes, %v", len(got), err)
	}
	server := httptest.NewServer(serve(s, name))
	defer server.Close()
	c.gets.Store(0)
	if status, got := fetch(t, server.URL, ""); status != http.StatusOK || string(got) != body {
		t.Errorf("%d, %d bytes", status, len(got))
	}
	if gets := c.gets.Load(); gets != 4 { // of 1, 2, 4 and the last 5 MiB
		t.Errorf("%d requests for the whole", gets)
	}
	c.bytes.Store(0)
	if status, got := fetch(t, server.URL, "bytes=5000000-5000009"); status != http.StatusPartialContent || string(got) != body[5000000:5000010] {
		t.Errorf("%d, %q", status, got)
	}
	if sent := c.bytes.Load(); sent > 2<<20 {
		t.Errorf("%d bytes were asked for ten", sent)
	}
	if status, got := fetch(t, server.URL, "bytes=-10"); status != http.StatusPartialContent || string(got) != body[len(body)-10:] {
		t.Errorf("%d, %q", status, got)
	}
	if status, _ := fetch(t, server.URL, "bytes=99999999-"); status != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("%d behind the end", status)
	}
}

func TestABlobIsReadFromWhereOneSeeks(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	s := g.open(g.settings())
	body := film(t, 3<<20)
	f, err := s.Open(ctx, keep(t, s, body))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, step := range []struct {
		offset       int64
		whence, want int
	}{{0, io.SeekStart, 0}, {100, io.SeekCurrent, 104}, {-5, io.SeekEnd, len(body) - 5}, {1 << 20, io.SeekStart, 1 << 20}} {
		at, err := f.Seek(step.offset, step.whence)
		if err != nil || at != int64(step.want) {
			t.Fatalf("%+v: at %d, %v", step, at, err)
		}
		got := make([]byte, 4)
		if _, err := io.ReadFull(f, got); err != nil || string(got) != body[at:at+4] {
			t.Errorf("%+v: %v", step, err)
		}
	}
	if _, err := f.Seek(-1, io.SeekStart); err == nil {
		t.Error("before the beginning")
	}
	if _, err := f.Seek(1, io.SeekEnd); err != nil {
		t.Error(err)
	}
	if n, err := f.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("behind the end: %d, %v", n, err)
	}
}

func TestAFilmPassesWithoutBeingHeldInMemory(t *testing.T) {
	g := startGateway(t)
	to := g.settings()
	to.Part = 16 << 20
	s := g.open(to)
	d, err := s.Draft(1 << 30)
	if err != nil {
		t.Fatal(err)
	}
	part := []byte(film(t, 1<<20))
	for range 96 {
		if _, err := d.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	name := d.Name()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := s.Keep(ctx, d, claim); err != nil {
		t.Fatal(err)
	}
	if sound, err := s.Verify(ctx, name); !sound || err != nil {
		t.Errorf("sound %v, %v", sound, err)
	}
	runtime.ReadMemStats(&after)
	if sum := after.TotalAlloc - before.TotalAlloc; sum > 8<<20 {
		t.Errorf("%d bytes allocated for 96 MiB", sum)
	}
}

func TestMoreObjectsThanAPageAreListed(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	s := g.open(g.settings())
	for i := range 2100 {
		name := fmt.Sprintf("%064x", i)
		name = name[60:] + name[:60]
		dir := filepath.Join(g.bucket(), "media", name[:2], name[2:4])
		if err := errors.Join(os.MkdirAll(dir, 0o700), os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	n, last := 0, blob.Name("")
	err := s.Walk(ctx, func(i blob.Info) error {
		if i.Name <= last || i.Size != 1 {
			t.Fatalf("%+v after %s", i, last)
		}
		n, last = n+1, i.Name
		return nil
	})
	if err != nil || n != 2100 {
		t.Errorf("%d of 2100, %v", n, err)
	}
	enough := errors.New("enough")
	if err := s.Walk(ctx, func(blob.Info) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}

func TestSettingsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	for what, change := range map[string]func(*blob.S3){
		"secret":  func(to *blob.S3) { to.SecretKey = "another" },
		"account": func(to *blob.S3) { to.AccessKey = "nobody" },
		"bucket":  func(to *blob.S3) { to.Bucket = "elsewhere" },
		"region":  func(to *blob.S3) { to.Region = "mars-1" },
		"scheme":  func(to *blob.S3) { to.Endpoint = strings.Replace(to.Endpoint, "http:", "https:", 1) },
	} {
		to := g.settings()
		change(&to)
		if _, err := blob.OpenS3(ctx, t.TempDir(), 0, to); !errors.Is(err, blob.ErrRefused) {
			t.Errorf("%s: %v", what, err)
		} else if strings.Contains(err.Error(), to.SecretKey) {
			t.Errorf("%s: the secret is told: %v", what, err)
		}
	}
	for what, change := range map[string]func(*blob.S3){
		"no key":      func(to *blob.S3) { to.SecretKey = "" },
		"no endpoint": func(to *blob.S3) { to.Endpoint = "" },
		"a host":      func(to *blob.S3) { to.Endpoint = "s3.example.org:9000" },
		"a path":      func(to *blob.S3) { to.Endpoint += "/chat" },
		"a password":  func(to *blob.S3) { to.Endpoint = "http://a:b@127.0.0.1" },
		"no bucket":   func(to *blob.S3) { to.Bucket = "" },
		"dots":        func(to *blob.S3) { to.Prefix = "a/../../b" },
		"small parts": func(to *blob.S3) { to.Part = 1000 },
		"roots":       func(to *blob.S3) { to.Roots = []byte("none") },
	} {
		to := g.settings()
		change(&to)
		if _, err := blob.OpenS3(ctx, t.TempDir(), 0, to); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

func TestACertificateOfOnesOwnMustBeAmongTheRoots(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	to := g.settings()
	var plain http.Handler
	g.between(func(next http.Handler) http.Handler { plain = next; return next })
	server := httptest.NewTLSServer(plain)
	defer server.Close()
	to.Endpoint = server.URL
	if _, err := blob.OpenS3(ctx, t.TempDir(), 0, to); !errors.Is(err, blob.ErrRefused) {
		t.Errorf("error %v", err)
	}
	to.Roots = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	s := g.open(to)
	if name := keep(t, s, "hello"); content(t, s, name) != "hello" {
		t.Error("other content")
	}
}

func TestAStoreThatIsAwayIsAnErrorOfEachCallUntilItIsBack(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	g.kill()
	s := g.open(g.settings())
	if err := s.Check(ctx); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("check: %v", err)
	}
	if _, err := s.Stat(ctx, keepless()); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
	claimed := false
	if err := s.Keep(ctx, draft(t, s, "hello"), func() error { claimed = true; return nil }); !errors.Is(err, blob.ErrUnavailable) || claimed {
		t.Errorf("keep: %v, claimed %v", err, claimed)
	}
	if gone, err := s.Remove(ctx, keepless(), func() (bool, error) { return false, nil }); gone || !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("remove: %v %v", gone, err)
	}
	if err := s.Walk(ctx, func(blob.Info) error { return nil }); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("walk: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := s.Open(ended, keepless()); !errors.Is(err, context.Canceled) {
		t.Errorf("ended: %v", err)
	}
	g.restart()
	if name := keep(t, s, "hello"); content(t, s, name) != "hello" {
		t.Error("other content")
	}
}

// The server is killed when it has taken half of the upload.
func TestAServerThatDiesDuringAnUploadLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	parts := make(chan struct{}, 20)
	to := g.between(func(next http.Handler) http.Handler {
		n := 0
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("partNumber") {
				if n++; n == 3 {
					g.kill()
				}
				parts <- struct{}{}
			}
			next.ServeHTTP(w, r)
		})
	})
	s := g.open(to)
	body := film(t, 21<<20)
	d := draft(t, s, body)
	name := d.Name()
	if err := s.Keep(ctx, d, func() error { t.Error("claimed"); return nil }); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("keep: %v", err)
	}
	if len(parts) < 3 {
		t.Fatalf("%d parts were sent", len(parts))
	}
	g.restart()
	left := func() (n int) {
		for _, f := range files(t, g.root) {
			if info, err := os.Stat(f); err == nil && info.Size() >= 1<<20 {
				n++
			}
		}
		return n
	}
	if left() == 0 {
		t.Error("the upload had left nothing, so that nothing was tried")
	}
	s = g.open(g.settings())
	if n := left(); n != 0 {
		t.Errorf("%d parts are left", n)
	}
	if _, err := s.Stat(ctx, name); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("half a blob: %v", err)
	}
	if keep(t, s, body); content(t, s, name) != body {
		t.Error("other content")
	}
}

// changed gives other bytes than those it reads.
type changed struct{ io.ReadCloser }

func (c *changed) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if n > 0 {
		p[n/2] ^= 1
	}
	return n, err
}

func TestWhatChangesOnTheWayIsNotKept(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	to := g.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				r.Body = &changed{r.Body}
			}
			next.ServeHTTP(w, r)
		})
	})
	s := g.open(to)
	for _, size := range []int{1000, 6 << 20} {
		if err := s.Keep(ctx, draft(t, s, film(t, size)), func() error { t.Error("claimed"); return nil }); err == nil {
			t.Errorf("%d bytes: no error", size)
		}
	}
	if err := s.Walk(ctx, func(i blob.Info) error { return fmt.Errorf("%s is there", i.Name) }); err != nil {
		t.Error(err)
	}
}

func TestADownloadThatBreaksOffGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	var cuts atomic.Int64
	to := g.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && r.Header.Get("Range") != "" && cuts.Add(1)%2 == 1 {
				w = &cut{w, 700_000}
			}
			next.ServeHTTP(w, r)
		})
	})
	s := g.open(to)
	body := film(t, 6<<20)
	if got := content(t, s, keep(t, s, body)); got != body {
		t.Errorf("%d bytes, or other ones", len(got))
	}
	if cuts.Load() < 4 {
		t.Errorf("%d requests", cuts.Load())
	}
}

// cut breaks the connection after some bytes.
type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if c.left -= len(b); c.left < 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(b)
}

func TestADownloadThatNeverGetsAnywhereEnds(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	to := g.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w = &cut{w, 0}
			}
			next.ServeHTTP(w, r)
		})
	})
	s := g.open(to)
	if _, err := s.Verify(ctx, keep(t, s, "hello")); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}

// A server that takes connections and says nothing, at first, or in the midst of an answer or of an upload.
func TestAServerThatFallsSilentIsGivenUp(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	to := g.settings()
	to.Silence = 200 * time.Millisecond
	to.Endpoint = "http://" + l.Addr().String()
	s := g.open(to)
	if _, err := s.Stat(ctx, keepless()); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("stat: %v", err)
	}
	// More than the kernel holds for a reader that does not read.
	if err := s.Keep(ctx, draft(t, s, film(t, 20<<20)), claim); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("keep: %v", err)
	}

	done := make(chan struct{})
	to = g.between(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				w = &stuck{w, done}
			}
			next.ServeHTTP(w, r)
		})
	})
	defer close(done)
	to.Silence = 300 * time.Millisecond
	s = g.open(to)
	name := keep(t, s, "hello")
	if _, err := s.Verify(ctx, name); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("verify: %v", err)
	}
}

// stuck says that there is an answer, and then nothing.
type stuck struct {
	http.ResponseWriter
	until chan struct{}
}

func (s *stuck) Write(b []byte) (int, error) {
	_ = http.NewResponseController(s.ResponseWriter).Flush()
	<-s.until
	return len(b), nil
}

// A slow client keeps the store waiting for longer than the store may be silent; that is not the store's silence.
func TestAReaderMayTakeItsTime(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	to := g.settings()
	to.Silence = 300 * time.Millisecond
	s := g.open(to)
	body := film(t, 9<<20)
	f, err := s.Open(ctx, keep(t, s, body))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got := make([]byte, 1000)
	if _, err := io.ReadFull(f, got); err != nil {
		t.Fatal(err)
	}
	<-time.After(2 * to.Silence) // what is tested is the passing of time
	rest, err := io.ReadAll(f)
	if err != nil || string(got)+string(rest) != body {
		t.Errorf("%d bytes, %v", len(got)+len(rest), err)
	}
}

func TestMoveCopiesEverythingOnceAndSaysWhatIsDamaged(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	dir := t.TempDir()
	disk := open(t, dir)
	names := map[blob.Name]string{}
	for i := range 12 {
		text := fmt.Sprint("content ", i)
		names[keep(t, disk, text)] = text
	}
	large := film(t, 11<<20)
	names[keep(t, disk, large)] = large
	bad := keep(t, disk, "to be damaged")
	path := filepath.Join(dir, "media", string(bad[:2]), string(bad[2:4]), string(bad))
	if err := os.WriteFile(path, []byte("to be damagee"), 0o600); err != nil {
		t.Fatal(err)
	}
	var c counter
	bucket := g.open(g.between(c.watch))

	// Interrupted half way.
	half, cancel := context.WithCancel(ctx)
	var p blob.Progress
	err := blob.Move(half, disk, bucket, func(at blob.Progress) {
		if p = at; p.Done == 6 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) || p.Done < 6 || p.Done > 7 || p.Total != 14 {
		t.Errorf("%+v %v", p, err)
	}
	err = blob.Move(ctx, disk, bucket, func(at blob.Progress) { p = at })
	if !errors.Is(err, blob.ErrDamaged) || !strings.Contains(err.Error(), string(bad)) {
		t.Errorf("error %v", err)
	}
	if p.Done != 14 || p.Skipped < 5 || p.DoneBytes != p.TotalBytes {
		t.Errorf("%+v", p)
	}
	check := func(s *blob.Store) {
		t.Helper()
		for name, want := range names {
			if got := content(t, s, name); got != want {
				t.Errorf("%s: %d bytes", name, len(got))
			}
		}
	}
	check(bucket)
	check(disk)
	if _, err := bucket.Stat(ctx, bad); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("the damaged one: %v", err)
	}

	// Another time sends nothing, except what was damaged there meanwhile.
	var one blob.Name
	for one = range names {
		break
	}
	path = filepath.Join(g.bucket(), "media", string(one[:2]), string(one[2:4]), string(one))
	if err := os.WriteFile(path, bytes.Repeat([]byte("x"), len(names[one])), 0o600); err != nil {
		t.Fatal(err)
	}
	c.puts.Store(0)
	if err := blob.Move(ctx, disk, bucket, func(at blob.Progress) { p = at }); !errors.Is(err, blob.ErrDamaged) || p.Skipped != 12 {
		t.Errorf("%+v %v", p, err)
	}
	if puts := c.puts.Load(); puts < 1 || puts > 3 {
		t.Errorf("%d requests", puts)
	}
	check(bucket)

	// And back.
	other := open(t, t.TempDir())
	if err := blob.Move(ctx, bucket, other, func(at blob.Progress) { p = at }); err != nil || p.Done != 13 || p.Skipped != 0 {
		t.Errorf("%+v %v", p, err)
	}
	check(other)
	g.kill()
	if err := blob.Move(ctx, disk, bucket, func(blob.Progress) {}); !errors.Is(err, blob.ErrUnavailable) {
		t.Errorf("error %v", err)
	}
}
