package picture

import (
	"encoding/binary"
	"image"
	"io"
)

// still is the part of a file that is one frame, and where that lies on the canvas.
type still struct {
	plan  plan
	at    image.Rectangle
	solid bool // lossless, and it says that nothing is transparent, whatever its pixels are
}

// webpWalk is what the walk over a WebP remembers from chunk to chunk.
type webpWalk struct {
	*file
	*scanner
	end      int64
	flags    byte
	extended bool
	animated bool // by VP8X
	anim     bool // ANIM was there
	exif     bool
	frames   int
}

// webpFrame is one picture: its bitstream, and its alpha plane if that is apart.
type webpFrame struct {
	alpha, data   piece
	lossless      bool
	packed        bool // the alpha plane is compressed
	width, height int
	transparent   bool
}

// Bits of the flags in VP8X.
const (
	webpAnimated = 0x02
	webpAlpha    = 0x10
	webpProfile  = 0x20
)

// walkWebP goes over the chunks of a WebP. Kept are the pictures, the profile and the control of an animation, with
// flags that say so; EXIF, XMP, chunks nobody knows, inside of frames too, and what follows the end are not.
func (f *file) walkWebP(s *scanner) error {
	b, err := s.next(12)
	if err != nil {
		return err
	}
	w := &webpWalk{file: f, scanner: s, end: 8 + int64(binary.LittleEndian.Uint32(b[4:]))}
	if w.end > s.size {
		return short(io.EOF)
	}
	riff := []byte("RIFF\x00\x00\x00\x00WEBP")
	if err := f.clean.give(riff); err != nil {
		return err
	}
	var only webpFrame
	for s.pos < w.end {
		p, name, err := w.chunk(w.end)
		if err != nil {
			return err
		}
		if err := w.top(&only, p, name); err != nil {
			return err
		}
		if err := s.skip(p.off + p.n - s.pos); err != nil {
			return err
		}
	}
	if !w.animated {
		if err := w.keepStill(&only); err != nil {
			return err
		}
	}
	if w.frames == 0 {
		return malformed("no picture")
	}
	f.Frames = w.frames
	w.fixFlags()
	binary.LittleEndian.PutUint32(riff[4:], uint32(f.clean.size-8))
	return nil
}

// chunk reads the head of the next chunk. The piece is its body, padded to an even length.
func (w *webpWalk) chunk(end int64) (piece, string, error) {
	b, err := w.next(8)
	if err != nil {
		return piece{}, "", err
	}
	n := int64(binary.LittleEndian.Uint32(b[4:]))
	n += n & 1
	if w.pos+n > end {
		return piece{}, "", malformed("a chunk longer than what holds it")
	}
	return piece{off: w.pos, n: n}, string(b[:4]), nil
}

// keep copies a chunk with its head.
func (w *webpWalk) keep(p piece) error { return w.clean.copy(p.off-8, p.n+8) }

func (w *webpWalk) top(only *webpFrame, p piece, name string) error {
	switch name {
	case "VP8X":
		return w.extend(p)
	case "ICCP":
		return w.iccp(p)
	case "EXIF":
		if w.exif || p.n > 1<<16 {
			return nil
		}
		b, err := w.next(int(p.n))
		if err != nil {
			return err
		}
		w.exif, w.Orientation = true, orientation(b)
	case "ANIM":
		if !w.animated || w.anim || p.n != 6 {
			return malformed("animation control")
		}
		w.anim = true
		return w.keep(p)
	case "ANMF":
		return w.frame(p)
	case "ALPH", "VP8 ", "VP8L":
		if w.animated {
			return nil // beside the animation nobody sees it
		}
		return w.bitstream(only, p, name)
	}
	return nil
}

func (w *webpWalk) extend(p piece) error {
	if w.pos != 20 || p.n != 10 {
		return malformed("VP8X of %d bytes at %d", p.n, w.pos)
	}
	b, err := w.next(10)
	if err != nil {
		return err
	}
	w.extended, w.flags = true, b[0]
	w.animated = b[0]&webpAnimated != 0
	if err := w.setSize(u24(b[4:])+1, u24(b[7:])+1); err != nil {
		return err
	}
	return w.clean.give(append([]byte("VP8X\x0a\x00\x00\x00"), b...))
}

// fixFlags makes the flags tell of what is left.
func (w *webpWalk) fixFlags() {
	if !w.extended {
		return
	}
	flags := w.flags & (webpAlpha | webpAnimated)
	if w.profile != nil {
		flags |= webpProfile
	}
	copy(w.clean.pieces[1].given[8:], []byte{flags, 0, 0, 0})
}

func (w *webpWalk) iccp(p piece) error {
	if !w.extended || w.frames > 0 || w.anim || w.profile != nil {
		return nil
	}
	if p.n > maxProfile {
		return tooLarge("a profile of %d bytes", p.n)
	}
	b, err := w.next(int(p.n))
	if err != nil {
		return err
	}
	if w.profile = checkProfile(append([]byte(nil), b...)); w.profile == nil {
		return nil
	}
	return w.clean.give(webpChunk("ICCP", w.profile))
}

// webpChunk makes a chunk.
func webpChunk(name string, body []byte) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	if b = append(b, body...); len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

