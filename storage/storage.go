// Package storage is the SQLite file and the folder around it: one writer that commits in groups, a pool of
// readers, migrations, the data-directory lock, identifiers, and a cache for what expires.
//
// # Writing
//
// [DB.Write] queues a closure. One goroutine owns the write connection; it takes what is waiting, runs the closures in
// one transaction, undoing each that fails, commits with synchronous=FULL, and only then answers the callers. What
// was answered without an error survives a kill and a power loss. A closure
//
//   - may run more than once (when another closure of its batch fails), so it resets its outputs,
//   - touches memory that others see only in [Tx.OnCommit], which is dropped with a rolled back savepoint,
//   - does no I/O but through the [Tx], and never calls Write: the writer would wait for itself.
//
// The queue is bounded; when it is full Write returns [ErrOverloaded] at once, and nothing has happened.
//
// # Reading
//
// [DB.Read] lends a read-only connection with a consistent snapshot. Reads never wait for the writer. Long work must
// page: a snapshot that stays open keeps the write-ahead log from being reused.
//
// Statements are prepared once per connection and kept by their text, so SQL text must come from constants, not from
// values. Helpers that read take a [Querier] and so work inside a write as well as a read.
package storage

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
)

//go:embed migrations/*.sql
var migrations embed.FS

// FileName is the name of the main database inside the data directory.
const FileName = "quckchat.db"

// Options say which file to open and how.
type Options struct {
	Path        string           // the database file; its directory exists
	Migrations  fs.FS            // numbered .sql files; nil means the migrations of the main database
	Rebuildable bool             // the file can be made again from another: commits need not reach the disk at once
	Log         *slog.Logger     // nil discards
	Now         func() time.Time // nil is the system clock; Tx.Now comes from here
	AfterBatch  func()           // called by the writer after each group commit, when its callers are answered
	Link        Link             // nil links to paths as they are
}

// Link makes the address under which what is kept at path can be fetched, from now on and for a while, by whoever is
// shown it as part of scope.
type Link func(path, scope string, now time.Time) string

// DB is an open database. Its methods may be called from any goroutine.
type DB struct {
	opts    Options
	queue   chan *request
	readers chan *conn
	pool    *sql.DB       // the readers' connections
	done    chan struct{} // nothing is written any more
	ended   chan struct{} // the write connection is closed
	closing chan struct{}
	close   func() error  // once
	resting chan struct{} // closed when the checkpointer has ended
	fresh   bool          // made by this Open

	tidy    chan func(w *writer) // what the keeper wants done between two batches
	wrote   chan struct{}        // something was committed since the last checkpoint
	full    atomic.Bool          // the disk was, and the write-ahead log has not been cut since
	forgets chan struct{}        // something was deleted that must leave the disk
	stats   counters
}

// Stats is what the database has done since it was opened.
type Stats struct {
	Commits, Writes, Failures, Checkpoints int64
	Forgotten                              int64 // how often what was deleted has left the disk (Forget)
	Queued                                 int
	WALBytes                               int64
}

type counters struct{ commits, writes, failures, checkpoints, forgotten atomic.Int64 }

const (
	queueLength = 4096 // closures waiting for the writer; beyond it Write refuses
	batchMax    = 256  // closures in one commit
)

