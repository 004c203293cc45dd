package job

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/quckchat/quckchat/storage"
)

const (
	claimMax     = 32              // jobs of one kind in one claim
	longestSleep = time.Minute     // when something is due later: a machine that was suspended does not sleep on
	lookAgain    = 5 * time.Second // after a look at the database failed
	firstPause   = 2 * time.Second // before the second attempt; doubled for each further one
	longestPause = time.Hour
	errorMax     = 500 // bytes of an error that are kept
)

// Run does jobs and tasks until ctx ends, and returns when all that was running has ended and is put away. Call it
// once, and close the database after it.
func (q *Queue) Run(ctx context.Context) {
	defer q.work.Wait()
	strays := true // rows may say running that nobody runs: after a start, and after a claim with unknown outcome
	for ctx.Err() == nil {
		next, err := q.look(ctx, &strays)
		if err != nil && ctx.Err() == nil {
			q.log.Error("look for jobs", "error", err)
			next, strays = q.db.Now().Add(lookAgain), true
		}
		q.sleep(ctx, next)
	}
}

// sleep waits until next, for ever when it is zero, or until something happens.
func (q *Queue) sleep(ctx context.Context, next time.Time) {
	var due <-chan time.Time
	if !next.IsZero() {
		timer := time.NewTimer(min(next.Sub(q.db.Now()), longestSleep))
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-due:
	case <-q.wake:
	case <-ctx.Done():
	}
}

