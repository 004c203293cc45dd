package hub

import (
	"context"
	"database/sql"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// hello is the first frame a client gets.
type hello struct {
	UserID    string `json:"userId"`
	SessionID string `json:"sessionId"`
	Seq       int64  `json:"seq"`
	Heartbeat int64  `json:"heartbeat"` // milliseconds
}

// ServeHTTP upgrades GET /ws. The caller is known by a bearer token, by a ticket, or by a first frame
// {"op":"auth","data":{"token":"..."}} within ten seconds.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	by := h.opts.Describe(r)
	var err error
	switch token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); {
	case bearer:
		err = h.opts.Authenticate.Authenticate(r.Context(), token, &by)
	case r.URL.Query().Has("ticket"):
		err = h.redeem(r.Context(), r.URL.Query().Get("ticket"), &by)
	case h.pending.Load() >= pendingMax:
		err = api.E("OVERLOADED")
	}
	if err == nil && by.SignedIn() {
		err = h.admit(by)
	}
	if err != nil {
		h.table.Fail(w, r, err)
		return
	}
	c := h.upgrade(w, r, by)
	if c == nil {
		return
	}
	c.own = &stream{conn: c, form: formNative}
	c.ws.SetReadLimit(h.opts.MaxFrame)
	c.ws.SetPongHandler(func(string) error { return c.await(h.opts.Heartbeat*5/2 + time.Second) })
	since := r.URL.Query().Get("since")
	if !h.enlist(c) {
		c.finish(closeRestart, "server is restarting")
		return
	}
	go c.begin(context.Background(), since) // nothing of the request is kept
}

// upgrade takes the connection of a request over; nil means that the request is answered.
func (h *Hub) upgrade(w http.ResponseWriter, r *http.Request, by api.Caller) *conn {
	upgrader := websocket.Upgrader{
		ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: writePool,
		Subprotocols: []string{"quckchat.v1"}, CheckOrigin: h.opts.Origin, HandshakeTimeout: writeDeadline,
	}
	ws, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil // the upgrader has answered
	}
	by.Socket = newSID()
	c := &conn{hub: h, ws: ws, net: ws.NetConn(), socket: by.Socket, by: by}
	if tcp, ok := c.net.(syscall.Conn); ok {
		c.raw, _ = tcp.SyscallConn()
		c.writeNow = func(fd uintptr) bool {
			c.wrote, c.writeErr = syscall.Write(int(fd), c.out)
			return true
		}
	}
	_ = c.net.SetDeadline(time.Time{})
	ws.SetPingHandler(func(data string) error { c.send(frame(opPong, []byte(data))); return nil })
	ws.SetCloseHandler(func(code int, _ string) error { c.finish(closeGoingAway, ""); return nil })
	return c
}

var writePool = &syncPool{}

// syncPool hands gorilla nothing to keep: the hub writes frames itself.
type syncPool struct{}

// Get returns nil, upon which gorilla makes a buffer for the rare frame it writes itself.
func (*syncPool) Get() any { return nil }

// Put lets the buffer go.
func (*syncPool) Put(any) {}

// begin authenticates if need be, attaches, and reads.
func (c *conn) begin(ctx context.Context, since string) {
	if !c.by.SignedIn() && !c.authenticate(ctx) || !c.join(ctx, since) {
		c.net.Close()
		c.hub.mu.Lock()
		delete(c.hub.waiting, c)
		c.hub.mu.Unlock()
		c.hub.readers.Done()
		return
	}
	c.read(ctx)
}

// join attaches a native socket, and lets it catch up if it asked to.
func (c *conn) join(ctx context.Context, since string) bool {
	at, err := c.hub.attach(ctx, c.own, since != "", c.hello)
	if err != nil {
		c.refuse(err)
		return false
	}
	if since != "" {
		c.own.catchUp(ctx, parseSince(since), at)
	}
	return true
}

// enlist counts a connection whose reader begins, so that Close finds it; not when the server stops.
func (h *Hub) enlist(c *conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return false
	}
	h.readers.Add(1)
	h.waiting[c] = struct{}{}
	return true
}

