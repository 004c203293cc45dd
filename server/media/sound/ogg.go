package sound

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// maxChain is how many recordings may follow each other in one file.
const maxChain = 1000

// oggPage is the header of a page, and where its packets are (RFC 3533).
type oggPage struct {
	continued, first, last bool
	granule                int64 // of the last packet that ends here; -1 when none does
	serial                 uint32
	sizes                  []byte
	body, next             int64
}

// oggReader finds one page after the other.
type oggReader struct {
	w    *window
	at   int64
	junk int
	segs [255]byte
}

// page returns the next page, or errShort at the end.
func (o *oggReader) page() (p oggPage, err error) {
	for {
		b, err := o.w.take(o.at, 27)
		if err != nil {
			return p, err
		}
		if bytes.HasPrefix(b, []byte("OggS\x00")) {
			p.continued, p.first, p.last = b[5]&1 != 0, b[5]&2 != 0, b[5]&4 != 0
			p.granule = int64(binary.LittleEndian.Uint64(b[6:]))
			p.serial = binary.LittleEndian.Uint32(b[14:])
			n := int(b[26])
			sizes, err := o.w.take(o.at+27, n)
			if err != nil {
				return p, err
			}
			p.sizes = o.segs[:copy(o.segs[:], sizes)]
			p.body = o.at + 27 + int64(n)
			p.next = p.body
			for _, s := range p.sizes {
				p.next += int64(s)
			}
			o.at = p.next
			return p, nil
		}
		if o.junk++; o.junk > maxJunk {
			return p, errShort
		}
		o.at++
	}
}

// oggStream is one recording.
type oggStream struct {
	codec   string
	serial  uint32
	voice   listener // without a voice inside, nothing is decoded
	rate    int
	preSkip int64
	headers [][]byte // kept until all of them are there
	want    int      // how many they are

	packet  []byte // as far as it is read
	lost    bool   // its beginning is missing, or it is too large
	begun   bool   // the first page with sound is read
	origin  int64  // granule of the first sample
	at      int64  // samples so far, since the origin
	granule int64  // the last one
}

// ogg reads the first stream of sound that it knows, and those that follow it.
func (s *scan) ogg() error {
	o := oggReader{w: s.src.window()}
	var cur *oggStream
	var before float64 // seconds of the recordings before this one
	var total uint64   // milliseconds of them
	chain := 0
	finish := func() {
		if cur == nil {
			return
		}
		if d, ok := span(uint64(max(0, cur.length())), uint64(cur.rate)); ok {
			total += uint64(d.Milliseconds())
			before += d.Seconds()
		}
		s.heard = s.heard || cur.voice.heard
		cur = nil
	}
	for {
		p, err := o.page()
		if errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
		if p.first && (cur == nil || cur.begun) {
			next, err := s.oggBegin(o.w, p)
			if err != nil {
				return err
			}
			if next != nil {
				if chain++; chain > maxChain {
					return malformed("too many recordings in a row")
				}
				finish()
				cur = next
			}
			continue
		}
		if cur == nil || p.serial != cur.serial || p.first {
			continue
		}
		if err := s.oggPage(cur, o.w, p, before); errors.Is(err, errShort) {
			break
		} else if err != nil {
			return err
		}
	}
	finish()
	if chain == 0 {
		return ErrUnsupported
	}
	s.last(total, 1000)
	return nil
}

// length is the number of samples that are played.
func (c *oggStream) length() int64 {
	if c.granule > 0 {
		return c.granule - c.origin - c.preSkip
	}
	return c.at - c.preSkip
}

