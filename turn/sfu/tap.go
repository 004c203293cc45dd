package sfu

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/webrtc/v4"
)

// Packet is one RTP packet of a tapped track. Sequence numbers and timestamps are those of a single stream, also when the
// layer of simulcast changes, which it does at key frames; gaps are packets that were lost on the way to us, or by the tap.
type Packet struct {
	At        time.Time // when it came
	Seq       uint16
	Timestamp uint32 // of the codec's clock
	Marker    bool
	Key       bool   // a picture that needs no other begins here; always true of audio
	Payload   []byte // belongs to the reader
}

// Tap reads one track beside its subscribers. It holds at most as many packets as it was given room for: when they are not read
// in time, newer ones are lost, and the call goes on.
type Tap struct {
	about Track
	codec webrtc.RTPCodecCapability
	track *track
	queue chan Packet
	ended chan struct{}
	once  sync.Once
	lost  atomic.Uint64

	mu      sync.Mutex
	rewrite rewriter
	current int // the layer, or -1
	before  int // the last one
	asked   time.Time
}

// Tap begins to read a track, with room for so many packets (1,000 is 20 s of audio, 5 s of video). Muted tracks give nothing
// while they are muted. ErrNotFound says that there is no such track.
func (r *Room) Tap(trackID string, room int) (*Tap, error) {
	r.mu.Lock()
	t := r.tracks[trackID]
	r.mu.Unlock()
	if t == nil {
		return nil, fmt.Errorf("tap %s: %w", trackID, ErrNotFound)
	}
	tap := &Tap{about: t.describe(), codec: t.codec, track: t, queue: make(chan Packet, max(1, room)), ended: make(chan struct{}), current: -1, before: -1}
	tap.rewrite.clock = t.codec.ClockRate
	if !t.add(tap) {
		return nil, fmt.Errorf("tap %s: %w", trackID, ErrNotFound)
	}
	return tap, nil
}

// Track is what is tapped.
func (t *Tap) Track() Track { return t.about }

// Codec is the track's, such as audio/opus or video/VP8, with its clock in Hz.
func (t *Tap) Codec() webrtc.RTPCodecCapability { return t.codec }

// Lost is how many packets the tap lost because they were not read in time.
func (t *Tap) Lost() uint64 { return t.lost.Load() }

// Read waits for the next packet. io.EOF says that the track or the tap has ended.
func (t *Tap) Read(ctx context.Context) (Packet, error) {
	select {
	case p := <-t.queue:
		return p, nil
	default:
	}
	select {
	case p := <-t.queue:
		return p, nil
	case <-t.ended:
		select {
		case p := <-t.queue:
			return p, nil
		default:
			return Packet{}, io.EOF
		}
	case <-ctx.Done():
		return Packet{}, ctx.Err()
	}
}

// AskKeyFrame asks the publisher for a picture that needs no other, at most twice a second.
func (t *Tap) AskKeyFrame() {
	for i := len(t.track.layers) - 1; i >= 0; i-- {
		if l := t.track.layers[i].Load(); l != nil {
			l.askKeyFrame(time.Now())
			return
		}
	}
}

// Close ends the tap. What is in the queue can still be read.
func (t *Tap) Close() {
	t.track.drop(t)
	t.closed()
}

func (t *Tap) restart() {
	t.mu.Lock()
	t.current = -1
	t.mu.Unlock()
}

func (t *Tap) closed() { t.once.Do(func() { close(t.ended) }) }

// take follows the best layer that runs.
func (t *Tap) take(l *layer, p *packet) {
	t.mu.Lock()
	defer t.mu.Unlock()
	video := t.track.kind == webrtc.RTPCodecTypeVideo
	if l.index != t.current {
		if len(p.payload) == 0 || l.index < t.current && t.runs(p.at) {
			return
		}
		if video && !p.key {
			if p.at.Sub(t.asked) > 2*time.Second {
				t.asked = p.at
				l.askKeyFrame(p.at)
			}
			return
		}
		t.rewrite.source(p, l.index == t.before, 0)
		t.current, t.before = l.index, l.index
	}
	if len(p.payload) == 0 {
		t.rewrite.skip(p)
		return
	}
	seq, ok := t.rewrite.next(p)
	if !ok {
		return
	}
	out := Packet{At: p.at, Seq: seq, Timestamp: p.ts + t.rewrite.tsOff, Marker: p.marker, Key: p.key || !video,
		Payload: append([]byte(nil), p.payload...)}
	p.vp8.put(out.Payload, p.vp8.pid+t.rewrite.pidOff, p.vp8.tl0+t.rewrite.tl0Off)
	select {
	case t.queue <- out:
	default:
		t.lost.Add(1)
	}
}

// runs tells whether the layer that is tapped still comes.
func (t *Tap) runs(now time.Time) bool {
	if t.current < 0 {
		return false
	}
	l := t.track.layers[t.current].Load()
	return l != nil && now.UnixNano()-l.last.Load() < int64(layerDead)
}
