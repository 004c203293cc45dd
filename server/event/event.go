// Package event is the durable log of everything that happened that somebody must be told.
//
// An operation emits an event inside its transaction with [Log.Emit]: a pointer to what changed, with the scope that
// decides who may see it, and the value just written. After the commit the value goes to those who are listening
// now, in commit order. Whoever was away reads the pointer later and has it rendered from the tables by its [Kind],
// so that edits, deletions and erasure hold for late readers.
//
// Other readers of the log (search, push, analytics) follow it with a cursor of their own: at least once, in order,
// resumed after a crash.
//
// Things that are not stored (typing, presence, signalling) go out through [Log.Tell].
package event

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// The scopes: whose the audience of an event is. The scope id names one conversation, user or session.
const (
	ScopeConversation = "conversation" // its members at that moment
	ScopeUser         = "user"
	ScopeSession      = "session"
	ScopeAdmin        = "admin" // everybody who administers; the scope id is empty
)

// Event is one row of the log.
type Event struct {
	Seq       int64
	At        int64 // unix milliseconds
	Kind      string
	Scope     string
	ScopeID   string
	SubjectID string // what changed: a message, a conversation, a user
	ActorID   string
	Data      string // what a late reader needs and cannot find in the tables; "" mostly
	Viewer    string // the person it is rendered for, when it is for one: what they may not see stays out. Not stored
}

// Live is an event on its way to those who listen now. Its Value is what they are sent. An ephemeral has no Seq.
type Live struct {
	Event
	Value  any
	Except []string // people of the audience who are not told
	// Socket and NotSocket narrow an event for a person or a session to one connection, or to all but one; "" is all of them.
	Socket, NotSocket string
	Apart             Apart
}

// Apart is what some of the audience are told instead, because they do not see all that the others do.
type Apart struct {
	People []string
	Value  any
}

// Ephemeral reports whether the event is not stored.
func (l Live) Ephemeral() bool { return l.Seq == 0 }

// Kind describes the events of one name.
type Kind struct {
	Name  string
	Doc   string // who is told and when, for docs/protocol.md
	Value any    // a zero value of what they are told, for the same page
	// Render gives the values of a batch of pointers, in their order, for late readers: nil for one that is skipped
	// because nothing is left to tell. It asks the database a fixed number of questions, whatever the batch. Nil for
	// ephemerals, which cannot be emitted.
	Render func(q storage.Querier, events []Event) ([]any, error)
	// Membership says how the event changes the audience of its conversation; nil when it does not. Joins count from
	// this event on, departures after it.
	Membership func(e Event) (joined, left []string)
	// Receipt says that the event tells what its actor has read: it is not for those who hide what they read themselves.
	Receipt bool
}

// Log is the event log of one database.
type Log struct {
	db    *storage.DB
	log   *slog.Logger
	kinds map[string]Kind

	pending []Live        // of the batch being committed; the writer's alone
	out     chan []Live   // committed batches for the publisher; when full the writer waits, which slows sends, not losing any
	tell    chan Live     // ephemerals; dropped when full
	ended   chan struct{} // closed by end
	end     func()        // once, when Publish returns
	wake    chan struct{} // closed and replaced at each batch, to wake followers
	mu      sync.Mutex
	head    int64 // newest committed seq
	owed    int   // committed events that the publisher has not taken yet
}

const (
	batchesWaiting    = 256
	ephemeralsWaiting = 4096
)

// New makes the log. Attach it to a database before the first Emit: the database calls Flush after each batch.
func New(log *slog.Logger, kinds ...Kind) *Log {
	l := &Log{
		log: log, kinds: map[string]Kind{}, out: make(chan []Live, batchesWaiting), tell: make(chan Live, ephemeralsWaiting),
		wake: make(chan struct{}), ended: make(chan struct{}),
	}
	l.end = sync.OnceFunc(func() { close(l.ended) })
	l.Register(kinds...)
	return l
}

// Register adds kinds; every kind that is emitted must be known.
func (l *Log) Register(kinds ...Kind) {
	for _, k := range kinds {
		l.kinds[k.Name] = k
	}
}

