package blob

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Open keeps blobs in a directory. It makes it if need be, and removes the drafts that a kill has left. One process has
// it open at a time: the lock of the data directory sees to that. Reserve is how many bytes of the disk blobs leave to
// the database.
func Open(dir string, reserve int64) (*Store, error) {
	d := &disk{dir: dir, drafts: filepath.Join(dir, "new")}
	s, err := newStore(d, d.drafts, reserve)
	if err != nil {
		return nil, err
	}
	return s, errors.Join(syncDir(dir), syncDir(filepath.Dir(dir)))
}

// disk is a directory, whose file system has the drafts as well: a draft becomes a blob by its new name.
type disk struct {
	dir    string
	drafts string
}

// path is where a blob lies: two levels of 256 directories keep each of them short.
func (d *disk) path(name Name) string {
	return filepath.Join(d.dir, string(name[:2]), string(name[2:4]), string(name))
}

// diskFile lends its *os.File's methods, so that net/http finds the descriptor for sendfile.
type diskFile struct {
	*os.File
	info Info
}

func (f *diskFile) Info() Info { return f.info }

func (d *disk) open(_ context.Context, name Name) (File, error) {
	f, err := os.Open(d.path(name))
	if err != nil {
		return nil, missing(err)
	}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &diskFile{f, Info{name, info.Size(), info.ModTime()}}, nil
}

func (d *disk) stat(_ context.Context, name Name) (Info, error) {
	info, err := os.Stat(d.path(name))
	if err != nil {
		return Info{}, missing(err)
	}
	return Info{name, info.Size(), info.ModTime()}, nil
}

func missing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	return err
}

// put syncs the file, renames it to its name, and syncs what that has changed.
func (d *disk) put(_ context.Context, draft *Draft) error {
	if err := draft.file.Sync(); err != nil {
		return err
	}
	to := d.path(draft.Name())
	inner := filepath.Dir(to)
	if err := os.MkdirAll(inner, 0o700); err != nil {
		return err
	}
	if err := os.Rename(draft.file.Name(), to); err != nil {
		return err
	}
	draft.taken = true
	// The outer two as well, whoever has made the directories in them: for one that has not changed it costs nothing.
	return errors.Join(syncDir(inner), syncDir(filepath.Dir(inner)), syncDir(d.dir), syncDir(d.drafts))
}

func (d *disk) remove(_ context.Context, name Name) error {
	switch err := os.Remove(d.path(name)); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	return syncDir(filepath.Dir(d.path(name)))
}

func (d *disk) walk(ctx context.Context, fn func(Info) error) error {
	return filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed meanwhile
			return nil
		case err != nil:
			return fmt.Errorf("list blobs: %w", err)
		case ctx.Err() != nil:
			return ctx.Err()
		case entry.IsDir():
			if path == d.drafts {
				return fs.SkipDir
			}
			return nil
		}
		name := Name(entry.Name())
		if !name.Valid() || d.path(name) != path {
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

func (d *disk) check(context.Context) error {
	_, err := os.Stat(d.drafts)
	return err
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
