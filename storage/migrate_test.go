package storage_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/quckchat/quckchat/storage"
)

var update = flag.Bool("update", false, "rewrite golden files")

// more is the small schema with one more step, and broken one whose step fails in its middle.
var (
	more = fstest.MapFS{"0001_note.sql": notes["0001_note.sql"],
		"0002_tag.sql": {Data: []byte("-- owner: test\nCREATE TABLE tag (name TEXT NOT NULL) STRICT;\nINSERT INTO tag (name) SELECT text FROM note;")}}
	broken = fstest.MapFS{"0001_note.sql": notes["0001_note.sql"],
		"0002_tag.sql": {Data: []byte("-- owner: test\nDELETE FROM note;\nINSERT INTO nowhere VALUES (1);")}}
)

func version(t *testing.T, db *storage.DB) (n int) {
	t.Helper()
	if err := db.Read(ctx, func(v storage.View) error { return v.QueryRow("PRAGMA user_version").Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// aged makes a database of the first version with one note and returns its path.
func aged(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db := open(t, storage.Options{Path: path})
	write(t, db, insert("old"))
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAMigrationKeepsASnapshotOfWhatWas(t *testing.T) {
	path := aged(t)
	at := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC)
	db := open(t, storage.Options{Path: path, Migrations: more, Now: func() time.Time { return at }})
	var tag string
	err := db.Read(ctx, func(v storage.View) error { return v.QueryRow("SELECT name FROM tag").Scan(&tag) })
	if err != nil || tag != "old" || version(t, db) != 2 {
		t.Errorf("tag %q, version %d, error %v", tag, version(t, db), err)
	}
	kept := filepath.Join(db.Dir(), "backups", "before-schema-2-20260302T120000Z.db")
	before := open(t, storage.Options{Path: kept})
	if version(t, before) != 1 || texts(t, before) != "old" {
		t.Errorf("the snapshot has version %d and notes %q", version(t, before), texts(t, before))
	}
}

func TestNothingIsSnapshotWithoutNeed(t *testing.T) {
	path := aged(t)
	open(t, storage.Options{Path: path}).Close()
	open(t, storage.Options{Path: path, Migrations: more, Rebuildable: true})
	if _, err := os.Stat(filepath.Join(filepath.Dir(path), "backups")); !os.IsNotExist(err) {
		t.Errorf("a snapshot was taken: %v", err)
	}
}

func TestAMigrationThatFailsChangesNothing(t *testing.T) {
	path := aged(t)
	_, err := storage.Open(storage.Options{Path: path, Migrations: broken})
	if err == nil || !strings.Contains(err.Error(), "migration 0002_tag.sql: ") || !strings.Contains(err.Error(), "the data is as it was") {
		t.Fatalf("error %v", err)
	}
	db := open(t, storage.Options{Path: path})
	if version(t, db) != 1 || texts(t, db) != "old" {
		t.Errorf("version %d, notes %q", version(t, db), texts(t, db))
	}
}

func TestADatabaseOfANewerBinaryIsRefused(t *testing.T) {
	path := aged(t)
	open(t, storage.Options{Path: path, Migrations: more}).Close()
	_, err := storage.Open(storage.Options{Path: path, Migrations: notes})
	const want = "test.db was written by a newer quckchat (schema 2, this binary knows 1): start the newer binary, or restore the snapshot taken before its upgrade"
	if err == nil || err.Error() != want {
		t.Errorf("error %v", err)
	}
}

func TestAFileThatIsNoDatabaseIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	text := strings.Repeat("this is a letter to my aunt\n", 100)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := storage.Open(storage.Options{Path: path}); err == nil || !strings.Contains(err.Error(), "test.db") {
		t.Errorf("error %v", err)
	}
	if kept, err := os.ReadFile(path); err != nil || string(kept) != text {
		t.Errorf("the letter was changed, error %v", err)
	}
}

func TestTheSchemaIsTheReviewedOne(t *testing.T) {
	db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), storage.FileName)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	got, err := db.Schema()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile("schema.sql", []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile("schema.sql")
	if err != nil || string(want) != got {
		t.Errorf("schema.sql is not what the migrations make (error %v): run `make golden` and review the difference", err)
	}
}

func TestSnapshotsAreKeptForATimeAndOtherFilesForGood(t *testing.T) {
	path := aged(t)
	at, later := time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), atomic.Int64{}
	db := open(t, storage.Options{Path: path, Migrations: more, Now: func() time.Time { return at.Add(time.Duration(later.Load())) }})
	dir := filepath.Join(db.Dir(), "backups")
	for _, name := range []string{"before-schema-1-20260301T115959Z.db", "before-schema-3-20260302T120000Z.db.part", "nightly.db", "before-schema-mine.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept := func() string {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		names := []string{}
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return strings.Join(names, " ")
	}
	for _, step := range []struct {
		later time.Duration
		want  string
	}{
		{23 * time.Hour, "before-schema-2-20260302T120000Z.db before-schema-mine.db nightly.db"}, {25 * time.Hour, "before-schema-mine.db nightly.db"},
	} {
		later.Store(int64(step.later))
		if err := db.PruneSnapshots(24 * time.Hour); err != nil || kept() != step.want {
			t.Errorf("after %s: kept %s, error %v, want %s", step.later, kept(), err, step.want)
		}
	}
	if err := open(t, storage.Options{}).PruneSnapshots(time.Hour); err != nil {
		t.Errorf("without a directory: %v", err)
	}
}
