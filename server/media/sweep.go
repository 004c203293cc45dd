package media

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// Removal goes in three steps, each of which may be the last before the power fails: an upload that nothing shows loses its
// row; a blob that no row names loses its own row and its bytes, under the lock of its name; and a sweep looks for bytes that
// no row ever named. Nothing is removed on the word of an earlier look: each step asks again in its own transaction.

const (
	forgetKind  = "media.forget"
	forgetBatch = 100
	sweepEvery  = "31 3 * * *"
)

type forgetPayload struct {
	Uploads []string `json:"uploads"`
}

// forget has uploads removed that nothing shows any more.
func (s *Service) forget(tx *storage.Tx, ids []string) error {
	return s.jobs.Enqueue(tx, job.Job{Kind: forgetKind, Payload: forgetPayload{ids}})
}

// forgetLater removes an upload that came to nothing.
func (s *Service) forgetLater(id string) {
	err := s.db.Write(context.Background(), "media.forget", func(tx *storage.Tx) error { return s.forget(tx, []string{id}) })
	if err != nil {
		s.log.Warn("forget an upload: the sweep will", "upload", id, "error", err)
	}
}

func (s *Service) runForget(ctx context.Context, j job.Job) error {
	var p forgetPayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	return s.remove(ctx, p.Uploads)
}

// remove removes those of some uploads that nothing shows.
func (s *Service) remove(ctx context.Context, ids []string) error {
	for _, chunk := range storage.Chunks(ids) {
		var loose []blob.Name
		err := s.db.Write(ctx, forgetKind, func(tx *storage.Tx) error {
			loose = loose[:0]
			marks, args := storage.In(chunk)
			rows, err := tx.Query("SELECT u.id FROM upload u WHERE u.legal_hold = 0 AND NOT "+isClaimed+" AND u.id IN ("+marks+")", args...)
			if err != nil {
				return fmt.Errorf("find unclaimed uploads: %w", err)
			}
			gone, err := storage.ScanIDs(rows)
			if err != nil || len(gone) == 0 {
				return err
			}
			marks, args = storage.In(gone)
			rows, err = tx.Query("SELECT sha256 FROM upload WHERE sha256 IS NOT NULL AND id IN ("+marks+") UNION SELECT sha256 FROM rendition WHERE upload_id IN ("+marks+")", append(args, args...)...)
			if err != nil {
				return fmt.Errorf("find blobs of uploads: %w", err)
			}
			names, err := storage.ScanIDs(rows)
			if err != nil {
				return fmt.Errorf("find blobs of uploads: %w", err)
			}
			for _, name := range names {
				loose = append(loose, blob.Name(name))
			}
			for _, statement := range []string{"DELETE FROM transcript WHERE upload_id IN (", "DELETE FROM rendition WHERE upload_id IN (", "DELETE FROM upload WHERE id IN ("} {
				if _, err := tx.Exec(statement+marks+")", args...); err != nil {
					return fmt.Errorf("remove uploads: %w", err)
				}
			}
			tx.OnCommit(s.db.Forget) // their names
			for _, id := range gone {
				tx.OnCommit(func() { s.waiters.done(id) })
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, id := range chunk {
			s.tus.drop(id)
		}
		for _, name := range loose {
			if _, err := s.removeBlob(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeBlob removes bytes that no upload, no rendition and no GIF names.
func (s *Service) removeBlob(ctx context.Context, name blob.Name) (gone bool, err error) {
	return s.blobs.Remove(ctx, name, func() (needed bool, err error) {
		err = s.db.Write(ctx, "media.removeblob", func(tx *storage.Tx) error {
			if err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM upload WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM rendition WHERE sha256 = ?1) OR EXISTS (SELECT 1 FROM gif WHERE sha256 = ?1)", name).Scan(&needed); err != nil || needed {
				return err
			}
			rows, err := tx.Query("DELETE FROM blob WHERE sha256 = ? RETURNING size", name)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var size int64
				if err := rows.Scan(&size); err != nil {
					return err
				}
				tx.OnCommit(func() { s.kept.Add(-size) })
			}
			return rows.Err()
		})
		if err != nil {
			return true, fmt.Errorf("find who needs a blob: %w", err)
		}
		return needed, nil
	})
}

// Swept is what a sweep removed.
type Swept struct {
	Uploads int `json:"uploads"` // that nothing showed, or that never arrived whole
	Blobs   int `json:"blobs"`   // bytes that no upload needed
}

// Sweep removes uploads that nothing has shown for a day (media.unclaimed), resumable ones that nothing has come of for as
// long, GIFs that nobody has looked at for a week, and bytes that no row names.
func (s *Service) Sweep(ctx context.Context) (done Swept, err error) {
	before := s.now().Add(-s.config.Get().Media.Unclaimed).UnixMilli()
	for after := ""; ; {
		var ids []string
		err := s.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT u.id FROM upload u WHERE u.id > ? AND u.touched_at < ? AND u.legal_hold = 0 AND NOT "+isClaimed+" ORDER BY u.id LIMIT ?",
				after, before, forgetBatch)
			if err != nil {
				return fmt.Errorf("find unclaimed uploads: %w", err)
			}
			ids, err = storage.ScanIDs(rows)
			return err
		})
		if err != nil {
			return done, err
		}
		if len(ids) == 0 {
			break
		}
		after = ids[len(ids)-1]
		if err := s.remove(ctx, ids); err != nil {
			return done, err
		}
		done.Uploads += len(ids)
	}
	if err := s.sweepGIFs(ctx, &done); err != nil {
		return done, err
	}
	if err := s.sweepRows(ctx, &done); err != nil {
		return done, err
	}
	err = s.sweepStrays(ctx, &done)
	return done, err
}

// sweepStrays removes bytes that no row names, which a kill has left.
func (s *Service) sweepStrays(ctx context.Context, done *Swept) error {
	var found []string
	look := func() error {
		marks, args := storage.In(found)
		known := map[string]bool{}
		err := s.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT sha256 FROM blob WHERE sha256 IN ("+marks+")", args...)
			if err != nil {
				return fmt.Errorf("find known blobs: %w", err)
			}
			names, err := storage.ScanIDs(rows)
			for _, name := range names {
				known[name] = true
			}
			return err
		})
		if err != nil {
			return err
		}
		for _, name := range found {
			if known[name] {
				continue
			}
			gone, err := s.removeBlob(ctx, blob.Name(name))
			if err != nil {
				return err
			}
			if gone {
				done.Blobs++
			}
		}
		found = found[:0]
		return nil
	}
	err := s.blobs.Walk(ctx, func(info blob.Info) error {
		if found = append(found, string(info.Name)); len(found) < forgetBatch {
			return nil
		}
		return look()
	})
	if err != nil || len(found) == 0 {
		return err
	}
	return look()
}

