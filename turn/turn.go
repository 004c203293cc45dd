// Package turn is the STUN and TURN server inside QuckChat: it tells clients their address as it is seen from outside
// (STUN, RFC 8489) and relays the packets of calls between people who cannot reach each other (TURN, RFC 8656), over
// UDP, TCP and TLS.
//
//	s, err := turn.New(turn.Options{Listen: ":3478", Secret: secret})
//	c := s.Mint(userID, callID)
//	servers := turn.ICEServers("chat.example.org", s.Doors(), c)
//	defer s.Close()
//
// # Who may use it
//
// Finding one's address is free. Relays need a credential of the TURN REST form: a username that says until when, whose
// and for which call, and a password that is its signature. Nothing is stored, and what is expired or forged is
// refused. One person has at most Options.Quota relays at a time. A credential of MintEcho reaches the ports of
// PermitEcho alone.
//
// # What it reaches
//
// A relay is a hole into the network of the host, so the policy (policy.go) is asked about every packet, out and in,
// not only about permissions, which TURN gives by address whatever the port. Relays reach public addresses, the relays
// of this same server, and own ports named with Permit. They do not reach loopback, private, link-local, shared,
// multicast, reserved and example addresses, metadata services, and the host's own addresses, public ones included,
// nor any of them written as an IPv6 address (mapped, NAT64, 6to4, Teredo, ISATAP). Options.Allow opens prefixes.
//
// # How packets go
//
// pion/turn answers requests: it authenticates, allocates, refreshes, and keeps permissions and channels. It does not
// see what is relayed. The sockets it is given (front, relay, stream) take ChannelData and Send indications out of the
// stream of requests, and what peers send never reaches it. They learn from its events which channels and permissions
// there are. Datagrams come and go in batches, a system call for up to 32, and are passed on in the buffer that they
// arrived in; one goroutine reads what clients send by UDP, another what arrives at all relays (pool). Two relays of this server talk to each other without the kernel: that is what most calls that need a
// relay come to, it is fast, and it works behind a router that does not lead its own public address back inside.
//
// Nothing waits for anybody: what a socket does not take at once is dropped and counted, as on a busy line, and a
// connection has a queue of its own. Bandwidth above Options.Bandwidth is dropped too.
//
// # Where it stands
//
// Clients are told a public address: that of Options.Public, otherwise the one an outside server saw (LearnPublic), and
// otherwise the one of the interface with the default route, which is right on a host that is not behind NAT. Behind a
// router, ports Listen and Options.Ports lead to this host (UDP, and TCP for Listen).
package turn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	pion "github.com/pion/turn/v4"
)

// Options are the settings of a server. Listen and Secret are required.
type Options struct {
	Listen    string         // address for UDP and TCP, both on one port; port 0 takes a free one
	TLS       *tls.Config    // for clients that speak TLS at the same port; nil refuses them
	Public    []netip.Addr   // addresses of this host as the internet sees it; the first of each family is told to clients
	Ports     Ports          // of relays; zero is 49152-65535
	Realm     string         // zero is "quckchat"
	Secret    []byte         // signs credentials
	TTL       time.Duration  // lifetime of credentials; zero is 12 hours
	Quota     int            // relays of one person at a time; zero is 32
	Bandwidth int            // bytes per second of an allocation, each way; zero has no limit
	Allow     []netip.Prefix // peers that relays reach although they are private
	Conns     int            // connections at a time; zero is 4096
	PerHost   int            // connections of one address (IPv6: one /64) at a time; zero is 256
	Log       *slog.Logger
	Now       func() time.Time // for the expiry of credentials; nil is the system clock
}

// Ports is a range of ports, both ends included.
type Ports struct{ Min, Max uint16 }

func (p Ports) contain(port uint16) bool { return port >= p.Min && port <= p.Max }

// Server is a running STUN and TURN server. Its methods may be called at any time, also after Close.
type Server struct {
	opts     Options
	minter   Minter
	places   surroundings
	front    *front
	pool     *pool
	listener net.Listener
	stats    counters
	quota    quota
	work     sync.WaitGroup
	closed   atomic.Bool

	relays [2][]atomic.Pointer[relay] // of IPv4 and IPv6, by port above Ports.Min

	mu    sync.Mutex
	conns map[*stream]bool
	hosts map[netip.Prefix]int // their number by address
}

// New opens the ports and serves. It fails when a port is taken.
func New(o Options) (_ *Server, err error) {
	if len(o.Secret) < 16 {
		return nil, errors.New("turn: the secret is shorter than 16 bytes")
	}
	if o.Ports == (Ports{}) {
		o.Ports = Ports{49152, 65535}
	}
	if o.Ports.Min == 0 || o.Ports.Max < o.Ports.Min {
		return nil, fmt.Errorf("turn: %d-%d is not a range of ports", o.Ports.Min, o.Ports.Max)
	}
	o.defaults()
	s := &Server{opts: o, minter: Minter{o.Secret, o.TTL, o.Now}, conns: map[*stream]bool{}, hosts: map[netip.Prefix]int{}}
	s.quota = quota{most: o.Quota, now: map[string]int{}, asked: map[netip.AddrPort]hope{}}
	for f := range s.relays {
		s.relays[f] = make([]atomic.Pointer[relay], int(o.Ports.Max-o.Ports.Min)+1)
	}
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	if err := s.listen(); err != nil {
		return nil, err
	}
	if s.pool, err = newPool(s); err != nil {
		return nil, err
	}
	here, err := netip.ParseAddrPort(s.listener.Addr().String())
	if err != nil {
		return nil, fmt.Errorf("turn: listen on %s: %w", o.Listen, err)
	}
	s.places = surroundings{given: unmapped(o.Public), allowed: o.Allow, permits: map[netip.AddrPort]permit{}}
	if a := here.Addr().Unmap(); !a.IsUnspecified() {
		s.places.listen = a
	}
	s.places.look()
	if err := s.open(&door{server: s, front: s.front}, s.front); err != nil {
		return nil, err
	}
	s.work.Go(s.pool.run)
	s.work.Go(s.accept)
	return s, nil
}

