package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Search is the index of words: a database of its own that follows the event log. A send never waits for it.
//
// The file may be damaged, cut or removed at any time, also while the server runs. What is found out is repaired by Run
// in the background: a removed file still serves, as it is open, until its successor is ready; a damaged one is thrown
// away at once, and searches are answered from what its successor has so far, and say so.
type Search struct {
	path   string
	db     *storage.DB
	events *event.Log
	log    *slog.Logger

	mu     sync.RWMutex // searches read under it; the index is exchanged under the write lock
	index  *wordIndex   // nil while there is none
	closed bool

	discarded time.Time     // of Run: when it last threw an index away
	patience  time.Duration // of Run: the pause before it does so again

	wake    atomic.Pointer[context.CancelFunc] // ends what Run is waiting for
	damaged atomic.Bool                        // to be thrown away
	wanted  atomic.Bool                        // to be made anew beside the one that serves
	filling atomic.Bool                        // the index that serves is not whole yet
	done    atomic.Int64                       // messages of the index being made
	total   atomic.Int64                       // about how many there will be; 0 when none is being made
	problem atomic.Pointer[string]             // why the last attempt to make one failed; nil when it did not
}

const (
	indexPause = 800 * time.Millisecond // gathers a batch, and stays within the second that search may be behind
	indexBatch = 200                    // events in one step: some ten milliseconds, so that sends get their turn
	indexBreak = 5 * time.Millisecond   // between two steps
	fillBatch  = 250                    // messages in one step of making an index
	indexLag   = 5000                   // events not yet indexed, above which a search says that it is not current
)

// OpenSearch opens the index beside the database. One that cannot be read, or is of another version, is removed, and
// made again when Run runs.
func OpenSearch(path string, db *storage.DB, events *event.Log, log *slog.Logger) (*Search, error) {
	x := &Search{path: path, db: db, events: events, log: log}
	if err := removeIndex(path + ".new"); err != nil {
		return nil, err
	}
	index, err := openIndex(x.options(path))
	if err != nil {
		log.Warn("search index is made anew", "reason", err)
		if err := removeIndex(path); err != nil {
			return nil, err
		}
		if index, err = openIndex(x.options(path)); err != nil {
			return nil, fmt.Errorf("open search index: %w", err)
		}
	}
	_, filled, err := index.progress(context.Background())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open search index: %w", err), index.db.Close())
	}
	x.index = index
	x.filling.Store(filled.Valid)
	return x, nil
}

func (x *Search) options(path string) storage.Options { return storage.Options{Path: path, Log: x.log} }

// Close closes the index. One that turned out to be damaged is removed: the next start makes it again.
func (x *Search) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.index == nil {
		return nil
	}
	err := x.index.db.Close()
	x.index = nil
	if x.damaged.Load() {
		err = errors.Join(err, removeIndex(x.path))
	}
	return err
}

// Run keeps the index up to date, and repairs it, until ctx ends.
func (x *Search) Run(ctx context.Context) {
	wait := time.Second
	for ctx.Err() == nil {
		work, stop := context.WithCancel(ctx)
		x.wake.Store(&stop)
		began := time.Now()
		err := x.work(work)
		stop()
		if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) {
			continue // something else is to be done
		}
		if time.Since(began) > time.Minute {
			wait = time.Second
		}
		text := err.Error()
		x.problem.Store(&text)
		x.log.Error("search index", "error", err, "again", wait)
		_ = pause(ctx, wait)
		wait = min(2*wait, 5*time.Minute)
	}
}

// work does what is to be done with the index: throw away a damaged one, make a new one, follow the log.
func (x *Search) work(ctx context.Context) error {
	if x.damaged.Load() || x.serving() == nil {
		if time.Since(x.discarded) > 10*time.Minute {
			x.patience = 0
		}
		if err := pause(ctx, x.patience); err != nil { // a disk that damages everything is not to be written for ever
			return err
		}
		x.discarded, x.patience = time.Now(), min(max(time.Second, 2*x.patience), 5*time.Minute)
		if err := x.discard(); err != nil {
			return err
		}
	}
	if x.wanted.Load() {
		return x.renew(ctx)
	}
	index := x.serving()
	if index == nil {
		return nil // closed
	}
	err := x.follow(ctx, index)
	if x.isDamage(err) {
		x.suspect(err)
		return nil
	}
	return err
}

