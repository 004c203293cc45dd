package hub

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/socketio"
)

// The figures of the Socket.IO door (contract 4.1).
const (
	enginePing     = 10 * time.Second // between two pings, unless heartbeats come faster
	enginePatience = 3                // intervals that a client may stay silent after a ping
	engineFrameMax = 1_000_000        // bytes of a frame from a client
	strangerMax    = 16 << 10         // bytes of a frame before a namespace is connected
	engineRefusals = 5                // connects that may be refused on one connection
)

// engine is what a Socket.IO connection has beside a native one. It is the reader's alone.
type engine struct {
	bearer  string             // of the upgrade's Authorization header, for connects without a token
	spaces  map[string]*stream // the namespaces that are connected
	due     time.Time          // when a connection without namespaces is closed
	refused int
	served  bool // a namespace was connected
}

func (h *Hub) pingInterval() time.Duration { return min(enginePing, h.opts.Heartbeat) }

// ServeSocketIO upgrades GET /socket.io/?EIO=4&transport=websocket. Who calls is said by the packets that connect
// namespaces; a connection without one is closed after ten seconds.
func (h *Hub) ServeSocketIO(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	refuse := func(status int, why socketio.Refusal) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(why)
	}
	switch {
	case query.Get("transport") != "websocket":
		refuse(http.StatusBadRequest, socketio.UnknownTransport)
		return
	case query.Has("sid"): // of a polling connection, and there are none
		refuse(http.StatusBadRequest, socketio.UnknownSID)
		return
	case r.Method != http.MethodGet:
		refuse(http.StatusBadRequest, socketio.BadHandshakeMethod)
		return
	case query.Get("EIO") != "4":
		refuse(http.StatusBadRequest, socketio.UnsupportedVersion)
		return
	case !websocket.IsWebSocketUpgrade(r):
		refuse(http.StatusBadRequest, socketio.BadRequest)
		return
	case !h.opts.Origin(r):
		refuse(http.StatusForbidden, socketio.Forbidden)
		return
	}
	by := h.opts.Describe(r)
	if h.opts.Barred != nil {
		if wait := h.opts.Barred(by); wait > 0 {
			h.table.Fail(w, r, api.E("RATE_LIMIT_EXCEEDED", "seconds", int(wait/time.Second)+1))
			return
		}
	}
	if h.pending.Add(1) > pendingMax {
		h.pending.Add(-1)
		h.table.Fail(w, r, api.E("OVERLOADED"))
		return
	}
	c := h.upgrade(w, r, by)
	if c == nil {
		h.pending.Add(-1)
		return
	}
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	c.io = &engine{bearer: strings.Clone(bearer), spaces: map[string]*stream{}}
	c.ws.SetReadLimit(strangerMax)
	if !h.enlist(c) {
		h.pending.Add(-1)
		c.finish(closeRestart, "server is restarting")
		return
	}
	go c.converse(context.Background())
}

// converse opens a Socket.IO connection and reads from it until a namespace is connected. From there on another
// goroutine reads, on a fresh stack: to find out who connects takes a deep one, and a connection keeps its stack.
func (c *conn) converse(ctx context.Context) {
	ping := c.hub.pingInterval()
	open, _ := json.Marshal(socketio.Handshake{
		SID: newSID(), Upgrades: []string{}, PingInterval: ping.Milliseconds(), PingTimeout: enginePatience * ping.Milliseconds(), MaxPayload: engineFrameMax,
	})
	c.send(frame(opText, append([]byte{byte(socketio.Open)}, open...)))
	c.io.due = time.Now().Add(authDeadline)
	for c.hear(ctx) {
		if c.io.served {
			go c.listen(ctx)
			return
		}
	}
	c.leave()
}

func (c *conn) listen(ctx context.Context) {
	for c.hear(ctx) {
	}
	c.leave()
}

