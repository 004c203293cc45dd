package call

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// CameToHuddle is called when a device has opened a socket on which huddles are told.
func (s *Service) CameToHuddle(by api.Caller) {
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, p := s.seatOf(by.UserID)
	if p == nil || p.device != by.SessionID {
		return
	}
	p.socket = "" // the old one may be dead and not know it
	if p.media != nil {
		_ = p.media.Resend() // what it may have missed; when that is too late it has gone
	}
	if !p.away {
		return
	}
	p.away, p.due = false, time.Time{}
	s.tellRoom(r, p.userID, kindHuddleChanged, HuddleMember{RoomID: r.roomID, UserID: p.userID})
}

// GoneFromHuddle is called when a socket has closed on which huddles were told. A mesh is of sockets: who comes back enters
// it anew.
func (s *Service) GoneFromHuddle(by api.Caller) {
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, p := s.seatOf(by.UserID)
	if p == nil || p.device != by.SessionID || p.socket != "" && p.socket != by.Socket {
		return
	}
	if p.meshed {
		p.meshed = false
		s.tellMesh(r, p.userID, kindMeshLeft, MeshMember{p.userID, api.Time(s.db.Now())})
	}
	p.socket = ""
	s.watchSeat(p)
}

// watchSeat gives somebody whose device has no socket some time to come back. The caller holds mu.
func (s *Service) watchSeat(p *seat) {
	if p.away || s.hears(p.device, kindHuddleEnded) {
		return
	}
	p.away, p.due = true, s.db.Now().Add(awayTime)
	s.Wake()
}

// expireSeats takes those out of their huddles who have not come back, and says how long there will be nobody else.
func (s *Service) expireSeats(now time.Time) (next time.Duration) {
	type end struct {
		r      *room
		userID string
	}
	var ends []end
	next = time.Hour
	s.huddles.mu.Lock()
	for _, r := range s.huddles.rooms {
		for _, p := range r.seats {
			switch {
			case !p.away:
			case p.due.After(now):
				next = min(next, p.due.Sub(now))
			default:
				ends = append(ends, end{r, p.userID})
			}
		}
	}
	s.huddles.mu.Unlock()
	for _, e := range ends {
		s.huddles.order.Lock()
		s.huddles.mu.Lock()
		p := e.r.seat(e.userID)
		lost := p != nil && p.away && !p.due.After(now)
		s.huddles.mu.Unlock()
		if lost {
			s.leaveHuddle(context.Background(), e.r, e.userID)
		}
		s.huddles.order.Unlock()
	}
	return next
}

// loadHuddles brings back the huddles that went on when the server stopped. Everybody in them is away.
func (s *Service) loadHuddles(ctx context.Context) error {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	rooms, err := s.activeHuddles(ctx)
	if err != nil {
		return err
	}
	var empty []*room
	due := s.db.Now().Add(awayTime)
	s.huddles.mu.Lock()
	for _, r := range rooms {
		s.huddles.rooms[r.roomID] = r
		for _, p := range r.seats {
			p.away, p.due = true, due
		}
		if len(r.seats) == 0 {
			empty = append(empty, r)
		}
	}
	s.huddles.mu.Unlock()
	for _, r := range empty {
		s.endHuddle(ctx, r)
	}
	return nil
}

// activeHuddles reads the huddles that have not ended, and who is in them.
func (s *Service) activeHuddles(ctx context.Context) (rooms []*room, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT h.id, h.room_id, coalesce(h.conversation_id, ''), h.type, h.initiator_id, h.started_at,
			p.user_id, coalesce(p.session_id, ''), coalesce(p.is_audio, 0), coalesce(p.is_video, 0), coalesce(p.is_muted, 0)
			FROM huddle h LEFT JOIN huddle_participant p ON p.huddle_id = h.id AND p.joined_at IS NOT NULL AND p.left_at IS NULL
			WHERE h.ended_at IS NULL ORDER BY h.id, p.joined_at`)
		if err != nil {
			return fmt.Errorf("read huddles that go on: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			r, p := room{}, seat{}
			var userID sql.NullString
			var began int64
			if err := rows.Scan(&r.id, &r.roomID, &r.chatID, &r.kind, &r.initiator, &began, &userID, &p.device, &p.audio, &p.video, &p.muted); err != nil {
				return err
			}
			if len(rooms) == 0 || rooms[len(rooms)-1].id != r.id {
				r.began = time.UnixMilli(began).UTC()
				rooms = append(rooms, &r)
			}
			if p.userID = userID.String; userID.Valid {
				last := rooms[len(rooms)-1]
				last.seats = append(last.seats, &p)
			}
		}
		return rows.Err()
	})
	return rooms, err
}

// closeHuddles writes down the huddles that are over and could not be written down.
func (s *Service) closeHuddles(ctx context.Context) error {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	rooms, err := s.activeHuddles(ctx)
	errs := []error{err}
	for _, r := range rooms {
		s.huddles.mu.Lock()
		_, goes := s.huddles.rooms[r.roomID]
		s.huddles.mu.Unlock()
		if !goes {
			errs = append(errs, s.db.Write(ctx, "huddle.cleanup", func(tx *storage.Tx) error { return s.recordHuddleEnd(tx, r.id) }))
		}
	}
	return errors.Join(errs...)
}
