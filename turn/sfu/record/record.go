// Package record writes tapped tracks of group calls into files: audio as Ogg/Opus, video as WebM, a file for each track.
//
//	tap, err := room.Tap(track.ID, 1000)
//	result, err := record.Audio(ctx, tap, file)
//
// A recording is correct in time whatever was lost. Missing audio is filled with frames that tell a decoder to conceal the
// loss, so that a player at any moment is where the clock was; frames of video carry the time they were taken at, and after a loss
// the picture stands still until the next key frame, which is asked for. Packets that come late are put in order, if
// it is by less than about a second. Files of one call are laid side by side by Result.Began.
//
// What is written can be played up to its end even when the process is killed; a file that was closed is complete. A recorder
// holds 50 packets of audio, 250 of video, and what the tap holds.
package record

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

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

// How many packets may come before one that they follow: a second of audio, and of video at 2 Mbit/s.
const (
	lateAudio = 50
	lateVideo = 250
)

// frame is what an encoder made at one moment.
type frame struct {
	data    []byte
	at      time.Duration // since the first one
	dropped int           // packets that are missing before it
}

// order puts the packets of a source in order and together to frames, and hands them on. It ends with nil at the end of the source,
// and when the context does, with what was there by then.
func order(ctx context.Context, s Source, d rtp.Depacketizer, late int, each func(f frame) error) (began time.Time, err error) {
	a := &assembly{d: d, clock: s.Codec().ClockRate, late: late, held: map[uint16]sfu.Packet{}, each: each}
	for {
		p, err := s.Read(ctx)
		if errors.Is(err, io.EOF) || ctx.Err() != nil {
			return a.began, a.drain(true)
		} else if err != nil {
			return a.began, fmt.Errorf("read a track: %w", err)
		}
		if !a.running {
			a.running, a.next, a.began, a.last = true, p.Seq, p.At, p.Timestamp
		}
		if int16(p.Seq-a.next) < 0 {
			continue // too late
		}
		a.held[p.Seq] = p
		if err := a.drain(false); err != nil {
			return a.began, err
		}
	}
}

// assembly is the state of order.
type assembly struct {
	d     rtp.Depacketizer
	clock uint32
	late  int
	each  func(f frame) error

	running bool
	began   time.Time
	next    uint16
	held    map[uint16]sfu.Packet // from next on

	last    uint32 // timestamp, and what it stands for
	passed  int64
	open    bool // data is a frame that has not ended
	data    []byte
	dropped int
}

// drain hands on what is in order; of what is missing it waits for no more when enough follows it, or all of it is to go.
func (a *assembly) drain(all bool) error {
	for len(a.held) > 0 {
		p, ok := a.held[a.next]
		if !ok && len(a.held) <= a.late && !all {
			return nil
		}
		a.next++
		if !ok {
			a.dropped++
			a.open = false
			continue
		}
		delete(a.held, p.Seq)
		if err := a.packet(p); err != nil {
			return err
		}
	}
	return nil
}

func (a *assembly) packet(p sfu.Packet) error {
	if a.open && p.Timestamp != a.last {
		a.open = false // its end did not come
		a.dropped++
	}
	a.passed += int64(int32(p.Timestamp - a.last))
	a.last = p.Timestamp
	if !a.open {
		if !a.d.IsPartitionHead(p.Payload) {
			a.dropped++
			return nil
		}
		a.open, a.data = true, nil
	}
	payload, err := a.d.Unmarshal(p.Payload)
	if err != nil {
		a.open = false
		a.dropped++
		return nil
	}
	a.data = append(a.data, payload...)
	if !a.d.IsPartitionTail(p.Marker, p.Payload) {
		return nil
	}
	f := frame{a.data, time.Duration(a.passed) * time.Second / time.Duration(a.clock), a.dropped}
	a.open, a.dropped = false, 0
	if len(f.data) == 0 {
		return nil
	}
	return a.each(f)
}
