package job

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

func TestAJobRunsAfterItsCommitAndIsGone(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	got := make(chan Job, 1)
	q.Handle("greet", Handler{Run: func(_ context.Context, j Job) error { got <- j; return nil }})
	b.run(q)
	b.enqueue(q, Job{Kind: "greet", Key: "k", Payload: map[string]string{"name": "Ana"}})
	j := next(t, got)
	var p struct{ Name string }
	if err := j.Decode(&p); err != nil || p.Name != "Ana" || j.Attempt != 1 || j.Key != "k" || !storage.IsID(j.ID) {
		t.Errorf("job %+v, payload %+v, error %v", j, p, err)
	}
	b.until()
	for limit := time.Now().Add(10 * time.Second); q.Stats() != (Stats{Done: 1}); runtime.Gosched() { // counted after its commit
		if time.Now().After(limit) {
			t.Fatalf("stats %+v", q.Stats())
		}
	}
}

func TestARolledBackTransactionLeavesNoJob(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	no := errors.New("no")
	err := b.db.Write(context.Background(), "test", func(tx *storage.Tx) error {
		return errors.Join(q.Enqueue(tx, Job{Kind: "x"}), no)
	})
	if !errors.Is(err, no) || len(b.rows()) != 0 || len(q.wake) != 0 {
		t.Errorf("error %v, jobs %v, woken %d", err, b.rows(), len(q.wake))
	}
}

func TestAKeyHasOneUnfinishedJob(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began, end := make(chan Job), make(chan error)
	q.Handle("x", Handler{Workers: 2, MaxAttempts: 1, Run: func(_ context.Context, j Job) error { began <- j; return <-end }})
	keyed := Job{Kind: "x", Key: "a"}
	b.enqueue(q, keyed, keyed, Job{Kind: "y", Key: "a"})
	b.until("x ready 0", "y ready 0")
	b.run(q)
	next(t, began)
	b.enqueue(q, keyed)
	b.until("x running 1", "y ready 0")
	end <- errors.New("broken")
	b.until("x parked 1", "y ready 0")
	b.enqueue(q, keyed)
	b.until("x parked 1", "y ready 0")
	parked, err := q.Parked(context.Background())
	if err != nil || len(parked) != 1 {
		t.Fatal(parked, err)
	}
	if err := q.Drop(context.Background(), parked[0].ID); err != nil {
		t.Fatal(err)
	}
	b.enqueue(q, keyed, Job{Kind: "x"})
	next(t, began)
	next(t, began)
	end <- nil
	end <- nil
	b.until("y ready 0")
}

func TestJobsWithoutKeyAreAsManyAsEnqueued(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	b.enqueue(q, Job{Kind: "x"}, Job{Kind: "x"}, Job{Kind: "x"})
	b.until("x ready 0", "x ready 0", "x ready 0")
}

func TestAJobWaitsForItsTime(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	got := make(chan string, 3)
	q.Handle("x", Handler{Run: func(_ context.Context, j Job) error { got <- j.Key; return nil }})
	b.run(q)
	b.enqueue(q, Job{Kind: "x", Key: "later", RunAt: epoch.Add(2 * time.Hour)}, Job{Kind: "x", Key: "soon", RunAt: epoch.Add(time.Hour)}, Job{Kind: "x", Key: "now"})
	if first := next(t, got); first != "now" {
		t.Errorf("first came %s", first)
	}
	b.until("x ready 0", "x ready 0")
	b.advance(q, time.Hour)
	if second := next(t, got); second != "soon" {
		t.Errorf("second came %s", second)
	}
	b.until("x ready 0")
	b.advance(q, time.Hour)
	next(t, got)
	b.until()
}

