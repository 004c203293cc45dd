package control_test

import (
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/quckchat/quckchat/server/control"
)

func TestDoSendsJSONAndReadsTheAnswerOrTheRefusal(t *testing.T) {
	dir := t.TempDir()
	if _, err := control.Dial(control.SocketPath(dir)); !errors.Is(err, control.ErrNotRunning) {
		t.Fatalf("dial without a server: %v", err)
	}
	elsewhere := filepath.Join(t.TempDir(), "s.sock")
	if err := os.WriteFile(filepath.Join(dir, "LOCK"), []byte("pid 1\nsocket "+elsewhere+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := control.SocketPath(dir); got != elsewhere {
		t.Fatalf("socket path: %s", got)
	}
	listener, err := net.Listen("unix", elsewhere)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/v1/echo", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		_ = json.NewDecoder(r.Body).Decode(&in)
		_ = json.NewEncoder(w).Encode(in)
	})
	mux.HandleFunc("GET /api/v1/refuse", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusConflict)
		_, _ = w.Write([]byte(`{"code":"VALIDATION","message":"No.","errors":[{"field":"a","constraints":["is bad","is old"]}]}`))
	})
	server := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-done })

	c, err := control.Dial(control.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var out map[string]string
	if err := c.Do(t.Context(), "POST", "/echo", map[string]string{"x": "y"}, &out); err != nil || out["x"] != "y" {
		t.Fatalf("echo: %v %v", out, err)
	}
	var refused *control.Error
	if err := c.Do(t.Context(), "GET", "/refuse", nil, nil); !errors.As(err, &refused) || refused.Code != "VALIDATION" || refused.Status != 409 {
		t.Fatalf("refusal: %v", err)
	}
	if got, want := refused.Error(), "No.: a is bad, is old"; got != want {
		t.Errorf("sentence %q, want %q", got, want)
	}
	if err := c.Do(t.Context(), "GET", "/nowhere", nil, nil); err == nil || err.Error() != "the server answered 404 Not Found" {
		t.Errorf("plain refusal: %v", err)
	}
}
