package sfu

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// What is sent with one system call at most.
const batchSize = 64

// batch is the UDP socket as ICE gets it. Between hold and release packets gather, and leave together: one that fans out to
// a room costs one system call (sendmmsg), not one for each subscriber.
type batch struct {
	*net.UDPConn
	local  net.Addr
	sender interface {
		WriteBatch([]ipv4.Message, int) (int, error)
	}
	holders atomic.Int32

	mu    sync.Mutex
	queue *letters

	sending sync.Mutex // before mu
	spare   *letters
}

// letters are packets on their way out.
type letters struct {
	n        int
	messages [batchSize]ipv4.Message
	packets  [batchSize][receiveMTU]byte
	to       [batchSize]net.UDPAddr
	ips      [batchSize][16]byte
}

// newBatch makes a socket of the kernel gather; others stay as they are, but for their address.
func newBatch(c net.PacketConn) net.PacketConn {
	u, ok := c.(*net.UDPConn)
	if !ok {
		return standInPackets{c, standIn(c.LocalAddr())}
	}
	b := &batch{UDPConn: u, local: standIn(c.LocalAddr()), queue: newLetters(), spare: newLetters()}
	if addrPort(c.LocalAddr()).Addr().Is4() {
		b.sender = ipv4.NewPacketConn(u)
	} else {
		b.sender = ipv6.NewPacketConn(u)
	}
	return b
}

func newLetters() *letters {
	l := &letters{}
	for i := range l.messages {
		l.messages[i].Buffers = [][]byte{nil}
		l.messages[i].Addr = &l.to[i]
	}
	return l
}

type standInPackets struct {
	net.PacketConn
	local net.Addr
}

// LocalAddr implements net.PacketConn.
func (s standInPackets) LocalAddr() net.Addr { return s.local }

// LocalAddr implements net.PacketConn with the address that ICE agents know.
func (b *batch) LocalAddr() net.Addr { return b.local }

// ReadFromAddrPort implements ice.AddrPortReaderWriter.
func (b *batch) ReadFromAddrPort(p []byte) (int, netip.AddrPort, error) {
	return b.UDPConn.ReadFromUDPAddrPort(p)
}

// WriteToAddrPort implements ice.AddrPortReaderWriter. What gathers is as good as sent: an error of the kernel then means a packet
// lost, as on any line.
func (b *batch) WriteToAddrPort(p []byte, to netip.AddrPort) (int, error) {
	if b.holders.Load() == 0 || len(p) > receiveMTU {
		return b.UDPConn.WriteToUDPAddrPort(p, to)
	}
	b.mu.Lock()
	l := b.queue
	if l.n == batchSize { // somebody is about to flush
		b.mu.Unlock()
		return b.UDPConn.WriteToUDPAddrPort(p, to)
	}
	copy(l.packets[l.n][:], p)
	l.messages[l.n].Buffers[0] = l.packets[l.n][:len(p)]
	if ip := to.Addr().Unmap(); ip.Is4() {
		*(*[4]byte)(l.ips[l.n][:4]) = ip.As4()
		l.to[l.n].IP = l.ips[l.n][:4]
	} else {
		l.ips[l.n] = ip.As16()
		l.to[l.n].IP = l.ips[l.n][:]
	}
	l.to[l.n].Port, l.to[l.n].Zone = int(to.Port()), to.Addr().Zone()
	l.n++
	full := l.n == batchSize
	b.mu.Unlock()
	if full {
		b.flush()
	}
	return len(p), nil
}

// hold lets packets gather until release.
func (b *batch) hold() { b.holders.Add(1) }

// release sends what has gathered, also what others have.
func (b *batch) release() {
	b.holders.Add(-1)
	b.flush()
}

func (b *batch) flush() {
	b.sending.Lock()
	defer b.sending.Unlock()
	b.mu.Lock()
	l := b.queue
	if l.n == 0 {
		b.mu.Unlock()
		return
	}
	b.queue = b.spare
	b.mu.Unlock()
	for sent := 0; sent < l.n; {
		n, err := b.sender.WriteBatch(l.messages[sent:l.n], 0)
		if err != nil {
			n = max(n, 0) + 1 // that one is lost
		}
		sent += n
	}
	l.n = 0
	b.spare = l
}
