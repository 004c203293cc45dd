package picture

import (
	"bufio"
	"context"
	"fmt"
	"image"
	"image/jpeg"
	"image/png"
	"io"
)

// The quality of a picture that had to be encoded anew because it was turned.
const turnedQuality = 92

// Clean writes the picture to dst upright, with nothing that does not change its look: no EXIF, XMP, IPTC, comment,
// thumbnail, second picture or text, and nothing behind its end. Its profile stays. One that lies upright in the file is
// copied piece by piece without loss, in little memory; one that does not is decoded, turned and encoded again, a JPEG
// and a WebP at quality 92. Of a HEIC or AVIF the bytes that go become zeros, because nothing in it may move; it is turned
// by those who show it.
//
// The Info returned is that of what was written. When an error is returned, dst has part of it or nothing. Errors:
// those of Inspect, of dst, and the cause of the context's end.
func Clean(ctx context.Context, dst io.Writer, src io.ReadSeeker) (Info, error) {
	f, err := inspect(src)
	if err != nil {
		return Info{}, err
	}
	if f.Orientation == 1 {
		err = f.copy(ctx, dst, src)
	} else {
		err = f.turned(ctx, dst, src)
		f.collect()
	}
	if err != nil {
		return Info{}, fmt.Errorf("clean %s: %w", f.Format, err)
	}
	f.Orientation = 1
	return f.Info, nil
}

func (f *file) copy(ctx context.Context, dst io.Writer, src io.ReadSeeker) error {
	_, err := io.Copy(dst, &interruptible{ctx: ctx, r: f.clean.reader(src)})
	return err
}

func (f *file) turned(ctx context.Context, dst io.Writer, src io.ReadSeeker) (err error) {
	defer guard(&err)
	m, err := f.decode(ctx, src)
	if err != nil {
		return err
	}
	_, cmyk := m.(*image.CMYK)
	m = turn(m, f.Orientation)
	f.collect()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	out := &splice{ctx: ctx, w: dst}
	buf := bufio.NewWriterSize(out, 64<<10)
	switch f.Format {
	case JPEG:
		if out.after = 2; !cmyk && f.profile != nil {
			out.add = profileSegments(f.profile)
		}
		err = jpeg.Encode(buf, m, &jpeg.Options{Quality: turnedQuality})
	case PNG:
		out.after, out.add = 8+25, f.extra
		err = png.Encode(buf, m)
	default:
		var b []byte
		if b, err = encodeWebP(resize(m, m.Bounds().Dx(), m.Bounds().Dy(), !f.Alpha), turnedQuality, f.profile); err == nil {
			_, err = buf.Write(b)
		}
	}
	if err != nil {
		return err
	}
	return buf.Flush()
}

// splice writes through, and adds bytes after the first few: encoders write no profile.
type splice struct {
	ctx   context.Context
	w     io.Writer
	after int
	add   []byte
}

func (s *splice) Write(b []byte) (n int, err error) {
	if s.ctx.Err() != nil {
		return 0, context.Cause(s.ctx)
	}
	if s.after > 0 {
		n, err = s.w.Write(b[:min(s.after, len(b))])
		if s.after -= n; err != nil || s.after > 0 {
			return n, err
		}
		if _, err := s.w.Write(s.add); err != nil {
			return n, err
		}
	}
	rest, err := s.w.Write(b[n:])
	return n + rest, err
}
