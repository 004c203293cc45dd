package hub

import (
	"context"
	"slices"
	"time"

	"github.com/quckchat/quckchat/server/socketio"
)

// heartbeatSlots is how many times in its interval a wheel turns.
const heartbeatSlots = 16

// wheel spreads the heartbeats of connections over their interval. Hub.mu guards it.
type wheel struct {
	slots [heartbeatSlots]map[*conn]struct{}
	next  int
}

func (w *wheel) init() {
	for i := range w.slots {
		w.slots[i] = map[*conn]struct{}{}
	}
}

// place returns the slot of a connection that comes.
func (w *wheel) place() map[*conn]struct{} {
	w.next++
	return w.slots[w.next%heartbeatSlots]
}

func (w *wheel) all() (list []*conn) {
	for _, slot := range w.slots {
		for c := range slot {
			list = append(list, c)
		}
	}
	return list
}

// turn calls fn, once for each slot in an interval, with its connections and the seq that is published.
func (h *Hub) turn(ctx context.Context, w *wheel, interval time.Duration, fn func(list []*conn, seq int64)) {
	tick := time.NewTicker(interval / heartbeatSlots)
	defer tick.Stop()
	for slot := 0; ; slot = (slot + 1) % heartbeatSlots {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		h.mu.Lock()
		seq := h.seq
		list := make([]*conn, 0, len(w.slots[slot]))
		for c := range w.slots[slot] {
			list = append(list, c)
		}
		h.mu.Unlock()
		if len(list) > 0 {
			fn(list, seq)
		}
	}
}

// heartbeats sends each native connection a ping and the current seq once per interval. The seq says that everything
// up to it has been sent, so while the log is being read it is the ping alone.
func (h *Hub) heartbeats(ctx context.Context) {
	ping := frame(opPing, nil)
	h.turn(ctx, &h.native, h.opts.Heartbeat, func(list []*conn, seq int64) {
		beat, err := eventFrame(0, "heartbeat", seqValue{seq})
		if err != nil {
			return
		}
		for _, c := range list {
			c.beat(ping, slices.Concat(ping, beat))
		}
	})
}

// enginePings sends each Socket.IO connection the ping of Engine.IO, which the client answers.
func (h *Hub) enginePings(ctx context.Context) {
	ping := frame(opText, []byte{byte(socketio.Ping)})
	h.turn(ctx, &h.engine, h.pingInterval(), func(list []*conn, _ int64) {
		for _, c := range list {
			c.send(ping)
		}
	})
}

// beat queues a ping, or a ping and a heartbeat, and writes it.
func (c *conn) beat(ping, both []byte) {
	c.mu.Lock()
	if c.own.reading {
		both = ping
	}
	flush := !c.ending && c.add(both)
	c.mu.Unlock()
	if flush {
		c.flush()
	}
}
