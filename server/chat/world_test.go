package chat_test

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"encoding/json"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// message is what these tests read of a message.
type message struct {
	ID             string `json:"_id"`
	ConversationID string
	N              int64
	Type           string
	Sender         person `json:"senderId"`
	Content        *string
	ClientID       *string
	ReplyToID      *string
	ReplyTo        *message
	ReadReceipts   []struct{ UserID, ReadAt string }
	Reactions      []struct{ Emoji, UserID, CreatedAt string }
	IsEdited       bool
	IsDeleted      bool
	Metadata       json.RawMessage
	CreatedAt      string
}

// text is the content, "" for a tombstone.
func (m message) text() string {
	if m.Content == nil {
		return ""
	}
	return *m.Content
}

type person struct {
	ID string `json:"_id"`
}

// conversation is what these tests read of a conversation.
type conversation struct {
	ID           string `json:"_id"`
	Type         string
	Name         *string
	Description  *string
	Avatar       *string
	Participants []struct {
		User        person `json:"userId"`
		Role        string
		UnreadCount int64
	}
	Admins      []string
	LastMessage *message
	LastN       int64
	UnreadCount int64
}

// fetch calls the API and decodes the answer.
func fetch[T any](u *servertest.User, method, path string, body any) T {
	var out T
	u.Do(method, path, body).OK(&out)
	return out
}

// send sends a message with what body adds, and returns it whole.
func send(u *servertest.User, room, text string, more ...map[string]any) message {
	return fetch[message](u, "POST", "/messages", draft(room, text, more...))
}

func draft(room, text string, more ...map[string]any) map[string]any {
	body := map[string]any{"conversationId": room, "content": text}
	for _, m := range more {
		for k, v := range m {
			body[k] = v
		}
	}
	return body
}

// history reads what people said in a conversation, as far as somebody sees it, newest first, in pages of limit.
func history(t *testing.T, u *servertest.User, room string, limit int) []message {
	t.Helper()
	return slices.DeleteFunc(everything(t, u, room, limit), func(m message) bool { return m.Type == "system" })
}

// everything is history with the notices.
func everything(t *testing.T, u *servertest.User, room string, limit int) (all []message) {
	t.Helper()
	for before := ""; ; {
		page := fetch[[]message](u, "GET", "/messages/conversation/"+room+"?limit="+strconv.Itoa(limit)+before, nil)
		if len(page) > limit {
			t.Fatalf("a page of %d has %d messages", limit, len(page))
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		before = "&before=" + page[len(page)-1].ID
	}
}

// texts are the contents of messages, oldest first.
func texts(newestFirst []message) []string {
	list := []string{}
	for i := len(newestFirst) - 1; i >= 0; i-- {
		list = append(list, newestFirst[i].text())
	}
	return list
}

// write changes the database behind the server's back.
func write(t *testing.T, s *servertest.Server, query string, args ...any) {
	t.Helper()
	err := s.Inner.Store().Write(context.Background(), "test", func(tx *storage.Tx) error {
		_, err := tx.Exec(query, args...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// count asks the database for a number.
func count(t *testing.T, s *servertest.Server, query string, args ...any) (n int64) {
	t.Helper()
	err := s.Inner.Store().Read(context.Background(), func(v storage.View) error { return v.QueryRow(query, args...).Scan(&n) })
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// together runs n functions at the same time and waits for them.
func together(n int, fn func(i int)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		all.Go(func() { <-start; fn(i) })
	}
	close(start)
	all.Wait()
}

// found searches, without waiting for the index.
func found(u *servertest.User, q, more string) (list []message, total int) {
	out := fetch[struct {
		Messages, Items []message
		Total           int
	}](u, "GET", "/messages/search/query?q="+url.QueryEscape(q)+more, nil)
	return out.Messages, out.Total
}

// eventually waits until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(servertest.Patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true that %s", what)
		}
	}
}
