package sfu

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// proxy is a bad line between clients and a server: it loses packets by a seeded generator, and carries only so much towards
// the client. Each client gets a socket of its own towards the server.
type proxy struct {
	t      *testing.T
	front  *net.UDPConn
	server netip.AddrPort

	mu     sync.Mutex
	random *rand.Rand
	loss   float64 // of each direction
	rate   float64 // bytes a second towards the client; 0 is unlimited
	free   time.Time
	lines  map[netip.AddrPort]*net.UDPConn
	lost   int
	passed int
	wg     sync.WaitGroup
}

// lineQueue is how long packets wait before the full line before they are lost.
const lineQueue = 300 * time.Millisecond

func newProxy(t *testing.T, server netip.AddrPort, seed uint64) *proxy {
	t.Helper()
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, front: front, server: server, random: rand.New(rand.NewPCG(seed, seed)), lines: map[netip.AddrPort]*net.UDPConn{}}
	p.wg.Go(p.towardsServer)
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() netip.AddrPort { return p.front.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *proxy) close() {
	p.front.Close()
	p.mu.Lock()
	for _, line := range p.lines {
		line.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) set(loss, bits float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loss, p.rate = loss, bits/8
}

// forget makes the clients appear from new addresses, as behind a router that was restarted.
func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for from, line := range p.lines {
		line.Close()
		delete(p.lines, from)
	}
}

func (p *proxy) loses() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.random.Float64() < p.loss {
		p.lost++
		return true
	}
	p.passed++
	return false
}

func (p *proxy) towardsServer() {
	buf := make([]byte, 2048)
	for {
		n, from, err := p.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		line := p.lines[from]
		if line == nil {
			if line, err = net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(p.server)); err != nil {
				p.mu.Unlock()
				return
			}
			p.lines[from] = line
			p.wg.Go(func() { p.towardsClient(line, from) })
		}
		p.mu.Unlock()
		if !p.loses() {
			_, _ = line.Write(buf[:n])
		}
	}
}

type waiting struct {
	due  time.Time
	data []byte
}

func (p *proxy) towardsClient(line *net.UDPConn, to netip.AddrPort) {
	queue := make(chan waiting, 4096)
	defer close(queue)
	p.wg.Go(func() {
		for w := range queue {
			if wait := time.Until(w.due); wait > 0 {
				<-time.After(wait)
			}
			_, _ = p.front.WriteToUDPAddrPort(w.data, to)
		}
	})
	buf := make([]byte, 2048)
	for {
		n, err := line.Read(buf)
		if err != nil {
			return
		}
		if p.loses() {
			continue
		}
		now := time.Now()
		due := now
		p.mu.Lock()
		if p.rate > 0 {
			due = p.free
			if due.Before(now) {
				due = now
			}
			if due.Sub(now) > lineQueue {
				p.lost++
				p.mu.Unlock()
				continue
			}
			due = due.Add(time.Duration(float64(n) / p.rate * float64(time.Second)))
			p.free = due
		}
		p.mu.Unlock()
		queue <- waiting{due, append([]byte(nil), buf[:n]...)}
	}
}
