package sound

import (
	"bytes"
	"encoding/binary"
)

// extensions reads the boxes behind a description of sound: how the codec is set up.
func (t *track) extensions(p *boxes, b box, depth int) error {
	if b.body > b.end {
		return nil
	}
	return p.each(b.body, b.end, depth, func(b box, _ bool) error {
		switch b.kind {
		case "wave":
			return t.extensions(p, b, depth+1)
		case "esds":
			c, err := p.content(b, 4, 512)
			if err != nil {
				return err
			}
			t.descriptor(bytes.Clone(c[4:]))
		case "dOps":
			c, err := p.content(b, 11, 11)
			if err != nil {
				return err
			}
			t.codec, t.config, t.rate = "opus", bytes.Clone(c), opusRate
			t.channels = int(c[1])
		}
		return nil
	})
}

// descriptor reads the descriptors of ISO 14496-1 in esds: which codec, and its configuration.
func (t *track) descriptor(c []byte) {
	for len(c) >= 2 {
		tag, size, i := c[0], 0, 1
		for ; i < len(c) && i < 5; i++ {
			size = size<<7 | int(c[i]&127)
			if c[i] < 128 {
				i++
				break
			}
		}
		c = c[i:]
		skip := size
		switch tag {
		case 3: // elementary stream: its head, then descriptors
			if skip = 3; len(c) >= 3 {
				if c[2]&0x80 != 0 {
					skip += 2
				}
				if c[2]&0x40 != 0 && len(c) > skip {
					skip += 1 + int(c[skip])
				}
				if c[2]&0x20 != 0 {
					skip += 2
				}
			}
		case 4: // decoder: its head, then its configuration
			if len(c) < 13 {
				return
			}
			switch c[0] {
			case 0x40, 0x66, 0x67, 0x68:
				t.codec = "aac"
			case 0x69, 0x6B:
				t.codec = "mp3"
			}
			skip = 13
		case 5:
			t.config = c[:min(size, len(c))]
			t.aacConfig()
			return
		}
		c = c[min(skip, len(c)):]
	}
}

// aacConfig reads the AudioSpecificConfig: rate and channels, which the description of samples need not have right.
func (t *track) aacConfig() {
	if t.codec != "aac" {
		return
	}
	r := bitReader{b: t.config}
	kind := aacObject(&r)
	_, rate := aacRate(&r)
	channels := int(r.take(4))
	if kind == 5 || kind == 29 { // the rate with replicated bands; in 29 one channel carries two
		_, rate = aacRate(&r)
		if kind == 29 && channels == 1 {
			channels = 2
		}
	}
	if r.over || rate == 0 {
		return
	}
	t.rate = rate
	if channels > 0 {
		t.channels = channels
	}
	if t.channels == 7 {
		t.channels = 8
	}
}

func aacObject(r *bitReader) int {
	if kind := int(r.take(5)); kind < 31 {
		return kind
	}
	return 32 + int(r.take(6))
}

func aacRate(r *bitReader) (index, rate int) {
	if index = int(r.take(4)); index == 15 {
		return 4, int(r.take(24)) // bands as at 44.1 kHz
	}
	return index, aacRates[index]
}

// hearing returns what tells the mean square of a sample of the track, with the seconds by which it is late, or nil.
func (t *track) hearing() (hear func(packet []byte) float64, late float64, done func() bool) {
	always := func() bool { return true }
	switch t.codec {
	case "aac":
		r := bitReader{b: t.config}
		kind := aacObject(&r)
		index, rate := aacRate(&r)
		if kind != 2 && kind != 5 && kind != 29 || rate == 0 || r.over {
			return nil, 0, nil
		}
		return func(b []byte) float64 { return aacLoudness(b, index) }, 512 / float64(rate), always
	case "opus":
		v, err := newOpus(t.channels)
		if err != nil || len(t.config) < 11 || t.config[10] != 0 {
			return nil, 0, nil
		}
		l := &listener{voice: v}
		late := -float64(binary.BigEndian.Uint16(t.config[2:])) / opusRate
		if t.skip > 0 {
			late = 0 // the edit list says it
		}
		return func(b []byte) float64 { _, square := l.hear(b); return square }, late, func() bool { return l.heard }
	case "mp3":
		l := &listener{voice: &mp3Voice{}}
		return func(b []byte) float64 { _, square := l.hear(b); return square }, 0, func() bool { return l.heard }
	}
	return nil, 0, nil
}
