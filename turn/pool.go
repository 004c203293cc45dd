package turn

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pool reads what peers send to relays: one goroutine for all of them. The runtime would wake a goroutine for each, and
// each would send its one packet by a system call of its own; this way what arrives together leaves together. It waits
// in the runtime's poller for an epoll of its own.
type pool struct {
	server *Server
	file   *os.File // the epoll
	raw    syscall.RawConn
	events [128]unix.EpollEvent
	in     *inbox
	out    *outbox
}

func newPool(s *Server) (*pool, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("turn: create epoll: %w", err)
	}
	err = unix.SetNonblock(fd, true) // or the runtime would not poll it
	p := &pool{server: s, file: os.NewFile(uintptr(fd), "epoll"), in: newInbox(), out: newOutbox()}
	if err == nil {
		err = p.file.SetReadDeadline(time.Time{}) // fails when the runtime does not poll it
	}
	if err == nil {
		p.raw, err = p.file.SyscallConn()
	}
	if err != nil {
		p.file.Close()
		return nil, fmt.Errorf("turn: poll epoll: %w", err)
	}
	return p, nil
}

// add has a relay read, by its family and its place in the range of ports.
func (p *pool) add(fd, f, place int) error {
	var failed error
	err := p.raw.Control(func(ep uintptr) {
		failed = unix.EpollCtl(int(ep), unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(f<<16 | place)})
	})
	return errors.Join(err, failed)
}

// run reads until the pool is closed.
func (p *pool) run() {
	_ = p.raw.Read(func(ep uintptr) bool {
		for {
			n, err := unix.EpollWait(int(ep), p.events[:], 0)
			if n <= 0 && err != unix.EINTR {
				return false
			}
			p.read(p.events[:max(n, 0)])
		}
	})
}

func (p *pool) close() error { return p.file.Close() }

// read takes what has arrived at some relays.
func (p *pool) read(events []unix.EpollEvent) {
	w, now, first := p.server.places.now.Load(), time.Now(), 0
	for _, e := range events {
		r := p.server.relays[e.Fd>>16][e.Fd&0xFFFF].Load()
		if r == nil {
			continue // closed meanwhile
		}
		for range 4 { // then it is the turn of others; what is left is told again
			if first == batchSize {
				p.flush()
				first = 0
			}
			if r.file.receive(p.in, first) != nil {
				break
			}
			for i := first; i < p.in.n; i++ {
				p.pass(r, w, i, now)
			}
			if first = p.in.n; first < batchSize {
				break
			}
		}
	}
	p.flush()
}

// pass takes the i-th datagram to the client of a relay.
func (p *pool) pass(r *relay, w *world, i int, now time.Time) {
	n, whole := p.in.size(i)
	if !whole {
		p.server.stats.oversized.Add(1)
		return
	}
	peer := p.in.from(i)
	if seen, ok := w.behind[peer]; ok {
		peer = seen
	}
	r.arrive(peer, p.in.slots[i][:], headRoom, n, p.out, now)
}

func (p *pool) flush() {
	p.out.flush()
	p.server.stats.overflow.Add(uint64(p.out.lost))
	p.out.lost = 0
}

// file is a socket that the runtime does not know. It is not closed while somebody uses it.
type file struct {
	mu sync.RWMutex
	fd int // -1 when closed
}

// Write calls fn with the open socket.
func (f *file) Write(fn func(fd uintptr) bool) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return net.ErrClosed
	}
	fn(uintptr(f.fd))
	return nil
}

func (f *file) receive(in *inbox, first int) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if f.fd < 0 {
		return net.ErrClosed
	}
	return in.receive(uintptr(f.fd), first)
}

func (f *file) close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd := f.fd
	f.fd = -1
	return unix.Close(fd)
}

// openUDP opens a socket at an address of this host.
func openUDP(at netip.AddrPort, buffer int) (fd int, err error) {
	domain, name := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Port: int(at.Port())})
	if at.Addr().Is6() {
		domain, name = unix.AF_INET6, &unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()}
	} else {
		name.(*unix.SockaddrInet4).Addr = at.Addr().As4()
	}
	if fd, err = unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0); err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	if domain == unix.AF_INET6 {
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1)
	}
	if err == nil {
		enlarge(fd, buffer)
		err = os.NewSyscallError("bind", unix.Bind(fd, name))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// enlarge gives a socket buffers of so many bytes, or what the system allows.
func enlarge(fd, buffer int) {
	for force, plain := range map[int]int{unix.SO_RCVBUFFORCE: unix.SO_RCVBUF, unix.SO_SNDBUFFORCE: unix.SO_SNDBUF} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, buffer) != nil { // only root may go beyond the system's limit
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, plain, buffer)
		}
	}
}
