package sound

import (
	"bytes"
	"errors"
)

// maxJunk is how many bytes between frames are searched for the next one: tags, covers, and what is left of a bad download.
const maxJunk = 1 << 20

// mp3Head is the header of a frame of MPEG audio, layer III.
type mp3Head struct {
	first    bool // MPEG 1; the later ones are slower
	rate     int
	channels int
	size     int // bytes of the frame
	samples  int
}

var (
	mp3Rates    = [3]int{44100, 48000, 32000}
	mp3Bitrates = [2][16]int{ // kbit/s of MPEG 2 and 2.5, and of MPEG 1
		{0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0},
		{0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0},
	}
)

// parseMP3 reads the header of a frame. Frames of free bitrate are not ok.
func parseMP3(b []byte) (h mp3Head, ok bool) {
	if len(b) < 4 || b[0] != 0xFF || b[1]&0xE6 != 0xE2 { // sync, and layer III
		return h, false
	}
	version, rate := b[1]>>3&3, b[2]>>2&3
	if version == 1 || rate == 3 || b[3]&3 == 2 {
		return h, false
	}
	h.first = version == 3
	h.rate, h.channels, h.samples = mp3Rates[rate], 2, 1152
	kbit := mp3Bitrates[1][b[2]>>4]
	if !h.first {
		h.samples, kbit = 576, mp3Bitrates[0][b[2]>>4]
		h.rate >>= 1
		if version == 0 {
			h.rate >>= 1
		}
	}
	if b[3]>>6 == 3 {
		h.channels = 1
	}
	h.size = h.samples/8*kbit*1000/h.rate + int(b[2]>>1&1)
	return h, kbit > 0
}

// mp3 counts all frames, which is exact for constant and variable bitrates alike, and for files that were cut off: the
// count of a Xing or VBRI header is not needed. What an encoder added for gapless playing is part of the duration.
func (s *scan) mp3() error {
	w := s.src.window()
	at, err := skipID3(w)
	if err != nil {
		return err
	}
	s.info.Codec = "mp3"
	var first mp3Head
	l := listener{voice: &mp3Voice{}}
	frames, samples, junk := 0, uint64(0), 0
	for {
		b, err := w.take(at, 4)
		if errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
		h, ok := parseMP3(b)
		if ok && frames == 0 { // what looks like a frame is one when the next one follows
			next, err := w.peek(at+int64(h.size), 4)
			if err != nil {
				return err
			}
			if len(next) == 4 {
				_, ok = parseMP3(next)
			}
		}
		if !ok || frames > 0 && h.rate != first.rate {
			if junk++; junk > maxJunk {
				break
			}
			at++
			continue
		}
		frame, err := w.peek(at, h.size)
		if err != nil {
			return err
		}
		if len(frame) < h.size && frames > 0 {
			break
		}
		if frames++; frames == 1 {
			first = h
			s.info.Channels, s.info.SampleRate = h.channels, h.rate
		}
		if at += int64(h.size); frames == 1 && isIndex(frame, h) {
			continue
		}
		if s.listen {
			s.hear(&l, frame, samples, h.rate)
		}
		samples += uint64(h.samples)
	}
	if samples == 0 {
		return malformed("no frames")
	}
	s.heard = l.heard
	s.last(samples, uint64(first.rate))
	return nil
}

// isIndex reports whether the first frame holds a table for players instead of sound.
func isIndex(frame []byte, h mp3Head) bool {
	at := 4 + sideSize(h)
	tag := frame[min(at, len(frame)):]
	return bytes.HasPrefix(tag, []byte("Xing")) || bytes.HasPrefix(tag, []byte("Info")) ||
		bytes.HasPrefix(frame[min(36, len(frame)):], []byte("VBRI"))
}

func sideSize(h mp3Head) int {
	switch {
	case h.first && h.channels == 2:
		return 32
	case h.first || h.channels == 2:
		return 17
	}
	return 9
}

// id3Size is the length of the ID3v2 tag that begins here, its head and foot included.
func id3Size(b []byte) int {
	n := 10 + int(b[6]&127)<<21 + int(b[7]&127)<<14 + int(b[8]&127)<<7 + int(b[9]&127)
	if b[5]&0x10 != 0 {
		n += 10
	}
	return n
}

// skipID3 returns where the sound begins, after tags of which some files have several.
func skipID3(w *window) (at int64, err error) {
	for range 16 {
		b, err := w.peek(at, 10)
		if err != nil {
			return 0, err
		}
		if len(b) < 10 || !bytes.HasPrefix(b, []byte("ID3")) {
			break
		}
		at += int64(id3Size(b))
	}
	return at, nil
}
