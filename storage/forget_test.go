package storage_test

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// letters is a table like that of messages: rows of many threads, each growing at its own end, found by an id as well.
var letters = fstest.MapFS{"0001_letter.sql": {Data: []byte(`-- owner: test
CREATE TABLE letter (thread INTEGER NOT NULL, n INTEGER NOT NULL, id INTEGER NOT NULL UNIQUE, text TEXT, PRIMARY KEY (thread, n)) STRICT, WITHOUT ROWID;
CREATE TABLE draft (id INTEGER PRIMARY KEY, text TEXT NOT NULL) STRICT;`)}}

// archive writes, changes and deletes letters by chance, and knows what must be there and what must not.
type archive struct {
	t      *testing.T
	db     *storage.DB
	chance *rand.Rand
	next   int
	ends   map[int]int
	kept   map[int]string
	ids    []int
	gone   map[string]bool // marks of what was deleted
}

// mark is a text that stands nowhere else, and marks finds any.
func mark(id int) string { return fmt.Sprintf("<%07d mark %07d>", id*7919%9999991, id) }

var marks = regexp.MustCompile(`<\d{7} mark \d{7}>`)

func (a *archive) text() string {
	size := a.chance.Intn(300)
	if a.chance.Intn(40) == 0 {
		size = 4000 + a.chance.Intn(9000) // on pages of its own
	}
	return mark(a.next) + strings.Repeat("·", size) + mark(a.next)
}

// work does n things in transactions of twenty.
func (a *archive) work(n int) {
	for ; n > 0; n -= 20 {
		write(a.t, a.db, func(tx *storage.Tx) error {
			for range 20 {
				if err := a.one(tx); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

func (a *archive) one(tx *storage.Tx) (err error) {
	i := a.chance.Intn(len(a.ids) + 1)
	switch r := a.chance.Intn(10); {
	case r < 7 || i == len(a.ids):
		a.next++
		thread := a.chance.Intn(60)
		a.ends[thread]++
		text := a.text()
		_, err = tx.Exec("INSERT INTO letter (thread, n, id, text) VALUES (?, ?, ?, ?)", thread, a.ends[thread], a.next, text)
		a.kept[a.next], a.ids = text, append(a.ids, a.next)
	case r == 7:
		id := a.ids[i]
		text := mark(id) + strings.Repeat("~", a.chance.Intn(500))
		_, err = tx.Exec("UPDATE letter SET text = ? WHERE id = ?", text, id)
		a.kept[id] = text
	default:
		id := a.ids[i]
		a.ids[i] = a.ids[len(a.ids)-1]
		a.ids = a.ids[:len(a.ids)-1]
		delete(a.kept, id)
		a.gone[mark(id)] = true
		if r == 8 {
			_, err = tx.Exec("UPDATE letter SET text = NULL WHERE id = ?", id)
		} else {
			_, err = tx.Exec("DELETE FROM letter WHERE id = ?", id)
		}
	}
	return err
}

// forgotten asks the database to forget and waits until it has.
func forgotten(t *testing.T, db *storage.DB) {
	t.Helper()
	before := db.Stats().Forgotten
	db.Forget()
	wait(t, "the database forgets", func() bool { return db.Stats().Forgotten > before })
}

// onDisk returns the marks in the files of a directory, once for each file.
func onDisk(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		for _, m := range marks.FindAll(raw, -1) {
			found[string(m)] = filepath.Base(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// left returns those of the deleted letters of which something stands on disk.
func (a *archive) left() (left []string) {
	for m, file := range onDisk(a.t, a.db.Dir()) {
		if a.gone[m] {
			left = append(left, file+": "+m)
		}
	}
	return left
}

// intact checks the file and that the letters are those that were kept.
func (a *archive) intact() {
	a.t.Helper()
	err := a.db.Read(ctx, func(v storage.View) error {
		var verdict string
		if err := v.QueryRow("PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
			a.t.Errorf("integrity: %s %v", verdict, err)
		}
		rows, err := v.Query("SELECT id, text FROM letter WHERE text IS NOT NULL")
		if err != nil {
			return err
		}
		defer rows.Close()
		n := 0
		for ; rows.Next(); n++ {
			var id int
			var text string
			if err := rows.Scan(&id, &text); err != nil {
				return err
			}
			if a.kept[id] != text {
				a.t.Fatalf("letter %d is %.60q, not %.60q", id, text, a.kept[id])
			}
		}
		if n != len(a.kept) {
			a.t.Errorf("%d letters, not %d", n, len(a.kept))
		}
		return rows.Err()
	})
	if err != nil {
		a.t.Fatal(err)
	}
}

// TestWhatIsForgottenStandsInNoFile deletes some of very many rows, so that SQLite has often moved what is deleted
// later, and looks for their bytes. Without secure_delete a quarter is found; with it alone, a few.
func TestWhatIsForgottenStandsInNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "test.db")
	a := &archive{t: t, db: open(t, storage.Options{Path: path, Migrations: letters}), chance: rand.New(rand.NewSource(1)), ends: map[int]int{}, kept: map[int]string{}, gone: map[string]bool{}}
	check := func(when string) {
		t.Helper()
		forgotten(t, a.db)
		if left := a.left(); len(left) > 0 {
			t.Errorf("%s: %d of %d are found, such as %s", when, len(left), len(a.gone), left[0])
		}
		a.intact()
	}
	a.work(10000)
	if len(a.left()) == 0 {
		t.Error("nothing deleted is found before it is forgotten: does this test look in the right place?")
	}
	check("at first")
	a.work(2000)
	check("of what was written since")
	a.work(2000)
	if err := a.db.Close(); err != nil {
		t.Fatal(err)
	}
	a.db = open(t, storage.Options{Path: path, Migrations: letters})
	check("after a start")
}

func TestForgettingWaitsForNobodyAndIsDoneWhenTheReaderIs(t *testing.T) {
	t.Parallel()
	db := open(t, storage.Options{})
	write(t, db, insert(mark(1)))
	reading, release, done := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		done <- db.Read(context.Background(), func(v storage.View) error {
			if _, err := list(v); err != nil {
				return err
			}
			close(reading)
			<-release
			if all, err := list(v); err != nil || all != mark(1) {
				t.Errorf("the snapshot has %q, %v", all, err)
			}
			return nil
		})
	}()
	<-reading
	write(t, db, func(tx *storage.Tx) error {
		tx.OnCommit(db.Forget)
		_, err := tx.Exec("DELETE FROM note")
		return err
	})
	longest := time.Duration(0)
	for until := time.Now().Add(2 * time.Second); time.Now().Before(until); { // it tries, and is in nobody's way
		start := time.Now()
		write(t, db, insert(fmt.Sprint(start.UnixNano())))
		longest = max(longest, time.Since(start))
	}
	if longest > 500*time.Millisecond {
		t.Errorf("a write took %s", longest)
	}
	if db.Stats().Forgotten != 0 || len(onDisk(t, db.Dir())) == 0 {
		t.Error("forgotten while somebody reads it")
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	wait(t, "it is forgotten", func() bool { return db.Stats().Forgotten == 1 })
	if found := onDisk(t, db.Dir()); len(found) > 0 {
		t.Errorf("found: %v", found)
	}
}
