package storage

import (
	"database/sql"
	"errors"
	"fmt"
	"time"
)

const (
	pageSize        = 4096
	checkpointEvery = 500 * time.Millisecond
	checkpointFull  = 10 * time.Millisecond // after a write, when the disk was full: before the log fills it again
	checkpointAgain = 5 * time.Second       // when it is full still
	checkpointBytes = 8 << 20               // copy the log back when so much waits: pages that change often are copied once
	restartBytes    = 48 << 20              // ask the writer to start the log anew when it is longer than this
)

// keeper copies the write-ahead log into the database from connections of its own, so that no write waits for it, and
// has what was deleted forgotten (forget.go). One goroutine runs it.
type keeper struct {
	db   *DB
	pool *sql.DB
	copy *conn // copies the log back, and looks at pages
	hold *conn // reads while the log is copied back: it cannot start anew before its pages are noted

	seen    notes
	suspect pages         // to look through for what is to be forgotten; nil when nothing is
	pause   time.Duration // before the log is tried again, after readers were in the way
	since   time.Time     // when they first were
}

func (db *DB) newKeeper() (*keeper, error) {
	pool, err := sql.Open("sqlite", db.dsn("rw"))
	if err != nil {
		return nil, err
	}
	pool.SetMaxOpenConns(2)
	k := &keeper{db: db, pool: pool}
	k.seen.all = !db.fresh
	for _, c := range []**conn{&k.copy, &k.hold} {
		raw, err := pool.Conn(bg)
		if err != nil {
			pool.Close()
			return nil, mapError(err)
		}
		*c = &conn{raw: raw, stmts: map[string]*sql.Stmt{}}
		if err := (*c).run("PRAGMA cache_size = -256"); err != nil { // it passes over pages, and comes back to none
			pool.Close()
			return nil, mapError(err)
		}
	}
	return k, nil
}

func (k *keeper) close() {
	k.copy.Close()
	k.hold.Close()
	k.pool.Close()
}

// checkpoint is the goroutine of the keeper. PASSIVE alone lets the log grow without end under steady load; then the
// writer starts it anew between batches.
func (db *DB) checkpoint() {
	defer close(db.resting)
	k, err := db.newKeeper()
	if err != nil {
		db.opts.Log.Error("open checkpointer", "error", err)
		return
	}
	defer k.close()
	// What a crash has left in the log goes back at once, in the background, and its space to the disk.
	k.emptyLog()
	if !db.fresh {
		db.Forget() // what the last process did not come to
	}
	most := int64(checkpointBytes)
	if db.opts.Rebuildable {
		most = checkpointBytes / 8 // not worth the disk of those who keep little
	}
	var due, last time.Time          // of the next step of forgetting, and of the end of the one before
	var look, again <-chan time.Time // soon after a write, and while the disk is full
	copyBack := func() {
		if k.copyBack(most); db.full.Load() {
			again = time.After(checkpointAgain)
		}
	}
	for { // asleep while nothing is written
		var step <-chan time.Time
		forgets, wrote := db.forgets, db.wrote
		if !due.IsZero() {
			step, forgets = time.After(time.Until(due)), nil
		}
		if look != nil {
			wrote = nil
		}
		select {
		case <-db.closing:
			return
		case <-forgets:
			due = time.Now().Add(max(forgetAfter, time.Until(last.Add(forgetEvery))))
		case <-step:
			if pause, more := k.forget(); more {
				due = time.Now().Add(pause)
			} else {
				due, last = time.Time{}, time.Now()
				db.stats.forgotten.Add(1)
			}
		case <-wrote:
			if look = time.After(checkpointEvery); db.full.Load() {
				look = time.After(checkpointFull)
			}
		case <-look:
			look, again = nil, nil
			copyBack()
		case <-again:
			again = nil
			copyBack()
		}
	}
}

// copyBack copies the log back when at least most bytes of it wait. After the disk was full it does so at once, and gives
// the space of the log back: a disk that small is needed for other things.
func (k *keeper) copyBack(most int64) {
	// The file does not shrink, so its size says nothing: NOOP counts the frames that wait.
	log, err := k.copy.checkpoint("NOOP")
	full := k.db.full.Load()
	if err == nil && !full && (log.frames-log.copied)*pageSize < most {
		return
	}
	if err == nil {
		log, err = k.passive()
	}
	if err = mapError(err); err != nil {
		if !full || !errors.Is(err, ErrFull) { // that is known
			k.db.opts.Log.Warn("checkpoint", "error", err)
		}
		if errors.Is(err, ErrFull) {
			k.db.full.Store(true)
		}
		return
	}
	k.db.stats.checkpoints.Add(1)
	mode := "RESTART"
	switch {
	case full:
		mode = "TRUNCATE"
	case log.frames*pageSize <= restartBytes:
		return
	}
	for range 2 { // what came meanwhile, and then again: little is left for which the writer has to wait
		if _, err := k.passive(); err != nil {
			break // the next copying tries again
		}
	}
	done, err := k.anew(mode)
	if err != nil {
		k.db.opts.Log.Warn("restart write-ahead log", "error", mapError(err))
	}
	if done && full {
		k.db.full.Store(false)
	}
}

// logState is what a checkpoint says of the log.
type logState struct {
	busy           bool
	frames, copied int64
}

func (c *conn) checkpoint(mode string) (s logState, err error) {
	err = c.QueryRow("PRAGMA wal_checkpoint("+mode+")").Scan(&s.busy, &s.frames, &s.copied)
	return s, err
}

// passive copies the log back while writes go on.
func (k *keeper) passive() (log logState, err error) {
	if err := k.hold.run("BEGIN"); err != nil {
		return log, err
	}
	defer func() { _ = k.hold.run("ROLLBACK") }()
	var n int
	if err := k.hold.QueryRow("SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil { // the snapshot begins here
		return log, err
	}
	if log, err = k.copy.checkpoint("PASSIVE"); err == nil {
		k.seen.note(k.db.opts.Path, log.frames)
	}
	return log, err
}

// anew has the writer start the log anew between two batches, RESTART, and cut it to nothing as well, TRUNCATE. It
// waits briefly for readers of the old log, never for long, and reports whether it came to that.
func (k *keeper) anew(mode string) (done bool, err error) {
	ran := k.db.between(func(w *writer) {
		var log logState
		if log, err = w.checkpoint("NOOP"); err != nil {
			return
		}
		k.seen.note(k.db.opts.Path, log.frames)
		_ = w.run("PRAGMA busy_timeout(20)")
		log, err = w.checkpoint(mode)
		_ = w.run("PRAGMA busy_timeout(5000)")
		done = err == nil && !log.busy
	})
	if err != nil {
		err = fmt.Errorf("checkpoint %s: %w", mode, err)
	}
	return done && ran, err
}

// between has the writer run fn on its connection between two batches and waits for it. It returns false when the
// writer has ended.
func (db *DB) between(fn func(w *writer)) bool {
	done := make(chan struct{})
	select {
	case db.tidy <- func(w *writer) { fn(w); close(done) }:
		<-done
		return true
	case <-db.done:
		return false
	}
}
