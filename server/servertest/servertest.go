// Package servertest boots a real server on a temporary directory and talks to it as clients do, over REST and over
// the native socket.
//
//	s := servertest.Start(t)
//	ada, bob := s.Register("ada"), s.Register("bob")
//	room := ada.Single(bob)
//	socket := bob.Socket()
//	ada.Send(room, "hello")
//	socket.Expect("message:new")
package servertest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server"
	"github.com/quckchat/quckchat/server/config"
)

// Patience is how long a test waits for what must happen.
const Patience = 10 * time.Second

// Password is everybody's.
const Password = "Correct7!horse"

// Server is a server under test.
type Server struct {
	t      testing.TB
	Dir    string
	URL    string
	Inner  *server.Server
	client *http.Client
	cancel context.CancelFunc
	done   chan error
	env    []string
	ahead  atomic.Int64 // the server's clock, in nanoseconds before the real one
}

// Start boots a server with open registration, without rate limits and without a TURN server; env adds or overrides settings, as
// "QUCKCHAT_REGISTRATION=invite". It stops with the test.
func Start(t testing.TB, env ...string) *Server {
	t.Helper()
	return StartIn(t, t.TempDir(), env...)
}

// StartIn is Start on a directory that is there already, such as a copy of a stopped server's.
func StartIn(t testing.TB, dir string, env ...string) *Server {
	t.Helper()
	s := &Server{t: t, Dir: dir, env: env}
	s.Boot()
	t.Cleanup(s.Stop)
	return s
}

