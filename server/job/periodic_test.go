package job

import (
	"context"
	"errors"
	"testing"
	"time"
)

// only returns the one task of the calendar.
func (b *bench) only(q *Queue) Task {
	b.t.Helper()
	tasks, err := q.Calendar(context.Background())
	if err != nil || len(tasks) > 1 {
		b.t.Fatalf("calendar %+v, error %v", tasks, err)
	}
	if len(tasks) == 0 {
		return Task{}
	}
	return tasks[0]
}

func (b *bench) every(q *Queue, expr string, run func(ctx context.Context) error) {
	b.t.Helper()
	if err := q.Every("sweep", expr, "", run); err != nil {
		b.t.Fatal(err)
	}
}

// counting is a task that reports each run.
func counting() (runs chan struct{}, run func(context.Context) error) {
	runs = make(chan struct{}, 10)
	return runs, func(context.Context) error { runs <- struct{}{}; return nil }
}

func TestATaskRunsAtItsTimeAndIsWrittenDown(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	runs, run := counting()
	b.every(q, "30 * * * *", run)
	b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).NextAt.Equal(epoch.Add(30 * time.Minute)) })
	if len(runs) != 0 {
		t.Fatal("it ran before its time")
	}
	b.advance(q, 31*time.Minute)
	next(t, runs)
	at := epoch.Add(31 * time.Minute)
	want := Task{Name: "sweep", Schedule: "30 * * * *", TimeZone: "UTC", NextAt: epoch.Add(90 * time.Minute), LastStart: at, LastEnd: at, LastResult: "ok"}
	b.eventually("it is noted", func() bool { return b.only(q) == want })
}

func TestAMissedRunIsCaughtUpOnce(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	_, run := counting()
	b.every(q, "@hourly", run)
	stop := b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).Name != "" })
	stop()
	b.clock.Add((72*time.Hour + time.Minute).Milliseconds()) // three days down

	q = b.queue()
	runs, run := counting()
	b.every(q, "@hourly", run)
	b.run(q)
	next(t, runs)
	b.eventually("the next is planned", func() bool { return b.only(q).NextAt.Equal(epoch.Add(73 * time.Hour)) })
	b.advance(q, time.Hour)
	next(t, runs)
	if len(runs) != 0 {
		t.Error("it was caught up more than once")
	}
}

func TestATaskNeverRunsTwiceAtOnce(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	began, end := make(chan struct{}, 10), make(chan struct{})
	b.every(q, "@hourly", func(context.Context) error { began <- struct{}{}; <-end; return nil })
	looked := make(chan struct{}, 1)
	q.Handle("look", Handler{Run: func(context.Context, Job) error { looked <- struct{}{}; return nil }})
	b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).Name != "" })
	b.advance(q, time.Hour)
	next(t, began)
	b.advance(q, 3*time.Hour)
	b.enqueue(q, Job{Kind: "look"})
	next(t, looked) // tasks are looked at before jobs
	if len(began) != 0 {
		t.Error("a second run began")
	}
	end <- struct{}{}
	b.eventually("the next is planned", func() bool { return b.only(q).NextAt.Equal(epoch.Add(5 * time.Hour)) })
}

func TestAFailedOrPanickingTaskIsNotedAndComesAgain(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	fail := true
	b.every(q, "@hourly", func(context.Context) error {
		if fail {
			fail = false
			return errors.New("no room")
		}
		panic("oh")
	})
	b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).Name != "" })
	b.advance(q, time.Hour)
	b.eventually("the error is noted", func() bool { return b.only(q).LastResult == "no room" })
	b.advance(q, time.Hour)
	b.eventually("the panic is noted", func() bool { return b.only(q).LastResult == "panic: oh" })
	if at := b.only(q).NextAt; !at.Equal(epoch.Add(3 * time.Hour)) {
		t.Errorf("next at %v", at)
	}
}

