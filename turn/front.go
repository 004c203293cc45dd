package turn

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// front is the UDP socket that clients speak to. To pion it is a socket on which requests arrive, one by one; what is
// relayed goes its way before pion sees it.
type front struct {
	server *Server
	socket socket
	conn   *net.UDPConn
	raw    syscall.RawConn
	closed atomic.Bool

	mu      sync.RWMutex
	clients map[netip.AddrPort]*relay

	// Of the goroutine that reads.
	in      *inbox
	next    int // of in, not looked at yet
	out     *outbox
	control bool // in.next is for pion
	read    func(fd uintptr) bool
	from    *net.UDPAddr // who sent what pion is at
	via     netip.Addr   // and to which address of this host
	request request      // and what it wants
}

func newFront(s *Server, conn *net.UDPConn, raw syscall.RawConn, socket socket) *front {
	f := &front{server: s, socket: socket, conn: conn, raw: raw, clients: map[netip.AddrPort]*relay{}, in: newInbox(), out: newOutbox()}
	f.read = f.readNow
	return f
}

// ReadFrom returns the next request, and relays what comes before it.
func (f *front) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		if n := f.take(p); n > 0 {
			return n, f.from, nil
		}
		f.out.flush()
		f.control = false
		if err := f.raw.Read(f.read); err != nil || f.closed.Load() {
			return 0, nil, errors.Join(net.ErrClosed, err)
		}
	}
}

// readNow receives and relays until there is a request, or nothing at all.
func (f *front) readNow(fd uintptr) bool {
	for {
		switch err := f.in.receive(fd, 0); {
		case err == syscall.EAGAIN:
			return false
		case err != nil:
			f.server.stats.overflow.Add(1)
			return f.closed.Load()
		}
		f.next = 0
		f.relayed()
		if f.control {
			return true
		}
		f.out.flush()
		f.server.stats.overflow.Add(uint64(f.out.lost))
		f.out.lost = 0
		if f.in.n < batchSize { // empty: what comes from now on wakes us
			return false
		}
	}
}

// take copies the next request of the batch to p, and relays what comes before it. It returns 0 when there is none.
func (f *front) take(p []byte) int {
	for f.next < f.in.n {
		if f.relayed(); f.next == f.in.n {
			break
		}
		i := f.next
		f.next++
		n, _ := f.in.size(i)
		if n == 0 || n >= len(p) { // pion takes a full buffer for a cut one
			continue
		}
		from := f.in.from(i)
		f.from, f.via = net.UDPAddrFromAddrPort(from), f.in.to(i)
		n = copy(p, f.in.slots[i][headRoom:headRoom+n])
		f.request = readRequest(p[:n])
		return n
	}
	return 0
}

// relayed passes on what can be, up to the first datagram that is for pion.
func (f *front) relayed() {
	now := time.Now()
	var from netip.AddrPort
	var r *relay
	for ; f.next < f.in.n; f.next++ {
		i := f.next
		n, whole := f.in.size(i)
		if !whole {
			f.server.stats.oversized.Add(1)
			continue
		}
		data := f.in.slots[i][headRoom : headRoom+n]
		channel := isChannel(data)
		peer, start, end, send := netip.AddrPort{}, 0, 0, false
		if !channel {
			if peer, start, end, send = parseSend(data); !send {
				f.control = true
				return
			}
		}
		if at := f.in.from(i); r == nil || at != from {
			from = at
			f.mu.RLock()
			r = f.clients[from]
			f.mu.RUnlock()
		}
		if r == nil {
			continue // no allocation: pion would have nothing to say either
		}
		if send {
			r.fromSend(peer, f.in.slots[i][:], headRoom+start, end-start, f.out, now)
		} else if number, length := channelOf(data); channelHeader+length <= n {
			r.fromChannel(number, f.in.slots[i][:], headRoom+channelHeader, length, f.out, now)
		}
	}
}

// WriteTo answers the request that pion is at, from the address that it came to.
func (f *front) WriteTo(p []byte, addr net.Addr) (int, error) {
	to, ok := addrPort(addr)
	if !ok {
		return 0, errors.New("no such client")
	}
	out := outboxes.Get().(*outbox)
	out.add(&f.socket, to, f.via, p)
	f.server.finish(out)
	return len(p), nil
}

// Close ends the reading.
func (f *front) Close() error {
	f.closed.Store(true)
	return f.conn.Close()
}

func (f *front) LocalAddr() net.Addr                { return f.conn.LocalAddr() }
func (f *front) SetDeadline(t time.Time) error      { return f.conn.SetDeadline(t) }
func (f *front) SetReadDeadline(t time.Time) error  { return f.conn.SetReadDeadline(t) }
func (f *front) SetWriteDeadline(t time.Time) error { return f.conn.SetWriteDeadline(t) }

// enter notes the allocation of a client, leave its end.
func (f *front) enter(addr netip.AddrPort, r *relay) {
	f.mu.Lock()
	f.clients[addr] = r
	f.mu.Unlock()
}

func (f *front) leave(addr netip.AddrPort, r *relay) {
	f.mu.Lock()
	if f.clients[addr] == r {
		delete(f.clients, addr)
	}
	f.mu.Unlock()
}

func (f *front) relayOf(addr netip.AddrPort) *relay {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.clients[addr]
}
