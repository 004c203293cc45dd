package sound

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const (
	pageSize  = 4 << 10  // what is fetched at a new place, in bytes
	sweepSize = 64 << 10 // what is fetched when reading on
	maxTake   = 1 << 20  // what may be asked for at once: packets and boxes of audio are smaller
)

// errShort is what a window says at the end of the file: cut off, and therefore malformed where nothing can be made of it.
var errShort = fmt.Errorf("%w: it ends too early", ErrMalformed)

// source is a file that is read in windows. The bytes fetched in all are bounded, so that a table that points at the same
// bytes again and again costs no more than reading the file a few times.
type source struct {
	ctx  context.Context
	r    io.ReadSeeker
	size int64 // bytes
	at   int64 // where r stands
	left int64 // bytes that may still be fetched
}

func newSource(ctx context.Context, r io.ReadSeeker) (*source, error) {
	size, err := r.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, fmt.Errorf("size of media file: %w", err)
	}
	left := 8 * min(size, 1<<60)
	return &source{ctx: ctx, r: r, size: size, at: size, left: left + 8<<20}, nil
}

// fetch reads all of b from a place within the file.
func (s *source) fetch(off int64, b []byte) error {
	if err := s.ctx.Err(); err != nil {
		return err
	}
	if s.left -= int64(len(b)); s.left < 0 {
		return malformed("it has the same bytes read too often")
	}
	if s.at != off {
		if _, err := s.r.Seek(off, io.SeekStart); err != nil {
			return fmt.Errorf("read media file: %w", err)
		}
	}
	n, err := io.ReadFull(s.r, b)
	s.at = off + int64(n)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errShort // the file became shorter since it was measured
	}
	if err != nil {
		return fmt.Errorf("read media file: %w", err)
	}
	return nil
}

// window is one place of reading. Several of them do not disturb each other.
type window struct {
	src *source
	off int64  // where buf begins in the file
	buf []byte // what is at hand
}

func (s *source) window() *window { return &window{src: s} }

// take returns exactly n bytes, valid until the next call. Errors: errShort, ErrMalformed, and those of the context.
func (w *window) take(off int64, n int) ([]byte, error) {
	if err := w.src.ctx.Err(); err != nil {
		return nil, err
	}
	if off < 0 || n < 0 || n > maxTake {
		return nil, malformed("a part is too large")
	}
	if off > w.src.size || w.src.size-off < int64(n) {
		return nil, errShort
	}
	if off < w.off || off-w.off+int64(n) > int64(len(w.buf)) {
		if err := w.fill(off, n); err != nil {
			return nil, err
		}
	}
	i := int(off - w.off)
	return w.buf[i : i+n : i+n], nil
}

// peek is take that is content with less at the end of the file.
func (w *window) peek(off int64, n int) ([]byte, error) {
	return w.take(off, int(max(0, min(int64(n), w.src.size-off))))
}

// fill keeps what is at hand from off on, and fetches the rest.
func (w *window) fill(off int64, n int) error {
	want, kept := pageSize, 0
	if end := w.off + int64(len(w.buf)); off >= w.off && off <= end+pageSize {
		want = sweepSize
		kept = copy(w.buf, w.buf[min(off, end)-w.off:])
	}
	want = int(min(int64(max(want, n)), w.src.size-off))
	if cap(w.buf) < want {
		grown := make([]byte, want)
		copy(grown, w.buf[:kept])
		w.buf = grown
	}
	w.off, w.buf = off, w.buf[:max(want, kept)]
	if err := w.src.fetch(off+int64(kept), w.buf[kept:]); err != nil {
		w.buf = w.buf[:0]
		return err
	}
	return nil
}

// bitReader reads a number of bits at a time, the highest first; past the end it reads zeros, and over says so.
type bitReader struct {
	b    []byte
	at   int // in bits
	over bool
}

func (r *bitReader) take(n int) (v uint32) {
	for range n {
		v <<= 1
		if i := r.at >> 3; i < len(r.b) {
			v |= uint32(r.b[i]>>(7-r.at&7)) & 1
		} else {
			r.over = true
		}
		r.at++
	}
	return v
}

func (r *bitReader) skip(n int) {
	if r.at += n; r.at > 8*len(r.b) {
		r.over = true
	}
}
