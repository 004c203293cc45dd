package call

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
)

// Resume is the payload of call:resume: this device is in a call. The part of it that holds the call (one tab of several)
// signals anew.
type Resume struct {
	CallID         string           `json:"callId"`
	CallType       string           `json:"callType"`
	ConversationID string           `json:"conversationId"`
	Participants   []string         `json:"participants"`
	ICEServers     []turn.ICEServer `json:"iceServers"`
}

// Came is called when a device has opened a socket on which calls are told. It hears what rings for it, and comes back to
// the call it was in.
func (s *Service) Came(ctx context.Context, by api.Caller) {
	s.mu.Lock()
	var rings []*session
	for _, c := range s.live {
		switch p := c.party(by.UserID); {
		case p == nil:
		case p.state == ringing:
			rings = append(rings, c)
		case p.state == joined && p.device == by.SessionID && p.away:
			s.back(c, p, by)
		case p.state == joined && p.device == by.SessionID:
			// The old socket may be dead and not know it, as after a change of networks: both hear now, until one acts.
			p.socket = ""
			s.resume(c, p, by)
		}
	}
	s.mu.Unlock()
	for _, c := range rings { // one, mostly
		from, err := s.fromOf(ctx, c.initiator)
		if err != nil {
			s.log.Warn("ring a device that came", "call", c.id, "error", err)
			return
		}
		s.mu.Lock()
		if p := c.party(by.UserID); s.live[c.id] == c && p.state == ringing {
			e := (&party{device: by.SessionID, socket: by.Socket}).address(kindIncoming, s.incoming(c, from, false))
			s.events.Tell(e)
		}
		s.mu.Unlock()
	}
}

// back takes a device into its call again. The caller holds mu.
func (s *Service) back(c *session, p *party, by api.Caller) {
	p.due, p.away, p.socket = time.Time{}, false, by.Socket
	s.resume(c, p, by)
	s.tellOthers(c, p.userID, kindReconnected, Member{c.id, p.userID})
	s.flush(p)
}

// resume tells a socket that its device is in a call. The caller holds mu.
func (s *Service) resume(c *session, p *party, by api.Caller) {
	e := p.address(kindResume, Resume{c.id, c.kind, c.conversationID, c.there(), s.ice(by, c.id)})
	e.Socket = by.Socket
	s.events.Tell(e)
}

// Gone is called when a socket has closed on which calls were told.
func (s *Service) Gone(by api.Caller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.live {
		if p := c.party(by.UserID); p != nil && p.state == joined && p.device == by.SessionID && (p.socket == "" || p.socket == by.Socket) {
			p.socket = ""
			s.watch(c, p)
		}
	}
}

// watch gives somebody whose device has no socket some time to come back. The caller holds mu.
func (s *Service) watch(c *session, p *party) {
	if p.away || s.hears(p.device, kindOffer) {
		return
	}
	p.away, p.due = true, s.db.Now().Add(awayTime)
	s.Wake()
	s.tellOthers(c, p.userID, kindReconnecting, Member{c.id, p.userID})
}

// lost takes somebody out of a call whose device has not come back.
func (s *Service) lost(callID, userID string) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	c := s.live[callID]
	var me *party
	if c != nil {
		me = c.party(userID)
	}
	gone := me != nil && me.state == joined && me.away && !me.due.After(s.db.Now())
	s.mu.Unlock()
	if gone {
		s.leave(context.Background(), callID, userID, lostDevice)
	}
}

