// Package job is work that happens later and survives a restart, and the calendar of what runs by itself.
//
// An operation enqueues a job inside its transaction with [Queue.Enqueue]: the job exists if and only if the rest of
// the transaction does. Workers take jobs in the order of their time, a bounded number of each kind at once. One that
// succeeds is deleted; one that fails, panics or takes too long is tried again with growing pauses; after the last
// attempt it is parked with its error, where an administrator sees it and may retry or drop it.
//
// A job runs at least once: when the process ends between the work and its deletion, the work is done again. So every
// [Handler] is idempotent. A job that was running when the process died is taken again at the next start, because one
// process owns the data directory; the interrupted attempt counts, so that a job which kills the process ends parked.
// An orderly stop gives the attempt back.
//
// Jobs of a kind that no handler knows stay where they are and show in [Queue.Backlog]: they may belong to a newer or
// an older binary.
//
// [Queue.Every] is for what happens by the clock. Nothing polls: the queue sleeps until the next job or task is due,
// or until a commit wakes it.
package job

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Job is a piece of work. Whoever enqueues it sets the first four fields; a handler gets all of them.
type Job struct {
	Kind    string
	Key     string    // at most one unfinished job of a kind has this key; empty for any number
	Payload any       // stored as JSON, visible to administrators: ids, never secrets or message text; a handler reads it with Decode
	RunAt   time.Time // not before; zero is at once
	ID      string
	Attempt int // 1 for the first
}

// Decode reads the payload of a job that a handler was given.
func (j Job) Decode(into any) error {
	raw, _ := j.Payload.(json.RawMessage)
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("payload of %s: %w", j.Kind, err)
	}
	return nil
}

// Handler does the jobs of one kind.
type Handler struct {
	Workers     int           // how many at once; 0 is one
	MaxAttempts int           // parked after so many; 0 is ten
	Timeout     time.Duration // of one attempt; 0 is ten minutes
	// Run does the work. It must be idempotent and must return when ctx ends, by its timeout or because the server
	// stops. Its error is stored where administrators see it, so it names ids, never secrets or message text.
	Run func(ctx context.Context, j Job) error
}

// Queue is the durable queue of one database.
type Queue struct {
	db    *storage.DB
	log   *slog.Logger
	wake  chan struct{} // one token: whatever happened since the last look, look again
	kinds map[string]*kind
	work  sync.WaitGroup // jobs and tasks that are running; Run waits for it

	mu      sync.Mutex // never held over a call of the database
	tasks   map[string]*task
	flight  map[string]bool // ids claimed by this process
	counted counters
}

type kind struct {
	Handler
	name string
	busy int // guarded by Queue.mu
}

type counters struct{ done, failed, parked atomic.Int64 }

// New makes the queue of a database. Give it its handlers and tasks, then call Run.
func New(db *storage.DB, log *slog.Logger) *Queue {
	return &Queue{db: db, log: log, wake: make(chan struct{}, 1), kinds: map[string]*kind{}, tasks: map[string]*task{}, flight: map[string]bool{}}
}

// Handle says who does the jobs of a kind. Call it before Run, once for each kind.
func (q *Queue) Handle(name string, h Handler) {
	if q.kinds[name] != nil || h.Run == nil {
		panic("job: kind " + name + " needs one handler")
	}
	if h.Workers <= 0 {
		h.Workers = 1
	}
	if h.MaxAttempts <= 0 {
		h.MaxAttempts = 10
	}
	if h.Timeout <= 0 {
		h.Timeout = 10 * time.Minute
	}
	q.kinds[name] = &kind{Handler: h, name: name}
}

// Enqueue adds j in the transaction of tx and wakes the workers once that is on disk. While a job of the same kind and
// key is unfinished (waiting, running or parked) it does nothing: what the waiting one finds when it runs must be
// enough, and what must be done again after a running one needs a key of its own.
func (q *Queue) Enqueue(tx *storage.Tx, j Job) error {
	payload, err := json.Marshal(j.Payload)
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", j.Kind, err)
	}
	at := tx.Millis()
	if !j.RunAt.IsZero() {
		at = j.RunAt.UnixMilli()
	}
	var key any
	if j.Key != "" {
		key = j.Key
	}
	_, err = tx.Exec(`INSERT INTO job (id, kind, key, payload, run_at, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (kind, key) WHERE key IS NOT NULL DO NOTHING`,
		storage.NewID(), j.Kind, key, string(payload), at, tx.Millis(), tx.Millis())
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", j.Kind, err)
	}
	tx.OnCommit(q.Wake)
	return nil
}

