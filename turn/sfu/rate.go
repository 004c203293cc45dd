package sfu

import (
	"sync"
	"sync/atomic"
	"time"
)

// meter counts, and tells how fast. add may be called by anybody, roll by one goroutine.
type meter struct {
	packets, bytes atomic.Uint64
	seen           uint64
	seenPackets    uint64
	at             time.Time
	bits, pps      atomic.Int64
}

func (m *meter) add(bytes int) {
	m.packets.Add(1)
	m.bytes.Add(uint64(bytes))
}

// roll makes the rates anew from what came since the last call, smoothed over about a second; after half a second without
// anything they are 0.
func (m *meter) roll(now time.Time) {
	bytes, packets := m.bytes.Load(), m.packets.Load()
	if m.at.IsZero() {
		m.at, m.seen, m.seenPackets = now, bytes, packets
		return
	}
	took := now.Sub(m.at).Seconds()
	if took < 0.4 {
		return
	}
	bits, pps := float64(bytes-m.seen)*8/took, float64(packets-m.seenPackets)/took
	if old := m.bits.Load(); old > 0 && bits > 0 {
		bits = (bits + float64(old)) / 2
		pps = (pps + float64(m.pps.Load())) / 2
	}
	m.bits.Store(int64(bits))
	m.pps.Store(int64(pps))
	m.at, m.seen, m.seenPackets = now, bytes, packets
}

// bucket lets a number of bytes a second pass, a second's worth of them at once.
type bucket struct {
	mu    sync.Mutex
	rate  float64 // bytes a second; 0 lets everything pass
	level float64
	at    time.Time
}

func (b *bucket) pass(now time.Time, bytes int) bool {
	if b.rate == 0 {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.at.IsZero() {
		b.level = b.rate
	} else {
		b.level = min(b.rate, b.level+now.Sub(b.at).Seconds()*b.rate)
	}
	b.at = now
	if b.level < float64(bytes) {
		return false
	}
	b.level -= float64(bytes)
	return true
}
