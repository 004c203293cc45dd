package storage

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
)

// Tx is a write in progress, valid inside the function given to Write.
type Tx struct {
	*conn
	// Now is the time of this write in UTC, cut to milliseconds: the one clock for everything it stores.
	Now      time.Time
	link     Link
	onCommit []func()
	wrote    bool // something was executed: a failure has to be undone
}

// Millis is Now in unix milliseconds, the form of every time in a table.
func (tx *Tx) Millis() int64 { return tx.Now.UnixMilli() }

// Link is the address of what is kept at path for those who are shown scope.
func (tx *Tx) Link(path, scope string) string { return tx.link(path, scope, tx.Now) }

// Exec runs an INSERT, UPDATE or DELETE with its parameters.
func (tx *Tx) Exec(text string, args ...any) (sql.Result, error) {
	tx.wrote = true
	return tx.exec(text, args...)
}

// Query runs a SELECT, or a change that returns rows.
func (tx *Tx) Query(text string, args ...any) (*sql.Rows, error) {
	tx.note(text)
	return tx.conn.Query(text, args...)
}

// QueryRow runs a SELECT of at most one row, or a change that returns one; Scan returns sql.ErrNoRows for none.
func (tx *Tx) QueryRow(text string, args ...any) *sql.Row {
	tx.note(text)
	return tx.conn.QueryRow(text, args...)
}

// note takes whatever is not plainly a SELECT for a change.
func (tx *Tx) note(text string) {
	if !strings.HasPrefix(text, "SELECT ") {
		tx.wrote = true
	}
}

// OnCommit has fn called by the writer once this write is on disk, in commit order, before the caller of Write is
// answered. fn only touches memory and does not block.
func (tx *Tx) OnCommit(fn func()) { tx.onCommit = append(tx.onCommit, fn) }

// request is one closure on its way through the writer.
type request struct {
	ctx  context.Context
	name string
	fn   func(tx *Tx) error
	tx   Tx
	err  error
	done chan struct{}
}

// slowWrite is how long a closure may hold the writer before it is named in the log.
const slowWrite = 50 * time.Millisecond

// Write runs fn in the next group commit and returns after it is on disk, with the error of fn or of the commit. The
// name says what it is in the log when it is slow or panics. Errors: what fn returns, ErrOverloaded, ErrClosed,
// ErrFull, ErrFailed, or the error of ctx when it ended before the write was begun.
func (db *DB) Write(ctx context.Context, name string, fn func(tx *Tx) error) error {
	r := &request{ctx: ctx, name: name, fn: fn, done: make(chan struct{})}
	select {
	case <-db.closing:
		return ErrClosed
	default:
	}
	select {
	case db.queue <- r:
	default:
		return ErrOverloaded
	}
	select {
	case <-r.done:
		return r.err
	case <-db.done:
		select { // the writer may have answered just before it ended
		case <-r.done:
			return r.err
		default:
			return ErrClosed
		}
	}
}

// Under steady load a commit that waits a moment takes several writes along, for the same cost. A write that comes
// after a pause is committed at once.
const (
	busyGap     = 700 * time.Microsecond // a write this soon after a commit
	busyStreak  = 4                      // so many commits in a row, each soon after the other, are steady load
	gatherBelow = 8                      // with this many waiting there is nothing to gain
	gatherTime  = 2 * time.Millisecond
)

// write is the writer goroutine.
func (db *DB) write(w *writer) {
	defer close(db.ended)
	defer func() {
		close(db.done)
		<-db.resting // its reads would be in the way
		_, _ = w.exec("PRAGMA wal_checkpoint(TRUNCATE)")
		_ = w.Close()
	}()
	batch := make([]*request, 0, batchMax)
	var ended time.Time // of the last commit
	streak := 0
	for {
		var first *request
		select {
		case first = <-db.queue:
		default:
			select {
			case first = <-db.queue:
			case fn := <-db.tidy:
				fn(w)
				continue
			case <-db.closing:
				if len(db.queue) == 0 {
					return
				}
				continue
			}
		}
		if time.Since(ended) < busyGap {
			streak++
		} else {
			streak = 0
		}
		if streak >= busyStreak && len(db.queue) < gatherBelow {
			time.Sleep(gatherTime)
		}
		batch = append(batch[:0], first)
	fill:
		for len(batch) < batchMax {
			select {
			case r := <-db.queue:
				batch = append(batch, r)
			default:
				break fill
			}
		}
		w = db.commit(w, batch)
		ended = time.Now()
		select {
		case fn := <-db.tidy:
			fn(w)
		default:
		}
	}
}

