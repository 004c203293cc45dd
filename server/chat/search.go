package chat

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

//go:embed searchindex/*.sql
var searchSchema embed.FS

// Search is the index of words: a database of its own that follows the event log. A send never waits for it.
type Search struct {
	index  *storage.DB
	db     *storage.DB
	events *event.Log
	log    *slog.Logger
	broken atomic.Bool // it could not be read or written, and is removed when it is closed
}

const (
	indexPause = 800 * time.Millisecond // gathers a batch, and stays within the second that search may be behind
	indexBatch = 200                    // events in one step: some ten milliseconds, so that sends get their turn
	indexBreak = 5 * time.Millisecond   // between two steps
	indexLag   = 5000                   // events not yet indexed, above which a search says that it is not current
	foundMax   = 1000                   // where counting matches ends
)

// OpenSearch opens the index beside the database. One that cannot be read is removed and made again.
func OpenSearch(path string, db *storage.DB, events *event.Log, log *slog.Logger) (*Search, error) {
	schema, err := fs.Sub(searchSchema, "searchindex")
	if err != nil {
		return nil, err
	}
	opts := storage.Options{Path: path, Migrations: schema, Rebuildable: true, Log: log}
	index, err := storage.Open(opts)
	if err == nil {
		if err = probe(index); err != nil {
			err = errors.Join(err, index.Close())
		}
	}
	if err != nil {
		log.Warn("search index cannot be read and is made again", "error", err)
		if err := removeIndex(path); err != nil {
			return nil, err
		}
		if index, err = storage.Open(opts); err != nil {
			return nil, fmt.Errorf("open search index: %w", err)
		}
	}
	return &Search{index: index, db: db, events: events, log: log}, nil
}

// probe looks whether the tables of an index can be read at all; damage further inside shows when it is used.
func probe(index *storage.DB) error {
	return index.Read(context.Background(), func(v storage.View) error {
		var n int64
		return v.QueryRow("SELECT (SELECT count(*) FROM word WHERE word MATCH 'probe') + (SELECT coalesce(max(id), 0) FROM doc) + (SELECT count(*) FROM progress)").Scan(&n)
	})
}

func removeIndex(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove search index: %w", err)
		}
	}
	return nil
}

// Close closes the index, and removes one that turned out to be damaged: the next start makes it again.
func (x *Search) Close() error {
	err := x.index.Close()
	if x.broken.Load() {
		err = errors.Join(err, removeIndex(x.index.Path()))
	}
	return err
}

// Run keeps the index up to date until ctx ends.
func (x *Search) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if err := x.follow(ctx); err != nil && ctx.Err() == nil {
			if errors.Is(err, storage.ErrFailed) {
				x.broken.Store(true)
			}
			x.log.Error("search index", "error", err)
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}
}

// Seq returns how far in the event log the index goes.
func (x *Search) Seq(ctx context.Context) (seq int64, err error) {
	err = x.index.Read(ctx, func(v storage.View) error {
		err := v.QueryRow("SELECT seq FROM progress").Scan(&seq)
		if errors.Is(err, sql.ErrNoRows) {
			seq = -1
			return nil
		}
		return err
	})
	return seq, err
}

