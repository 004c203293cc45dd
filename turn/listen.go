package turn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	frontBuffer = 4 << 20 // of the kernel: 4,000 packets of a video that wait while a core is busy with something else
	relayBuffer = 1 << 20
)

// listen opens UDP and TCP on one port. A free port is chosen by TCP, and tried again when UDP has it not.
func (s *Server) listen() error {
	host, port, err := net.SplitHostPort(s.opts.Listen)
	if err != nil {
		return fmt.Errorf("turn: listen on %s: %w", s.opts.Listen, err)
	}
	for tries := 0; ; tries++ {
		listener, err := net.Listen("tcp", s.opts.Listen)
		if err != nil {
			return fmt.Errorf("turn: %w", err)
		}
		_, got, _ := net.SplitHostPort(listener.Addr().String())
		conn, raw, sock, err := listenUDP(net.JoinHostPort(host, got))
		if err == nil {
			if sock.buffer < frontBuffer {
				s.opts.Log.Info("bursts of calls will lose packets: the system allows only small buffers", "bytes", sock.buffer, "wanted", frontBuffer, "sysctl", "net.core.rmem_max")
			}
			s.listener, s.front = listener, newFront(s, conn, raw, sock)
			return nil
		}
		listener.Close()
		if port != "0" || !errors.Is(err, syscall.EADDRINUSE) || tries == 10 {
			return fmt.Errorf("turn: %w", err)
		}
	}
}

// listenUDP opens the socket for clients. It does not send to broadcast addresses.
func listenUDP(address string) (*net.UDPConn, syscall.RawConn, socket, error) {
	var sock socket
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_BROADCAST, 0) // the runtime switches it on
			enlarge(int(fd), frontBuffer)
			domain, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_DOMAIN)
			failed = errors.Join(failed, err)
			double, _ := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF) // the kernel counts its own needs in
			sock.buffer = double / 2
			sock.six = domain == unix.AF_INET6
		})
		return errors.Join(err, failed)
	}}
	pc, err := config.ListenPacket(context.Background(), "udp", address)
	if err != nil {
		return nil, nil, sock, err
	}
	conn := pc.(*net.UDPConn)
	raw, err := conn.SyscallConn()
	if err == nil && conn.LocalAddr().(*net.UDPAddr).IP.IsUnspecified() {
		// Answers must leave from the address that was asked: with several, the kernel would choose by its routes.
		sock.info = true
		level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
		if sock.six {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
		}
		var failed error
		err = raw.Control(func(fd uintptr) { failed = unix.SetsockoptInt(int(fd), level, option, 1) })
		err = errors.Join(err, failed)
	}
	if err != nil {
		conn.Close()
		return nil, nil, sock, err
	}
	sock.raw = raw
	return conn, raw, sock, nil
}

// accept takes the connections of the own port.
func (s *Server) accept() {
	for pause := time.Duration(0); ; {
		conn, err := s.listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.serve(conn, &transportTCP, true)
		case s.closed.Load():
			return
		default: // out of files, as a rule: what is open must end first
			s.opts.Log.Warn("turn: accept", "error", err)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			time.Sleep(pause)
		}
	}
}

// ServeConn takes over a connection that another listener found to speak STUN or TURN, TLS taken off. It returns at
// once. The connection is closed when there are too many, and with the server.
func (s *Server) ServeConn(conn net.Conn) {
	transport := &transportTCP
	if _, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		transport = &transportTLS
	}
	s.serve(conn, transport, false)
}

func (s *Server) serve(conn net.Conn, transport *string, ask bool) {
	tcp, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok {
		conn.Close()
		return
	}
	c := &stream{server: s, conn: conn, raw: conn, remote: tcp, addr: mustAddrPort(tcp), ask: ask, buf: make([]byte, streamBuffer), start: headRoom, end: headRoom}
	c.transport.Store(transport)
	if !s.remember(c) {
		conn.Close()
		s.stats.turnedAway.Add(1)
		return
	}
	if err := s.open(&door{server: s, stream: c}, c); err != nil {
		_ = c.Close()
		s.opts.Log.Error("turn: connection", "error", err)
	}
}

// remember notes an open connection, unless there are too many.
func (s *Server) remember(c *stream) bool {
	host := hostOf(c.addr.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() || len(s.conns) >= s.opts.Conns || s.hosts[host] >= s.opts.PerHost {
		return false
	}
	s.conns[c] = true
	s.hosts[host]++
	return true
}

func (s *Server) forget(c *stream) {
	host := hostOf(c.addr.Addr())
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.conns[c] {
		return
	}
	delete(s.conns, c)
	if s.hosts[host]--; s.hosts[host] == 0 {
		delete(s.hosts, host)
	}
}

// connections are the open ones.
func (s *Server) connections() []*stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.conns))
}

// hostOf is what counts as one host: an IPv4 address, or the network that a house has of IPv6.
func hostOf(a netip.Addr) netip.Prefix {
	bits := 64
	if a.Is4() {
		bits = 32
	}
	p, _ := a.WithZone("").Prefix(bits)
	return p
}
