package picture

import "io"

// heifWalk is what the walk over a HEIC or AVIF remembers: the boxes at the top, and the items that meta describes.
type heifWalk struct {
	*file
	*scanner
	boxes   []heifBox
	meta    []byte // the meta box, with what is to go overwritten
	metaAt  int    // its index in boxes
	items   map[uint64]*heifItem
	primary uint64
}

type heifBox struct {
	kind      string
	off, body int64 // of its head and of its body
	end       int64
}

// heifItem is a picture, a part of one, or something about one.
type heifItem struct {
	kind    string
	extents []span // in the file
	inMeta  []span // in the body of idat
	props   []int  // numbers of properties, from 1
}

// span is a range of bytes.
type span struct{ from, to int64 }

// heifPictures are the kinds of items that are pictures or are made of some. All others are metadata, or will be one day.
var heifPictures = []string{"hvc1", "hev1", "lhv1", "av01", "avc1", "vvc1", "j2k1", "jpeg", "unci", "grid", "iovl", "iden", "tmap"}

// walkHEIF goes over the boxes of a HEIC or AVIF. Since everything is found by its place in the file, nothing moves: the
// pictures stay where they are, and all other bytes of the media data become zeros, as do items that are not pictures and
// boxes nobody needs; at the end of the file those are cut off. A file that cannot be followed is ErrMalformed; one with
// a movie in it, ErrUnsupported.
func (f *file) walkHEIF(s *scanner) error {
	h := &heifWalk{file: f, scanner: s, metaAt: -1}
	if err := h.top(); err != nil {
		return err
	}
	if h.metaAt < 0 {
		return malformed("no meta box")
	}
	if err := h.readMeta(); err != nil {
		return err
	}
	kept := h.pictureSpans(func(i *heifItem) []span { return i.extents })
	f.pixels = 2 * int64(f.w) * int64(f.h) // for those who look at it; decodeHEIF knows what ours takes
	f.memory = f.pixels
	return h.assemble(kept)
}

// top lists the boxes of the file and finds out of what kind it is.
func (h *heifWalk) top() error {
	for h.pos < h.size {
		b := heifBox{off: h.pos}
		if h.metaAt >= 0 && h.size-h.pos < 16 {
			break // no box that matters
		}
		head, err := h.next(8)
		if err != nil {
			return err
		}
		n := u32(head)
		b.kind = string(head[4:8])
		switch n {
		case 0:
			n = h.size - b.off
		case 1:
			if head, err = h.next(8); err != nil {
				return err
			}
			c := cursor{b: head}
			n = int64(min(c.number(8), 1<<62))
		}
		b.body, b.end = h.pos, b.off+n
		if b.end < b.body || b.end > h.size {
			if h.metaAt >= 0 {
				break // something behind the picture, not even boxes; or the pictures, which assemble misses then
			}
			return short(io.EOF)
		}
		if len(h.boxes) == 0 {
			if err := h.brand(b); err != nil {
				return err
			}
		}
		switch {
		case b.kind == "moov" || b.kind == "moof":
			return unsupported("a sequence of pictures")
		case b.kind == "meta" && h.metaAt >= 0:
			return malformed("two meta boxes")
		case b.kind == "meta":
			h.metaAt = len(h.boxes)
			if err := h.loadMeta(b); err != nil {
				return err
			}
		}
		if h.boxes = append(h.boxes, b); len(h.boxes) > 1024 {
			return malformed("more than 1024 boxes")
		}
		if err := h.skip(b.end - h.pos); err != nil {
			return err
		}
	}
	return nil
}

// brand reads what the file says it is.
func (h *heifWalk) brand(b heifBox) error {
	if n := b.end - b.body; n < 8 || n > 1024 {
		return malformed("ftyp of %d bytes", n)
	}
	body, err := h.next(int(b.end - b.body))
	if err != nil {
		return err
	}
	heic, avif := false, false
	for i := 0; i+4 <= len(body); i += 4 {
		switch string(body[i : i+4]) {
		case "heic", "heix", "heim", "heis", "mif1", "mif2":
			heic = true
		case "avif":
			avif = true
		}
	}
	switch {
	case avif:
		h.Format = AVIF
	case heic:
		h.Format = HEIC
	default:
		return unsupported("brand %q", body[:4])
	}
	return nil
}

func (h *heifWalk) loadMeta(b heifBox) error {
	const most = 4 << 20 // some kilobytes are usual
	if b.end-b.off > most {
		return tooLarge("meta box of %d bytes", b.end-b.off)
	}
	if _, err := h.src.Seek(b.off, io.SeekStart); err != nil {
		return err
	}
	h.buf.Reset(h.src)
	h.pos = b.off
	body, err := h.next(int(b.end - b.off))
	if err != nil {
		return err
	}
	h.meta = append([]byte(nil), body...)
	return nil
}

// assemble plans the file: the boxes as they are, with everything in mdat that is no picture overwritten.
func (h *heifWalk) assemble(kept []span) error {
	last := 0
	for i, b := range h.boxes {
		if b.kind == "mdat" || b.kind == "meta" {
			last = i
		}
	}
	inside := 0
	for i, b := range h.boxes[:last+1] {
		var err error
		switch {
		case b.kind == "ftyp" && i == 0:
			err = h.clean.copy(b.off, b.end-b.off)
		case b.kind == "meta":
			err = h.clean.give(h.meta)
		case b.kind == "mdat":
			var n int
			n, err = h.media(b, kept)
			inside += n
		default:
			head := heifFree(b.body-b.off, b.end-b.off)
			if err = h.clean.give(head); err == nil {
				err = h.clean.blank(b.end - b.body)
			}
		}
		if err != nil {
			return err
		}
	}
	if inside != len(kept) {
		return malformed("a picture outside of the media data")
	}
	return nil
}

// heifFree is the head of a box that holds nothing.
func heifFree(n, size int64) []byte {
	if n == 16 {
		return []byte{0, 0, 0, 1, 'f', 'r', 'e', 'e', byte(size >> 56), byte(size >> 48), byte(size >> 40), byte(size >> 32),
			byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)}
	}
	return []byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size), 'f', 'r', 'e', 'e'}
}

// media plans a box of media data, and counts the pieces of pictures that lie in it.
func (h *heifWalk) media(b heifBox, kept []span) (n int, err error) {
	if err := h.clean.copy(b.off, b.body-b.off); err != nil {
		return 0, err
	}
	at := b.body
	for _, e := range kept {
		if e.from < b.body || e.to > b.end {
			continue
		}
		n++
		if e.to <= at {
			continue // a picture that two items share
		}
		if e.from > at {
			if err := h.clean.blank(e.from - at); err != nil {
				return 0, err
			}
			at = e.from
		}
		if err := h.clean.copy(at, e.to-at); err != nil {
			return 0, err
		}
		at = e.to
	}
	return n, h.clean.blank(b.end - at)
}
