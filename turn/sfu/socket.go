package sfu

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"syscall"

	"github.com/pion/ice/v4"
	"golang.org/x/net/netutil"
)

// What the sockets hold at most.
const (
	socketBuffer = 4 << 20 // of the kernel, in each direction of the UDP socket
	tcpConns     = 4096    // at a time
	tcpQueue     = 1 << 20 // bytes that wait for one slow TCP client; what comes on top is lost, as on a full line
	tcpRead      = 64      // packets that wait to be read from one
	maxLocal     = 8       // addresses of this machine that clients are told
)

// The addresses that ICE agents are told they have. What clients are told is our own list (candidates), so an agent needs
// only one of each family, whatever interfaces come and go.
var (
	standIn4 = net.IPv4(127, 0, 0, 1).To4()
	standIn6 = net.IPv6loopback
)

func isStandIn(ip net.IP) bool { return ip.Equal(standIn4) || ip.Equal(standIn6) }

// sockets are all that a server listens on.
type sockets struct {
	udp     []net.PacketConn
	tcp     []net.Listener
	batches []*batch // of udp
}

// hold lets what is sent gather until release.
func (s *sockets) hold() {
	for _, b := range s.batches {
		b.hold()
	}
}

func (s *sockets) release() {
	for _, b := range s.batches {
		b.release()
	}
}

// open listens on an address by UDP and TCP and takes over the given sockets. When it fails nothing stays open.
func open(listen string, udp []net.PacketConn, tcp []net.Listener) (s sockets, err error) {
	s.udp, s.tcp = slices.Clone(udp), slices.Clone(tcp)
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if listen != "" {
		if err := s.listen(listen); err != nil {
			return s, err
		}
	}
	if len(s.udp)+len(s.tcp) == 0 {
		return s, errors.New("neither an address to listen on nor a socket is given")
	}
	return s, nil
}

// listen opens the same port for both families and both protocols. A port that the system chose for one of them may be taken
// for another: then it chooses again.
func (s *sockets) listen(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return fmt.Errorf("listen for media: %w", err)
	}
	tries := 1
	if port == "0" {
		tries = 20
	}
	for range tries {
		var opened sockets
		if opened, err = listenBoth(host, port); err == nil {
			s.udp, s.tcp = append(s.udp, opened.udp...), append(s.tcp, opened.tcp...)
			return nil
		}
		_ = opened.close()
	}
	return fmt.Errorf("listen for media: %w", err)
}

func listenBoth(host, port string) (s sockets, err error) {
	families := []string{"4", "6"}
	if ip, err := netip.ParseAddr(host); err == nil && ip.Is4() {
		families = families[:1]
	} else if err == nil {
		families = families[1:]
	}
	for i, family := range families {
		udp, err := net.ListenPacket("udp"+family, net.JoinHostPort(host, port))
		if err != nil {
			if i > 0 && host == "" && noFamily(err) {
				continue
			}
			return s, err
		}
		s.udp = append(s.udp, udp)
		if port == "0" {
			port = strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port)
		}
		tcp, err := net.Listen("tcp"+family, net.JoinHostPort(host, port))
		if err != nil {
			return s, err
		}
		s.tcp = append(s.tcp, tcp)
	}
	return s, nil
}

// noFamily tells that this machine has no addresses of a family.
func noFamily(err error) bool {
	return errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EADDRNOTAVAIL)
}

func (s *sockets) close() error {
	var errs []error
	for _, c := range s.udp {
		errs = append(errs, ignoreClosed(c.Close()))
	}
	for _, l := range s.tcp {
		errs = append(errs, ignoreClosed(l.Close()))
	}
	return errors.Join(errs...)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// mux hands the sockets to ICE.
func (s *sockets) mux(log logger) (*ice.MultiUDPMuxDefault, *ice.MultiTCPMuxDefault) {
	var udp []ice.UDPMux
	for _, c := range s.udp {
		if b, ok := c.(interface {
			SetReadBuffer(int) error
			SetWriteBuffer(int) error
		}); ok { // less than asked for is all right: the kernel has a limit of its own
			_ = b.SetReadBuffer(socketBuffer)
			_ = b.SetWriteBuffer(socketBuffer)
		}
		conn := newBatch(c)
		if b, ok := conn.(*batch); ok {
			s.batches = append(s.batches, b)
		}
		udp = append(udp, ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: conn, Logger: log.NewLogger("ice")}))
	}
	var tcp []ice.TCPMux
	for _, l := range s.tcp {
		tcp = append(tcp, ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: standInListener{netutil.LimitListener(l, tcpConns)},
			Logger: log.NewLogger("ice"), ReadBufferSize: tcpRead, WriteBufferSize: tcpQueue}))
	}
	return ice.NewMultiUDPMuxDefault(udp...), ice.NewMultiTCPMuxDefault(tcp...)
}