// serving is the index that searches are answered from.
func (x *Search) serving() *wordIndex {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.index
}

// isDamage reports whether a write to the index, or a read for one, failed because of the index: nothing that is
// written there can be wrong by itself.
func (x *Search) isDamage(err error) bool {
	var outside *sourceError
	return err != nil && !errors.As(err, &outside) && !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrFull) &&
		!errors.Is(err, storage.ErrClosed) && !errors.Is(err, storage.ErrOverloaded)
}

// sourceError is a failure to read the main database, which is nothing that a new index could mend.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// suspect notes that the index is damaged, once, and has Run throw it away.
func (x *Search) suspect(reason error) {
	if x.damaged.CompareAndSwap(false, true) {
		x.log.Warn("search index is damaged and is made anew", "reason", reason)
		x.poke()
	}
}

// want has Run make a new index beside the one that serves.
func (x *Search) want(reason string) {
	if x.wanted.CompareAndSwap(false, true) {
		x.log.Warn("search index is made anew", "reason", reason)
		x.poke()
	}
}

// Rebuild has a new index made in the background, unless one is being made. The old one serves meanwhile.
func (x *Search) Rebuild() {
	if x.filling.Load() || x.damaged.Load() {
		return // it is being made as it is
	}
	if x.wanted.CompareAndSwap(false, true) {
		x.problem.Store(nil)
		x.log.Info("search index is made anew", "reason", "somebody asked for it")
		x.poke()
	}
}

// poke has Run look at what is to be done.
func (x *Search) poke() {
	if stop := x.wake.Load(); stop != nil {
		(*stop)()
	}
}

// errNoIndex says that there is no index to search at the moment.
var errNoIndex = errors.New("there is no search index at the moment")

// read runs fn on the index that serves. When that turns out to be damaged it is errNoIndex.
func (x *Search) read(ctx context.Context, fn func(v storage.View) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.index == nil || x.damaged.Load() {
		return errNoIndex
	}
	switch x.index.file() {
	case fileMissing:
		x.want("its file is gone")
	case fileDamaged:
		x.suspect(errors.New("its file has become shorter"))
		return errNoIndex
	}
	err := x.index.db.Read(ctx, fn)
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, storage.ErrFailed) || x.index.probe() != nil:
		x.suspect(err)
		return errNoIndex
	}
	return err
}

// current reports whether a search sees everything that is older than a second or so.
func (x *Search) current(seq int64) bool {
	return !x.filling.Load() && !x.damaged.Load() && x.events.Committed()-seq < indexLag
}

// discard replaces the index by an empty one.
func (x *Search) discard() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	if x.index != nil {
		_ = x.index.db.Close()
		x.index = nil
	}
	if err := removeIndex(x.path); err != nil {
		return err
	}
	index, err := openIndex(x.options(x.path))
	if err != nil {
		return fmt.Errorf("open search index: %w", err)
	}
	x.index = index
	x.filling.Store(true)
	x.damaged.Store(false)
	x.wanted.Store(false) // it is made anew as it is
	return nil
}

