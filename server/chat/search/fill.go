package search

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// discard replaces the index by an empty one.
func (x *Index) discard() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed {
		return nil
	}
	if x.index != nil {
		_ = x.index.db.Close()
		x.index = nil
	}
	if err := storage.RemoveFiles(x.path); err != nil {
		return err
	}
	index, err := openFile(x.options(x.path))
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
func (x *Index) renew(ctx context.Context) error {
	path := x.path + ".new"
	if err := storage.RemoveFiles(path); err != nil {
		return err
	}
	fresh, err := openFile(x.options(path))
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
		if old != nil && old.look() == fileSound && !errors.Is(err, context.Canceled) {
			x.wanted.Store(false) // the one that serves is still good
		}
		return errors.Join(err, storage.RemoveFiles(path))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.closed || x.damaged.Load() {
		return storage.RemoveFiles(path)
	}
	if x.index != nil {
		_ = x.index.db.Close()
		x.index = nil
	}
	if err := storage.RemoveFiles(x.path); err != nil {
		return err
	}
	if err := os.Rename(path, x.path); err != nil {
		return fmt.Errorf("put new search index in place: %w", err)
	}
	if x.index, err = openFile(x.options(x.path)); err != nil {
		return fmt.Errorf("open new search index: %w", err)
	}
	x.wanted.Store(false)
	x.filling.Store(false)
	return nil
}

// fill makes an index from the messages, in the order they were sent; between is called now and then. It goes on where
// an earlier attempt was interrupted.
func (x *Index) fill(ctx context.Context, index *file, between func() error) error {
	start, count := time.Now(), 0
	_, filled, err := index.progress(ctx)
	if err != nil {
		return err
	}
	last := filled.String
	if last == "" { // what happens from here on is found in the log later
		seq := x.events.Committed()
		err := index.write(ctx, nil, func(tx *storage.Tx) error {
			_, err := tx.Exec("UPDATE progress SET seq = ?", seq)
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := x.measure(ctx); err != nil {
		return err
	}
	defer x.total.Store(0)
	for {
		page, err := x.page(ctx, last)
		if err != nil {
			return &sourceError{fmt.Errorf("read messages for search: %w", err)}
		}
		if len(page) == 0 {
			break
		}
		last = page[len(page)-1].messageID
		err = index.write(ctx, page, func(tx *storage.Tx) error {
			_, err := tx.Exec("UPDATE progress SET filled = ?", last)
			return err
		})
		if err != nil {
			return err
		}
		count += len(page)
		x.done.Store(int64(count))
		if err := between(); err != nil {
			return err
		}
		if err := pause(ctx, stepBreak); err != nil {
			return err
		}
	}
	if count > 0 {
		if err := index.compact(ctx, between); err != nil {
			return err
		}
	}
	err = index.write(ctx, nil, func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE progress SET filled = NULL")
		return err
	})
	if err == nil {
		x.problem.Store(nil)
	}
	if err == nil && count > 0 {
		x.log.Info("search index made", "messages", count, "took", time.Since(start).Round(time.Millisecond))
	}
	return err
}

// measure notes how much there is to do. Tombstones count too: it is for showing how far it is.
func (x *Index) measure(ctx context.Context) error {
	var n int64
	err := x.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT coalesce(sum(last_n), 0) FROM conversation WHERE deleted_at IS NULL").Scan(&n)
	})
	if err != nil {
		return &sourceError{fmt.Errorf("count messages for search: %w", err)}
	}
	x.done.Store(0)
	x.total.Store(max(1, n))
	return nil
}

// page reads the messages after one, to be put into an index.
func (x *Index) page(ctx context.Context, last string) (page []change, err error) {
	err = x.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT "+documentColumns+` FROM message x JOIN conversation c ON c.id = x.conversation_id
			WHERE x.id > ? AND c.deleted_at IS NULL AND `+searchable+`
			ORDER BY x.id LIMIT ?`, last, v.Millis(), fillBatch)
		if err != nil {
			return err
		}
		defer rows.Close()
		for size := 0; size < stepBytes && rows.Next(); {
			d, err := scanDocument(rows)
			if err != nil {
				return err
			}
			page, size = append(page, change{d.messageID, d}), size+len(d.text)
		}
		return rows.Err()
	})
	return page, err
}