// bitstream reads the head of a picture or of its alpha plane.
func (w *webpWalk) bitstream(f *webpFrame, p piece, name string) error {
	if f.data.n > 0 {
		return malformed("two pictures in one frame")
	}
	b, err := w.next(int(min(p.n, 10)))
	if err != nil {
		return err
	}
	switch {
	case name == "ALPH":
		if f.alpha.n > 0 || p.n < 2 {
			return malformed("alpha")
		}
		f.alpha, f.packed, f.transparent = p, b[0]&3 != 0, true
		return nil
	case name == "VP8L" && len(b) >= 5 && b[0] == 0x2F:
		bits := binary.LittleEndian.Uint32(b[1:])
		f.width, f.height = int(bits&0x3FFF)+1, int(bits>>14&0x3FFF)+1
		f.lossless, f.transparent = true, bits>>28&1 != 0
		f.alpha = piece{} // the format says to ignore it
	case name == "VP8 " && len(b) == 10 && string(b[3:6]) == "\x9d\x01\x2a" && b[0]&1 == 0:
		f.width, f.height = int(b[6])|int(b[7]&0x3F)<<8, int(b[8])|int(b[9]&0x3F)<<8
	default:
		return malformed("a bitstream of %d bytes", p.n)
	}
	f.data = p
	return nil
}

func (w *webpWalk) keepStill(f *webpFrame) error {
	if f.data.n == 0 {
		return malformed("no picture")
	}
	if !w.extended {
		f.alpha = piece{}
		f.transparent = f.lossless && f.transparent
		if err := w.setSize(f.width, f.height); err != nil {
			return err
		}
	} else if f.width != w.w || f.height != w.h {
		return malformed("a picture of %d by %d on %d by %d", f.width, f.height, w.w, w.h)
	}
	w.weighWebP(f, image.Rect(0, 0, f.width, f.height))
	return w.keepFrame(&w.clean, f)
}

func (w *webpWalk) keepFrame(to *plan, f *webpFrame) error {
	if f.alpha.n > 0 {
		if err := to.copy(f.alpha.off-8, f.alpha.n+8); err != nil {
			return err
		}
	}
	return to.copy(f.data.off-8, f.data.n+8)
}

// frame keeps a frame of an animation, with nothing in it but its picture.
func (w *webpWalk) frame(p piece) error {
	if !w.animated || !w.anim {
		return malformed("a frame without an animation")
	}
	if p.n < 16 {
		return malformed("a frame of %d bytes", p.n)
	}
	b, err := w.next(16)
	if err != nil {
		return err
	}
	head := append([]byte("ANMF\x00\x00\x00\x00"), b...)
	at := image.Rect(0, 0, u24(b[6:])+1, u24(b[9:])+1).Add(image.Pt(2*u24(b), 2*u24(b[3:])))
	if !at.In(image.Rect(0, 0, w.w, w.h)) {
		return malformed("a frame beside the picture")
	}
	var f webpFrame
	for w.pos < p.off+p.n {
		part, name, err := w.chunk(p.off + p.n)
		if err != nil {
			return err
		}
		if name == "ALPH" || name == "VP8 " || name == "VP8L" {
			if err := w.bitstream(&f, part, name); err != nil {
				return err
			}
		}
		if err := w.skip(part.off + part.n - w.pos); err != nil {
			return err
		}
	}
	if f.data.n == 0 || f.width != at.Dx() || f.height != at.Dy() {
		return malformed("a frame without its picture")
	}
	before := w.clean.size
	if err := w.clean.give(head); err != nil {
		return err
	}
	w.weighWebP(&f, at)
	if err := w.keepFrame(&w.clean, &f); err != nil {
		return err
	}
	binary.LittleEndian.PutUint32(head[4:], uint32(w.clean.size-before-8))
	return nil
}

// weighWebP counts a frame, and keeps the first for the decoder. Lossy, a pixel takes a byte and a half and the decoder
// holds the compressed data; lossless, it takes four, twice with a palette, and a fifth of that for the tables of the
// transforms. Besides, 2,600 sets of code tables fit in half a megabyte and take 137 MB: half the memory is for them.
func (w *webpWalk) weighWebP(f *webpFrame, at image.Rectangle) {
	if w.frames++; w.frames > 1 {
		w.Alpha = w.Alpha || f.transparent
		return
	}
	area := int64(f.width) * int64(f.height)
	whole := at == image.Rect(0, 0, w.w, w.h)
	w.Alpha = f.transparent || !whole
	const lossless = 2 * 4 * 11 / 5 // bytes, and twice for the code tables
	switch {
	case f.lossless:
		w.memory, w.pixels = lossless*area, 4*area
	case f.packed:
		w.memory, w.pixels = (lossless+3)*area, 5*area/2
	case f.alpha.n > 0:
		w.memory, w.pixels = 5*area/2, 5*area/2
	default:
		w.memory, w.pixels = 3*area/2, 3*area/2
	}
	if !f.lossless {
		w.memory += f.data.n
	}
	if !whole {
		w.pixels = 4 * int64(w.w) * int64(w.h)
		w.memory += w.pixels
	}
	w.first = still{at: at, solid: f.lossless && !f.transparent}
	vp8x := make([]byte, 10)
	vp8x[0] = webpAlpha
	putU24(vp8x[4:], f.width-1)
	putU24(vp8x[7:], f.height-1)
	size := f.data.n + 8 + 4
	head := []byte("RIFF\x00\x00\x00\x00WEBP")
	if f.alpha.n > 0 {
		head = append(head, webpChunk("VP8X", vp8x)...)
		size += 18 + f.alpha.n + 8
	}
	binary.LittleEndian.PutUint32(head[4:], uint32(size))
	// Three pieces: no plan is too long for them.
	_ = w.first.plan.give(head)
	_ = w.keepFrame(&w.first.plan, f)
}

func putU24(b []byte, v int) { b[0], b[1], b[2] = byte(v), byte(v>>8), byte(v>>16) }
