package event_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

var ctx = context.Background()

// bench is an event log on a database of its own, with a clock that the test moves.
type bench struct {
	*event.Log
	t     *testing.T
	db    *storage.DB
	path  string
	clock atomic.Int64
}

// render gives late readers the subject of an event, in capitals; a subject "gone" has nothing left to tell.
func render(_ storage.Querier, events []event.Event) ([]any, error) {
	values := make([]any, len(events))
	for i, e := range events {
		if e.SubjectID != "gone" {
			values[i] = strings.ToUpper(e.SubjectID)
		}
	}
	return values, nil
}

func newBench(t *testing.T, path string) *bench {
	t.Helper()
	b := &bench{Log: event.New(slog.New(slog.DiscardHandler), event.Kind{Name: "a:new", Render: render}, event.Kind{Name: "b:new", Render: render}), t: t, path: path}
	b.clock.Store(time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC).UnixMilli())
	var err error
	b.db, err = storage.Open(storage.Options{Path: path, AfterBatch: b.Flush, Now: func() time.Time { return time.UnixMilli(b.clock.Load()) }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.db.Close() })
	if err := b.Attach(b.db); err != nil {
		t.Fatal(err)
	}
	return b
}

func fresh(t *testing.T) *bench {
	t.Helper()
	return newBench(t, filepath.Join(t.TempDir(), storage.FileName))
}

func (b *bench) emit(kind string, subjects ...string) (seq int64) {
	b.t.Helper()
	err := b.db.Write(ctx, "test", func(tx *storage.Tx) (err error) {
		for _, s := range subjects {
			e := event.Event{Kind: kind, Scope: event.ScopeConversation, ScopeID: "c1", SubjectID: s, ActorID: "u1"}
			if seq, err = b.Emit(tx, e, "live "+s); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return seq
}

// stored reads the whole log.
func (b *bench) stored() (events []event.Event) {
	b.t.Helper()
	err := b.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT seq, at, kind, scope, scope_id, subject_id, actor_id, data FROM event ORDER BY seq")
		if err != nil {
			return err
		}
		events, err = event.Scan(rows)
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return events
}

// drain publishes what is waiting and returns it.
func (b *bench) drain() (committed, told []event.Live) {
	ended, cancel := context.WithCancel(ctx)
	cancel()
	b.Publish(ended, func(batch []event.Live) { committed = append(committed, batch...) }, func(l event.Live) { told = append(told, l) })
	return committed, told
}

func TestAnEventIsStoredAndTold(t *testing.T) {
	b := fresh(t)
	seq := b.emit("a:new", "m1")
	want := event.Event{Seq: 1, At: b.clock.Load(), Kind: "a:new", Scope: "conversation", ScopeID: "c1", SubjectID: "m1", ActorID: "u1"}
	if got := b.stored(); seq != 1 || len(got) != 1 || got[0] != want {
		t.Errorf("stored %+v", got)
	}
	live, _ := b.drain()
	if len(live) != 1 || live[0].Event != want || live[0].Value != "live m1" || live[0].Ephemeral() {
		t.Errorf("told %+v", live)
	}
}

func TestARolledBackEventIsNeitherStoredNorTold(t *testing.T) {
	b := fresh(t)
	no := errors.New("no")
	err := b.db.Write(ctx, "test", func(tx *storage.Tx) error {
		_, err := b.Emit(tx, event.Event{Kind: "a:new"}, nil)
		return errors.Join(err, no)
	})
	if !errors.Is(err, no) {
		t.Fatal(err)
	}
	if seq := b.emit("a:new", "m1"); seq != 1 { // its number was never given
		t.Errorf("seq %d", seq)
	}
	if live, _ := b.drain(); len(live) != 1 || len(b.stored()) != 1 || live[0].SubjectID != "m1" {
		t.Errorf("told %+v, stored %+v", live, b.stored())
	}
}

func TestAnEventOfAnUnknownKindIsRefused(t *testing.T) {
	b := fresh(t)
	err := b.db.Write(ctx, "test", func(tx *storage.Tx) error {
		_, err := b.Emit(tx, event.Event{Kind: "c:new"}, nil)
		return err
	})
	if err == nil || len(b.stored()) != 0 {
		t.Errorf("error %v, stored %+v", err, b.stored())
	}
}

func TestEventsAreToldInTheOrderOfTheirNumbers(t *testing.T) {
	b := fresh(t)
	var told []int64
	publishing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.Publish(publishing, func(batch []event.Live) {
			for _, l := range batch {
				told = append(told, l.Seq)
			}
		}, func(event.Live) {})
	}()
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			for i := range 20 {
				b.emit("a:new", fmt.Sprint(w, "-", i), fmt.Sprint(w, "+", i))
			}
		})
	}
	all.Wait()
	stop()
	<-done
	if len(told) != 320 || told[0] != 1 || told[319] != 320 || !slices.IsSorted(told) {
		t.Errorf("%d told: %v", len(told), told)
	}
	if b.Committed() != 320 {
		t.Errorf("committed %d", b.Committed())
	}
}

