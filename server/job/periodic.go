package job

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/robfig/cron/v3"

	"github.com/quckchat/quckchat/storage"
)

// task is something that happens by the clock.
type task struct {
	name string

	// Guarded by Queue.mu.
	*spec
	next    time.Time // zero until the table was asked; then when it is due
	running bool
	again   bool // its last run ended with the process: this one is the second and last try
}

// spec is when a task runs and what it does. It is replaced whole, never changed.
type spec struct {
	schedule, zone string
	plan           cron.Schedule
	run            func(ctx context.Context) error
}

// Results of a run that are not an error.
const (
	resultRunning     = "running"
	resultOK          = "ok"
	resultStopped     = "stopped"     // by an orderly stop: it runs again at the next start
	resultInterrupted = "interrupted" // the process died: it runs again at the next start, once
)

var parser = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// Every has run called by the clock: expr is a crontab line of five fields, or @hourly, @daily, @every 10m and the
// like, in the time zone tz (empty is UTC). A run that was missed while the server was down is caught up once. Two
// runs never overlap: the next is reckoned from the end of the last. A run that fails is tried again at its next time.
// In zones with daylight saving time, an hour that is left out or repeated leaves out or repeats its runs.
//
// It may be called again, with the server running, to change a task. It fails when expr or tz cannot be understood.
func (q *Queue) Every(name, expr, tz string, run func(ctx context.Context) error) error {
	tz = cmp.Or(tz, "UTC")
	if strings.Contains(expr, "TZ=") {
		return fmt.Errorf("schedule of %s: the time zone is given apart", name)
	}
	if _, err := time.LoadLocation(tz); err != nil {
		return fmt.Errorf("schedule of %s: %w", name, err)
	}
	plan, err := parser.Parse("CRON_TZ=" + tz + " " + expr)
	if err != nil {
		return fmt.Errorf("schedule of %s: %w", name, err)
	}
	if plan.Next(q.db.Now()).IsZero() {
		return fmt.Errorf("schedule of %s: %q never comes", name, expr)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	t := q.tasks[name]
	if t == nil {
		t = &task{name: name}
		q.tasks[name] = t
	}
	t.spec, t.next = &spec{expr, tz, plan, run}, time.Time{}
	q.Wake()
	return nil
}

// Task is an entry of the calendar.
type Task struct {
	Name       string    `json:"name"`
	Schedule   string    `json:"schedule"`
	TimeZone   string    `json:"timeZone"`
	NextAt     time.Time `json:"nextAt"`
	LastStart  time.Time `json:"lastStart,omitzero"`
	LastEnd    time.Time `json:"lastEnd,omitzero"` // before LastStart while it runs
	LastResult string    `json:"lastResult"`       // "" before the first run, running, stopped, interrupted, ok, or the error
}

// Calendar lists the tasks, the next to run first.
func (q *Queue) Calendar(ctx context.Context) ([]Task, error) {
	known := map[string]bool{}
	q.mu.Lock()
	for name := range q.tasks {
		known[name] = true
	}
	q.mu.Unlock()
	tasks := []Task{}
	err := q.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT name, schedule, time_zone, next_at, last_start, last_end, last_result FROM periodic")
		if err != nil {
			return fmt.Errorf("read calendar: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var t Task
			var next int64
			var start, end sql.NullInt64
			if err := rows.Scan(&t.Name, &t.Schedule, &t.TimeZone, &next, &start, &end, &t.LastResult); err != nil {
				return fmt.Errorf("read calendar: %w", err)
			}
			t.NextAt, t.LastStart, t.LastEnd = time.UnixMilli(next).UTC(), moment(start), moment(end)
			if known[t.Name] { // others are of a binary that had them
				tasks = append(tasks, t)
			}
		}
		return rows.Err()
	})
	slices.SortFunc(tasks, func(a, b Task) int { return cmp.Or(a.NextAt.Compare(b.NextAt), cmp.Compare(a.Name, b.Name)) })
	return tasks, err
}

func moment(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}