func TestAFailedJobIsTriedAgainWithPausesAndThenParked(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	attempts := make(chan int, 1)
	broken := atomic.Bool{}
	broken.Store(true)
	q.Handle("x", Handler{MaxAttempts: 3, Run: func(_ context.Context, j Job) error {
		attempts <- j.Attempt
		if broken.Load() {
			return fmt.Errorf("attempt %d is broken", j.Attempt)
		}
		return nil
	}})
	b.run(q)
	b.enqueue(q, Job{Kind: "x", Key: "k"})
	for n, state := range []string{"x ready 1", "x ready 2", "x parked 3"} {
		if a := next(t, attempts); a != n+1 {
			t.Fatalf("attempt %d came as %d", n+1, a)
		}
		b.until(state)
		b.advance(q, longestPause)
	}
	parked, err := q.Parked(context.Background())
	if err != nil || len(parked) != 1 || parked[0].LastError != "attempt 3 is broken" || parked[0].Attempts != 3 {
		t.Fatalf("parked %+v, error %v", parked, err)
	}
	if err := q.Retry(context.Background(), storage.NewID()); !api.HasCode(err, "JOB_NOT_FOUND") {
		t.Errorf("retry of nothing: %v", err)
	}
	broken.Store(false)
	if err := q.Retry(context.Background(), parked[0].ID); err != nil {
		t.Fatal(err)
	}
	if a := next(t, attempts); a != 1 {
		t.Errorf("a retried job begins with attempt %d", a)
	}
	b.until()
	if s := q.Stats(); s.Failed != 3 || s.Parked != 1 {
		t.Errorf("stats %+v", s)
	}
}

func TestPausesGrowAndAreSpread(t *testing.T) {
	for attempt, full := range map[int]time.Duration{1: firstPause, 2: 2 * firstPause, 5: 16 * firstPause, 12: longestPause, 40: longestPause, 1000: longestPause} {
		for range 100 {
			if p := pauseAfter(attempt); p < full/2 || p > full {
				t.Fatalf("pause after attempt %d is %v, not in the upper half of %v", attempt, p, full)
			}
		}
	}
}

func TestAPanicIsAnError(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	q.Handle("x", Handler{MaxAttempts: 1, Run: func(context.Context, Job) error { panic("oh") }})
	b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	b.until("x parked 1")
	if parked, err := q.Parked(context.Background()); err != nil || parked[0].LastError != "panic: oh" {
		t.Errorf("parked %+v, error %v", parked, err)
	}
}

func TestAnAttemptThatTakesTooLongIsEnded(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	q.Handle("x", Handler{MaxAttempts: 1, Timeout: time.Millisecond, Run: func(ctx context.Context, _ Job) error { <-ctx.Done(); return ctx.Err() }})
	b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	b.until("x parked 1")
}

func TestAKindHasABoundedNumberOfWorkers(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began, end := make(chan struct{}, 20), make(chan struct{})
	q.Handle("x", Handler{Workers: 3, Run: func(context.Context, Job) error { began <- struct{}{}; <-end; return nil }})
	other := make(chan struct{}, 1)
	q.Handle("y", Handler{Run: func(context.Context, Job) error { other <- struct{}{}; return nil }})
	b.run(q)
	for range 20 {
		b.enqueue(q, Job{Kind: "x"})
	}
	for range 3 {
		next(t, began)
	}
	b.enqueue(q, Job{Kind: "y"})
	next(t, other) // a kind that is stuck holds up no other, and the looks it caused started no fourth of x
	if len(began) != 0 || q.Stats().Running > 4 {
		t.Errorf("%d more began", len(began))
	}
	for range 20 {
		end <- struct{}{}
	}
	b.until()
}

func TestManyJobsEachRunOnce(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	var mu sync.Mutex
	runs := map[string]int{}
	q.Handle("x", Handler{Workers: 8, Run: func(_ context.Context, j Job) error {
		mu.Lock()
		defer mu.Unlock()
		runs[j.Key]++
		return nil
	}})
	b.run(q)
	var all sync.WaitGroup
	for w := range 10 {
		all.Go(func() {
			for i := range 30 {
				b.enqueue(q, Job{Kind: "x", Key: fmt.Sprint(w, "-", i)})
			}
		})
	}
	all.Wait()
	b.until()
	mu.Lock()
	defer mu.Unlock()
	for key, n := range runs {
		if n != 1 {
			t.Errorf("%s ran %d times", key, n)
		}
	}
	if len(runs) != 300 {
		t.Errorf("%d jobs ran", len(runs))
	}
}

