package media

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// Check is how a check of all media goes or has ended. Damaged and missing ones are not served until the same bytes are
// uploaded again, which heals them.
type Check struct {
	State    string    `json:"state"` // never, running, done, failed
	Done     int64     `json:"done"`  // blobs read so far
	Total    int64     `json:"total"`
	Bytes    int64     `json:"bytes"` // read so far
	Damaged  []Damage  `json:"damaged"`
	Missing  []Damage  `json:"missing"`
	Problem  string    `json:"problem,omitempty"`
	Started  time.Time `json:"startedAt,omitzero"`
	Finished time.Time `json:"finishedAt,omitzero"`
}

// Damage is a content that is not what it was, and whose uploads that are.
type Damage struct {
	SHA256  string   `json:"sha256"`
	Uploads []string `json:"uploads"`
}

// damageMax is the most that is listed of a kind.
const damageMax = 1000

// checking is the check that runs, or the last one.
type checking struct {
	mu  sync.Mutex
	now Check
}

func (c *checking) get() Check {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now
	if now.State == "" {
		now.State = "never"
	}
	now.Damaged, now.Missing = append([]Damage{}, now.Damaged...), append([]Damage{}, now.Missing...)
	return now
}

func (c *checking) change(fn func(now *Check)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	fn(&c.now)
}

func (s *Service) adminRoutes() []api.Row {
	return []api.Row{
		api.Op("GET /admin/media", "", api.RoleAdmin, api.TierAdmin, s.Overview, api.Doc("How much is kept, where, and how the last check went.")),
		api.Op("POST /admin/media/verify", "", api.RoleAdmin, api.TierAdmin, s.Verify, api.OK, api.Doc("Read everything that is kept and compare it with its hash, in the background.")),
		api.Op("POST /admin/media/sweep", "", api.RoleAdmin, api.TierAdmin, s.SweepNow, api.OK, api.Doc("Remove now what nothing shows.")),
	}
}

// Overview is the state of all media.
type Overview struct {
	Stats
	Uploads int64       `json:"uploads"`
	Blobs   int64       `json:"blobs"`
	Check   Check       `json:"check"`
	GIFs    *GIFProblem `json:"gifs,omitempty"` // what their provider last failed with, absent once it answers
}

// Overview returns the state of all media.
func (s *Service) Overview(ctx context.Context, _ api.Caller, _ *struct{}) (o Overview, err error) {
	o.Stats, o.Check, o.GIFs = s.Stats(), s.check.get(), s.gifs.state()
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT (SELECT count(*) FROM upload), (SELECT count(*) FROM blob)").Scan(&o.Uploads, &o.Blobs)
	})
	return o, err
}

// SweepNow sweeps, and returns what it removed.
func (s *Service) SweepNow(ctx context.Context, _ api.Caller, _ *struct{}) (Swept, error) {
	return s.Sweep(ctx)
}

// Verify begins a check, unless one is running, and returns how it goes.
func (s *Service) Verify(ctx context.Context, by api.Caller, _ *struct{}) (Check, error) {
	err := s.db.Write(ctx, "media.verify", func(tx *storage.Tx) error {
		return audit.Record(tx, by, "media_verify", audit.Target{Kind: "server"}, nil, nil)
	})
	if err != nil {
		return Check{}, err
	}
	begin := false
	s.check.change(func(now *Check) {
		if begin = now.State != "running"; begin {
			*now = Check{State: "running", Started: s.now()}
		}
	})
	if begin {
		select {
		case s.verify <- struct{}{}:
		default: // one is asked for already
		}
	}
	return s.check.get(), nil
}

// verifyAll reads every blob that a row names.
func (s *Service) verifyAll(ctx context.Context) error {
	if err := s.db.Read(ctx, func(v storage.View) error {
		var total int64
		if err := v.QueryRow("SELECT count(*) FROM blob").Scan(&total); err != nil {
			return err
		}
		s.check.change(func(now *Check) { now.Total = total })
		return nil
	}); err != nil {
		return err
	}
	for after := ""; ; {
		var list []checked
		err := s.db.Read(ctx, func(v storage.View) error {
			rows, err := v.Query("SELECT sha256, size, damaged_at IS NOT NULL FROM blob WHERE sha256 > ? ORDER BY sha256 LIMIT 100", after)
			if err != nil {
				return fmt.Errorf("list blobs: %w", err)
			}
			defer rows.Close()
			for rows.Next() {
				var c checked
				if err := rows.Scan(&c.name, &c.size, &c.damaged); err != nil {
					return fmt.Errorf("list blobs: %w", err)
				}
				list = append(list, c)
			}
			return rows.Err()
		})
		if err != nil || len(list) == 0 {
			return err
		}
		for _, c := range list {
			if err := s.verifyOne(ctx, c); err != nil {
				return err
			}
		}
		after = string(list[len(list)-1].name)
	}
}

// checked is a blob that is to be read, and whether it was damaged when it was read last.
type checked struct {
	name    blob.Name
	size    int64
	damaged bool
}

func (s *Service) verifyOne(ctx context.Context, c checked) error {
	sound, err := s.blobs.Verify(ctx, c.name)
	missing := errors.Is(err, blob.ErrNotFound)
	if err != nil && !missing {
		return err
	}
	var uploads []string
	if !sound || c.damaged { // what was sound and is costs no write
		there := false
		err := s.db.Write(ctx, "media.verified", func(tx *storage.Tx) error {
			result, err := tx.Exec("UPDATE blob SET damaged_at = CASE WHEN ?1 THEN NULL ELSE ?2 END WHERE sha256 = ?3", sound, tx.Millis(), c.name)
			if err != nil {
				return err
			}
			n, err := result.RowsAffected()
			if there = n > 0; err != nil || sound {
				return err
			}
			rows, err := tx.Query("SELECT id FROM upload WHERE sha256 = ?1 UNION SELECT upload_id FROM rendition WHERE sha256 = ?1 LIMIT 100", c.name)
			if err != nil {
				return err
			}
			uploads, err = storage.ScanIDs(rows)
			return err
		})
		if err != nil {
			return fmt.Errorf("note a check: %w", err)
		}
		if !there { // removed meanwhile
			return nil
		}
	}
	s.check.change(func(now *Check) {
		now.Done++
		now.Bytes += c.size
		list := &now.Damaged
		if missing {
			list = &now.Missing
		}
		if !sound && len(*list) < damageMax {
			*list = append(*list, Damage{string(c.name), uploads})
		}
	})
	if !sound {
		s.log.Error("media are damaged", "sha256", c.name, "missing", missing, "uploads", uploads)
	}
	return nil
}

// verifier does the checks that are asked for, until ctx ends.
func (s *Service) verifier(ctx context.Context) {
	for {
		select {
		case <-s.verify:
		case <-ctx.Done():
			return
		}
		err := s.verifyAll(ctx)
		s.check.change(func(now *Check) {
			now.State, now.Finished = "done", s.now()
			if err != nil {
				now.State, now.Problem = "failed", err.Error()
			}
		})
	}
}
