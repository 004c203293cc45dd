package sound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"os"
	"strconv"
	"time"
)

const (
	posterTime  = time.Minute // for all frames that are tried
	posterBytes = 4 << 20     // of a JPEG
	posterSide  = 2048        // pixels at most
	maxPixels   = "36000000"  // of a film: 8K
)

// decoders are what ffmpeg may decode pictures with. It has hundreds, and most of the holes were in the others.
const decoders = "h264,hevc,vp8,vp9,libdav1d,av1,libaom-av1,mpeg4,h263,mjpeg,theora,mpeg1video,mpeg2video," +
	"msmpeg4v2,msmpeg4,wmv1,wmv2,wmv3,vc1,flv,prores,dvvideo"

// hearers are added for ffprobe, which gives up where it cannot open the decoder of a sound.
const hearers = ",aac,mp3float,mp3,mp2float,mp2,ac3,eac3,vorbis,libvorbis,opus,libopus,flac,wmav1,wmav2,amrnb,libopencore_amrnb," +
	"pcm_u8,pcm_s16le,pcm_s16be,pcm_s24le,pcm_s32le,pcm_f32le,pcm_f64le,pcm_alaw,pcm_mulaw,adpcm_ms,adpcm_ima_wav,adpcm_swf,nellymoser"

// Poster makes a JPEG of a frame of a film: the one shown at a time, or when that is black, one that is not from further
// on. Its longer side is at most maxSide pixels (16 to 2048), and not larger than the film's. Errors: ErrUnsupported when
// the host has no ffmpeg or the format is none of Probe's, ErrMalformed when ffmpeg makes nothing of it within its limits.
func Poster(ctx context.Context, path string, at time.Duration, maxSide int) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("poster of video: %w", err)
	}
	defer f.Close()
	head, err := beginning(f)
	if err != nil {
		return nil, err
	}
	d := demuxer(head)
	if d == "" {
		return nil, ErrUnsupported
	}
	limited, cancel := context.WithTimeout(ctx, posterTime)
	defer cancel()
	var best []byte
	var light float64
	for _, when := range moments(limited, f, at) {
		b, err := frame(limited, f, d, when, max(16, min(maxSide, posterSide)))
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case limited.Err() != nil && best == nil:
			return nil, malformed("a frame takes too long")
		case errors.Is(err, ErrMalformed):
			continue
		case err != nil && best == nil:
			return nil, err
		case err != nil:
			return best, nil
		}
		if l := brightness(b); best == nil || l > light {
			best, light = b, l
		}
		if light > darkness {
			break
		}
	}
	if best == nil {
		return nil, malformed("no frame")
	}
	return best, nil
}

// moments are the times of which a frame is tried, without those that lie behind the end.
func moments(ctx context.Context, f *os.File, at time.Duration) []time.Duration {
	at = max(0, at)
	v, err := probe(ctx, f)
	if err != nil || v.Duration == 0 {
		return []time.Duration{at, 0, at + 2*time.Second}
	}
	if at >= v.Duration {
		at = 0
	}
	return []time.Duration{at, v.Duration / 10, v.Duration / 3, v.Duration * 2 / 3}
}

// frame has ffmpeg decode one frame. Frames are turned, and pixels made square, as a player would.
func frame(ctx context.Context, f *os.File, demuxer string, at time.Duration, side int) ([]byte, error) {
	s := strconv.Itoa(side)
	factor := "min(1," + s + "/max(iw*sar,ih))"
	scale := "scale=w='max(2,2*trunc(iw*sar*" + factor + "/2))':h='max(2,2*trunc(ih*" + factor + "/2))',setsar=1"
	b, err := child(ctx, "ffmpeg", f, posterBytes, "-nostdin", "-hide_banner", "-v", "quiet",
		"-threads", "1", "-filter_threads", "1", "-protocol_whitelist", "file", "-codec_whitelist", decoders,
		"-max_pixels", maxPixels, "-f", demuxer, "-ss", strconv.FormatFloat(at.Seconds(), 'f', 3, 64), inputArg, inputFile,
		"-map", "0:V:0", "-an", "-sn", "-dn", "-map_metadata", "-1", "-frames:v", "1", "-vf", scale,
		"-threads", "1", "-c:v", "mjpeg", "-pix_fmt", "yuvj420p", "-q:v", "4", "-f", "image2pipe", "pipe:1")
	if err != nil {
		return nil, err
	}
	c, err := jpeg.DecodeConfig(bytes.NewReader(b))
	if err != nil || max(c.Width, c.Height) > side+1 {
		return nil, malformed("no frame")
	}
	return b, nil
}

// darkness is the brightness below which a frame is taken for black, of 255.
const darkness = 20

// brightness is the mean light of a picture.
func brightness(b []byte) float64 {
	m, err := jpeg.Decode(bytes.NewReader(b))
	if err != nil {
		return 0
	}
	y, ok := m.(*image.YCbCr)
	if !ok || len(y.Y) == 0 {
		return 0
	}
	sum := 0
	for _, v := range y.Y {
		sum += int(v)
	}
	return float64(sum) / float64(len(y.Y))
}
