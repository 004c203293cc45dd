package sfu

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// The layers of simulcast by their rid, from the smallest to the largest; a track without simulcast has the first index alone.
const layerCount = 3

var layerOf = map[string]int{"": 0, "q": 0, "h": 1, "f": 2}

// Key frames are asked for at most this often of each layer.
const keyFrameEvery = 500 * time.Millisecond

// A layer that was silent for so long does not run: browsers stop the large ones when their line is bad.
const layerDead = time.Second

// track is what one peer publishes: a microphone, or a picture in up to three layers.
type track struct {
	id, mid   string
	peer      *Peer
	kind      webrtc.RTPCodecType
	source    Source
	codec     webrtc.RTPCodecCapability
	simulcast bool
	muted     atomic.Bool
	voice     voice // Room.mu
	limit     bucket

	layers [layerCount]atomic.Pointer[layer]

	mu    sync.Mutex // after Room.mu
	sinks atomic.Pointer[[]sink]
	ended bool
}

// sink takes the packets of a track: a subscriber or a tap. take must not keep the payload, and may change it only until it
// returns.
type sink interface {
	take(l *layer, p *packet)
	restart() // what came meanwhile was left out
	closed()  // the track has ended
}

// layer is one RTP stream of a track.
type layer struct {
	track  *track
	index  int
	ssrc   webrtc.SSRC
	cache  *cache
	in     meter
	width  atomic.Int32 // pixels, where the codec tells
	last   atomic.Int64 // unix nanoseconds of the newest packet
	level  atomic.Int32 // the loudest since the last tick, 127-level; -1 for none
	report atomic.Pointer[senderReport]

	keyMu    sync.Mutex
	keyAsked time.Time
	keyWants bool
	plis     atomic.Uint64

	lost    atomic.Int64
	dropped atomic.Uint64 // above the limit, or muted
}

// senderReport ties the timestamps of a layer to the publisher's clock.
type senderReport struct {
	ntp uint64
	rtp uint32
	at  time.Time
}

func newLayer(t *track, index int, remote *webrtc.TrackRemote) *layer {
	size := keptAudio
	if t.kind == webrtc.RTPCodecTypeVideo {
		size = keptVideo
	}
	l := &layer{track: t, index: index, ssrc: remote.SSRC(), cache: newCache(size)}
	l.level.Store(-1)
	return l
}

func (t *track) describe() Track {
	return Track{ID: t.id, Peer: t.peer.id, Kind: t.kind.String(), Source: t.source, Muted: t.muted.Load()}
}

// add gives a sink all further packets; false when the track has ended.
func (t *track) add(s sink) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	now := append(slices.Clone(t.list()), s)
	t.sinks.Store(&now)
	return true
}

func (t *track) drop(s sink) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := slices.DeleteFunc(slices.Clone(t.list()), func(o sink) bool { return o == s })
	t.sinks.Store(&now)
}

func (t *track) list() []sink {
	if all := t.sinks.Load(); all != nil {
		return *all
	}
	return nil
}

func (t *track) end() {
	t.mu.Lock()
	t.ended = true
	all := t.list()
	t.sinks.Store(nil)
	t.mu.Unlock()
	for _, s := range all {
		s.closed()
	}
}

// mute says whether packets are dropped; afterwards pictures begin with a key frame.
func (t *track) mute(muted bool) {
	if t.muted.Swap(muted) && !muted {
		for _, s := range t.list() {
			s.restart()
		}
		for i := range t.layers {
			if l := t.layers[i].Load(); l != nil {
				l.askKeyFrame(time.Now())
			}
		}
	}
}

// loudest is the level of RFC 6464 since the last call.
func (t *track) loudest() (level uint8, heard bool) {
	l := t.layers[0].Load()
	if l == nil {
		return 127, false
	}
	loud := l.level.Swap(-1)
	return uint8(127 - max(loud, 0)), loud >= 0
}

// tick measures the layers, and asks for key frames that had to wait.
func (t *track) tick(now time.Time) {
	for i := range t.layers {
		l := t.layers[i].Load()
		if l == nil {
			continue
		}
		l.in.roll(now)
		l.keyMu.Lock()
		wants := l.keyWants
		l.keyMu.Unlock()
		if wants {
			l.askKeyFrame(now)
		}
	}
}

