package picture

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
)

// jpegWalk is what the walk over a JPEG remembers from segment to segment.
type jpegWalk struct {
	*file
	*scanner
	frame      bool // the frame header was there
	prog       bool
	comps      []jpegComponent
	rgb        bool // the colours are not YCbCr
	scans      int
	ahead      byte // the marker that ended a scan
	exif       bool
	jfif       bool
	iccs       [][]byte // the pieces of the profile, by their number
	iccSize    int
	iccDamaged bool
}

type jpegComponent struct{ id, h, v int }

// walkJPEG goes over the segments and scans of a JPEG. Kept are those that a decoder needs, JFIF without its thumbnail,
// the colour transform (Adobe) and the profile; all other APP segments, comments, and whatever lies between segments or
// behind the end is not.
func (f *file) walkJPEG(s *scanner) error {
	j := &jpegWalk{file: f, scanner: s}
	if _, err := s.next(2); err != nil {
		return err
	}
	if err := f.clean.copy(0, 2); err != nil {
		return err
	}
	for {
		marker, err := j.marker()
		if err != nil {
			return err
		}
		switch marker {
		case 0xD9: // EOI
			if j.scans == 0 {
				return malformed("no scan")
			}
			j.weighJPEG()
			return f.clean.give([]byte{0xFF, 0xD9})
		case 0xD8:
			return malformed("a second start")
		case 0x01, 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7: // stray, and without a length
			continue
		}
		if err := j.segment(marker); err != nil {
			return err
		}
	}
}

// marker finds the next marker; what lies before it is nobody's.
func (j *jpegWalk) marker() (byte, error) {
	if b := j.ahead; b != 0 {
		j.ahead = 0
		return b, nil
	}
	for {
		b, err := j.byte()
		if err != nil {
			return 0, err
		}
		for b == 0xFF {
			if b, err = j.byte(); err != nil {
				return 0, err
			}
			if b != 0xFF && b != 0 {
				return b, nil
			}
		}
	}
}

func (j *jpegWalk) segment(marker byte) error {
	start := j.pos - 2
	head, err := j.next(2)
	if err != nil {
		return err
	}
	n := int(binary.BigEndian.Uint16(head)) - 2
	if n < 0 {
		return malformed("a segment of negative length")
	}
	end := j.pos + int64(n)
	switch {
	case marker == 0xC4, marker == 0xDB, marker == 0xDD: // DHT, DQT, DRI
		if err := j.skip(int64(n)); err != nil {
			return err
		}
		if err := j.keepProfile(false); err != nil {
			return err
		}
		return j.clean.copy(start, end-start)
	case marker == 0xDA:
		return j.scan(start, n)
	case marker >= 0xC0 && marker <= 0xC2:
		return j.frameHeader(start, marker, n)
	case marker >= 0xC3 && marker <= 0xCF, marker == 0xDC, marker == 0xDE, marker == 0xDF:
		return unsupported("lossless, hierarchical or arithmetic JPEG")
	case marker >= 0xE0 && marker <= 0xEF:
		body, err := j.next(n)
		if err != nil {
			return err
		}
		return j.app(marker, body)
	case marker == 0xFE, marker >= 0xF0 && marker <= 0xFD: // COM, and what was kept for extensions
		return j.skip(int64(n))
	}
	return malformed("marker %02X", marker)
}

func (j *jpegWalk) app(marker byte, body []byte) error {
	text := string(body)
	switch {
	case marker == 0xE0 && len(body) >= 14 && text[:5] == "JFIF\x00" && !j.jfif && !j.frame:
		j.jfif = true
		jfif := append([]byte{0xFF, 0xE0, 0, 16}, body[:12]...)
		return j.clean.give(append(jfif, 0, 0)) // no thumbnail
	case marker == 0xE1 && len(body) > 6 && text[:6] == "Exif\x00\x00" && !j.exif:
		j.exif = true
		j.Orientation = orientation(body)
	case marker == 0xE2 && len(body) > 14 && text[:12] == "ICC_PROFILE\x00" && !j.frame:
		j.profilePiece(int(body[12]), int(body[13]), body[14:])
	case marker == 0xEE && len(body) >= 12 && text[:5] == "Adobe" && !j.frame:
		j.rgb = body[11] == 0
		return j.clean.give(append([]byte{0xFF, 0xEE, 0, 14}, body[:12]...))
	}
	return nil
}

func (j *jpegWalk) profilePiece(n, of int, b []byte) {
	if j.iccs == nil {
		j.iccs = make([][]byte, of)
	}
	j.iccSize += len(b)
	if n < 1 || of != len(j.iccs) || n > of || j.iccs[n-1] != nil || j.iccSize > maxProfile {
		j.iccDamaged = true
		return
	}
	j.iccs[n-1] = append([]byte(nil), b...)
}

