package turn

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	streamQueue  = 256 << 10        // bytes that wait for a slow client; what comes when they are there is dropped
	streamFrame  = 1536             // longest request on a connection; the longest that anybody sends has some 400 bytes
	streamIdle   = 30 * time.Second // how long a connection without an allocation may be silent
	streamStuck  = 10 * time.Second // how long a client may take nothing at all
	streamBuffer = headRoom + 8<<10
)

// stream is a client's connection, TCP or TLS. To pion it is a socket on which whole requests arrive. Nobody ever
// waits for its client: what is sent is queued, and written by a goroutine that lives as long as there is something.
type stream struct {
	server    *Server
	conn      net.Conn
	raw       net.Conn // conn, or what TLS was begun on
	remote    *net.TCPAddr
	addr      netip.AddrPort
	transport atomic.Pointer[string]
	relay     atomic.Pointer[relay]
	ask       bool // not known yet whether the client begins with TLS

	// Of the goroutine that reads.
	buf        []byte // what came, from headRoom on
	start, end int
	request    request // what pion is at

	mu      sync.Mutex
	waiting []byte
	spare   []byte
	writing bool
	closed  bool
}

var transportTCP, transportTLS, transportUDP = "tcp", "tls", "udp"

// ReadFrom returns the next request, whole, and relays what comes before it. The connection is closed when there is none.
func (s *stream) ReadFrom(p []byte) (int, net.Addr, error) {
	n, err := s.read(p)
	if err != nil {
		_ = s.Close()
	}
	return n, s.remote, err
}

func (s *stream) read(p []byte) (int, error) {
	if s.ask {
		if err := s.begin(); err != nil {
			return 0, err
		}
		s.ask = false
	}
	out := outboxes.Get().(*outbox)
	out.tight = true
	n, err := s.next(p, out)
	for n == 0 && err == nil {
		s.server.finish(out) // nothing is held while waiting
		if err = s.fill(); err != nil {
			return 0, err
		}
		out = outboxes.Get().(*outbox)
		out.tight = true
		n, err = s.next(p, out)
	}
	s.server.finish(out)
	return n, err
}

// begin finds out whether the client speaks TLS, and does its handshake.
func (s *stream) begin() error {
	_ = s.conn.SetReadDeadline(time.Now().Add(streamIdle))
	first := make([]byte, 1)
	if _, err := s.conn.Read(first); err != nil {
		return err
	}
	if first[0] != 0x16 { // a handshake record
		s.buf[headRoom] = first[0]
		s.end++
		return nil
	}
	if s.server.opts.TLS == nil {
		return errors.New("no certificate")
	}
	c := tls.Server(&Prefixed{Conn: s.conn, Head: first}, s.server.opts.TLS)
	_ = s.conn.SetDeadline(time.Now().Add(streamIdle))
	if err := c.Handshake(); err != nil {
		return err
	}
	_ = s.conn.SetDeadline(time.Time{})
	s.conn = c
	s.transport.Store(&transportTLS)
	return nil
}

// fill reads more. A client without an allocation must be quick; one with an allocation has its lifetime.
func (s *stream) fill() error {
	if s.start > headRoom {
		copy(s.buf[headRoom:], s.buf[s.start:s.end])
		s.start, s.end = headRoom, headRoom+s.end-s.start
	}
	s.deadline()
	n, err := s.conn.Read(s.buf[s.end:])
	s.end += n
	if n > 0 {
		return nil
	}
	return err
}

func (s *stream) deadline() {
	var t time.Time
	if s.relay.Load() == nil {
		t = time.Now().Add(streamIdle)
	}
	_ = s.raw.SetReadDeadline(t)
}

