package audit

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

func open(t *testing.T) *storage.DB {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), storage.FileName)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func write(t *testing.T, db *storage.DB, fn func(tx *storage.Tx) error) {
	t.Helper()
	if err := db.Write(context.Background(), "test", fn); err != nil {
		t.Fatal(err)
	}
}

// fill records n entries and returns the head.
func fill(t *testing.T, db *storage.DB, n int) (head Mark) {
	t.Helper()
	write(t, db, func(tx *storage.Tx) (err error) {
		for range n {
			if err := Record(tx, api.Caller{UserID: "u1", IP: "192.0.2.1", UserAgent: "test"}, "login", Target{"user", "u1"}, nil, map[string]int{"n": n}); err != nil {
				return err
			}
		}
		head, err = Head(tx)
		return err
	})
	return head
}

func TestTheRecordSaysWhoDidWhat(t *testing.T) {
	db := open(t)
	agent := "a\x00b\xff" + strings.Repeat("ü", userAgentMax)
	write(t, db, func(tx *storage.Tx) error {
		return errors.Join(
			Record(tx, api.Caller{UserID: "u1", IP: "192.0.2.1", UserAgent: agent}, "rename", Target{"user", "u1"}, map[string]string{"name": "a"}, map[string]string{"name": "b"}),
			Record(tx, api.Caller{Local: "root", UserID: "u1"}, "ban", Target{"user", "u2"}, nil, nil),
			Record(tx, api.Caller{IP: "192.0.2.2"}, "login_failed", Target{}, nil, nil),
			RecordSystem(tx, "retention", Target{"conversation", "c1"}, nil, 7),
		)
	})
	entries, err := page(context.Background(), db, 0)
	if err != nil || len(entries) != 4 {
		t.Fatal(entries, err)
	}
	for i, want := range []Entry{
		{ActorKind: "user", ActorID: "u1", Action: "rename", Target: Target{"user", "u1"}, IP: "192.0.2.1", Before: `{"name":"a"}`, After: `{"name":"b"}`},
		{ActorKind: "local", ActorID: "root", Action: "ban", Target: Target{"user", "u2"}},
		{ActorKind: "anonymous", Action: "login_failed", IP: "192.0.2.2"},
		{ActorKind: "system", Action: "retention", Target: Target{"conversation", "c1"}, After: "7"},
	} {
		got := entries[i]
		if got.ID != int64(i+1) || got.At == 0 || len(got.Hash) != 64 {
			t.Errorf("entry %+v", got)
		}
		got.ID, got.At, got.PrevHash, got.Hash, got.UserAgent = 0, 0, "", "", ""
		if got != want {
			t.Errorf("entry %d is %+v, not %+v", i+1, got, want)
		}
	}
	if entries[0].PrevHash != "" || entries[1].PrevHash != entries[0].Hash {
		t.Error("the entries are not chained")
	}
	if n, err := Verify(context.Background(), db); n != 4 || err != nil {
		t.Errorf("verified %d, error %v", n, err)
	}
}