// hear reads a frame and does what it asks for; false means that the connection is over.
func (c *conn) hear(ctx context.Context) bool {
	e := c.io
	patience := (1 + enginePatience) * c.hub.pingInterval()
	if len(e.spaces) == 0 {
		patience = time.Until(e.due)
	}
	data, ok := c.receive(patience)
	if !ok {
		if len(e.spaces) == 0 && !time.Now().Before(e.due) {
			c.finish(closeAuthLate, "connect a namespace first")
		}
		return false
	}
	if c.over() {
		return true // said after our close frame
	}
	kind, payload, err := socketio.DecodeFrame(data)
	switch {
	case err == nil && kind == socketio.Pong:
	case err == nil && kind == socketio.Message:
		c.packet(ctx, payload)
	case err == nil && kind == socketio.Close:
		c.finish(closeNormal, "")
	default:
		c.finish(closeProtocol, "not a frame that a client sends")
	}
	return true
}

// leave takes a connection that has ended out of the hub.
func (c *conn) leave() {
	defer c.hub.readers.Done()
	c.net.Close()
	for _, s := range c.io.spaces {
		c.hub.detach(s)
	}
	if len(c.io.spaces) == 0 {
		c.hub.pending.Add(-1)
		c.hub.mu.Lock()
		delete(c.hub.waiting, c)
		c.hub.mu.Unlock()
	}
	if !c.io.served && c.io.refused == 0 {
		c.strike() // it came to say nothing
	}
}

// strike counts a handshake that failed against the address.
func (c *conn) strike() {
	if c.hub.opts.Strike != nil {
		c.hub.opts.Strike(c.by)
	}
}

// packet does what a Socket.IO packet asks for.
func (c *conn) packet(ctx context.Context, payload []byte) {
	p, err := socketio.Decode(payload)
	if err != nil {
		c.finish(closeProtocol, err.Error())
		return
	}
	s := c.io.spaces[p.Namespace]
	switch {
	case p.Type == socketio.BinaryEvent || p.Type == socketio.BinaryAck:
		c.finish(closeUnsuported, "binary packets are not supported")
	case p.Type == socketio.Connect && s == nil:
		c.connect(ctx, p)
	case p.Type == socketio.Event && s != nil:
		c.answer(ctx, s.form.namespace(), p)
	case p.Type == socketio.Ack && s != nil: // we ask for none
	case p.Type == socketio.Disconnect:
		if s != nil {
			c.disconnect(p.Namespace, s)
		}
	default:
		c.finish(closeProtocol, "connect the namespace first, once")
	}
}

// disconnect leaves a namespace. The connection stays for another one.
func (c *conn) disconnect(name string, s *stream) {
	delete(c.io.spaces, name)
	c.hub.detach(s)
	if len(c.io.spaces) > 0 {
		return
	}
	c.io.due = time.Now().Add(authDeadline)
	c.hub.pending.Add(1)
	c.hub.mu.Lock()
	c.hub.waiting[c] = struct{}{}
	closing := c.hub.closing
	c.hub.mu.Unlock()
	if closing { // Close has collected its list before
		c.finish(closeRestart, "server is restarting")
	}
}

// answer runs an event and acknowledges it, if the client asked for that.
func (c *conn) answer(ctx context.Context, n *namespace, p socketio.Packet) {
	c.mu.Lock()
	c.asking = p.ID != ""
	c.mu.Unlock()
	var payload []byte
	if len(p.Args) > 0 {
		payload = p.Args[0]
	}
	spoken := speak(p.Event)
	value, e := c.call(ctx, spoken.verb, payload)
	if p.ID == "" {
		follow(value)
		return
	}
	var ack any
	if e != nil {
		ack = failedAck{false, e.Message, e.Code, e.Fields}
	} else {
		ack = spoken.ack(api.View(value, n.dialect))
	}
	b, err := json.Marshal(ack)
	if err != nil {
		c.hub.opts.Log.Error("encode answer", "op", spoken.verb, "error", err)
		b, _ = json.Marshal(failedAck{false, api.Sentence(api.E("INTERNAL"), c.by.Locale), "INTERNAL", nil})
	}
	c.mu.Lock()
	c.asking = false
	c.mu.Unlock()
	c.send(frame(opText, socketio.Packet{Type: socketio.Ack, Namespace: n.name, ID: p.ID, Args: []json.RawMessage{b}}.Frame()))
	follow(value)
}
