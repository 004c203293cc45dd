package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// xmp is the name of the box of XMP, which may hold all that EXIF does.
const xmp = "\xbe\x7a\xcf\xcb\x97\xa9\x42\xe8\x9c\x71\x99\x94\x91\xe3\xaf\xac"

// hider collects what is overwritten in an MP4.
type hider struct {
	p       *boxes
	patches []patch
}

func mp4Places(src *source) ([]patch, error) {
	h := &hider{p: &boxes{w: src.window()}}
	m := film{defaults: map[uint32]fragmentDefaults{}}
	err := h.p.each(0, src.size, 0, func(b box, whole bool) error {
		switch b.kind {
		case "moov":
			if !whole {
				return errShort
			}
			if err := m.header(h.p, b); err != nil {
				return err
			}
			return h.walk(b, 1)
		case "moof":
			if !whole {
				return nil // cut off in the last fragment, whose header has no places
			}
			if len(m.fragments) < maxFragments {
				m.fragments = append(m.fragments, b)
			}
			return h.walk(b, 1)
		case "meta", "udta", "uuid":
			if !whole {
				return errShort
			}
			return h.look(b, 0)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range m.tracks {
		if t := &m.tracks[i]; t.handler == "meta" {
			if err := h.track(&m, t); err != nil {
				return nil, err
			}
		}
	}
	if len(h.patches) > maxPatches {
		return nil, malformed("too many places")
	}
	return h.patches, nil
}

// walk looks through what may hold metadata.
func (h *hider) walk(parent box, depth int) error {
	return h.p.each(parent.body, parent.end, depth, func(b box, _ bool) error { return h.look(b, depth) })
}

func (h *hider) look(b box, depth int) error {
	switch b.kind {
	case "trak", "traf", "udta":
		return h.walk(b, depth+1)
	case "meta":
		return h.meta(b, depth+1)
	case "uuid":
		name, err := h.p.w.take(b.body-16, 16)
		if err != nil {
			return err
		}
		if string(name) == xmp {
			return h.free(b)
		}
	case "\xa9xyz", "loci", "gps ", "GPS ", "gps0", "GPS0", "XMP_", "\xa9gps", "GPMF":
		return h.free(b)
	}
	return nil
}

// free makes a box one of nothing.
func (h *hider) free(b box) error {
	body := b.body
	if b.kind == "uuid" {
		body -= 16
	}
	h.patches = append(h.patches, patch{at: b.start + 4, end: b.start + 8, head: "free"}, patch{at: body, end: b.end})
	if len(h.patches) > maxPatches {
		return malformed("too many places")
	}
	return nil
}

// meta looks at the items of a list whose names are in it, as in iTunes, or in a table of keys, as on an iPhone.
func (h *hider) meta(b box, depth int) error {
	c, err := h.p.w.peek(b.body, int(min(b.end-b.body, 12)))
	if err != nil {
		return err
	}
	if len(c) < 8 {
		return nil
	}
	if from := b.body; !bytes.Equal(c[4:8], []byte("hdlr")) { // but for QuickTime, it has a version
		b.body = from + 4
	}
	keys := map[uint32]bool{}
	return h.p.each(b.body, b.end, depth, func(b box, _ bool) error {
		switch b.kind {
		case "keys":
			return h.keys(b, keys)
		case "ilst":
			return h.p.each(b.body, b.end, depth+1, func(b box, _ bool) error {
				hide := keys[binary.BigEndian.Uint32([]byte(b.kind))] || b.kind == "\xa9xyz" || b.kind == "loci"
				if b.kind == "----" {
					c, err := h.p.w.peek(b.body, int(min(b.end-b.body, 256)))
					if err != nil {
						return err
					}
					hide = speaksOfPlace(string(c))
				}
				if hide {
					return h.free(b)
				}
				return nil
			})
		}
		return h.look(b, depth)
	})
}

// keys notes which numbers of keys mean a place.
func (h *hider) keys(b box, places map[uint32]bool) error {
	at := b.body + 8
	for n := uint32(1); b.end-at >= 8; n++ {
		c, err := h.p.w.take(at, 8)
		if err != nil {
			return err
		}
		size := int64(binary.BigEndian.Uint32(c))
		if size < 8 || size > b.end-at {
			return malformed("impossible keys")
		}
		name, err := h.p.w.take(at+8, int(min(size-8, 512)))
		if err != nil {
			return err
		}
		if speaksOfPlace(string(name)) {
			places[n] = true
		}
		at += size
		if h.p.count++; h.p.count > maxBoxes {
			return malformed("too many keys")
		}
	}
	return nil
}

// track makes a track one of nothing, and its samples zeros.
func (h *hider) track(m *film, t *track) error {
	var last *patch
	err := m.samples(h.p, t, func(x sample) error {
		end := min(x.at+int64(x.size), h.p.w.src.size)
		switch {
		case x.size == 0 || x.at >= end:
		case last != nil && last.end == x.at:
			last.end = end
		case len(h.patches) >= maxPatches:
			return errTooMany
		default:
			h.patches = append(h.patches, patch{at: x.at, end: end})
			last = &h.patches[len(h.patches)-1]
		}
		return nil
	})
	if errors.Is(err, errTooMany) {
		return malformed("too many places")
	}
	if err != nil {
		return err
	}
	return h.free(t.box)
}

// errTooMany is no ErrMalformed, which would only end the walk over the samples.
var errTooMany = errors.New("too many places")
