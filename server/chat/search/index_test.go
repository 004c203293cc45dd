package search

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// logged is a log that can be read while it is written.
type logged struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) count(part string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), part)
}

// openTestSearch opens a search of a database with some messages, and runs it.
func openTestSearch(t testing.TB, messages int) (*Index, *logged) {
	t.Helper()
	dir, text := t.TempDir(), &logged{}
	log := slog.New(slog.NewTextHandler(text, nil))
	events := event.New(log, event.Kind{Name: "message:new", Render: func(storage.Querier, []event.Event) ([]any, error) { return nil, nil }})
	db, err := storage.Open(storage.Options{Path: filepath.Join(dir, "quckchat.db"), AfterBatch: events.Flush})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if err := events.Attach(db); err != nil {
		t.Fatal(err)
	}
	err = db.Write(t.Context(), "test", func(tx *storage.Tx) error {
		if _, err := tx.Exec("INSERT INTO conversation (id, type, created_by, last_n, last_message_at, created_at, updated_at) VALUES ('c', 'group', '', ?, 0, 0, 0)", messages); err != nil {
			return err
		}
		for i := range messages {
			if _, err := tx.Exec("INSERT INTO message (conversation_id, n, id, sender_id, type, content, created_at, updated_at) VALUES ('c', ?, ?, 'u', 'text', ?, 0, 0)",
				i+1, fmt.Sprintf("%024x", i), fmt.Sprintf("common word%d", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(filepath.Join(dir, "search.db"), db, events, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); x.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-done
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return x, text
}

// hits counts the messages with a common word; -1 when the index cannot say.
func (x *Index) hits(t *testing.T) (n int) {
	t.Helper()
	err := x.read(t.Context(), func(v storage.View) error {
		return v.QueryRow("SELECT count(*) FROM word CROSS JOIN doc d ON d.id = word.rowid WHERE word MATCH 'common'").Scan(&n)
	})
	if errors.Is(err, errNone) {
		return -1
	}
	if err != nil {
		t.Error(err)
	}
	return n
}

// documents counts all messages of the index that serves.
func (x *Index) documents(t testing.TB) (n int) {
	t.Helper()
	if err := x.read(t.Context(), func(v storage.View) error { return v.QueryRow("SELECT count(*) FROM doc").Scan(&n) }); err != nil && !errors.Is(err, errNone) {
		t.Error(err)
	}
	return n
}

func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it does not come true that %s", what)
		}
	}
}

func (x *Index) settled() bool {
	return !x.filling.Load() && !x.wanted.Load() && !x.damaged.Load()
}

func TestLongMessagesAreIndexedInSeveralSteps(t *testing.T) {
	x, _ := openTestSearch(t, 0)
	until(t, "the index of nothing is made", x.settled)
	const messages = 40
	text := strings.Repeat("common ", stepBytes/7/4) // a quarter of a step, and every tenth is one and a half
	err := x.db.Write(t.Context(), "test", func(tx *storage.Tx) error {
		for i := range messages {
			id, content := fmt.Sprintf("%024x", i), text
			if i%10 == 0 {
				content = strings.Repeat(text, 6)
			}
			if _, err := tx.Exec("INSERT INTO message (conversation_id, n, id, sender_id, type, content, created_at, updated_at) VALUES ('c', ?, ?, 'u', 'text', ?, 0, 0)", i+1, id, content); err != nil {
				return err
			}
			if _, err := x.events.Emit(tx, event.Event{Kind: "message:new", Scope: event.ScopeConversation, ScopeID: "c", SubjectID: id}, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	at, err := x.step(t.Context(), x.serving(), 0)
	if err != nil || at < 1 || at > 4 {
		t.Errorf("a step came as far as event %d, error %v", at, err)
	}
	until(t, "all are found", func() bool { return x.hits(t) == messages })
}

func TestTheLogSaysOnceThatTheIndexIsGone(t *testing.T) {
	x, text := openTestSearch(t, 1500)
	until(t, "the index is made", func() bool { return x.settled() && x.hits(t) == 1500 })
	if err := storage.RemoveFiles(x.path); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if n := x.hits(t); n != 1500 {
			t.Fatalf("while the new index is made the old one finds %d", n)
		}
	}
	until(t, "a new index is made", func() bool {
		_, err := os.Stat(x.path)
		return err == nil && x.settled() && x.hits(t) == 1500
	})
	if n := text.count("is made anew"); n != 1 || text.count("level=ERROR") != 0 {
		t.Errorf("%d warnings: %s", n, text.text.String())
	}
}

func TestADamagedIndexIsThrownAwayOnceItIsNoticed(t *testing.T) {
	for _, harm := range []string{"the root of the words", "the documents", "the first page", "every page"} {
		t.Run(strings.ReplaceAll(harm, " ", "_"), func(t *testing.T) {
			x, text := openTestSearch(t, 1500)
			until(t, "the index is made", func() bool { return x.settled() && x.hits(t) == 1500 })
			// Through the index itself, so that no cache knows better.
			err := x.serving().db.Write(t.Context(), "harm", func(tx *storage.Tx) error {
				var statement string
				switch harm {
				case "the root of the words":
					statement = "UPDATE word_data SET block = x'ffffffff' WHERE id = 10"
				case "the documents":
					statement = "UPDATE sqlite_dbpage SET data = zeroblob(4096) WHERE pgno = (SELECT rootpage FROM sqlite_schema WHERE name = 'doc')"
				case "the first page":
					statement = "UPDATE sqlite_dbpage SET data = randomblob(4096) WHERE pgno = 1"
				case "every page":
					statement = "UPDATE sqlite_dbpage SET data = randomblob(4096) WHERE pgno > 1"
				}
				_, err := tx.Exec(statement)
				return err
			})
			if err != nil && harm != "the first page" {
				t.Fatal(err)
			}
			err = x.db.Write(t.Context(), "test", func(tx *storage.Tx) error {
				_, err := x.events.Emit(tx, event.Event{Kind: "message:new", Scope: event.ScopeConversation, ScopeID: "c", SubjectID: "nothing"}, nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			until(t, "a new index is made", func() bool { return x.hits(t) == 1500 && x.settled() })
			if n := text.count("is damaged and is made anew"); n > 1 {
				t.Errorf("it is said %d times: %s", n, text.text.String())
			}
		})
	}
}

func TestAnInterruptedIndexIsGoneOnWith(t *testing.T) {
	x, _ := openTestSearch(t, 1500)
	until(t, "the index is made", func() bool { return x.settled() && x.hits(t) == 1500 })
	path := filepath.Join(t.TempDir(), "search.db")
	index, err := openFile(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { index.db.Close() }()
	enough := errors.New("enough")
	if err := x.fill(t.Context(), index, func() error { return enough }); !errors.Is(err, enough) {
		t.Fatal(err)
	}
	if _, filled, err := index.progress(t.Context()); err != nil || filled.String != fmt.Sprintf("%024x", fillBatch-1) {
		t.Fatalf("filled up to %q, %v", filled.String, err)
	}
	if err := x.fill(t.Context(), index, func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	var n, words int
	err = index.db.Read(t.Context(), func(v storage.View) error {
		return v.QueryRow("SELECT (SELECT count(*) FROM word WHERE word MATCH 'common'), (SELECT count(*) FROM term)").Scan(&n, &words)
	})
	if err != nil || n != 1500 || words != 1501 {
		t.Errorf("%d messages, %d words, %v", n, words, err)
	}
}

func TestEventsThatWerePrunedBeforeTheIndexSawThemMakeItAnew(t *testing.T) {
	x, text := openTestSearch(t, 10)
	until(t, "the index is made", func() bool { return x.settled() && x.hits(t) == 10 })
	err := x.db.Write(t.Context(), "test", func(tx *storage.Tx) error {
		if _, err := tx.Exec("UPDATE message SET content = 'common new word' WHERE n = 1"); err != nil {
			return err
		}
		for range 3 {
			if _, err := x.events.Emit(tx, event.Event{Kind: "message:new", Scope: event.ScopeConversation, ScopeID: "c", SubjectID: fmt.Sprintf("%024x", 0)}, nil); err != nil {
				return err
			}
		}
		_, err := tx.Exec("DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "a new index is made", func() bool { return text.count("of another time") == 1 && x.settled() && x.hits(t) == 10 })
}

func TestAnIndexThatHasGrownIsCompacted(t *testing.T) {
	x, _ := openTestSearch(t, 1500)
	until(t, "the index is made", func() bool { return x.settled() && x.hits(t) == 1500 })
	compacted := func() (n int) {
		err := x.read(t.Context(), func(v storage.View) error { return v.QueryRow("SELECT compacted FROM progress").Scan(&n) })
		if err != nil {
			t.Error(err)
		}
		return n
	}
	if n := compacted(); n != 1500 {
		t.Errorf("compacted up to %d when it was made", n)
	}
	err := x.serving().db.Write(t.Context(), "test", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE progress SET compacted = -100000")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	err = x.db.Write(t.Context(), "test", func(tx *storage.Tx) error {
		_, err := x.events.Emit(tx, event.Event{Kind: "message:new", Scope: event.ScopeConversation, ScopeID: "c", SubjectID: "nothing"}, nil)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	until(t, "it is compacted again", func() bool { return compacted() == 1500 && x.hits(t) == 1500 })
}

// TestTheIndexLearnsAndForgetsWords holds the list of words equal to the words of the documents.
func TestTheIndexLearnsAndForgetsWords(t *testing.T) {
	x, err := openFile(storage.Options{Path: filepath.Join(t.TempDir(), "search.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer x.db.Close()
	doc := func(id, text string) change {
		d := &document{messageID: id, conversationID: "c", senderID: "u", typ: "text"}
		d.describe(text, false, nil, "")
		return change{id, d}
	}
	for _, step := range []struct {
		changes []change
		want    string
	}{
		{[]change{doc("1", "apple pear"), doc("2", "pear ab 日本"), doc("3", "apple")}, "ab apple pear 日本 本"},
		{[]change{{messageID: "1"}}, "ab apple pear 日本 本"},
		{[]change{doc("2", "plum"), doc("2", "plum")}, "apple plum"},
		{[]change{{messageID: "3"}, doc("4", "apple"), {messageID: "unknown"}}, "apple plum"},
		{[]change{{messageID: "4"}, {messageID: "4"}, doc("5", "pear"), {messageID: "5"}, doc("6", "pear")}, "pear plum"},
		{[]change{{messageID: "6"}, {messageID: "2"}}, ""},
		{[]change{doc("7", "apple")}, "apple"}, // known before, and forgotten
	} {
		if err := x.write(t.Context(), step.changes, nil); err != nil {
			t.Fatal(err)
		}
		var got string
		var grams []term
		err := x.db.Read(t.Context(), func(v storage.View) error {
			if err := v.QueryRow("SELECT coalesce(group_concat(text, ' '), '') FROM (SELECT text FROM term ORDER BY text)").Scan(&got); err != nil {
				return err
			}
			var err error
			grams, err = expand(v, "ppl", false, 10)
			return err
		})
		if err != nil || got != step.want {
			t.Errorf("words %q, want %q, %v", got, step.want, err)
		}
		if (len(grams) == 1) != strings.Contains(step.want, "apple") {
			t.Errorf("with %q a part finds %v", step.want, grams)
		}
	}
}
