package turn

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Peers that no relay reaches unless an allowed prefix says so: what IANA keeps for special purposes (RFC 6890 and the
// registries since), and the metadata service of a cloud that hides behind an address that looks public.
var (
	special4 = prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
		"192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
		"168.63.129.16/32",
	)
	// Of IPv6 only what is given out to networks, less protocols (Teredo among them) and examples.
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "3fff::/20")
	nat64    = netip.MustParsePrefix("64:ff9b::/96") // RFC 6052
	sixToOne = netip.MustParsePrefix("2002::/16")    // 6to4, RFC 3056
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func within(list []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
}

// carried is the IPv4 address to which a network would take packets for the IPv6 address a: by NAT64, 6to4, or ISATAP.
func carried(a netip.Addr) (netip.Addr, bool) {
	b := a.As16()
	switch {
	case nat64.Contains(a):
		return netip.AddrFrom4([4]byte(b[12:])), true
	case sixToOne.Contains(a):
		return netip.AddrFrom4([4]byte(b[2:])), true
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // RFC 5214
		return netip.AddrFrom4([4]byte(b[12:])), true
	}
	return a, false
}

// public reports whether a is the address of a host out there. The own addresses are the caller's to know.
func public(a netip.Addr) bool {
	switch {
	case a.Zone() != "":
		return false
	case a.Is4():
		return !within(special4, a)
	}
	if four, ok := carried(a); ok && within(special4, four) {
		return false
	}
	return nat64.Contains(a) || global6.Contains(a) && !within(special6, a)
}

// world is what the policy knows of this host at a time; it is replaced, never changed.
type world struct {
	own     map[netip.Addr]bool               // addresses of the interfaces, and the public ones
	shown   [2]netip.Addr                     // in which relays are given to clients, IPv4 and IPv6; zero where there is none
	bind    [2]netip.Addr                     // where their sockets are
	allowed []netip.Prefix                    // private peers that are let through
	permits map[netip.AddrPort]permit         // own ports that are let through
	behind  map[netip.AddrPort]netip.AddrPort // where a permitted port really is -> how it is shown
}

type permit struct {
	at   netip.AddrPort // where it really is
	echo bool           // restricted credentials reach it too
}

// way is how packets for a peer go.
type way uint8

const (
	refused way = iota
	inside      // to another relay of this server, without leaving the process
	outward     // out of the relay's own socket
)

func family(a netip.Addr) int {
	if a.Is4() {
		return 0
	}
	return 1
}

// judge says how packets to peer go, and from peer come, for an allocation that is restricted to the echo peer (echo)
// or not; to is the address to send them to.
func (w *world) judge(peer netip.AddrPort, echo bool, ports Ports) (how way, to netip.AddrPort) {
	if p, ok := w.permits[peer]; ok {
		if echo && !p.echo {
			return refused, peer
		}
		return outward, p.at
	}
	if echo || peer.Port() == 0 {
		return refused, peer
	}
	a := peer.Addr()
	if a == w.shown[family(a)] && ports.contain(peer.Port()) {
		return inside, peer
	}
	if !w.reachable(a) {
		return refused, peer
	}
	return outward, peer
}

// reachable reports whether a, whatever the port, is a peer that relays may send to.
func (w *world) reachable(a netip.Addr) bool {
	if within(w.allowed, a) {
		return true
	}
	if four, ok := carried(a); ok && w.own[four] {
		return false
	}
	return !w.own[a] && public(a)
}

// admits reports whether a permission for the address a can be of any use: TURN gives permissions by address alone
// (RFC 8656, section 9), the ports are judged with every packet.
func (w *world) admits(a netip.Addr, echo bool) bool {
	for at, p := range w.permits {
		if at.Addr() == a && (p.echo || !echo) {
			return true
		}
	}
	return !echo && (a == w.shown[family(a)] || w.reachable(a))
}

