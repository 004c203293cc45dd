package sound

import (
	"math"
	"math/bits"
)

// The elements of Matroska that are looked at (RFC 9559), by their id with its marker bits.
const (
	idEBML         = 0x1A45DFA3
	idSegment      = 0x18538067
	idInfo         = 0x1549A966
	idScale        = 0x2AD7B1
	idDuration     = 0x4489
	idTracks       = 0x1654AE6B
	idTrack        = 0xAE
	idNumber       = 0xD7
	idKind         = 0x83
	idCodec        = 0x86
	idPrivate      = 0x63A2
	idDelay        = 0x56AA
	idAudio        = 0xE1
	idRate         = 0xB5
	idOutputRate   = 0x78B5
	idChannels     = 0x9F
	idVideo        = 0xE0
	idWidth        = 0xB0
	idHeight       = 0xBA
	idShownWidth   = 0x54B0
	idShownHeight  = 0x54BA
	idShownUnit    = 0x54B2
	idProjection   = 0x7670
	idRoll         = 0x7675
	idCluster      = 0x1F43B675
	idTime         = 0xE7
	idSimple       = 0xA3
	idGroup        = 0xA0
	idBlock        = 0xA1
	idLength       = 0x9B
	idTags         = 0x1254C367
	idTag          = 0x7373
	idSimpleTag    = 0x67C8
	idTagName      = 0x45A3
	idChecksum     = 0xBF
	idVoid         = 0xEC
	maxElements    = 16 << 20
	unknownSize    = -1
	maxTextElement = 4096
)

// element is an EBML element: its id, and where it and its content lie in the file.
type element struct {
	id               uint32
	start, body, end int64 // end is unknownSize when it is not told
}

// elements reads headers of elements. All walks over one file share it.
type elements struct {
	w     *window
	count int
}

// next reads the header at a place. Errors: errShort, ErrMalformed.
func (e *elements) next(at int64) (el element, err error) {
	if e.count++; e.count > maxElements {
		return el, malformed("too many elements")
	}
	b, err := e.w.peek(at, 12)
	if err != nil {
		return el, err
	}
	if len(b) < 2 {
		return el, errShort
	}
	n := bits.LeadingZeros8(b[0]) + 1
	if n > 4 {
		return el, malformed("no element where one should be")
	}
	if len(b) <= n {
		return el, errShort
	}
	for _, v := range b[:n] {
		el.id = el.id<<8 | uint32(v)
	}
	size, width, unknown := vint(b[n:])
	if width == 0 {
		return el, errShort
	}
	el.start, el.body = at, at+int64(n+width)
	switch {
	case unknown:
		el.end = unknownSize
	case size > 1<<60:
		return el, malformed("element too large")
	default:
		el.end = el.body + int64(size)
	}
	return el, nil
}

// vint reads a number of variable length. The width is 0 when there are too few bytes.
func vint(b []byte) (v uint64, width int, unknown bool) {
	if len(b) == 0 || b[0] == 0 {
		return 0, 0, false
	}
	width = bits.LeadingZeros8(b[0]) + 1
	if len(b) < width {
		return 0, 0, false
	}
	v = uint64(b[0]) & (1<<(8-width) - 1)
	for _, c := range b[1:width] {
		v = v<<8 | uint64(c)
	}
	return v, width, v == 1<<(7*width)-1
}

// each calls f for each element between two places; what reaches over the end is errShort.
func (e *elements) each(from, to int64, f func(el element) error) error {
	for at := from; at < to; {
		el, err := e.next(at)
		if err != nil {
			return err
		}
		if el.end == unknownSize || el.end > to {
			return errShort
		}
		if err := f(el); err != nil {
			return err
		}
		at = el.end
	}
	return nil
}

// content returns the bytes of an element, at most n of them.
func (e *elements) content(el element, n int) ([]byte, error) {
	return e.w.take(el.body, int(min(int64(n), el.end-el.body)))
}

// number reads an unsigned integer, 0 when it cannot be read.
func (e *elements) number(el element) (v uint64) {
	b, err := e.content(el, 8)
	if err != nil {
		return 0
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return v
}

// float reads a number with a point, 0 when it is none.
func (e *elements) float(el element) float64 {
	v := e.number(el)
	f := 0.0
	switch el.end - el.body {
	case 4:
		f = float64(math.Float32frombits(uint32(v)))
	case 8:
		f = math.Float64frombits(v)
	}
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return 0
	}
	return f
}