// keepProfile puts the profile where it is complete, before the frame at the latest: decoders look no further.
func (j *jpegWalk) keepProfile(last bool) error {
	if j.profile != nil || j.iccDamaged {
		return nil
	}
	for _, b := range j.iccs {
		if b == nil {
			j.iccDamaged = last
			return nil
		}
	}
	whole := bytes.Join(j.iccs, nil)
	if j.profile = checkProfile(whole); j.profile == nil {
		j.iccDamaged = len(whole) > 0 // not looked at again before each table that follows
		return nil
	}
	return j.clean.give(profileSegments(j.profile))
}

// profileSegments is a profile in the APP2 segments that hold it.
func profileSegments(profile []byte) (out []byte) {
	const most = 65535 - 2 - 14
	of := tiles(len(profile), most)
	for n := 1; len(profile) > 0; n++ {
		part := profile[:min(most, len(profile))]
		profile = profile[len(part):]
		out = append(out, 0xFF, 0xE2)
		out = binary.BigEndian.AppendUint16(out, uint16(2+14+len(part)))
		out = append(out, "ICC_PROFILE\x00"...)
		out = append(append(out, byte(n), byte(of)), part...)
	}
	return out
}

func (j *jpegWalk) frameHeader(start int64, marker byte, n int) error {
	if j.frame {
		return malformed("two frames")
	}
	if err := j.keepProfile(true); err != nil {
		return err
	}
	b, err := j.next(n)
	if err != nil {
		return err
	}
	if n < 6 || n != 6+3*int(b[5]) {
		return malformed("a frame header of %d bytes", n)
	}
	if b[0] != 8 {
		return unsupported("%d bits", b[0])
	}
	j.frame, j.prog = true, marker == 0xC2
	if b[5] != 1 && b[5] != 3 && b[5] != 4 {
		return unsupported("%d colours", b[5])
	}
	for i := range int(b[5]) {
		c := b[6+3*i:]
		j.comps = append(j.comps, jpegComponent{int(c[0]), int(c[1] >> 4), int(c[1] & 15)})
		if h, v := c[1]>>4, c[1]&15; h < 1 || h > 4 || v < 1 || v > 4 {
			return malformed("sampling %d by %d", h, v)
		}
	}
	if len(j.comps) == 3 && j.comps[0].id == 'R' && j.comps[1].id == 'G' && j.comps[2].id == 'B' {
		j.rgb = true
	}
	if err := j.setSize(int(binary.BigEndian.Uint16(b[3:])), int(binary.BigEndian.Uint16(b[1:]))); err != nil {
		return err
	}
	return j.clean.copy(start, j.pos-start)
}

// scan goes to the end of the compressed data of a scan: the next marker that is neither a stuffed byte nor a restart.
func (j *jpegWalk) scan(start int64, n int) error {
	if !j.frame {
		return malformed("a scan before its frame")
	}
	if j.scans++; j.scans > maxScans {
		return tooLarge("more than %d scans", maxScans)
	}
	if !j.prog && j.scans > len(j.comps) {
		return malformed("%d scans of %d colours", j.scans, len(j.comps))
	}
	if n < 6 {
		return malformed("a scan header of %d bytes", n)
	}
	if err := j.skip(int64(n)); err != nil {
		return err
	}
	for {
		chunk, err := j.buf.ReadSlice(0xFF)
		j.pos += int64(len(chunk))
		if errors.Is(err, bufio.ErrBufferFull) {
			continue // no marker in a whole buffer
		}
		if err != nil {
			return short(err)
		}
		next := byte(0xFF)
		for next == 0xFF {
			if next, err = j.byte(); err != nil {
				return err
			}
		}
		if next != 0 && (next < 0xD0 || next > 0xD7) {
			j.ahead = next
			return j.clean.copy(start, j.pos-2-start)
		}
	}
}

// weighJPEG counts what the standard library's decoder takes: planes in whole blocks, for a progressive picture four
// bytes for each coefficient besides, and a copy of the picture for colours that are not YCbCr.
func (j *jpegWalk) weighJPEG() {
	hmax, vmax := 1, 1
	for _, c := range j.comps {
		hmax, vmax = max(hmax, c.h), max(vmax, c.v)
	}
	units := int64(tiles(j.w, 8*hmax)) * int64(tiles(j.h, 8*vmax))
	var samples int64
	for _, c := range j.comps {
		samples += units * int64(c.h*c.v) * 64
	}
	if len(j.comps) == 1 {
		samples = int64(tiles(j.w, 8)) * int64(tiles(j.h, 8)) * 64
	}
	area := int64(j.w) * int64(j.h)
	if j.memory = samples; j.prog {
		j.memory += 4 * samples
	}
	j.pixels = samples
	switch {
	case len(j.comps) == 4:
		j.memory += 4 * area
		j.pixels = 4*area + 3*area // turned as it is, and made YCbCr to be encoded
	case len(j.comps) == 3 && j.rgb:
		j.memory += 4 * area
		j.pixels = 4 * area
	case len(j.comps) == 3 && hmax > 2:
		j.pixels = 4 * area // turned as RGB: 4:1:1 has no name when it lies on its side
	}
}
