package record

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/at-wat/ebml-go/webm"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// Video writes a track of VP8 or VP9 as WebM until the source ends or the context does. The file begins with the first key frame, and
// has no bytes when there is none. It returns ErrCodec, and errors of out.
func Video(ctx context.Context, s Source, out io.Writer) (r Result, err error) {
	v := &video{out: out, source: s}
	var depacketizer rtp.Depacketizer
	switch mime := s.Codec().MimeType; {
	case strings.EqualFold(mime, webrtc.MimeTypeVP8):
		v.codec, v.key, depacketizer = "V_VP8", func(b []byte) bool { return b[0]&1 == 0 }, &codecs.VP8Packet{}
	case strings.EqualFold(mime, webrtc.MimeTypeVP9): // no existing frame is shown, and it is a key frame
		v.codec, v.key, depacketizer = "V_VP9", func(b []byte) bool { return b[0]&0x0C == 0 }, &codecs.VP9Packet{}
	default:
		return r, fmt.Errorf("%w: %s", ErrCodec, mime)
	}
	s.AskKeyFrame()
	began, err := order(ctx, s, depacketizer, lateVideo, v.frame)
	if v.file != nil {
		if closed := v.file.Close(); err == nil && closed != nil {
			err = fmt.Errorf("end a recording: %w", closed)
		}
		v.result.Began = began.Add(v.start)
	}
	return v.result, err
}

// video is a recording under way.
type video struct {
	out    io.Writer
	source Source
	codec  string
	key    func(frame []byte) bool

	file   webm.BlockWriteCloser // nil before the first key frame
	start  time.Duration         // of it
	broken bool                  // until the next key frame
	result Result
}

func (v *video) frame(f frame) error {
	key := v.key(f.data)
	if v.file != nil && f.dropped > 0 && !key {
		v.broken = true
		v.result.Lost++
		v.source.AskKeyFrame()
	}
	if v.file == nil {
		if !key {
			return nil
		}
		if err := v.begin(f.data); err != nil {
			return err
		}
		v.start = f.at
	}
	if v.broken = v.broken && !key; v.broken {
		v.result.Lost++
		return nil
	}
	if _, err := v.file.Write(key, (f.at - v.start).Milliseconds(), f.data); err != nil {
		return fmt.Errorf("write video: %w", err)
	}
	v.result.Frames++
	v.result.Duration = f.at - v.start
	return nil
}

// begin writes what stands before the first frame. Players take the size of a picture from the frames; that of VP8 is known.
func (v *video) begin(b []byte) error {
	width, height := uint64(1280), uint64(720)
	if v.codec == "V_VP8" && len(b) >= 10 {
		width, height = uint64(b[6])|uint64(b[7]&0x3F)<<8, uint64(b[8])|uint64(b[9]&0x3F)<<8
	}
	files, err := webm.NewSimpleBlockWriter(open{v.out}, []webm.TrackEntry{{TrackNumber: 1, TrackUID: 1, CodecID: v.codec, TrackType: 1,
		Video: &webm.Video{PixelWidth: width, PixelHeight: height}}})
	if err != nil {
		return fmt.Errorf("begin a recording: %w", err)
	}
	v.file = files[0]
	return nil
}

// open is a writer that its owner closes.
type open struct{ io.Writer }

func (open) Close() error { return nil }
