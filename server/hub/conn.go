package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/gorilla/websocket"

	"github.com/quckchat/quckchat/server/api"
)

// conn is one socket. Its reader goroutine is all it costs while idle; it is written to by whoever has something
// for it, one at a time.
type conn struct {
	hub    *Hub
	ws     *websocket.Conn // for reading
	net    net.Conn        // for writing
	socket string          // its name for operations and events (api.Caller.Socket); it never changes
	raw    syscall.RawConn // of a plain TCP connection, to write without waiting; nil under TLS
	by     api.Caller
	own    *stream // of a native socket; nil of a Socket.IO connection
	io     *engine // of a Socket.IO connection; nil of a native one

	attached int                // its streams that are attached; under Hub.mu
	slot     map[*conn]struct{} // where its heartbeat stands while it has any; under Hub.mu

	mu      sync.Mutex
	queue   [][]byte  // frames waiting, in order; at most Options.Queue, more closes the connection
	first   [2][]byte // where the queue begins: most of the time it holds one frame
	bytes   int
	writing bool // somebody is writing, and will look at the queue again
	asking  bool // a request is being answered: events leave with the answer, in one write
	ending  bool // the close frame is queued; nothing more is, and no request is heard
	parting bool // the close frame is written, and the last read deadline is set
	drained chan struct{}

	// Of whoever is writing: the arguments and results of writeNow, kept here so that a write allocates nothing.
	writeNow func(fd uintptr) bool
	out      []byte
	wrote    int
	writeErr error
}

// add queues a frame. It reports whether the caller has to flush. The caller holds mu.
func (c *conn) add(b []byte) (flush bool) {
	if len(c.queue) >= c.hub.opts.Queue || c.bytes+len(b) > queueBytesMax && len(c.queue) > 0 {
		c.hub.dropped.Add(1)
		return c.end(closeResync, "resync")
	}
	c.queue, c.bytes = append(c.queue, b), c.bytes+len(b)
	flush = !c.writing && (!c.asking || len(c.queue) >= askingMax)
	c.writing = c.writing || flush
	return flush
}

// end queues the close frame in place of what waits.
func (c *conn) end(code int, reason string) (flush bool) {
	if c.ending {
		return false
	}
	c.ending = true
	if code == closeResync {
		c.queue, c.bytes = nil, 0 // it does not read; what it missed is in the log
		if c.writing {
			c.net.Close() // somebody is stuck in a write to it
			return false
		}
	}
	c.queue = append(c.queue, closeFrame(code, reason))
	flush = !c.writing
	c.writing = true
	return flush
}

// finish sends a close frame after what waits and then ends the connection.
func (c *conn) finish(code int, reason string) {
	c.mu.Lock()
	flush := c.end(code, reason)
	c.mu.Unlock()
	if flush {
		c.flush()
	}
}

// buffers assemble several frames into one write.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 32<<10); return &b }}

// flush writes what waits, without blocking: what the kernel does not take at once is left to a goroutine.
func (c *conn) flush() {
	for {
		b, buf, ok := c.take()
		if !ok {
			return
		}
		rest := c.try(b)
		if len(rest) > 0 {
			rest = append([]byte(nil), rest...)
			c.give(buf)
			go c.drain(rest)
			return
		}
		c.give(buf)
	}
}

// take returns the bytes of the next write; not ok means that nothing waits and the writer's place is free.
func (c *conn) take() (b []byte, buf *[]byte, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.queue) == 0 {
		c.writing = false
		if c.drained != nil {
			close(c.drained)
			c.drained = nil
		}
		if c.ending {
			c.part()
		}
		return nil, nil, false
	}
	if len(c.queue) == 1 || len(c.queue[0]) > 32<<10 {
		b = c.queue[0]
		c.queue = c.queue[1:]
	} else {
		buf = buffers.Get().(*[]byte)
		b = (*buf)[:0]
		for len(c.queue) > 0 && len(b)+len(c.queue[0]) <= cap(b) {
			b = append(b, c.queue[0]...)
			c.queue[0] = nil
			c.queue = c.queue[1:]
		}
	}
	if len(c.queue) == 0 {
		c.first = [2][]byte{} // an idle connection keeps no frame alive
		c.queue, c.bytes = c.first[:0], 0
	} else {
		c.bytes -= len(b)
	}
	return b, buf, true
}

// lingerTime is how long a client may take to answer a close frame.
const lingerTime = time.Second

// part ends our half of the connection and leaves the rest to the reader: closing a connection that has something
// unread resets it, and then the client may never see the close frame. The caller holds mu.
func (c *conn) part() {
	half, ok := c.net.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil || c.net.SetReadDeadline(time.Now().Add(lingerTime)) != nil {
		c.net.Close()
	}
	c.parting = true
}

// await sets how long the reader waits, unless the connection is parting.
func (c *conn) await(patience time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parting {
		return nil
	}
	return c.net.SetReadDeadline(time.Now().Add(patience))
}

func (c *conn) give(buf *[]byte) {
	if buf != nil {
		buffers.Put(buf)
	}
}