// Kind returns the description of a name.
func (l *Log) Kind(name string) (Kind, bool) { k, ok := l.kinds[name]; return k, ok }

// Kinds returns every known kind.
func (l *Log) Kinds() map[string]Kind { return l.kinds }

// Attach connects the log to its database and reads the head.
func (l *Log) Attach(db *storage.DB) error {
	l.db = db
	return db.Read(context.Background(), func(v storage.View) error {
		head, err := Head(v)
		l.mu.Lock()
		l.head = head
		l.mu.Unlock()
		return err
	})
}

// Head returns the newest seq in the log, 0 when it is empty.
func Head(q storage.Querier) (int64, error) {
	var seq sql.NullInt64
	err := q.QueryRow("SELECT max(seq) FROM event").Scan(&seq)
	return seq.Int64, err
}

// Floor returns the oldest seq that is kept, 0 when the log is empty.
func Floor(q storage.Querier) (int64, error) {
	var seq sql.NullInt64
	err := q.QueryRow("SELECT min(seq) FROM event").Scan(&seq)
	return seq.Int64, err
}

// Next returns the seq that the next Emit of this transaction will give.
func Next(tx *storage.Tx) (int64, error) {
	head, err := Head(tx)
	return head + 1, err
}

// Emit writes e in the transaction of tx and, once that is on disk, hands value to the listeners, except the people
// named last, who may not see its subject. It returns the seq.
func (l *Log) Emit(tx *storage.Tx, e Event, value any, except ...string) (int64, error) {
	return l.EmitApart(tx, e, value, Apart{}, except...)
}

// EmitApart is Emit for an audience that is not told one and the same.
func (l *Log) EmitApart(tx *storage.Tx, e Event, value any, apart Apart, except ...string) (int64, error) {
	if l.kinds[e.Kind].Render == nil {
		return 0, fmt.Errorf("emit %s: unknown kind", e.Kind)
	}
	e.At = tx.Millis()
	result, err := tx.Exec("INSERT INTO event (at, kind, scope, scope_id, subject_id, actor_id, data) VALUES (?, ?, ?, ?, ?, ?, ?)",
		e.At, e.Kind, e.Scope, e.ScopeID, e.SubjectID, e.ActorID, e.Data)
	if err != nil {
		return 0, fmt.Errorf("emit %s: %w", e.Kind, err)
	}
	if e.Seq, err = result.LastInsertId(); err != nil {
		return 0, fmt.Errorf("emit %s: %w", e.Kind, err)
	}
	tx.OnCommit(func() {
		l.pending = append(l.pending, Live{Event: e, Value: value, Except: except, Apart: apart})
		l.mu.Lock()
		l.head = e.Seq
		l.owed++
		l.mu.Unlock()
	})
	return e.Seq, nil
}

// Tell sends an event that is not stored. When too many wait it is dropped.
func (l *Log) Tell(e Live) {
	select {
	case l.tell <- e:
	default:
	}
}

// Flush passes on the events of a committed batch. The writer calls it (storage.Options.AfterBatch).
func (l *Log) Flush() {
	if len(l.pending) == 0 {
		return
	}
	batch := l.pending
	l.pending = make([]Live, 0, cap(batch))
	l.mu.Lock()
	close(l.wake)
	l.wake = make(chan struct{})
	l.mu.Unlock()
	select {
	case l.out <- batch:
		return
	default:
	}
	select {
	case l.out <- batch:
	case <-l.ended: // full, and nobody listens any more; those who come later read the table
	}
}

// Committed returns the newest committed seq.
func (l *Log) Committed() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head
}

// Under steady load the publisher waits a moment and hands over several batches at once, so that what a listener gets
// leaves in fewer writes. What comes after a pause is handed over at once.
const (
	publishGap    = 2 * time.Millisecond // a batch this soon after the last one
	publishStreak = 4                    // so many batches in a row, each soon after the other, are steady load
	publishGather = 2 * time.Millisecond
)