// Load brings back the calls that went on when the server stopped. Everybody in them is away; who rang, rings on.
func (s *Service) Load(ctx context.Context) error {
	if err := s.loadHuddles(ctx); err != nil {
		return err
	}
	s.order.Lock()
	defer s.order.Unlock()
	var found []*session
	err := s.db.Read(ctx, func(v storage.View) (err error) {
		found, err = ongoing(v)
		return err
	})
	if err != nil {
		return err
	}
	now := s.db.Now()
	var dead []*session
	s.mu.Lock()
	for _, c := range found {
		s.live[c.id] = c
		for _, p := range c.people {
			switch p.state {
			case joined:
				p.away, p.due = true, now.Add(awayTime)
			case ringing:
				p.due = c.began.Add(ringTime)
			}
		}
		if c.count(joined) == 0 {
			dead = append(dead, c)
		}
	}
	s.mu.Unlock()
	for _, c := range dead {
		s.finish(ctx, c, "", "failed", "failed")
	}
	return nil
}

// ongoing reads the calls that have not ended.
func ongoing(q storage.Querier) (list []*session, err error) {
	rows, err := q.Query(`SELECT c.id, coalesce(c.conversation_id, ''), c.type, c.is_group, c.initiator_id, c.started_at, c.answered_at, p.user_id, p.state, p.session_id
		FROM call c JOIN call_participant p ON p.call_id = c.id WHERE c.status = 'ongoing' ORDER BY c.id, p.position`)
	if err != nil {
		return nil, fmt.Errorf("read calls that go on: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		c, p := session{}, party{}
		var began int64
		var answered sql.NullInt64
		if err := rows.Scan(&c.id, &c.conversationID, &c.kind, &c.group, &c.initiator, &began, &answered, &p.userID, &p.state, &p.device); err != nil {
			return nil, err
		}
		if len(list) == 0 || list[len(list)-1].id != c.id {
			c.began = time.UnixMilli(began).UTC()
			if answered.Valid {
				c.answered = time.UnixMilli(answered.Int64).UTC()
			}
			list = append(list, &c)
		}
		last := list[len(list)-1]
		last.people = append(last.people, &p)
	}
	return list, rows.Err()
}

// Run ends rings and absences when their time has come, until ctx ends. The rows of calls that go on stay as they are then:
// a restart brings them back.
func (s *Service) Run(ctx context.Context) {
	for {
		wait := time.NewTimer(s.expire())
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		case <-s.wake:
			wait.Stop()
		}
	}
}

// Wake has Run look at the clock again.
func (s *Service) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// expire ends what is due and says how long nothing else will be.
func (s *Service) expire() (next time.Duration) {
	type end struct {
		callID, userID string
		away           bool
	}
	var ends []end
	now := s.db.Now()
	next = time.Hour
	s.mu.Lock()
	for _, c := range s.live {
		for _, p := range c.people {
			switch {
			case p.due.IsZero():
			case p.due.After(now):
				next = min(next, p.due.Sub(now))
			default:
				ends = append(ends, end{c.id, p.userID, p.away})
			}
		}
	}
	s.mu.Unlock()
	next = min(next, s.expireSeats(now))
	for _, e := range ends {
		if e.away {
			s.lost(e.callID, e.userID)
		} else {
			s.unanswered(e.callID, e.userID)
		}
	}
	return next
}

// Calendar is what runs by itself: calls that ended and could not be written down are.
func (s *Service) Calendar() error {
	return s.jobs.Every("call-cleanup", "*/5 * * * *", "UTC", func(ctx context.Context) error {
		s.order.Lock()
		defer s.order.Unlock()
		var found []*session
		err := s.db.Read(ctx, func(v storage.View) (err error) { found, err = ongoing(v); return err })
		if err != nil {
			return err
		}
		var errs []error
		for _, c := range found { // those that nobody is in, and they are few
			s.mu.Lock()
			_, goes := s.live[c.id]
			s.mu.Unlock()
			if goes {
				continue
			}
			for _, p := range c.people {
				if p.state == joined {
					p.state = left
				} else if p.state == ringing {
					p.state = missed
				}
			}
			errs = append(errs, s.db.Write(ctx, "call.cleanup", func(tx *storage.Tx) error { return s.recordEnd(tx, c, "", c.outcome()) }))
		}
		return errors.Join(append(errs, s.closeHuddles(ctx))...)
	})
}