// next looks at the frames that are there whole. It returns the length of the request that it copied to p, 0 when more
// must be read, and an error when the client speaks something else.
func (s *stream) next(p []byte, out *outbox) (int, error) {
	now := time.Now()
	for {
		b := s.buf[s.start:s.end]
		if len(b) < channelHeader {
			return 0, nil
		}
		length := int(binary.BigEndian.Uint16(b[2:]))
		if isChannel(b) {
			whole := channelHeader + (length+3)&^3 // padded on connections (RFC 8656, section 12.5)
			if whole > len(s.buf)-headRoom {
				return 0, errors.New("frame too long")
			}
			if len(b) < whole {
				return 0, nil
			}
			if r := s.relay.Load(); r != nil && length <= mtu-channelHeader {
				number, _ := channelOf(b)
				r.fromChannel(number, s.buf, s.start+channelHeader, length, out, now)
			}
			s.start += whole
			continue
		}
		if b[0] > 3 || len(b) >= 8 && binary.BigEndian.Uint32(b[4:]) != cookie {
			return 0, errors.New("not STUN")
		}
		whole := stunHeader + length
		if whole > mtu {
			return 0, errors.New("message too long")
		}
		if len(b) < whole {
			return 0, nil
		}
		frame := b[:whole]
		from := s.start
		s.start += whole
		if peer, start, end, ok := parseSend(frame); ok {
			if r := s.relay.Load(); r != nil {
				r.fromSend(peer, s.buf, from+start, end-start, out, now)
			}
			continue
		}
		if whole > min(streamFrame, len(p)) {
			return 0, errors.New("request too long")
		}
		s.request = readRequest(frame)
		return copy(p, frame), nil
	}
}

// WriteTo queues an answer of pion's.
func (s *stream) WriteTo(p []byte, _ net.Addr) (int, error) {
	if !s.queue(p) {
		return 0, net.ErrClosed
	}
	return len(p), nil
}

// queue has a frame written, padded to four bytes, and reports whether it will be. It does not wait.
func (s *stream) queue(frame []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.waiting)+len(frame) > streamQueue {
		s.server.stats.overflow.Add(1)
		return false
	}
	s.waiting = append(s.waiting, frame...)
	s.waiting = append(s.waiting, noPadding[:-len(frame)&3]...)
	if !s.writing {
		s.writing = true
		s.server.work.Go(s.write)
	}
	return true
}

var noPadding [4]byte

// write writes what waits until nothing does.
func (s *stream) write() {
	for {
		s.mu.Lock()
		b := s.waiting
		if len(b) == 0 || s.closed {
			s.writing = false
			if cap(s.spare) > 16<<10 { // a burst is over
				s.waiting, s.spare = nil, nil
			}
			s.mu.Unlock()
			return
		}
		s.waiting, s.spare = s.spare[:0], nil
		s.mu.Unlock()
		_ = s.conn.SetWriteDeadline(time.Now().Add(streamStuck))
		_, err := s.conn.Write(b)
		s.mu.Lock()
		s.spare = b[:0]
		s.mu.Unlock()
		if err != nil {
			_ = s.Close()
			return
		}
	}
}

// Close hangs up. The reading ends, and pion ends the allocation.
func (s *stream) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return net.ErrClosed
	}
	err := s.raw.Close()
	s.server.forget(s)
	return err
}

func (s *stream) LocalAddr() net.Addr                { return s.raw.LocalAddr() }
func (s *stream) SetDeadline(t time.Time) error      { return s.raw.SetDeadline(t) }
func (s *stream) SetReadDeadline(t time.Time) error  { return s.raw.SetReadDeadline(t) }
func (s *stream) SetWriteDeadline(t time.Time) error { return s.raw.SetWriteDeadline(t) }

// Prefixed is a connection of which the beginning has been read already.
type Prefixed struct {
	net.Conn
	Head []byte
}

// Read returns the beginning first.
func (c *Prefixed) Read(p []byte) (int, error) {
	if len(c.Head) == 0 {
		return c.Conn.Read(p)
	}
	n := copy(p, c.Head)
	c.Head = c.Head[n:]
	return n, nil
}