// open has pion answer the requests of a socket: the one of UDP, or a connection. Each has a pion of its own, because
// pion does not tell for which of its clients it wants a relay.
func (s *Server) open(d *door, socket net.PacketConn) error {
	_, err := pion.NewServer(pion.ServerConfig{
		Realm: s.opts.Realm, LoggerFactory: quiet{s.opts.Log}, AuthHandler: d.authorize, QuotaHandler: s.mayAllocate, EventHandler: d.events(),
		PacketConnConfigs: []pion.PacketConnConfig{{PacketConn: socket, RelayAddressGenerator: d, PermissionHandler: d.permits}},
	})
	if err != nil {
		return fmt.Errorf("turn: %w", err)
	}
	return nil
}

func (o *Options) defaults() {
	set := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	set(&o.Quota, 32)
	set(&o.Conns, 4096)
	set(&o.PerHost, 256)
	if o.Realm == "" {
		o.Realm = "quckchat"
	}
	if o.TTL == 0 {
		o.TTL = 12 * time.Hour
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

func unmapped(list []netip.Addr) (plain []netip.Addr) {
	for _, a := range list {
		plain = append(plain, a.Unmap())
	}
	return plain
}

// Close ends every allocation and connection, and gives their ports and goroutines back before it returns.
func (s *Server) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	var errs []error
	if s.listener != nil {
		errs = append(errs, s.listener.Close())
	}
	if s.front != nil {
		errs = append(errs, s.front.Close())
	}
	for _, c := range s.connections() {
		_ = c.Close()
	}
	for f := range s.relays {
		for i := range s.relays[f] {
			if r := s.relays[f][i].Load(); r != nil {
				_ = r.Close()
			}
		}
	}
	if s.pool != nil {
		errs = append(errs, s.pool.close())
	}
	s.work.Wait()
	return errors.Join(errs...)
}

// Addr is where the server listens, UDP and TCP.
func (s *Server) Addr() netip.AddrPort {
	a, _ := addrPort(s.listener.Addr())
	return a
}

// Doors are the ports of this server; TLS stands among them when it has a certificate.
func (s *Server) Doors() Doors {
	port := []int{int(s.Addr().Port())}
	d := Doors{UDP: port, TCP: port}
	if s.opts.TLS != nil {
		d.TLS = port
	}
	return d
}

// Public is the addresses under which relays are given to clients, IPv4 and IPv6; zero where this host has none.
func (s *Server) Public() (four, six netip.Addr) {
	w := s.places.fresh()
	return w.shown[0], w.shown[1]
}

// Local is the addresses of this host from which relays send, IPv4 and IPv6; zero where it has none. They are those of Public
// unless a router stands between.
func (s *Server) Local() (four, six netip.Addr) {
	w := s.places.fresh()
	return w.bind[0], w.bind[1]
}

// Global reports whether a is an address that the internet may lead to: none that is private, loopback, link-local, shared,
// reserved or for examples.
func Global(a netip.Addr) bool { return public(a.Unmap()) }

// Permit lets relays reach addr, an own port such as the SFU's. at is where it listens when that is another address
// than the one clients know, as behind a router; zero is addr itself.
func (s *Server) Permit(addr, at netip.AddrPort) { s.permit(addr, at, false) }

// PermitEcho is Permit for the port that the restricted credentials of MintEcho reach too.
func (s *Server) PermitEcho(addr, at netip.AddrPort) { s.permit(addr, at, true) }

func (s *Server) permit(addr, at netip.AddrPort, echo bool) {
	plain := func(a netip.AddrPort) netip.AddrPort { return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) }
	if addr = plain(addr); at.IsValid() {
		at = plain(at)
	} else {
		at = addr
	}
	s.places.permit(func(permits map[netip.AddrPort]permit) { permits[addr] = permit{at, echo} })
}

// Forbid takes a Permit or PermitEcho back.
func (s *Server) Forbid(addr netip.AddrPort) {
	s.places.permit(func(permits map[netip.AddrPort]permit) {
		delete(permits, netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	})
}

// LearnPublic asks an outside STUN server, "host:port", for the address that it sees, and tells clients that one from
// now on, unless the configuration gives one. It returns the address. Ask again now and then: home networks get new
// addresses. It is the only thing here that speaks to anybody unasked.
func (s *Server) LearnPublic(ctx context.Context, server string) (netip.Addr, error) {
	a, err := Mapped(ctx, server)
	if err != nil {
		return a, err
	}
	if s.places.learn(a) {
		s.opts.Log.Info("public address learned", "address", a)
	}
	return a, nil
}