// Boot starts the server on its directory.
func (s *Server) Boot() {
	s.t.Helper()
	env := append([]string{"QUCKCHAT_DATA=" + s.Dir, "QUCKCHAT_LISTEN=127.0.0.1:0", "QUCKCHAT_TURN_LISTEN=off", "QUCKCHAT_SFU_LISTEN=off", "QUCKCHAT_REGISTRATION=open", "QUCKCHAT_RATE_LIMITS=off"}, s.env...)
	src := config.Sources{Env: env}
	snapshot, err := config.Load(src)
	if err != nil {
		s.t.Fatalf("configure: %v", err)
	}
	level := slog.LevelError
	if os.Getenv("QUCKCHAT_TEST_LOG") != "" {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	inner, err := server.New(config.NewLive(snapshot), server.Options{Version: "test", Log: log, Sources: src, Now: s.Now})
	if err != nil {
		s.t.Fatalf("start: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.Inner, s.cancel, s.done, s.URL = inner, cancel, make(chan error, 1), "http://"+inner.Addr().String()
	s.client = http.DefaultClient
	if snapshot.Config.TLSCert != "" {
		s.URL = "https://" + inner.Addr().String()
		s.client = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
	}
	go func() { s.done <- inner.Run(ctx) }()
	for deadline := time.Now().Add(Patience); ; {
		if r, err := s.client.Get(s.URL + "/api/v1/health/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return
			}
		}
		if time.Now().After(deadline) {
			s.t.Fatal("the server does not become ready")
		}
	}
}

// Stop stops the server in order.
func (s *Server) Stop() {
	if s.cancel == nil {
		return
	}
	s.cancel()
	s.cancel = nil
	select {
	case err := <-s.done:
		if err != nil {
			s.t.Errorf("server: %v", err)
		}
	case <-time.After(Patience):
		s.t.Error("the server does not stop")
	}
}

// User is somebody with an account, signed in; the zero Token is nobody.
type User struct {
	Server    *Server
	Name      string
	ID        string
	SessionID string
	Token     string
	Refresh   string
}

// Nobody calls without being signed in.
func (s *Server) Nobody() *User { return &User{Server: s} }

var phones atomic.Int64

// Register makes an account.
func (s *Server) Register(name string) *User {
	s.t.Helper()
	var out struct {
		User struct {
			ID string `json:"_id"`
		} `json:"user"`
		AccessToken  string `json:"accessToken"`
		RefreshToken string `json:"refreshToken"`
	}
	body := map[string]any{"phoneNumber": fmt.Sprintf("+1555%07d", phones.Add(1)), "password": Password, "username": name, "displayName": strings.ToUpper(name)}
	s.Nobody().Do("POST", "/auth/register", body).OK(&out)
	return &User{Server: s, Name: name, ID: out.User.ID, Token: out.AccessToken, Refresh: out.RefreshToken}
}

// Again signs the same person in once more, as on another device.
func (u *User) Again() *User {
	u.Server.t.Helper()
	var out struct {
		AccessToken  string `json:"accessToken"`
		RefreshToken string `json:"refreshToken"`
	}
	u.Server.Nobody().Do("POST", "/auth/login", map[string]any{"username": u.Name, "password": Password}).OK(&out)
	return &User{Server: u.Server, Name: u.Name, ID: u.ID, Token: out.AccessToken, Refresh: out.RefreshToken}
}

// Reply is an answer of the REST API.
type Reply struct {
	t      testing.TB
	what   string
	Status int
	Header http.Header
	Body   []byte
}

// Do calls the REST API; body nil sends none, a string or bytes are sent as they are.
func (u *User) Do(method, path string, body any) Reply {
	u.Server.t.Helper()
	return u.DoRoot(method, "/api/v1"+path, body)
}

// DoRoot is Do with a path from the root of the server.
func (u *User) DoRoot(method, path string, body any) Reply {
	u.Server.t.Helper()
	var reader io.Reader
	switch b := body.(type) {
	case nil:
	case string:
		reader = strings.NewReader(b)
	case []byte:
		reader = bytes.NewReader(b)
	default:
		raw, err := json.Marshal(body)
		if err != nil {
			u.Server.t.Fatal(err)
		}
		reader = bytes.NewReader(raw)
	}
	header := http.Header{}
	if reader != nil {
		header.Set("Content-Type", "application/json")
	}
	return u.Request(method, path, reader, header)
}

// OK checks for success and decodes the answer into out, unless that is nil.
func (r Reply) OK(out any) {
	r.t.Helper()
	if r.Status/100 != 2 {
		r.t.Fatalf("%s: %d %s", r.what, r.Status, r.Body)
	}
	if out != nil {
		if err := json.Unmarshal(r.Body, out); err != nil {
			r.t.Fatalf("%s: %v in %s", r.what, err, r.Body)
		}
	}
}

// Fails checks for an error of the contract's form with this status and code.
func (r Reply) Fails(status int, code string) {
	r.t.Helper()
	var e struct {
		Success    *bool  `json:"success"`
		StatusCode int    `json:"statusCode"`
		Code       string `json:"code"`
		Message    string `json:"message"`
		Path       string `json:"path"`
		Timestamp  string `json:"timestamp"`
	}
	if err := json.Unmarshal(r.Body, &e); err != nil {
		r.t.Fatalf("%s: not the error form: %s", r.what, r.Body)
	}
	if r.Status != status || e.Code != code {
		r.t.Fatalf("%s: got %d %s, want %d %s: %s", r.what, r.Status, e.Code, status, code, r.Body)
	}
	if e.Success == nil || *e.Success || e.StatusCode != status || e.Message == "" || e.Path == "" || e.Timestamp == "" {
		r.t.Fatalf("%s: incomplete error form: %s", r.what, r.Body)
	}
}

// Single opens the conversation with other and returns its id.
func (u *User) Single(other *User) string {
	u.Server.t.Helper()
	var c struct {
		ID string `json:"_id"`
	}
	u.Do("POST", "/conversations/single", map[string]any{"recipientId": other.ID}).OK(&c)
	return c.ID
}

// Group makes a group with the others and returns its id.
func (u *User) Group(name string, others ...*User) string {
	u.Server.t.Helper()
	ids := []string{}
	for _, o := range others {
		ids = append(ids, o.ID)
	}
	var c struct {
		ID string `json:"_id"`
	}
	u.Do("POST", "/conversations/group", map[string]any{"name": name, "participantIds": ids}).OK(&c)
	return c.ID
}

// Send sends a message over REST and returns its id.
func (u *User) Send(conversation, text string) string {
	u.Server.t.Helper()
	var m struct {
		ID string `json:"_id"`
	}
	u.Do("POST", "/messages", map[string]any{"conversationId": conversation, "content": text}).OK(&m)
	return m.ID
}
