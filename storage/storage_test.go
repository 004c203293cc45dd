package storage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/quckchat/quckchat/storage"
)

var ctx = context.Background()

// notes is a small schema for tests of the machinery.
var notes = fstest.MapFS{"0001_note.sql": {Data: []byte(
	"-- owner: test\nCREATE TABLE note (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE) STRICT;")}}

func open(t *testing.T, o storage.Options) *storage.DB {
	t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(t.TempDir(), "test.db")
	}
	if o.Migrations == nil {
		o.Migrations = notes
	}
	db, err := storage.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return db
}

func insert(text string) func(tx *storage.Tx) error {
	return func(tx *storage.Tx) error {
		_, err := tx.Exec("INSERT INTO note (text) VALUES (?)", text)
		return err
	}
}

func write(t *testing.T, db *storage.DB, fn func(tx *storage.Tx) error) {
	t.Helper()
	if err := db.Write(ctx, "test", fn); err != nil {
		t.Fatal(err)
	}
}

// texts returns all notes in the order they were written.
func texts(t *testing.T, db *storage.DB) string {
	t.Helper()
	var all string
	err := db.Read(ctx, func(v storage.View) (err error) { all, err = list(v); return err })
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func list(q storage.Querier) (string, error) {
	rows, err := q.Query("SELECT text FROM note ORDER BY id")
	if err != nil {
		return "", err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			return "", err
		}
		all = append(all, text)
	}
	return strings.Join(all, " "), rows.Err()
}

// wait lets other goroutines run until ok.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for limit := time.Now().Add(10 * time.Second); !ok(); runtime.Gosched() {
		if time.Now().After(limit) {
			t.Fatalf("never came: %s", what)
		}
	}
}

func TestAReaderSeesOneMomentWhileOthersWrite(t *testing.T) {
	db := open(t, storage.Options{})
	write(t, db, insert("one"))
	err := db.Read(ctx, func(v storage.View) error {
		before, err := list(v)
		if err != nil {
			return err
		}
		if err := db.Write(ctx, "test", insert("two")); err != nil { // a reader may wait for the writer, never the reverse
			return err
		}
		after, err := list(v)
		if before != "one" || after != "one" {
			t.Errorf("the snapshot went from %q to %q", before, after)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := texts(t, db); got != "one two" {
		t.Errorf("a later reader sees %q", got)
	}
}

func TestAReaderCannotWrite(t *testing.T) {
	db := open(t, storage.Options{})
	err := db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("INSERT INTO note (text) VALUES ('x') RETURNING id")
		if err != nil {
			return err
		}
		defer rows.Close()
		rows.Next()
		return rows.Err()
	})
	if !errors.Is(err, storage.ErrFailed) || texts(t, db) != "" {
		t.Errorf("error %v, notes %q", err, texts(t, db))
	}
}

func TestAReadWaitsForAConnectionUntilItsContextEnds(t *testing.T) {
	db := open(t, storage.Options{})
	held, release := make(chan struct{}), make(chan struct{})
	var readers sync.WaitGroup
	defer readers.Wait()
	defer close(release)
	for range 4 { // as many as there can be
		readers.Go(func() {
			_ = db.Read(ctx, func(storage.View) error {
				select {
				case held <- struct{}{}:
				case <-release:
				}
				<-release
				return nil
			})
		})
	}
	for range max(2, min(4, runtime.GOMAXPROCS(0))) {
		<-held
	}
	short, cancel := context.WithCancel(ctx)
	cancel()
	if err := db.Read(short, func(storage.View) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAReaderThatPanicsGivesItsConnectionBack(t *testing.T) {
	db := open(t, storage.Options{})
	for range 10 {
		func() {
			defer func() { _ = recover() }()
			_ = db.Read(ctx, func(storage.View) error { panic("oh") })
		}()
	}
	if texts(t, db) != "" {
		t.Error("no connection is left")
	}
}

func TestAClosedDatabaseRefusesAndHasAnEmptyLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, storage.Options{Path: path})
	write(t, db, insert("one"))
	if !db.Fresh() {
		t.Error("a new file is not fresh")
	}
	for range 2 {
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Write(ctx, "test", insert("two")); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("write: %v", err)
	}
	if err := db.Read(ctx, func(storage.View) error { return nil }); !errors.Is(err, storage.ErrClosed) {
		t.Errorf("read: %v", err)
	}
	if info, err := os.Stat(path + "-wal"); err == nil && info.Size() > 0 {
		t.Errorf("%d bytes are left in the write-ahead log", info.Size())
	}
	if db = open(t, storage.Options{Path: path}); texts(t, db) != "one" || db.Fresh() {
		t.Errorf("reopened: notes %q, fresh %v", texts(t, db), db.Fresh())
	}
}

func TestCloseFinishesWhatIsQueued(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, storage.Options{Path: path})
	const n = 50
	var all sync.WaitGroup
	begun, release := make(chan struct{}), make(chan struct{})
	all.Go(func() { _ = db.Write(ctx, "test", func(*storage.Tx) error { close(begun); <-release; return nil }) })
	<-begun
	errs := make([]error, n)
	for i := range n {
		all.Go(func() { errs[i] = db.Write(ctx, "test", insert(fmt.Sprint(i))) })
	}
	wait(t, "all are queued", func() bool { return db.Stats().Queued == n })
	all.Go(func() { db.Close() })
	close(release)
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	if db = open(t, storage.Options{Path: path}); len(strings.Fields(texts(t, db))) != n {
		t.Errorf("kept %s", texts(t, db))
	}
}