func TestARolledBackActionIsNotOnRecord(t *testing.T) {
	db := open(t)
	fill(t, db, 2)
	no := errors.New("no")
	err := db.Write(context.Background(), "test", func(tx *storage.Tx) error {
		return errors.Join(Record(tx, api.Caller{}, "x", Target{}, nil, nil), no)
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	fill(t, db, 1)
	if n, err := Verify(context.Background(), db); n != 3 || err != nil {
		t.Errorf("verified %d, error %v", n, err)
	}
}

func TestAnEmptyRecordVerifies(t *testing.T) {
	db := open(t)
	if n, err := Verify(context.Background(), db, Mark{}); n != 0 || err != nil {
		t.Errorf("verified %d, error %v", n, err)
	}
}

func TestALongRecordVerifiesPageByPage(t *testing.T) {
	db := open(t)
	head := fill(t, db, 2*pageSize)
	if n, err := Verify(context.Background(), db, head); n != 2*pageSize || err != nil {
		t.Errorf("verified %d, error %v", n, err)
	}
}

func TestTamperingIsFound(t *testing.T) {
	db := open(t)
	fill(t, db, 9)
	exec := func(statements string) {
		write(t, db, func(tx *storage.Tx) error {
			for _, statement := range strings.Split(statements, "; ") {
				if _, err := tx.Exec(statement); err != nil {
					return err
				}
			}
			return nil
		})
	}
	exec("CREATE TABLE untouched AS SELECT * FROM audit")
	for name, c := range map[string]struct {
		sql string
		id  int64 // the first bad entry
	}{
		"time changed":         {"UPDATE audit SET at = at + 1 WHERE id = 4", 4},
		"actor kind changed":   {"UPDATE audit SET actor_kind = 'system' WHERE id = 4", 4},
		"actor changed":        {"UPDATE audit SET actor_id = 'u2' WHERE id = 4", 4},
		"action changed":       {"UPDATE audit SET action = 'logout' WHERE id = 4", 4},
		"target kind changed":  {"UPDATE audit SET target_kind = 'message' WHERE id = 4", 4},
		"target changed":       {"UPDATE audit SET target_id = 'u2' WHERE id = 4", 4},
		"address changed":      {"UPDATE audit SET ip = '' WHERE id = 4", 4},
		"user agent changed":   {"UPDATE audit SET user_agent = '' WHERE id = 4", 4},
		"before changed":       {"UPDATE audit SET before = '0' WHERE id = 4", 4},
		"after changed":        {"UPDATE audit SET after = '' WHERE id = 4", 4},
		"hash changed":         {"UPDATE audit SET hash = prev_hash WHERE id = 4", 4},
		"first entry changed":  {"UPDATE audit SET action = 'logout' WHERE id = 1", 1},
		"last entry changed":   {"UPDATE audit SET action = 'logout' WHERE id = 9", 9},
		"text moved over":      {"UPDATE audit SET actor_id = actor_id || 'l', action = 'ogin' WHERE id = 4", 4},
		"entry removed":        {"DELETE FROM audit WHERE id = 4", 4},
		"first entry removed":  {"DELETE FROM audit WHERE id = 1", 1},
		"removed and renumber": {"DELETE FROM audit WHERE id = 4; UPDATE audit SET id = id - 1 WHERE id > 4", 4},
		"two entries swapped":  {"UPDATE audit SET id = 100 WHERE id = 4; UPDATE audit SET id = 4 WHERE id = 5; UPDATE audit SET id = 5 WHERE id = 100", 4},
		"entry inserted":       {"INSERT INTO audit SELECT 10, at, actor_kind, actor_id, action, target_kind, target_id, ip, user_agent, before, after, prev_hash, hash FROM audit WHERE id = 9", 10},
		"entry put in front":   {"INSERT INTO audit SELECT 0, at, actor_kind, actor_id, action, target_kind, target_id, ip, user_agent, before, after, prev_hash, hash FROM audit WHERE id = 9", 0},
	} {
		t.Run(name, func(t *testing.T) {
			exec("DELETE FROM audit; INSERT INTO audit SELECT * FROM untouched; " + c.sql)
			n, err := Verify(context.Background(), db)
			var tampered *TamperedError
			if !errors.As(err, &tampered) || tampered.ID != c.id || n != max(0, c.id-1) {
				t.Errorf("verified %d, error %v", n, err)
			}
		})
	}
}

func TestACutEndIsFoundWithAMarkFromBefore(t *testing.T) {
	db := open(t)
	kept := fill(t, db, 9)
	write(t, db, func(tx *storage.Tx) error { _, err := tx.Exec("DELETE FROM audit WHERE id > 6"); return err })
	if n, err := Verify(context.Background(), db); n != 6 || err != nil {
		t.Errorf("without the mark: verified %d, error %v", n, err)
	}
	var tampered *TamperedError
	if n, err := Verify(context.Background(), db, kept); !errors.As(err, &tampered) || tampered.ID != 7 || n != 6 {
		t.Errorf("with the mark: verified %d, error %v", n, err)
	}
	fill(t, db, 5) // over the cut: other entries have the old numbers
	if n, err := Verify(context.Background(), db, kept); !errors.As(err, &tampered) || tampered.ID != 9 || n != 8 {
		t.Errorf("after writing on: verified %d, error %v", n, err)
	}
}

func TestTheHashSealsTheChainOfAKnownEntry(t *testing.T) {
	e := Entry{ID: 1, At: 2, ActorKind: "user", ActorID: "u", Action: "login", Target: Target{"user", "u"}}
	const want = "8ee2b89a493eadd0a958e2eb4d64fc174ec85a2f8d3a4ffe62c2fc77e6c8ddde"
	if got := e.sum(); got != want {
		t.Errorf("the encoding changed, old records no longer verify: %s", got)
	}
}
