package sound

import (
	"encoding/binary"
	"errors"
	"strings"
)

// track is what the header of a film says about one track.
type track struct {
	box      box // trak
	id       uint32
	handler  string
	turned   bool // by 90 degrees, this way or that
	w, h     int  // pixels as displayed, before turning
	scale    uint32
	duration uint64 // in 1/scale seconds
	skip     int64  // what the edit list leaves out at the beginning, in 1/scale seconds

	codec          string // of the first sample description
	channels, rate int
	config         []byte // of AAC, or of Opus

	times, sizes, chunks, offsets box // tables of the samples: stts, stsz, stsc, stco or co64
}

// film is what the header says.
type film struct {
	scale     uint32
	duration  uint64 // in 1/scale seconds; 0 in a film of fragments
	turned    bool
	tracks    []track
	defaults  map[uint32]fragmentDefaults // by track
	fragments []box
}

// mp4 reads the header, wherever in the file it is, and listens to the first track of sound.
func (s *scan) mp4() error {
	p := &boxes{w: s.src.window()}
	m := film{defaults: map[uint32]fragmentDefaults{}}
	found := false
	err := p.each(0, s.src.size, 0, func(b box, whole bool) error {
		switch b.kind {
		case "moov":
			found = true
			if !whole {
				return errShort
			}
			return m.header(p, b)
		case "moof":
			if whole && len(m.fragments) < maxFragments {
				m.fragments = append(m.fragments, b)
			}
		}
		return nil
	})
	if err != nil && (!found || !errors.Is(err, ErrMalformed)) {
		return err // but what comes after the header may be damaged
	}
	if !found || len(m.tracks) == 0 {
		return malformed("no header")
	}
	var sound *track
	for i := range m.tracks {
		switch t := &m.tracks[i]; {
		case t.handler == "soun" && sound == nil:
			sound = t
		case t.handler == "vide" && s.info.VideoCodec == "" && t.codec != "":
			s.info.VideoCodec, s.info.Width, s.info.Height = t.codec, t.w, t.h
			if t.turned != m.turned {
				s.info.Width, s.info.Height = t.h, t.w
			}
		}
	}
	if sound != nil {
		s.info.Codec, s.info.Channels, s.info.SampleRate = sound.codec, sound.channels, sound.rate
		if err := s.mp4Sound(p, &m, sound); err != nil {
			return err
		}
	}
	if s.last(m.duration, uint64(m.scale)) {
		return nil
	}
	for i := range m.tracks {
		t := &m.tracks[i]
		if t.duration == 0 {
			t.duration, err = m.length(p, t)
		}
		if err != nil {
			return err
		}
		if before := s.info.Duration; s.last(t.duration, uint64(t.scale)) {
			s.info.Duration = max(before, s.info.Duration)
		}
	}
	return nil
}

// header reads moov.
func (m *film) header(p *boxes, moov box) error {
	return p.each(moov.body, moov.end, 1, func(b box, _ bool) error {
		switch b.kind {
		case "mvhd":
			c, err := p.content(b, 100, 112)
			if err != nil {
				return err
			}
			var rest []byte
			m.scale, m.duration, rest = times(c)
			m.turned = len(rest) >= 52 && turned(rest[16:])
		case "trak":
			if len(m.tracks) >= maxTracks {
				return malformed("too many tracks")
			}
			m.tracks = append(m.tracks, track{box: b})
			return m.tracks[len(m.tracks)-1].read(p, b, 2)
		case "mvex":
			return p.each(b.body, b.end, 2, func(b box, _ bool) error {
				if b.kind != "trex" || len(m.defaults) > maxTracks {
					return nil
				}
				c, err := p.content(b, 24, 24)
				if err != nil {
					return err
				}
				m.defaults[binary.BigEndian.Uint32(c[4:])] = fragmentDefaults{
					duration: binary.BigEndian.Uint32(c[12:]), size: binary.BigEndian.Uint32(c[16:]),
				}
				return nil
			})
		case "cmov":
			return malformed("compressed header")
		}
		return nil
	})
}