func TestAnInterruptedJobIsTakenAgainUntilItsAttemptsAreUsedUp(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	got := make(chan Job, 2)
	q.Handle("x", Handler{MaxAttempts: 3, Run: func(_ context.Context, j Job) error { got <- j; return nil }})
	b.enqueue(q, Job{Kind: "x", Key: "again"}, Job{Kind: "x", Key: "poison"}, Job{Kind: "gone"})
	b.exec("UPDATE job SET state = 'running', attempts = CASE key WHEN 'poison' THEN 3 ELSE 1 END") // as a kill leaves them
	b.run(q)
	if j := next(t, got); j.Key != "again" || j.Attempt != 2 {
		t.Errorf("taken again: %+v", j)
	}
	b.until("x parked 3", "gone ready 1")
}

func TestAJobThatIsRunningIsNotTakenForInterrupted(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began, end := make(chan struct{}, 2), make(chan struct{})
	q.Handle("x", Handler{Workers: 2, Run: func(context.Context, Job) error { began <- struct{}{}; <-end; return nil }})
	b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	next(t, began)
	if err := q.adopt(context.Background()); err != nil { // as after a claim that failed
		t.Fatal(err)
	}
	b.until("x running 1")
	close(end)
	b.until()
}

func TestAnOrderlyStopGivesTheAttemptBack(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began := make(chan struct{})
	q.Handle("x", Handler{MaxAttempts: 1, Run: func(ctx context.Context, _ Job) error { close(began); <-ctx.Done(); return ctx.Err() }})
	stop := b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	next(t, began)
	stop()
	b.until("x ready 0")
}

func TestWorkThatEndsDuringAStopIsDone(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began := make(chan struct{})
	q.Handle("x", Handler{Run: func(ctx context.Context, _ Job) error { close(began); <-ctx.Done(); return nil }})
	stop := b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	next(t, began)
	stop()
	b.until()
}

func TestAJobOfAnUnknownKindStaysAndShows(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	done := make(chan struct{})
	q.Handle("x", Handler{Run: func(context.Context, Job) error { close(done); return nil }})
	b.run(q)
	b.enqueue(q, Job{Kind: "martian"}, Job{Kind: "x"})
	next(t, done)
	b.until("martian ready 0")
	backlog, err := q.Backlog(context.Background())
	want := Backlog{Kind: "martian", State: "ready", Count: 1, Oldest: epoch}
	if err != nil || len(backlog) != 1 || backlog[0] != want {
		t.Errorf("backlog %+v, error %v", backlog, err)
	}
}

func TestARunningJobIsNotDropped(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began, end := make(chan Job), make(chan struct{})
	q.Handle("x", Handler{Run: func(_ context.Context, j Job) error { began <- j; <-end; return nil }})
	b.run(q)
	b.enqueue(q, Job{Kind: "x"})
	if err := q.Drop(context.Background(), next(t, began).ID); !api.HasCode(err, "JOB_NOT_FOUND") {
		t.Errorf("drop: %v", err)
	}
	close(end)
	b.until()
}

func TestTheQueueLooksThroughItsIndexes(t *testing.T) {
	b := newBench(t)
	for query, index := range map[string]string{
		firstDue: "COVERING INDEX job_due",
		claimDue: "COVERING INDEX job_due",
		"SELECT id, kind, attempts FROM job WHERE state = 'running'":         "INDEX job_state",
		"SELECT id FROM job WHERE state = 'parked' ORDER BY id DESC LIMIT 5": "INDEX job_state",
	} {
		var plan strings.Builder
		err := b.db.Read(context.Background(), func(v storage.View) error {
			rows, err := v.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				plan.WriteString(detail + "\n")
			}
			return rows.Err()
		})
		if err != nil || !strings.Contains(plan.String(), index) || strings.Contains(plan.String(), "SCAN") || strings.Contains(plan.String(), "TEMP B-TREE") {
			t.Errorf("%s\n%s%v", query, plan.String(), err)
		}
	}
}
