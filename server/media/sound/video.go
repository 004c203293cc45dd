package sound

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"
)

// VideoInfo describes a film.
type VideoInfo struct {
	Width, Height int           // pixels as displayed, rotation applied; 0 when the file has no picture
	Duration      time.Duration // whole milliseconds; 0 when it is not told
	HasAudio      bool
	Codec         string // of the picture: the name in the file, like avc1 or V_VP9, or that of ffprobe
}

// Probe describes a film in a file. The headers of MP4 and WebM it reads itself; AVI, ASF, FLV, MPEG and Ogg are given to
// ffprobe, where the host has it. Errors: ErrUnsupported when neither can read it, ErrMalformed when it is damaged.
func Probe(ctx context.Context, path string) (VideoInfo, error) {
	f, err := os.Open(path)
	if err != nil {
		return VideoInfo{}, fmt.Errorf("probe video: %w", err)
	}
	defer f.Close()
	return probe(ctx, f)
}

func probe(ctx context.Context, f *os.File) (VideoInfo, error) {
	head, err := beginning(f)
	if err != nil {
		return VideoInfo{}, err
	}
	if format := Sniff(head); format != "" && format != Ogg {
		i, err := inspect(ctx, f, false)
		return VideoInfo{Width: i.Width, Height: i.Height, Duration: i.Duration, HasAudio: i.Codec != "", Codec: i.VideoCodec}, err
	}
	d := demuxer(head)
	if d == "" {
		return VideoInfo{}, ErrUnsupported
	}
	out, err := child(ctx, "ffprobe", f, 64<<10, "-v", "quiet", "-protocol_whitelist", "file", "-codec_whitelist", decoders+hearers,
		"-max_pixels", maxPixels, "-f", d, inputArg, inputFile,
		"-show_entries", "stream=codec_type,codec_name,width,height,sample_aspect_ratio:stream_side_data=rotation:format=duration",
		"-of", "json")
	if err != nil {
		return VideoInfo{}, err
	}
	return readProbe(out)
}

// beginning reads what a format is told by.
func beginning(f *os.File) ([]byte, error) {
	head := make([]byte, sniffed)
	n, err := f.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read video: %w", err)
	}
	return head[:n], nil
}

// demuxer names what ffmpeg shall read a film with, by its first bytes, or is "". It is never left to guess: playlists
// and lists of files to join, which would have it open other files, are among what it knows.
func demuxer(head []byte) string {
	begins := func(at int, s string) bool { return len(head) >= at && bytes.HasPrefix(head[at:], []byte(s)) }
	switch Sniff(head) {
	case MP4:
		return "mov"
	case WebM:
		return "matroska"
	case Ogg:
		return "ogg"
	}
	switch {
	case begins(0, "RIFF") && begins(8, "AVI "):
		return "avi"
	case begins(0, "FLV\x01"):
		return "flv"
	case begins(0, "\x30\x26\xb2\x75\x8e\x66\xcf\x11"):
		return "asf"
	case begins(0, "\x00\x00\x01\xba"):
		return "mpeg"
	case begins(0, "G") && begins(188, "G") && begins(376, "G"):
		return "mpegts"
	}
	return ""
}

// readProbe reads what ffprobe says.
func readProbe(out []byte) (v VideoInfo, err error) {
	var said struct {
		Streams []struct {
			Kind   string `json:"codec_type"`
			Codec  string `json:"codec_name"`
			Width  int    `json:"width"`
			Height int    `json:"height"`
			Aspect string `json:"sample_aspect_ratio"`
			Side   []struct {
				Rotation float64 `json:"rotation"`
			} `json:"side_data_list"`
		} `json:"streams"`
		Format struct {
			Duration string `json:"duration"`
		} `json:"format"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return v, malformed("ffprobe made nothing of it")
	}
	for _, s := range said.Streams {
		switch {
		case s.Kind == "audio":
			v.HasAudio = true
		case s.Kind == "video" && v.Codec == "":
			v.Codec, v.Width, v.Height = s.Codec, s.Width, s.Height
			if a, b, ok := strings.Cut(s.Aspect, ":"); ok {
				x, _ := strconv.Atoi(a)
				y, _ := strconv.Atoi(b)
				if x > 0 && y > 0 && x/y < 16 && y/x < 16 {
					v.Width = v.Width * x / y
				}
			}
			for _, side := range s.Side {
				if math.Abs(math.Mod(math.Round(side.Rotation/90), 2)) == 1 {
					v.Width, v.Height = v.Height, v.Width
				}
			}
		}
	}
	if seconds, err := strconv.ParseFloat(said.Format.Duration, 64); err == nil && seconds > 0 && seconds < longest.Seconds() {
		v.Duration = time.Duration(math.Round(seconds*1000)) * time.Millisecond
	}
	if v.Codec == "" && !v.HasAudio {
		return v, malformed("no streams")
	}
	return v, nil
}