func TestAScheduleCanBeChangedWhileTheServerRuns(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	_, run := counting()
	b.every(q, "@hourly", run)
	b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).NextAt.Equal(epoch.Add(time.Hour)) })
	runs, run := counting()
	b.every(q, "*/5 * * * *", run)
	b.eventually("it is planned anew", func() bool { return b.only(q).NextAt.Equal(epoch.Add(5 * time.Minute)) })
	b.advance(q, 5*time.Minute)
	next(t, runs)
}

func TestATaskStoppedInOrderRunsAgainAtTheNextStart(t *testing.T) {
	b := newBench(t)
	for range 3 {
		q := b.queue()
		began := make(chan struct{})
		b.every(q, "@hourly", func(ctx context.Context) error { close(began); <-ctx.Done(); return ctx.Err() })
		stop := b.run(q)
		b.eventually("it is planned", func() bool { return b.only(q).Name != "" })
		b.advance(q, time.Hour)
		next(t, began)
		stop()
		if task := b.only(q); task.LastResult != "stopped" || !task.NextAt.Equal(epoch.Add(time.Hour)) {
			t.Fatalf("after the stop: %+v", task)
		}
	}
}

func TestATaskThatEndsTheProcessIsTriedTwiceAndThenWaits(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	_, run := counting()
	b.every(q, "@hourly", run)
	stop := b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).Name != "" })
	stop()
	b.clock.Add(time.Hour.Milliseconds())
	killed := func() { b.exec("UPDATE periodic SET last_result = 'running'") } // as a kill leaves it

	killed()
	q = b.queue()
	began, end := make(chan struct{}), make(chan struct{})
	b.every(q, "@hourly", func(context.Context) error { close(began); <-end; return nil })
	stop = b.run(q)
	next(t, began) // the second try
	if task := b.only(q); task.LastResult != "running" || !task.NextAt.Equal(epoch.Add(2*time.Hour)) {
		t.Errorf("during the second try: %+v", task)
	}
	close(end)
	stop()

	killed()
	q = b.queue()
	runs, run := counting()
	b.every(q, "@hourly", run)
	b.run(q)
	b.eventually("it is planned", func() bool { return b.only(q).LastResult == "interrupted" })
	b.advance(q, time.Hour)
	next(t, runs)
	b.eventually("it is well again", func() bool { return b.only(q).LastResult == "ok" })
	if len(runs) != 0 {
		t.Error("it ran a third time")
	}
}

func TestATaskKeepsTheHourOfItsTimeZone(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	ran := make(chan struct{}, 1)
	if err := q.Every("sweep", "0 3 * * *", "Europe/Madrid", func(context.Context) error { ran <- struct{}{}; return nil }); err != nil {
		t.Fatal(err)
	}
	b.run(q)
	winter := time.Date(2026, 3, 3, 2, 0, 0, 0, time.UTC)
	b.eventually("winter", func() bool { return b.only(q).NextAt.Equal(winter) })
	b.advance(q, time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC).Sub(epoch)) // the clocks were changed this morning
	next(t, ran)
	summer := time.Date(2026, 3, 30, 1, 0, 0, 0, time.UTC)
	b.eventually("summer", func() bool { return b.only(q).NextAt.Equal(summer) })
}

func TestASchedulePastUnderstandingIsRefused(t *testing.T) {
	b := newBench(t)
	q := b.queue()
	for _, c := range []struct{ expr, tz string }{
		{"", ""}, {"* * * *", ""}, {"61 * * * *", ""}, {"0 0 30 2 *", ""}, {"TZ=UTC", ""}, {"CRON_TZ=UTC 0 0 * * *", ""},
		{"@hourly", "Europe/Nowhere"}, {"@hourly", "../../etc/passwd"}, {"@every x", ""}, {"0 0 0 0 0 0", ""},
	} {
		if err := q.Every("sweep", c.expr, c.tz, func(context.Context) error { return nil }); err == nil {
			t.Errorf("%q in %q is taken", c.expr, c.tz)
		}
	}
}
