package server

import (
	"container/list"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quckchat/quckchat/turn"
)

const (
	undecidedMax  = 1024             // connections that have not shown yet what they speak
	undecidedTime = 10 * time.Second // how long one may take to
	undecidedRush = time.Second      // how long one may take when others wait for its place
)

// alpnHTTP and alpnTURN are what clients may say they speak when they begin TLS. Browsers say nothing for turns: addresses.
var (
	alpnHTTP = []string{"http/1.1"} // sockets need it; a chat gains little from HTTP/2
	alpnTURN = []string{"stun.turn", "stun.nat-discovery"}
)

// splitter takes the connections of one TCP port apart, so that a site with a single open port has calls too. What
// speaks HTTP, WebSockets included, comes out of Accept, as it came in or with its TLS begun; what speaks STUN or TURN is
// given to turn. It is told by ALPN, and where that says nothing by the first byte: 0 to 3 begins a STUN message and
// nothing that HTTP begins with.
//
// Nobody waits for a client that is silent: each shows what it speaks on its own goroutine. There are at most
// undecidedMax of them. Then the next one waits, in the kernel, until one has shown it, or until the oldest has been silent
// for undecidedRush, and is hung up on: ten thousand who come at once all get in.
type splitter struct {
	inner net.Listener
	tls   *tls.Config // nil: the port has no TLS
	turn  func(net.Conn)
	log   *slog.Logger

	web  chan net.Conn
	done chan struct{}
	once sync.Once
	work sync.WaitGroup

	mu        sync.Mutex
	undecided list.List     // of stranger, the oldest first
	freed     chan struct{} // that one is decided
}

// stranger is a connection that has not shown yet what it speaks.
type stranger struct {
	net.Conn
	since time.Time
}

// split begins to take the connections of l apart.
func split(l net.Listener, config *tls.Config, turn func(net.Conn), log *slog.Logger) *splitter {
	p := &splitter{inner: l, tls: config, turn: turn, log: log, web: make(chan net.Conn), done: make(chan struct{}), freed: make(chan struct{}, 1)}
	p.work.Go(p.accept)
	return p
}

// Accept returns the next connection that speaks HTTP.
func (p *splitter) Accept() (net.Conn, error) {
	select {
	case c := <-p.web:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

// Addr is that of the port.
func (p *splitter) Addr() net.Addr { return p.inner.Addr() }

// Close closes the port, and every connection that has not shown yet what it speaks.
func (p *splitter) Close() error {
	err := net.ErrClosed
	p.once.Do(func() {
		close(p.done)
		err = p.inner.Close()
		p.mu.Lock()
		for e := p.undecided.Front(); e != nil; e = e.Next() {
			e.Value.(stranger).Close()
		}
		p.mu.Unlock()
		p.work.Wait()
	})
	return err
}

func (p *splitter) closed() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

func (p *splitter) accept() {
	for pause := time.Duration(0); ; {
		c, err := p.inner.Accept()
		switch {
		case err == nil:
			pause = 0
			if e := p.enter(c); e != nil {
				p.work.Go(func() { p.decide(c, e) })
			}
		case p.closed() || errors.Is(err, net.ErrClosed):
			return
		default: // out of files, as a rule: what is open must end first
			p.log.Warn("accept", "error", err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-p.done:
			}
		}
	}
}

// enter notes a connection that is undecided, once there is a place for it.
func (p *splitter) enter(c net.Conn) *list.Element {
	p.mu.Lock()
	defer p.mu.Unlock()
	for !p.closed() && p.undecided.Len() >= undecidedMax {
		oldest := p.undecided.Front()
		patience := undecidedRush - time.Since(oldest.Value.(stranger).since)
		if patience <= 0 {
			p.undecided.Remove(oldest).(stranger).Close()
			break
		}
		p.mu.Unlock()
		wait := time.NewTimer(patience)
		select {
		case <-p.freed:
		case <-wait.C:
		case <-p.done:
		}
		wait.Stop()
		p.mu.Lock()
	}
	if p.closed() {
		c.Close()
		return nil
	}
	return p.undecided.PushBack(stranger{c, time.Now()})
}

// decide finds out what a connection speaks, and passes it on.
func (p *splitter) decide(raw net.Conn, e *list.Element) {
	_ = raw.SetDeadline(time.Now().Add(undecidedTime))
	c, relay, err := p.look(raw)
	p.mu.Lock()
	p.undecided.Remove(e) // nothing when it was removed already
	p.mu.Unlock()
	select {
	case p.freed <- struct{}{}:
	default:
	}
	if err != nil {
		raw.Close()
		return
	}
	_ = raw.SetDeadline(time.Time{})
	if relay {
		p.turn(c)
		return
	}
	select {
	case p.web <- c:
	case <-p.done:
		raw.Close()
	}
}

// look returns the connection as it is to be read from now on, and whether it is for the relay.
func (p *splitter) look(raw net.Conn) (c net.Conn, relay bool, err error) {
	if p.tls == nil {
		first, err := peek(raw)
		return raw, isSTUN(first), err
	}
	secured := tls.Server(raw, p.tls)
	if err := secured.Handshake(); err != nil {
		return nil, false, err
	}
	switch protocol := secured.ConnectionState().NegotiatedProtocol; protocol {
	case alpnHTTP[0]:
		return secured, false, nil
	case "":
		first := make([]byte, 1)
		if _, err := secured.Read(first); err != nil {
			return nil, false, err
		}
		return &begun{Prefixed: turn.Prefixed{Conn: secured, Head: first}, tls: secured}, isSTUN(first[0]), nil
	}
	return secured, true, nil
}

func isSTUN(first byte) bool { return first < 4 }

// begun is a TLS connection of which the first byte has been read.
type begun struct {
	turn.Prefixed
	tls *tls.Conn
}

// ConnectionState is how net/http knows that a request came by TLS.
func (c *begun) ConnectionState() tls.ConnectionState { return c.tls.ConnectionState() }

// CloseWrite ends what we send, as net/http does before it closes.
func (c *begun) CloseWrite() error { return c.tls.CloseWrite() }

// peek waits for the first byte and leaves it where it is, so that the connection stays the one of the kernel: its
// sendfile, its writes without waiting.
func peek(c net.Conn) (byte, error) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0, errors.New("not a TCP connection")
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0, err
	}
	var first [1]byte
	var n int
	var failed error
	err = raw.Read(func(fd uintptr) bool {
		for {
			n, _, failed = unix.Recvfrom(int(fd), first[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
			if failed != unix.EINTR {
				return failed != unix.EAGAIN
			}
		}
	})
	if err = errors.Join(err, failed); err == nil && n == 0 {
		err = net.ErrClosed
	}
	return first[0], err
}