func TestAPathWithOddCharactersOpens(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "mi casa?mode=memory&x=#1 100%")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	db := open(t, storage.Options{Path: filepath.Join(dir, "a b.db")})
	write(t, db, insert("one"))
	if _, err := os.Stat(filepath.Join(dir, "a b.db")); err != nil || db.Dir() != dir {
		t.Errorf("dir %q, error %v", db.Dir(), err)
	}
}

func TestIDsRiseAndAreUnique(t *testing.T) {
	const workers, each = 8, 5000
	made := make([][]string, workers)
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for range each {
				made[w] = append(made[w], storage.NewID())
			}
		})
	}
	all.Wait()
	seen := map[string]bool{}
	for _, ids := range made {
		for i, id := range ids {
			if seen[id] || !storage.IsID(id) || i > 0 && id <= ids[i-1] {
				t.Fatalf("id %s (before it %s) is not new, well formed and higher", id, ids[max(0, i-1)])
			}
			seen[id] = true
		}
	}
	if before := fmt.Sprintf("%012x", time.Now().Add(time.Minute).UnixMilli()); storage.NewID()[:12] >= before {
		t.Error("an id does not begin with its time")
	}
}

func TestOnlyTheFormOfAnIDIsAnID(t *testing.T) {
	for text, want := range map[string]bool{
		"0123456789abcdef01234567": true, "": false, "0123456789abcdef0123456": false, "0123456789abcdef012345678": false,
		"0123456789ABCDEF01234567": false, "0123456789abcdeg01234567": false, "0123456789abcdef0123456\n": false,
	} {
		if storage.IsID(text) != want {
			t.Errorf("IsID(%q) is %v", text, !want)
		}
	}
}

func TestInFindsItsIDsAndNothingElse(t *testing.T) {
	db := open(t, storage.Options{})
	var all []string
	write(t, db, func(tx *storage.Tx) error {
		all = nil
		for i := range 600 {
			all = append(all, fmt.Sprintf("n%03d", i))
			if err := insert(all[i])(tx); err != nil {
				return err
			}
		}
		return nil
	})
	statements := map[string]bool{}
	for _, n := range []int{0, 1, 2, 3, 5, 100, 255, 256} {
		marks, args := storage.In(all[:n])
		statements[marks] = true
		var found int
		err := db.Read(ctx, func(v storage.View) error {
			return v.QueryRow("SELECT count(*) FROM note WHERE text IN ("+marks+")", args...).Scan(&found)
		})
		if err != nil || found != n || len(args) > 256 {
			t.Errorf("of %d ids %d were found with %d arguments, error %v", n, found, len(args), err)
		}
	}
	if len(statements) != 6 { // 1, 2, 4, 8, 128, 256
		t.Errorf("%d different statements", len(statements))
	}
	for _, n := range []int{0, 1, 256, 257, 512, 600} {
		chunks := storage.Chunks(all[:n])
		for _, chunk := range chunks {
			if len(chunk) == 0 || len(chunk) > 256 {
				t.Errorf("a chunk of %d", len(chunk))
			}
		}
		if !slices.Equal(slices.Concat(chunks...), all[:n]) {
			t.Errorf("the chunks of %d ids are not those ids", n)
		}
	}
}
