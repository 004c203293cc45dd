package turn

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	pion "github.com/pion/turn/v4"
	"golang.org/x/time/rate"
)

// door is what pion asks for relays and permissions, and tells of channels: for the UDP socket, or for one connection.
type door struct {
	server *Server
	front  *front // of the two, one is nil
	stream *stream
}

// Validate is for pion.
func (d *door) Validate() error { return nil }

var (
	errNoAddress = errors.New("this host has no address of that family")
	errNoPort    = errors.New("no relay port is free")
)

// request is what the client wants that pion is serving. It is asked on the goroutine that reads the requests.
func (d *door) request() request {
	if d.stream != nil {
		return d.stream.request
	}
	return d.front.request
}

// AllocatePacketConn opens a relay, on the wanted port unless that is 0. pion always wants one of IPv4; the client's
// wish is in the request.
func (d *door) AllocatePacketConn(_ string, wanted int) (net.PacketConn, net.Addr, error) {
	s := d.server
	f := 0
	switch d.request().family {
	case 0, 1:
	case 2:
		f = 1
	default:
		return nil, nil, errNoAddress
	}
	w := s.places.fresh()
	if !w.shown[f].IsValid() || s.closed.Load() {
		return nil, nil, errNoAddress
	}
	n := len(s.relays[f])
	first := rand.IntN(n) // not to be guessed by those who would send to it
	tries := n
	if wanted != 0 {
		if first, tries = wanted-int(s.opts.Ports.Min), 1; first < 0 || first >= n {
			return nil, nil, errNoPort
		}
	}
	for i := range tries {
		r, err := s.openRelay(w, f, (first+i)%n)
		switch {
		case err == nil:
			return r, r.LocalAddr(), nil
		case !errors.Is(err, syscall.EADDRINUSE):
			return nil, nil, err
		}
	}
	return nil, nil, errNoPort
}

// openRelay makes the relay of one port, by its place in the range.
func (s *Server) openRelay(w *world, f, place int) (*relay, error) {
	slot := &s.relays[f][place]
	if slot.Load() != nil {
		return nil, syscall.EADDRINUSE
	}
	port := s.opts.Ports.Min + uint16(place)
	fd, err := openUDP(netip.AddrPortFrom(w.bind[f], port), relayBuffer)
	if err != nil {
		return nil, err
	}
	r := &relay{server: s, file: file{fd: fd}, addr: netip.AddrPortFrom(w.shown[f], port), done: make(chan struct{})}
	r.socket = socket{raw: &r.file, six: f == 1}
	r.bound.Store(&bindings{})
	if b := s.opts.Bandwidth; b > 0 {
		// A burst of a second, and never less than a packet.
		r.up.limit, r.down.limit = rate.NewLimiter(rate.Limit(b), max(b, slotSize)), rate.NewLimiter(rate.Limit(b), max(b, slotSize))
	}
	if !slot.CompareAndSwap(nil, r) {
		return nil, errors.Join(syscall.EADDRINUSE, r.file.close())
	}
	if err := s.pool.add(fd, f, place); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	if s.closed.Load() { // Close may have passed by
		r.Close()
		return nil, net.ErrClosed
	}
	return r, nil
}

// AllocateConn would open a TCP relay (RFC 6062). Browsers have no use for one.
func (d *door) AllocateConn(string, int) (net.Conn, net.Addr, error) {
	return nil, nil, errors.New("relays are UDP")
}

// relayAt is the live relay at an address that relays are shown under.
func (s *Server) relayAt(addr netip.AddrPort) *relay {
	f := family(addr.Addr())
	if !s.opts.Ports.contain(addr.Port()) {
		return nil
	}
	r := s.relays[f][addr.Port()-s.opts.Ports.Min].Load()
	if r == nil || r.addr != addr {
		return nil
	}
	return r
}

// relayOf is the allocation that was made from addr.
func (d *door) relayOf(addr net.Addr) *relay {
	if d.stream != nil {
		return d.stream.relay.Load()
	}
	a, _ := addrPort(addr)
	return d.front.relayOf(a)
}

// bindingsMax is how many permissions, and how many channels, an allocation has at most. A call has a handful.
const bindingsMax = 128

// authorize gives pion the key that a request must be signed with; whether it is, pion looks at. What has been
// allocated is in the hands of who did it (RFC 8656, section 5): pion v4 would let anybody with a credential end it who
// can forge the address of its client.
func (d *door) authorize(username, realm string, src net.Addr) (key []byte, ok bool) {
	s := d.server
	id, ok := parseUsername(username)
	if r := d.relayOf(src); r != nil {
		o := r.owner.Load()
		ok = ok && o != nil && o.name == username
	}
	if !ok || !s.opts.Now().Before(id.expires) {
		s.stats.authFailures.Add(1)
		return nil, false
	}
	return pion.GenerateAuthKey(username, realm, password(s.opts.Secret, username)), true
}

// permits is asked by pion before it notes a permission or a channel. For a channel the peer's port counts too.
func (d *door) permits(addr net.Addr, ip net.IP) bool {
	r := d.relayOf(addr)
	a, ok := netip.AddrFromSlice(ip)
	if r == nil || !ok {
		return false
	}
	a = a.Unmap()
	w, b := d.server.places.fresh(), r.bound.Load()
	allowed := family(a) == family(r.addr.Addr()) && w.admits(a, r.restricted()) && (b.allowed[a] || len(b.allowed) < bindingsMax)
	if peer := d.request().peer; allowed && peer.Addr() == a {
		how, _ := w.judge(peer, r.restricted(), d.server.opts.Ports)
		allowed = how != refused && (b.peers[peer] != nil || len(b.peers) < bindingsMax)
	}
	if !allowed {
		r.refuse()
	}
	return allowed
}

