package sfu

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"testing"
	"time"
)

// seen is what a party in the browser tells of itself.
type seen struct {
	Peer                  string
	Frames, Width, Layers int
	Samples, Concealed    float64
}

// TestInABrowser has two parties in a page of Chromium, where it is installed, with its fake camera and microphone.
func TestInABrowser(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("chromium is not installed")
	}
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	stats := make(chan seen, 100)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, q *http.Request) { http.ServeFile(w, q, "testdata/browser.html") })
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, q *http.Request) { events1(t, r, w, q) })
	mux.HandleFunc("POST /{what}", func(w http.ResponseWriter, q *http.Request) {
		var body struct {
			seen
			ID      uint64
			SDP     string
			Sources map[string]Source
		}
		raw, _ := io.ReadAll(q.Body)
		if q.PathValue("what") == "failed" {
			t.Errorf("%s: %s", q.FormValue("peer"), raw)
			return
		}
		if err := json.Unmarshal(raw, &body); err != nil {
			t.Errorf("%s: %v", q.PathValue("what"), err)
		}
		peer := r.Peer(q.FormValue("peer"))
		var err error
		switch q.PathValue("what") {
		case "offer":
			err = peer.Offer(body.SDP, body.Sources)
		case "answer":
			err = peer.Answer(body.ID, body.SDP)
		case "stats":
			body.seen.Peer = q.FormValue("peer")
			select {
			case stats <- body.seen:
			default:
			}
		}
		switch {
		case errors.Is(err, ErrGlare):
			w.WriteHeader(http.StatusConflict)
		case err != nil:
			t.Errorf("%s: %v\n%s", q.FormValue("peer"), err, body.SDP)
			w.WriteHeader(http.StatusBadRequest)
		}
	})
	page := httptest.NewServer(mux)
	t.Cleanup(page.CloseClientConnections)
	cmd := exec.Command(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
		"--disable-features=WebRtcHideLocalIpsWithMdns", "--autoplay-policy=no-user-gesture-required", "--user-data-dir="+t.TempDir(), page.URL)
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	}()
	done := map[string]seen{}
	deadline := time.After(patience)
	for len(done) < 2 {
		select {
		case now := <-stats:
			if now.Frames > 50 && now.Samples > 100_000 && now.Layers >= 2 {
				done[now.Peer] = now
			}
			t.Logf("%+v", now)
		case <-deadline:
			all, _ := json.MarshalIndent(r.Stats(), "", " ")
			t.Fatalf("only %v see and hear each other; %s", done, all)
		}
	}
	for _, p := range r.Stats().Peers {
		t.Logf("%s: estimate %d, %+v gets %+v", p.ID, p.Estimate, p.Tracks, p.Gets)
	}
}

// events1 joins a party and sends it its offers and answers.
func events1(t *testing.T, r *Room, w http.ResponseWriter, q *http.Request) {
	lines := make(chan any, 100)
	peer, err := r.Join(q.FormValue("peer"), PeerOptions{
		OnOffer:  func(o Offer) { lines <- map[string]any{"offer": o} },
		OnAnswer: func(a Answer) { lines <- map[string]any{"answer": a} },
	})
	if err != nil {
		t.Error(err)
		return
	}
	defer peer.Close()
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	_ = http.NewResponseController(w).Flush()
	for {
		select {
		case line := <-lines:
			raw, _ := json.Marshal(line)
			fmt.Fprintf(w, "data: %s\n\n", raw)
			_ = http.NewResponseController(w).Flush()
		case <-q.Context().Done():
			return
		}
	}
}