// try writes what the kernel takes now and returns the rest.
func (c *conn) try(b []byte) []byte {
	if c.raw == nil {
		return b
	}
	c.out = b
	err := c.raw.Write(c.writeNow)
	c.out = nil
	if err != nil || c.writeErr != nil && c.writeErr != syscall.EAGAIN && c.writeErr != syscall.EINTR {
		c.broken()
		return nil
	}
	return b[max(c.wrote, 0):]
}

// drain writes with waiting, until nothing waits or the client does not read for too long.
func (c *conn) drain(b []byte) {
	for {
		_ = c.net.SetWriteDeadline(time.Now().Add(writeDeadline))
		if _, err := c.net.Write(b); err != nil {
			c.broken()
			return
		}
		_ = c.net.SetWriteDeadline(time.Time{}) // or else the next write that does not wait meets it, when it has passed
		next, buf, ok := c.take()
		if !ok {
			return
		}
		if b = next; buf != nil {
			b = append([]byte(nil), next...)
			c.give(buf)
		}
	}
}

// broken ends a connection that cannot be written to; its reader notices.
func (c *conn) broken() {
	c.mu.Lock()
	c.ending, c.queue, c.bytes = true, nil, 0
	if c.drained != nil {
		close(c.drained)
		c.drained = nil
	}
	c.mu.Unlock()
	c.net.Close()
}

// over reports whether nothing more will be sent.
func (c *conn) over() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ending
}

// wait returns when everything queued has been written, or with false when the connection is over.
func (c *conn) wait(ctx context.Context) bool {
	c.mu.Lock()
	if !c.writing || c.ending {
		defer c.mu.Unlock()
		return !c.ending
	}
	if c.drained == nil {
		c.drained = make(chan struct{})
	}
	drained := c.drained
	c.mu.Unlock()
	timeout := time.NewTimer(2 * writeDeadline)
	defer timeout.Stop()
	select {
	case <-drained:
		return !c.over()
	case <-timeout.C:
		return false
	case <-ctx.Done():
		return false
	}
}

// send queues and flushes a frame that is not an event of the log.
func (c *conn) send(b []byte) {
	c.mu.Lock()
	flush := !c.ending && c.add(b)
	c.mu.Unlock()
	if flush {
		c.flush()
	}
}

// read is the reader goroutine: it ends when the connection does.
func (c *conn) read(ctx context.Context) {
	defer c.hub.readers.Done()
	defer c.hub.detach(c.own)
	defer c.net.Close()
	for {
		data, ok := c.receive(c.hub.opts.Heartbeat*5/2 + time.Second)
		if !ok {
			return
		}
		if c.over() {
			continue // said after our close frame: nobody is there to ask any more
		}
		c.mu.Lock()
		c.asking = true
		c.mu.Unlock()
		b, value := c.handle(ctx, data)
		c.mu.Lock()
		c.asking = false
		c.mu.Unlock()
		c.send(b)
		follow(value)
	}
}

// receive reads one text frame.
func (c *conn) receive(patience time.Duration) (data []byte, ok bool) {
	_ = c.await(patience)
	kind, r, err := c.ws.NextReader()
	if err != nil {
		return nil, false
	}
	if kind != websocket.TextMessage {
		c.finish(closeUnsuported, "text frames only")
		return nil, false
	}
	data, err = io.ReadAll(r)
	return data, err == nil
}

// follow lets the value of an operation do what is to come after its answer.
func follow(value any) {
	if f, ok := value.(api.Follower); ok {
		f.Follow()
	}
}

// handle runs one request and returns its answer, and the value in it.
func (c *conn) handle(ctx context.Context, data []byte) (b []byte, value any) {
	var r request
	var failure any
	if err := json.Unmarshal(data, &r); err != nil || r.Op == "" {
		failure = wireFailure{"BAD_REQUEST", api.Sentence(api.E("BAD_REQUEST"), c.by.Locale), nil}
	} else if r.Op == "ping" {
		value = map[string]bool{"pong": true}
	} else if out, e := c.call(ctx, r.Op, r.Data); e != nil {
		failure = wireFailure{e.Code, e.Message, e.Fields}
	} else {
		value = out
	}
	b, err := answerFrame(r.ID, value, failure)
	if err != nil {
		c.hub.opts.Log.Error("encode answer", "op", r.Op, "error", err)
		b, _ = answerFrame(r.ID, nil, wireFailure{"INTERNAL", api.Sentence(api.E("INTERNAL"), c.by.Locale), nil})
	}
	return b, value
}

// call runs an operation. A panic in it ends the request and not the server.
func (c *conn) call(ctx context.Context, op string, data []byte) (value any, e *api.Error) {
	defer func() {
		if p := recover(); p != nil {
			c.hub.opts.Log.Error("panic in operation", "op", op, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			e = api.E("INTERNAL")
			value, e.Message = nil, api.Sentence(e, c.by.Locale)
		}
	}()
	return c.hub.table.Call(ctx, c.by, op, data)
}

// wireFailure is the error of an answer.
type wireFailure struct {
	Code    string           `json:"code"`
	Message string           `json:"message"`
	Errors  []api.FieldError `json:"errors,omitempty"`
}