// rates is what each layer runs at, 0 for those that do not.
func (t *track) rates(now time.Time) (rates [layerCount]int64) {
	for i := range t.layers {
		if l := t.layers[i].Load(); l != nil && now.UnixNano()-l.last.Load() < int64(layerDead) {
			rates[i] = max(l.in.bits.Load(), 1)
		}
	}
	return rates
}

// topFor is the smallest layer that fills a width, or the largest of all.
func (t *track) topFor(width int) int {
	guess := [layerCount]int{320, 640, 1280}
	for i := range t.layers {
		l := t.layers[i].Load()
		if l == nil {
			continue
		}
		has := int(l.width.Load())
		if has == 0 {
			has = guess[i]
		}
		if width > 0 && has >= width {
			return i
		}
	}
	return layerCount - 1
}

// askKeyFrame sends a PLI now, or when the last one is old enough.
func (l *layer) askKeyFrame(now time.Time) {
	if l.track.kind != webrtc.RTPCodecTypeVideo {
		return
	}
	l.keyMu.Lock()
	if now.Sub(l.keyAsked) < keyFrameEvery {
		l.keyWants = true
		l.keyMu.Unlock()
		return
	}
	l.keyAsked, l.keyWants = now, false
	l.keyMu.Unlock()
	l.plis.Add(1)
	_ = l.track.peer.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(l.ssrc)}})
}

// read takes the packets of a remote track until it ends.
func (l *layer) read(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	t := l.track
	levelID := uint8(0)
	for _, e := range receiver.GetParameters().HeaderExtensions {
		if e.URI == sdp.AudioLevelURI {
			levelID = uint8(e.ID)
		}
	}
	sockets := &t.peer.room.server.sockets
	vp8Codec := t.codec.MimeType == mimeVP8
	buf := make([]byte, receiveMTU)
	var header rtp.Header
	var p packet
	var gaps gapCounter
	for {
		n, _, err := remote.Read(buf)
		if err != nil {
			return
		}
		size, err := header.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		now := time.Now()
		l.in.add(n)
		l.last.Store(now.UnixNano())
		l.lost.Add(gaps.next(header.SequenceNumber))
		if t.muted.Load() || !t.limit.pass(now, n) {
			l.dropped.Add(1)
			continue
		}
		payload := buf[size:n]
		if header.Padding && len(payload) > 0 {
			payload = payload[:max(0, len(payload)-int(payload[len(payload)-1]))]
		}
		p = packet{seq: header.SequenceNumber, ts: header.Timestamp, marker: header.Marker, at: now, payload: payload}
		if t.kind == webrtc.RTPCodecTypeAudio {
			if levelID != 0 {
				if b := header.GetExtension(levelID); len(b) > 0 {
					l.level.Store(max(l.level.Load(), 127-int32(b[0]&0x7F)))
				}
			}
		} else if len(payload) > 0 {
			if vp8Codec {
				p.vp8 = parseVP8(payload)
				p.key = p.vp8.key
				if p.vp8.width > 0 {
					l.width.Store(int32(p.vp8.width))
				}
			} else {
				p.key = keyFrame(t.codec.MimeType, payload)
			}
		}
		if len(payload) > 0 {
			l.cache.put(&p)
		}
		sockets.hold()
		for _, s := range t.list() {
			s.take(l, &p)
		}
		sockets.release()
	}
}

// listen takes the reports of a publisher until the receiver stops.
func (l *layer) listen(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	buf := make([]byte, receiveMTU)
	for {
		var n int
		var err error
		if rid := remote.RID(); rid != "" {
			n, _, err = receiver.ReadSimulcast(buf, rid)
		} else {
			n, _, err = receiver.Read(buf)
		}
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		for _, packet := range packets {
			if sr, ok := packet.(*rtcp.SenderReport); ok && sr.SSRC == uint32(l.ssrc) {
				l.report.Store(&senderReport{sr.NTPTime, sr.RTPTime, time.Now()})
			}
		}
	}
}

// gapCounter counts what did not come, by RFC 3550: expected minus received, so that what comes late is taken off again.
type gapCounter struct {
	began bool
	high  uint16
}

func (g *gapCounter) next(seq uint16) (lost int64) {
	switch {
	case !g.began:
		g.began, g.high = true, seq
		return 0
	case newer(seq, g.high):
		lost = int64(seq-g.high) - 1
		g.high = seq
		return lost
	}
	return -1
}
