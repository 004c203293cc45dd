package picture

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// scanner reads a file forwards in small steps and skips what nobody needs. A file that ends too early is ErrMalformed.
type scanner struct {
	src  io.ReadSeeker
	buf  *bufio.Reader
	pos  int64 // of the next byte
	size int64 // of the file
	tmp  []byte
}

func newScanner(src io.ReadSeeker) (*scanner, error) {
	size, err := src.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = src.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	return &scanner{src: src, buf: bufio.NewReaderSize(src, 64<<10), size: size}, nil
}

// short turns the end of the file into ErrMalformed.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return malformed("the file ends too early")
	}
	return fmt.Errorf("read picture: %w", err)
}

// peek returns the next n bytes, or those that are left, and stays where it is. At most 64 KiB.
func (s *scanner) peek(n int) ([]byte, error) {
	b, err := s.buf.Peek(n)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("read picture: %w", err)
	}
	return b, nil
}

// next returns the next n bytes, which the next call overwrites. The caller bounds n; what is more than the file has is
// refused before memory is taken for it.
func (s *scanner) next(n int) ([]byte, error) {
	if int64(n) > s.size-s.pos {
		return nil, short(io.EOF)
	}
	if n > len(s.tmp) {
		s.tmp = make([]byte, max(n, 512))
	}
	if _, err := io.ReadFull(s.buf, s.tmp[:n]); err != nil {
		return nil, short(err)
	}
	s.pos += int64(n)
	return s.tmp[:n], nil
}

func (s *scanner) byte() (byte, error) {
	b, err := s.buf.ReadByte()
	if err != nil {
		return 0, short(err)
	}
	s.pos++
	return b, nil
}

// skip goes n bytes on, without reading what is far.
func (s *scanner) skip(n int64) error {
	if n > s.size-s.pos {
		return short(io.EOF)
	}
	if s.pos += n; n <= int64(s.buf.Buffered()) {
		_, err := s.buf.Discard(int(n))
		return err
	}
	if _, err := s.src.Seek(s.pos, io.SeekStart); err != nil {
		return fmt.Errorf("read picture: %w", err)
	}
	s.buf.Reset(s.src)
	return nil
}

// cursor reads numbers from bytes in memory. What is not there reads as zero and makes it short, which the reader asks
// once, at the end.
type cursor struct {
	b     []byte
	pos   int
	short bool
}

func (c *cursor) bytes(n int) []byte {
	if n < 0 || n > len(c.b)-c.pos {
		c.pos, c.short = len(c.b), true
		return nil
	}
	c.pos += n
	return c.b[c.pos-n : c.pos]
}

// number reads a big-endian number of n bytes, 0 to 8.
func (c *cursor) number(n int) (v uint64) {
	for _, b := range c.bytes(n) {
		v = v<<8 | uint64(b)
	}
	return v
}

func u24(b []byte) int { return int(b[0]) | int(b[1])<<8 | int(b[2])<<16 }

func u32(b []byte) int64 { return int64(binary.BigEndian.Uint32(b)) }

func tiles(n, size int) int { return (n + size - 1) / size }
