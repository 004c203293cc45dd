// Package sound tells what a chat server needs to know about a recording or a film that somebody sends: which format it
// is, how long it lasts, the bars of its loudness, the size of its picture; and it removes the place where it was made.
//
// [Inspect], [Strip] and [Located] are pure Go and never hold a file in memory. Their input is hostile: all that is read
// is bounded, by the size of the file and by the constants of this package, an end of the context is seen within some
// milliseconds, and a panic of a decoder becomes [ErrMalformed]. A file that was cut off is told as far as it goes.
//
// [Probe] and [Poster] look at films. Probe reads the headers itself and asks ffprobe, where the host has one, only for
// formats it does not read; Poster needs ffmpeg. These run as children with little memory, little time and no network.
package sound

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// What can be wrong with a file, for errors.Is. An error that is neither comes from the reader or from the context.
var (
	ErrUnsupported = errors.New("unsupported media format")
	ErrMalformed   = errors.New("malformed media file")
)

const (
	// Bars is the number of bars of a waveform.
	Bars = 64

	// longest is what a file may say it lasts. A header that says more is not believed.
	longest = 30 * 24 * time.Hour
)

// Info describes a file.
type Info struct {
	Format   Format
	Duration time.Duration // whole milliseconds; 0 when neither the header nor the content tells

	Codec      string // of the first audio track, "" without one: pcm, float, alaw, mulaw, mp3, aac, opus, vorbis, flac, amr, ...
	Channels   int
	SampleRate int // Hz

	// Waveform is the loudness (RMS) of each Bars-th of the recording, the loudest being 255: linear in amplitude, all 0
	// when nothing is heard. Opus, Vorbis and MP3 are decoded for it, of recordings longer than ten minutes a share; of
	// AAC the spectrum of the first channel, or pair, is read and summed. It is nil when the loudness cannot be told: for
	// FLAC, AMR, MP3 of MPEG 2.5, Opus and Vorbis of many channels, AAC of other profiles than LC and HE, other codecs.
	Waveform []byte

	VideoCodec    string // of the first video track, "" without one: the name in the file, like avc1 or V_VP9
	Width, Height int    // pixels as displayed, rotation applied; 0 without a picture
}

// Inspect reads a file from its beginning and describes it. It recognises the format by the content. Errors:
// ErrUnsupported when it is none of the formats, ErrMalformed when nothing useful could be read.
func Inspect(ctx context.Context, r io.ReadSeeker) (Info, error) {
	return inspect(ctx, r, true)
}

// inspect leaves out the waveform, and with it most of the reading, when nobody listens.
func inspect(ctx context.Context, r io.ReadSeeker, listen bool) (info Info, err error) {
	defer rescue(&err)
	src, err := newSource(ctx, r)
	if err != nil {
		return Info{}, err
	}
	head, err := src.window().peek(0, sniffed)
	if err != nil {
		return Info{}, err
	}
	s := scan{src: src, listen: listen}
	s.info.Format = Sniff(head)
	switch s.info.Format {
	case WAV:
		err = s.wav()
	case MP3:
		err = s.mp3()
	case AAC:
		err = s.adts()
	case AMR:
		err = s.amr()
	case FLAC:
		err = s.flac()
	case Ogg:
		err = s.ogg()
	case MP4:
		err = s.mp4()
	case WebM:
		err = s.webm()
	default:
		return Info{}, ErrUnsupported
	}
	if err != nil {
		return Info{}, fmt.Errorf("inspect %s: %w", s.info.Format, err)
	}
	if listen && s.heard {
		s.info.Waveform = s.meter.bars()
	}
	return s.info, nil
}

// scan is the state of one inspection.
type scan struct {
	src    *source
	listen bool
	info   Info
	meter  meter
	heard  bool // the meter knows the loudness
}

// last sets the duration, from a number of units of which rate make a second. It reports whether it is believed.
func (s *scan) last(units uint64, rate uint64) bool {
	d, ok := span(units, rate)
	if ok {
		s.info.Duration = d
	}
	return ok
}

// span is a time of units, rate a second, rounded to milliseconds. It is not ok when it is nothing or longer than longest.
func span(units, rate uint64) (d time.Duration, ok bool) {
	if rate == 0 || units == 0 || float64(units)/float64(rate) > longest.Seconds() {
		return 0, false
	}
	ms := units / rate * 1000
	if rest := units % rate; rate < 1<<50 {
		ms += (rest*1000 + rate/2) / rate
	}
	return time.Duration(ms) * time.Millisecond, true
}

// rescue turns a panic into an error: those of decoders that met what their authors did not think of.
func rescue(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: decoder panicked: %v", ErrMalformed, p)
	}
}

// malformed says what is wrong with a file.
func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }
