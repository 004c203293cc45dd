package picture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"runtime/debug"

	"golang.org/x/image/webp"
)

// decode decodes the first frame as it lies in the file, on the whole canvas. It ends with the context, or after
// maxTime, at the next read of the decoder.
func (f *file) decode(ctx context.Context, src io.ReadSeeker) (m image.Image, err error) {
	defer guard(&err)
	ctx, cancel := context.WithTimeoutCause(ctx, maxTime, tooLarge("decoding takes more than %s", maxTime))
	defer cancel()
	if _, err := src.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	in := &interruptible{ctx: ctx, r: src}
	switch f.Format {
	case JPEG:
		m, err = jpeg.Decode(bufio.NewReaderSize(in, 64<<10))
	case PNG:
		m, err = png.Decode(bufio.NewReaderSize(in, 64<<10))
	case GIF:
		m, err = gif.Decode(bufio.NewReaderSize(in, 64<<10))
	case WebP:
		in.r = f.first.plan.reader(src)
		m, err = webp.Decode(bufio.NewReaderSize(in, 64<<10))
	default:
		return f.decodeHEIF(in)
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if in.err != nil {
		return nil, fmt.Errorf("read picture: %w", in.err)
	}
	if err != nil {
		return nil, decodeError(f.Format, err)
	}
	if n, ok := m.(*image.NRGBA); ok && f.first.solid {
		for i := 3; i < len(n.Pix); i += 4 {
			n.Pix[i] = 0xFF
		}
	}
	if f.Format == WebP {
		m = place(m, f.first.at, f.w, f.h)
	} else if f.Format == GIF {
		m = place(m, m.Bounds(), f.w, f.h)
	}
	if m.Bounds() != image.Rect(0, 0, f.w, f.h) {
		return nil, malformed("%v pixels where %d by %d were said", m.Bounds(), f.w, f.h)
	}
	f.collect()
	return m, nil
}

func decodeError(format Format, err error) error {
	if errors.As(err, new(jpeg.UnsupportedError)) || errors.As(err, new(png.UnsupportedError)) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return fmt.Errorf("%w: decode %s: %w", ErrMalformed, format, err)
}

// place lays a frame on its canvas, unless it covers it.
func place(m image.Image, at image.Rectangle, w, h int) image.Image {
	whole := image.Rect(0, 0, w, h)
	if at == whole && m.Bounds() == whole {
		return m
	}
	canvas := image.NewNRGBA(whole)
	draw.Draw(canvas, at, m, m.Bounds().Min, draw.Src)
	return canvas
}

// guard makes an error of a panic: decoders are not ours, and the files are a stranger's.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = malformed("the decoder stopped: %v", p)
	}
}

// collect gives back to the system what a large picture left behind. The runtime would wait until twice as much is taken,
// and the next picture rarely fits in the hole of the last. It takes some milliseconds, and decoding such a picture a
// hundred times that.
func (f *file) collect() {
	if f.memory > muchMemory {
		debug.FreeOSMemory()
	}
}