// startTasks starts what the calendar says and returns when it must look again.
func (q *Queue) startTasks(ctx context.Context) (next time.Time, err error) {
	if err := q.settle(ctx); err != nil {
		return next, err
	}
	now := q.db.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range q.tasks {
		switch {
		case t.running || t.next.IsZero(): // one changed since settle has woken us again
		case t.next.After(now):
			next = earlier(next, t.next)
		default:
			t.running = true
			s, at, again := t.spec, t.next, t.again
			q.work.Go(func() { q.runTask(ctx, t, s, at, again) })
		}
	}
	return next, nil
}

// settle reads or makes the rows of new and changed tasks.
func (q *Queue) settle(ctx context.Context) error {
	type open struct {
		*task
		was   *spec
		next  time.Time
		again bool
	}
	var tasks []*open
	q.mu.Lock()
	for _, t := range q.tasks {
		if t.next.IsZero() && !t.running {
			tasks = append(tasks, &open{task: t, was: t.spec})
		}
	}
	q.mu.Unlock()
	if len(tasks) == 0 {
		return nil
	}
	err := q.db.Write(ctx, "job.calendar", func(tx *storage.Tx) (err error) {
		for _, t := range tasks {
			if t.next, t.again, err = settleOne(tx, t.name, t.was); err != nil {
				return fmt.Errorf("plan %s: %w", t.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, t := range tasks {
		if t.task.spec == t.was {
			t.task.next, t.task.again = t.next, t.again
		}
	}
	return nil
}

func settleOne(tx *storage.Tx, name string, s *spec) (next time.Time, again bool, err error) {
	var schedule, zone, result string
	var at int64
	next = s.plan.Next(tx.Now)
	err = tx.QueryRow("SELECT schedule, time_zone, next_at, last_result FROM periodic WHERE name = ?", name).Scan(&schedule, &zone, &at, &result)
	if errors.Is(err, sql.ErrNoRows) {
		_, err = tx.Exec("INSERT INTO periodic (name, schedule, time_zone, next_at) VALUES (?, ?, ?, ?)", name, s.schedule, s.zone, next.UnixMilli())
		return next, false, err
	}
	if err != nil {
		return next, false, err
	}
	if schedule == s.schedule && zone == s.zone || at <= tx.Millis() { // missed is missed, whatever comes after
		next = time.UnixMilli(at).UTC()
	}
	if result == resultRunning {
		result = resultInterrupted
	}
	_, err = tx.Exec("UPDATE periodic SET schedule = ?, time_zone = ?, next_at = ?, last_result = ? WHERE name = ?",
		s.schedule, s.zone, next.UnixMilli(), result, name)
	return next, result == resultInterrupted, err
}

// runTask runs a task that was due at the given time and notes how it went. While it runs the row keeps that time, so
// that an interrupted run is caught up; a second try goes to the next time at once, so that a task which ends the
// process does not keep the server down.
func (q *Queue) runTask(ctx context.Context, t *task, s *spec, at time.Time, again bool) {
	var next time.Time
	defer func() {
		q.mu.Lock()
		t.running, t.again = false, false
		if t.next = next; t.spec != s {
			t.next = time.Time{}
		}
		q.mu.Unlock()
		q.Wake()
	}()
	start := q.db.Now()
	if again {
		at = s.plan.Next(start)
	}
	if !q.put(ctx, "job.task", "UPDATE periodic SET last_start = ?, last_result = ?, next_at = ? WHERE name = ?",
		start.UnixMilli(), resultRunning, at.UnixMilli(), t.name) {
		next = at
		return // the server stops
	}
	err := q.protect(t.name, func() error { return s.run(ctx) })
	now, result := q.db.Now(), resultOK
	next = s.plan.Next(now)
	switch {
	case err != nil && ctx.Err() != nil:
		result, next = resultStopped, at
	case err != nil:
		q.log.Error("task failed", "task", t.name, "took", now.Sub(start), "error", err)
		result = cut(err)
	}
	q.put(ctx, "job.task", "UPDATE periodic SET last_end = ?, last_result = ?, next_at = ? WHERE name = ?",
		now.UnixMilli(), result, next.UnixMilli(), t.name)
}
