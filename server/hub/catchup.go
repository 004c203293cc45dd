package hub

import (
	"context"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// catchUp sends what the client missed after since and up to at, where it was attached, and then lets it go live. On a
// native socket "resumed" follows, or "resync" when the log does not reach back that far. A Socket.IO client has been
// told before that nothing is missing: it is closed when that has become wrong, and comes back to be told so.
func (s *stream) catchUp(ctx context.Context, since, at int64) {
	c := s.conn
	ok, err := s.replay(ctx, since, at)
	if err != nil {
		c.hub.opts.Log.Error("catch up", "error", err)
	}
	if err != nil || !ok && s.form != formNative {
		c.finish(closeResync, "resync")
		return
	}
	if c.over() {
		return
	}
	var rest [][]byte
	if s.form == formNative {
		name := "resumed"
		if !ok {
			name = "resync"
		}
		end, err := eventFrame(0, name, seqValue{at})
		if err != nil {
			return
		}
		rest = [][]byte{end}
	}
	c.mu.Lock()
	if !c.ending {
		for _, b := range append(rest, s.held...) { // bounded by what may be held
			c.queue, c.bytes = append(c.queue, b), c.bytes+len(b)
		}
	}
	s.held, s.reading = nil, false
	c.mu.Unlock()
	c.flushNow()
}

// reaches reports whether the log still has everything after since; at is where it is now. A since above that is of
// another log.
func (h *Hub) reaches(ctx context.Context, since, at int64) (ok bool, err error) {
	var floor int64
	err = h.opts.DB.Read(ctx, func(v storage.View) error { floor, err = event.Floor(v); return err })
	return err == nil && since >= 0 && since <= at && floor <= since+1, err
}

// replay sends the events of the client in (since, at]; not ok means that some of them are no longer kept, or that
// since is of another log.
func (s *stream) replay(ctx context.Context, since, at int64) (ok bool, err error) {
	c := s.conn
	if ok, err = c.hub.reaches(ctx, since, at); !ok {
		return false, err
	}
	for since < at && !c.over() {
		upTo := min(at, since+catchUpWindow)
		if err := s.replayWindow(ctx, since, upTo); err != nil {
			return false, err
		}
		since = upTo
	}
	return true, nil
}

func (s *stream) replayWindow(ctx context.Context, since, upTo int64) error {
	c := s.conn
	var events []event.Event
	err := c.hub.opts.DB.Read(ctx, func(v storage.View) (err error) {
		events, err = missed(v, c.by, since, upTo)
		return err
	})
	if err != nil {
		return err
	}
	for len(events) > 0 {
		page := events[:min(len(events), catchUpPage)]
		events = events[len(page):]
		var values []any
		if err := c.hub.opts.DB.Read(ctx, func(v storage.View) (err error) {
			values, err = c.hub.opts.Events.Values(v, page)
			return err
		}); err != nil {
			return err
		}
		for i, e := range page {
			if values[i] == nil {
				continue
			}
			t := telling{Live: event.Live{Event: e, Value: values[i]}}
			b, err := t.frame(s.form)
			if err != nil {
				return err
			}
			if len(b) > 0 {
				c.late(b)
			}
		}
		c.flushNow()
		if !c.wait(ctx) {
			return nil // the connection is over, and catchUp looks
		}
	}
	return nil
}

// late queues a frame without writing it yet: the greeting, and events of the log while it is being read.
func (c *conn) late(b []byte) {
	c.mu.Lock()
	if !c.ending {
		c.queue, c.bytes = append(c.queue, b), c.bytes+len(b)
	}
	c.mu.Unlock()
}

// flushNow writes what late has queued, unless somebody is writing already.
func (c *conn) flushNow() {
	c.mu.Lock()
	flush := !c.writing && len(c.queue) > 0
	if flush {
		c.writing = true
	}
	c.mu.Unlock()
	if flush {
		c.flush()
	}
}

// missed reads the pointers that concern a caller in (since, upTo], in order: of their conversations while they were
// in them, of themselves, of their session. Late forms are rendered as things are now, so these are left out: what
// became of messages from before somebody joined, what somebody has cleared, what changed since somebody left, and who
// has read what when one of the two hides that. Of a message that is no more only its deletion is told, which knows its
// number.
func missed(q storage.Querier, by api.Caller, since, upTo int64) ([]event.Event, error) {
	rows, err := q.Query(`SELECT e.seq, e.at, e.kind, e.scope, e.scope_id, e.subject_id, e.actor_id, e.data
		FROM member m CROSS JOIN event e
			LEFT JOIN message x ON e.kind IN ('message:new', 'message:edited', 'message:media', 'message:transcribed', 'message:deleted', 'message:reaction:added', 'message:reaction:removed', 'message:pinned', 'message:unpinned') AND x.id = e.subject_id AND (x.expires_at IS NULL OR x.expires_at > ?6)
		WHERE m.user_id = ?1 AND (m.left_seq IS NULL OR m.left_seq > ?3) AND e.scope = 'conversation' AND e.scope_id = m.conversation_id
			AND e.seq > ?3 AND e.seq <= ?4 AND e.seq >= m.joined_seq AND (m.left_seq IS NULL OR e.seq <= m.left_seq)
			AND (x.n > max(m.history_from_n, m.clear_n) OR x.n IS NULL AND (e.kind NOT LIKE 'message:%' OR e.kind = 'message:read'
				OR e.kind = 'message:deleted' AND coalesce(CAST(nullif(e.data, '') AS INTEGER) > max(m.history_from_n, m.clear_n), TRUE)))
			AND NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = ?1 AND h.conversation_id = m.conversation_id
				AND h.n = CASE e.kind WHEN 'message:deleted' THEN CAST(e.data AS INTEGER) ELSE x.n END)
			AND (m.left_seq IS NULL OR coalesce(x.edited_at, 0) < m.left_at AND e.kind NOT IN ('conversation:new', 'conversation:updated'))
			AND (e.kind <> 'message:read' OR e.actor_id = ?1 OR NOT EXISTS (SELECT 1 FROM user u WHERE u.id IN (?1, e.actor_id) AND u.hides_reads = 1))
		UNION ALL SELECT e.seq, e.at, e.kind, e.scope, e.scope_id, e.subject_id, e.actor_id, e.data
		FROM event e WHERE e.scope = 'user' AND e.scope_id = ?1 AND e.seq > ?3 AND e.seq <= ?4
		UNION ALL SELECT e.seq, e.at, e.kind, e.scope, e.scope_id, e.subject_id, e.actor_id, e.data
		FROM event e WHERE e.scope = 'session' AND e.scope_id = ?2 AND e.seq > ?3 AND e.seq <= ?4
		UNION ALL SELECT e.seq, e.at, e.kind, e.scope, e.scope_id, e.subject_id, e.actor_id, e.data
		FROM event e WHERE e.scope = 'admin' AND e.scope_id = '' AND e.seq > ?3 AND e.seq <= ?4 AND ?5
		ORDER BY 1`, by.UserID, by.SessionID, since, upTo, by.Role >= api.RoleModerator, q.Millis())
	if err != nil {
		return nil, err
	}
	events, err := event.Scan(rows)
	for i := range events {
		events[i].Viewer = by.UserID
	}
	return events, err
}