func (c *conn) authenticate(ctx context.Context) bool {
	c.hub.pending.Add(1)
	defer c.hub.pending.Add(-1)
	data, ok := c.receive(authDeadline)
	var r struct {
		request
		Data struct {
			Token string `json:"token"`
		} `json:"data"`
	}
	if !ok || json.Unmarshal(data, &r) != nil || r.Op != "auth" {
		c.finish(closeAuthLate, "sign in first")
		return false
	}
	if err := c.hub.opts.Authenticate.Authenticate(ctx, strings.TrimPrefix(r.Data.Token, "Bearer "), &c.by); err != nil {
		c.finish(closeRevoked, "token not valid")
		return false
	}
	if err := c.hub.admit(c.by); err != nil {
		c.refuse(err)
		return false
	}
	if scalar(r.ID) {
		if b, err := answerFrame(r.ID, map[string]bool{"success": true}, nil); err == nil {
			c.send(b)
		}
	}
	return true
}

// admit refuses one socket too many, and all of them when the server stops.
func (h *Hub) admit(by api.Caller) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing {
		return api.E("SHUTTING_DOWN")
	}
	if p := h.people[by.UserID]; p != nil && p.sockets >= h.opts.MaxPerUser {
		return api.E("TOO_MANY_SOCKETS")
	}
	return nil
}

// refuse closes a socket for which an error came too late to answer with a status.
func (c *conn) refuse(err error) {
	switch {
	case api.HasCode(err, "TOO_MANY_SOCKETS"):
		c.finish(closeTooMany, "too many sockets")
	case api.HasCode(err, "INVALID_TOKEN"):
		c.finish(closeRevoked, "session ended")
	default:
		c.finish(closeRestart, "try again")
	}
}

// load notes that somebody's privacy may be read, so that changes meanwhile are kept for it; done ends that.
func (h *Hub) load(userID string) (done func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	l := h.loading[userID]
	if l == nil {
		l = &loading{}
		h.loading[userID] = l
	}
	l.count++
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if l.count--; l.count == 0 {
			delete(h.loading, userID)
		}
	}
}

// stay is a row of member that matters to somebody who connects.
type stay struct {
	conversationID string
	joined         int64
	left           sql.NullInt64
}

// attach adds a stream to the live events at one seq, which it returns, and greets the client. Codes: SHUTTING_DOWN,
// TOO_MANY_SOCKETS, OVERLOADED, INVALID_TOKEN when the session has ended since it was checked.
func (h *Hub) attach(ctx context.Context, s *stream, catchingUp bool, greeting func(seq int64) []byte) (at int64, err error) {
	c := s.conn
	defer h.load(c.by.UserID)()
	for range 10 {
		h.mu.Lock()
		published := h.seq
		_, here := h.people[c.by.UserID]
		h.mu.Unlock()
		var stays []stay
		var privacy Privacy
		head := published
		if !here {
			err := h.opts.DB.Read(ctx, func(v storage.View) (err error) {
				if head, err = event.Head(v); err != nil {
					return err
				}
				if privacy, err = h.opts.Privacy(v, c.by.UserID); err != nil {
					return err
				}
				stays, err = staysOf(v, c.by.UserID, published)
				return err
			})
			if err != nil {
				h.opts.Log.Error("attach socket", "error", err)
				return 0, err
			}
		}
		at, ok, err := h.tryAttach(s, stays, privacy, head, here, catchingUp, greeting)
		if err != nil {
			return 0, err
		}
		if ok {
			c.flushNow()
			if !h.opts.Alive(ctx, c.by) { // revoked between its authentication and now: the event of it has passed
				h.detach(s)
				return 0, api.E("INVALID_TOKEN")
			}
			if h.opts.Came != nil {
				h.opts.Came(ctx, c.by, Stream{s.form})
			}
			return at, nil
		}
	}
	h.opts.Log.Warn("attach socket: memberships change too fast")
	return 0, api.E("OVERLOADED")
}

// staysOf reads the stays of a person that are open, or that ended after seq.
func staysOf(q storage.Querier, userID string, seq int64) ([]stay, error) {
	rows, err := q.Query("SELECT conversation_id, joined_seq, left_seq FROM member WHERE user_id = ? AND (left_seq IS NULL OR left_seq > ?)", userID, seq)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var stays []stay
	for rows.Next() {
		var s stay
		if err := rows.Scan(&s.conversationID, &s.joined, &s.left); err != nil {
			return nil, err
		}
		stays = append(stays, s)
	}
	return stays, rows.Err()
}

