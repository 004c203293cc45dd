package blob

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Adopt makes a draft of a file that was written by somebody else, on the disk of the drafts. The file itself stays: it is
// linked, not moved, so that whoever is interrupted can begin again.
func (s *Store) Adopt(ctx context.Context, path string) (*Draft, error) {
	linked := filepath.Join(s.drafts, "adopted-"+filepath.Base(path))
	_ = os.Remove(linked) // of an attempt before
	if err := os.Link(path, linked); err != nil {
		return nil, fmt.Errorf("adopt blob: %w", mapError(err))
	}
	f, err := os.OpenFile(linked, os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("adopt blob: %w", err)
	}
	d := &Draft{file: f, sum: sha256.New(), store: s}
	if d.size, err = io.CopyBuffer(d.sum, &interruptible{ctx, f}, make([]byte, 1<<20)); err != nil {
		d.Discard()
		return nil, fmt.Errorf("adopt blob: %w", err)
	}
	d.limit = d.size
	return d, nil
}

// Size is how many bytes were written so far.
func (d *Draft) Size() int64 { return d.size }

// Reader reads what was written so far from the start. It is good until the draft is kept or discarded.
func (d *Draft) Reader() *io.SectionReader { return io.NewSectionReader(d.file, 0, d.size) }