// standIn is an address with its host replaced by the one that ICE agents know.
func standIn(a net.Addr) net.Addr {
	pick := func(ip net.IP) net.IP {
		if ip.To4() != nil {
			return standIn4
		}
		return standIn6
	}
	switch a := a.(type) {
	case *net.UDPAddr:
		return &net.UDPAddr{IP: pick(a.IP), Port: a.Port}
	case *net.TCPAddr:
		return &net.TCPAddr{IP: pick(a.IP), Port: a.Port}
	}
	return a
}

type standInListener struct{ net.Listener }

func (l standInListener) Addr() net.Addr { return standIn(l.Listener.Addr()) }

func (l standInListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return standInConn{c, standIn(c.LocalAddr())}, nil
}

// standInConn is a connection that came to the address which ICE agents know.
type standInConn struct {
	net.Conn
	local net.Addr
}

func (c standInConn) LocalAddr() net.Addr { return c.local }

// candidate is one address that clients are told.
type candidate struct {
	at       netip.AddrPort
	tcp      bool
	priority uint32
}

func (c candidate) String() string {
	foundation := c.at.Addr().String() + "/udp"
	protocol, tail := "udp", ""
	if c.tcp {
		foundation, protocol, tail = c.at.Addr().String()+"/tcp", "tcp", " tcptype passive"
	}
	return fmt.Sprintf("a=candidate:%d 1 %s %d %s %d typ host%s", checksum(foundation), protocol, c.priority, c.at.Addr(), c.at.Port(), tail)
}

// checksum makes a foundation of at most 32 characters (RFC 8839).
func checksum(s string) uint32 {
	h := uint32(2166136261)
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h
}

// candidates are all addresses that reach the sockets now: the public ones first, UDP before TCP.
func (s *sockets) candidates(public []netip.Addr) []candidate {
	var all []candidate
	add := func(local net.Addr, tcp bool, typePreference uint32) {
		at := addrPort(local)
		for i, ip := range reachable(at.Addr(), public) {
			c := candidate{netip.AddrPortFrom(ip, at.Port()), tcp, typePreference<<24 | uint32(65535-i)<<8 | 255}
			if !slices.ContainsFunc(all, func(o candidate) bool { return o.at == c.at && o.tcp == c.tcp }) {
				all = append(all, c)
			}
		}
	}
	for _, c := range s.udp {
		add(c.LocalAddr(), false, 126)
	}
	for _, l := range s.tcp {
		add(l.Addr(), true, 90)
	}
	return all
}

func addrPort(a net.Addr) netip.AddrPort {
	var at netip.AddrPort
	switch a := a.(type) {
	case *net.UDPAddr:
		at = a.AddrPort()
	case *net.TCPAddr:
		at = a.AddrPort()
	}
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// reachable lists the addresses by which a socket bound to one can be reached.
func reachable(bound netip.Addr, public []netip.Addr) []netip.Addr {
	var found, loopback []netip.Addr
	for _, ip := range public {
		if ip = ip.Unmap(); ip.Is4() == bound.Is4() {
			found = append(found, ip)
		}
	}
	if !bound.IsUnspecified() {
		return append(found, bound)
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return found
	}
	local := 0
	for _, a := range addresses {
		prefix, err := netip.ParsePrefix(a.String())
		ip := prefix.Addr().Unmap()
		switch {
		case err != nil, ip.Is4() != bound.Is4(), ip.IsLinkLocalUnicast(), slices.Contains(found, ip):
		case ip.IsLoopback():
			loopback = append(loopback, ip)
		case local < maxLocal:
			found, local = append(found, ip), local+1
		}
	}
	if len(found) == 0 {
		return loopback
	}
	return found
}
