package job

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// bench is a database with a clock that the test moves.
type bench struct {
	t      *testing.T
	db     *storage.DB
	clock  atomic.Int64
	commit chan struct{} // a token after each commit
}

var epoch = time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, commit: make(chan struct{}, 1)}
	b.clock.Store(epoch.UnixMilli())
	db, err := storage.Open(storage.Options{
		Path: filepath.Join(t.TempDir(), storage.FileName),
		Now:  func() time.Time { return time.UnixMilli(b.clock.Load()) },
		AfterBatch: func() {
			select {
			case b.commit <- struct{}{}:
			default:
			}
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.db = db
	t.Cleanup(func() { db.Close() })
	return b
}

func (b *bench) queue() *Queue { return New(b.db, slog.New(slog.DiscardHandler)) }

// run starts q and returns what stops it and waits.
func (b *bench) run(q *Queue) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { q.Run(ctx); close(done) }()
	stop = func() { cancel(); <-done }
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) advance(q *Queue, d time.Duration) {
	b.clock.Add(d.Milliseconds())
	q.Wake()
}

func (b *bench) enqueue(q *Queue, jobs ...Job) {
	b.t.Helper()
	b.write(func(tx *storage.Tx) error {
		for _, j := range jobs {
			if err := q.Enqueue(tx, j); err != nil {
				return err
			}
		}
		return nil
	})
}

func (b *bench) write(fn func(tx *storage.Tx) error) {
	b.t.Helper()
	if err := b.db.Write(context.Background(), "test", fn); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) exec(text string, args ...any) {
	b.t.Helper()
	b.write(func(tx *storage.Tx) error { _, err := tx.Exec(text, args...); return err })
}

// rows returns the jobs as "kind state attempts", in the order of their ids.
func (b *bench) rows() []string {
	b.t.Helper()
	rows := []string{}
	err := b.db.Read(context.Background(), func(v storage.View) error {
		found, err := v.Query("SELECT kind, state, attempts FROM job ORDER BY id")
		if err != nil {
			return err
		}
		defer found.Close()
		for found.Next() {
			var kind, state string
			var attempts int
			if err := found.Scan(&kind, &state, &attempts); err != nil {
				return err
			}
			rows = append(rows, fmt.Sprint(kind, " ", state, " ", attempts))
		}
		return found.Err()
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return rows
}

// until waits, commit by commit, until the jobs are these.
func (b *bench) until(want ...string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("jobs %v", want), func() bool { return strings.Join(b.rows(), ";") == strings.Join(want, ";") })
}

func (b *bench) eventually(what string, ok func() bool) {
	b.t.Helper()
	limit := time.After(10 * time.Second)
	for !ok() {
		select {
		case <-b.commit:
		case <-limit:
			b.t.Fatalf("never came: %s; jobs are %v", what, b.rows())
		}
	}
}

// next waits for a value.
func next[T any](t *testing.T, c <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
	}
	return v
}
