package call

import (
	"context"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
)

// CallInput names a call.
type CallInput struct {
	CallID string `path:"callId" maxLength:"64"`
}

// CallBody names a call, on a socket.
type CallBody struct {
	Body struct {
		CallID string `json:"callId" maxLength:"64"`
	}
}

// Answered acknowledges call:answer. What has waited for the device follows it.
type Answered struct {
	Success      bool             `json:"success"`
	CallID       string           `json:"callId"`
	ICEServers   []turn.ICEServer `json:"iceServers"`
	Participants []string         `json:"participants"` // who is in the call, this person too

	follow func()
}

// Follow is called when the answer is on its way.
func (a *Answered) Follow() { a.follow() }

// Ended is the payload of call:ended.
type Ended struct {
	CallID  string `json:"callId"`
	EndedBy string `json:"endedBy"`          // "" when nobody did: the ring has ended, or everybody is gone
	Reason  string `json:"reason,omitempty"` // hangup, declined, cancelled, timeout, failed, answered_elsewhere
}

// Member is the payload of the events about one person in a call.
type Member struct {
	CallID string `json:"callId"`
	UserID string `json:"userId"`
}

// Answer takes a call on this device, for the other devices of this person too; said again from it, it is answered again.
// Codes: CALL_NOT_FOUND, CALL_ENDED, ANSWERED_ELSEWHERE, ALREADY_IN_CALL, CALL_FULL, USER_BANNED, USER_DEACTIVATED.
func (s *Service) Answer(ctx context.Context, by api.Caller, in *CallBody) (*Answered, error) {
	return s.answer(ctx, by, in.Body.CallID)
}

