package sfu

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// Repeating what a subscriber lost.
const (
	repeatRate  = 300                   // packets a second of one track, at most
	repeatPause = 15 * time.Millisecond // the same packet is not sent again before that
)

// View is what a subscriber makes of a video: it decides, with the bandwidth, which layer is sent.
type View struct {
	Width  int  `json:"width"`  // pixels of the element that shows it, in device pixels; 0 is the best there is
	Paused bool `json:"paused"` // not shown: nothing is sent
}

// subscription is one track on its way to one peer. It implements webrtc.TrackLocal.
type subscription struct {
	track *track
	peer  *Peer
	video bool

	ssrc uint32

	mu      sync.Mutex // after everything else
	writer  webrtc.TrackLocalWriter
	usable  bool // the subscriber has the codec
	pt      uint8
	timeID  uint8 // of the extension abs-send-time, where there is no transport-wide numbering
	header  rtp.Header
	rewrite rewriter
	current int // the layer that is sent, -1 for none
	target  int // the layer that is sent from its next key frame on, -1 for a pause
	asked   time.Time
	sent    []record
	repeats bucket
	scratch []byte

	view  atomic.Pointer[View]
	out   meter
	lost  atomic.Int64
	nacks atomic.Uint64 // packets asked for again
	again atomic.Uint64 // packets sent again
	plis  atomic.Uint64
}

// record is what left under a number, so that it can be made again.
type record struct {
	full   bool
	seq    uint16
	source uint16
	layer  int8
	tl0Off uint8
	pidOff uint16
	tsOff  uint32
	again  time.Time
}

func newSubscription(t *track, p *Peer) *subscription {
	s := &subscription{track: t, peer: p, video: t.kind == webrtc.RTPCodecTypeVideo, current: -1, target: 0,
		repeats: bucket{rate: repeatRate}}
	s.rewrite.clock = t.codec.ClockRate
	s.rewrite.seq = uint16(rand.Uint32())
	s.header.Version = 2
	size := keptAudio
	if s.video {
		size, s.target = keptVideo, -1
	}
	s.sent = make([]record, size)
	s.view.Store(&View{})
	return s
}

// Bind implements webrtc.TrackLocal: from now on packets can be sent.
func (s *subscription) Bind(c webrtc.TrackLocalContext) (webrtc.RTPCodecParameters, error) {
	codecs := c.CodecParameters()
	if len(codecs) == 0 {
		return webrtc.RTPCodecParameters{}, webrtc.ErrUnsupportedCodec
	}
	chosen := codecs[0] // an error here would undo the negotiation of the other tracks
	s.mu.Lock()
	for _, codec := range codecs {
		if sameCodec(s.track.codec, codec.RTPCodecCapability) {
			chosen, s.usable = codec, true
			break
		}
	}
	numbered := false
	for _, e := range c.HeaderExtensions() {
		switch e.URI {
		case absSendTimeURI:
			s.timeID = uint8(e.ID)
		case sdp.TransportCCURI:
			numbered = true
		}
	}
	if numbered {
		s.timeID = 0
		s.peer.estimate.numbered.Store(true)
	}
	s.ssrc, s.pt, s.writer = uint32(c.SSRC()), uint8(chosen.PayloadType), c.WriteStream()
	s.mu.Unlock()
	return chosen, nil
}

// Unbind implements webrtc.TrackLocal.
func (s *subscription) Unbind(webrtc.TrackLocalContext) error {
	s.mu.Lock()
	s.writer = nil
	s.mu.Unlock()
	return nil
}

// ID implements webrtc.TrackLocal.
func (s *subscription) ID() string { return s.track.id }

// RID implements webrtc.TrackLocal.
func (s *subscription) RID() string { return "" }

// StreamID implements webrtc.TrackLocal: all tracks of a publisher are one stream, which browsers play in step.
func (s *subscription) StreamID() string { return s.track.peer.id }

// Kind implements webrtc.TrackLocal.
func (s *subscription) Kind() webrtc.RTPCodecType { return s.track.kind }

