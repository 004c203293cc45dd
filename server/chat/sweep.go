package chat

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// sweeper removes what has expired.
type sweeper struct {
	next atomic.Int64  // when the next message expires, as far as the sweeper knows
	wake chan struct{} // one token: look at the clock and the table again
}

const (
	sweepBatch   = 50                   // messages in one write, some milliseconds
	sweepBreak   = 5 * time.Millisecond // between two writes: others get their turn
	sweepPause   = time.Second          // between two sweeps
	sweepSleep   = time.Minute          // at most, when something is to come: a machine that was suspended does not sleep on
	sweepRelease = time.Hour            // between two looks whether a hold has ended
)

func newSweeper() *sweeper { return &sweeper{wake: make(chan struct{}, 1)} }

// sent makes sure that the sweeper looks when a message of this transaction expires.
func (w *sweeper) sent(tx *storage.Tx, expires int64) {
	tx.OnCommit(func() {
		if expires < w.next.Load() {
			w.Wake()
		}
	})
}

// Wake has the sweeper look at the clock again. It never blocks.
func (w *sweeper) Wake() {
	select {
	case w.wake <- struct{}{}:
	default: // a look is due already
	}
}

// Wake has what sleeps by the clock look at it again. Nobody needs to call it but who moves the clock.
func (s *Service) Wake() { s.sweep.Wake() }

// Run removes messages when they have expired, until ctx ends: at once those that expired while nobody ran it.
func (s *Service) Run(ctx context.Context) {
	var released time.Time
	for ctx.Err() == nil {
		s.sweep.next.Store(math.MaxInt64) // until it is known every new message wakes
		now, wait := s.db.Now(), sweepRelease
		if now.Sub(released).Abs() >= sweepRelease {
			released = now
			if err := s.inBatches(ctx, s.unheld); err != nil && ctx.Err() == nil {
				s.log.Error("remove messages whose hold has ended", "error", err)
			}
		}
		next, err := int64(0), s.inBatches(ctx, s.expire)
		if err == nil {
			next, err = s.nextExpiry(ctx)
		}
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Error("remove expired messages", "error", err)
			wait = sweepPause
		case next > 0:
			s.sweep.next.Store(next)
			wait = max(sweepPause, min(sweepSleep, time.UnixMilli(next).Sub(s.db.Now())))
		}
		select {
		case <-s.sweep.wake:
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// inBatches runs step until it finds nothing more.
func (s *Service) inBatches(ctx context.Context, step func(context.Context) (found int, err error)) error {
	for {
		if found, err := step(ctx); err != nil || found < sweepBatch {
			return err
		}
		if err := pause(ctx, sweepBreak); err != nil {
			return err
		}
	}
}

// nextExpiry returns when the next message expires, 0 when none does.
func (s *Service) nextExpiry(ctx context.Context) (at int64, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT coalesce(min(expires_at), 0) FROM message WHERE expires_at > 0").Scan(&at)
	})
	return at, err
}

// lapsed is a message that has expired and is still in the table.
type lapsed struct {
	id, conversation string
	n                int64
	held             bool // a legal hold keeps it
	told             bool // the members know already that it is gone
}

// expire removes the messages that have expired, the first ones first, and tells their members.
func (s *Service) expire(ctx context.Context) (found int, err error) {
	err = s.db.Write(ctx, "message.expire", func(tx *storage.Tx) error {
		list, err := expired(tx)
		if found = len(list); err != nil || found == 0 {
			return err
		}
		var remove, keep, rooms []string
		for _, l := range list {
			if rooms = append(rooms, l.conversation); l.held {
				keep = append(keep, l.id)
			} else {
				remove = append(remove, l.id)
			}
		}
		late, err := newcomersOf(tx, distinct(rooms))
		if err != nil {
			return err
		}
		hid, err := hidersOf(tx, slices.Concat(remove, keep))
		if err != nil {
			return err
		}
		if err := s.forget(tx, remove); err != nil {
			return err
		}
		if err := unpin(tx, keep); err != nil {
			return err
		}
		if err := eachChunk(tx, keep, "UPDATE message SET expires_at = -expires_at WHERE id IN (%s)"); err != nil {
			return err
		}
		at := api.Millis(tx.Millis())
		for _, l := range list {
			if l.told {
				continue
			}
			if _, err := s.events.Emit(tx, deletion(l.id, l.conversation, "", l.n),
				Deletion{MessageID: l.id, ConversationID: l.conversation, DeletedAt: at, Expired: true}, append(late.of(l.conversation, l.n), hid[l.id]...)...); err != nil {
				return err
			}
		}
		tx.OnCommit(s.db.Forget)
		return nil
	})
	return found, err
}

