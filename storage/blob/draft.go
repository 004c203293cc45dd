package blob

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"os"
)

// Draft is a blob that is being written. One goroutine uses it, and ends with Store.Keep or Discard.
type Draft struct {
	file    *os.File
	sum     hash.Hash
	size    int64
	limit   int64
	checked int64 // size at which the free space was looked at last
	taken   bool  // the file is a blob, and not ours any more
	store   *Store
}

// checkEvery is how many bytes are written between two looks at the free space.
const checkEvery = 8 << 20

// Draft begins a blob of at most limit bytes. Errors: ErrFull when the disk has no more than its reserve.
func (s *Store) Draft(limit int64) (*Draft, error) {
	if err := s.room(); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(s.drafts, "")
	if err != nil {
		return nil, fmt.Errorf("begin blob: %w", mapError(err))
	}
	return &Draft{file: f, sum: sha256.New(), limit: limit, store: s}, nil
}

// Write adds bytes. Errors: ErrTooLarge, of which nothing is written, and ErrFull.
func (d *Draft) Write(b []byte) (int, error) {
	if int64(len(b)) > d.limit-d.size {
		return 0, ErrTooLarge
	}
	if d.size-d.checked >= checkEvery {
		if err := d.store.room(); err != nil {
			return 0, err
		}
		d.checked = d.size
	}
	n, err := d.file.Write(b)
	d.sum.Write(b[:n])
	d.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("write blob: %w", mapError(err))
	}
	return n, nil
}

// Name is the name of what was written so far.
func (d *Draft) Name() Name { return Name(hex.EncodeToString(d.sum.Sum(nil))) }

// Discard removes the draft, unless it is kept already. It may be called twice.
func (d *Draft) Discard() {
	_ = d.file.Close()
	if !d.taken {
		_ = os.Remove(d.file.Name()) // what stays goes when the store is opened next
	}
}