// events are how pion tells what it has noted. They are called by whoever reads the client's requests, or by its timers.
func (d *door) events() pion.EventHandler {
	s := d.server
	find := func(relayAddr net.Addr) *relay { return s.relayAt(mustAddrPort(relayAddr)) }
	return pion.EventHandler{
		OnAuth: func(_, _ net.Addr, _, _, _, _ string, ok bool) {
			if !ok {
				s.stats.authFailures.Add(1)
			}
		},
		OnAllocationCreated: func(src, _ net.Addr, _, username, _ string, relayAddr net.Addr, _ int) {
			if r := find(relayAddr); r != nil {
				d.take(r, src, username)
			}
		},
		OnPermissionCreated: func(_, _ net.Addr, _, _, _ string, relayAddr net.Addr, peer net.IP) {
			s.allow(find(relayAddr), peer, true)
		},
		OnPermissionDeleted: func(_, _ net.Addr, _, _, _ string, relayAddr net.Addr, peer net.IP) {
			s.allow(find(relayAddr), peer, false)
		},
		OnChannelCreated: func(_, _ net.Addr, _, _, _ string, relayAddr, peer net.Addr, number uint16) {
			if r, a := find(relayAddr), mustAddrPort(peer); r != nil {
				c := &channel{number: number, peer: a}
				r.rebind(func(b *bindings) { b.numbers[number], b.peers[a] = c, c })
			}
		},
		OnChannelDeleted: func(_, _ net.Addr, _, _, _ string, relayAddr, peer net.Addr, number uint16) {
			if r := find(relayAddr); r != nil {
				r.rebind(func(b *bindings) {
					delete(b.numbers, number)
					delete(b.peers, mustAddrPort(peer))
				})
			}
		},
	}
}

func mustAddrPort(addr net.Addr) netip.AddrPort {
	a, _ := addrPort(addr)
	return a
}

func (s *Server) allow(r *relay, peer net.IP, on bool) {
	a, ok := netip.AddrFromSlice(peer)
	if r == nil || !ok {
		return
	}
	r.rebind(func(b *bindings) {
		if on {
			b.allowed[a.Unmap()] = true
		} else {
			delete(b.allowed, a.Unmap())
		}
	})
}

// take notes whose a new relay is.
func (d *door) take(r *relay, src net.Addr, username string) {
	s := d.server
	id, _ := parseUsername(username) // it has been authorized
	o := &owner{identity: id, name: username, since: time.Now(), front: d.front, stream: d.stream, addr: mustAddrPort(src)}
	if d.front != nil {
		o.via = d.front.via
	}
	s.quota.enter(id.user, o.addr)
	r.owner.Store(o)
	s.stats.allocations.Add(1)
	s.stats.created.Add(1)
	if d.stream != nil {
		d.stream.relay.Store(r)
	} else {
		d.front.enter(o.addr, r)
	}
}

// release is the end of a relay. Its port is free last: who finds it taken waits for the rest.
func (s *Server) release(r *relay) {
	defer s.relays[family(r.addr.Addr())][r.addr.Port()-s.opts.Ports.Min].CompareAndSwap(r, nil)
	o := r.owner.Load()
	if o == nil {
		return
	}
	if o.stream != nil {
		if o.stream.relay.CompareAndSwap(r, nil) {
			o.stream.deadline()
		}
	} else {
		o.front.leave(o.addr, r)
	}
	s.quota.leave(o.user)
	s.stats.allocations.Add(-1)
	s.stats.ended(r)
}

// quota counts the relays of each person. A request that was let through counts before its relay is there, so that
// several at once do not slip by together.
type quota struct {
	most int

	mu    sync.Mutex
	now   map[string]int
	asked map[netip.AddrPort]hope // by the client's address
}

type hope struct {
	user string
	at   time.Time
}

// askedFor is how long a hope counts whose relay does not come, because no port was free.
const askedFor = 5 * time.Second

// mayAllocate is asked by pion before it makes an allocation.
func (s *Server) mayAllocate(username, _ string, src net.Addr) bool {
	id, ok := parseUsername(username)
	addr, valid := addrPort(src)
	if !ok || !valid || !s.quota.ask(id.user, addr, time.Now()) {
		s.stats.quotaRefusals.Add(1)
		return false
	}
	return true
}

func (q *quota) ask(user string, addr netip.AddrPort, at time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := q.now[user]
	for a, r := range q.asked {
		switch {
		case a == addr || at.Sub(r.at) > askedFor:
			delete(q.asked, a)
		case r.user == user:
			n++
		}
	}
	if n >= q.most {
		return false
	}
	q.asked[addr] = hope{user, at}
	return true
}

func (q *quota) enter(user string, addr netip.AddrPort) {
	q.mu.Lock()
	delete(q.asked, addr)
	q.now[user]++
	q.mu.Unlock()
}

func (q *quota) leave(user string) {
	q.mu.Lock()
	if q.now[user]--; q.now[user] <= 0 {
		delete(q.now, user)
	}
	q.mu.Unlock()
}
