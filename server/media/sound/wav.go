package sound

import (
	"encoding/binary"
	"fmt"
	"math"
)

// sampleReader makes one sample, full scale 1, of its bytes.
type sampleReader func(b []byte) float64

// wav reads the chunks of a RIFF file up to the samples. A data chunk whose size says nothing, as in a stream, reaches to
// the end of the file.
func (s *scan) wav() error {
	w := s.src.window()
	var format []byte
	at := int64(12)
	for range 4096 {
		head, err := w.take(at, 8)
		if err != nil {
			return err
		}
		kind, size := string(head[:4]), int64(binary.LittleEndian.Uint32(head[4:]))
		at += 8
		switch kind {
		case "fmt ":
			b, err := w.take(at, int(min(size, 64)))
			if err != nil {
				return err
			}
			format = append([]byte(nil), b...)
		case "data":
			if rest := s.src.size - at; size > rest || size == 0 {
				size = rest
			}
			if len(format) < 16 {
				return malformed("no format before the data")
			}
			return s.wavData(w, format, at, size)
		}
		at += size + size&1
	}
	return malformed("too many chunks")
}

func (s *scan) wavData(w *window, format []byte, at, size int64) error {
	tag := binary.LittleEndian.Uint16(format)
	channels := int(binary.LittleEndian.Uint16(format[2:]))
	rate := binary.LittleEndian.Uint32(format[4:])
	perSecond := binary.LittleEndian.Uint32(format[8:])
	align := int(binary.LittleEndian.Uint16(format[12:]))
	width := int(binary.LittleEndian.Uint16(format[14:])+7) / 8
	if tag == 0xFFFE && len(format) >= 26 {
		tag = binary.LittleEndian.Uint16(format[24:])
	}
	if channels == 0 || channels > 255 || rate == 0 || rate > 1<<20 || align == 0 {
		return malformed("impossible format of samples")
	}
	s.info.Channels, s.info.SampleRate = channels, int(rate)
	codec, sample := wavCodec(tag, width)
	s.info.Codec = codec
	if sample == nil { // compressed: whole blocks, so many bytes a second
		s.last(uint64(size), uint64(perSecond))
		return nil
	}
	if align != channels*width {
		return malformed("impossible size of samples")
	}
	frames := size / int64(align)
	s.last(uint64(frames), uint64(rate))
	if !s.listen {
		return nil
	}
	s.heard = true
	step := max(1, min(int64(rate)/200, maxTake/int64(align))) // five milliseconds
	for i := int64(0); i < frames; i += step {
		n := min(step, frames-i)
		b, err := w.take(at+i*int64(align), int(n)*align)
		if err != nil {
			return err
		}
		sum := 0.0
		for j := 0; j < len(b); j += width {
			v := sample(b[j:])
			sum += v * v
		}
		s.meter.add(float64(i)/float64(rate), float64(n)/float64(rate), sum/float64(int(n)*channels))
	}
	return nil
}

// wavCodec names the codec of a format tag, and reads its samples where there is no more to it.
func wavCodec(tag uint16, width int) (string, sampleReader) {
	switch {
	case tag == 1 && width == 1:
		return "pcm", func(b []byte) float64 { return (float64(b[0]) - 128) / 128 }
	case tag == 1 && width == 2:
		return "pcm", func(b []byte) float64 { return float64(int16(binary.LittleEndian.Uint16(b))) / (1 << 15) }
	case tag == 1 && width == 3:
		return "pcm", func(b []byte) float64 {
			return float64(int32(uint32(b[0])<<8|uint32(b[1])<<16|uint32(b[2])<<24)) / (1 << 31)
		}
	case tag == 1 && width == 4:
		return "pcm", func(b []byte) float64 { return float64(int32(binary.LittleEndian.Uint32(b))) / (1 << 31) }
	case tag == 3 && width == 4:
		return "float", func(b []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(b))) }
	case tag == 3 && width == 8:
		return "float", func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }
	case tag == 6 && width == 1:
		return "alaw", func(b []byte) float64 { return alaw(b[0]) }
	case tag == 7 && width == 1:
		return "mulaw", func(b []byte) float64 { return mulaw(b[0]) }
	}
	return fmt.Sprintf("wav-0x%04x", tag), nil
}

// alaw and mulaw expand a byte of G.711: three bits of exponent, four of mantissa.
func alaw(v byte) float64 {
	v ^= 0x55
	m := int(v&15)<<4 + 8
	if e := v >> 4 & 7; e > 0 {
		m = (m + 0x100) << (e - 1)
	}
	return float64(m) / (1 << 15)
}

func mulaw(v byte) float64 {
	v = ^v
	return float64((int(v&15)<<3+0x84)<<(v>>4&7)-0x84) / (1 << 15)
}