// deletion is the event that a message is gone for everyone; one that expired was deleted by nobody. Its number is
// what late readers are chosen by once the row is gone (hub, missed).
func deletion(id, conversationID, by string, n int64) event.Event {
	return event.Event{Kind: MessageDeleted, Scope: event.ScopeConversation, ScopeID: conversationID, SubjectID: id, ActorID: by, Data: strconv.FormatInt(n, 10)}
}

// unheld removes messages that expired under a legal hold which has ended since. Nobody is told: they were.
func (s *Service) unheld(ctx context.Context) (found int, err error) {
	err = s.db.Write(ctx, "message.release", func(tx *storage.Tx) error {
		rows, err := tx.Query(`SELECT x.id FROM message x JOIN conversation c ON c.id = x.conversation_id
			WHERE x.expires_at < 0 AND x.legal_hold = 0 AND c.legal_hold = 0 LIMIT ?`, sweepBatch)
		if err != nil {
			return fmt.Errorf("find released messages: %w", err)
		}
		ids, err := storage.ScanIDs(rows)
		if found = len(ids); err != nil || found == 0 {
			return err
		}
		tx.OnCommit(s.db.Forget)
		return s.forget(tx, ids)
	})
	return found, err
}

func expired(tx *storage.Tx) (list []lapsed, err error) {
	rows, err := tx.Query(`SELECT x.id, x.conversation_id, x.n, x.legal_hold + c.legal_hold > 0, x.deleted_at IS NOT NULL OR c.deleted_at IS NOT NULL
		FROM message x JOIN conversation c ON c.id = x.conversation_id
		WHERE x.expires_at > 0 AND x.expires_at <= ? ORDER BY x.expires_at LIMIT ?`, tx.Millis(), sweepBatch)
	if err != nil {
		return nil, fmt.Errorf("find expired messages: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var l lapsed
		if err := rows.Scan(&l.id, &l.conversation, &l.n, &l.held, &l.told); err != nil {
			return nil, fmt.Errorf("find expired messages: %w", err)
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// arrivals are the members of conversations who do not see everything in them, with the number up to which they do not.
type arrivals map[string][]arrival

type arrival struct {
	userID string
	floor  int64
}

// of returns who is not told of a message: see newcomers.
func (a arrivals) of(conversationID string, n int64) (ids []string) {
	for _, m := range a[conversationID] {
		if m.floor >= n {
			ids = append(ids, m.userID)
		}
	}
	return ids
}

// newcomersOf reads for several conversations what newcomers reads for one message.
func newcomersOf(q storage.Querier, conversationIDs []string) (arrivals, error) {
	found := arrivals{}
	for _, chunk := range storage.Chunks(conversationIDs) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT conversation_id, user_id, max(history_from_n, clear_n) FROM member WHERE left_seq IS NULL AND max(history_from_n, clear_n) > 0 AND conversation_id IN ("+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("find newcomers: %w", err)
		}
		for rows.Next() {
			var id string
			var m arrival
			if err = rows.Scan(&id, &m.userID, &m.floor); err != nil {
				break
			}
			found[id] = append(found[id], m)
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("find newcomers: %w", err)
		}
	}
	return found, nil
}

// hidersOf reads who has hidden which of the messages.
func hidersOf(q storage.Querier, ids []string) (map[string][]string, error) {
	found := map[string][]string{}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT x.id, h.user_id FROM message x CROSS JOIN message_hidden h ON h.conversation_id = x.conversation_id AND h.n = x.n
			WHERE x.id IN (`+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("find who hid messages: %w", err)
		}
		for rows.Next() {
			var id, userID string
			if err = rows.Scan(&id, &userID); err != nil {
				break
			}
			found[id] = append(found[id], userID)
		}
		if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
			return nil, fmt.Errorf("find who hid messages: %w", err)
		}
	}
	return found, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
