// Package blob keeps the bytes of media: each content once, under the SHA-256 of it, on the local disk.
//
// Bytes arrive as a [Draft], a temporary file that counts and hashes what is written to it. [Store.Keep] puts it on
// the disk for good, under its name, and then has the caller claim it in the database; [Store.Remove] asks the caller
// whether anybody claims it, and if not removes it. Both hold the lock of that one name meanwhile, so that nothing is
// removed between "it is there" and "it is mine".
//
// What is written survives a power loss before it is claimed: the file is synced, renamed, and both directories are
// synced. A kill at any moment leaves at most a draft, which the next [Open] removes, or bytes that nobody claims, which
// [Store.Walk] finds.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
	"time"
)

// What can be wrong with bytes, for errors.Is.
var (
	ErrNotFound = errors.New("no such blob")
	ErrTooLarge = errors.New("blob is larger than allowed")
	ErrFull     = errors.New("no space for blobs")
)

// Name is the SHA-256 of a content in lower-case hexadecimal digits.
type Name string

// Valid reports whether it has the form of a name.
func (n Name) Valid() bool {
	if len(n) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(n) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Info describes a blob that is kept.
type Info struct {
	Name Name
	Size int64     // bytes
	At   time.Time // when it was kept last
}

// Store is a directory of blobs. Its methods may be called from any goroutine.
type Store struct {
	dir     string
	reserve int64 // bytes of the disk that drafts leave free

	mu    sync.Mutex
	locks map[Name]*lock
}

// lock is held by one user of a name; the others wait.
type lock struct {
	sync.Mutex
	users int // who hold it or wait for it; under Store.mu
}

// hold locks a name. The caller unlocks it with the function returned.
func (s *Store) hold(name Name) (release func()) {
	s.mu.Lock()
	l := s.locks[name]
	if l == nil {
		l = &lock{}
		s.locks[name] = l
	}
	l.users++
	s.mu.Unlock()
	l.Lock()
	return func() {
		l.Unlock()
		s.mu.Lock()
		if l.users--; l.users == 0 {
			delete(s.locks, name)
		}
		s.mu.Unlock()
	}
}

// Keep puts the bytes of a draft in their place and then calls claim, which records in the database that they are
// needed. When claim fails the bytes stay, for whoever else claims them or for a sweep. The draft is used up. Errors:
// ErrFull, and that of claim.
func (s *Store) Keep(d *Draft, claim func() error) error {
	defer d.Discard()
	if err := d.file.Sync(); err != nil {
		return fmt.Errorf("keep blob: %w", mapError(err))
	}
	name := d.Name()
	defer s.hold(name)()
	if err := s.place(d.file.Name(), name); err != nil {
		return fmt.Errorf("keep blob: %w", mapError(err))
	}
	d.kept = true
	return claim()
}

// Remove removes a blob if claimed, asked under its lock, says that nobody needs it. It reports whether it is gone; one
// that is not there is.
func (s *Store) Remove(name Name, claimed func() (bool, error)) (gone bool, err error) {
	defer s.hold(name)()
	needed, err := claimed()
	if err != nil || needed {
		return false, err
	}
	if err := s.unlink(name); err != nil {
		return false, fmt.Errorf("remove blob: %w", err)
	}
	return true, nil
}

// Verify reads a blob and reports whether its bytes are those of its name. Errors: ErrNotFound.
func (s *Store) Verify(ctx context.Context, name Name) (sound bool, err error) {
	f, err := s.Open(name)
	if err != nil {
		return false, err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, &interruptible{ctx, f}); err != nil {
		return false, fmt.Errorf("read blob: %w", err)
	}
	return Name(hex.EncodeToString(sum.Sum(nil))) == name, nil
}

// interruptible ends reading when its context does.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(b []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	return i.r.Read(b)
}

// mapError knows the ways in which a disk has no space, or no more for us.
func mapError(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG) {
		return fmt.Errorf("%w: %w", ErrFull, err)
	}
	return err
}