// Wake has the queue look at the clock and the database again. It never blocks. Nobody needs to call it but who moves
// the clock.
func (q *Queue) Wake() {
	select {
	case q.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Parked is a job that used up its attempts.
type Parked struct {
	ID        string          `json:"id"`
	Kind      string          `json:"kind"`
	Key       string          `json:"key"`
	Payload   json.RawMessage `json:"payload"`
	Attempts  int             `json:"attempts"`
	LastError string          `json:"lastError"`
	CreatedAt time.Time       `json:"createdAt"`
	ParkedAt  time.Time       `json:"parkedAt"`
}

// parkedMax is the most that Parked returns; the Backlog has the full number.
const parkedMax = 500

// Parked returns the parked jobs, the newest first, at most 500.
func (q *Queue) Parked(ctx context.Context) ([]Parked, error) {
	parked := []Parked{}
	err := q.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT id, kind, coalesce(key, ''), payload, attempts, last_error, created_at, updated_at
			FROM job WHERE state = 'parked' ORDER BY id DESC LIMIT ?`, parkedMax)
		if err != nil {
			return fmt.Errorf("list parked jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var p Parked
			var payload string
			var created, at int64
			if err := rows.Scan(&p.ID, &p.Kind, &p.Key, &payload, &p.Attempts, &p.LastError, &created, &at); err != nil {
				return fmt.Errorf("list parked jobs: %w", err)
			}
			p.Payload, p.CreatedAt, p.ParkedAt = json.RawMessage(payload), time.UnixMilli(created).UTC(), time.UnixMilli(at).UTC()
			parked = append(parked, p)
		}
		return rows.Err()
	})
	return parked, err
}

// Retry has a parked job tried again from its first attempt, now. Codes: JOB_NOT_FOUND.
func (q *Queue) Retry(ctx context.Context, id string) error {
	return q.db.Write(ctx, "job.retry", func(tx *storage.Tx) error {
		result, err := tx.Exec("UPDATE job SET state = 'ready', attempts = 0, run_at = ?, updated_at = ? WHERE id = ? AND state = 'parked'",
			tx.Millis(), tx.Millis(), id)
		if err != nil {
			return fmt.Errorf("retry job %s: %w", id, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		tx.OnCommit(q.Wake)
		return nil
	})
}

// Drop deletes a job that is not running, parked or not: what it would have done is not done. Codes: JOB_NOT_FOUND.
func (q *Queue) Drop(ctx context.Context, id string) error {
	return q.db.Write(ctx, "job.drop", func(tx *storage.Tx) error {
		result, err := tx.Exec("DELETE FROM job WHERE id = ? AND state <> 'running'", id)
		if err != nil {
			return fmt.Errorf("drop job %s: %w", id, err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return orNotFound(err)
		}
		return nil
	})
}

func orNotFound(err error) error {
	if err != nil {
		return err
	}
	return api.E("JOB_NOT_FOUND")
}

// Stats is what the queue has done since it was made, for metrics.
type Stats struct {
	Running              int // jobs and tasks at this moment
	Done, Failed, Parked int64
}

// Stats returns counters for metrics. It does not touch the database.
func (q *Queue) Stats() Stats {
	s := Stats{Done: q.counted.done.Load(), Failed: q.counted.failed.Load(), Parked: q.counted.parked.Load()}
	q.mu.Lock()
	defer q.mu.Unlock()
	s.Running = len(q.flight)
	for _, t := range q.tasks {
		if t.running {
			s.Running++
		}
	}
	return s
}

// Backlog is how many jobs of a kind are in a state, and since when.
type Backlog struct {
	Kind   string    `json:"kind"`
	Known  bool      `json:"known"` // false: no handler, it waits for a binary that has one
	State  string    `json:"state"` // ready, running, parked
	Count  int64     `json:"count"`
	Oldest time.Time `json:"oldest"` // the earliest time one of them should have run or should run
}

// Backlog counts the unfinished jobs by kind and state.
func (q *Queue) Backlog(ctx context.Context) ([]Backlog, error) {
	backlog := []Backlog{}
	err := q.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT kind, state, count(*), min(run_at) FROM job GROUP BY kind, state ORDER BY kind, state")
		if err != nil {
			return fmt.Errorf("count jobs: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var b Backlog
			var oldest int64
			if err := rows.Scan(&b.Kind, &b.State, &b.Count, &oldest); err != nil {
				return fmt.Errorf("count jobs: %w", err)
			}
			b.Known, b.Oldest = q.kinds[b.Kind] != nil, time.UnixMilli(oldest).UTC()
			backlog = append(backlog, b)
		}
		return rows.Err()
	})
	return backlog, err
}
