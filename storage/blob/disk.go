package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// Open makes the directory if need be, and removes the drafts that a kill has left. One process has it open at a time:
// the lock of the data directory sees to that. Reserve is how many bytes of the disk blobs leave to the database.
func Open(dir string, reserve int64) (*Store, error) {
	s := &Store{dir: dir, reserve: reserve, locks: map[Name]*lock{}}
	if err := os.RemoveAll(s.drafts()); err != nil {
		return nil, fmt.Errorf("remove old drafts of blobs: %w", err)
	}
	if err := os.MkdirAll(s.drafts(), 0o700); err != nil {
		return nil, fmt.Errorf("make directory of blobs: %w", mapError(err))
	}
	return s, errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

func (s *Store) drafts() string { return filepath.Join(s.dir, "new") }

// path is where a blob lies: two levels of 256 directories keep each of them short.
func (s *Store) path(name Name) string {
	return filepath.Join(s.dir, string(name[:2]), string(name[2:4]), string(name))
}

// Open opens a blob for reading. Errors: ErrNotFound.
func (s *Store) Open(name Name) (*os.File, error) {
	if !name.Valid() {
		return nil, ErrNotFound
	}
	f, err := os.Open(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, ErrNotFound
	case err != nil:
		return nil, fmt.Errorf("open blob: %w", err)
	}
	return f, nil
}

// Stat describes a blob. Errors: ErrNotFound.
func (s *Store) Stat(name Name) (Info, error) {
	if !name.Valid() {
		return Info{}, ErrNotFound
	}
	info, err := os.Stat(s.path(name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Info{}, ErrNotFound
	case err != nil:
		return Info{}, fmt.Errorf("look at blob: %w", err)
	}
	return Info{name, info.Size(), info.ModTime()}, nil
}

// place renames a synced file to its name, over one of the same name, which may be damaged, and syncs what changed.
func (s *Store) place(from string, name Name) error {
	to := s.path(name)
	inner := filepath.Dir(to)
	if err := os.MkdirAll(inner, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	// The outer two as well, whoever has made the directories in them: for one that has not changed it costs nothing.
	return errors.Join(syncDir(inner), syncDir(filepath.Dir(inner)), syncDir(s.dir), syncDir(s.drafts()))
}

func (s *Store) unlink(name Name) error {
	if !name.Valid() {
		return nil
	}
	switch err := os.Remove(s.path(name)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return syncDir(filepath.Dir(s.path(name)))
}

// Walk calls fn for every blob, in the order of their names, until it fails or ctx ends.
func (s *Store) Walk(ctx context.Context, fn func(Info) error) error {
	return filepath.WalkDir(s.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			return nil
		case err != nil:
			return fmt.Errorf("list blobs: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir():
			if path == s.drafts() {
				return fs.SkipDir
			}
			return nil
		}
		name := Name(entry.Name())
		if !name.Valid() || s.path(name) != path {
			return nil // not ours
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("list blobs: %w", err)
		}
		return fn(Info{name, info.Size(), info.ModTime()})
	})
}

// Free is how many bytes the disk has for whoever runs the server.
func (s *Store) Free() (int64, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(s.dir, &st); err != nil {
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

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
