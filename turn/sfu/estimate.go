package sfu

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/interceptor/pkg/cc"
)

// Looking for bandwidth. The estimate rises only as far as something is sent, so when it is too small for what a subscriber
// wants, padding is sent besides, as much as the estimate says there is room for.
const (
	probeEvery     = 20 * time.Millisecond
	probeFor       = 10 * time.Second
	probePause     = 5 * time.Second // after the line was found full; twice as long each time, up to probePauseMost
	probePauseMost = time.Minute
	probePacket    = 255 // bytes of padding
)

// estimate is what the line of one subscriber can bear.
type estimate struct {
	estimator cc.BandwidthEstimator
	numbered  atomic.Bool  // the client numbers packets across all streams: its feedback feeds the estimator
	remb      atomic.Int64 // bit/s; what a client says that does not

	mu      sync.Mutex
	probing bool
	next    time.Time
	pause   time.Duration
}

// bits is the estimate in bit/s.
func (e *estimate) bits() int64 {
	if e.numbered.Load() {
		return int64(e.estimator.GetTargetBitrate())
	}
	if r := e.remb.Load(); r > 0 {
		return r
	}
	return startEstimate
}

// mayProbe tells whether it is time, and takes the turn.
func (e *estimate) mayProbe(now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.probing || now.Before(e.next) || !e.numbered.Load() {
		return false
	}
	e.probing = true
	return true
}

// probed ends a probe. One that found the line full makes the next one wait longer.
func (e *estimate) probed(now time.Time, full bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.probing = false
	if full {
		e.pause = min(max(2*e.pause, probePause), probePauseMost)
	} else {
		e.pause = 0
	}
	e.next = now.Add(max(e.pause, time.Second))
}

// probe sends padding until the estimate reaches what is wanted, falls, or time is up.
func (p *Peer) probe(wanted int64) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	padding := make([]byte, probePacket)
	padding[probePacket-1] = probePacket
	began := time.Now()
	last, base := began, p.out.bytes.Load()
	allowed := 0.0 // bytes since it began
	best := int64(0)
	for {
		select {
		case <-p.done:
			p.estimate.probed(time.Now(), false)
			return
		case now := <-tick.C:
			bits := p.estimate.bits()
			best = max(best, bits)
			if full := bits < best*9/10; full || bits >= wanted || now.Sub(began) > probeFor {
				p.estimate.probed(now, full)
				return
			}
			second := float64(bits) / 8
			used := float64(p.out.bytes.Load() - base)
			allowed += now.Sub(last).Seconds() * second
			allowed = max(used-second/5, min(used+second/20, allowed)) // neither debts nor savings grow old
			last = now
			p.pad(int(allowed-used), padding)
		}
	}
}

// pad sends about so many bytes of padding on whichever video can take it.
func (p *Peer) pad(room int, padding []byte) {
	for _, s := range p.videos() {
		for room > 0 {
			n := s.pad(padding)
			if n == 0 {
				break
			}
			room -= n
		}
	}
}
