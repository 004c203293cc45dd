package hub

import (
	"encoding/json"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
)

// stream is a listener on a connection: the native socket is one, and so is each namespace of a Socket.IO connection.
// Each goes through the log on its own. conn.mu guards all but the first two fields.
type stream struct {
	conn *conn
	form form

	reading bool     // the log is being read
	held    [][]byte // live events meanwhile
	last    int64    // the newest seq queued: none twice, none backwards
}

// push queues the frame of an event. It reports whether the caller has to flush the connection. seq is 0 for what is
// not of the log.
func (s *stream) push(b []byte, seq int64) (flush bool) {
	c := s.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || seq > 0 && seq <= s.last {
		return false
	}
	if s.reading && seq > 0 {
		if len(s.held) >= 8*c.hub.opts.Queue {
			s.held = nil
			return c.end(closeResync, "resync")
		}
		s.held, s.last = append(s.held, b), seq
		return false
	}
	if seq > 0 {
		s.last = seq
	}
	return c.add(b)
}

// Stream is what has come or gone (Options.Came, Options.Gone).
type Stream struct{ form form }

// Hears reports whether events of a kind are told on the stream.
func (s Stream) Hears(kind string) bool { return s.form.hears(kind) }

func (f form) hears(kind string) bool {
	if f == formNative {
		return true
	}
	_, told := f.namespace().tells(kind)
	return told
}

// Hears reports whether a session has a stream open on which events of a kind are told.
func (h *Hub) Hears(sessionID, kind string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.sessions[sessionID], func(s *stream) bool { return s.form.hears(kind) })
}

// form is how events are written for a stream. There is the native one, and for each namespace one without offsets
// and one with.
type form int

const (
	formNative form = 0
	formCount       = 1 + 2*len(namespaces)
)

// telling is an event on its way out. However many listen, its value is encoded once for each dialect, and framed once
// for each form.
type telling struct {
	event.Live
	values [api.DialectWeb + 1][]byte
	frames [formCount][]byte // empty and not nil: not told in this form
}

// frame returns the event in a form; empty when it is not told there, or could not be encoded, which is an error once.
func (t *telling) frame(f form) ([]byte, error) {
	if t.frames[f] != nil {
		return t.frames[f], nil
	}
	b, err := t.write(f)
	if b == nil {
		b = []byte{}
	}
	t.frames[f] = b
	return b, err
}

func (t *telling) write(f form) ([]byte, error) {
	if f == formNative {
		data, err := t.encode(api.DialectMobile)
		if err != nil {
			return nil, err
		}
		return nativeFrame(t.Seq, t.Kind, data), nil
	}
	n := f.namespace()
	name, told := n.tells(t.Kind)
	if !told {
		return nil, nil
	}
	data, err := t.encode(n.dialect)
	if err != nil || len(data) == 0 {
		return nil, err
	}
	return n.eventFrame(name, data, t.At, f.offset(t.Seq)), nil
}

// encode returns the JSON of the value in a dialect; empty when it is not for that one.
func (t *telling) encode(d api.Dialect) ([]byte, error) {
	if t.values[d] != nil {
		return t.values[d], nil
	}
	value := api.View(t.Value, d)
	if value == nil && t.Value != nil {
		t.values[d] = []byte{}
		return t.values[d], nil
	}
	b, err := json.Marshal(value)
	t.values[d] = b
	return b, err
}
