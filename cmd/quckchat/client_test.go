package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// errGone says that the connection to the server ended before an answer.
var errGone = errors.New("the connection is gone")

// refusal is an error in the form of the contract, from REST or from a socket.
type refusal struct {
	Success    *bool  `json:"success"`
	StatusCode int    `json:"statusCode"`
	Code       string `json:"code"`
	Message    string `json:"message"`
	Path       string `json:"path"`
	Timestamp  string `json:"timestamp"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s: %s", r.StatusCode, r.Code, r.Message) }

// refused returns the code of a refusal, "" of anything else.
func refused(err error) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.Code
	}
	return ""
}

// person is somebody with an account on a site.
type person struct {
	site            *site
	name, id, token string
}

// notice says that the server wrote the message: somebody came or went.
func (m wireMessage) notice() bool { return m.Type == "system" }

// wireMessage is a message as a client reads it.
type wireMessage struct {
	ID             string    `json:"_id"`
	ConversationID string    `json:"conversationId"`
	N              int64     `json:"n"`
	Type           string    `json:"type"`
	Content        string    `json:"content"`
	ClientID       string    `json:"clientId"`
	CreatedAt      time.Time `json:"createdAt"`
	Sender         struct {
		ID string `json:"_id"`
	} `json:"senderId"`
	ReadReceipts []struct {
		UserID string `json:"userId"`
	} `json:"readReceipts"`
}

// register makes an account.
func (s *site) register(name string) *person {
	s.t.Helper()
	p := &person{site: s, name: name}
	s.phones++
	var out struct {
		User struct {
			ID string `json:"_id"`
		} `json:"user"`
		AccessToken string `json:"accessToken"`
	}
	err := p.call("POST", "/auth/register", map[string]string{
		"phoneNumber": fmt.Sprintf("+1555%07d", s.phones), "password": "Correct7!horse", "username": name, "displayName": name,
	}, &out)
	if err != nil {
		s.t.Fatalf("register %s: %v\n%s", name, err, s.log.end())
	}
	p.id, p.token = out.User.ID, out.AccessToken
	return p
}

var web = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}, Timeout: patience}

// call calls the REST API; a refusal must have the form of the contract.
func (p *person) call(method, path string, body, out any) error {
	var reader io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(raw)
	}
	r, err := http.NewRequest(method, "http://"+p.site.address+"/api/v1"+path, reader)
	if err != nil {
		return err
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if p.token != "" {
		r.Header.Set("Authorization", "Bearer "+p.token)
	}
	answer, err := web.Do(r)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	if answer.StatusCode/100 != 2 {
		e := &refusal{}
		if err := json.Unmarshal(raw, e); err != nil {
			return fmt.Errorf("%s %s: %d, not the error form: %s", method, path, answer.StatusCode, raw)
		}
		if e.Success == nil || *e.Success || e.StatusCode != answer.StatusCode || e.Code == "" || e.Message == "" || e.Path == "" || e.Timestamp == "" {
			return fmt.Errorf("%s %s: incomplete error form: %s", method, path, raw)
		}
		return e
	}
	if out == nil {
		return nil
	}
	return json.Unmarshal(raw, out)
}

// must is call for what has to succeed.
func (p *person) must(method, path string, body, out any) {
	p.site.t.Helper()
	if err := p.call(method, path, body, out); err != nil {
		p.site.t.Fatalf("%s %s by %s: %v\n%s", method, path, p.name, err, p.site.log.end())
	}
}

func (p *person) pair(other *person) string {
	p.site.t.Helper()
	var c struct {
		ID string `json:"_id"`
	}
	p.must("POST", "/conversations/single", map[string]any{"recipientId": other.id}, &c)
	return c.ID
}

func (p *person) group(name string, others ...*person) string {
	p.site.t.Helper()
	ids := []string{}
	for _, o := range others {
		ids = append(ids, o.id)
	}
	var c struct {
		ID string `json:"_id"`
	}
	p.must("POST", "/conversations/group", map[string]any{"name": name, "participantIds": ids}, &c)
	return c.ID
}

// history pages through a conversation and returns it oldest first.
func (p *person) history(conversation string) []wireMessage {
	p.site.t.Helper()
	var all []wireMessage
	for before := ""; ; {
		var page []wireMessage
		p.must("GET", "/messages/conversation/"+conversation+"?limit=100&before="+before, nil, &page)
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
		before = page[len(page)-1].ID
	}
	for i, j := 0, len(all)-1; i < j; i, j = i+1, j-1 {
		all[i], all[j] = all[j], all[i]
	}
	return all
}

// finds reports whether a search of the person finds the message.
func (p *person) finds(word, messageID string) bool {
	p.site.t.Helper()
	var found struct {
		Messages []wireMessage `json:"messages"`
	}
	p.must("GET", "/messages/search/query?limit=100&q="+url.QueryEscape(word), nil, &found)
	for _, m := range found.Messages {
		if m.ID == messageID {
			return true
		}
	}
	return false
}

// wireFrame is what a server sends on a socket.
type wireFrame struct {
	ID    int             `json:"id"`
	OK    bool            `json:"ok"`
	Seq   int64           `json:"seq"`
	Event string          `json:"event"`
	Data  json.RawMessage `json:"data"`
	Error *refusal        `json:"error"`
}

// socket is an open native socket with one user.
type socket struct {
	ws   *websocket.Conn
	next int
}

// dial opens a socket, catching up from since unless that is negative, and reads the greeting.
func (p *person) dial(since int64) (*socket, int64, error) {
	address := "ws://" + p.site.address + "/api/v1/ws"
	if since >= 0 {
		address += fmt.Sprintf("?since=%d", since)
	}
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	ws, _, err := dialer.Dial(address, http.Header{"Authorization": {"Bearer " + p.token}})
	if err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errGone, err)
	}
	s := &socket{ws: ws}
	f, err := s.read()
	if err != nil {
		ws.Close()
		return nil, 0, err
	}
	var hello struct {
		Seq int64 `json:"seq"`
	}
	if err := json.Unmarshal(f.Data, &hello); err != nil || f.Event != "hello" {
		ws.Close()
		return nil, 0, fmt.Errorf("greeted with %q: %s", f.Event, f.Data)
	}
	return s, hello.Seq, nil
}

// open is dial for what has to succeed; the socket closes with the test.
func (p *person) open() *socket {
	p.site.t.Helper()
	s, _, err := p.dial(-1)
	if err != nil {
		p.site.t.Fatalf("open a socket: %v\n%s", err, p.site.log.end())
	}
	p.site.t.Cleanup(func() { s.ws.Close() })
	return s
}

// read takes the next frame; its error wraps that of the connection.
func (s *socket) read() (wireFrame, error) {
	var f wireFrame
	_ = s.ws.SetReadDeadline(time.Now().Add(2 * patience))
	_, raw, err := s.ws.ReadMessage()
	if err != nil {
		return f, fmt.Errorf("%w: %w", errGone, err)
	}
	return f, json.Unmarshal(raw, &f)
}

// ask sends a request and reads to its answer; events before it are passed over.
func (s *socket) ask(op string, data, out any) error {
	s.next++
	if err := s.ws.WriteJSON(map[string]any{"id": s.next, "op": op, "data": data}); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	for {
		f, err := s.read()
		switch {
		case err != nil:
			return err
		case f.ID != s.next:
			continue
		case !f.OK && f.Error == nil:
			return errors.New("neither ok nor an error")
		case !f.OK:
			return f.Error
		case out == nil:
			return nil
		}
		return json.Unmarshal(f.Data, out)
	}
}

// closedWith reads to the end of the connection and returns the close code, -1 for none.
func (s *socket) closedWith() int {
	for {
		if _, err := s.read(); err != nil {
			return closeCode(err)
		}
	}
}

// pipeline asks without waiting for answers, with so many requests on their way at a time, until the connection ends,
// and returns the close code.
func (s *socket) pipeline(op string, data any, depth int) int {
	free, closed := make(chan struct{}, depth), make(chan int, 1)
	go func() {
		defer s.ws.Close()
		for {
			f, err := s.read()
			if err != nil {
				closed <- closeCode(err)
				return
			}
			if f.ID > 0 {
				free <- struct{}{}
			}
		}
	}()
	for range depth {
		free <- struct{}{}
	}
	for {
		select {
		case code := <-closed:
			return code
		case <-free:
		}
		s.next++
		if s.ws.WriteJSON(map[string]any{"id": s.next, "op": op, "data": data}) != nil {
			return <-closed
		}
	}
}

func closeCode(err error) int {
	var e *websocket.CloseError
	if errors.As(err, &e) {
		return e.Code
	}
	return -1
}

// ping checks that the socket is open and answered.
func (s *socket) ping(t *testing.T) {
	t.Helper()
	if err := s.ask("ping", map[string]any{}, nil); err != nil {
		t.Errorf("the socket is not answered: %v", err)
	}
}

func decode[T any](raw []byte) (v T, err error) {
	err = json.Unmarshal(raw, &v)
	return v, err
}
