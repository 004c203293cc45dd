package sfu

import "time"

// Looking for bandwidth. When a subscriber wants more than the estimate allows, padding is sent besides the media, up to twice
// the estimate. When it arrives, that is proven, and the next step begins; when it does not, the line is full.
const (
	probeEvery     = 20 * time.Millisecond
	probeStep      = 800 * time.Millisecond // arrivalsOver, and what feedback takes
	probeSteps     = 5
	probeMost      = 10_000_000      // bit/s
	probePause     = 4 * time.Second // after the line was found full; twice as long each time, up to probePauseMost
	probePauseMost = time.Minute
	probePacket    = 255 // bytes of padding
)

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

// probe goes step by step until what is wanted is proven, the line is full, or the peer leaves.
func (p *Peer) probe(wanted int64) {
	full := false
	for range probeSteps {
		before := p.estimate.bits()
		if before >= wanted {
			break
		}
		rate := min(2*before, wanted*11/10, probeMost)
		if !p.fill(rate) {
			break
		}
		arrived, loss := p.estimate.arrives(time.Now())
		if full = arrived < rate*3/4 || loss > 0.05; full {
			p.estimate.proven.Store(arrived * 8 / 10)
			break
		}
		p.estimate.proven.Store(max(arrived, before))
	}
	p.estimate.probed(time.Now(), full)
}

// fill sends padding besides the media for a step, so that both have a rate; false when the peer has left.
func (p *Peer) fill(rate int64) bool {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	padding := make([]byte, probePacket)
	padding[probePacket-1] = probePacket
	began, base := time.Now(), p.video.bytes.Load()
	for {
		select {
		case <-p.done:
			return false
		case now := <-tick.C:
			passed := now.Sub(began)
			if passed > probeStep {
				return true
			}
			p.pad(int(passed.Seconds()*float64(rate)/8)-int(p.video.bytes.Load()-base), padding)
		}
	}
}

// pad sends about so many bytes of padding on whichever video can take it.
func (p *Peer) pad(room int, padding []byte) {
	sockets := &p.room.server.sockets
	sockets.hold()
	defer sockets.release()
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