// sweepRows removes blobs that have a row which nothing names.
func (s *Service) sweepRows(ctx context.Context, done *Swept) error {
	var names []string
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT b.sha256 FROM blob b WHERE NOT EXISTS (SELECT 1 FROM upload u WHERE u.sha256 = b.sha256)
			AND NOT EXISTS (SELECT 1 FROM rendition r WHERE r.sha256 = b.sha256) AND NOT EXISTS (SELECT 1 FROM gif g WHERE g.sha256 = b.sha256)`)
		if err != nil {
			return fmt.Errorf("find unneeded blobs: %w", err)
		}
		names, err = storage.ScanIDs(rows)
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range names {
		gone, err := s.removeBlob(ctx, blob.Name(name))
		if err != nil {
			return err
		}
		if gone {
			done.Blobs++
		}
	}
	return nil
}

// Calendar is what runs by itself.
func (s *Service) Calendar() error {
	err := errors.Join(
		s.jobs.Every("media-sweep", sweepEvery, "UTC", func(ctx context.Context) error {
			done, err := s.Sweep(ctx)
			if done != (Swept{}) {
				s.log.Info("swept media", "uploads", done.Uploads, "blobs", done.Blobs)
			}
			return err
		}),
		s.jobs.Every("media-space", "@every 1m", "UTC", s.watchSpace),
	)
	if err == nil && (s.scan != nil || s.inBucket()) {
		err = s.jobs.Every("media-integrations", "@every 1m", "UTC", s.checkIntegrations)
	}
	return err
}

// Run finishes what a kill has interrupted, and checks what is kept when it is asked to, until ctx ends.
func (s *Service) Run(ctx context.Context) {
	var first sync.WaitGroup
	first.Go(func() { _ = s.checkIntegrations(ctx) })
	defer first.Wait()
	if err := s.tus.finishAll(ctx); err != nil && ctx.Err() == nil {
		s.log.Error("finish resumable uploads", "error", err)
	}
	s.verifier(ctx)
	s.gifs.close()
	s.speech.close()
}

// handle registers the jobs.
func (s *Service) handle() {
	s.jobs.Handle(forgetKind, job.Handler{Workers: 1, MaxAttempts: 20, Run: s.runForget})
	s.handleProcessing()
}