// commit runs a batch and answers it, and returns the connection to go on with. First all closures run in one
// transaction as they are: most succeed, and most that fail do so before they have written anything. When one fails
// later, the batch is rolled back and runs again with a savepoint for each; a savepoint costs a copy of every page it
// touches (a tenth of a send, measured). When the transaction itself dies, on a full disk, each closure runs alone:
// nobody's write may be lost to, or blamed for, somebody else's.
func (db *DB) commit(w *writer, batch []*request) *writer {
	failed := db.attempt(w, batch, false)
	if failed == errUndo {
		failed = db.attempt(w, batch, true)
	}
	switch {
	case failed == nil:
	case needsReopen(failed):
		w = db.reopen(w)
	case len(batch) > 1:
		for _, r := range batch {
			if err := db.attempt(w, []*request{r}, true); err != nil && needsReopen(err) {
				w = db.reopen(w)
			}
		}
	}
	committed := false
	for _, r := range batch {
		if r.err == nil {
			committed = true
			db.stats.writes.Add(1)
			for _, fn := range r.tx.onCommit {
				fn()
			}
		} else {
			db.stats.failures.Add(1)
			if errors.Is(r.err, ErrFull) {
				db.full.Store(true)
			}
		}
	}
	if committed {
		select {
		case db.wrote <- struct{}{}:
		default:
		}
	}
	for _, r := range batch {
		close(r.done)
	}
	if committed && db.opts.AfterBatch != nil {
		// Last, because whom it wakes runs next on this thread; the callers are taken over by the others.
		db.opts.AfterBatch()
	}
	return w
}

// errUndo says that a closure failed after it had written, in a transaction without savepoints.
var errUndo = errors.New("batch must run again with savepoints")

// attempt runs the batch in one transaction and sets the error of each request. It returns nil when the transaction
// was committed, whatever became of single requests; otherwise nothing is stored and every request carries an error.
func (db *DB) attempt(w *writer, batch []*request, savepoints bool) error {
	fail := func(err error) error {
		_ = w.run("ROLLBACK") // may be gone already
		if err != errUndo {
			err = mapError(err)
		}
		for _, r := range batch {
			r.err = err
		}
		return err
	}
	if err := w.run("BEGIN IMMEDIATE"); err != nil {
		return fail(err)
	}
	now := db.opts.Now().UTC().Truncate(time.Millisecond)
	for _, r := range batch {
		r.err, r.tx = r.ctx.Err(), Tx{conn: w.conn, Now: now, link: db.opts.Link}
		if r.err != nil {
			continue
		}
		if savepoints {
			if err := w.run("SAVEPOINT one"); err != nil {
				return fail(err)
			}
		}
		start := time.Now()
		r.err = mapError(db.call(r))
		if took := time.Since(start); took > slowWrite {
			db.opts.Log.Warn("slow write", "write", r.name, "took", took)
		}
		if r.err != nil {
			r.tx.onCommit = nil
		}
		switch {
		case savepoints && r.err != nil:
			// A full disk or an I/O error rolls back everything, released savepoints included; then this fails.
			if err := w.run("ROLLBACK TO one"); err != nil {
				return fail(r.err)
			}
			fallthrough
		case savepoints:
			if err := w.run("RELEASE one"); err != nil {
				return fail(err)
			}
		case r.err != nil && r.tx.wrote:
			return fail(errUndo)
		}
	}
	if err := w.run("COMMIT"); err != nil {
		return fail(err)
	}
	db.stats.commits.Add(1)
	return nil
}

func (db *DB) call(r *request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			db.opts.Log.Error("panic in write", "write", r.name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("write %s: panic: %v", r.name, p)
		}
	}()
	return r.fn(&r.tx)
}

// reopen replaces the write connection after a failed write or sync: what the page cache holds can no longer be
// trusted, the file and its log can. It tries until it succeeds or the database is closed, answering waiting writes
// with ErrFailed meanwhile.
func (db *DB) reopen(w *writer) *writer {
	_ = w.Close()
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		fresh, err := db.openWriter()
		if err == nil {
			return fresh
		}
		db.opts.Log.Error("reopen database", "error", err)
		select {
		case r := <-db.queue:
			r.err = ErrFailed
			close(r.done)
		case <-db.closing:
			if len(db.queue) == 0 {
				return w // closed: every further call fails, which is what Close expects
			}
		case <-time.After(wait):
		}
	}
}
