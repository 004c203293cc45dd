// Package picture is all that the server does to still and animated pictures: it looks at them, takes out what does
// not belong to the look of them, and makes the small ones that clients show first.
//
// The files come from strangers. [Inspect] walks the structure of one without decoding a pixel and refuses what would
// cost too much: it knows beforehand what decoding takes in memory, per format, and at most 160 MiB is allowed. All that
// decodes inspects first, so a caller may skip nothing by mistake. Decoders are other people's: what panics in them is
// [ErrMalformed], and the end of the context, or thirty seconds, ends them at the next read.
//
// [Clean] copies what shows and nothing else, piece by piece, without decoding; only a picture that lies on its side is
// decoded, turned and encoded anew. [Render] and [Square] make the small ones, in WebP and in JPEG.
//
// HEIC and AVIF are cleaned, and decoded only in a build with the tag heif (use `-tags 'heif nodynamic'`).
//
// A function here belongs to one goroutine and starts none that outlives it. Calls at the same time each take their own
// memory: a worker makes one picture at a time.
package picture

import (
	"errors"
	"fmt"
	"io"
	"time"
)

// What can be wrong with a picture, for errors.Is. What the source itself answers to a read passes through.
var (
	ErrUnsupported = errors.New("not a picture of a kind we know")
	ErrMalformed   = errors.New("damaged picture")
	ErrTooLarge    = errors.New("picture takes too much to decode")
)

// What a picture may cost. A file that takes more is refused by its headers.
const (
	maxSide    = 30_000           // pixels
	maxMemory  = 160 << 20        // bytes that decoding and resizing take together
	maxFrames  = 4096             // of an animation
	maxPlayed  = 1 << 31          // pixels of all frames of an animation, which every client that plays it decodes
	maxScans   = 64               // of a JPEG: each goes over the whole picture again; encoders make about ten
	maxProfile = 4 << 20          // bytes of an ICC profile, uncompressed
	maxPieces  = 1 << 16          // pieces that a cleaned file is put together from
	maxTime    = 30 * time.Second // from the first read of a decoder to the last
	muchMemory = 32 << 20         // above it, what decoding leaves behind is collected at once

	turnedWebP  = 4 + 5  // bytes for a pixel, to encode one: as RGB, and what the encoder takes (measured)
	turnedAlpha = 4 + 41 // and for the plane of alpha
)

// Format is a kind of file.
type Format string

// The formats that are recognised.
const (
	JPEG Format = "jpeg"
	PNG  Format = "png"
	GIF  Format = "gif"
	WebP Format = "webp"
	HEIC Format = "heic"
	AVIF Format = "avif"
)

// Type is the media type, for a Content-Type.
func (f Format) Type() string { return "image/" + string(f) }

// Info is what the headers say about a picture.
type Info struct {
	Format        Format
	Width, Height int  // pixels, as seen upright
	Orientation   int  // of EXIF, 1 to 8: how the pixels of the file lie; 1 is upright, which Clean makes of all
	Animated      bool // more than one frame
	Frames        int  // 1 when not animated
	Alpha         bool // some pixels may be transparent
}

// file is a picture that was inspected: what Info says, and what the others need to work on it.
type file struct {
	Info
	length  int64  // bytes of the file
	w, h    int    // pixels as they lie in the file
	memory  int64  // bytes that decoding takes at its peak
	pixels  int64  // bytes of the decoded pixels, a part of memory
	profile []byte // the ICC profile, checked, or nil
	clean   plan   // the file without what Clean takes out, when it need not be turned
	first   still  // the first frame, where a decoder cannot find it (WebP)
	extra   []byte // chunks about colour that outlive an encoding (PNG)
}

// Inspect reads the headers of a picture: no pixel is decoded, but of a JPEG and a GIF the whole file is read through,
// because only so the scans and frames are known. The position of r is lost. Errors: ErrUnsupported, ErrMalformed,
// ErrTooLarge.
func Inspect(r io.ReadSeeker) (Info, error) {
	f, err := inspect(r)
	if err != nil {
		return Info{}, err
	}
	return f.Info, nil
}

func inspect(r io.ReadSeeker) (*file, error) {
	s, err := newScanner(r)
	if err != nil {
		return nil, err
	}
	f := &file{Info: Info{Orientation: 1, Frames: 1}, length: s.size}
	if f.Format, err = s.format(); err != nil {
		return nil, err
	}
	switch f.Format {
	case JPEG:
		err = f.walkJPEG(s)
	case PNG:
		err = f.walkPNG(s)
	case GIF:
		err = f.walkGIF(s)
	case WebP:
		err = f.walkWebP(s)
	default:
		err = f.walkHEIF(s)
	}
	if err != nil {
		return nil, fmt.Errorf("inspect %s: %w", f.Format, err)
	}
	if err := f.weigh(); err != nil {
		return nil, fmt.Errorf("inspect %s: %w", f.Format, err)
	}
	return f, nil
}

// format tells the formats apart by their first bytes, and goes back to the start.
func (s *scanner) format() (Format, error) {
	head, err := s.peek(16)
	if err != nil {
		return "", err
	}
	switch text := string(head); {
	case len(head) < 4:
		return "", fmt.Errorf("%w: %d bytes", ErrUnsupported, len(head))
	case text[:3] == "\xff\xd8\xff":
		return JPEG, nil
	case text[:4] == "\x89PNG":
		return PNG, nil
	case text[:4] == "GIF8":
		return GIF, nil
	case len(text) >= 12 && text[:4] == "RIFF" && text[8:12] == "WEBP":
		return WebP, nil
	case len(text) >= 12 && text[4:8] == "ftyp":
		return HEIC, nil // or AVIF, which walkHEIF finds
	}
	return "", ErrUnsupported
}

// setSize keeps the size of a picture as it lies in the file.
func (f *file) setSize(w, h int) error {
	if w < 1 || h < 1 {
		return malformed("%d by %d pixels", w, h)
	}
	if w > maxSide || h > maxSide {
		return tooLarge("%d by %d pixels", w, h)
	}
	f.w, f.h = w, h
	return nil
}

// weigh decides whether the picture costs too much, once the walk of its format has counted what decoding takes.
func (f *file) weigh() error {
	if f.Animated = f.Frames > 1; f.Animated {
		f.Orientation = 1 // a turned animation does not occur, and turning one would mean to encode it anew
	}
	f.Width, f.Height = f.w, f.h
	if f.Orientation >= 5 {
		f.Width, f.Height = f.h, f.w
	}
	if f.Frames > maxFrames || int64(f.Frames)*int64(f.w)*int64(f.h) > maxPlayed && f.Animated {
		return tooLarge("%d frames of %d by %d pixels", f.Frames, f.w, f.h)
	}
	if f.Orientation > 1 {
		f.memory = max(f.memory, 2*f.pixels) // the picture as it was decoded, and turned
		if f.Format == WebP {
			f.memory += turnedWebP * int64(f.w) * int64(f.h)
			if f.Alpha {
				f.memory += turnedAlpha * int64(f.w) * int64(f.h)
			}
		}
	}
	// What decoding took beside the pixels is free when resizing makes the picture narrower first, at its full height.
	if f.memory = max(f.memory, f.pixels+int64(min(f.w, f.h))*largest*4); f.memory > maxMemory {
		return tooLarge("%d by %d pixels take %d MiB", f.w, f.h, f.memory>>20)
	}
	return nil
}

func malformed(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, a...)...)
}

func unsupported(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrUnsupported}, a...)...)
}

func tooLarge(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrTooLarge}, a...)...)
}
