package server_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

type integration struct {
	Status, Since, Until, LastError, LastErrorAt, Detail string
	Needed                                               bool
	LeftAlone                                            []string
}

type integrations struct {
	Status  string
	Message string

	ClamAV, S3, GIFs, Transcription *integration
}

// health asks how the server does, and returns the whole answer and the part of the integrations.
func health(t *testing.T, u *servertest.User, path string) (r servertest.Reply, whole string, part integrations) {
	t.Helper()
	var out struct {
		Status  string
		Details struct{ Integrations integrations }
	}
	r = u.Do("GET", path, nil)
	if err := json.Unmarshal(r.Body, &out); err != nil || r.Status != http.StatusOK && r.Status != http.StatusServiceUnavailable {
		t.Fatalf("%d %s: %v", r.Status, r.Body, err)
	}
	return r, out.Status, out.Details.Integrations
}

// becomes waits until the part of the integrations is as wanted.
func becomes(t *testing.T, u *servertest.User, what string, holds func(integrations) bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * servertest.Patience); ; time.Sleep(10 * time.Millisecond) {
		_, _, part := health(t, u, "/health/integrations")
		if holds(part) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %+v", what, part)
		}
	}
}

// nobodyThere is an address at which nobody listens.
func nobodyThere(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func chief(t *testing.T, s *servertest.Server) *servertest.User {
	t.Helper()
	u := s.Register("chief")
	err := s.Inner.Store().Write(context.Background(), "test", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE user SET role = 'admin' WHERE id = ?", u.ID)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return u.Again()
}

func TestHealthSaysHowTheVirusScannerDoesAndFailsWithIt(t *testing.T) {
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	ada, admin := s.Register("ada"), chief(t, s)
	up := func(i integrations) bool {
		return i.Status == "up" && i.ClamAV != nil && i.ClamAV.Status == "up" && i.ClamAV.Needed && i.ClamAV.Since != ""
	}
	becomes(t, ada, "up after the start", up)
	scanner.Away(true)
	s.Advance(2 * time.Minute)
	becomes(t, ada, "down when it is away", func(i integrations) bool {
		return i.Status == "down" && i.ClamAV.Status == "down" && i.ClamAV.LastError == "no answer" && i.ClamAV.LastErrorAt == i.ClamAV.Since && i.ClamAV.Detail == "" &&
			i.Message == "uploads do not work without clamav"
	})
	if r, whole, _ := health(t, ada, "/health"); r.Status != 503 || whole != "error" {
		t.Errorf("%d %s", r.Status, whole)
	}
	if _, _, i := health(t, admin, "/health"); !strings.Contains(i.ClamAV.Detail, "virus scanner") {
		t.Errorf("an administrator reads %+v", i.ClamAV)
	}
	for _, path := range []string{"/health/ready", "/health/live"} { // messages go on
		ada.Do("GET", path, nil).OK(nil)
	}
	if r, _, i := health(t, s.Nobody(), "/health"); r.Status != 503 || i.Status != "down" || i.ClamAV != nil || strings.Contains(string(r.Body), "clam") {
		t.Errorf("a stranger reads %s", r.Body)
	}
	scanner.Away(false)
	s.Advance(2 * time.Minute)
	becomes(t, ada, "up when it is back", up)
	if r, _, i := health(t, ada, "/health"); r.Status != 200 || i.ClamAV.LastError != "no answer" {
		t.Errorf("%d %+v: the last error is kept", r.Status, i.ClamAV)
	}
}

func TestHealthSaysWhichOptionalIntegrationsAreDownAndIsWellWithoutThem(t *testing.T) {
	away := nobodyThere(t)
	answer := make(chan int, 1)
	speech := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := <-answer
		w.WriteHeader(status)
		if status == 200 {
			_, _ = w.Write([]byte(`{"text":"hello"}`))
		}
	}))
	t.Cleanup(speech.Close)
	s := servertest.Start(t, "QUCKCHAT_GIFS_PROVIDER=giphy", "QUCKCHAT_GIFS_API_KEY=open-sesame", "QUCKCHAT_GIFS_BASE_URL=http://"+away,
		"QUCKCHAT_TRANSCRIPTION_URL="+speech.URL+"/v1", "QUCKCHAT_TRANSCRIPTION_API_KEY=open-sesame")
	ada, admin := s.Register("ada"), chief(t, s)
	if _, whole, i := health(t, ada, "/health"); whole != "ok" || i.GIFs.Status != "unknown" || i.Transcription.Status != "unknown" || i.GIFs.Needed || i.ClamAV != nil || i.S3 != nil {
		t.Errorf("before: %+v", i)
	}
	ada.Do("GET", "/gifs/search?q=cat", nil).OK(nil)
	if r, whole, i := health(t, ada, "/health"); r.Status != 200 || whole != "ok" || i.Status != "up" || i.GIFs.Status != "down" || i.GIFs.LastError != "no answer" || i.GIFs.Detail != "" {
		t.Errorf("one failure: %d %s %+v", r.Status, whole, i.GIFs)
	}
	for _, q := range []string{"dog", "cow", "hen", "pig"} {
		ada.Do("GET", "/gifs/search?q="+q, nil).OK(nil)
	}
	if _, _, i := health(t, ada, "/health"); i.GIFs.Status != "open" || i.GIFs.Until == "" || i.GIFs.LeftAlone != nil {
		t.Errorf("five failures: %+v", i.GIFs)
	}
	r, _, i := health(t, admin, "/health")
	if len(i.GIFs.LeftAlone) != 1 || i.GIFs.LeftAlone[0] != away || i.GIFs.Detail == "" || strings.Contains(string(r.Body), "sesame") {
		t.Errorf("an administrator reads %s", r.Body)
	}

	wav := append([]byte("RIFF\x24\x04\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x04\x00\x00"), make([]byte, 1024)...)
	var note struct {
		ID string `json:"_id"`
	}
	ada.Do("POST", "/messages", map[string]any{"conversationId": ada.Single(admin), "type": "audio", "attachments": []map[string]any{{"type": "audio", "url": ada.Uploaded("/upload/audio", "n.wav", wav)}}}).OK(&note)
	for _, step := range []struct {
		status      int
		want, error string
	}{
		{401, "down", "error"},
		{400, "down", "error"}, // of the recording: nothing is learned of the service
		{200, "up", "error"},   // the last error stays
	} {
		answer <- step.status
		r := ada.Do("POST", "/transcription/message/"+note.ID, nil)
		if (r.Status == 201) != (step.status == 200) {
			t.Errorf("asked: %d %s", r.Status, r.Body)
		}
		if r, _, i := health(t, ada, "/health"); r.Status != 200 || i.Transcription.Status != step.want || i.Transcription.LastError != step.error {
			t.Errorf("after %d: %d %+v", step.status, r.Status, i.Transcription)
		}
	}
}

func TestHealthSaysThatTheBucketIsOutOfReach(t *testing.T) {
	away := nobodyThere(t)
	s := servertest.Start(t, "QUCKCHAT_S3_ENDPOINT=http://"+away, "QUCKCHAT_S3_BUCKET=files", "QUCKCHAT_S3_REGION=here", "QUCKCHAT_S3_ACCESS_KEY=open", "QUCKCHAT_S3_SECRET_KEY=sesame-street")
	ada, admin := s.Register("ada"), chief(t, s)
	becomes(t, ada, "down", func(i integrations) bool {
		return i.S3 != nil && i.S3.Status == "down" && i.S3.Needed && i.S3.LastError == "no answer" && i.S3.Detail == ""
	})
	r, whole, _ := health(t, admin, "/health")
	if r.Status != 503 || whole != "error" || strings.Contains(string(r.Body), "sesame-street") {
		t.Errorf("%d %s", r.Status, r.Body)
	}
	ada.Send(ada.Single(admin), "but text goes on")
}