// tryAttach attaches at the seq published now, given the stays and the privacy as of head; not ok means that the
// memberships must be read again, because more changed meanwhile than the hub remembers.
// The greeting is queued here, before anything live can be.
func (h *Hub) tryAttach(s *stream, stays []stay, privacy Privacy, head int64, expected, catchingUp bool, greeting func(seq int64) []byte) (at int64, ok bool, err error) {
	c := s.conn
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.people[c.by.UserID]
	switch {
	case h.closing:
		return 0, false, api.E("SHUTTING_DOWN")
	case p != nil && c.attached == 0 && p.sockets >= h.opts.MaxPerUser: // others have come since it was admitted
		return 0, false, api.E("TOO_MANY_SOCKETS")
	case p == nil && expected:
		return 0, false, nil
	}
	appeared := false
	if p == nil {
		if h.seq > head && len(h.changes) > changesKept && h.changes[0].seq > head {
			return 0, false, nil
		}
		p = &person{id: c.by.UserID, rooms: map[string]*room{}, privacy: privacy}
		if fresh := h.loading[p.id].fresh; fresh != nil {
			p.privacy = *fresh
		}
		for _, s := range stays {
			if s.joined <= h.seq && (!s.left.Valid || s.left.Int64 > h.seq) {
				h.enter(p, s.conversationID)
			}
		}
		for _, ch := range h.changes { // what was published after the memberships were read
			if ch.seq <= head {
				continue
			}
			if slices.Contains(ch.joined, p.id) {
				h.enter(p, ch.conversationID)
			}
			if slices.Contains(ch.left, p.id) {
				h.exit(p, ch.conversationID)
			}
		}
		h.people[p.id] = p
		appeared = true
	}
	if p.grace != nil {
		p.grace.Stop()
		p.grace = nil
	}
	p.role = c.by.Role
	c.mu.Lock()
	s.reading, s.last = catchingUp, h.seq
	c.mu.Unlock()
	c.late(greeting(h.seq))
	p.streams = append(p.streams, s)
	if c.by.SessionID != "" {
		h.sessions[c.by.SessionID] = append(h.sessions[c.by.SessionID], s)
	}
	if c.attached++; c.attached == 1 {
		delete(h.waiting, c)
		c.slot = h.native.place()
		if c.io != nil {
			c.slot = h.engine.place()
		}
		c.slot[c] = struct{}{}
		p.sockets++
		h.open.Add(1)
	}
	if appeared {
		h.announce(p, "user:online", presence(p))
	}
	return h.seq, true, nil
}

// hello is the first frame on a native socket.
func (c *conn) hello(seq int64) []byte {
	b, _ := eventFrame(0, "hello", hello{c.by.UserID, c.by.SessionID, seq, c.hub.opts.Heartbeat.Milliseconds()})
	return b
}

// detach removes a stream; with the last one of a person the grace begins.
func (h *Hub) detach(s *stream) {
	if h.opts.Gone != nil {
		defer h.opts.Gone(s.conn.by, Stream{s.form})
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := s.conn
	if list := without(h.sessions[c.by.SessionID], s); len(list) > 0 {
		h.sessions[c.by.SessionID] = list
	} else {
		delete(h.sessions, c.by.SessionID)
	}
	c.attached--
	if c.attached == 0 {
		delete(c.slot, c)
		h.open.Add(-1)
	}
	p := h.people[c.by.UserID]
	if p == nil {
		return
	}
	if c.attached == 0 {
		p.sockets--
	}
	if p.streams = without(p.streams, s); len(p.streams) == 0 && !h.closing {
		p.grace = time.AfterFunc(graceTime, func() { h.left(p) })
	}
}

func without(list []*stream, s *stream) []*stream {
	if i := slices.Index(list, s); i >= 0 {
		return slices.Delete(list, i, i+1)
	}
	return list
}

// parseSince reads the seq of a resume; what is not a number asks for a resync.
func parseSince(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