func (x *Search) follow(ctx context.Context) error {
	at, err := x.Seq(ctx)
	if err != nil {
		return err
	}
	var floor int64
	if err := x.db.Read(ctx, func(v storage.View) error { floor, err = event.Floor(v); return err }); err != nil {
		return err
	}
	if at < 0 && floor > 1 || at >= 0 && floor > at+1 || at > x.events.Committed() { // pruned, or of another log
		if at, err = x.Rebuild(ctx); err != nil {
			return err
		}
	}
	at = max(at, 0)
	for {
		if err := x.events.Wait(ctx, at); err != nil {
			return err
		}
		if err := pause(ctx, indexPause); err != nil {
			return err
		}
		for upTo := x.events.Committed(); at < upTo; {
			if at, err = x.step(ctx, at); err != nil {
				return err
			}
			if err := pause(ctx, indexBreak); err != nil {
				return err
			}
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// entry is a change of the index.
type entry struct {
	kind, subject              string
	conversation, typ, content sql.NullString
	n, created                 sql.NullInt64
}

// step indexes the next events after at and returns how far it came.
func (x *Search) step(ctx context.Context, at int64) (int64, error) {
	upTo := min(at+indexBatch, x.events.Committed())
	var entries []entry
	err := x.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT e.kind, e.subject_id, x.conversation_id, x.type, x.content, x.n, x.created_at
			FROM event e LEFT JOIN message x ON x.id = e.subject_id AND x.deleted_at IS NULL
			WHERE e.seq > ? AND e.seq <= ? AND e.kind IN ('message:new', 'message:edited', 'message:deleted', 'conversation:deleted') ORDER BY e.seq`, at, upTo)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var e entry
			if err := rows.Scan(&e.kind, &e.subject, &e.conversation, &e.typ, &e.content, &e.n, &e.created); err != nil {
				return err
			}
			entries = append(entries, e)
		}
		return rows.Err()
	})
	if err != nil {
		return at, fmt.Errorf("read events for search: %w", err)
	}
	return upTo, x.apply(ctx, entries, upTo)
}

func (x *Search) apply(ctx context.Context, entries []entry, seq int64) error {
	return x.index.Write(ctx, "search.index", func(tx *storage.Tx) error {
		for _, e := range entries {
			if err := indexOne(tx, e); err != nil {
				return fmt.Errorf("index %s: %w", e.kind, err)
			}
		}
		_, err := tx.Exec("INSERT INTO progress (one, seq) VALUES (1, ?) ON CONFLICT (one) DO UPDATE SET seq = excluded.seq", seq)
		return err
	})
}

func indexOne(tx *storage.Tx, e entry) error {
	switch {
	case e.kind == ConversationDeleted:
		if _, err := tx.Exec("DELETE FROM word WHERE rowid IN (SELECT id FROM doc WHERE conversation_id = ?)", e.subject); err != nil {
			return err
		}
		_, err := tx.Exec("DELETE FROM doc WHERE conversation_id = ?", e.subject)
		return err
	case e.kind == MessageNew && e.content.Valid:
		result, err := tx.Exec(`INSERT INTO doc (message_id, conversation_id, n, type, created_at) VALUES (?, ?, ?, ?, ?)
			ON CONFLICT (message_id) DO NOTHING`, e.subject, e.conversation.String, e.n.Int64, e.typ.String, e.created.Int64)
		if err != nil {
			return err
		}
		if added, err := result.RowsAffected(); err != nil || added == 0 {
			return err // indexed before
		}
		id, err := result.LastInsertId()
		if err != nil {
			return err
		}
		_, err = tx.Exec("INSERT INTO word (rowid, content) VALUES (?, ?)", id, e.content.String)
		return err
	case e.kind == MessageNew:
		return nil // deleted since
	}
	var id int64
	err := tx.QueryRow("SELECT id FROM doc WHERE message_id = ?", e.subject).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := tx.Exec("DELETE FROM word WHERE rowid = ?", id); err != nil {
		return err
	}
	if !e.content.Valid {
		_, err := tx.Exec("DELETE FROM doc WHERE id = ?", id)
		return err
	}
	_, err = tx.Exec("INSERT INTO word (rowid, content) VALUES (?, ?)", id, e.content.String)
	return err
}

// Rebuild makes the index anew from the messages, in the order they were sent, and returns the seq it stands for.
func (x *Search) Rebuild(ctx context.Context) (int64, error) {
	seq, start, count := x.events.Committed(), time.Now(), 0
	err := x.index.Write(ctx, "search.clear", func(tx *storage.Tx) error {
		if _, err := tx.Exec("DELETE FROM doc"); err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM progress"); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO word (word) VALUES ('delete-all')")
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("clear search index: %w", err)
	}
	for last := ""; ; {
		var page []entry
		err := x.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query(`SELECT x.id, x.conversation_id, x.type, x.content, x.n, x.created_at FROM message x
				JOIN conversation c ON c.id = x.conversation_id
				WHERE x.id > ? AND x.deleted_at IS NULL AND c.deleted_at IS NULL ORDER BY x.id LIMIT 500`, last)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				e := entry{kind: MessageNew}
				if err := rows.Scan(&e.subject, &e.conversation, &e.typ, &e.content, &e.n, &e.created); err != nil {
					return err
				}
				page = append(page, e)
			}
			return rows.Err()
		})
		if err != nil {
			return 0, fmt.Errorf("read messages for search: %w", err)
		}
		if len(page) == 0 {
			break
		}
		if err := x.apply(ctx, page, -1); err != nil {
			return 0, err
		}
		last, count = page[len(page)-1].subject, count+len(page)
	}
	x.log.Info("search index made anew", "messages", count, "took", time.Since(start))
	return seq, x.apply(ctx, nil, seq)
}
