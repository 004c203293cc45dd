package search

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// follow reads the event log behind until ctx ends.
func (x *Index) follow(ctx context.Context, index *file) error {
	at, filled, err := index.progress(ctx)
	if err != nil {
		return err
	}
	if filled.Valid {
		if err := x.fill(ctx, index, func() error { return nil }); err != nil {
			return err
		}
		x.filling.Store(false)
		if at, _, err = index.progress(ctx); err != nil {
			return err
		}
	}
	if at > x.events.Committed() {
		x.want("it is of another time than the database")
		return nil
	}
	for {
		if err := x.events.Wait(ctx, at); err != nil {
			return err
		}
		if err := pause(ctx, followPause); err != nil {
			return err
		}
		switch index.look() {
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
		if grown, err := index.grown(ctx); err != nil {
			return err
		} else if grown {
			if err := index.compact(ctx, func() error { return x.catchUp(ctx, index) }); err != nil {
				return err
			}
		}
		if at, _, err = index.progress(ctx); err != nil {
			return err
		}
	}
}

// catchUp indexes everything that is in the log now.
func (x *Index) catchUp(ctx context.Context, index *file) error {
	at, _, err := index.progress(ctx)
	for upTo := x.events.Committed(); err == nil && at < upTo; {
		if at, err = x.step(ctx, index, at); err == nil {
			err = pause(ctx, stepBreak)
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
func (x *Index) step(ctx context.Context, index *file, at int64) (int64, error) {
	head := x.events.Committed() // before the read begins, which then sees everything up to it
	var floor, upTo int64
	var changes []change
	var dissolved []string
	err := x.db.Read(ctx, func(v storage.View) (err error) {
		if floor, err = event.Floor(v); err != nil {
			return err
		}
		// Some ten milliseconds of work, so that others get their turn, and a server that stops need not wait for it.
		const batch = "SELECT coalesce(max(seq), ?2) FROM (SELECT seq FROM event WHERE seq > ?1 AND seq <= ?2 ORDER BY seq LIMIT 200)"
		if err := v.QueryRow(batch, at, head).Scan(&upTo); err != nil {
			return err
		}
		rows, err := v.Query("SELECT e.seq, e.kind, e.subject_id, "+documentColumns+` FROM event e
			LEFT JOIN message x ON x.id = e.subject_id AND `+searchable+`
			WHERE e.seq > ? AND e.seq <= ? AND e.kind IN ('message:new', 'message:edited', 'message:transcribed', 'message:deleted', 'conversation:deleted')
			ORDER BY e.seq`, v.Millis(), at, upTo)
		if err != nil {
			return err
		}
		defer rows.Close()
		for size := 0; rows.Next(); {
			var seq int64
			var kind, subject string
			d, err := scanDocument(rows, &seq, &kind, &subject)
			if err != nil {
				return err
			}
			if size > stepBytes {
				upTo = seq - 1
				return nil
			}
			if d != nil {
				size += len(d.text)
			}
			switch kind {
			case "conversation:deleted":
				dissolved = append(dissolved, subject)
			case "message:deleted":
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
	if floor > at+1 { // events that it has not seen are gone
		x.want("it is of another time than the database")
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
