package search

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Index is the index of all messages, kept up to date in the background.
//
// The file may be damaged, cut or removed at any time, also while the server runs. What is found out is repaired by Run
// in the background: a removed file still serves, as it is open, until its successor is ready; a damaged one is thrown
// away at once, and searches are answered from what its successor has so far, and say so.
type Index struct {
	path   string
	db     *storage.DB
	events *event.Log
	log    *slog.Logger

	mu     sync.RWMutex // searches read under it; the index is exchanged under the write lock
	index  *file        // nil while there is none
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
	followPause = 800 * time.Millisecond // gathers a batch, and stays within the second that search may be behind
	stepBreak   = 5 * time.Millisecond   // between two steps
	stepBytes   = 64 << 10               // of text in a step, about
	fillBatch   = 250                    // messages in one step of making an index
	lagMax      = 5000                   // events not yet indexed, above which a search says that it is not current
)

// Open opens the index beside the database. One that cannot be read, or is of another version, is removed, and
// made again when Run runs.
func Open(path string, db *storage.DB, events *event.Log, log *slog.Logger) (*Index, error) {
	x := &Index{path: path, db: db, events: events, log: log}
	if err := storage.RemoveFiles(path + ".new"); err != nil {
		return nil, err
	}
	index, err := openFile(x.options(path))
	if err != nil {
		log.Warn("search index is made anew", "reason", err)
		if err := storage.RemoveFiles(path); err != nil {
			return nil, err
		}
		if index, err = openFile(x.options(path)); err != nil {
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

func (x *Index) options(path string) storage.Options { return storage.Options{Path: path, Log: x.log} }

// Close closes the index. One that turned out to be damaged is removed: the next start makes it again.
func (x *Index) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.index == nil {
		return nil
	}
	err := x.index.db.Close()
	x.index = nil
	if x.damaged.Load() {
		err = errors.Join(err, storage.RemoveFiles(x.path))
	}
	return err
}

// Run keeps the index up to date, and repairs it, until ctx ends.
func (x *Index) Run(ctx context.Context) {
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
func (x *Index) work(ctx context.Context) error {
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
func (x *Index) serving() *file {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.index
}

// isDamage reports whether a write to the index, or a read for one, failed because of the index: nothing that is
// written there can be wrong by itself.
func (x *Index) isDamage(err error) bool {
	var outside *sourceError
	return err != nil && !errors.As(err, &outside) && !errors.Is(err, context.Canceled) && !errors.Is(err, storage.ErrFull) &&
		!errors.Is(err, storage.ErrClosed) && !errors.Is(err, storage.ErrOverloaded)
}

// sourceError is a failure to read the main database, which is nothing that a new index could mend.
type sourceError struct{ error }

func (e *sourceError) Unwrap() error { return e.error }

// suspect notes that the index is damaged, once, and has Run throw it away.
func (x *Index) suspect(reason error) {
	if x.damaged.CompareAndSwap(false, true) {
		x.log.Warn("search index is damaged and is made anew", "reason", reason)
		x.poke()
	}
}

// want has Run make a new index beside the one that serves.
func (x *Index) want(reason string) {
	if x.wanted.CompareAndSwap(false, true) {
		x.log.Warn("search index is made anew", "reason", reason)
		x.poke()
	}
}

// Rebuild has a new index made in the background, unless one is being made. The old one serves meanwhile.
func (x *Index) Rebuild() {
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
func (x *Index) poke() {
	if stop := x.wake.Load(); stop != nil {
		(*stop)()
	}
}

// errNone says that there is no index to search at the moment.
var errNone = errors.New("there is no search index at the moment")

// read runs fn on the index that serves. When that turns out to be damaged it is errNone.
func (x *Index) read(ctx context.Context, fn func(v storage.View) error) error {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.index == nil || x.damaged.Load() {
		return errNone
	}
	switch x.index.look() {
	case fileMissing:
		x.want("its file is gone")
	case fileDamaged:
		x.suspect(errors.New("its file has become shorter"))
		return errNone
	}
	err := x.index.db.Read(ctx, fn)
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, storage.ErrFailed) || x.index.probe() != nil:
		x.suspect(err)
		return errNone
	}
	return err
}

// current reports whether a search sees everything that is older than a second or so.
func (x *Index) current(seq int64) bool {
	return !x.filling.Load() && !x.damaged.Load() && x.events.Committed()-seq < lagMax
}