// times reads the scale and the duration of mvhd and mdhd, which have them at the same places. It returns what follows.
func times(c []byte) (scale uint32, duration uint64, rest []byte) {
	if c[0] == 1 {
		if len(c) < 32 {
			return 0, 0, nil
		}
		scale, duration, rest = binary.BigEndian.Uint32(c[20:]), binary.BigEndian.Uint64(c[24:]), c[32:]
	} else {
		scale, duration, rest = binary.BigEndian.Uint32(c[12:]), uint64(binary.BigEndian.Uint32(c[16:])), c[20:]
		if duration == 1<<32-1 {
			duration = 0 // unknown
		}
	}
	if duration == 1<<64-1 {
		duration = 0
	}
	return scale, duration, rest
}

// turned reports whether a matrix exchanges width and height.
func turned(matrix []byte) bool {
	at := func(i int) int64 {
		v := int64(int32(binary.BigEndian.Uint32(matrix[4*i:])))
		return max(v, -v)
	}
	return at(1) > at(0) && at(3) > at(4)
}

// read reads trak and the boxes in it.
func (t *track) read(p *boxes, parent box, depth int) error {
	return p.each(parent.body, parent.end, depth, func(b box, _ bool) error {
		switch b.kind {
		case "mdia", "minf", "stbl", "edts":
			return t.read(p, b, depth+1)
		case "tkhd":
			c, err := p.content(b, 84, 96)
			if err != nil {
				return err
			}
			id := c[12:]
			if c[0] == 1 {
				if len(c) < 96 {
					return malformed("tkhd box too small")
				}
				id, c = c[20:], c[12:]
			}
			t.id = binary.BigEndian.Uint32(id)
			t.turned = turned(c[40:])
			t.w, t.h = int(binary.BigEndian.Uint16(c[76:])), int(binary.BigEndian.Uint16(c[80:]))
		case "elst":
			return t.edits(p, b)
		case "mdhd":
			c, err := p.content(b, 20, 36)
			if err != nil {
				return err
			}
			t.scale, t.duration, _ = times(c)
		case "hdlr":
			c, err := p.content(b, 12, 12)
			if err != nil {
				return err
			}
			if t.handler == "" || t.handler == "alis" || t.handler == "url " { // QuickTime has a second one, of the data
				t.handler = string(c[8:12])
			}
		case "stsd":
			return t.descriptions(p, b, depth+1)
		case "stts":
			t.times = b
		case "stsz":
			t.sizes = b
		case "stsc":
			t.chunks = b
		case "stco", "co64":
			t.offsets = b
		}
		return nil
	})
}

// edits looks for what is left out at the beginning: the silence in front that encoders of AAC need.
func (t *track) edits(p *boxes, b box) error {
	c, err := p.content(b, 8, 8+2*20)
	if err != nil {
		return err
	}
	wide, n := c[0] == 1, binary.BigEndian.Uint32(c[4:])
	for c = c[8:]; n > 0 && len(c) >= 12; n-- {
		start, size := int64(int32(binary.BigEndian.Uint32(c[4:]))), 12
		if wide {
			if size = 20; len(c) < size {
				break
			}
			start = int64(binary.BigEndian.Uint64(c[8:]))
		}
		c = c[size:]
		if start >= 0 { // -1 is a pause
			t.skip = start
			break
		}
	}
	return nil
}

// descriptions reads the first description of samples.
func (t *track) descriptions(p *boxes, stsd box, depth int) error {
	return p.each(stsd.body+8, stsd.end, depth, func(b box, _ bool) error {
		t.codec = strings.TrimRight(b.kind, " \x00")
		if t.handler == "vide" {
			if c, err := p.content(b, 28, 28); err == nil && (t.w == 0 || t.h == 0) {
				t.w, t.h = int(binary.BigEndian.Uint16(c[24:])), int(binary.BigEndian.Uint16(c[26:]))
			}
			return errDone
		}
		if t.handler != "soun" {
			return errDone
		}
		c, err := p.content(b, 28, 64)
		if err != nil {
			return err
		}
		t.channels, t.rate = int(binary.BigEndian.Uint16(c[16:])), int(binary.BigEndian.Uint16(c[24:]))
		rest := b.body + 28
		switch version := binary.BigEndian.Uint16(c[8:]); {
		case version == 1: // of QuickTime
			rest += 16
		case version == 2 && len(c) >= 48:
			rest += 36
			t.channels = int(binary.BigEndian.Uint32(c[40:]) & 255)
		}
		if err := t.extensions(p, box{b.kind, rest, rest, b.end}, depth+1); err != nil {
			return err
		}
		return errDone
	})
}
