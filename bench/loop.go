package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// loop reads all client sockets with one thread: a thousand goroutines would cost the generator more for each delivery
// than a good server spends on it, and both share the machine.
type loop struct {
	poller *poller
	table  []atomic.Pointer[conn] // by file descriptor
	buf    []byte
	stop   atomic.Bool
	done   chan struct{}
	err    error // why it ended, valid after done
}

// conn is one websocket. Its reading side belongs to the loop, which alone closes the descriptor.
type conn struct {
	l *loop
	h handler

	mu     sync.Mutex // guards what follows, and fd against being used after it is closed
	fd     int
	out    []byte // what the kernel did not take yet
	closed bool

	up bool   // the handshake is over
	in []byte // the beginning of a frame whose end has not come
}

// handler is told, by the loop, what happens on a conn. It does not block.
type handler interface {
	frame(payload []byte, at int64) // a text frame; valid during the call
	down(c *conn, err error)        // the last call
}

func newLoop() (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	l := &loop{poller: p, table: make([]atomic.Pointer[conn], maxFiles()), buf: make([]byte, 256<<10), done: make(chan struct{})}
	go l.run()
	return l, nil
}

func (l *loop) run() {
	runtime.LockOSThread()
	defer close(l.done)
	defer l.poller.close()
	var list []ready
	for !l.stop.Load() {
		if list, l.err = l.poller.wait(list[:0], 100*time.Millisecond); l.err != nil {
			return
		}
		for _, r := range list {
			c := l.table[r.fd].Load()
			if c == nil {
				continue
			}
			if r.writable {
				c.flush()
			}
			if r.read {
				if err := c.read(); err != nil {
					c.end(err)
				}
			}
		}
	}
}

// close ends the loop; connections that are still open are closed without a word to their handlers.
func (l *loop) close() {
	l.stop.Store(true)
	<-l.done
	for i := range l.table {
		if c := l.table[i].Swap(nil); c != nil {
			closeFD(c.fd)
		}
	}
}

// dial connects and sends the upgrade request; everything after that reaches h.
func (l *loop) dial(to netip.AddrPort, path, token string, h handler) (*conn, error) {
	fd, err := connect(to)
	if err != nil {
		return nil, err
	}
	if fd >= len(l.table) {
		closeFD(fd)
		return nil, fmt.Errorf("no room for socket %d: raise the limit of open files", fd)
	}
	c := &conn{l: l, h: h, fd: fd}
	request := "GET " + path + " HTTP/1.1\r\nHost: " + to.String() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: quckchat.v1\r\n" +
		"Authorization: Bearer " + token + "\r\n\r\n"
	if rest, err := writeFD(fd, []byte(request)); err != nil || len(rest) > 0 {
		closeFD(fd)
		return nil, fmt.Errorf("send upgrade request: %w", err)
	}
	l.table[fd].Store(c)
	if err := l.poller.add(fd); err != nil {
		l.table[fd].Store(nil)
		closeFD(fd)
		return nil, fmt.Errorf("watch socket: %w", err)
	}
	return c, nil
}

// send writes whole frames. What the kernel does not take is kept and written when it does, so that an open-loop sender
// never waits; on a closed connection it is dropped, and the audit tells.
func (c *conn) send(frames []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if len(c.out) > 0 {
		c.out = append(c.out, frames...)
		return
	}
	rest, err := writeFD(c.fd, frames)
	if err != nil {
		return // the loop hears of it as well
	}
	if len(rest) > 0 {
		c.out = append(c.out, rest...)
		_ = c.l.poller.wantWrite(c.fd, true)
	}
}

func (c *conn) flush() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || len(c.out) == 0 {
		return
	}
	rest, err := writeFD(c.fd, c.out)
	if err != nil {
		rest = nil
	}
	c.out = append(c.out[:0], rest...)
	if len(c.out) == 0 {
		_ = c.l.poller.wantWrite(c.fd, false)
	}
}

// hangUp ends the connection from our side, without a closing handshake, as a phone does that leaves the network.
func (c *conn) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		hangUp(c.fd)
	}
}

var errEnded = errors.New("the server ended the connection")

func (c *conn) read() error {
	n, again, err := readFD(c.fd, c.l.buf)
	if again {
		return nil
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return errEnded
	}
	at, data := now(), c.l.buf[:n]
	if len(c.in) > 0 {
		c.in = append(c.in, data...)
		data = c.in
	}
	rest, err := c.consume(data, at)
	switch {
	case len(rest) > 0:
		c.in = append(c.in[:0], rest...) // may overlap: append moves
	case cap(c.in) > 4<<10:
		c.in = nil
	default:
		c.in = c.in[:0]
	}
	return err
}

func (c *conn) consume(data []byte, at int64) (rest []byte, err error) {
	if !c.up {
		i := bytes.Index(data, []byte("\r\n\r\n"))
		if i < 0 {
			return data, nil
		}
		if !bytes.HasPrefix(data, []byte("HTTP/1.1 101 ")) {
			return nil, fmt.Errorf("upgrade refused: %.300q", data)
		}
		c.up, data = true, data[i+4:]
	}
	for {
		op, payload, after := splitFrame(data)
		switch op {
		case -1:
			return data, nil
		case opText:
			c.h.frame(payload, at)
		case opPing:
			c.send(appendFrame(nil, opPong, payload))
		case opPong:
		case opClose:
			if len(payload) >= 2 {
				return nil, fmt.Errorf("closed by the server: %d %s", int(payload[0])<<8|int(payload[1]), payload[2:])
			}
			return nil, errEnded
		default:
			return nil, fmt.Errorf("unexpected frame: % x", data[:min(len(data), 16)])
		}
		data = after
	}
}

func (c *conn) end(err error) {
	c.mu.Lock()
	c.closed = true
	c.l.table[c.fd].Store(nil)
	closeFD(c.fd)
	c.mu.Unlock()
	c.h.down(c, err)
}
