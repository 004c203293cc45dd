package blob_test

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"syscall"
	"testing"

	"github.com/quckchat/quckchat/storage/blob"
)

// watched sees what net/http hands to a connection to send by itself. A TCPConn asks the reader within the limit for
// its descriptor, and without one copies.
type watched struct {
	net.Listener
	sources chan io.Reader
}

type watchedConn struct {
	*net.TCPConn
	sources chan io.Reader
}

func (w *watched) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &watchedConn{c.(*net.TCPConn), w.sources}, nil
}

func (c *watchedConn) ReadFrom(r io.Reader) (int64, error) {
	c.sources <- r
	return c.TCPConn.ReadFrom(r)
}

// serve answers with one blob, as the server of media does.
func serve(s *blob.Store, name blob.Name) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f, err := s.Open(r.Context(), name)
		if err != nil {
			http.Error(w, err.Error(), http.StatusNotFound)
			return
		}
		defer f.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", f.Info().At, f)
	})
}

func fetch(t testing.TB, url, span string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if span != "" {
		req.Header.Set("Range", span)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

func TestTheKernelIsGivenTheFileOfADiskToSend(t *testing.T) {
	s := open(t, t.TempDir())
	body := make([]byte, 300<<10)
	_, _ = rand.Read(body)
	name := keep(t, s, string(body))
	server := httptest.NewUnstartedServer(serve(s, name))
	w := &watched{server.Listener, make(chan io.Reader, 10)}
	server.Listener = w
	server.Start()
	defer server.Close()
	for span, want := range map[string][]byte{"": body, "bytes=100000-250000": body[100000:250001]} {
		if _, got := fetch(t, server.URL, span); !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes of %d, or other ones", span, len(got), len(want))
		}
		limited, ok := (<-w.sources).(*io.LimitedReader)
		if !ok {
			t.Fatal("not a part of a reader")
		}
		if _, ok := limited.R.(syscall.Conn); !ok {
			t.Errorf("%q: %T has no descriptor", span, limited.R)
		}
	}
}
