package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is the clients of one server in one scenario, all read by one loop. Member i of its ledgers is clients[i].
type crowd struct {
	ctx     context.Context
	loop    *loop
	to      netip.AddrPort
	resumes bool // a client that is dropped comes back with since, as a real one does
	clients []*client
	book    atomic.Pointer[ledger] // what is running; nil between runs

	frames    atomic.Int64 // of any kind, to see when it is quiet
	frameSize atomic.Int64 // of the last message:new
	drops     atomic.Int64 // connections that ended against our will
	lost      atomic.Int64 // resumes that were answered with resync: the server had forgotten

	mu      sync.Mutex
	closing bool
	lastErr error
	coming  sync.WaitGroup // reconnects on their way
}

// client is one member, across reconnects.
type client struct {
	crowd   *crowd
	member  int
	account *account // nil at the floor hub, which knows nobody

	socketIO bool   // it speaks Socket.IO, in the namespace /chat, and does not come back by itself
	token    string // what it says in its connect packet

	conn   atomic.Pointer[conn]
	state  atomic.Int32
	seq    atomic.Int64 // the last event seen
	liveAt atomic.Int64 // when it was last caught up, see now
	asked  atomic.Bool  // the connection on its way said since
	wanted atomic.Bool
}

const (
	isDown = iota
	isConnecting
	isLive
)

func newCrowd(ctx context.Context, l *loop, to netip.AddrPort, accounts []*account) *crowd {
	c := &crowd{ctx: ctx, loop: l, to: to, resumes: true}
	for i, a := range accounts {
		c.clients = append(c.clients, &client{crowd: c, member: i, account: a})
	}
	return c
}

// connectAll connects every client that is not connected, from 32 goroutines, and waits until all are live and the
// line is quiet: the server has told everybody who is online.
func (c *crowd) connectAll(within time.Duration) error {
	next, failed := atomic.Int64{}, atomic.Pointer[error]{}
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(c.clients) && failed.Load() == nil && c.ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				k := c.clients[i]
				k.wanted.Store(true)
				if k.state.Load() != isDown {
					continue
				}
				if err := k.connect(false); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	if err := c.waitLive(within); err != nil {
		return err
	}
	return c.waitQuiet(within)
}

func (k *client) connect(resume bool) error {
	path, token := "/api/v1/ws", ""
	if k.account != nil {
		var err error
		if token, err = k.account.token(k.crowd.ctx); err != nil {
			return err
		}
	}
	if k.socketIO {
		path, k.token, token = "/socket.io/?EIO=4&transport=websocket", token, ""
	} else if resume {
		path += "?since=" + strconv.FormatInt(k.seq.Load(), 10)
	}
	k.asked.Store(resume)
	k.state.Store(isConnecting)
	conn, err := k.crowd.loop.dial(k.crowd.to, path, token, k)
	if err != nil {
		k.state.Store(isDown)
		return err
	}
	k.conn.Store(conn)
	return nil
}

// live counts the clients that are connected and caught up.
func (c *crowd) live() int {
	n := 0
	for _, k := range c.clients {
		if k.state.Load() == isLive {
			n++
		}
	}
	return n
}

func (c *crowd) waitLive(within time.Duration) error {
	for end := time.Now().Add(within); c.live() < len(c.clients); time.Sleep(2 * time.Millisecond) {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d clients are connected after %s; the last error was: %w", c.live(), len(c.clients), within, c.err())
		}
	}
	return nil
}

// waitQuiet waits until no frame came for 400 ms, or the time is over: then it goes on, for heartbeats are no reason to fail.
func (c *crowd) waitQuiet(within time.Duration) error {
	last, since := int64(-1), time.Now()
	for end := time.Now().Add(within); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if c.ctx.Err() != nil {
			return c.ctx.Err()
		}
		if n := c.frames.Load(); n != last {
			last, since = n, time.Now()
		} else if time.Since(since) > 400*time.Millisecond {
			return nil
		}
	}
	return nil
}

