package outbound

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func (s *site) place() string { return strings.TrimPrefix(s.URL, "http://") }

func TestWhatAnAdministratorHasNamedMayLieWithin(t *testing.T) {
	other := indoors(t, hello)
	whisper := indoors(t, func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		hello(w, r)
	})
	resolver := names(t, func(name string, _ int) []string {
		if name == "metadata.test" {
			return []string{"169.254.169.254", "0.0.0.0"}
		}
		return []string{"127.0.0.1"}
	})
	plain := client(t, Options{Resolver: resolver})
	named := fmt.Sprintf("Whisper.test.:%d", whisper.port)
	c, err := plain.Trusted(named, whisper.place(), fmt.Sprintf("metadata.test:%d", whisper.port), "169.254.169.254:80", "[::ffff:127.0.0.1]:9")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, address := range []string{
		whisper.URL, fmt.Sprintf("http://whisper.test:%d/x", whisper.port), fmt.Sprintf("http://WHISPER.TEST.:%d/", whisper.port),
		fmt.Sprintf("http://[::ffff:127.0.0.1]:%d/", whisper.port), whisper.URL + "/?to=" + url.QueryEscape(whisper.URL),
	} {
		if got, err := read(c, address); got != "hello" || err != nil {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	for _, address := range []string{
		other.URL, fmt.Sprintf("http://localhost:%d/", whisper.port), fmt.Sprintf("http://whisper.test:%d/", other.port),
		fmt.Sprintf("http://other.test:%d/", whisper.port), fmt.Sprintf("http://metadata.test:%d/", whisper.port), "http://169.254.169.254/",
		fmt.Sprintf("http://user:password@whisper.test:%d/", whisper.port), whisper.URL + "/?to=" + url.QueryEscape(other.URL),
		whisper.URL + "/?to=" + url.QueryEscape("http://169.254.169.254/"), "http://127.0.0.1/",
	} {
		if got, err := read(c, address); !errors.Is(err, ErrForbidden) {
			t.Errorf("%s: %q, %v", address, got, err)
		}
	}
	// The connections of the trusted client, which are open by now, are not those of the other.
	hits := whisper.hits.Load()
	for _, address := range []string{whisper.URL, "http://" + named} {
		if _, err := read(plain, address); !errors.Is(err, ErrForbidden) {
			t.Errorf("error %v", err)
		}
	}
	if other.hits.Load() != 0 || whisper.hits.Load() != hits {
		t.Errorf("%d and %d requests", other.hits.Load(), whisper.hits.Load()-hits)
	}
	for _, place := range []string{"", "whisper", "http://whisper:9000", "whisper:", "whisper:0", "whisper:99999", ":9000", "a@b:9000", "0x7f.1:80", "whisper:9000/x", "[fe80::1%25lo]:80"} {
		if _, err := plain.Trusted(place); err == nil {
			t.Errorf("%q is a place", place)
		}
	}
}

func TestAPlaceThatFailsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker{after: 3, pause: 30 * time.Second}
		for i := range 3 {
			if err := b.enter("a:80"); err != nil {
				t.Fatalf("failure %d: %v", i, err)
			}
			b.failed("a:80")
		}
		if err := b.enter("a:80"); !errors.Is(err, errOpen) {
			t.Errorf("error %v", err)
		}
		if err := b.enter("b:80"); err != nil {
			t.Errorf("another place: %v", err)
		}
		want := HostState{Place: "a:80", Failures: 3, Open: true, Until: time.Now().Add(30 * time.Second)}
		if got := b.state(); len(got) != 1 || got[0] != want {
			t.Errorf("%+v", got)
		}
		time.Sleep(30 * time.Second) // of the bubble's clock
		if err := b.enter("a:80"); err != nil {
			t.Errorf("the trial: %v", err)
		}
		if err := b.enter("a:80"); !errors.Is(err, errOpen) {
			t.Errorf("beside the trial: %v", err)
		}
		b.failed("a:80")
		time.Sleep(29 * time.Second)
		if err := b.enter("a:80"); !errors.Is(err, errOpen) {
			t.Errorf("after the trial: %v", err)
		}
		time.Sleep(2 * time.Second)
		if err := b.enter("a:80"); err != nil {
			t.Errorf("the next trial: %v", err)
		}
		b.succeeded("a:80")
		if err := b.enter("a:80"); err != nil || len(b.state()) != 0 {
			t.Errorf("%v, %+v", err, b.state())
		}
		for i := range 5000 {
			b.failed(fmt.Sprint(i))
			time.Sleep(time.Millisecond)
		}
		got := b.state()
		if len(got) > maxPlaces || len(got) < maxPlaces/4 || b.places["4999"] == nil || b.places["0"] != nil {
			t.Errorf("%d places", len(got))
		}
	})
}

