package sound

import (
	"encoding/binary"
	"errors"
)

const (
	maxBoxes     = 4 << 20 // looked at in one file
	maxDepth     = 16
	maxTracks    = 64
	maxFragments = 1 << 16
)

// box is an ISO 14496-12 box: its type, and where it and its content lie in the file.
type box struct {
	kind             string
	start, body, end int64
}

// boxes walks over boxes. All walks of one file share it, so that what is counted is counted once.
type boxes struct {
	w     *window
	count int
}

// each calls f for each box between two places. Behind the last one there may be a few bytes, which some writers leave. A
// box that reaches over the end is errShort, but for one at the top (end is the size of the file): it was cut off, and is
// given to f with whole false.
func (p *boxes) each(from, to int64, depth int, f func(b box, whole bool) error) error {
	if depth > maxDepth {
		return malformed("boxes too deep")
	}
	for at := from; to-at >= 8; {
		if p.count++; p.count > maxBoxes {
			return malformed("too many boxes")
		}
		h, err := p.w.take(at, 8)
		if err != nil {
			return err
		}
		size, head := int64(binary.BigEndian.Uint32(h)), int64(8)
		kind := string(h[4:8])
		switch size {
		case 0:
			if depth > 0 {
				return nil // the end of a list in QuickTime
			}
			size = to - at
		case 1:
			h, err := p.w.take(at+8, 8)
			if err != nil {
				return err
			}
			head = 16
			if size = int64(binary.BigEndian.Uint64(h)); size < 0 {
				size = 1 << 62
			}
		}
		if kind == "uuid" {
			head += 16
		}
		if size < head {
			return malformed("box too small")
		}
		whole := size <= to-at
		if !whole && depth > 0 {
			return errShort
		}
		b := box{kind, at, at + head, at + min(size, to-at)}
		if b.body > b.end {
			return errShort
		}
		if err := f(b, whole); errors.Is(err, errDone) {
			return nil
		} else if err != nil {
			return err
		}
		at = b.end
	}
	return nil
}

// errDone ends a walk early.
var errDone = errors.New("done")

// content returns the bytes of a box, at most n of them, and at least least.
func (p *boxes) content(b box, least, n int) ([]byte, error) {
	c, err := p.w.take(b.body, int(min(int64(n), b.end-b.body)))
	if err != nil {
		return nil, err
	}
	if len(c) < least {
		return nil, malformed(b.kind + " box too small")
	}
	return c, nil
}
