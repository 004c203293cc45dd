package sound

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxPatches is how many places of a file are overwritten: the samples of some hours of a track of positions.
const maxPatches = 1 << 18

// patch overwrites a part of a file: with head, and then with zeros up to the end.
type patch struct {
	at, end int64
	head    string
}

// Strip copies a file and leaves out where it was recorded, which phones and cameras write into it. What holds a place is
// overwritten in the same length, so that all offsets in the file stay true, and nothing else changes:
//
//   - MP4: ©xyz, loci and their like in udta; the values of keys that speak of a location in meta; XMP; and whole tracks
//     of metadata over time, of which those of cameras are mostly positions.
//   - WebM: simple tags whose name speaks of a location.
//   - MP3 and AAC: in ID3v2 the content of GEOB and PRIV, which may be anything, and of TXXX that speaks of a location.
//
// Titles, artists and covers stay. WAV, FLAC, Ogg and AMR are copied as they are: no phone is known to write a place there.
// The format is that of Inspect. Errors: ErrMalformed when the file cannot be read to where a place may be written, and
// then dst may have been written to; ErrUnsupported for other formats.
func Strip(ctx context.Context, dst io.Writer, src io.ReadSeeker, format Format) error {
	patches, err := places(ctx, src, format)
	if err != nil {
		return err
	}
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("strip %s: %w", format, err)
	}
	b := make([]byte, sweepSize)
	for at := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(src, b)
		patches = overwrite(b[:n], at, patches)
		if _, err := dst.Write(b[:n]); err != nil {
			return fmt.Errorf("strip %s: %w", format, err)
		}
		at += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("strip %s: %w", format, err)
		}
	}
}

// Located reports whether Strip would change the file. It reads only headers. Errors: those of Strip.
func Located(ctx context.Context, src io.ReadSeeker, format Format) (bool, error) {
	patches, err := places(ctx, src, format)
	return len(patches) > 0, err
}

// places finds what has to be overwritten, in the order of the file.
func places(ctx context.Context, r io.ReadSeeker, format Format) (patches []patch, err error) {
	defer rescue(&err)
	src, err := newSource(ctx, r)
	if err != nil {
		return nil, err
	}
	switch format {
	case MP4:
		patches, err = mp4Places(src)
	case WebM:
		patches, err = webmPlaces(src)
	case MP3, AAC:
		patches, err = id3Places(src)
	case WAV, FLAC, Ogg, AMR:
	default:
		err = ErrUnsupported
	}
	if err != nil {
		return nil, fmt.Errorf("strip %s: %w", format, err)
	}
	return apart(patches), nil
}

// apart sorts patches and leaves no two that overlap: what lies within another is zeros already.
func apart(patches []patch) []patch {
	slices.SortStableFunc(patches, func(a, b patch) int { return cmp.Compare(a.at, b.at) })
	out, end := patches[:0], int64(0)
	for _, p := range patches {
		if p.at < end {
			p.at, p.head = min(end, p.end), ""
		}
		if p.at < p.end {
			out = append(out, p)
			end = p.end
		}
	}
	return out
}

// overwrite applies patches to bytes that lie at a place of the file, and returns those that reach behind them.
func overwrite(b []byte, at int64, patches []patch) (rest []patch) {
	for end := at + int64(len(b)); len(patches) > 0 && patches[0].at < end; patches = patches[1:] {
		p := patches[0]
		from, to := max(p.at, at), min(p.end, end)
		clear(b[from-at : to-at])
		for i := from; i < to && i-p.at < int64(len(p.head)); i++ {
			b[i-at] = p.head[i-p.at]
		}
		if p.end > end {
			break
		}
	}
	return patches
}

// speaksOfPlace reports whether the name of a piece of metadata means a place.
func speaksOfPlace(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"location", "gps", "geo", "iso6709", "latitude", "longitude", "altitude", "\xa9xyz"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

// id3Places looks through the frames of ID3v2 tags at the beginning (id3.org, ID3v2.2 to 2.4).
func id3Places(src *source) (patches []patch, err error) {
	w := src.window()
	at := int64(0)
	for range 16 {
		b, err := w.peek(at, 14)
		if err != nil {
			return nil, err
		}
		if len(b) < 14 || !bytes.HasPrefix(b, []byte("ID3")) {
			break
		}
		version, flags := b[3], b[5]
		end := min(at+int64(id3Size(b)), src.size)
		from := at + 10
		if flags&0x40 != 0 && version > 2 { // an extended header
			if n := syncsafe(b[10:]); version == 4 {
				from += n
			} else {
				from += 4 + int64(b[10])<<24 + int64(b[11])<<16 + int64(b[12])<<8 + int64(b[13])
			}
		}
		if patches, err = id3Frames(w, version, from, end, patches); err != nil {
			return nil, err
		}
		at = end
	}
	return patches, nil
}

func syncsafe(b []byte) int64 {
	return int64(b[0]&127)<<21 + int64(b[1]&127)<<14 + int64(b[2]&127)<<7 + int64(b[3]&127)
}

func id3Frames(w *window, version byte, at, end int64, patches []patch) ([]patch, error) {
	head := int64(10)
	if version == 2 {
		head = 6
	}
	for end-at > head {
		b, err := w.take(at, int(head))
		if err != nil {
			return nil, err
		}
		if b[0] == 0 { // padding
			break
		}
		kind, size := string(b[:4]), int64(b[4])<<24+int64(b[5])<<16
		switch version {
		case 2:
			kind, size = string(b[:3]), int64(b[3])<<16+int64(b[4])<<8+int64(b[5])
		case 4:
			size = syncsafe(b[4:])
		default:
			size += int64(b[6])<<8 + int64(b[7])
		}
		body := at + head
		at = min(body+size, end)
		hide := kind == "GEOB" || kind == "GEO" || kind == "PRIV"
		if kind == "TXXX" || kind == "TXX" {
			b, err := w.peek(body, int(min(at-body, 256)))
			if err != nil {
				return nil, err
			}
			hide = speaksOfPlace(strings.ReplaceAll(string(b), "\x00", "")) // in UTF-16 too
		}
		if hide {
			if hide, err = written(w, body, at); err != nil {
				return nil, err
			}
		}
		if hide {
			patches = append(patches, patch{at: body, end: at})
		}
		if len(patches) > maxPatches {
			return nil, malformed("too many frames")
		}
	}
	return patches, nil
}

// written reports whether there is anything but zeros.
func written(w *window, at, end int64) (bool, error) {
	for at < end {
		b, err := w.take(at, int(min(end-at, pageSize)))
		if err != nil {
			return false, err
		}
		if len(bytes.TrimLeft(b, "\x00")) > 0 {
			return true, nil
		}
		at += int64(len(b))
	}
	return false, nil
}
