package sound

import (
	"bytes"
	"fmt"

	mp3 "github.com/hajimehoshi/go-mp3"
	"github.com/jfreymuth/vorbis"
	"github.com/pion/opus"
)

// voice decodes the packets of one stream, in order.
type voice interface {
	// length is the number of samples of a packet by its header, 0 when only hearing it tells.
	length(packet []byte) int
	// hear returns the number of samples of a packet, and their mean square, the full scale being 1.
	hear(packet []byte) (samples int, square float64, err error)
	// leap is called where packets were left out.
	leap()
}

// listener is a voice whose mistakes do no harm: a packet that cannot be decoded is silent, and after too many of them in
// a row it is not asked again.
type listener struct {
	voice
	bad   int
	heard bool // something could be decoded
}

// maxBad is how many packets in a row may be refused: half a minute of speech.
const maxBad = 1500

func (l *listener) hear(packet []byte) (samples int, square float64) {
	samples = l.length(packet)
	if l.bad > maxBad {
		return samples, 0
	}
	n, square, err := l.try(packet)
	if err != nil {
		l.bad++
		return samples, 0
	}
	l.bad, l.heard = 0, true
	return n, square
}

func (l *listener) try(packet []byte) (samples int, square float64, err error) {
	defer rescue(&err)
	return l.voice.hear(packet)
}

// opusVoice decodes Opus at 48 kHz.
type opusVoice struct {
	decoder opus.Decoder
	pcm     []float32
	back    int // channels
}

const opusRate = 48000

// newOpus is for one or two channels. More are several streams in one packet, which are not decoded.
func newOpus(channels int) (*opusVoice, error) {
	if channels < 1 || channels > 2 {
		return nil, ErrUnsupported
	}
	d, err := opus.NewDecoderWithOutput(opusRate, channels)
	if err != nil {
		return nil, fmt.Errorf("opus decoder: %w", err)
	}
	return &opusVoice{decoder: d, pcm: make([]float32, opusRate*120/1000*channels), back: channels}, nil
}

// length adds the frames of a packet up (RFC 6716, section 3.1).
func (o *opusVoice) length(packet []byte) int {
	if len(packet) == 0 {
		return 0
	}
	config, frame := packet[0]>>3, 0
	switch {
	case config < 12:
		frame = []int{480, 960, 1920, 2880}[config&3]
	case config < 16:
		frame = 480 << (config & 1)
	default:
		frame = 120 << (config & 3)
	}
	switch packet[0] & 3 {
	case 0:
		return frame
	case 1, 2:
		return 2 * frame
	}
	if len(packet) < 2 {
		return 0
	}
	return min(int(packet[1]&63)*frame, opusRate*120/1000)
}

func (o *opusVoice) hear(packet []byte) (int, float64, error) {
	n, err := o.decoder.DecodeToFloat32(packet, o.pcm)
	if err != nil {
		return 0, 0, err
	}
	return n, square(o.pcm[:n*o.back]), nil
}

func (o *opusVoice) leap() {}

// vorbisVoice decodes Vorbis.
type vorbisVoice struct {
	decoder vorbis.Decoder
	pcm     []float32
}

// newVorbis takes the first and the third header. The second, the comments, is not given to the decoder, which would
// believe any number of them.
func newVorbis(identification, setup []byte) (v *vorbisVoice, err error) {
	defer rescue(&err)
	if err := checkVorbis(identification, setup); err != nil {
		return nil, err
	}
	v = &vorbisVoice{}
	for _, h := range [][]byte{identification, setup} {
		if err := v.decoder.ReadHeader(h); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
		}
	}
	v.pcm = make([]float32, v.decoder.BufferSize())
	return v, nil
}

func (v *vorbisVoice) length([]byte) int { return 0 }

func (v *vorbisVoice) hear(packet []byte) (int, float64, error) {
	pcm, err := v.decoder.DecodeInto(packet, v.pcm)
	if err != nil {
		return 0, 0, fmt.Errorf("decode vorbis: %w", err)
	}
	return len(pcm) / v.decoder.Channels(), square(pcm), nil
}

func (v *vorbisVoice) leap() { v.decoder.Clear() }

// mp3Voice decodes frames of MPEG 1 and 2, layer III. The decoder reads from a stream; it is given one frame at a time.
type mp3Voice struct {
	decoder *mp3.Decoder
	feed    bytes.Buffer
	pcm     [2 * 2 * 1152]byte // two channels of 16 bits, always
}

func (m *mp3Voice) length(packet []byte) int {
	h, _ := parseMP3(packet)
	return h.samples
}

func (m *mp3Voice) hear(packet []byte) (int, float64, error) {
	decoder := m.decoder
	m.decoder = nil // until it is known that it did not fail
	m.feed.Reset()
	m.feed.Write(packet)
	if decoder == nil {
		d, err := mp3.NewDecoder(&m.feed)
		if err != nil {
			return 0, 0, fmt.Errorf("decode mp3: %w", err)
		}
		decoder = d
	}
	want := m.pcm[:4*m.length(packet)]
	for n := 0; n < len(want); {
		k, err := decoder.Read(want[n:])
		if err != nil {
			return 0, 0, fmt.Errorf("decode mp3: %w", err)
		}
		n += k
	}
	m.decoder = decoder
	sum := 0.0
	for i := 0; i < len(want); i += 2 {
		v := float64(int16(uint16(want[i]) | uint16(want[i+1])<<8))
		sum += v * v
	}
	return len(want) / 4, sum / float64(len(want)/2) / (1 << 30), nil
}

func (m *mp3Voice) leap() { m.decoder = nil }

// hear adds a packet to the meter that is known to begin after so many samples, if this second is listened to.
func (s *scan) hear(l *listener, packet []byte, samples uint64, rate int) {
	at := float64(samples) / float64(rate)
	if !listens(at) {
		l.leap()
		s.meter.skip(at, float64(l.length(packet))/float64(rate))
		return
	}
	n, square := l.hear(packet)
	s.meter.add(at, float64(n)/float64(rate), square)
}
