// Package control is the client of a running server's admin socket, a unix socket in its data directory. What connects
// to it is let in by the operating system, as its own user or root, and speaks the REST API of every other client.
package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// SocketName is the name of the admin socket inside the data directory.
const SocketName = "quckchat.sock"

// ErrNotRunning says that no server listens on the admin socket.
var ErrNotRunning = errors.New("no server is running on this data directory")

// base is the address of the API behind the socket; the host is for the form of it.
const base = "http://quckchat/api/v1"

// answerMax is the longest answer that is read, in bytes.
const answerMax = 64 << 20

// Client speaks to one server. Its methods may be called from any goroutine.
type Client struct{ http *http.Client }

// Error is a refusal by the server: a stable code and a sentence.
type Error struct {
	Status  int    `json:"statusCode"`
	Code    string `json:"code"`
	Message string `json:"message"`
	Fields  []struct {
		Field       string   `json:"field"`
		Constraints []string `json:"constraints"`
	} `json:"errors"`
}

// Error is the sentence, with the fields that were wrong.
func (e *Error) Error() string {
	text := e.Message
	for i, f := range e.Fields {
		sep := "; "
		if i == 0 {
			sep = ": "
		}
		text += sep + f.Field + " " + strings.Join(f.Constraints, ", ")
	}
	return text
}

// SocketPath is where the admin socket of a data directory is: the holder of the directory may have put it elsewhere,
// because its path would have been too long for the operating system.
func SocketPath(dataDir string) string {
	if elsewhere := noted(dataDir, "socket"); elsewhere != "" {
		return elsewhere
	}
	return filepath.Join(dataDir, SocketName)
}

// ListenAddress is where the server that holds a data directory listens for its clients; "" when it does not say.
func ListenAddress(dataDir string) string { return noted(dataDir, "listen") }

// noted returns what the holder of a data directory has written of itself in its LOCK file, a name and a value a line.
func noted(dataDir, name string) string {
	f, err := os.Open(filepath.Join(dataDir, "LOCK"))
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return value
		}
	}
	return ""
}

// Dial connects to the socket once, to see that a server listens, and returns its client. ErrNotRunning is wrapped
// when none does.
func Dial(socketPath string) (*Client, error) {
	conn, err := net.DialTimeout("unix", socketPath, 5*time.Second)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotRunning, err)
	}
	_ = conn.Close()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socketPath)
	}
	return &Client{&http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 2, IdleConnTimeout: 30 * time.Second}}}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do calls an operation, such as "POST", "/invites": in is sent as JSON unless nil, the answer is read into out unless
// nil. A refusal is an *Error.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		raw, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("%s %s: %w", method, path, err)
		}
		body = bytes.NewReader(raw)
	}
	req, err := http.NewRequestWithContext(ctx, method, base+path, body)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(res.Body, answerMax))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if res.StatusCode >= 400 {
		e := &Error{}
		if json.Unmarshal(raw, e) != nil || e.Message == "" {
			e.Message = "the server answered " + res.Status
		}
		e.Status = res.StatusCode
		return e
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(raw, out); err != nil {
		return fmt.Errorf("%s %s: read answer: %w", method, path, err)
	}
	return nil
}
