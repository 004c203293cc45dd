package storage_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// batch has the closures run in one group commit, in their order, and returns their errors.
func batch(t *testing.T, db *storage.DB, closures ...func(tx *storage.Tx) error) []error {
	t.Helper()
	var all sync.WaitGroup
	begun, release := make(chan struct{}), make(chan struct{})
	all.Go(func() { _ = db.Write(ctx, "hold", func(*storage.Tx) error { close(begun); <-release; return nil }) })
	<-begun
	errs := make([]error, len(closures))
	for i, fn := range closures {
		all.Go(func() { errs[i] = db.Write(ctx, fmt.Sprint("closure ", i), fn) })
		wait(t, "it is queued", func() bool { return db.Stats().Queued == i+1 })
	}
	close(release)
	all.Wait()
	return errs
}

func TestManyWritersShareOneCommit(t *testing.T) {
	batches := 0
	db := open(t, storage.Options{AfterBatch: func() { batches++ }})
	var closures []func(tx *storage.Tx) error
	for i := range 100 {
		closures = append(closures, insert(fmt.Sprint(i)))
	}
	if err := errors.Join(batch(t, db, closures...)...); err != nil {
		t.Fatal(err)
	}
	if n := len(strings.Fields(texts(t, db))); n != 100 {
		t.Errorf("%d notes", n)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if s := db.Stats(); s.Commits != 2 || s.Writes != 101 || batches != 2 || s.Failures != 0 {
		t.Errorf("%d batches, stats %+v", batches, s)
	}
}

func TestAFailingWriteLeavesNoTraceAndHarmsNoOther(t *testing.T) {
	var logged bytes.Buffer
	db := open(t, storage.Options{Log: slog.New(slog.NewTextHandler(&logged, nil))})
	no := errors.New("no")
	var told []string
	tell := func(name string, fn func(tx *storage.Tx) error) func(tx *storage.Tx) error {
		return func(tx *storage.Tx) error {
			tx.OnCommit(func() { told = append(told, name) })
			return fn(tx)
		}
	}
	errs := batch(t, db,
		tell("first", insert("first")),
		tell("failing", func(tx *storage.Tx) error { return errors.Join(insert("failing")(tx), no) }),
		tell("second", insert("second")),
		tell("panicking", func(tx *storage.Tx) error { _ = insert("panicking")(tx); panic("oh") }),
		tell("duplicate", insert("first")),
		tell("third", insert("third")),
	)
	if errs[0] != nil || errs[2] != nil || errs[5] != nil {
		t.Errorf("others failed: %v", errs)
	}
	if !errors.Is(errs[1], no) || !errors.Is(errs[4], storage.ErrConstraint) {
		t.Errorf("errors %v", errs)
	}
	if errs[3] == nil || errs[3].Error() != "write closure 3: panic: oh" || !strings.Contains(logged.String(), "write=\"closure 3\"") {
		t.Errorf("error of the panic %v, log %s", errs[3], logged.String())
	}
	if got := texts(t, db); got != "first second third" || strings.Join(told, " ") != got {
		t.Errorf("notes %q, told %q", got, told)
	}
	if s := db.Stats(); s.Commits != 2 || s.Writes != 4 || s.Failures != 3 {
		t.Errorf("stats %+v", s)
	}
}

func TestAFailingWriteThatWroteThroughAQueryLeavesNoTrace(t *testing.T) {
	db := open(t, storage.Options{})
	no := errors.New("no")
	row := func(tx *storage.Tx) error {
		var id int64
		return errors.Join(tx.QueryRow("INSERT INTO note (text) VALUES ('row') RETURNING id").Scan(&id), no)
	}
	rows := func(tx *storage.Tx) error {
		found, err := tx.Query("\n\tUPDATE note SET text = 'changed' RETURNING id")
		if err != nil {
			return err
		}
		for found.Next() {
		}
		return errors.Join(found.Close(), no)
	}
	for i, err := range batch(t, db, insert("first"), row, rows, insert("second")) {
		if errors.Is(err, no) != (i == 1 || i == 2) {
			t.Errorf("closure %d: %v", i, err)
		}
	}
	if got := texts(t, db); got != "first second" {
		t.Errorf("notes %q", got)
	}
}

func TestWhenTheTransactionDiesTheOthersRunAgain(t *testing.T) {
	db := open(t, storage.Options{})
	no := errors.New("no")
	runs, told := 0, []string{}
	counted := func(name string) func(tx *storage.Tx) error {
		return func(tx *storage.Tx) error {
			runs++
			tx.OnCommit(func() { told = append(told, name) })
			return insert(name)(tx)
		}
	}
	killer := func(tx *storage.Tx) error { // what a full disk does to it
		_, err := tx.Exec("ROLLBACK")
		return errors.Join(no, err)
	}
	errs := batch(t, db, counted("first"), killer, counted("second"))
	if errs[0] != nil || !errors.Is(errs[1], no) || errs[2] != nil {
		t.Errorf("errors %v", errs)
	}
	if got := texts(t, db); got != "first second" || strings.Join(told, " ") != got || runs < 3 {
		t.Errorf("notes %q, told %q, %d runs", got, told, runs)
	}
}

func TestAWriteThatFillsTheFileFailsAloneAndRoomHealsIt(t *testing.T) {
	db := open(t, storage.Options{})
	pages := func(n int) {
		write(t, db, func(tx *storage.Tx) error { _, err := tx.Exec(fmt.Sprint("PRAGMA max_page_count = ", n)); return err })
	}
	pages(20)
	big := strings.Repeat("x", 200_000)
	errs := batch(t, db, insert("first"), insert(big), insert("second"))
	if errs[0] != nil || !errors.Is(errs[1], storage.ErrFull) || errs[2] != nil {
		t.Errorf("errors %.100v", errs)
	}
	if got := texts(t, db); got != "first second" {
		t.Errorf("notes %.100q", got)
	}
	pages(1 << 20)
	write(t, db, insert(big))
}

func TestAWriteCancelledWhileWaitingIsSkipped(t *testing.T) {
	db := open(t, storage.Options{})
	cancelled, cancel := context.WithCancel(ctx)
	var err error
	var one sync.WaitGroup
	errs := batch(t, db, insert("one"), func(tx *storage.Tx) error {
		one.Go(func() {
			err = db.Write(cancelled, "cancelled", func(*storage.Tx) error { t.Error("it ran"); return nil })
		})
		wait(t, "it is queued", func() bool { return db.Stats().Queued == 1 })
		cancel()
		return nil
	})
	one.Wait()
	if !errors.Is(err, context.Canceled) || errors.Join(errs...) != nil {
		t.Errorf("error %v, others %v", err, errs)
	}
}

func TestOnCommitRunsInCommitOrderBeforeTheAnswer(t *testing.T) {
	var order, batches []int64 // the writer's alone
	db := open(t, storage.Options{AfterBatch: func() { batches = append(batches, int64(len(order))) }})
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 25 {
				var id int64
				err := db.Write(ctx, "test", func(tx *storage.Tx) error {
					if err := tx.QueryRow("INSERT INTO note (text) VALUES (?) RETURNING id", fmt.Sprint(w, "-", i)).Scan(&id); err != nil {
						return err
					}
					tx.OnCommit(func() { order = append(order, id) })
					return nil
				})
				if err != nil {
					t.Error(err)
				}
				err = db.Read(ctx, func(v storage.View) error { return v.QueryRow("SELECT id FROM note WHERE id = ?", id).Scan(&id) })
				if err != nil {
					t.Errorf("a committed write cannot be read: %v", err)
				}
			}
		})
	}
	all.Wait()
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if len(order) != 200 || !slices.IsSorted(order) {
		t.Errorf("%d OnCommit calls, order %v", len(order), order)
	}
	if len(batches) == 0 || !slices.IsSorted(batches) || batches[len(batches)-1] != 200 {
		t.Errorf("AfterBatch came after %v", batches)
	}
}

