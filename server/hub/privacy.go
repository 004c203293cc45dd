package hub

import (
	"cmp"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
)

// Privacy is what others may see of somebody's presence. The hub reads it when the first socket of a person is
// attached (Options.Privacy), and is told of every change (SetPrivacy).
type Privacy struct {
	Status     string              // what they chose: online, away, busy, or offline, which shows nothing of them
	HidesSeen  bool                // they neither show when they are here nor see it of others
	HidesReads bool                // they neither show what they have read nor see it of others
	Only       map[string]struct{} // presence is for these alone; nil for everyone
	Blocked    map[string]struct{} // neither sees the other's presence
}

// loading is the privacy of somebody that is being read to attach their first socket.
type loading struct {
	count int      // sockets that wait for it
	fresh *Privacy // told meanwhile: newer than what is read
}

// sees reports whether one person may see the presence of another. The caller holds mu.
func sees(viewer, other *person) bool {
	a, b := &viewer.privacy, &other.privacy
	if a.HidesSeen || b.HidesSeen || b.Status == "offline" {
		return false
	}
	if _, blocked := b.Blocked[viewer.id]; blocked {
		return false
	}
	if _, blocked := a.Blocked[other.id]; blocked {
		return false
	}
	if b.Only == nil {
		return true
	}
	_, ok := b.Only[viewer.id]
	return ok
}

// SetPrivacy changes what others see of somebody, and what they see, at once: those for whom it makes a difference are
// told as if the other had come or gone. Changes of one person are given in the order of their commits.
func (h *Hub) SetPrivacy(userID string, to Privacy) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.loading[userID]; l != nil {
		l.fresh = &to
	}
	p := h.people[userID]
	if p == nil {
		return
	}
	type pair struct {
		other          *person
		shown, watched bool // before: p to the other, the other to p
	}
	var pairs []pair
	h.around(p, func(other *person) { pairs = append(pairs, pair{other, sees(other, p), sees(p, other)}) })
	was := p.privacy
	p.privacy = to
	online := presence(p)
	offline := presenceValue{UserID: p.id}
	if to.Status == "offline" && was.Status != "offline" {
		offline.LastSeen = api.Time(time.Now())
	}
	t := teller{}
	for _, q := range pairs {
		switch shown := sees(q.other, p); {
		case shown && (!q.shown || to.Status != was.Status):
			t.tell(q.other, "user:online", online)
		case q.shown && !shown:
			t.tell(q.other, "user:offline", offline)
		}
		switch watched := sees(p, q.other); {
		case watched && !q.watched:
			t.tell(p, "user:online", presence(q.other))
		case q.watched && !watched:
			t.tell(p, "user:offline", presenceValue{UserID: q.other.id})
		}
	}
	t.flush()
}

// presence is what is said of somebody who is online.
func presence(p *person) presenceValue {
	return presenceValue{UserID: p.id, Status: cmp.Or(p.privacy.Status, "online")}
}

// around calls fn once for everybody online who is told of p's presence: those who share a conversation with p. In a
// conversation with many people online presence is asked for instead: a thousand people coming back at once would
// otherwise be a million frames. The caller holds mu.
func (h *Hub) around(p *person, fn func(other *person)) {
	seen := map[string]bool{p.id: true}
	for _, r := range p.rooms {
		if len(r.people) > presenceRoomMax {
			continue
		}
		for id, other := range r.people {
			if !seen[id] {
				seen[id] = true
				fn(other)
			}
		}
	}
}

// teller queues frames of presence and writes them later.
type teller struct {
	list   []*conn
	framed map[presenceFrame]*telling // each frame is made once
}

type presenceFrame struct {
	kind  string
	value presenceValue
}

func (t *teller) tell(to *person, kind string, value presenceValue) {
	if len(to.streams) == 0 {
		return
	}
	key := presenceFrame{kind, value}
	said := t.framed[key]
	if said == nil {
		said = &telling{Live: event.Live{Event: event.Event{Kind: kind}, Value: value}}
		if t.framed == nil {
			t.framed = map[presenceFrame]*telling{}
		}
		t.framed[key] = said
	}
	for _, s := range to.streams {
		if b, err := said.frame(s.form); err == nil && len(b) > 0 && s.push(b, 0) {
			t.list = append(t.list, s.conn)
		}
	}
}

// flush writes what was queued, in the background: whoever tells holds mu.
func (t *teller) flush() {
	if list := t.list; len(list) > 0 {
		go func() {
			for _, c := range list {
				c.flush()
			}
		}()
	}
}
