package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// ErrDamaged is for errors.Is: bytes are not those of their name.
var ErrDamaged = errors.New("blob is damaged")

// Progress of a Move.
type Progress struct {
	Done, Total           int   // blobs; more may be done than were counted when others are kept meanwhile
	DoneBytes, TotalBytes int64 // of those
	Skipped               int   // of Done: they were there already
}

// Move copies every blob of one store to another, and reports after each. The bytes are compared with their name while
// they are read and again when they have arrived. It removes nothing. What is there and sound is not sent again, so that
// one that was interrupted can be repeated. What the first store keeps while it runs may be left out: repeat it once
// nobody keeps anything there. Errors: ErrDamaged, when all but the blobs it names were copied; those of a store, which
// end it at once.
func Move(ctx context.Context, from, to *Store, report func(Progress)) error {
	var p Progress
	if err := from.Walk(ctx, func(i Info) error { p.Total++; p.TotalBytes += i.Size; return nil }); err != nil {
		return err
	}
	damaged, some := 0, ""
	err := from.Walk(ctx, func(i Info) error {
		there, err := to.sound(ctx, i)
		if err == nil && !there {
			err = copyBlob(ctx, from, to, i)
		}
		switch {
		case errors.Is(err, errSource):
			if damaged++; damaged <= 10 {
				some += " " + string(i.Name)
			}
		case errors.Is(err, ErrNotFound): // removed meanwhile
		case err != nil:
			return fmt.Errorf("move blob %s: %w", i.Name, err)
		}
		if there {
			p.Skipped++
		}
		p.Done++
		p.DoneBytes += i.Size
		report(p)
		return nil
	})
	if err == nil && damaged > 0 {
		err = fmt.Errorf("%w: %d of %d, first%s", ErrDamaged, damaged, p.Done, some)
	}
	return err
}

// errSource is that of a blob which was damaged before it was moved.
var errSource = fmt.Errorf("%w where it is", ErrDamaged)

// sound reports whether a store has the blob as it should be.
func (s *Store) sound(ctx context.Context, want Info) (bool, error) {
	got, err := s.Stat(ctx, want.Name)
	if errors.Is(err, ErrNotFound) || err == nil && got.Size != want.Size {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	sound, err := s.Verify(ctx, want.Name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return sound, err
}

func copyBlob(ctx context.Context, from, to *Store, i Info) error {
	f, err := from.Open(ctx, i.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := to.Draft(f.Info().Size)
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := io.Copy(d, &interruptible{ctx, f}); err != nil {
		return err
	}
	if d.Name() != i.Name {
		return errSource
	}
	return to.Keep(ctx, d, func() error {
		sound, err := to.Verify(ctx, i.Name)
		if err == nil && !sound {
			err = fmt.Errorf("%w where it was moved to", ErrDamaged)
		}
		return err
	})
}
