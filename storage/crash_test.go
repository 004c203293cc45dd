package storage_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"

	"golang.org/x/sys/unix"

	"github.com/quckchat/quckchat/storage"
)

// The test binary is also the process that is killed and the one whose disk is full: named by this variable.
const childEnv = "QUCKCHAT_STORAGE_CHILD"

func TestMain(m *testing.M) {
	var run func(dir string) error
	switch os.Getenv(childEnv) {
	case "":
		os.Exit(m.Run())
	case "writes":
		run = writeForEver
	case "full":
		run = fillTheDisk
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// child prepares the test binary as another process.
func child(name, dir string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], dir)
	cmd.Env = append(os.Environ(), childEnv+"="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

// pairs has two tables that every write fills together.
var pairs = fstest.MapFS{"0001_pair.sql": {Data: []byte(
	"CREATE TABLE one (n INTEGER PRIMARY KEY, fill BLOB) STRICT;\nCREATE TABLE two (n INTEGER PRIMARY KEY) STRICT;")}}

func insertPair(n int64, fill []byte) func(tx *storage.Tx) error {
	return func(tx *storage.Tx) error {
		if _, err := tx.Exec("INSERT INTO one (n, fill) VALUES (?, ?)", n, fill); err != nil {
			return err
		}
		_, err := tx.Exec("INSERT INTO two (n) VALUES (?)", n)
		return err
	}
}

func openPairs(dir string) (*storage.DB, error) {
	return storage.Open(storage.Options{Path: filepath.Join(dir, "test.db"), Migrations: pairs})
}

// highest checks that the database is whole and that no write is there by half, and returns the last one.
func highest(v storage.View) (n int64, err error) {
	var check string
	if err := v.QueryRow("PRAGMA integrity_check").Scan(&check); err != nil || check != "ok" {
		return 0, fmt.Errorf("integrity check: %s %w", check, err)
	}
	var halves int64
	if err := v.QueryRow("SELECT count(*) FROM one FULL JOIN two ON one.n = two.n WHERE one.n IS NULL OR two.n IS NULL").Scan(&halves); err != nil || halves > 0 {
		return 0, fmt.Errorf("%d writes are there by half: %w", halves, err)
	}
	var last sql.NullInt64
	err = v.QueryRow("SELECT max(n) FROM one").Scan(&last)
	return last.Int64, err
}

// writeForEver is the child that is killed: it prints each number once it was told that it is on disk.
func writeForEver(dir string) error {
	lock, err := storage.AcquireLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	db, err := openPairs(dir)
	if err != nil {
		return err
	}
	var counter atomic.Int64
	if err := db.Read(ctx, func(v storage.View) error {
		n, err := highest(v)
		counter.Store(n)
		return err
	}); err != nil {
		return err
	}
	failed := make(chan error)
	for range 4 {
		go func() {
			for {
				n := counter.Add(1)
				if err := db.Write(ctx, "test", insertPair(n, nil)); err != nil {
					failed <- err
				}
				if _, err := os.Stdout.WriteString(strconv.FormatInt(n, 10) + "\n"); err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

func TestEveryAcknowledgedWriteSurvivesAKill(t *testing.T) {
	dir := t.TempDir()
	var acknowledged []int64
	for round := range 5 {
		cmd := child("writes", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for after := 1 + rand.IntN(200); lines.Scan(); after-- {
			n, err := strconv.ParseInt(lines.Text(), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			acknowledged = append(acknowledged, n)
			if after == 0 {
				if err := cmd.Process.Kill(); err != nil { // what it printed before it died is read to the end
					t.Fatal(err)
				}
			}
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Fatalf("the child was not killed but ended: %v", err)
		}
		lock, err := storage.AcquireLock(dir)
		if err != nil {
			t.Fatalf("the lock outlived its holder: %v", err)
		}
		db, err := openPairs(dir)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Read(ctx, func(v storage.View) error {
			if _, err := highest(v); err != nil {
				return err
			}
			for _, n := range acknowledged {
				if err := v.QueryRow("SELECT n FROM one WHERE n = ?", n).Scan(new(int64)); err != nil {
					return fmt.Errorf("write %d was acknowledged: %w", n, err)
				}
			}
			return nil
		})
		if err := errors.Join(err, db.Close(), lock.Close()); err != nil {
			t.Fatalf("after kill %d: %v", round+1, err)
		}
	}
	if len(acknowledged) == 0 {
		t.Error("nothing was acknowledged")
	}
	t.Logf("%d acknowledged writes", len(acknowledged))
}

// fillTheDisk is the child whose files may not grow, as on a full disk, and then may again.
func fillTheDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ)
	db, err := openPairs(dir)
	if err != nil {
		return err
	}
	var next, kept int64
	try := func() error {
		next++
		err := db.Write(context.Background(), "test", insertPair(next, bytes.Repeat([]byte{1}, 8000)))
		if err == nil {
			kept++
		}
		return err
	}
	expect := func(when string) error {
		return db.Read(ctx, func(v storage.View) error {
			if _, err := highest(v); err != nil {
				return fmt.Errorf("%s: %w", when, err)
			}
			var n int64
			if err := v.QueryRow("SELECT count(*) FROM one").Scan(&n); err != nil || n != kept {
				return fmt.Errorf("%s: %d rows, %d acknowledged: %w", when, n, kept, err)
			}
			return nil
		})
	}
	for range 10 {
		if err := try(); err != nil {
			return fmt.Errorf("with room: %w", err)
		}
	}
	limit := unix.Rlimit{Cur: uint64(db.Stats().WALBytes) + 100_000, Max: unix.RLIM_INFINITY}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if err = try(); err != nil {
			break
		}
		if i > 100 {
			return errors.New("the limit had no effect")
		}
	}
	for range 10 {
		if !errors.Is(err, storage.ErrFull) && !errors.Is(err, storage.ErrFailed) {
			return fmt.Errorf("a full disk gave: %w", err)
		}
		if err := expect("full"); err != nil {
			return err
		}
		if err = try(); err == nil {
			return errors.New("a write succeeded on a full disk")
		}
	}
	var all sync.WaitGroup
	var succeeded atomic.Int64
	for i := range 20 {
		all.Go(func() {
			if err := db.Write(ctx, "test", insertPair(10_000+int64(i), bytes.Repeat([]byte{1}, 8000))); err == nil {
				succeeded.Add(1)
			}
		})
	}
	all.Wait()
	if kept += succeeded.Load(); succeeded.Load() > 0 {
		return errors.New("one of many writes succeeded on a full disk")
	}
	if err := expect("full, many"); err != nil {
		return err
	}
	limit.Cur = unix.RLIM_INFINITY
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		return err
	}
	for range 10 {
		if err := try(); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if err := expect("with room again"); err != nil {
		return err
	}
	if err := db.Close(); err != nil {
		return err
	}
	if db, err = openPairs(dir); err != nil {
		return err
	}
	if err := expect("reopened"); err != nil {
		return err
	}
	fmt.Println("kept", kept)
	return db.Close()
}

func TestAFullDiskFailsWritesServesReadsAndHeals(t *testing.T) {
	out, err := child("full", t.TempDir()).Output()
	if err != nil || !strings.HasPrefix(string(out), "kept ") {
		t.Errorf("%v: %s", err, out)
	}
}
