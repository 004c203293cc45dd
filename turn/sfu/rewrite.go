package sfu

import "time"

// rewriter gives the packets of one source after another the numbers of a single stream: sequence numbers without gaps of its
// own making, timestamps that never go back, VP8 picture ids that go on. What was lost on the way to us stays a gap, so that
// a packet which comes late finds its place. It is not safe for use by several goroutines.
type rewriter struct {
	began bool
	clock uint32

	high    uint16 // the newest number of the source
	off     uint16 // a packet newer than high leaves as number - off
	bounds  [8]bound
	changes int // of off within this source; the last 8 are kept in bounds

	seq    uint16 // the newest number that left
	ts     uint32 // and the newest timestamp
	at     time.Time
	marker bool // the newest packet ended a frame

	tsOff  uint32 // timestamps leave as timestamp + tsOff
	pidOff uint16
	tl0Off uint8
	pid    uint16
	tl0    uint8
}

// bound says that packets of the source from a number on leave as number - off.
type bound struct{ from, off uint16 }

// newer tells whether a follows b, in 16 bits that wrap.
func newer(a, b uint16) bool { return int16(a-b) > 0 }

// source begins a new source, or the same one after a pause, with this packet. Timestamps go on by themselves after a pause
// (same is true); otherwise guess is the timestamp that the packet should leave with, or 0 where nobody knows.
func (w *rewriter) source(p *packet, same bool, guess uint32) {
	if !w.began {
		w.began = true
		w.ts, w.at = p.ts-1, p.at
		w.restart(p.seq)
		return
	}
	w.restart(p.seq)
	if same && int32(p.ts+w.tsOff-w.ts) > 0 {
		w.pictures(p)
		return
	}
	frame := w.clock / 30
	next := w.ts + max(frame, uint32(p.at.Sub(w.at).Seconds()*float64(w.clock)))
	if ahead := int32(guess - next); guess != 0 && int32(guess-w.ts) > 0 && ahead < int32(w.clock) && ahead > -int32(w.clock) {
		next = guess
	}
	w.tsOff = next - p.ts
	w.pictures(p)
}

func (w *rewriter) restart(seq uint16) {
	w.high, w.off = seq-1, seq-w.seq-1
	w.bounds[0], w.changes = bound{seq, w.off}, 1
}

// pictures lets the picture ids go on after the last one.
func (w *rewriter) pictures(p *packet) {
	w.pidOff = w.pid + 1 - p.vp8.pid
	w.tl0Off = w.tl0 + 1 - p.vp8.tl0
}

func (w *rewriter) change(from, off uint16) {
	w.off = off
	w.bounds[w.changes%len(w.bounds)] = bound{from, off}
	w.changes++
}

// next is the number a packet leaves with; ok is false where its place is not known any more.
func (w *rewriter) next(p *packet) (seq uint16, ok bool) {
	if newer(p.seq, w.high) {
		w.high = p.seq
		seq = p.seq - w.off
		w.seq, w.marker = seq, p.marker
		if ts := p.ts + w.tsOff; int32(ts-w.ts) > 0 {
			w.ts, w.at = ts, p.at
		}
		if p.vp8.hasPid {
			w.pid = p.vp8.pid + w.pidOff
		}
		if p.vp8.tl0At > 0 {
			w.tl0 = p.vp8.tl0 + w.tl0Off
		}
		return seq, true
	}
	for i := w.changes - 1; i >= 0 && i >= w.changes-len(w.bounds); i-- {
		if b := w.bounds[i%len(w.bounds)]; !newer(b.from, p.seq) {
			return p.seq - b.off, true
		}
	}
	return 0, false
}

// skip leaves a packet of the source out without a gap.
func (w *rewriter) skip(p *packet) {
	if newer(p.seq, w.high) {
		w.high = p.seq
		w.change(p.seq+1, w.off+1)
	}
}

// insert makes room for a packet of our own after the newest one, and gives it its number. Something must have left before.
func (w *rewriter) insert() uint16 {
	w.seq = w.high + 1 - w.off
	w.change(w.high+1, w.off-1)
	return w.seq
}
