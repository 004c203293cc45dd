package media_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime/pprof"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// drip writes a byte now and then until the other side has enough.
func drip(w http.ResponseWriter, r *http.Request, b byte) {
	control := http.NewResponseController(w)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if _, err := w.Write([]byte{b}); err != nil || control.Flush() != nil {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// bomb is 64 MiB of zeros behind a head, in a hundred kilobytes.
func bomb(t *testing.T, head []byte) []byte {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	zeros := make([]byte, 1<<20)
	_, err := z.Write(head)
	for i := 0; i < 64 && err == nil; i++ {
		_, err = z.Write(zeros)
	}
	if err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// ours are the goroutines that work for GIFs.
func ours() string {
	var all bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&all, 2)
	var list []string
	for stack := range strings.SplitSeq(all.String(), "\n\n") {
		if strings.Contains(stack, "server/outbound.(*") || strings.Contains(stack, "media.(*gifs)") {
			list = append(list, stack)
		}
	}
	return strings.Join(list, "\n\n")
}

func TestASlowOrEndlessProviderEndsInTimeAndHoldsUpNobody(t *testing.T) {
	within := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a place within was asked") }))
	defer within.Close()
	film := film(t)
	packed := bomb(t, film)
	for what, c := range map[string]struct {
		answer http.HandlerFunc
		status int // of the picture
		code   string
	}{
		"silent":               {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, 503, "GIF_UNAVAILABLE"},
		"drips from the start": {func(w http.ResponseWriter, r *http.Request) { drip(w, r, ' ') }, 503, "GIF_UNAVAILABLE"},
		"drips after a while": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(append(bytes.Clone(film), make([]byte, 1<<14)...))
			drip(w, r, 'x')
		}, 503, "GIF_UNAVAILABLE"},
		"drips headers": {func(w http.ResponseWriter, r *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, err = conn.Write([]byte("HTTP/1.1 200 OK\r\nX-A: "))
			for err == nil {
				time.Sleep(10 * time.Millisecond) // what is tested is that it takes long
				_, err = conn.Write([]byte("x"))
			}
		}, 503, "GIF_UNAVAILABLE"},
		"endless headers": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, err = conn.Write([]byte("HTTP/1.1 200 OK\r\n"))
			for i := 0; err == nil; i++ {
				_, err = fmt.Fprintf(conn, "X-%d: %s\r\n", i, strings.Repeat("x", 1000))
			}
		}, 503, "GIF_UNAVAILABLE"},
		"endless": {func(w http.ResponseWriter, _ *http.Request) {
			chunk := append(bytes.Clone(film), make([]byte, 1<<16)...)
			for {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		}, 404, "MEDIA_NOT_FOUND"},
		"packed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(packed)
		}, 404, "MEDIA_NOT_FOUND"},
		"redirects within": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, within.URL+r.URL.Path, http.StatusFound)
		}, 503, "GIF_UNAVAILABLE"},
		"redirects in a circle": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusMovedPermanently)
		}, 503, "GIF_UNAVAILABLE"},
		"redirects to a file": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "file:///etc/passwd")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, 503, "GIF_UNAVAILABLE"},
	} {
		t.Run(what, func(t *testing.T) {
			p := newProvider(t)
			timeout := "300ms"
			if c.status == http.StatusNotFound { // found out by size, whatever that takes here
				timeout = "20s"
			}
			s := p.as("giphy", "QUCKCHAT_GIFS_TIMEOUT="+timeout)
			ada, bob := s.Register("ada"), s.Register("bob")
			room := ada.Single(bob)
			picture := gifs(t, ada, "/gifs/trending?limit=1").Data[0].URL
			var running atomic.Int64
			reached := make(chan struct{}, 100)
			p.fails(func(w http.ResponseWriter, r *http.Request) {
				running.Add(1)
				defer running.Add(-1)
				reached <- struct{}{}
				c.answer(w, r)
			})
			var asking sync.WaitGroup
			asking.Go(func() {
				if found := gifs(t, ada, "/gifs/search?q=cat"); len(found.Data) != 0 {
					t.Errorf("found %+v", found)
				}
			})
			asking.Go(func() { get(s.Nobody(), picture).Fails(c.status, c.code) })
			asking.Go(func() {
				code := map[string]string{"GIF_UNAVAILABLE": "GIF_UNAVAILABLE", "MEDIA_NOT_FOUND": "GIF_UNUSABLE"}[c.code]
				status := map[string]int{"GIF_UNAVAILABLE": 503, "GIF_UNUSABLE": 400}[code]
				ada.Do("POST", "/messages", remote(room, p.URL+"/media/9/giphy.gif", "c1")).Fails(status, code)
			})
			<-reached
			bob.Send(room, "the others go on") // while the provider keeps them waiting
			bob.Uploaded("/upload/file", "a.txt", []byte("also files"))
			asking.Wait()
			eventually(t, func() bool { return running.Load() == 0 })
			eventually(t, func() bool { return ours() == "" })
			if left := blobs(t, s); len(left) != 1 { // that of bob's
				t.Errorf("left %v", left)
			}
		})
	}
}

func TestSlowPicturesAndManyWhoAskHoldUpNoQuestion(t *testing.T) {
	p := newProvider(t)
	s := p.as("giphy", "QUCKCHAT_GIFS_TIMEOUT=1s")
	ada := s.Register("ada")
	page := gifs(t, ada, "/gifs/trending?limit=40").Data
	slow := make(chan struct{})
	reached := make(chan struct{}, 100)
	p.fails(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/media/") {
			reached <- struct{}{}
			select {
			case <-slow:
			case <-r.Context().Done():
			}
			return
		}
		fmt.Fprintf(w, `{"data":[%s],"pagination":{"total_count":1}}`, p.giphy(1))
	})
	var looking sync.WaitGroup
	for _, one := range page {
		looking.Go(func() { get(s.Nobody(), one.Images["original"].URL).Fails(503, "GIF_UNAVAILABLE") })
	}
	for range 16 {
		<-reached
	}
	if found := gifs(t, ada, "/gifs/search?q=cat"); len(found.Data) != 1 {
		t.Errorf("found %+v", found)
	}
	looking.Wait() // also those who got no place
	close(slow)
	eventually(t, func() bool { return ours() == "" })
}