func TestAFullQueueRefusesAtOnce(t *testing.T) {
	db := open(t, storage.Options{})
	const full = 4096
	var all sync.WaitGroup
	begun, release := make(chan struct{}), make(chan struct{})
	all.Go(func() { _ = db.Write(ctx, "hold", func(*storage.Tx) error { close(begun); <-release; return nil }) })
	<-begun
	for range full {
		all.Go(func() {
			if err := db.Write(ctx, "test", func(*storage.Tx) error { return nil }); err != nil {
				t.Error(err)
			}
		})
	}
	wait(t, "the queue is full", func() bool { return db.Stats().Queued == full })
	if err := db.Write(ctx, "test", insert("one too many")); !errors.Is(err, storage.ErrOverloaded) {
		t.Errorf("error %v", err)
	}
	close(release)
	all.Wait()
	write(t, db, insert("later"))
	if got := texts(t, db); got != "later" {
		t.Errorf("notes %q", got)
	}
}

func TestTheTimeOfAWriteIsTheClockCutToMilliseconds(t *testing.T) {
	at := time.Date(2026, 3, 2, 12, 0, 0, 123_999_999, time.FixedZone("x", 3600))
	db := open(t, storage.Options{Now: func() time.Time { return at }})
	write(t, db, func(tx *storage.Tx) error {
		if want := at.UTC().Truncate(time.Millisecond); tx.Now != want || tx.Millis() != want.UnixMilli() {
			t.Errorf("now is %v", tx.Now)
		}
		return nil
	})
}

func TestErrorsAreToldApartByCode(t *testing.T) {
	db := open(t, storage.Options{})
	write(t, db, insert("one"))
	err := db.Write(ctx, "test", insert("one"))
	var coded interface{ Code() string }
	if !errors.As(err, &coded) || coded.Code() != "CONSTRAINT" || errors.Is(err, storage.ErrFull) {
		t.Errorf("error %v", err)
	}
	err = db.Read(ctx, func(v storage.View) error { return v.QueryRow("SELECT id FROM note WHERE id = -1").Scan(new(int)) })
	if !errors.Is(err, sql.ErrNoRows) {
		t.Errorf("no rows is %v", err)
	}
	err = db.Read(ctx, func(v storage.View) error { return v.QueryRow("SELECT nothing FROM note").Scan(new(int)) })
	if err == nil || errors.As(err, &coded) {
		t.Errorf("a wrong statement is %v", err)
	}
}
