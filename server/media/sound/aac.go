package sound

import "errors"

// aacRates are the sample rates by their index in the headers.
var aacRates = [16]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350}

// adtsHead is the header of a bare frame.
type adtsHead struct {
	rate, channels int
	index          int // of the rate
	size, head     int // bytes of the frame, and of its header
	blocks         int // of 1024 samples
}

func parseADTS(b []byte) (h adtsHead, ok bool) {
	if len(b) < 7 || b[0] != 0xFF || b[1]&0xF6 != 0xF0 {
		return h, false
	}
	h.index = int(b[2] >> 2 & 15)
	h.rate = aacRates[h.index]
	h.channels = int(b[2]&1)<<2 | int(b[3]>>6)
	if h.channels == 7 {
		h.channels = 8
	}
	h.size = int(b[3]&3)<<11 | int(b[4])<<3 | int(b[5]>>5)
	h.head, h.blocks = 9-2*int(b[1]&1), int(b[6]&3)+1
	return h, h.rate > 0 && h.size > h.head
}

// adts counts all frames, as mp3 does.
func (s *scan) adts() error {
	w := s.src.window()
	at, err := skipID3(w)
	if err != nil {
		return err
	}
	s.info.Codec = "aac"
	samples, junk := uint64(0), 0
	for {
		b, err := w.take(at, 7)
		if errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
		h, ok := parseADTS(b)
		if ok && samples == 0 {
			next, err := w.peek(at+int64(h.size), 7)
			if err != nil {
				return err
			}
			if len(next) == 7 {
				_, ok = parseADTS(next)
			}
		}
		if !ok || samples > 0 && h.rate != s.info.SampleRate {
			if junk++; junk > maxJunk {
				break
			}
			at++
			continue
		}
		frame, err := w.take(at, h.size)
		if errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
		if samples == 0 {
			s.info.Channels, s.info.SampleRate = h.channels, h.rate
		}
		if s.listen {
			s.heard = true
			seconds := float64(h.blocks*1024) / float64(h.rate)
			s.meter.add((float64(samples)+512)/float64(h.rate), seconds, aacLoudness(frame[h.head:], h.index))
		}
		samples += uint64(h.blocks * 1024)
		at += int64(h.size)
	}
	if samples == 0 {
		return malformed("no frames")
	}
	s.last(samples, uint64(s.info.SampleRate))
	return nil
}
