// Package hub is the open sockets: who is connected, what they are told, and how those who were away catch up.
//
// There are two doors, the native socket and Socket.IO 4 for the clients that exist. Behind a connection of either
// kind stand streams: one of a native socket, one for each namespace of a Socket.IO connection. People, audiences,
// presence, limits and catching up know streams and connections alone; only [namespace], connect.go and socketio.go
// know the second door, and dialect.go the names and answers that its clients expect.
//
// The event log's publisher hands over committed events in order ([Hub.Run]). The hub encodes each once for a dialect,
// frames it once for a form, and gives the same bytes to every stream of its audience, without blocking: a connection
// that does not keep up is closed with code 4001 and comes back with the last seq it saw. Nothing is lost, because what
// it misses is in the log.
//
// The audience of a conversation is its members, kept in memory for those who are online. Membership changes are
// events themselves, applied in log order, so that somebody who joins gets the event of it first and somebody who
// leaves gets it last. Whoever connects is attached at one seq: up to it the log is read, after it events come live.
//
// The hub calls operations through the table; it knows nothing of what they do. The protocols are described in
// docs/protocol.md.
package hub

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Options are what New needs.
type Options struct {
	DB           *storage.DB
	Events       *event.Log
	Cache        *storage.Cache // tickets
	Authenticate api.Authenticator
	Handshake    func(ctx context.Context, token string, by *api.Caller) error // Authenticate for the Socket.IO door
	Alive        func(ctx context.Context, by api.Caller) bool                 // whether the session still stands
	Strike       func(by api.Caller)                                           // counts a failed handshake against an address; may be nil
	Barred       func(by api.Caller) time.Duration                             // how long an address with too many may not shake hands; may be nil
	Describe     func(r *http.Request) api.Caller
	Origin       func(r *http.Request) bool // whether a browser page of this origin may connect
	Offline      func(userID string, at time.Time)
	Came         func(ctx context.Context, by api.Caller, s Stream)      // a stream was attached; may be nil
	Gone         func(by api.Caller, s Stream)                           // a stream was detached; may be nil
	Privacy      func(q storage.Querier, userID string) (Privacy, error) // what others may see of somebody
	Log          *slog.Logger
	Heartbeat    time.Duration // between two signs of life; a socket silent for two and a half is closed
	Queue        int           // frames that may wait for a connection
	MaxPerUser   int           // open sockets of one account
	MaxFrame     int64         // bytes of a frame from a client
}

// Hub holds the open sockets.
type Hub struct {
	opts  Options
	table *api.Table

	// mu guards everything below. Lock order: Hub.mu, then conn.mu; never the other way round. Nothing under mu
	// blocks or touches the disk.
	mu       sync.Mutex
	seq      int64 // the newest event handed to connections
	people   map[string]*person
	rooms    map[string]*room
	sessions map[string][]*stream
	native   wheel // the sockets that are attached, by their heartbeat
	engine   wheel
	changes  []change           // the latest membership changes, oldest first
	waiting  map[*conn]struct{} // sockets that are not attached yet
	loading  map[string]*loading
	closing  bool

	pending  atomic.Int64 // sockets not yet authenticated
	open     atomic.Int64
	dropped  atomic.Int64
	readers  sync.WaitGroup
	toFlush  []*conn // the publisher's alone
	flushers chan []*conn
}

// person is an account with sockets, or with none for the few seconds of grace.
type person struct {
	id      string
	role    api.Role
	streams []*stream
	sockets int // connections that the streams belong to
	rooms   map[string]*room
	grace   *time.Timer

	privacy Privacy
}

// room is a conversation with at least one member online.
type room struct {
	id     string
	people map[string]*person
}

// change is a membership change that the hub has applied.
type change struct {
	seq            int64
	conversationID string
	joined, left   []string
}

const (
	changesKept     = 2048
	graceTime       = 5 * time.Second // a socket that comes back within it was never away
	presenceRoomMax = 100             // in conversations with more people online, presence is asked for, not told
	pendingMax      = 2000
	flushInline     = 128
	askingMax       = 32 // events that may wait for the answer they could leave with
	authDeadline    = 10 * time.Second
	writeDeadline   = 10 * time.Second
	queueBytesMax   = 8 << 20
	catchUpWindow   = 20000 // seqs read from the log in one go
	catchUpPage     = 200   // events rendered and sent in one go
)

// New makes a hub. SetTable must be called before the first connection.
func New(o Options) *Hub {
	h := &Hub{opts: o, people: map[string]*person{}, rooms: map[string]*room{}, sessions: map[string][]*stream{}, waiting: map[*conn]struct{}{}, loading: map[string]*loading{}, flushers: make(chan []*conn, 64)}
	h.native.init()
	h.engine.init()
	h.seq = o.Events.Committed()
	return h
}

// SetTable gives the hub the operations it calls.
func (h *Hub) SetTable(t *api.Table) { h.table = t }

// Stats is the state of the hub for metrics.
type Stats struct {
	Sockets, People int64
	Dropped         int64 // connections closed because they did not keep up
	Seq             int64 // the newest event handed to connections
}

// Stats returns counters for metrics.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return Stats{Sockets: h.open.Load(), People: int64(len(h.people)), Dropped: h.dropped.Load(), Seq: h.seq}
}

