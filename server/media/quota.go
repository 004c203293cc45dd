package media

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Usage is how much somebody has uploaded.
type Usage struct {
	Bytes int64 `json:"bytes"`
	Quota int64 `json:"quota"` // bytes, 0 without a limit
	Files int64 `json:"files"`
}

// Usage returns how much the caller has uploaded and may.
func (s *Service) Usage(ctx context.Context, by api.Caller, _ *struct{}) (u Usage, err error) {
	u.Quota = int64(s.config.Get().Media.UserQuota)
	err = s.db.Read(ctx, func(v storage.View) error {
		if err := v.QueryRow("SELECT coalesce(sum(size), 0), count(*) FROM upload WHERE user_id = ?", by.UserID).Scan(&u.Bytes, &u.Files); err != nil {
			return fmt.Errorf("count uploads: %w", err)
		}
		return nil
	})
	return u, err
}

// allowance refuses early what quota would refuse after the bytes have come.
func (s *Service) allowance(ctx context.Context, by api.Caller, size int64) error {
	return s.db.Read(ctx, func(v storage.View) error { return s.quota(v, by, size) })
}

// quota refuses an upload that is more than a person or the server may keep. What is the same as something that is kept
// already counts for the person and costs the server nothing. Codes: MEDIA_QUOTA, STORAGE_FULL.
func (s *Service) quota(q storage.Querier, by api.Caller, size int64) error {
	c := s.config.Get()
	if most := int64(c.Media.ServerQuota); most > 0 && s.kept.Load()+size > most {
		return api.E("STORAGE_FULL")
	}
	if most := int64(c.Media.UserQuota); most > 0 {
		var used int64
		if err := q.QueryRow("SELECT coalesce(sum(size), 0) FROM upload WHERE user_id = ?", by.UserID).Scan(&used); err != nil {
			return fmt.Errorf("count uploads: %w", err)
		}
		if used+size > most {
			return api.E("MEDIA_QUOTA", "max", most>>20)
		}
	}
	return nil
}

// StorageLow tells administrators that uploads are refused because the disk is nearly full, and when they are taken again.
const StorageLow = "storage:low"

// Storage is the payload of storage:low.
type Storage struct {
	Low  bool  `json:"low"`
	Free int64 `json:"free"` // bytes
}

// Events are the kinds of event that this package emits.
func (s *Service) Events() []event.Kind {
	return []event.Kind{{
		Name: StorageLow, Doc: "Uploads are refused because the disk is nearly full, or taken again; to administrators.", Value: Storage{},
		Render: func(_ storage.Querier, events []event.Event) ([]any, error) {
			values := make([]any, len(events))
			for i, e := range events {
				var told Storage
				if err := json.Unmarshal([]byte(e.Data), &told); err != nil {
					return nil, fmt.Errorf("event of the disk: %w", err)
				}
				values[i] = told
			}
			return values, nil
		},
	}}
}

// setLow notes whether uploads are refused, and tells the administrators when that has changed. Messages go on.
func (s *Service) setLow(low bool) {
	if s.low.Swap(low) == low {
		return
	}
	now := Storage{low, s.Stats().Free}
	s.log.Warn("room for uploads", "low", low, "free", now.Free)
	data, err := json.Marshal(now)
	if err != nil {
		s.log.Error("tell administrators about the disk", "error", err)
		return
	}
	err = s.db.Write(context.Background(), "media.low", func(tx *storage.Tx) error {
		_, err := s.events.Emit(tx, event.Event{Kind: StorageLow, Scope: event.ScopeAdmin, Data: string(data)}, now)
		return err
	})
	if err != nil {
		s.log.Warn("tell administrators about the disk", "error", err)
	}
}

// watchSpace looks at the disk, so that uploads are taken again when there is room, and refused before it is full.
func (s *Service) watchSpace(context.Context) error {
	free, err := s.blobs.Free()
	if err != nil {
		return err
	}
	reserve := int64(s.config.Get().Media.Reserve)
	switch {
	case free <= reserve:
		s.setLow(true)
	case free > reserve+reserve/8: // not back and forth at the border
		s.setLow(false)
	}
	return nil
}