func (s *subscription) closed() { s.peer.poke() }

// aim sets the layer to send; -1 pauses.
func (s *subscription) aim(layer int, now time.Time) {
	s.mu.Lock()
	if s.target != layer {
		s.target, s.asked = layer, time.Time{}
		if layer < 0 {
			s.current = -1
		}
	}
	waits := layer >= 0 && s.current != layer && s.writer != nil && s.usable && now.Sub(s.asked) >= time.Second
	if waits {
		s.asked = now
	}
	s.mu.Unlock()
	if waits {
		if l := s.track.layers[layer].Load(); l != nil {
			l.askKeyFrame(now)
		}
	}
}

// restart begins anew after an interruption, without a gap, and with a key frame where there are any.
func (s *subscription) restart() {
	s.mu.Lock()
	s.current, s.asked = -1, time.Time{}
	s.mu.Unlock()
}

// layer is the one that is sent, or -1.
func (s *subscription) layer() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current
}

// take forwards a packet, unless it is of another layer.
func (s *subscription) take(l *layer, p *packet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || !s.usable || s.peer.away.Load() {
		return
	}
	if l.index != s.current {
		if l.index != s.target || s.video && !p.key || len(p.payload) == 0 {
			return
		}
		s.switchTo(l, p)
	}
	if len(p.payload) == 0 {
		s.rewrite.skip(p)
		return
	}
	seq, ok := s.rewrite.next(p)
	if !ok {
		return
	}
	r := record{true, seq, p.seq, int8(l.index), s.rewrite.tl0Off, s.rewrite.pidOff, s.rewrite.tsOff, time.Time{}}
	s.sent[int(seq)%len(s.sent)] = r
	s.write(&r, p)
}

// switchTo goes on with a packet of another layer, or of the same one after a pause.
func (s *subscription) switchTo(l *layer, p *packet) {
	guess, same := uint32(0), false
	if s.rewrite.began {
		last := s.sent[int(s.rewrite.seq)%len(s.sent)]
		same = last.full && int(last.layer) == l.index
		if last.full && !same {
			if from := s.track.layers[last.layer].Load(); from != nil {
				guess = aligned(from.report.Load(), l.report.Load(), p.ts, s.rewrite.clock)
				if guess != 0 {
					guess += s.rewrite.tsOff
				}
			}
		}
	}
	s.rewrite.source(p, same, guess)
	s.current = l.index
}

// aligned translates a timestamp of one layer to another's by the reports of both; 0 where one is missing.
func aligned(from, to *senderReport, ts, clock uint32) uint32 {
	if from == nil || to == nil {
		return 0
	}
	seconds := float64(int64(to.ntp-from.ntp)) / (1 << 32)
	return from.rtp + uint32(int64(seconds*float64(clock))) + ts - to.rtp
}

// write sends a packet as its record says; s.mu is held. The payload is as before when it returns.
func (s *subscription) write(r *record, p *packet) {
	h := &s.header
	h.Marker, h.PayloadType, h.SSRC = p.marker, s.pt, s.ssrc
	h.SequenceNumber, h.Timestamp = r.seq, p.ts+r.tsOff
	h.Extension, h.ExtensionProfile, h.Extensions = false, 0, h.Extensions[:0]
	if s.timeID != 0 {
		if b, err := rtp.NewAbsSendTimeExtension(time.Now()).Marshal(); err == nil {
			_ = h.SetExtension(s.timeID, b)
		}
	}
	changed := r.pidOff != 0 || r.tl0Off != 0
	if changed {
		p.vp8.put(p.payload, p.vp8.pid+r.pidOff, p.vp8.tl0+r.tl0Off)
	}
	n, err := s.writer.WriteRTP(h, p.payload)
	if changed {
		p.vp8.put(p.payload, p.vp8.pid, p.vp8.tl0)
	}
	if err == nil {
		s.out.add(n)
		s.peer.out.add(n)
		if s.video {
			s.peer.video.add(n)
		}
		s.peer.room.server.load.out.add(n)
	}
}

