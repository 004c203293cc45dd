package sound

import (
	"bytes"
	"errors"
)

// amrSizes are the bytes of a frame by its type, the type's own byte included, for narrow and for wide band. A type
// without one is not in use (RFC 4867, section 5.3). Each frame lasts 20 milliseconds.
var amrSizes = [2][16]int{
	{13, 14, 16, 18, 20, 21, 27, 32, 6, 0, 0, 0, 0, 0, 0, 1},
	{18, 24, 33, 37, 41, 47, 51, 59, 61, 6, 0, 0, 0, 0, 1, 1},
}

// amr counts the frames. What they hold is not decoded.
func (s *scan) amr() error {
	w := s.src.window()
	head, err := w.peek(0, 9)
	if err != nil {
		return err
	}
	sizes, at := &amrSizes[0], int64(6)
	s.info.Codec, s.info.Channels, s.info.SampleRate = "amr", 1, 8000
	if bytes.HasPrefix(head, []byte("#!AMR-WB\n")) {
		sizes, at = &amrSizes[1], 9
		s.info.Codec, s.info.SampleRate = "amr-wb", 16000
	}
	frames := uint64(0)
	for {
		b, err := w.take(at, 1)
		if errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
		size := sizes[b[0]>>3&15]
		if size == 0 || int64(size) > s.src.size-at {
			break
		}
		frames++
		at += int64(size)
	}
	if frames == 0 {
		return malformed("no frames")
	}
	s.last(frames, 50)
	return nil
}
