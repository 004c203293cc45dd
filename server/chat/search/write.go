package search

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/quckchat/quckchat/storage"
)

// change is a message to be put into the index, or, without a document, to be taken out.
type change struct {
	messageID string
	doc       *document
}

// batch gathers what a transaction of the index has to do at its end.
type batch struct {
	*file
	tx      *storage.Tx
	removed bool
	gone    map[string]bool // tokens that may have been used for the last time
}

// write changes the index in one transaction; also runs at its end. It may run twice.
func (x *file) write(ctx context.Context, changes []change, also func(tx *storage.Tx) error) error {
	return x.db.Write(ctx, "search.index", func(tx *storage.Tx) error {
		b := &batch{file: x, tx: tx, gone: map[string]bool{}}
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
			runtime.Gosched() // people wait for the others, nobody for this
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
func (x *file) removeConversation(ctx context.Context, id string) error {
	for {
		var changes []change
		err := x.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT d.message_id FROM word CROSS JOIN doc d ON d.id = word.rowid WHERE word MATCH ? LIMIT 50", `"`+conversationTag(id)+`"`)
			if err != nil {
				return err
			}
			ids, err := storage.ScanIDs(rows)
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
