// Package blob keeps the bytes of media: each content once, under the SHA-256 of it, on the local disk or
// in a bucket of an S3-compatible store.
//
// Bytes arrive as a [Draft], a temporary file that counts and hashes what is written to it. [Store.Keep] puts it in its
// place for good, under its name, and then has the caller claim it in the database; [Store.Remove] asks the caller
// whether anybody claims it, and if not removes it. Both hold the lock of that one name meanwhile, so that nothing is
// removed between "it is there" and "it is mine".
//
// What is kept survives a power loss before it is claimed: a place says that it has bytes only when they are safe. A
// kill at any moment leaves at most a draft, which the next [Open] removes, or bytes that nobody claims, which
// [Store.Walk] finds.
package blob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
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

// File is a blob opened for reading, by one goroutine. The one of a disk is also a syscall.Conn, by which the kernel
// sends it to a socket by itself; whoever wraps it loses that.
type File interface {
	io.ReadSeekCloser
	Info() Info
}

// place is where the bytes of blobs lie for good. It is given valid names only, and no name to two writers at a time.
type place interface {
	// put makes the bytes of a draft, which are on the local disk, safe under its name, over what is there, which may
	// be damaged. It may take the file of the draft away.
	put(ctx context.Context, d *Draft) error
	open(ctx context.Context, name Name) (File, error) // ErrNotFound
	stat(ctx context.Context, name Name) (Info, error) // ErrNotFound
	remove(ctx context.Context, name Name) error       // nil for what is not there
	walk(ctx context.Context, fn func(Info) error) error
	check(ctx context.Context) error
}

// Store keeps blobs. Its methods may be called from any goroutine.
type Store struct {
	place   place
	drafts  string // directory of the local disk
	reserve int64  // bytes of the local disk that drafts leave free

	mu    sync.Mutex
	locks map[Name]*lock
}

// newStore empties and makes the directory of drafts.
func newStore(p place, drafts string, reserve int64) (*Store, error) {
	if err := os.RemoveAll(drafts); err != nil {
		return nil, fmt.Errorf("remove old drafts of blobs: %w", err)
	}
	if err := os.MkdirAll(drafts, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of blobs: %w", mapError(err))
	}
	return &Store{place: p, drafts: drafts, reserve: reserve, locks: map[Name]*lock{}}, nil
}

// lock is held by one user of a name, whose token fills it; the others wait.
type lock struct {
	held  chan struct{}
	users int // who hold it or wait for it; under Store.mu
}

// hold locks a name. The caller unlocks it with the function returned. Errors: that of ctx, when it ends first.
func (s *Store) hold(ctx context.Context, name Name) (release func(), err error) {
	s.mu.Lock()
	l := s.locks[name]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		s.locks[name] = l
	}
	l.users++
	s.mu.Unlock()
	leave := func() {
		s.mu.Lock()
		if l.users--; l.users == 0 {
			delete(s.locks, name)
		}
		s.mu.Unlock()
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// Keep puts the bytes of a draft in their place and then calls claim, which records in the database that they are
// needed. When claim fails the bytes stay, for whoever else claims them or for a sweep. The draft is used up. Errors:
// ErrFull, and that of claim.
func (s *Store) Keep(ctx context.Context, d *Draft, claim func() error) error {
	defer d.Discard()
	release, err := s.hold(ctx, d.Name())
	if err != nil {
		return err
	}
	defer release()
	if err := s.place.put(ctx, d); err != nil {
		return fmt.Errorf("keep blob: %w", mapError(err))
	}
	return claim()
}

// Remove removes a blob if claimed, asked under its lock, says that nobody needs it. It reports whether it is gone; one
// that is not there is.
func (s *Store) Remove(ctx context.Context, name Name, claimed func() (bool, error)) (gone bool, err error) {
	release, err := s.hold(ctx, name)
	if err != nil {
		return false, err
	}
	defer release()
	needed, err := claimed()
	if err != nil || needed {
		return false, err
	}
	if !name.Valid() {
		return true, nil
	}
	if err := s.place.remove(ctx, name); err != nil {
		return false, fmt.Errorf("remove blob: %w", err)
	}
	return true, nil
}

// Open opens a blob for reading, for as long as ctx lives. Errors: ErrNotFound.
func (s *Store) Open(ctx context.Context, name Name) (File, error) {
	if !name.Valid() {
		return nil, ErrNotFound
	}
	f, err := s.place.open(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Stat describes a blob. Errors: ErrNotFound.
func (s *Store) Stat(ctx context.Context, name Name) (Info, error) {
	if !name.Valid() {
		return Info{}, ErrNotFound
	}
	info, err := s.place.stat(ctx, name)
	if err != nil {
		return Info{}, fmt.Errorf("look at blob: %w", err)
	}
	return info, nil
}

// Walk calls fn for every blob, in the order of their names, until it fails or ctx ends.
func (s *Store) Walk(ctx context.Context, fn func(Info) error) error {
	return s.place.walk(ctx, fn)
}

// Check asks the place whether it would work, for health and before a change of settings. It writes nothing. Errors:
// ErrUnavailable, ErrRefused.
func (s *Store) Check(ctx context.Context) error {
	if err := s.place.check(ctx); err != nil {
		return fmt.Errorf("check blobs: %w", err)
	}
	return nil
}

// Verify reads a blob and reports whether its bytes are those of its name. Errors: ErrNotFound.
func (s *Store) Verify(ctx context.Context, name Name) (sound bool, err error) {
	f, err := s.Open(ctx, name)
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

// Free is how many bytes the local disk, where drafts lie, has for whoever runs the server.
func (s *Store) Free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.drafts, &st); err != nil {
		return 0, fmt.Errorf("look at the free space: %w", err)
	}
	return int64(st.Bavail) * int64(st.Bsize), nil
}

// room refuses with ErrFull when what is free is the reserve.
func (s *Store) room() error {
	free, err := s.Free()
	if err == nil && free <= s.reserve {
		return ErrFull
	}
	return err
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
