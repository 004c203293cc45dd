package search

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"sync/atomic"

	"github.com/quckchat/quckchat/storage"
)

//go:embed schema/*.sql
var schemas embed.FS

// formVersion is the version of the tables in schema and of what tokenize makes of a text. An index of another
// version is made anew.
const formVersion = 3

// file is one file of the search index. Its writes come from one goroutine.
type file struct {
	db    *storage.DB
	info  os.FileInfo  // of the file, when it was opened
	size  atomic.Int64 // of the file, when it was last looked at
	known map[uint64]struct{}
}

// openFile opens or creates an index. One of another version, or one that cannot be read, is an error.
func openFile(opts storage.Options) (*file, error) {
	schema, err := fs.Sub(schemas, "schema")
	if err != nil {
		return nil, err
	}
	opts.Migrations, opts.Rebuildable = schema, true
	db, err := storage.Open(opts)
	if err != nil {
		return nil, err
	}
	x := &file{db: db, known: map[uint64]struct{}{}}
	if x.info, err = os.Stat(opts.Path); err == nil {
		x.size.Store(x.info.Size())
		err = x.probe()
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return x, nil
}

// errVersion says that an index was made by another version of the program.
var errVersion = errors.New("it is of another version")

// probe looks whether the index can be read, and whether its newest document and any other are in the list of words.
// Damage that this does not see shows when it is used.
func (x *file) probe() error {
	return x.db.Read(context.Background(), func(v storage.View) error {
		var current bool
		if err := v.QueryRow("SELECT count(*) FROM pragma_table_info('progress') WHERE name = 'version'").Scan(&current); err != nil {
			return err
		}
		if !current {
			return errVersion
		}
		var version, newest, n int64
		if err := v.QueryRow("SELECT version, (SELECT coalesce(max(id), 0) FROM doc), (SELECT coalesce(max(id), 0) FROM term) FROM progress").Scan(&version, &newest, &n); err != nil {
			return err
		}
		if version != formVersion {
			return errVersion
		}
		if err := v.QueryRow(`SELECT (SELECT count(*) FROM word WHERE word MATCH 'probe') + (SELECT count(*) FROM gram WHERE gram MATCH '"pro"')`).Scan(&n); err != nil || newest == 0 {
			return err
		}
		for _, from := range []int64{newest, rand.Int64N(newest) + 1} {
			var id int64
			var conversation string
			var listed bool
			if err := v.QueryRow("SELECT id, conversation_id FROM doc WHERE id >= ? ORDER BY id LIMIT 1", from).Scan(&id, &conversation); err != nil {
				return err
			}
			if err := v.QueryRow("SELECT EXISTS (SELECT 1 FROM word WHERE word MATCH ? AND rowid = ?)", quote(conversationTag(conversation)), id).Scan(&listed); err != nil {
				return err
			}
			if !listed {
				return errors.New("its parts do not fit together")
			}
		}
		return nil
	})
}

// The states of the file under an open index.
const (
	fileSound   = iota
	fileMissing // somebody removed or replaced it: what is open still works, until the next start
	fileDamaged
)

// file looks at the file without reading it. It never becomes shorter by itself.
func (x *file) look() int {
	info, err := os.Stat(x.db.Path())
	switch {
	case err != nil || !os.SameFile(info, x.info):
		return fileMissing
	case info.Size() < x.size.Load():
		return fileDamaged
	}
	x.size.Store(info.Size())
	return fileSound
}

// progress returns how far in the event log the index goes, and, while it is being filled from the tables, the last
// message that is in it.
func (x *file) progress(ctx context.Context) (seq int64, filled sql.NullString, err error) {
	err = x.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT seq, filled FROM progress").Scan(&seq, &filled)
	})
	return seq, filled, err
}

// grown reports whether the index has grown by a quarter, and by enough to matter, since it was compacted.
func (x *file) grown(ctx context.Context) (yes bool, err error) {
	const least = 20_000
	err = x.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT (SELECT coalesce(max(id), 0) FROM doc) - compacted > max(?, compacted / 4) FROM progress", least).Scan(&yes)
	})
	return yes, err
}

// compact merges the pieces that the index is made of while it grows, in short steps, and calls between after each. A
// search looks every word up in every piece: among a million messages it takes half the time afterwards.
func (x *file) compact(ctx context.Context, between func() error) error {
	const pages = 32 // some milliseconds
	for _, statement := range []string{"INSERT INTO word (word, rank) VALUES ('merge', ?)", "INSERT INTO gram (gram, rank) VALUES ('merge', ?)"} {
		step := -pages // negative: everything into one piece
		for more := true; more; step = pages {
			err := x.db.Write(ctx, "search.compact", func(tx *storage.Tx) error {
				var before, after int64
				if err := tx.QueryRow("SELECT total_changes()").Scan(&before); err != nil {
					return err
				}
				if _, err := tx.Exec(statement, step); err != nil {
					return err
				}
				err := tx.QueryRow("SELECT total_changes()").Scan(&after)
				more = after-before > 1 // SQLite, "FTS5", 6.8: fewer when there was nothing to merge
				return err
			})
			if err != nil {
				return fmt.Errorf("compact search index: %w", err)
			}
			if err := pause(ctx, stepBreak); err != nil {
				return err
			}
			if err := between(); err != nil {
				return err
			}
		}
	}
	return x.write(ctx, nil, func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE progress SET compacted = (SELECT coalesce(max(id), 0) FROM doc)")
		return err
	})
}
