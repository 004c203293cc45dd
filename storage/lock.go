package storage

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Lock is the claim of one process on a data directory, held until Close. The file LOCK names the holder in plain
// text: its process id, and further lines that the holder adds, such as where its admin socket is.
type Lock struct{ file *os.File }

// LockedError says that another process holds the data directory.
type LockedError struct {
	Dir string
	PID int // 0 when the holder has not said
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("the data directory %s is in use by another quckchat process", e.Dir)
	}
	return fmt.Sprintf("the data directory %s is in use by another quckchat process (pid %d): stop it first, or choose another directory with --data", e.Dir, e.PID)
}

// AcquireLock takes the data directory for this process, or returns a *LockedError. The kernel frees the lock when
// the process ends, however it ends.
func AcquireLock(dir string) (*Lock, error) {
	path := filepath.Join(dir, "LOCK")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			held, _ := os.ReadFile(path)
			first, _, _ := strings.Cut(string(held), "\n")
			pid, _ := strconv.Atoi(strings.TrimPrefix(first, "pid "))
			return nil, &LockedError{Dir: dir, PID: pid}
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	l := &Lock{file: f}
	return l, l.Describe()
}

// Describe rewrites the lock file: the process id and then the given lines.
func (l *Lock) Describe(lines ...string) error {
	text := strings.Join(append([]string{"pid " + strconv.Itoa(os.Getpid())}, lines...), "\n") + "\n"
	if err := l.file.Truncate(0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	if _, err := l.file.WriteAt([]byte(text), 0); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// Close gives the data directory back.
func (l *Lock) Close() error { return l.file.Close() }