// Run delivers until ctx ends.
func (h *Hub) Run(ctx context.Context) {
	var helpers sync.WaitGroup
	for range 2 {
		helpers.Go(func() {
			for list := range h.flushers {
				for _, c := range list {
					c.flush()
				}
			}
		})
	}
	helpers.Go(func() { h.heartbeats(ctx) })
	helpers.Go(func() { h.enginePings(ctx) })
	h.opts.Events.Publish(ctx, h.committed, h.told)
	close(h.flushers)
	helpers.Wait()
}

// committed delivers a committed batch.
func (h *Hub) committed(batch []event.Live) {
	h.mu.Lock()
	for _, e := range batch {
		h.deliver(e)
		h.seq = e.Seq
	}
	h.mu.Unlock()
	h.flushTouched()
}

// told delivers an ephemeral.
func (h *Hub) told(e event.Live) {
	h.mu.Lock()
	h.deliver(e)
	h.mu.Unlock()
	h.flushTouched()
}

func (h *Hub) deliver(e event.Live) {
	kind, known := h.opts.Events.Kind(e.Kind)
	var joined, left []string
	if known && kind.Membership != nil {
		joined, left = kind.Membership(e.Event)
		h.remember(change{e.Seq, e.ScopeID, joined, left})
		for _, id := range joined {
			if p := h.people[id]; p != nil {
				h.enter(p, e.ScopeID)
			}
		}
	}
	t, apart := telling{Live: e}, telling{Live: e}
	apart.Value = e.Apart.Value
	switch e.Scope {
	case event.ScopeConversation:
		if r := h.rooms[e.ScopeID]; r != nil {
			for id, p := range r.people {
				switch {
				case slices.Contains(e.Except, id), known && kind.Receipt && p.privacy.HidesReads && id != e.ActorID:
				case slices.Contains(e.Apart.People, id):
					h.give(&apart, p.streams)
				default:
					h.give(&t, p.streams)
				}
			}
		}
	case event.ScopeUser:
		if p := h.people[e.ScopeID]; p != nil {
			h.give(&t, p.streams)
		}
	case event.ScopeSession:
		h.give(&t, h.sessions[e.ScopeID])
		if e.Kind == "auth:revoked" {
			for _, s := range h.sessions[e.ScopeID] {
				s.conn.finish(closeRevoked, "session ended")
			}
		}
	case event.ScopeAdmin:
		for _, p := range h.people {
			if p.role >= api.RoleModerator {
				h.give(&t, p.streams)
			}
		}
	}
	for _, id := range left {
		if p := h.people[id]; p != nil {
			h.exit(p, e.ScopeID)
		}
	}
}

// give queues an event for streams, each in its form.
func (h *Hub) give(t *telling, streams []*stream) {
	for _, s := range streams {
		if t.Socket != "" && t.Socket != s.conn.socket || t.NotSocket != "" && t.NotSocket == s.conn.socket {
			continue
		}
		b, err := t.frame(s.form)
		if err != nil {
			h.opts.Log.Error("encode event", "kind", t.Kind, "error", err)
		}
		if len(b) > 0 && s.push(b, t.Seq) {
			h.toFlush = append(h.toFlush, s.conn)
		}
	}
}

// flushTouched writes what the last delivery queued: a few connections at once, many by helpers.
func (h *Hub) flushTouched() {
	list := h.toFlush
	h.toFlush = h.toFlush[:0]
	if len(list) <= flushInline {
		for _, c := range list {
			c.flush()
		}
		return
	}
	h.toFlush = make([]*conn, 0, len(list)) // the helpers keep the old one
	for len(list) > 0 {
		n := min(64, len(list))
		select {
		case h.flushers <- list[:n]:
		default:
			for _, c := range list[:n] {
				c.flush()
			}
		}
		list = list[n:]
	}
}

func (h *Hub) enter(p *person, conversationID string) {
	r := h.rooms[conversationID]
	if r == nil {
		r = &room{conversationID, map[string]*person{}}
		h.rooms[conversationID] = r
	}
	r.people[p.id] = p
	p.rooms[conversationID] = r
}

func (h *Hub) exit(p *person, conversationID string) {
	if r := p.rooms[conversationID]; r != nil {
		delete(p.rooms, conversationID)
		delete(r.people, p.id)
		if len(r.people) == 0 {
			delete(h.rooms, conversationID)
		}
	}
}

func (h *Hub) remember(c change) {
	if len(h.changes) >= 2*changesKept {
		h.changes = append(h.changes[:0], h.changes[len(h.changes)-changesKept:]...)
	}
	h.changes = append(h.changes, c)
}

// Close tells every client to come back (1012) and waits for their connections to end, until ctx does.
func (h *Hub) Close(ctx context.Context) {
	h.mu.Lock()
	h.closing = true
	all := slices.Collect(maps.Keys(h.waiting))
	all = append(append(all, h.native.all()...), h.engine.all()...)
	for _, p := range h.people {
		if p.grace != nil {
			p.grace.Stop()
		}
	}
	h.mu.Unlock()
	for _, c := range all {
		c.finish(closeRestart, "server is restarting")
	}
	done := make(chan struct{})
	go func() { h.readers.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		for _, c := range all {
			c.net.Close()
		}
		select {
		case <-done:
		case <-time.After(time.Second):
		}
	}
}