func TestAFailingHostCostsNoMoreRequestsUntilItIsTried(t *testing.T) {
	var broken atomic.Bool
	broken.Store(true)
	serve := func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			switch r.URL.Path {
			case "/status":
				w.WriteHeader(http.StatusInternalServerError)
			case "/body":
				w.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(w, "hel")
				panic(http.ErrAbortHandler)
			default:
				panic(http.ErrAbortHandler)
			}
			return
		}
		hello(w, r)
	}
	for _, path := range []string{"/", "/body", "/status"} {
		broken.Store(true)
		within := indoors(t, serve)
		c, err := New(Options{BreakAfter: 3, BreakFor: 100 * time.Millisecond}).Trusted(within.place())
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			if _, err := read(c, within.URL+path); path != "/status" && (!errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), errOpen.Error())) {
				t.Errorf("%s: %v", path, err)
			}
		}
		hits := within.hits.Load()
		_, err = read(c, within.URL+path)
		state := c.State()
		if len(state) != 1 || state[0].Place != within.place() || !state[0].Open || state[0].Failures != 3 {
			t.Errorf("%s: %+v", path, state)
		}
		if !errors.Is(err, ErrUnavailable) || within.hits.Load() != hits {
			t.Errorf("%s: %v, and %d requests", path, err, within.hits.Load()-hits)
		}
		broken.Store(false)
		<-time.After(time.Until(state[0].Until))
		if got, err := read(c, within.URL); got != "hello" || err != nil || len(c.State()) != 0 {
			t.Errorf("%s: %q, %v, %+v", path, got, err, c.State())
		}
		c.Close()
	}
}

// Otherwise anybody could keep the previews of a site from the others by naming a path of it that fails.
func TestTheStatusOfAStrangersHostDoesNotCount(t *testing.T) {
	out := outdoors(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	c := client(t, Options{BreakAfter: 2}, out)
	for range 4 {
		if _, err := read(c, out.URL); err != nil {
			t.Error(err)
		}
	}
	if hits := out.hits.Load(); hits != 4 || len(c.State()) != 0 {
		t.Errorf("%d requests, %+v", hits, c.State())
	}
	// Nor does what we ourselves refuse, or a caller who goes away.
	for range 4 {
		if _, err := read(c, "http://10.0.0.1/"); !errors.Is(err, ErrForbidden) {
			t.Error(err)
		}
	}
	if state := c.State(); len(state) != 0 {
		t.Errorf("%+v", state)
	}
}

func TestOnlyWhatMayBeRepeatedIsAndOnlyWhenAsked(t *testing.T) {
	after := ""
	var hits *atomic.Int64
	out := outdoors(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch n := hits.Load(); {
		case n == 1:
			w.Header().Set("Retry-After", after)
			w.Header().Set("Connection", "close") // net/http itself repeats what a kept connection has lost
			w.WriteHeader(http.StatusServiceUnavailable)
		case n == 2:
			panic(http.ErrAbortHandler)
		default:
			_, _ = io.WriteString(w, r.Method+" "+string(b))
		}
	})
	hits = &out.hits
	for _, try := range []struct {
		retries int
		method  string
		after   string
		hits    int64
		status  int
	}{
		{3, http.MethodGet, "", 3, http.StatusOK},
		{3, http.MethodPut, "0", 3, http.StatusOK},
		{3, http.MethodPost, "", 1, http.StatusServiceUnavailable},
		{0, http.MethodGet, "", 1, http.StatusServiceUnavailable},
		{3, http.MethodGet, "3600", 1, http.StatusServiceUnavailable}, // longer than there is time
		{3, http.MethodGet, "-5", 3, http.StatusOK},
		{1, http.MethodGet, "", 2, 0},
	} {
		hits.Store(0)
		after = try.after
		c := client(t, Options{Retries: try.retries}, out)
		req, err := http.NewRequestWithContext(ctx, try.method, out.URL, strings.NewReader("words"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := c.Do(req)
		if try.status == 0 {
			if !errors.Is(err, ErrUnavailable) {
				t.Errorf("%+v: %v", try, err)
			}
		} else if err != nil || resp.StatusCode != try.status {
			t.Errorf("%+v: %+v, %v", try, resp, err)
		} else {
			b, err := io.ReadAll(resp.Body)
			if _ = resp.Body.Close(); err != nil || try.status == http.StatusOK && string(b) != try.method+" words" {
				t.Errorf("%+v: %q, %v", try, b, err)
			}
		}
		if got := hits.Load(); got != try.hits {
			t.Errorf("%+v: %d requests", try, got)
		}
	}
	// What is refused, or has been redirected too often, is the same the next time.
	c := client(t, Options{Retries: 3}, out)
	began := time.Now()
	if _, err := read(c, "http://127.0.0.1/"); !errors.Is(err, ErrForbidden) || time.Since(began) > 150*time.Millisecond {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	l, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close() // nobody is there
	gone := client(t, Options{Retries: 1, Ports: []uint16{uint16(l.Addr().(*net.TCPAddr).Port)}})
	if _, err := read(gone, "http://"+l.Addr().String()); !errors.Is(err, ErrUnavailable) {
		t.Errorf("error %v", err)
	}
	if state := gone.State(); len(state) != 1 || state[0].Failures != 2 || state[0].Open {
		t.Errorf("%+v", state)
	}
}