// Open opens or creates the database, migrates it (after a snapshot beside it when it held data), and starts its
// writer and its checkpointer.
func Open(opts Options) (*DB, error) {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	if opts.Link == nil {
		opts.Link = func(path, _ string, _ time.Time) string { return path }
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Migrations == nil {
		opts.Migrations, _ = fs.Sub(migrations, "migrations")
	}
	// Another open and close of the file in this process must not drop SQLite's locks (modernc.org/sqlite, OFDLocking).
	if _, err := sqlite.OFDLocking(true); err != nil && !errors.Is(err, sqlite.ErrOFDLockingUnavailable) && !errors.Is(err, sqlite.ErrOFDLockingTooLate) {
		return nil, fmt.Errorf("choose lock kind: %w", err)
	}
	_, statErr := os.Stat(opts.Path)
	db := &DB{
		opts: opts, queue: make(chan *request, queueLength), done: make(chan struct{}), ended: make(chan struct{}), closing: make(chan struct{}), wrote: make(chan struct{}, 1), resting: make(chan struct{}),
		tidy: make(chan func(w *writer)), forgets: make(chan struct{}, 1),
		fresh: errors.Is(statErr, fs.ErrNotExist),
	}
	w, err := db.openWriter()
	if err != nil {
		return nil, err
	}
	if err := db.migrate(w); err != nil {
		w.Close()
		return nil, err
	}
	if err := db.openReaders(); err != nil {
		w.Close()
		return nil, err
	}
	db.close = sync.OnceValue(db.shut)
	go db.write(w)
	go db.checkpoint()
	return db, nil
}

// Fresh reports whether Open created the file.
func (db *DB) Fresh() bool { return db.fresh }

// Path is the database file.
func (db *DB) Path() string { return db.opts.Path }

// Dir is the directory of the database file.
func (db *DB) Dir() string { return filepath.Dir(db.opts.Path) }

// Now is the clock of the database, in UTC.
func (db *DB) Now() time.Time { return db.opts.Now().UTC() }

// Close finishes what is queued, checkpoints, and closes the file. Writes after Close get ErrClosed.
// Calling it again does nothing.
func (db *DB) Close() error { return db.close() }

func (db *DB) shut() error {
	close(db.closing)
	<-db.ended
	for range cap(db.readers) {
		(<-db.readers).Close()
	}
	return db.pool.Close()
}

// Stats returns counters for metrics.
func (db *DB) Stats() Stats {
	s := Stats{
		Commits: db.stats.commits.Load(), Writes: db.stats.writes.Load(), Failures: db.stats.failures.Load(),
		Checkpoints: db.stats.checkpoints.Load(), Forgotten: db.stats.forgotten.Load(), Queued: len(db.queue),
	}
	if info, err := os.Stat(db.opts.Path + "-wal"); err == nil {
		s.WALBytes = info.Size()
	}
	return s
}

// Querier reads: a Tx while writing, a View otherwise.
type Querier interface {
	// Query runs a SELECT with its parameters.
	Query(sql string, args ...any) (*sql.Rows, error)
	// QueryRow runs a SELECT of at most one row; Scan returns sql.ErrNoRows when there is none.
	QueryRow(sql string, args ...any) *sql.Row
	// Millis is the time of this read or write in unix milliseconds: what expires by then is gone.
	Millis() int64
	// Link is the address of what is kept at path for those who are shown scope (see the type Link).
	Link(path, scope string) string
}

// View is a consistent snapshot for reading, valid inside the function given to Read.
type View struct {
	*conn
	// Now is the time of this read in UTC, cut to milliseconds.
	Now  time.Time
	link Link
}

// Millis is Now in unix milliseconds.
func (v View) Millis() int64 { return v.Now.UnixMilli() }

// Link is the address of what is kept at path for those who are shown scope.
func (v View) Link(path, scope string) string { return v.link(path, scope, v.Now) }

// Read runs fn on a snapshot. It waits for a free connection until ctx ends.
func (db *DB) Read(ctx context.Context, fn func(v View) error) error {
	var c *conn
	select {
	case c = <-db.readers:
	default:
		select {
		case c = <-db.readers:
		case <-ctx.Done():
			return ctx.Err()
		case <-db.done:
			return ErrClosed
		}
	}
	defer func() { db.readers <- c }()
	if err := c.run("BEGIN"); err != nil {
		return mapError(err)
	}
	defer func() { _ = c.run("ROLLBACK") }()
	return mapError(fn(View{c, db.Now().Truncate(time.Millisecond), db.opts.Link}))
}

// conn is one SQLite connection with its prepared statements. It has one user at a time.
type conn struct {
	raw   *sql.Conn
	stmts map[string]*sql.Stmt
}

// bg is the context of every SQLite call: a cancellable one costs a goroutine per query.
var bg = context.Background()

func (c *conn) stmt(text string) (*sql.Stmt, error) {
	if s := c.stmts[text]; s != nil {
		return s, nil
	}
	s, err := c.raw.PrepareContext(bg, text)
	if err != nil {
		return nil, err
	}
	c.stmts[text] = s
	return s, nil
}

func (c *conn) run(text string) error { _, err := c.exec(text); return err }

func (c *conn) exec(text string, args ...any) (sql.Result, error) {
	s, err := c.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(bg, args...)
}

// Query runs a SELECT.
func (c *conn) Query(text string, args ...any) (*sql.Rows, error) {
	s, err := c.stmt(text)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(bg, args...)
}

// QueryRow runs a SELECT of at most one row.
func (c *conn) QueryRow(text string, args ...any) *sql.Row {
	s, err := c.stmt(text)
	if err != nil {
		return c.raw.QueryRowContext(bg, text, args...) // reports the same error when scanned
	}
	return s.QueryRowContext(bg, args...)
}

func (c *conn) Close() error {
	for _, s := range c.stmts {
		s.Close()
	}
	return c.raw.Close()
}

// writer is the write connection; it has a pool of its own so that it can be closed and opened again.
type writer struct {
	*conn
	pool *sql.DB
}

func (w *writer) Close() error {
	return errors.Join(w.conn.Close(), w.pool.Close())
}

func (db *DB) dsn(mode string) string {
	sync := "FULL"
	if db.opts.Rebuildable {
		sync = "NORMAL"
	}
	d := "file:" + (&pathEscaper{db.opts.Path}).String() + "?_pragma=busy_timeout(5000)&_pragma=foreign_keys(1)&_pragma=temp_store(2)&_pragma=secure_delete(1)"
	if mode == "ro" {
		return d + "&mode=ro&_pragma=query_only(1)&_pragma=cache_size(-4000)"
	}
	return d + "&_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(" + sync + ")&_pragma=wal_autocheckpoint(0)&_pragma=journal_size_limit(67108864)&_pragma=cache_size(-16000)"
}

func (db *DB) openWriter() (*writer, error) {
	pool, err := sql.Open("sqlite", db.dsn("rw"))
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", db.opts.Path, err)
	}
	pool.SetMaxOpenConns(1)
	raw, err := pool.Conn(bg)
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("open %s: %w", db.opts.Path, mapError(err))
	}
	return &writer{conn: &conn{raw: raw, stmts: map[string]*sql.Stmt{}}, pool: pool}, nil
}

func (db *DB) openReaders() error {
	n := max(2, min(4, runtime.GOMAXPROCS(0)))
	pool, err := sql.Open("sqlite", db.dsn("ro"))
	if err != nil {
		return fmt.Errorf("open readers: %w", err)
	}
	pool.SetMaxOpenConns(n)
	pool.SetMaxIdleConns(n)
	db.pool, db.readers = pool, make(chan *conn, n)
	for range n {
		raw, err := pool.Conn(bg)
		if err != nil {
			pool.Close()
			return fmt.Errorf("open reader: %w", mapError(err))
		}
		db.readers <- &conn{raw: raw, stmts: map[string]*sql.Stmt{}}
	}
	return nil
}

// RemoveFiles removes a database that is not open, with what belongs to it. One that is not there is removed already.
func RemoveFiles(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove database: %w", err)
		}
	}
	return nil
}
