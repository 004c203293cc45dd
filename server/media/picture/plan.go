package picture

import (
	"bytes"
	"context"
	"io"
)

// plan says how a file is put together from pieces of another, of bytes that are given, and of zeros.
type plan struct {
	pieces []piece
	size   int64
}

// piece is one of: n bytes of the source at off; the bytes given; n zeros.
type piece struct {
	kind  byte
	off   int64
	n     int64
	given []byte
}

const (
	copied = iota
	given
	zeros
)

// copy adds n bytes of the source. Neighbours become one piece.
func (p *plan) copy(off, n int64) error {
	if last := len(p.pieces) - 1; last >= 0 && p.pieces[last].kind == copied && p.pieces[last].off+p.pieces[last].n == off {
		p.pieces[last].n += n
		p.size += n
		return nil
	}
	return p.add(piece{kind: copied, off: off, n: n})
}

func (p *plan) give(b []byte) error { return p.add(piece{kind: given, n: int64(len(b)), given: b}) }

func (p *plan) blank(n int64) error { return p.add(piece{kind: zeros, n: n}) }

// add refuses a file of very many pieces: no real one is, and each takes memory.
func (p *plan) add(a piece) error {
	if a.n == 0 {
		return nil
	}
	if len(p.pieces) == maxPieces {
		return malformed("more than %d pieces", maxPieces)
	}
	p.pieces = append(p.pieces, a)
	p.size += a.n
	return nil
}

// reader reads what the plan makes of src.
func (p *plan) reader(src io.ReadSeeker) io.Reader { return &assembly{src: src, left: p.pieces} }

type assembly struct {
	src  io.ReadSeeker
	left []piece
	now  io.Reader
	n    int64 // bytes that the piece at work still has to give
}

func (a *assembly) Read(b []byte) (int, error) {
	for a.n == 0 {
		if len(a.left) == 0 {
			return 0, io.EOF
		}
		p := a.left[0]
		switch p.kind {
		case copied:
			if _, err := a.src.Seek(p.off, io.SeekStart); err != nil {
				return 0, err
			}
			a.now = a.src
		case given:
			a.now = bytes.NewReader(p.given)
		default:
			a.now = nothing{}
		}
		a.left, a.n = a.left[1:], p.n
	}
	n, err := a.now.Read(b[:min(int64(len(b)), a.n)])
	if a.n -= int64(n); err == io.EOF && a.n > 0 {
		err = io.ErrUnexpectedEOF
	} else if err == io.EOF {
		err = nil
	}
	return n, err
}

// nothing reads as zeros without end.
type nothing struct{}

func (nothing) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// interruptible ends reading when its context does, and remembers what the source answered, which decoders wrap away.
type interruptible struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (i *interruptible) Read(b []byte) (int, error) {
	if i.ctx.Err() != nil {
		i.err = context.Cause(i.ctx)
		return 0, i.err
	}
	n, err := i.r.Read(b)
	if err != nil && err != io.EOF {
		i.err = err
	}
	return n, err
}
