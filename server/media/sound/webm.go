package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
)

// webTrack is one track of Matroska.
type webTrack struct {
	number         uint64
	kind           uint64 // 1 video, 2 sound
	codec          string // like A_OPUS
	private        []byte
	delay          uint64 // nanoseconds
	rate           float64
	channels       int
	w, h           uint64
	shownW, shownH uint64
	unit           uint64
	roll           float64 // degrees
}

// web is the state of reading one file.
type web struct {
	scale    uint64  // nanoseconds of a tick
	duration float64 // ticks, by the header
	tracks   []webTrack
	time     uint64 // of the cluster, in ticks
	end      uint64 // of the last block, in nanoseconds
	sound    *webTrack
	voice    *listener
	rate     int // of what the voice decodes
}

// webm walks over the file as if clusters and groups of blocks had no borders, which is how those of unknown size are
// read; what a live recorder writes has no other.
func (s *scan) webm() error {
	e := &elements{w: s.src.window()}
	f := web{scale: 1e6}
	err := s.segment(e, &f)
	if err != nil && (!errors.Is(err, ErrMalformed) || len(f.tracks) == 0) {
		return err // cut off or damaged further on: told as far as it goes
	}
	if len(f.tracks) == 0 {
		return malformed("no tracks")
	}
	f.show(&s.info)
	if f.voice != nil {
		s.heard = f.voice.heard
	}
	if d := f.duration * float64(f.scale); !(d >= 1) || d > float64(longest) || !s.last(uint64(d), 1e9) {
		s.last(f.end, 1e9)
	}
	return nil
}

func (s *scan) segment(e *elements, f *web) error {
	for at := int64(0); at < s.src.size; {
		el, err := e.next(at)
		if err != nil {
			return err
		}
		whole := el.end != unknownSize && el.end <= s.src.size
		switch el.id {
		case idSegment, idCluster, idGroup:
			if el.id == idCluster && !s.listen && f.duration > 0 {
				return nil
			}
			at = el.body
			continue
		case idInfo, idTracks:
			if !whole {
				return errShort
			}
			err = f.head(e, el)
			if el.id == idTracks && err == nil {
				f.choose(s.listen)
			}
		case idTime:
			f.time = e.number(el)
		case idSimple, idBlock:
			if !whole {
				return errShort
			}
			err = s.block(e, f, el)
		}
		if err != nil {
			return err
		}
		if el.end == unknownSize {
			return malformed("an element without a size")
		}
		at = el.end
	}
	return nil
}

// head reads Info, or Tracks.
func (f *web) head(e *elements, parent element) error {
	return e.each(parent.body, parent.end, func(el element) error {
		switch el.id {
		case idScale:
			if v := e.number(el); v > 0 && v <= 1e9 {
				f.scale = v
			}
		case idDuration:
			f.duration = e.float(el)
		case idTrack:
			if len(f.tracks) >= maxTracks {
				return malformed("too many tracks")
			}
			t := webTrack{rate: 8000, channels: 1}
			if err := t.read(e, el); err != nil {
				return err
			}
			f.tracks = append(f.tracks, t)
		}
		return nil
	})
}

func (t *webTrack) read(e *elements, parent element) error {
	return e.each(parent.body, parent.end, func(el element) error {
		switch el.id {
		case idAudio, idVideo, idProjection:
			return e.each(el.body, el.end, func(el element) error { return t.detail(e, el) })
		case idNumber:
			t.number = e.number(el)
		case idKind:
			t.kind = e.number(el)
		case idDelay:
			t.delay = min(e.number(el), 1e9)
		case idCodec:
			b, err := e.content(el, 64)
			if err != nil {
				return err
			}
			t.codec = strings.TrimRight(string(b), "\x00")
		case idPrivate:
			b, err := e.content(el, 256<<10)
			if err != nil {
				return err
			}
			t.private = bytes.Clone(b)
		}
		return nil
	})
}

func (t *webTrack) detail(e *elements, el element) error {
	switch el.id {
	case idRate:
		t.rate = e.float(el)
	case idChannels:
		t.channels = int(min(e.number(el), 255))
	case idWidth:
		t.w = e.number(el)
	case idHeight:
		t.h = e.number(el)
	case idShownWidth:
		t.shownW = e.number(el)
	case idShownHeight:
		t.shownH = e.number(el)
	case idShownUnit:
		t.unit = e.number(el)
	case idProjection:
		return e.each(el.body, el.end, func(el element) error { return t.detail(e, el) })
	case idRoll:
		t.roll = e.float(el)
	}
	return nil
}

// choose takes the first track of sound, and a voice for it.
func (f *web) choose(listen bool) {
	for i := range f.tracks {
		if f.tracks[i].kind == 2 && f.sound == nil {
			f.sound = &f.tracks[i]
		}
	}
	if f.sound == nil || !listen {
		return
	}
	t := f.sound
	switch t.codec {
	case "A_OPUS":
		if v, err := newOpus(t.channels); err == nil && (len(t.private) < 19 || t.private[18] == 0) {
			f.voice, f.rate = &listener{voice: v}, opusRate
		}
	case "A_VORBIS":
		if first, third, ok := xiphHeaders(t.private); ok {
			if v, err := newVorbis(first, third); err == nil && v.decoder.SampleRate() > 0 {
				f.voice, f.rate = &listener{voice: v}, v.decoder.SampleRate()
			}
		}
	}
}

