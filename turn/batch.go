package turn

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	batchSize = 32   // datagrams moved by one system call
	slotSize  = 2048 // room of one datagram, its head room included
	headRoom  = 48   // before a datagram: the largest header that is put in front of one, a Data indication with an IPv6 peer
	mtu       = slotSize - headRoom

	controlSize = 40 // one IPV6_PKTINFO, the larger of the two
)

// mmsghdr is the kernel's struct of recvmmsg(2) and sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
}

// inbox is the datagrams that one recvmmsg brought. Each lies in a slot of its own with head room before it, so that it
// is passed on without being copied.
type inbox struct {
	n       int
	hdrs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6
	control [batchSize][controlSize]byte
	slots   [batchSize][slotSize]byte
}

func newInbox() *inbox {
	b := &inbox{}
	for i := range b.hdrs {
		b.iovs[i].Base = &b.slots[i][headRoom]
		b.iovs[i].SetLen(mtu)
		b.hdrs[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&b.names[i])), Iov: &b.iovs[i], Control: &b.control[i][0]}
		b.hdrs[i].hdr.SetIovlen(1)
	}
	return b
}

// receive takes what has arrived into the slots that are free, those from the first one on, without waiting. EAGAIN says
// that nothing has.
func (b *inbox) receive(fd uintptr, first int) error {
	b.n = first
	for i := first; i < batchSize; i++ {
		b.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		b.hdrs[i].hdr.SetControllen(controlSize)
	}
	for {
		n, _, err := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&b.hdrs[first])), uintptr(batchSize-first), unix.MSG_DONTWAIT, 0, 0)
		switch err {
		case 0:
			b.n += int(n)
			return nil
		case unix.EINTR:
		default:
			return err
		}
	}
}

// size is the length of a datagram, and false when it was longer than a slot.
func (b *inbox) size(i int) (int, bool) {
	return int(b.hdrs[i].n), b.hdrs[i].hdr.Flags&unix.MSG_TRUNC == 0
}

// from is who sent a datagram, as IPv4 where it is.
func (b *inbox) from(i int) netip.AddrPort {
	name := &b.names[i]
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	if name.Family == unix.AF_INET {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		return netip.AddrPortFrom(netip.AddrFrom4(four.Addr), port)
	}
	a := netip.AddrFrom16(name.Addr).Unmap()
	if a.IsLinkLocalUnicast() && a.Is6() && name.Scope_id != 0 {
		a = a.WithZone(strconv.FormatUint(uint64(name.Scope_id), 10))
	}
	return netip.AddrPortFrom(a, port)
}

// to is the address of the host that a datagram was sent to; zero when the socket does not ask the kernel for it.
func (b *inbox) to(i int) netip.Addr {
	n := int(b.hdrs[i].hdr.Controllen)
	if n < unix.SizeofCmsghdr {
		return netip.Addr{}
	}
	control := b.control[i][:n]
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := control[unix.SizeofCmsghdr:]
	switch {
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= 16:
		return netip.AddrFrom16([16]byte(data)).Unmap()
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= 12:
		return netip.AddrFrom4([4]byte(data[8:]))
	}
	return netip.Addr{}
}

// outbox gathers datagrams for one socket at a time and sends them by one sendmmsg. What is added must stay unchanged
// until it is flushed. One goroutine uses it.
type outbox struct {
	socket  *socket
	n       int
	done    int  // of the n, sent or given up
	lost    int  // given up since the last look
	tight   bool // what is added lies close together: a long header would run over what waits
	hdrs    [batchSize]mmsghdr
	iovs    [batchSize]unix.Iovec
	names   [batchSize]unix.RawSockaddrInet6
	control [batchSize][controlSize]byte
	send    func(fd uintptr) bool
}

var outboxes = sync.Pool{New: func() any { return newOutbox() }}

func newOutbox() *outbox {
	o := &outbox{}
	for i := range o.hdrs {
		o.hdrs[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&o.names[i])), Iov: &o.iovs[i]}
		o.hdrs[i].hdr.SetIovlen(1)
	}
	o.send = o.sendNow // once, so that a flush allocates nothing
	return o
}

// add puts a datagram for to, leaving from the address via unless that is zero. It sends what waits for another socket.
func (o *outbox) add(s *socket, to netip.AddrPort, via netip.Addr, data []byte) {
	if o.socket != s || o.n == batchSize {
		o.flush()
		o.socket = s
	}
	if len(data) == 0 {
		data = noData[:]
		o.iovs[o.n].SetLen(0)
	} else {
		o.iovs[o.n].SetLen(len(data))
	}
	o.iovs[o.n].Base = &data[0]
	h := &o.hdrs[o.n].hdr
	h.Namelen = putAddress(&o.names[o.n], to, s.six)
	h.Control, h.Controllen = nil, 0
	if s.info && via.IsValid() {
		h.Control = &o.control[o.n][0]
		h.SetControllen(putInfo(&o.control[o.n], via, s.six))
	}
	o.n++
}

var noData [1]byte

// flush sends what waits. A datagram that the kernel does not take at once is lost, as it would be on a busy line:
// waiting would keep everybody else's.
func (o *outbox) flush() {
	if o.n == 0 {
		return
	}
	o.done = 0
	if o.socket.raw.Write(o.send) != nil { // closed
		o.lost += o.n - o.done
	}
	for i := range o.n {
		o.iovs[i].Base = nil
	}
	o.n, o.socket = 0, nil
}

func (o *outbox) sendNow(fd uintptr) bool {
	for o.done < o.n {
		n, _, err := unix.Syscall6(unix.SYS_SENDMMSG, fd, uintptr(unsafe.Pointer(&o.hdrs[o.done])), uintptr(o.n-o.done), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		switch err {
		case 0:
			o.done += max(int(n), 1)
		case unix.EINTR:
		default: // of the first one that waits; those behind it may go elsewhere
			o.done++
			o.lost++
		}
	}
	return true
}

// putAddress writes to in the form of a socket of IPv6 (six) or IPv4, and returns its length.
func putAddress(name *unix.RawSockaddrInet6, to netip.AddrPort, six bool) uint32 {
	if !six {
		four := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		four.Family = unix.AF_INET
		binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&four.Port))[:], to.Port())
		four.Addr = to.Addr().Unmap().As4()
		return unix.SizeofSockaddrInet4
	}
	*name = unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: to.Addr().As16()}
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(&name.Port))[:], to.Port())
	if zone := to.Addr().Zone(); zone != "" {
		scope, _ := strconv.ParseUint(zone, 10, 32)
		name.Scope_id = uint32(scope)
	}
	return unix.SizeofSockaddrInet6
}

// putInfo writes the control message that has a datagram leave from the address via, and returns its length.
func putInfo(control *[controlSize]byte, via netip.Addr, six bool) int {
	*control = [controlSize]byte{}
	header := (*unix.Cmsghdr)(unsafe.Pointer(&control[0]))
	data := control[unix.SizeofCmsghdr:]
	if six {
		header.Level, header.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
		a := via.As16()
		copy(data, a[:])
		header.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
		return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
	}
	header.Level, header.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	a := via.Unmap().As4()
	copy(data[4:], a[:])
	header.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
}

// socket is a UDP socket as the batches use it.
type socket struct {
	raw  writer
	six  bool // an IPv6 socket, which speaks to IPv4 under mapped addresses
	info bool // it is told which address of the host a datagram came to

	buffer int // bytes that may wait to be read, as far as asked for
}

// writer calls a function with a file that stays open meanwhile.
type writer interface {
	Write(fn func(fd uintptr) bool) error
}