func TestNextIsTheNumberThatEmitGives(t *testing.T) {
	b := fresh(t)
	b.emit("a:new", "m1", "m2")
	err := b.db.Write(ctx, "test", func(tx *storage.Tx) error {
		want, err := event.Next(tx)
		if err != nil {
			return err
		}
		if got, err := b.Emit(tx, event.Event{Kind: "a:new"}, nil); got != want || err != nil {
			t.Errorf("next said %d, emit gave %d, error %v", want, got, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEphemeralsAreToldAndNotStored(t *testing.T) {
	b := fresh(t)
	got := make(chan event.Live)
	publishing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { b.Publish(publishing, func([]event.Live) {}, func(l event.Live) { got <- l }); close(done) }()
	b.Tell(event.Live{Event: event.Event{Kind: "typing:start", ScopeID: "c1"}, Except: []string{"u1"}})
	if l := <-got; !l.Ephemeral() || !slices.Equal(l.Except, []string{"u1"}) || len(b.stored()) != 0 {
		t.Errorf("told %+v", l)
	}
	stop()
	<-done
	for range 10_000 { // more than can wait: dropped, never waited for
		b.Tell(event.Live{Event: event.Event{Kind: "typing:start"}})
	}
}

func TestLateReadersGetRenderedValuesInOrder(t *testing.T) {
	b := fresh(t)
	var calls int
	b.Register(event.Kind{Name: "b:new", Render: func(q storage.Querier, events []event.Event) ([]any, error) {
		calls++
		return render(q, events)
	}})
	b.emit("a:new", "m1")
	b.emit("b:new", "m2", "gone")
	b.emit("a:new", "m3")
	b.emit("b:new", "m4")
	events := b.stored()
	events = slices.Insert(events, 2, event.Event{Seq: 99, Kind: "of:another:binary"})
	err := b.db.Read(ctx, func(v storage.View) error {
		values, err := b.Values(v, events)
		if want := []any{"M1", "M2", nil, nil, "M3", "M4"}; !slices.Equal(values, want) {
			t.Errorf("values %v, not %v", values, want)
		}
		return err
	})
	if err != nil || calls != 1 {
		t.Errorf("rendered in %d goes, error %v", calls, err)
	}
}

func TestAFailedRenderingIsAnError(t *testing.T) {
	b := fresh(t)
	no := errors.New("no")
	b.Register(event.Kind{Name: "b:new", Render: func(storage.Querier, []event.Event) ([]any, error) { return nil, no }})
	err := b.db.Read(ctx, func(v storage.View) error {
		_, err := b.Values(v, []event.Event{{Kind: "a:new"}, {Kind: "b:new"}})
		return err
	})
	if !errors.Is(err, no) {
		t.Errorf("error %v", err)
	}
}

func TestAFollowerWakesWhenThereIsSomethingNew(t *testing.T) {
	b := fresh(t)
	b.emit("a:new", "m1")
	if err := b.Wait(ctx, 0); err != nil {
		t.Fatal(err)
	}
	woken := make(chan error)
	go func() { woken <- b.Wait(ctx, 2) }()
	b.emit("a:new", "m2") // not yet
	b.emit("a:new", "m3")
	if err := <-woken; err != nil || b.Committed() != 3 {
		t.Errorf("woken at %d, error %v", b.Committed(), err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := b.Wait(ended, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestACursorSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), storage.FileName)
	b := newBench(t, path)
	b.emit("a:new", "m1", "m2")
	for _, seq := range []int64{1, 2} {
		if err := b.db.Write(ctx, "test", func(tx *storage.Tx) error { return event.SetCursor(tx, "search", seq) }); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	b = newBench(t, path)
	err := b.db.Read(ctx, func(v storage.View) error {
		search, err := event.Cursor(v, "search")
		other, err2 := event.Cursor(v, "push")
		if search != 2 || other != 0 {
			t.Errorf("cursors %d, %d", search, other)
		}
		return errors.Join(err, err2)
	})
	if err != nil || b.Committed() != 2 {
		t.Errorf("committed %d, error %v", b.Committed(), err)
	}
}

func TestPruningKeepsWhatIsYoungAndTheNewestSoThatNoNumberComesTwice(t *testing.T) {
	b := fresh(t)
	for range 3 {
		b.emit("a:new", slices.Repeat([]string{"old"}, 400)...) // more than one batch of the sweep
	}
	b.clock.Add((6 * time.Hour).Milliseconds())
	b.emit("a:new", "young", "young", "young")
	if err := b.Prune(ctx, 5*time.Hour); err != nil {
		t.Fatal(err)
	}
	if left := b.stored(); len(left) != 3 || left[0].SubjectID != "young" {
		t.Errorf("%d left", len(left))
	}
	b.clock.Add((240 * time.Hour).Milliseconds())
	if err := b.Prune(ctx, time.Hour); err != nil {
		t.Fatal(err)
	}
	err := b.db.Read(ctx, func(v storage.View) error {
		floor, err := event.Floor(v)
		head, err2 := event.Head(v)
		if floor != 1203 || head != 1203 {
			t.Errorf("floor %d, head %d", floor, head)
		}
		return errors.Join(err, err2)
	})
	if seq := b.emit("a:new", "next"); seq != 1204 || err != nil {
		t.Errorf("the next number is %d, error %v", seq, err)
	}
}