func (c *crowd) err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lastErr == nil {
		return errors.New("none")
	}
	return c.lastErr
}

// disconnectAll ends every connection and waits until all are down.
func (c *crowd) disconnectAll() {
	for _, k := range c.clients {
		k.wanted.Store(false)
	}
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		up := 0
		for _, k := range c.clients {
			if k.state.Load() != isDown {
				up++
				if conn := k.conn.Load(); conn != nil {
					conn.hangUp()
				}
			}
		}
		if up == 0 {
			return
		}
	}
}

// close disconnects for good and waits for what is under way.
func (c *crowd) close() {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.disconnectAll()
	c.coming.Wait()
}

// frame handles one text frame with as little work as can be: at the highest rates this is most of what the generator does.
func (k *client) frame(b []byte, at int64) {
	c := k.crowd
	c.frames.Add(1)
	if k.socketIO {
		k.packet(b, at)
		return
	}
	switch {
	case bytes.HasPrefix(b, prefixSeq):
		seq, rest := number(b[len(prefixSeq):])
		k.seq.Store(seq)
		if !bytes.HasPrefix(rest, messageNew) {
			return
		}
		k.heard(rest, len(b), at)
	case bytes.HasPrefix(b, prefixID):
		id, rest := number(b[len(prefixID):])
		book := c.book.Load()
		if book == nil {
			return
		}
		if bytes.HasPrefix(rest, answerOK) {
			book.answeredOK(int(id-book.base), numberAfter(rest, keyN), at)
		} else {
			book.answeredError(int(id-book.base), fmt.Sprintf("%.200s", rest))
		}
	case bytes.HasPrefix(b, prefixEvent):
		k.control(b[len(prefixEvent):], at)
	}
}

// heard notes the delivery of the message in a frame of some size.
func (k *client) heard(rest []byte, size int, at int64) {
	k.crowd.frameSize.Store(int64(size))
	if book := k.crowd.book.Load(); book != nil {
		if run, i, _, ok := findClientID(rest); ok && run == book.run {
			book.delivered(k.member, i, at)
		}
	}
}

// control handles the frames without a seq of their own.
func (k *client) control(b []byte, at int64) {
	switch {
	case bytes.HasPrefix(b, []byte("hello")):
		if !k.asked.Load() {
			k.seq.Store(max(numberAfter(b, keySeq), 0))
			k.up(at)
		}
	case bytes.HasPrefix(b, []byte("resumed")):
		k.seq.Store(max(numberAfter(b, keySeq), k.seq.Load()))
		k.up(at)
	case bytes.HasPrefix(b, []byte("resync")):
		if k.asked.Load() && k.state.Load() == isConnecting {
			k.crowd.lost.Add(1)
		}
	case bytes.HasPrefix(b, []byte("heartbeat")):
		k.seq.Store(max(numberAfter(b, keySeq), k.seq.Load()))
	}
}

func (k *client) up(at int64) {
	k.liveAt.Store(at)
	k.state.Store(isLive)
}

// down has a client that is still wanted come back and ask for what it missed.
func (k *client) down(_ *conn, err error) {
	c := k.crowd
	k.state.Store(isDown)
	if !k.wanted.Load() {
		return
	}
	c.drops.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastErr = err
	if !c.resumes || k.socketIO || c.closing || c.ctx.Err() != nil {
		return
	}
	c.coming.Go(func() {
		for wait := 20 * time.Millisecond; wait < 2*time.Second && k.wanted.Load() && c.ctx.Err() == nil; wait *= 2 {
			time.Sleep(wait)
			if k.connect(k.seq.Load() > 0) == nil {
				return
			}
		}
	})
}

// send writes one frame, if the client has ever been connected.
func (k *client) send(frame []byte) {
	if conn := k.conn.Load(); conn != nil {
		conn.send(frame)
	}
}