// pad sends a packet of nothing, which tells how much the line can bear; it returns the bytes. It can only stand between frames.
func (s *subscription) pad(payload []byte) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || !s.usable || !s.rewrite.began || !s.rewrite.marker {
		return 0
	}
	h := &s.header
	h.Marker, h.PayloadType, h.SSRC = false, s.pt, s.ssrc
	h.SequenceNumber, h.Timestamp = s.rewrite.insert(), s.rewrite.ts
	h.Extension, h.ExtensionProfile, h.Extensions = false, 0, h.Extensions[:0]
	h.Padding = true
	n, err := s.writer.WriteRTP(h, payload)
	h.Padding = false
	s.sent[int(h.SequenceNumber)%len(s.sent)].full = false
	if err != nil {
		return 0
	}
	s.peer.out.add(n)
	s.peer.video.add(n)
	s.peer.room.server.load.out.add(n)
	return n
}

// repeat sends again what was lost, if it is still kept.
func (s *subscription) repeat(seq uint16, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nacks.Add(1)
	r := &s.sent[int(seq)%len(s.sent)]
	if s.writer == nil || !r.full || r.seq != seq || now.Sub(r.again) < repeatPause || !s.repeats.pass(now, 1) {
		return
	}
	l := s.track.layers[r.layer].Load()
	if l == nil {
		return
	}
	p, ok := l.cache.copy(r.source, s.scratch)
	if !ok {
		return
	}
	s.scratch = p.payload[:0]
	if s.track.codec.MimeType == mimeVP8 {
		p.vp8 = parseVP8(p.payload)
	}
	r.again = now
	s.again.Add(1)
	s.write(r, &p)
}

// listen takes what the subscriber says of this track until the sender stops.
func (s *subscription) listen(sender *webrtc.RTPSender) {
	buf := make([]byte, receiveMTU)
	for {
		n, _, err := sender.Read(buf)
		if err != nil {
			return
		}
		packets, err := rtcp.Unmarshal(buf[:n])
		if err != nil {
			continue
		}
		now := time.Now()
		for _, packet := range packets {
			switch packet := packet.(type) {
			case *rtcp.TransportLayerNack:
				for i := range packet.Nacks {
					packet.Nacks[i].Range(func(seq uint16) bool {
						s.repeat(seq, now)
						return true
					})
				}
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				s.keyFrame(now)
			case *rtcp.ReceiverEstimatedMaximumBitrate:
				s.peer.estimate.remb.Store(int64(packet.Bitrate))
			case *rtcp.ReceiverReport:
				for _, r := range packet.Reports {
					if r.SSRC == s.ssrc {
						s.lost.Store(int64(r.TotalLost))
					}
				}
			}
		}
	}
}

func (s *subscription) keyFrame(now time.Time) {
	s.plis.Add(1)
	s.mu.Lock()
	current := s.current
	s.mu.Unlock()
	if current >= 0 {
		if l := s.track.layers[current].Load(); l != nil {
			l.askKeyFrame(now)
		}
	}
}

// report is what a subscriber needs to play the tracks of a publisher in step: its own report, in the numbers of this stream.
func (s *subscription) report(now time.Time) *rtcp.SenderReport {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.writer == nil || s.current < 0 {
		return nil
	}
	l := s.track.layers[s.current].Load()
	if l == nil {
		return nil
	}
	sr := l.report.Load()
	if sr == nil {
		return nil
	}
	passed := now.Sub(sr.at)
	return &rtcp.SenderReport{SSRC: s.ssrc, NTPTime: sr.ntp + uint64(passed.Seconds()*(1<<32)),
		RTPTime:     sr.rtp + s.rewrite.tsOff + uint32(passed.Seconds()*float64(s.rewrite.clock)),
		PacketCount: uint32(s.out.packets.Load()), OctetCount: uint32(s.out.bytes.Load())}
}
