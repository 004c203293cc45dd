// Package record writes tapped tracks of group calls into files: audio as Ogg/Opus, video as WebM, a file for each track.
//
//	tap, err := room.Tap(track.ID, 1000)
//	result, err := record.Audio(ctx, tap, file)
//
// A recording is correct in time whatever was lost. Missing audio is filled with frames that tell a decoder to conceal the
// loss, so that a player at any moment is where the clock was; frames of video carry the time they were taken at, and after a loss
// the picture stands still until the next key frame, which is asked for. Packets that come late are put in order, for as
// long as a subscriber would wait for them. Files of one call are laid side by side by Result.Began.
//
// What is written can be played up to its end even when the process is killed; a file that was closed is complete. A recorder
// holds 300 packets of audio, 1,000 of video, and what the tap holds.
package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"

	"github.com/quckchat/quckchat/turn/sfu"
)

// ErrCodec says that a track cannot be written: only Opus, VP8 and VP9 can.
var ErrCodec = errors.New("no recording of this codec")

// Source is what is recorded; a *sfu.Tap is one.
type Source interface {
	// Read waits for a packet; io.EOF ends the recording.
	Read(context.Context) (sfu.Packet, error)
	Codec() webrtc.RTPCodecCapability
	AskKeyFrame()
}

// Result is what became of a recording.
type Result struct {
	Began    time.Time     // when the first packet came that is in the file; zero when there is none
	Duration time.Duration // of the file
	Frames   int
	Lost     int // frames of audio that were filled, or of video that are missing or could not be decoded
}

// lateBy is how long a packet may come after others that follow it.
const lateBy = 500 * time.Millisecond

// order puts the packets of a source in order and together to frames, and hands them on with the time since the first one. It ends
// with nil at the end of the source, and when the context does, with what was there by then.
func order(ctx context.Context, s Source, depacketizer rtp.Depacketizer, most uint16, each func(f *media.Sample, at time.Duration) error) (began time.Time, err error) {
	clock := s.Codec().ClockRate
	builder := samplebuilder.New(most, depacketizer, clock, samplebuilder.WithMaxTimeDelay(lateBy))
	var first, last uint32
	var passed int64
	started := false
	drain := func() error {
		for f := builder.Pop(); f != nil; f = builder.Pop() {
			if !started {
				started, first, last = true, f.PacketTimestamp, f.PacketTimestamp
			}
			passed += int64(int32(f.PacketTimestamp - last))
			last = f.PacketTimestamp
			if err := each(f, time.Duration(passed)*time.Second/time.Duration(clock)); err != nil {
				return err
			}
		}
		return nil
	}
	var came time.Time
	var cameTS uint32
	for {
		p, err := s.Read(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			break
		} else if err != nil {
			return began, fmt.Errorf("read a track: %w", err)
		}
		if came.IsZero() {
			came, cameTS = p.At, p.Timestamp
		}
		builder.Push(&rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: p.Seq, Timestamp: p.Timestamp, Marker: p.Marker}, Payload: p.Payload})
		if err := drain(); err != nil {
			return began, err
		}
	}
	builder.Flush()
	err = drain()
	if started {
		began = came.Add(time.Duration(int32(first-cameTS)) * time.Second / time.Duration(clock))
	}
	return began, err
}