// xiphHeaders takes the first and the third of three headers in one.
func xiphHeaders(b []byte) (first, third []byte, ok bool) {
	if len(b) == 0 || b[0] != 2 {
		return nil, nil, false
	}
	var sizes [2]int
	b = b[1:]
	for i := range sizes {
		for {
			if len(b) == 0 {
				return nil, nil, false
			}
			v := b[0]
			b = b[1:]
			if sizes[i] += int(v); v < 255 {
				break
			}
		}
	}
	if sizes[0]+sizes[1] > len(b) {
		return nil, nil, false
	}
	return b[:sizes[0]], b[sizes[0]+sizes[1]:], true
}

// show fills in what is told about the tracks.
func (f *web) show(info *Info) {
	if t := f.sound; t != nil {
		info.Codec = strings.ToLower(strings.TrimPrefix(t.codec, "A_"))
		if strings.HasPrefix(info.Codec, "aac") {
			info.Codec = "aac"
		}
		info.Channels, info.SampleRate = t.channels, int(max(0, min(t.rate, 1<<20)))
		if info.Codec == "opus" {
			info.SampleRate = opusRate
		}
	}
	for _, t := range f.tracks {
		if t.kind != 1 {
			continue
		}
		w, h := t.w, t.h
		if t.unit == 0 && t.shownW > 0 && t.shownH > 0 {
			w, h = t.shownW, t.shownH
		}
		if math.Abs(math.Mod(math.Round(t.roll/90), 2)) == 1 {
			w, h = h, w
		}
		info.VideoCodec, info.Width, info.Height = t.codec, int(min(w, 1<<16)), int(min(h, 1<<16))
		return
	}
}

// block reads SimpleBlock or Block: the number of the track, when it begins within the cluster, and the packets.
func (s *scan) block(e *elements, f *web, el element) error {
	b, err := e.w.peek(el.body, int(min(el.end-el.body, 16)))
	if err != nil {
		return err
	}
	number, n, _ := vint(b)
	if n == 0 || len(b) < n+3 {
		return malformed("a block too small")
	}
	at := int64(min(f.time, 1<<50)) + int64(int16(binary.BigEndian.Uint16(b[n:])))
	if at < 0 || float64(at)*float64(f.scale) > float64(longest) {
		return nil
	}
	ns := uint64(at) * f.scale
	f.end = max(f.end, ns)
	if f.sound == nil || number != f.sound.number {
		return nil
	}
	packets, err := e.packets(el, el.body+int64(n+3), b[n+2]>>1&3)
	if err != nil {
		return err
	}
	seconds := float64(ns)/1e9 - float64(f.sound.delay)/1e9
	for _, p := range packets {
		samples := 0
		if f.voice == nil {
			break
		}
		b, err := e.w.take(p.at, p.size)
		if err != nil {
			return err
		}
		if listens(seconds) {
			n, square := f.voice.hear(b)
			s.meter.add(max(0, seconds), float64(n)/float64(f.rate), square)
			samples = n
		} else {
			f.voice.leap()
			samples = f.voice.length(b)
			s.meter.skip(max(0, seconds), float64(samples)/float64(f.rate))
		}
		seconds += float64(samples) / float64(f.rate)
	}
	f.end = max(f.end, uint64(max(0, seconds)*1e9)+f.sound.delay)
	return nil
}

// packet is a part of a block.
type packet struct {
	at   int64
	size int
}

// packets splits a block into what is laced together in it (RFC 9559, section 10.3).
func (e *elements) packets(el element, at int64, lacing byte) ([]packet, error) {
	if lacing == 0 {
		return []packet{{at, int(min(el.end-at, math.MaxInt32))}}, nil
	}
	b, err := e.w.peek(at, int(min(el.end-at, 4096)))
	if err != nil {
		return nil, err
	}
	if len(b) == 0 {
		return nil, malformed("a block too small")
	}
	n, head := int(b[0])+1, b
	b = b[1:]
	sizes := make([]int, n)
	for i := range n - 1 {
		switch lacing {
		case 1: // Xiph
			for {
				if len(b) == 0 {
					return nil, malformed("a lace too short")
				}
				v := b[0]
				b = b[1:]
				if sizes[i] += int(v); v < 255 {
					break
				}
			}
		case 3: // EBML: the first size, then differences
			v, width, _ := vint(b)
			if width == 0 || v > maxTake {
				return nil, malformed("a lace too short")
			}
			b = b[width:]
			if sizes[i] = int(v); i > 0 {
				sizes[i] = sizes[i-1] + int(v) - (1<<(7*width-1) - 1)
			}
		}
	}
	at += int64(len(head) - len(b))
	if lacing == 2 { // all alike
		for i := range sizes {
			sizes[i] = int((el.end - at) / int64(n))
		}
	}
	out := make([]packet, 0, n)
	for i, size := range sizes {
		if i == n-1 {
			size = int(min(el.end-at, math.MaxInt32))
		}
		if size < 0 || int64(size) > el.end-at {
			return nil, malformed("a lace too long")
		}
		out = append(out, packet{at, size})
		at += int64(size)
	}
	return out, nil
}