// look starts what is due and returns when it must look again; zero when nothing is to come.
func (q *Queue) look(ctx context.Context, strays *bool) (next time.Time, err error) {
	if *strays {
		if err := q.adopt(ctx); err != nil {
			return next, err
		}
		*strays = false
	}
	if next, err = q.startTasks(ctx); err != nil {
		return next, err
	}
	for {
		ready, later, err := q.due(ctx)
		if err != nil {
			return next, err
		}
		if len(ready) == 0 {
			return earlier(next, later), nil
		}
		if err := q.claim(ctx, ready); err != nil {
			return next, err
		}
	}
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// want is a kind with due jobs and how many of them there are hands for.
type want struct {
	*kind
	free int
}

// due finds the kinds that have a job to do and a worker to do it, and when the next of the others comes up.
func (q *Queue) due(ctx context.Context) (ready []want, later time.Time, err error) {
	var idle []want
	q.mu.Lock()
	for _, k := range q.kinds {
		if free := k.Workers - k.busy; free > 0 {
			idle = append(idle, want{k, min(free, claimMax)})
		}
	}
	q.mu.Unlock()
	err = q.db.Read(ctx, func(v storage.View) error {
		ready, later = nil, time.Time{}
		now := q.db.Now().UnixMilli()
		for _, k := range idle {
			var at sql.NullInt64
			if err := v.QueryRow(firstDue, k.name).Scan(&at); err != nil {
				return fmt.Errorf("find due jobs: %w", err)
			}
			switch {
			case !at.Valid:
			case at.Int64 <= now:
				ready = append(ready, k)
			default:
				later = earlier(later, time.UnixMilli(at.Int64))
			}
		}
		return nil
	})
	return ready, later, err
}

const (
	firstDue = "SELECT min(run_at) FROM job WHERE kind = ? AND state = 'ready'"
	claimDue = `UPDATE job SET state = 'running', attempts = attempts + 1, updated_at = ? WHERE id IN (
		SELECT id FROM job WHERE kind = ? AND state = 'ready' AND run_at <= ? ORDER BY run_at, id LIMIT ?)
		RETURNING id, coalesce(key, ''), payload, run_at, attempts`
)

// claim takes due jobs, as many as there are free workers, and starts them.
func (q *Queue) claim(ctx context.Context, ready []want) error {
	type claimed struct {
		*kind
		Job
	}
	var taken []claimed
	err := q.db.Write(ctx, "job.claim", func(tx *storage.Tx) error {
		taken = nil
		for _, k := range ready {
			rows, err := tx.Query(claimDue, tx.Millis(), k.name, tx.Millis(), k.free)
			if err != nil {
				return fmt.Errorf("claim %s: %w", k.name, err)
			}
			for rows.Next() {
				j := Job{Kind: k.name}
				var payload string
				var at int64
				if err = rows.Scan(&j.ID, &j.Key, &payload, &at, &j.Attempt); err != nil {
					break
				}
				j.Payload, j.RunAt = json.RawMessage(payload), time.UnixMilli(at).UTC()
				taken = append(taken, claimed{k.kind, j})
			}
			if err := errors.Join(err, rows.Err(), rows.Close()); err != nil {
				return fmt.Errorf("claim %s: %w", k.name, err)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	q.mu.Lock()
	for _, c := range taken {
		c.busy++
		q.flight[c.ID] = true
	}
	q.mu.Unlock()
	for _, c := range taken {
		q.work.Go(func() { q.do(ctx, c.kind, c.Job) })
	}
	return nil
}

// do runs one attempt and puts the job away.
func (q *Queue) do(ctx context.Context, k *kind, j Job) {
	defer func() {
		q.mu.Lock()
		k.busy--
		delete(q.flight, j.ID)
		q.mu.Unlock()
		q.Wake()
	}()
	attempt, cancel := context.WithTimeout(ctx, k.Timeout)
	defer cancel()
	err := q.protect(k.name, func() error { return k.Run(attempt, j) })
	switch {
	case err == nil:
		if q.put(ctx, "job.done", "DELETE FROM job WHERE id = ?", j.ID) {
			q.counted.done.Add(1)
		}
	case ctx.Err() != nil:
		q.put(ctx, "job.release", "UPDATE job SET state = 'ready', attempts = attempts - 1 WHERE id = ?", j.ID)
	case j.Attempt >= k.MaxAttempts:
		q.log.Error("job parked", "kind", k.name, "id", j.ID, "attempts", j.Attempt, "error", err)
		if q.put(ctx, "job.park", "UPDATE job SET state = 'parked', last_error = ?, updated_at = ? WHERE id = ?", cut(err), q.db.Now().UnixMilli(), j.ID) {
			q.counted.failed.Add(1)
			q.counted.parked.Add(1)
		}
	default:
		now, pause := q.db.Now(), pauseAfter(j.Attempt)
		q.log.Warn("job failed", "kind", k.name, "id", j.ID, "attempt", j.Attempt, "pause", pause, "error", err)
		if q.put(ctx, "job.again", "UPDATE job SET state = 'ready', run_at = ?, last_error = ?, updated_at = ? WHERE id = ?",
			now.Add(pause).UnixMilli(), cut(err), now.UnixMilli(), j.ID) {
			q.counted.failed.Add(1)
		}
	}
}

// protect calls fn; a panic is an error.
func (q *Queue) protect(name string, fn func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			q.log.Error("panic in job", "kind", name, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return fn()
}

// put writes how an attempt ended. It goes on trying while the disk is full or the writer busy, so that a worker that
// cannot tell its result does not take further work. When the server stops meanwhile, the row stays as it is and the
// work is done again after the next start.
func (q *Queue) put(ctx context.Context, name, statement string, args ...any) bool {
	for {
		err := q.db.Write(context.WithoutCancel(ctx), name, func(tx *storage.Tx) error {
			_, err := tx.Exec(statement, args...)
			return err
		})
		if err == nil {
			return true
		}
		q.log.Error("write result of job", "write", name, "error", err)
		if errors.Is(err, storage.ErrClosed) {
			return false
		}
		select {
		case <-time.After(lookAgain):
		case <-ctx.Done():
			return false
		}
	}
}

// pauseAfter is the time until the attempt after this one: doubled each time, up to an hour, and spread over its upper
// half so that what failed together does not come back together.
func pauseAfter(attempt int) time.Duration {
	full := longestPause
	if attempt < 16 {
		full = min(firstPause<<(attempt-1), longestPause)
	}
	return full/2 + rand.N(full/2)
}

// cut is the text of an error, short enough to keep.
func cut(err error) string {
	text := err.Error()
	if len(text) > errorMax {
		text = text[:errorMax] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

// adopt returns jobs to the queue that say they are running although nobody in this process runs them. The attempt
// counts: a job that ends the process every time must end parked.
func (q *Queue) adopt(ctx context.Context) error {
	ours := map[string]bool{}
	q.mu.Lock()
	for id := range q.flight {
		ours[id] = true
	}
	q.mu.Unlock()
	var again, parked int
	err := q.db.Write(ctx, "job.adopt", func(tx *storage.Tx) error {
		again, parked = 0, 0
		strays, err := running(tx)
		if err != nil {
			return fmt.Errorf("find interrupted jobs: %w", err)
		}
		for _, j := range strays {
			state := "ready"
			switch k := q.kinds[j.Kind]; {
			case ours[j.ID]:
				continue
			case k != nil && j.Attempt >= k.MaxAttempts:
				state = "parked"
				parked++
			default:
				again++
			}
			if _, err := tx.Exec("UPDATE job SET state = ?, last_error = 'the server ended while it ran', updated_at = ? WHERE id = ?", state, tx.Millis(), j.ID); err != nil {
				return fmt.Errorf("adopt job %s: %w", j.ID, err)
			}
		}
		return nil
	})
	if err == nil && again+parked > 0 {
		q.counted.parked.Add(int64(parked))
		q.log.Warn("jobs were interrupted", "again", again, "parked", parked)
	}
	return err
}

// running lists the jobs that say they are running: never more than there are workers.
func running(tx *storage.Tx) ([]Job, error) {
	rows, err := tx.Query("SELECT id, kind, attempts FROM job WHERE state = 'running'")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var jobs []Job
	for rows.Next() {
		var j Job
		if err := rows.Scan(&j.ID, &j.Kind, &j.Attempt); err != nil {
			return nil, err
		}
		jobs = append(jobs, j)
	}
	return jobs, rows.Err()
}
