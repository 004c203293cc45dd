package turn

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// relay is the relayed address of one allocation. To pion it is the socket of the allocation, on which nothing ever
// arrives: whatever comes from a peer goes to the client from here, and what the client sends through a channel or in a
// Send indication comes here without passing by pion.
type relay struct {
	server *Server
	socket socket
	file   file
	addr   netip.AddrPort // as clients and peers know it
	done   chan struct{}  // closed with it

	owner    atomic.Pointer[owner] // nil until pion says whose it is
	bound    atomic.Pointer[bindings]
	change   sync.Mutex // of bound
	up, down flow
	refused  atomic.Uint64
	closing  sync.Once
}

// owner is whose an allocation is, and where they are: at an address of a UDP socket, or on a connection.
type owner struct {
	identity
	name   string // the username
	since  time.Time
	addr   netip.AddrPort
	via    netip.Addr // the address of this host that they speak to; zero when there is one only
	front  *front
	stream *stream
}

// bindings are the channels and permissions of an allocation. They are replaced, never changed.
type bindings struct {
	numbers map[uint16]*channel
	peers   map[netip.AddrPort]*channel
	allowed map[netip.Addr]bool
}

// channel is a peer with a number, and what the policy said of it last.
type channel struct {
	number  uint16
	peer    netip.AddrPort
	verdict atomic.Pointer[verdict]
}

type verdict struct {
	world *world
	how   way
	to    netip.AddrPort
}

// ask is the policy's word on a peer.
func (r *relay) ask(peer netip.AddrPort) (way, netip.AddrPort) {
	return r.server.places.now.Load().judge(peer, r.restricted(), r.server.opts.Ports)
}

func (r *relay) restricted() bool {
	o := r.owner.Load()
	return o != nil && o.echo
}

// judge is the policy's word on a channel, asked anew only when the world has changed.
func (r *relay) judge(c *channel) (way, netip.AddrPort) {
	w := r.server.places.now.Load()
	v := c.verdict.Load()
	if v == nil || v.world != w {
		v = &verdict{world: w}
		v.how, v.to = w.judge(c.peer, r.restricted(), r.server.opts.Ports)
		c.verdict.Store(v)
	}
	return v.how, v.to
}

// flow counts one direction, and holds it to the bandwidth that an allocation may use.
type flow struct {
	packets, bytes, dropped atomic.Uint64
	limit                   *rate.Limiter // nil: none
}

// pass counts n bytes and reports whether they are within the bandwidth.
func (f *flow) pass(n int, now time.Time) bool {
	if f.limit != nil && !f.limit.AllowN(now, n) {
		f.dropped.Add(1)
		return false
	}
	f.packets.Add(1)
	f.bytes.Add(uint64(n))
	return true
}

// fromChannel takes the data buf[off:off+n] that the client sent through a channel.
func (r *relay) fromChannel(number uint16, buf []byte, off, n int, out *outbox, now time.Time) {
	if c := r.bound.Load().numbers[number]; c != nil {
		how, to := r.judge(c)
		r.forward(c.peer, how, to, buf, off, n, out, now)
	}
}

// fromSend takes the data of a Send indication. Without a permission it is dropped (RFC 8656, section 10.2).
func (r *relay) fromSend(peer netip.AddrPort, buf []byte, off, n int, out *outbox, now time.Time) {
	if r.bound.Load().allowed[peer.Addr()] {
		how, to := r.ask(peer)
		r.forward(peer, how, to, buf, off, n, out, now)
	}
}

func (r *relay) forward(peer netip.AddrPort, how way, to netip.AddrPort, buf []byte, off, n int, out *outbox, now time.Time) {
	if how == refused || family(to.Addr()) != family(r.addr.Addr()) {
		r.refuse()
		return
	}
	if !r.up.pass(n, now) {
		return
	}
	if how == outward {
		out.add(&r.socket, to, netip.Addr{}, buf[off:off+n])
		return
	}
	if other := r.server.relayAt(peer); other != nil { // the other side of a call, as a rule: no need to go through the kernel
		other.arrive(r.addr, buf, off, n, out, now)
	}
}

