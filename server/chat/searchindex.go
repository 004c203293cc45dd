package chat

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"math/rand/v2"
	"os"
	"strings"
	"sync/atomic"

	"github.com/quckchat/quckchat/storage"
)

//go:embed searchindex/*.sql
var searchSchema embed.FS

// indexVersion is the version of the tables in searchindex and of what tokenize makes of a text. An index of another
// version is made anew.
const indexVersion = 2

// wordIndex is one file of the search index. Its writes come from one goroutine.
type wordIndex struct {
	db    *storage.DB
	info  os.FileInfo  // of the file, when it was opened
	size  atomic.Int64 // of the file, when it was last looked at
	known map[uint64]struct{}
}

// knownMax is how many tokens are remembered to be in the table term: most words of a message are.
const knownMax = 1 << 16

var knownSeed = maphash.MakeSeed()

// openIndex opens or creates an index. One of another version, or one that cannot be read, is an error.
func openIndex(opts storage.Options) (*wordIndex, error) {
	schema, err := fs.Sub(searchSchema, "searchindex")
	if err != nil {
		return nil, err
	}
	opts.Migrations, opts.Rebuildable = schema, true
	db, err := storage.Open(opts)
	if err != nil {
		return nil, err
	}
	x := &wordIndex{db: db, known: map[uint64]struct{}{}}
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
func (x *wordIndex) probe() error {
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
		if version != indexVersion {
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
func (x *wordIndex) file() int {
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

func removeIndex(path string) error {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Remove(path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove search index: %w", err)
		}
	}
	return nil
}

// progress returns how far in the event log the index goes, and, while it is being filled from the tables, the last
// message that is in it.
func (x *wordIndex) progress(ctx context.Context) (seq int64, filled sql.NullString, err error) {
	err = x.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT seq, filled FROM progress").Scan(&seq, &filled)
	})
	return seq, filled, err
}

// change is a message to be put into the index, or, without a document, to be taken out.
type change struct {
	messageID string
	doc       *document
}

// batch gathers what a transaction of the index has to do at its end.
type batch struct {
	*wordIndex
	tx      *storage.Tx
	removed bool
	gone    map[string]bool // tokens that may have been used for the last time
}

// write changes the index in one transaction; also runs at its end. It may run twice.
func (x *wordIndex) write(ctx context.Context, changes []change, also func(tx *storage.Tx) error) error {
	return x.db.Write(ctx, "search.index", func(tx *storage.Tx) error {
		b := &batch{wordIndex: x, tx: tx, gone: map[string]bool{}}
		for _, c := range changes {
			var err error
			if c.doc == nil {
				err = b.remove(c.messageID)
			} else {
				err = b.put(c.doc)
			}
			if err != nil {
				return fmt.Errorf("index message: %w", err)
			}
		}
		if b.removed {
			if err := b.forget(); err != nil {
				return fmt.Errorf("forget words: %w", err)
			}
			tx.OnCommit(x.db.Forget)
		}
		if also == nil {
			return nil
		}
		return also(tx)
	})
}

func (b *batch) put(d *document) error {
	result, err := b.tx.Exec(`INSERT INTO doc (message_id, conversation_id, n, sender_id, type, created_at, kinds, text) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (message_id) DO NOTHING`, d.messageID, d.conversationID, d.n, d.senderID, d.typ, d.created, d.kinds, d.text)
	if err != nil {
		return err
	}
	added, err := result.RowsAffected()
	if err != nil {
		return err
	}
	var id int64
	if added > 0 {
		id, err = result.LastInsertId()
	} else {
		var same bool
		id, same, err = b.replace(d)
		if same {
			return err
		}
	}
	if err != nil {
		return err
	}
	if _, err := b.tx.Exec("INSERT INTO word (rowid, text) VALUES (?, ?)", id, d.indexed()); err != nil {
		return err
	}
	return b.learn(d.text)
}

// replace takes out what the index has of a message that has changed; same when it has not.
func (b *batch) replace(d *document) (id int64, same bool, err error) {
	id, was, err := b.find(d.messageID)
	if err != nil || was.text == d.text && was.kinds == d.kinds && was.typ == d.typ {
		return id, true, err
	}
	if err := b.takeOut(id, was); err != nil {
		return id, false, err
	}
	_, err = b.tx.Exec("UPDATE doc SET type = ?, kinds = ?, text = ? WHERE id = ?", d.typ, d.kinds, d.text, id)
	return id, false, err
}

func (b *batch) remove(messageID string) error {
	id, was, err := b.find(messageID)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := b.takeOut(id, was); err != nil {
		return err
	}
	_, err = b.tx.Exec("DELETE FROM doc WHERE id = ?", id)
	return err
}

func (b *batch) find(messageID string) (id int64, d *document, err error) {
	d = &document{messageID: messageID}
	err = b.tx.QueryRow("SELECT id, conversation_id, n, sender_id, type, created_at, kinds, text FROM doc WHERE message_id = ?", messageID).
		Scan(&id, &d.conversationID, &d.n, &d.senderID, &d.typ, &d.created, &d.kinds, &d.text)
	return id, d, err
}

func (b *batch) takeOut(id int64, d *document) error {
	b.removed = true
	for text := range strings.FieldsSeq(d.text) {
		b.gone[text] = true
	}
	_, err := b.tx.Exec("INSERT INTO word (word, rowid, text) VALUES ('delete', ?, ?)", id, d.indexed())
	return err
}

// removeConversation takes all messages of a conversation out, in short transactions.
func (x *wordIndex) removeConversation(ctx context.Context, id string) error {
	for {
		var changes []change
		err := x.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT d.message_id FROM word CROSS JOIN doc d ON d.id = word.rowid WHERE word MATCH ? LIMIT 50", `"`+conversationTag(id)+`"`)
			if err != nil {
				return err
			}
			ids, err := scanIDs(rows)
			for _, id := range ids {
				changes = append(changes, change{messageID: id})
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("find messages of a conversation: %w", err)
		}
		if len(changes) == 0 {
			return nil
		}
		if err := x.write(ctx, changes, nil); err != nil {
			return err
		}
	}
}

// compact merges the pieces that the index is made of while it grows, in short steps. A search of a million messages
// takes half the time afterwards.
func (x *wordIndex) compact(ctx context.Context) error {
	const pages = 64 // some ten milliseconds
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
			if err := pause(ctx, indexBreak); err != nil {
				return err
			}
		}
	}
	return nil
}
