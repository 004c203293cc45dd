package call

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
)

// state is how far somebody is in a call.
type state string

const (
	ringing  state = "ringing"
	joined   state = "joined"
	declined state = "declined"
	missed   state = "missed" // rang until the end of the ring, or was in another call
	left     state = "left"
)

// session is a call that is going on, from its first ring until its end. Service.mu guards it.
type session struct {
	id, conversationID, kind string
	group                    bool
	initiator                string
	people                   []*party // in the order of the invitations, the initiator first
	began, answered          time.Time
}

// party is one person in a call.
type party struct {
	userID  string
	state   state
	device  string    // the session id of the device that takes part
	socket  string    // its connection; "" is whichever it has
	due     time.Time // while it rings or is away: the end of that
	away    bool
	waiting []event.Live // signals that could not be delivered yet, in order
	bytes   int
}

func (c *session) party(userID string) *party {
	for _, p := range c.people {
		if p.userID == userID {
			return p
		}
	}
	return nil
}

// count is how many people are in a state.
func (c *session) count(in state) (n int) {
	for _, p := range c.people {
		if p.state == in {
			n++
		}
	}
	return n
}

// there are the ids of those who are in the call.
func (c *session) there() []string {
	ids := []string{}
	for _, p := range c.people {
		if p.state == joined {
			ids = append(ids, p.userID)
		}
	}
	return ids
}

// on reports whether a caller speaks from the device that takes part.
func (p *party) on(by api.Caller) bool { return p.state == joined && p.device == by.SessionID }

// stop ends ring and absence, and drops what waits.
func (p *party) stop() {
	p.due, p.away, p.waiting, p.bytes = time.Time{}, false, nil, 0
}

// sessionOf finds the call that somebody is in; nil when they are in none. The caller holds mu.
func (s *Service) sessionOf(userID string) (*session, *party) {
	for _, c := range s.live {
		if p := c.party(userID); p != nil && p.state == joined {
			return c, p
		}
	}
	return nil, nil
}

// tell sends an event to all devices of somebody, but not on one connection.
func (s *Service) tell(userID, kind string, value any, not string) {
	s.events.Tell(event.Live{Event: event.Event{Kind: kind, Scope: event.ScopeUser, ScopeID: userID}, Value: value, NotSocket: not})
}

// tellOthers sends an event to those in the call but one, on the devices they take part with.
func (s *Service) tellOthers(c *session, userID, kind string, value any) {
	for _, p := range c.people {
		if p.userID != userID && p.state == joined && !p.away {
			s.events.Tell(p.address(kind, value))
		}
	}
}

// address is an event for the device that takes part.
func (p *party) address(kind string, value any) event.Live {
	return event.Live{Event: event.Event{Kind: kind, Scope: event.ScopeSession, ScopeID: p.device}, Value: value, Socket: p.socket}
}

// signal delivers what one device tells another, or lets it wait for a device that rings or is away. What is more than
// may wait is dropped, the oldest first; a new offer makes what the same sender said before worthless.
func (s *Service) signal(p *party, kind, from string, value any, size int) {
	e := p.address(kind, value)
	e.ActorID = from
	if p.state == joined && !p.away {
		s.events.Tell(e)
		return
	}
	if kind == kindOffer {
		p.waiting = slices.DeleteFunc(p.waiting, func(e event.Live) bool { return e.ActorID == from })
	}
	p.waiting, p.bytes = append(p.waiting, e), p.bytes+size
	for len(p.waiting) > waitingMax || p.bytes > waitingBytes {
		p.bytes -= weigh(p.waiting[0])
		p.waiting = p.waiting[1:]
	}
}

// flush delivers what has waited for somebody.
func (s *Service) flush(p *party) {
	for _, e := range p.waiting {
		e.ScopeID, e.Socket = p.device, p.socket
		s.events.Tell(e)
	}
	p.waiting, p.bytes = nil, 0
}

// weigh is how much a waiting signal counts.
func weigh(e event.Live) int {
	v, _ := e.Value.(Signal)
	return v.size()
}

// Signal is what one device tells another. The field that is set is called as the client called it.
type Signal struct {
	CallID    string          `json:"callId"`
	From      string          `json:"from"`
	Offer     json.RawMessage `json:"offer,omitempty"`
	Answer    json.RawMessage `json:"answer,omitempty"`
	Candidate json.RawMessage `json:"candidate,omitempty"`
}

func (v Signal) size() int { return len(v.Offer) + len(v.Answer) + len(v.Candidate) }