func (r *relay) refuse() {
	r.refused.Add(1)
	r.server.stats.refused.Add(1)
}

// arrive takes the data buf[off:off+n] that came from a peer, to the client.
func (r *relay) arrive(peer netip.AddrPort, buf []byte, off, n int, out *outbox, now time.Time) {
	b, o := r.bound.Load(), r.owner.Load()
	c := b.peers[peer]
	if o == nil || c == nil && !b.allowed[peer.Addr()] {
		r.server.stats.unasked.Add(1)
		return
	}
	var how way
	if c != nil {
		how, _ = r.judge(c)
	} else {
		how, _ = r.ask(peer)
	}
	if how == refused {
		r.refuse()
		return
	}
	if !r.down.pass(n, now) {
		return
	}
	var from, to int
	if c != nil {
		from, to = putChannel(buf, off, n, c.number), off+n
	} else {
		if out.tight {
			out.flush()
		}
		from, to = putData(buf, off, n, peer)
	}
	if o.stream != nil {
		o.stream.queue(buf[from:to])
		return
	}
	out.add(&o.front.socket, o.addr, o.via, buf[from:to])
}

// finish sends what is left in out and gives it back.
func (s *Server) finish(out *outbox) {
	out.flush()
	s.stats.overflow.Add(uint64(out.lost))
	out.lost, out.tight = 0, false
	outboxes.Put(out)
}

// ReadFrom waits until the relay is closed. It never returns data: the pool reads.
func (r *relay) ReadFrom([]byte) (int, net.Addr, error) {
	<-r.done
	return 0, nil, net.ErrClosed
}

// WriteTo sends to a peer what pion wants sent, under the same policy.
func (r *relay) WriteTo(p []byte, addr net.Addr) (int, error) {
	peer, ok := addrPort(addr)
	if !ok || len(p) > mtu-dataHeader(peer) {
		return 0, errors.New("no such peer")
	}
	buf := make([]byte, slotSize)
	off := headRoom + channelHeader
	copy(buf[off:], p)
	out := outboxes.Get().(*outbox)
	r.fromSend(peer, buf, off, len(p), out, time.Now())
	r.server.finish(out)
	return len(p), nil
}

// Close gives everything back: the socket, the port, the quota. pion calls it when the allocation ends, however that is.
func (r *relay) Close() error {
	err := net.ErrClosed
	r.closing.Do(func() {
		err = r.file.close()
		r.server.release(r)
		close(r.done)
	})
	return err
}

// LocalAddr is the address that is told to the client.
func (r *relay) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(r.addr) }

// The deadlines are of no use here, and pion sets none.
func (r *relay) SetDeadline(time.Time) error      { return nil }
func (r *relay) SetReadDeadline(time.Time) error  { return nil }
func (r *relay) SetWriteDeadline(time.Time) error { return nil }

// rebind replaces the bindings by what edit makes of a copy.
func (r *relay) rebind(edit func(b *bindings)) {
	r.change.Lock()
	defer r.change.Unlock()
	old := r.bound.Load()
	b := &bindings{numbers: map[uint16]*channel{}, peers: map[netip.AddrPort]*channel{}, allowed: map[netip.Addr]bool{}}
	for number, c := range old.numbers {
		b.numbers[number], b.peers[c.peer] = c, c
	}
	for a := range old.allowed {
		b.allowed[a] = true
	}
	edit(b)
	r.bound.Store(b)
}

// addrPort is the address that pion hands about, as IPv4 where it is.
func addrPort(addr net.Addr) (netip.AddrPort, bool) {
	var a netip.AddrPort
	switch addr := addr.(type) {
	case *net.UDPAddr:
		a = addr.AddrPort()
	case *net.TCPAddr:
		a = addr.AddrPort()
	}
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), a.IsValid()
}
