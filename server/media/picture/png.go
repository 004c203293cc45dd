package picture

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
)

// pngWalk is what the walk over a PNG remembers from chunk to chunk.
type pngWalk struct {
	*file
	*scanner
	depth, colour byte
	interlaced    bool
	transparent   bool
	iccSeen       bool // a profile was there, good or not
	data          bool // picture data began
	control       bool // acTL was there
	planned       int  // frames that acTL says
	frames        int  // frames that came
}

// pngChunks are the chunks beside the critical ones that change how a picture looks, and how long they may be. They
// must be of that length exactly unless they vary.
var pngChunks = map[string]struct {
	most   int
	varies bool
	colour bool // says what the colours mean, and holds after an encoding
}{
	"tRNS": {256, true, false}, "gAMA": {4, false, true}, "cHRM": {32, false, true}, "sRGB": {1, false, true},
	"sBIT": {4, true, false}, "pHYs": {9, false, false}, "bKGD": {6, true, false}, "cICP": {4, false, true},
}

// walkPNG goes over the chunks of a PNG. Kept are the critical ones, those that change the look, and those of an
// animation; text, times, EXIF, chunks nobody knows and what follows the end are not. Text is dropped as it lies, never
// inflated; a profile is, up to its limit.
func (f *file) walkPNG(s *scanner) error {
	p := &pngWalk{file: f, scanner: s}
	head, err := s.next(8 + 8 + 13 + 4)
	if err != nil {
		return err
	}
	if string(head[:16]) != "\x89PNG\r\n\x1a\n\x00\x00\x00\x0dIHDR" {
		return malformed("no header")
	}
	if err := p.header(head[16:29]); err != nil {
		return err
	}
	if err := f.clean.copy(0, s.pos); err != nil {
		return err
	}
	for {
		head, err := s.next(8)
		if err != nil {
			return err
		}
		n, name := u32(head), string(head[4:8])
		if n > 1<<31-1 || n+4 > s.size-s.pos {
			return short(io.EOF)
		}
		start := s.pos - 8
		if err := p.chunk(start, n, name); err != nil {
			return err
		}
		if err := s.skip(start + 12 + n - s.pos); err != nil {
			return err
		}
		if name == "IEND" {
			return p.end()
		}
	}
}

func (p *pngWalk) header(b []byte) error {
	w, h := u32(b), u32(b[4:])
	if err := p.setSize(int(min(w, maxSide+1)), int(min(h, maxSide+1))); err != nil {
		return err
	}
	p.depth, p.colour, p.interlaced = b[8], b[9], b[12] == 1
	sound := map[byte]string{0: "\x01\x02\x04\x08\x10", 2: "\x08\x10", 3: "\x01\x02\x04\x08", 4: "\x08\x10", 6: "\x08\x10"}
	if bytes.IndexByte([]byte(sound[p.colour]), p.depth) < 0 || b[10] != 0 || b[11] != 0 || b[12] > 1 {
		return malformed("%d bits of colour type %d", p.depth, p.colour)
	}
	return nil
}

func (p *pngWalk) chunk(start, n int64, name string) error {
	switch name {
	case "IDAT":
		p.data = true
	case "PLTE":
		if n > 768 || n%3 != 0 {
			return malformed("a palette of %d bytes", n)
		}
	case "IEND":
		if n != 0 {
			return malformed("an end of %d bytes", n)
		}
	case "acTL":
		if p.data || p.control || n != 8 {
			return nil // not an animation, say the decoders too
		}
		b, err := p.next(8)
		if err != nil {
			return err
		}
		p.control, p.planned = true, int(u32(b))
	case "fcTL":
		if !p.control {
			return nil
		}
		if err := p.frame(n); err != nil {
			return err
		}
	case "fdAT":
		if !p.control {
			return nil
		}
	case "iCCP":
		return p.iccp(n)
	case "eXIf":
		if n <= 1<<16 {
			b, err := p.next(int(n))
			if err != nil {
				return err
			}
			p.Orientation = orientation(b)
		}
		return nil
	default:
		known, ok := pngChunks[name]
		if !ok && name[0]&0x20 == 0 {
			return unsupported("chunk %q", name)
		}
		if !ok || n > int64(known.most) || n < int64(known.most) && !known.varies || p.data {
			return nil
		}
		if name == "tRNS" {
			p.transparent = true
		}
		if known.colour {
			b, err := p.next(int(n))
			if err != nil {
				return err
			}
			p.extra = pngChunk(p.extra, name, b)
		}
	}
	return p.clean.copy(start, 12+n)
}

// frame checks the place of a frame of an animation.
func (p *pngWalk) frame(n int64) error {
	if n != 26 {
		return malformed("frame control of %d bytes", n)
	}
	b, err := p.next(26)
	if err != nil {
		return err
	}
	w, h, x, y := u32(b[4:]), u32(b[8:]), u32(b[12:]), u32(b[16:])
	if w < 1 || h < 1 || x+w > int64(p.w) || y+h > int64(p.h) {
		return malformed("a frame beside the picture")
	}
	p.frames++
	return nil
}

// iccp inflates the profile, checks it and gives it anew, so that nothing hides beside it.
func (p *pngWalk) iccp(n int64) error {
	if p.data || p.iccSeen { // a second one is not looked at, were the first one no profile
		return nil
	}
	p.iccSeen = true
	if n > maxProfile {
		return tooLarge("a profile of %d bytes, compressed", n)
	}
	b, err := p.next(int(n))
	if err != nil {
		return err
	}
	name := bytes.IndexByte(b[:min(80, len(b))], 0)
	if name < 0 || len(b) < name+2 || b[name+1] != 0 {
		return nil
	}
	z, err := zlib.NewReader(bytes.NewReader(b[name+2:]))
	if err != nil {
		return nil
	}
	whole, err := io.ReadAll(io.LimitReader(z, maxProfile+1))
	if len(whole) > maxProfile {
		return tooLarge("a profile of more than %d MiB", maxProfile>>20)
	}
	if err != nil {
		return nil
	}
	if p.profile = checkProfile(whole); p.profile == nil {
		return nil
	}
	var out bytes.Buffer
	out.WriteString("ICC\x00\x00")
	zw := zlib.NewWriter(&out)
	_, err = zw.Write(p.profile)
	if err := errors.Join(err, zw.Close()); err != nil {
		return err
	}
	chunk := pngChunk(nil, "iCCP", out.Bytes())
	p.extra = append(p.extra, chunk...)
	return p.clean.give(chunk)
}

// pngChunk appends a chunk to b.
func pngChunk(b []byte, name string, body []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[len(b)-len(body)-4:]))
}

// end weighs what the standard library's decoder takes: it makes RGB four bytes, what may be transparent too, and an
// interlaced picture twice.
func (p *pngWalk) end() error {
	if !p.data {
		return malformed("no data")
	}
	if p.control {
		if p.frames != p.planned || p.frames == 0 {
			return malformed("%d frames, and %d are said", p.frames, p.planned)
		}
		p.Frames = p.frames
	}
	p.Alpha = p.transparent || p.colour&4 != 0
	bytes := int64(4)
	if p.colour == 3 || p.colour == 0 && !p.transparent {
		bytes = 1
	}
	if p.depth == 16 {
		bytes *= 2
	}
	p.pixels = int64(p.w) * int64(p.h) * bytes
	if p.memory = p.pixels; p.interlaced {
		p.memory += p.pixels
	}
	return nil
}