// renew makes a new index beside the one that serves, which is kept up to date meanwhile, and exchanges them.
func (x *Search) renew(ctx context.Context) error {
	path := x.path + ".new"
	if err := removeIndex(path); err != nil {
		return err
	}
	fresh, err := openIndex(x.options(path))
	if err != nil {
		return fmt.Errorf("open new search index: %w", err)
	}
	old := x.serving()
	err = x.fill(ctx, fresh, func() error {
		if old == nil || x.filling.Load() {
			return nil
		}
		return x.catchUp(ctx, old)
	})
	if err = errors.Join(err, fresh.db.Close()); err != nil {
		if old != nil && old.file() == fileSound && !errors.Is(err, context.Canceled) {
			x.wanted.Store(false) // the one that serves is still good
		}
		return errors.Join(err, removeIndex(path))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.damaged.Load() {
		return removeIndex(path)
	}
	if x.index != nil {
		_ = x.index.db.Close()
		x.index = nil
	}
	if err := removeIndex(x.path); err != nil {
		return err
	}
	if err := os.Rename(path, x.path); err != nil {
		return fmt.Errorf("put new search index in place: %w", err)
	}
	if x.index, err = openIndex(x.options(x.path)); err != nil {
		return fmt.Errorf("open new search index: %w", err)
	}
	x.wanted.Store(false)
	x.filling.Store(false)
	return nil
}

// follow reads the event log behind until ctx ends.
func (x *Search) follow(ctx context.Context, index *wordIndex) error {
	at, filled, err := index.progress(ctx)
	if err != nil {
		return err
	}
	if filled.Valid {
		if err := x.fill(ctx, index, nil); err != nil {
			return err
		}
		x.filling.Store(false)
		if at, _, err = index.progress(ctx); err != nil {
			return err
		}
	}
	var floor int64
	if err := x.db.Read(ctx, func(v storage.View) error { floor, err = event.Floor(v); return err }); err != nil {
		return &sourceError{err}
	}
	if floor > at+1 || at > x.events.Committed() {
		x.want("it is of another time than the database")
		return nil
	}
	for {
		if err := x.events.Wait(ctx, at); err != nil {
			return err
		}
		if err := pause(ctx, indexPause); err != nil {
			return err
		}
		switch index.file() {
		case fileMissing:
			x.want("its file is gone")
			return nil
		case fileDamaged:
			return errors.New("its file has become shorter")
		}
		if err := x.catchUp(ctx, index); err != nil {
			return err
		}
		if err := index.probe(); err != nil {
			return err
		}
		if at, _, err = index.progress(ctx); err != nil {
			return err
		}
	}
}

// catchUp indexes everything that is in the log now.
func (x *Search) catchUp(ctx context.Context, index *wordIndex) error {
	at, _, err := index.progress(ctx)
	for upTo := x.events.Committed(); err == nil && at < upTo; {
		if at, err = x.step(ctx, index, at); err == nil {
			err = pause(ctx, indexBreak)
		}
	}
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// step indexes the next events after at and returns how far it came.
func (x *Search) step(ctx context.Context, index *wordIndex, at int64) (int64, error) {
	upTo := min(at+indexBatch, x.events.Committed())
	var changes []change
	var dissolved []string
	err := x.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT e.kind, e.subject_id, "+documentColumns+` FROM event e
			LEFT JOIN message x ON x.id = e.subject_id AND `+searchable+`
			WHERE e.seq > ? AND e.seq <= ? AND e.kind IN ('message:new', 'message:edited', 'message:deleted', 'conversation:deleted')
			ORDER BY e.seq`, v.Millis(), at, upTo)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind, subject string
			d, err := scanDocument(rows, &kind, &subject)
			if err != nil {
				return err
			}
			switch kind {
			case ConversationDeleted:
				dissolved = append(dissolved, subject)
			case MessageDeleted:
				changes = append(changes, change{messageID: subject}) // even where the row is kept for a legal hold
			default:
				changes = append(changes, change{subject, d})
			}
		}
		return rows.Err()
	})
	if err != nil {
		return at, &sourceError{fmt.Errorf("read events for search: %w", err)}
	}
	advance := func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE progress SET seq = ?", upTo)
		return err
	}
	if len(dissolved) == 0 {
		return upTo, index.write(ctx, changes, advance)
	}
	if err := index.write(ctx, changes, nil); err != nil {
		return at, err
	}
	for _, id := range dissolved {
		if err := index.removeConversation(ctx, id); err != nil {
			return at, err
		}
	}
	return upTo, index.write(ctx, nil, advance)
}
