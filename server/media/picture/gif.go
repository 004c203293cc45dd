package picture

import (
	"encoding/binary"
	"slices"
)

// gifWalk is what the walk over a GIF remembers from block to block.
type gifWalk struct {
	*file
	*scanner
	control     piece // a graphic control block that waits for its frame
	transparent bool  // it names a transparent colour
	frames      int
	loops       bool
	partial     bool // the first frame does not cover the picture
}

// walkGIF goes over the blocks of a GIF. Kept are the frames with their control blocks and how often the animation
// plays; comments, text, what applications added and what follows the end are not.
func (f *file) walkGIF(s *scanner) error {
	g := &gifWalk{file: f, scanner: s}
	b, err := s.next(13)
	if err != nil {
		return err
	}
	if v := string(b[:6]); v != "GIF87a" && v != "GIF89a" {
		return malformed("version %q", v)
	}
	if err := f.setSize(int(binary.LittleEndian.Uint16(b[6:])), int(binary.LittleEndian.Uint16(b[8:]))); err != nil {
		return err
	}
	if err := s.skip(palette(b[10])); err != nil {
		return err
	}
	if err := f.clean.copy(0, s.pos); err != nil {
		return err
	}
	for {
		b, err := s.byte()
		if err != nil {
			return err
		}
		switch b {
		case 0x21:
			err = g.extension()
		case 0x2C:
			err = g.frame()
		case 0x3B:
			return g.end()
		default:
			return malformed("block %02X", b)
		}
		if err != nil {
			return err
		}
	}
}

// palette is the size of a colour table in bytes, from the flags that announce it.
func palette(flags byte) int64 {
	if flags&0x80 == 0 {
		return 0
	}
	return 3 << (flags&7 + 1)
}

func (g *gifWalk) extension() error {
	start := g.pos - 1
	label, err := g.byte()
	if err != nil {
		return err
	}
	switch label {
	case 0xF9:
		b, err := g.next(6)
		if err != nil {
			return err
		}
		if b[0] != 4 || b[5] != 0 {
			return malformed("a control block of %d bytes", b[0])
		}
		g.control = piece{off: start, n: g.pos - start}
		g.transparent = b[1]&1 != 0
		return nil
	case 0xFF:
		n, err := g.byte()
		if err != nil {
			return err
		}
		b, err := g.next(int(n))
		if err != nil {
			return err
		}
		if !g.loops && g.frames == 0 && slices.Contains([]string{"NETSCAPE2.0", "ANIMEXTS1.0"}, string(b)) {
			return g.loop()
		}
	case 0x01:
		g.control = piece{} // it was for this text
	}
	return g.blocks()
}

// loop keeps how often the animation plays, in the one spelling that all know.
func (g *gifWalk) loop() error {
	b, err := g.next(1)
	if err != nil {
		return err
	}
	n := int(b[0])
	if b, err = g.next(n); err != nil {
		return err
	}
	if n == 3 && b[0] == 1 {
		g.loops = true
		if err := g.clean.give([]byte("\x21\xFF\x0BNETSCAPE2.0\x03\x01" + string(b[1:3]) + "\x00")); err != nil {
			return err
		}
	}
	if n == 0 {
		return nil
	}
	return g.blocks()
}

// blocks goes over data in blocks of up to 255 bytes, to the empty one.
func (g *gifWalk) blocks() error {
	for {
		n, err := g.byte()
		if err != nil || n == 0 {
			return err
		}
		if err := g.skip(int64(n)); err != nil {
			return err
		}
	}
}

func (g *gifWalk) frame() error {
	start := g.pos - 1
	b, err := g.next(9)
	if err != nil {
		return err
	}
	x, y := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	w, h := int(binary.LittleEndian.Uint16(b[4:])), int(binary.LittleEndian.Uint16(b[6:]))
	if w < 1 || h < 1 || x+w > g.w || y+h > g.h {
		return malformed("a frame beside the picture")
	}
	if g.frames++; g.frames > maxFrames {
		return tooLarge("more than %d frames", maxFrames)
	}
	if g.frames == 1 {
		g.partial = w < g.w || h < g.h
		g.Alpha = g.partial || g.transparent
	}
	if err := g.skip(palette(b[8]) + 1); err != nil {
		return err
	}
	if err := g.blocks(); err != nil {
		return err
	}
	if err := g.clean.copy(g.control.off, g.control.n); err != nil {
		return err
	}
	g.control, g.transparent = piece{}, false
	return g.clean.copy(start, g.pos-start)
}

// end weighs the first frame, one byte for a pixel, and the canvas it is laid on when it does not cover it.
func (g *gifWalk) end() error {
	if g.frames == 0 {
		return malformed("no frame")
	}
	g.Frames = g.frames
	area := int64(g.w) * int64(g.h)
	if g.pixels = area; g.partial {
		g.pixels = 4 * area
		g.memory = area
	}
	g.memory += g.pixels
	return g.clean.give([]byte{0x3B})
}
