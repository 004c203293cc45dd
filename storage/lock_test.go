package storage_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/storage"
)

func TestASecondHolderOfTheDirectoryIsToldWhoHasIt(t *testing.T) {
	dir := t.TempDir()
	first, err := storage.AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	var locked *storage.LockedError
	if _, err := storage.AcquireLock(dir); !errors.As(err, &locked) || locked.PID != os.Getpid() || locked.Dir != dir {
		t.Errorf("error %v", err)
	} else if want := fmt.Sprintf("(pid %d)", os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("sentence %q", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	second, err := storage.AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
}

func TestTheLockFileSaysWhatItsHolderAdds(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "LOCK"), []byte(strings.Repeat("from a process long gone\n", 9)), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := storage.AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, lines := range [][]string{{"socket /run/quckchat.sock", "url http://localhost:3000"}, {"socket /tmp/q"}, nil} {
		if err := l.Describe(lines...); err != nil {
			t.Fatal(err)
		}
		want := strings.Join(append([]string{fmt.Sprint("pid ", os.Getpid())}, lines...), "\n") + "\n"
		if got, err := os.ReadFile(filepath.Join(dir, "LOCK")); err != nil || string(got) != want {
			t.Errorf("LOCK is %q, not %q, error %v", got, want, err)
		}
	}
}
