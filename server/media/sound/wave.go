package sound

import (
	"context"
	"fmt"
	"io"
	"os"
)

// Wave decodes the sound of a file to a WAV of one channel, 16 bit at 16 kHz, of at most most bytes (32,000 a second), for
// programs that read nothing else. Errors: ErrUnsupported when the host has no ffmpeg or the format is none of ours,
// ErrMalformed when ffmpeg makes nothing of it within its limits.
func Wave(ctx context.Context, path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("decode sound: %w", err)
	}
	defer f.Close()
	head := make([]byte, sniffed)
	n, err := io.ReadFull(f, head)
	if n == 0 {
		return nil, fmt.Errorf("decode sound: %w", err)
	}
	d := demuxer(head[:n])
	switch format := Sniff(head[:n]); format {
	case WAV, MP3, AAC, FLAC, AMR:
		d = string(format)
	}
	if d == "" {
		return nil, ErrUnsupported
	}
	return child(ctx, "ffmpeg", f, most, "-nostdin", "-hide_banner", "-v", "quiet", "-threads", "1", "-protocol_whitelist", "file", "-codec_whitelist", hearers[1:], "-f", d, inputArg, inputFile,
		"-vn", "-sn", "-dn", "-ac", "1", "-ar", "16000", "-f", "wav", "pipe:1")
}