// Publish hands committed events, in order, and ephemerals to their functions until ctx ends and the committed ones
// are all handed over. One goroutine runs it.
func (l *Log) Publish(ctx context.Context, committed func([]Live), told func(Live)) {
	defer l.end()
	var last time.Time
	streak := 0
	for {
		var batch []Live
		select {
		case batch = <-l.out:
		default:
			select {
			case batch = <-l.out:
			case e := <-l.tell:
				told(e)
				continue
			case <-ctx.Done():
				for l.owes() { // the writer is about to pass them on
					committed(l.waiting(<-l.out))
				}
				return
			}
		}
		if time.Since(last) < publishGap {
			streak++
		} else {
			streak = 0
		}
		if streak >= publishStreak {
			time.Sleep(publishGather)
		}
		committed(l.waiting(batch))
		last = time.Now()
	}
}

// owes reports whether something is committed that the publisher has not taken yet.
func (l *Log) owes() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.owed > 0
}

// waiting appends the batches that are committed by now, and takes them all.
func (l *Log) waiting(batch []Live) []Live {
	for {
		select {
		case more := <-l.out:
			batch = append(batch, more...)
		default:
			l.mu.Lock()
			l.owed -= len(batch)
			l.mu.Unlock()
			return batch
		}
	}
}

// Values renders pointers for late readers, each kind in one go. The values are in the order of the events; nil means
// skip.
func (l *Log) Values(q storage.Querier, events []Event) ([]any, error) {
	values := make([]any, len(events))
	byKind := map[string][]int{}
	for i, e := range events {
		byKind[e.Kind] = append(byKind[e.Kind], i)
	}
	for name, at := range byKind {
		kind, ok := l.kinds[name]
		if !ok {
			continue // of a feature that this binary no longer has
		}
		group := make([]Event, len(at))
		for i, j := range at {
			group[i] = events[j]
		}
		rendered, err := kind.Render(q, group)
		if err != nil {
			return nil, fmt.Errorf("render %s: %w", name, err)
		}
		for i, j := range at {
			values[j] = rendered[i]
		}
	}
	return values, nil
}

// Wait blocks until the log has something after seq, or ctx ends.
func (l *Log) Wait(ctx context.Context, seq int64) error {
	for {
		l.mu.Lock()
		head, wake := l.head, l.wake
		l.mu.Unlock()
		if head > seq {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Prune removes events older than keep, never the newest one: a seq is never given twice. It works in short batches.
func (l *Log) Prune(ctx context.Context, keep time.Duration) error {
	for {
		var gone int64
		err := l.db.Write(ctx, "event.prune", func(tx *storage.Tx) error {
			// Times rise with seq, so the oldest rows decide; no index on the time is kept for this.
			result, err := tx.Exec(`DELETE FROM event WHERE seq IN (
				SELECT old.seq FROM (SELECT seq, at FROM event ORDER BY seq LIMIT 500) old
				WHERE old.at < ? AND old.seq < (SELECT max(seq) FROM event))`, tx.Now.Add(-keep).UnixMilli())
			if err != nil {
				return fmt.Errorf("prune events: %w", err)
			}
			gone, err = result.RowsAffected()
			return err
		})
		if err != nil || gone == 0 {
			return err
		}
	}
}

// Scan reads the columns of an Event: seq, at, kind, scope, scope_id, subject_id, actor_id, data.
func Scan(rows *sql.Rows) ([]Event, error) {
	defer rows.Close()
	var events []Event
	for rows.Next() {
		var e Event
		if err := rows.Scan(&e.Seq, &e.At, &e.Kind, &e.Scope, &e.ScopeID, &e.SubjectID, &e.ActorID, &e.Data); err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	return events, rows.Err()
}

// Cursor returns how far the named reader is; 0 when it has not begun.
func Cursor(q storage.Querier, name string) (seq int64, err error) {
	err = q.QueryRow("SELECT seq FROM cursor WHERE name = ?", name).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return seq, err
}

// SetCursor notes how far the named reader is.
func SetCursor(tx *storage.Tx, name string, seq int64) error {
	_, err := tx.Exec(`INSERT INTO cursor (name, seq, at) VALUES (?, ?, ?)
		ON CONFLICT (name) DO UPDATE SET seq = excluded.seq, at = excluded.at`, name, seq, tx.Millis())
	return err
}