// oggBegin reads the page that begins a stream. It returns nil when it is none of sound that is known.
func (s *scan) oggBegin(w *window, p oggPage) (*oggStream, error) {
	b, err := w.peek(p.body, int(min(p.next-p.body, 64)))
	if err != nil {
		return nil, err
	}
	c := &oggStream{serial: p.serial}
	channels := 0
	switch {
	case len(b) >= 19 && bytes.HasPrefix(b, []byte("OpusHead")):
		c.codec, channels, c.rate, c.want = "opus", int(b[9]), opusRate, 2
		c.preSkip = int64(binary.LittleEndian.Uint16(b[10:]))
		if v, err := newOpus(channels); err == nil && b[18] == 0 {
			c.voice.voice = v
		}
	case len(b) >= 30 && bytes.HasPrefix(b, []byte("\x01vorbis")):
		c.codec, channels, c.want = "vorbis", int(b[11]), 3
		c.rate = int(binary.LittleEndian.Uint32(b[12:]))
	case len(b) >= 52 && bytes.HasPrefix(b, []byte("Speex   ")):
		c.codec, channels, c.want = "speex", int(binary.LittleEndian.Uint32(b[48:])&15), 2
		c.rate = int(binary.LittleEndian.Uint32(b[36:]))
	case len(b) >= 51 && bytes.HasPrefix(b, []byte("\x7fFLAC")):
		c.codec, c.want = "flac", 2
		c.rate = int(b[27])<<12 | int(b[28])<<4 | int(b[29])>>4
		channels = int(b[29]>>1&7) + 1
	default:
		return nil, nil
	}
	if c.rate <= 0 || c.rate > 1<<20 || channels == 0 {
		return nil, malformed("impossible stream")
	}
	c.headers = [][]byte{bytes.Clone(b)}
	if s.info.Codec == "" {
		s.info.Codec, s.info.Channels, s.info.SampleRate = c.codec, channels, c.rate
	}
	return c, nil
}

// oggPage hears the packets that end on a page.
func (s *scan) oggPage(c *oggStream, w *window, p oggPage, before float64) error {
	if c.begun && (!s.listen || c.voice.voice == nil) {
		c.told(p.granule)
		return nil
	}
	if !p.continued {
		c.packet, c.lost = c.packet[:0], false
	}
	c.begun = c.begun || len(c.headers) >= c.want
	start, listening := c.at, listens(before+float64(c.at)/float64(c.rate))
	for i, at := 0, p.body; i < len(p.sizes); {
		n, ended := 0, false
		for i < len(p.sizes) && !ended {
			n += int(p.sizes[i])
			ended = p.sizes[i] < 255
			i++
		}
		b, err := w.take(at, n)
		if err != nil {
			return err
		}
		at += int64(n)
		if len(c.packet)+n > maxTake {
			c.lost = true
		}
		if !c.lost {
			c.packet = append(c.packet, b...)
		}
		if !ended {
			continue
		}
		if !c.lost {
			s.oggPacket(c, c.packet, before, listening)
		}
		c.packet, c.lost = c.packet[:0], false
	}
	if !c.begun {
		return nil
	}
	if p.granule >= 0 && c.granule == 0 && !p.last && c.codec == "opus" && c.at > 0 {
		c.origin = max(0, p.granule-c.at) // a stream that was joined late (RFC 7845, section 4.5)
	}
	c.told(p.granule)
	if now := p.granule - c.origin; p.granule >= 0 && now >= 0 {
		if !listening && now > start {
			s.skip(before+float64(start-c.preSkip)/float64(c.rate), float64(now-start)/float64(c.rate))
		}
		c.at = now
	}
	return nil
}

func (c *oggStream) told(granule int64) {
	if granule >= 0 {
		c.granule = granule
	}
}

// skip records what is not listened to, from a time on that may lie before the beginning.
func (s *scan) skip(at, seconds float64) { s.meter.skip(max(0, at), seconds) }

func (s *scan) oggPacket(c *oggStream, packet []byte, before float64, listening bool) {
	if len(c.headers) < c.want {
		c.headers = append(c.headers, bytes.Clone(packet))
		if len(c.headers) == c.want && c.want == 3 {
			if v, err := newVorbis(c.headers[0], c.headers[2]); err == nil {
				c.voice.voice = v
			}
		}
		return
	}
	c.begun = true
	if c.voice.voice == nil {
		return
	}
	if !listening || !s.listen {
		c.at += int64(c.voice.length(packet))
		c.voice.leap()
		return
	}
	n, square := c.voice.hear(packet)
	at := float64(c.at-c.preSkip) / float64(c.rate)
	s.meter.add(before+max(0, at), float64(n)/float64(c.rate), square)
	c.at += int64(n)
}