func (s *Service) answer(ctx context.Context, by api.Caller, callID string) (*Answered, error) {
	s.order.Lock()
	defer s.order.Unlock()
	callID = plainID(callID)
	s.mu.Lock()
	c, me, err := s.mine(by, callID)
	again := err == nil && me.on(by)
	switch other, _ := s.sessionOf(by.UserID); {
	case err != nil || again:
	case me.state == joined && !me.away:
		err = api.E("ANSWERED_ELSEWHERE")
	case other != nil && other != c:
		err = api.E("ALREADY_IN_CALL")
	case c.count(joined) >= peopleMax:
		err = api.E("CALL_FULL", "max", peopleMax)
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, "call.answer", func(tx *storage.Tx) error {
		if err := account.MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if err := stillThere(tx, by.UserID, c.conversationID); err != nil {
			return err
		}
		return recordAnswer(tx, by, callID)
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	waiting, bytes := me.waiting, me.bytes
	me.stop()
	me.state, me.device, me.socket, me.waiting, me.bytes = joined, by.SessionID, by.Socket, waiting, bytes
	if c.answered.IsZero() {
		c.answered = s.db.Now()
	}
	s.watch(c, me)
	if !again {
		s.tell(by.UserID, kindEnded, Ended{callID, by.UserID, "answered_elsewhere"}, by.Socket)
		s.tellOthers(c, by.UserID, kindJoined, Member{callID, by.UserID})
	}
	return &Answered{true, callID, s.ice(by, callID), c.there(), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if me.on(by) && !me.away {
			s.flush(me)
		}
	}}, nil
}

// Reject declines a call. Codes: CALL_NOT_FOUND.
func (s *Service) Reject(ctx context.Context, by api.Caller, in *CallBody) (Done, error) {
	s.order.Lock()
	defer s.order.Unlock()
	return Done{Success: true}, s.hangUp(ctx, by, plainID(in.Body.CallID), "")
}

// End hangs up: it ends a call of two, leaves a call of more, takes back a call that nobody has answered, and declines one
// that rings here. Codes: CALL_NOT_FOUND.
func (s *Service) End(ctx context.Context, by api.Caller, in *CallBody) (Done, error) {
	s.order.Lock()
	defer s.order.Unlock()
	return Done{Success: true}, s.hangUp(ctx, by, plainID(in.Body.CallID), "")
}

// hangUp takes somebody out of a call that is going on. A status is how the call is recorded when that ends it, "" for what
// follows from its course. The caller holds order. Codes: CALL_NOT_FOUND.
func (s *Service) hangUp(ctx context.Context, by api.Caller, callID, status string) error {
	s.mu.Lock()
	c, me, err := s.mine(by, callID)
	var was state
	if err == nil {
		was = me.state
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	switch was {
	case ringing:
		s.decline(ctx, c, me)
	case joined:
		s.leave(ctx, callID, by.UserID, status)
	}
	return nil
}

// decline is what somebody says whom a call rings. The caller holds order.
func (s *Service) decline(ctx context.Context, c *session, me *party) {
	s.mu.Lock()
	me.stop()
	me.state = declined
	s.tell(me.userID, kindRejected, Member{c.id, me.userID}, "")
	s.tell(me.userID, kindEnded, Ended{c.id, me.userID, "declined"}, "")
	over := c.count(ringing) == 0 && c.count(joined) < 2
	if over {
		s.tellOthers(c, me.userID, kindRejected, Member{c.id, me.userID})
	} else {
		s.tellOthers(c, me.userID, kindDeclined, Member{c.id, me.userID})
	}
	s.mu.Unlock()
	if over {
		s.finish(ctx, c, me.userID, "", "declined")
		return
	}
	s.save(ctx, c)
}

// lostDevice is, in place of a status, that a device has not come back: people talked until then.
const lostDevice = "lost"

// leave takes somebody who is in a call out of it, and ends it when nobody is left to talk to. The caller holds order.
func (s *Service) leave(ctx context.Context, callID, userID, status string) {
	s.mu.Lock()
	c := s.live[callID]
	if c == nil {
		s.mu.Unlock()
		return
	}
	reason := "hangup"
	if status == "failed" || status == lostDevice {
		reason = "failed"
	}
	alone := c.answered.IsZero()
	over := !c.group || alone && c.initiator == userID
	if alone && c.initiator == userID && status == "" {
		reason = "cancelled"
	}
	if !over {
		me := c.party(userID)
		me.stop()
		me.state = left
		s.tell(userID, kindEnded, Ended{c.id, userID, reason}, "")
		s.tellOthers(c, userID, kindLeft, Member{c.id, userID})
		over = c.count(joined) == 0 || c.count(joined) == 1 && c.count(ringing) == 0
	}
	s.mu.Unlock()
	if over {
		s.finish(ctx, c, userID, status, reason)
		return
	}
	s.save(ctx, c)
}

// unanswered ends the ring for somebody.
func (s *Service) unanswered(callID, userID string) {
	s.order.Lock()
	defer s.order.Unlock()
	s.mu.Lock()
	c := s.live[callID]
	if c == nil {
		s.mu.Unlock()
		return
	}
	me := c.party(userID)
	if me == nil || me.state != ringing || me.due.After(s.db.Now()) {
		s.mu.Unlock()
		return
	}
	me.stop()
	me.state = missed
	s.tell(userID, kindEnded, Ended{c.id, "", "timeout"}, "")
	over := c.count(ringing) == 0 && c.count(joined) < 2
	if !over {
		s.tellOthers(c, userID, kindDeclined, Member{c.id, userID})
	}
	s.mu.Unlock()
	ctx := context.Background()
	if over {
		s.finish(ctx, c, "", "", "timeout")
		return
	}
	s.save(ctx, c)
}

// finish ends a call for everybody and writes down how it went. The caller holds order.
func (s *Service) finish(ctx context.Context, c *session, endedBy, status, reason string) {
	s.mu.Lock()
	if s.live[c.id] == nil {
		s.mu.Unlock()
		return
	}
	delete(s.live, c.id)
	if status == "" || status == lostDevice || status == "completed" && c.answered.IsZero() || status == "rejected" && !c.answered.IsZero() {
		status = c.outcome()
	}
	var told []string
	for _, p := range c.people {
		if p.state == ringing || p.state == joined { // the others have been told
			told = append(told, p.userID)
		}
		p.stop()
		switch p.state {
		case ringing:
			p.state = missed
		case joined:
			p.state = left
		}
	}
	s.mu.Unlock()
	// What has ended has ended, whether or not the one who ended it waits for this.
	err := s.db.Write(context.WithoutCancel(ctx), "call.finish", func(tx *storage.Tx) error { return s.recordEnd(tx, c, endedBy, status) })
	if err != nil {
		s.log.Error("write down a call: the calendar will", "call", c.id, "error", err)
	}
	for _, userID := range told {
		s.tell(userID, kindEnded, Ended{c.id, endedBy, reason}, "")
	}
}

// outcome is how a call that ends now went.
func (c *session) outcome() string {
	switch {
	case !c.answered.IsZero():
		return "completed"
	case c.count(declined) == len(c.people)-1:
		return "rejected"
	}
	return "missed"
}

// save writes down how far everybody is in a call that goes on.
func (s *Service) save(ctx context.Context, c *session) {
	err := s.db.Write(context.WithoutCancel(ctx), "call.save", func(tx *storage.Tx) error { return recordStates(tx, c) })
	if err != nil {
		s.log.Warn("write down who is in a call", "call", c.id, "error", err)
	}
}