// surroundings keeps the world up to date.
type surroundings struct {
	listen  netip.Addr   // what clients connect to; zero when that is every address
	given   []netip.Addr // public addresses by configuration
	allowed []netip.Prefix

	now    atomic.Pointer[world]
	looked atomic.Int64 // unix milliseconds of the last look at the interfaces

	mu      sync.Mutex
	learned [2]netip.Addr
	permits map[netip.AddrPort]permit
}

// lookEvery is how old what is known of the interfaces may be when a permission or an allocation is asked for.
const lookEvery = 10 * time.Second

// fresh is the world with interfaces looked at lately.
func (e *surroundings) fresh() *world {
	if at := time.Now().UnixMilli(); at-e.looked.Load() > lookEvery.Milliseconds() {
		e.look()
	}
	return e.now.Load()
}

// look reads the addresses of this host.
func (e *surroundings) look() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.looked.Store(time.Now().UnixMilli())
	w := &world{own: map[netip.Addr]bool{}, allowed: e.allowed, permits: map[netip.AddrPort]permit{}, behind: map[netip.AddrPort]netip.AddrPort{}}
	local := interfaceAddresses()
	for _, a := range local {
		w.own[a] = true
	}
	for f := range w.shown {
		w.bind[f] = e.bindTo(f, local)
		w.shown[f] = w.bind[f]
		if e.learned[f].IsValid() {
			w.shown[f] = e.learned[f]
		}
	}
	for _, a := range slices.Backward(e.given) { // the first of each family is the one that is shown
		w.shown[family(a)], w.own[a] = a, true
		if slices.Contains(local, a) {
			w.bind[family(a)] = a
		}
	}
	for f, a := range w.shown {
		if !w.bind[f].IsValid() { // a public address of a family that this host does not have
			w.shown[f] = netip.Addr{}
		} else {
			w.own[a] = true
		}
	}
	for seen, p := range e.permits {
		w.permits[seen] = p
		w.behind[p.at] = seen
	}
	e.now.Store(w)
}

// bindTo is the address of this host from which relays of a family send: the one that clients connect to, otherwise
// the one of the default route, otherwise any that is not loopback.
func (e *surroundings) bindTo(f int, local []netip.Addr) netip.Addr {
	if e.listen.IsValid() {
		if family(e.listen) == f {
			return e.listen
		}
		if e.listen.IsLoopback() {
			return netip.Addr{} // a server for this machine alone
		}
	}
	if a := routed(f); a.IsValid() {
		return a
	}
	for _, a := range local {
		if family(a) == f && a.IsGlobalUnicast() {
			return a
		}
	}
	if f == 0 && !e.listen.IsValid() {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.Addr{}
}

func interfaceAddresses() (list []netip.Addr) {
	addresses, _ := net.InterfaceAddrs() // without them only the given ones are known, and everything private is refused anyway
	for _, a := range addresses {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				list = append(list, ip.Unmap())
			}
		}
	}
	return list
}

// routed is the address that this host uses towards the internet. Nothing is sent: connecting a UDP socket asks the
// kernel for a route, to an address that nobody has.
func routed(f int) netip.Addr {
	network, nobody := "udp4", "192.0.2.1:9"
	if f == 1 {
		network, nobody = "udp6", "[2001:db8::1]:9"
	}
	c, err := net.Dial(network, nobody)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	a := c.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap()
	if a.IsLinkLocalUnicast() || a.IsLoopback() {
		return netip.Addr{}
	}
	return a
}

// permit changes the own ports that are let through.
func (e *surroundings) permit(change func(permits map[netip.AddrPort]permit)) {
	e.mu.Lock()
	change(e.permits)
	e.mu.Unlock()
	e.look()
}

// learn notes the public address that an outside server saw, and reports whether it is news.
func (e *surroundings) learn(a netip.Addr) bool {
	e.mu.Lock()
	news := e.learned[family(a)] != a
	e.learned[family(a)] = a
	e.mu.Unlock()
	if news {
		e.look()
	}
	return news
}
