package record

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
)

// maxFill is the longest silence that is filled; a source that stays away longer goes on as if nothing had been.
const maxFill = time.Hour

// Audio writes a track of Opus as Ogg until the source ends or the context does. It returns ErrCodec, and errors of out.
func Audio(ctx context.Context, s Source, out io.Writer) (r Result, err error) {
	if !strings.EqualFold(s.Codec().MimeType, webrtc.MimeTypeOpus) {
		return r, fmt.Errorf("%w: %s", ErrCodec, s.Codec().MimeType)
	}
	w, err := oggwriter.NewWith(out, 48000, 2)
	if err != nil {
		return r, fmt.Errorf("begin a recording: %w", err)
	}
	write := func(frame []byte) error {
		if err := w.WriteRTP(&rtp.Packet{Payload: frame}); err != nil {
			return fmt.Errorf("write audio: %w", err)
		}
		r.Frames++
		r.Duration += duration(frame)
		return nil
	}
	r.Began, err = order(ctx, s, &codecs.OpusPacket{}, lateAudio, func(f frame) error {
		// A frame of no bytes is one that was lost (RFC 6716, 3.2.1); the shortest of its mode fills any gap.
		lost := []byte{f.data[0] &^ 3}
		for size := duration(lost); f.at-r.Duration >= size && f.at-r.Duration < maxFill; {
			if err := write(lost); err != nil {
				return err
			}
			r.Lost++
		}
		return write(f.data)
	})
	if closed := w.Close(); err == nil && closed != nil {
		err = fmt.Errorf("end a recording: %w", closed)
	}
	return r, err
}

// duration is how long a packet of Opus plays (RFC 6716, 3.1).
func duration(b []byte) time.Duration {
	frame := 20 * time.Millisecond
	switch config := b[0] >> 3; {
	case config < 12: // SILK
		frame = []time.Duration{10, 20, 40, 60}[config&3] * time.Millisecond
	case config < 16: // hybrid
		frame = []time.Duration{10, 20}[config&1] * time.Millisecond
	default: // CELT
		frame = 2500 * time.Microsecond << (config & 3)
	}
	switch b[0] & 3 {
	case 0:
		return frame
	case 3:
		if len(b) < 2 {
			return 0
		}
		return frame * time.Duration(b[1]&0x3F)
	}
	return 2 * frame
}
