package modeltest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/event"
)

// world is what a patient bookkeeper would note: who is where since when, what was said, and from these alone what each
// person must see. It knows nothing of tables, events or sockets. What cannot be foretold (ids, times) it learns from
// the answer to whoever did the thing; everything else it says first.
type world struct {
	people []*person
	rooms  []*room
	turns  int
	marks  int
	tokens map[string]*token
	events []event.Event // that the operation being followed left in the log, and others after it
	ahead  time.Duration // of the clock, by which messages expire and can no longer be edited
}

// told takes the next message from the events of an operation: what the server says of itself has no answer to learn
// its id from.
func (w *world) told(r *room, by *person) (id, at string) {
	for i, e := range w.events {
		if e.Kind == "message:new" && e.ScopeID == r.id && e.ActorID == by.id {
			w.events = w.events[i+1:]
			return e.SubjectID, time.UnixMilli(e.At).UTC().Format("2006-01-02T15:04:05.000Z")
		}
	}
	return "a notice that was not told", ""
}

// person is an account.
type person struct {
	id, name string
	blocked  map[*person]bool

	hidesReads, hidesSeen bool
	coy                   bool // has changed what is shown of their reading: others are not told of what that changes
}

// room is a conversation.
type room struct {
	id, kind    string
	pair        [2]*person // of a single one
	name, about string
	stays       []*stay
	log         []*message // by number, from 1
	pins        []*message // whoever sees them
	timer       time.Duration
	lastAt      string
	gone        bool
}

// stay is one membership of one person, from a number of the room on.
type stay struct {
	who                     *person
	order                   int // people are listed in the order they came, those who came together by id
	admin                   bool
	from                    int  // sees what is above
	clear                   int  // has cleared up to here
	hidden                  int  // not listed while the room stands here; -1 when listed
	read                    int  // has read up to here
	shown                   int  // and lets others know up to here
	over                    bool // has left, when the room stood at last
	last                    int
	ended                   int // at this turn of the world
	muted, pinned, archived bool
}

// message is something said.
type message struct {
	room               *room
	n                  int
	id, clientID, text string
	word               string // that the text holds
	notice             bool   // it says what happened to the group
	revised            int    // the turn of the world at which it last changed
	by                 *person
	reply              *message
	edited, gone       bool
	expired            bool // it is gone without a trace
	hiddenFrom         map[*person]bool
	said, expires      time.Duration // on the clock of the world; 0 is never
	reactions          []reaction
	call               call
	calls              []*person // of whom it calls, those who can be
	callsAll           bool
	createdAt          string
	editedAt           string
}

// reaction is somebody's emoji on a message.
type reaction struct {
	who   *person
	emoji string
}

// pinsMost is how many messages of a room may be pinned; those that no member sees do not count.
const pinsMost = 10

// token is a word that stands in one text only, so that whoever hears it has heard that text.
type token struct {
	what string
	may  map[*person]bool // who may hear it now, or might until what is on its way has arrived
}

// verdict is how an operation must end: with one of these codes, or well when there are none.
type verdict []string

func (v verdict) add(code string, wrong bool) verdict {
	if wrong {
		return append(v, code)
	}
	return v
}

// mint makes a word that nobody has heard yet.
func (w *world) mint(what string) string {
	w.marks++
	word := fmt.Sprintf("tk%dx", w.marks)
	w.tokens[word] = &token{what: what, may: map[*person]bool{}}
	return word
}

// publish lets people hear the word that a text begins with; "" is none.
func (w *world) publish(text string, to ...*person) {
	if text == "" {
		return
	}
	word, _, _ := strings.Cut(text, " ")
	for _, p := range to {
		w.tokens[word].may[p] = true
	}
}

// settle is called when all that was on its way has arrived: from now on a word is only for those for whom it stands
// somewhere. Somebody who was away may still be told what was said while they were there, and is as it was.
func (w *world) settle() {
	for _, t := range w.tokens {
		clear(t.may)
	}
	for _, r := range w.rooms {
		if r.gone {
			continue
		}
		w.publish(r.name, r.members()...)
		w.publish(r.about, r.members()...)
		for _, m := range r.log {
			for _, s := range r.stays {
				if !m.gone && !m.expired && !m.hiddenFrom[s.who] && m.n > s.floor() && (!s.over || m.n <= s.last && m.revised < s.ended) {
					w.publish(m.word, s.who)
				}
			}
		}
	}
}

func (w *world) personOf(id string) *person {
	for _, p := range w.people {
		if p.id == id {
			return p
		}
	}
	return nil
}

func apart(a, b *person) bool { return a.blocked[b] || b.blocked[a] }

// of returns somebody's present stay, nil for strangers and for those who have left.
func (r *room) of(p *person) *stay {
	for _, s := range r.stays {
		if s.who == p && !s.over {
			return s
		}
	}
	return nil
}

// present are the stays that go on, in the order they are listed.
func (r *room) present() []*stay {
	var list []*stay
	for _, s := range r.stays {
		if !s.over {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(a, b *stay) int {
		return cmp.Or(cmp.Compare(a.order, b.order), cmp.Compare(a.who.id, b.who.id))
	})
	return list
}

func (r *room) members() []*person {
	var list []*person
	for _, s := range r.present() {
		list = append(list, s.who)
	}
	return list
}

func (r *room) admins() int {
	n := 0
	for _, s := range r.present() {
		if s.admin {
			n++
		}
	}
	return n
}

func (s *stay) floor() int { return max(s.from, s.clear) }

// sees reports whether somebody may know of a message at all, be it as a tombstone.
func (m *message) sees(p *person) bool {
	s := m.room.of(p)
	return s != nil && m.n > s.floor() && !m.expired && !m.hiddenFrom[p]
}

// hearers are those who are told what becomes of a message: members who were there when it was sent, and have neither
// cleared nor hidden it.
func (m *message) hearers() []*person {
	var list []*person
	for _, s := range m.room.present() {
		if m.n > s.floor() && !m.hiddenFrom[s.who] {
			list = append(list, s.who)
		}
	}
	return list
}

// readBy reports whether somebody, now a member, has a receipt under the message.
func (m *message) readBy(p *person) bool {
	if p == m.by || m.room.of(p) == nil {
		return false
	}
	return slices.ContainsFunc(m.room.stays, func(s *stay) bool { return s.who == p && s.from < m.n && m.n <= s.shown })
}

// reads notes that somebody has read up to a number.
func (r *room) reads(p *person, n int) {
	if s := r.of(p); n > s.read {
		s.read = n
		if !p.hidesReads && !(r.kind == "single" && apart(r.pair[0], r.pair[1])) {
			s.shown = n
		}
	}
}

// secret reports whether one person does not see what the other has read.
func secret(a, b *person) bool { return a != b && (a.hidesReads || b.hidesReads) }

// unread recounts what somebody has not read.
func (r *room) unread(p *person) int {
	s, n := r.of(p), 0
	for _, m := range r.log {
		if m.n > max(s.floor(), s.read) && m.by != p && m.sees(p) && !m.gone && !m.notice {
			n++
		}
	}
	return n
}

// listed reports whether the room stands in somebody's list.
func (r *room) listed(p *person) bool {
	s := r.of(p)
	return s != nil && s.hidden < len(r.log)
}

// found makes a room of the people, the first its founder.
func (w *world) found(id, kind, name, about string, people ...*person) *room {
	r := &room{id: id, kind: kind, name: name, about: about}
	if kind == "single" {
		r.pair = [2]*person{people[0], people[1]}
	}
	w.rooms = append(w.rooms, r)
	w.enter(r, people...)
	if kind == "group" {
		r.of(people[0]).admin = true
	}
	return r
}

// enter begins stays: they see what is said from now on.
func (w *world) enter(r *room, people ...*person) {
	for _, p := range people {
		n := len(r.log)
		r.stays = append(r.stays, &stay{who: p, order: w.turns, from: n, hidden: -1, read: n, shown: n})
		w.publish(r.name, p)
		w.publish(r.about, p)
	}
}

// end ends a stay.
func (w *world) end(s *stay, r *room) { s.over, s.last, s.ended = true, len(r.log), w.turns }

// part ends a stay, by removal or by leaving. Those who are left get an admin, an empty group ends.
func (w *world) part(r *room, p, by *person) {
	w.end(r.of(p), r)
	left := r.present()
	if len(left) == 0 {
		w.dissolve(r)
		return
	}
	if p == by {
		w.notice(r, by, "left", nil, "")
	} else {
		w.notice(r, by, "removed", []*person{p}, "")
	}
	if r.admins() == 0 {
		w.promote(r, left[0].who, by, true)
	}
}

// promote makes somebody an admin, or an ordinary member.
func (w *world) promote(r *room, p, by *person, admin bool) {
	s := r.of(p)
	if s.admin == admin {
		return
	}
	s.admin = admin
	w.notice(r, by, map[bool]string{true: "promoted", false: "demoted"}[admin], []*person{p}, "")
}

// dissolve ends a group and everything said in it.
func (w *world) dissolve(r *room) {
	for _, s := range r.present() {
		w.end(s, r)
	}
	r.gone = true
}

// notice says in a group what happened to it. Its id and time are those of the next of the events that the operation
// left.
func (w *world) notice(r *room, by *person, action string, about []*person, name string) {
	id, at := w.told(r, by)
	m := w.say(r, by, notice(action, by.id, idsOf(about), name), "", nil, id, at)
	m.notice, m.word = true, name
	w.publish(name, r.members()...)
}

// say adds a message.
func (w *world) say(r *room, by *person, text, clientID string, reply *message, id, at string) *message {
	m := &message{
		room: r, n: len(r.log) + 1, id: id, by: by, text: text, clientID: clientID, reply: reply, createdAt: at, revised: w.turns,
		said: w.ahead, hiddenFrom: map[*person]bool{},
	}
	r.log, r.lastAt = append(r.log, m), at
	return m
}

// mention notes whom a message calls: those of them who can see it, and everybody if an admin of a group says so.
func (m *message) mention(c call) {
	m.call, m.calls, m.callsAll = c, nil, c.all && m.room.kind == "group" && m.room.of(m.by).admin
	if s := m.room.of(c.who); c.who != m.by && s != nil && s.from < m.n {
		m.calls = []*person{c.who}
	}
}

// mentions recounts what somebody has not read and calls them.
func (r *room) mentions(p *person) (n int) {
	for _, m := range r.log {
		if m.callsOn(p) && m.n > r.of(p).read {
			n++
		}
	}
	return n
}

// callsOn reports whether a message calls somebody who can see it now, and who does not block its sender.
func (m *message) callsOn(p *person) bool {
	s := m.room.of(p)
	return s != nil && m.n > s.floor() && m.by != p && m.sees(p) && !m.gone && !p.blocked[m.by] && (m.callsAll || slices.Contains(m.calls, p))
}

// edit replaces a text.
func (w *world) edit(m *message, text, at string) {
	m.text, m.word, m.edited, m.editedAt, m.revised = text, text, true, at, w.turns
	w.publish(text, m.hearers()...)
}

// passes moves the clock: what has expired by then is gone.
func (w *world) passes(d time.Duration) {
	w.ahead += d
	for _, r := range w.rooms {
		for _, m := range r.log {
			if m.expires > 0 && m.expires <= w.ahead && !m.expired {
				w.erase(m)
				m.expired = true
			}
		}
	}
}

// lasts sets after how long disappears what is sent from now on.
func (w *world) lasts(r *room, by *person, timer time.Duration) {
	if r.timer != timer {
		r.timer = timer
		if r.kind == "group" {
			w.notice(r, by, "timer", nil, "")
		}
	}
}

// erase deletes a message for everyone.
func (w *world) erase(m *message) {
	m.gone, m.reactions, m.calls, m.callsAll = true, nil, nil, false
	m.room.pins = slices.DeleteFunc(m.room.pins, func(p *message) bool { return p == m })
}

// wipe clears a room for one person: what was said so far is no longer for them.
func (w *world) wipe(r *room, p *person) {
	for _, s := range r.stays {
		if s.who == p {
			s.clear = len(r.log)
		}
	}
}

// hide takes a single conversation out of somebody's list until the next message, and clears it.
func (w *world) hide(r *room, p *person) {
	if s := r.of(p); s.hidden < len(r.log) {
		w.wipe(r, p)
		s.hidden, s.pinned, s.archived = len(r.log), false, false
	}
}

// pinning says how pinning must end, or unpinning.
func (w *world) pinning(r *room, m *message, by *person, on bool) (v verdict) {
	s := r.of(by)
	if s == nil {
		return verdict{"CONVERSATION_NOT_FOUND"}
	}
	v = v.add("NOT_ADMIN", r.kind == "group" && !s.admin)
	v = v.add("MESSAGE_NOT_FOUND", m.room != r || !m.sees(by) || on && m.gone)
	v = v.add("BLOCKED", r.kind == "single" && apart(r.pair[0], r.pair[1]))
	lowest := len(r.log)
	for _, o := range r.present() {
		lowest = min(lowest, o.from)
	}
	count := 0
	for _, p := range r.pins {
		if p.n > lowest { // somebody may see it
			count++
		}
	}
	return v.add("PINS_FULL", on && count >= pinsMost && !slices.Contains(r.pins, m))
}

// reacting says how a reaction must end, or taking it back.
func (w *world) reacting(m *message, by *person) (v verdict) {
	v = v.add("MESSAGE_NOT_FOUND", !m.sees(by) || m.gone)
	return v.add("BLOCKED", m.sees(by) && m.room.kind == "single" && apart(m.room.pair[0], m.room.pair[1]))
}

// react adds a reaction once, or takes it back.
func (m *message) react(by *person, emoji string, on bool) {
	one := reaction{by, emoji}
	switch had := slices.Contains(m.reactions, one); {
	case on && !had:
		m.reactions = append(m.reactions, one)
	case !on:
		m.reactions = slices.DeleteFunc(m.reactions, func(r reaction) bool { return r == one })
	}
}

// rename changes what a group is called.
func (w *world) rename(r *room, by *person, name, about *string) {
	named, described := name != nil && *name != r.name, about != nil && *about != r.about
	if named {
		r.name = *name
	}
	if described {
		r.about = *about
		w.publish(r.about, r.members()...)
	}
	if named {
		w.notice(r, by, "renamed", nil, r.name)
	}
	if described {
		w.notice(r, by, "described", nil, "")
	}
}

// sending says how a send must end; first is what the same clientId sent before, which is answered again.
func (w *world) sending(r *room, by *person, text, clientID string, reply *message, replyID string) (first *message, v verdict) {
	s := r.of(by)
	if s == nil {
		return nil, verdict{"CONVERSATION_NOT_FOUND"}
	}
	v = v.add("BLOCKED", r.kind == "single" && apart(r.pair[0], r.pair[1]))
	v = v.add("REPLY_NOT_FOUND", replyID != "" && (reply == nil || reply.room != r || !reply.sees(by) || reply.gone))
	for _, m := range r.log {
		if clientID != "" && m.by == by && m.clientID == clientID && !m.expired {
			first = m
		}
	}
	if first == nil {
		return nil, v
	}
	if first.gone || (first.edited || first.text == text) && first.reply == reply {
		return first, nil
	}
	return nil, verdict{"CLIENT_ID_REUSED"}
}

// editing says how an edit must end.
func (w *world) editing(m *message, by *person) (v verdict) {
	if !m.sees(by) {
		return verdict{"MESSAGE_NOT_FOUND"}
	}
	v = v.add("MESSAGE_NOT_EDITABLE", m.by != by || m.gone || m.notice || w.ahead-m.said > 24*time.Hour)
	return v.add("BLOCKED", m.room.kind == "single" && apart(m.room.pair[0], m.room.pair[1]))
}

// erasing says how a deletion must end.
func (w *world) erasing(m *message, by *person) (v verdict) {
	if !m.sees(by) {
		return verdict{"MESSAGE_NOT_FOUND"}
	}
	return v.add("MESSAGE_NOT_DELETABLE", m.by != by || m.notice)
}

// running says whether somebody may run a group.
func (w *world) running(r *room, by *person) (v verdict) {
	s := r.of(by)
	if s == nil {
		return verdict{"CONVERSATION_NOT_FOUND"}
	}
	v = v.add("NOT_GROUP", r.kind != "group")
	return v.add("NOT_ADMIN", r.kind == "group" && !s.admin)
}

// inviting says whether somebody may bring people into a group.
func (w *world) inviting(by *person, people []*person) verdict {
	if slices.ContainsFunc(people, func(p *person) bool { return apart(by, p) }) {
		return verdict{"BLOCKED"}
	}
	return nil
}

// show is everything that somebody's device must show.
func (w *world) show(p *person, receipts bool) screen {
	shown := screen{hidesReads: p.hidesReads, hidesSeen: p.hidesSeen}
	for _, r := range w.rooms {
		if r.listed(p) {
			shown.cards = append(shown.cards, r.show(p, receipts))
		}
	}
	for o, blocked := range p.blocked {
		if blocked {
			shown.blocked = append(shown.blocked, o.id)
		}
	}
	return shown.sorted()
}

// blur takes out of a screen what its owner is not told of when it changes: how far people have read who now show it and
// now do not, and those who read to a message that has expired; and when the last thing was said that they do not see.
func (w *world) blur(p *person, s screen) screen {
	for i, c := range s.cards {
		at := slices.IndexFunc(w.rooms, func(r *room) bool { return r.id == c.id })
		if at < 0 {
			continue
		}
		r := w.rooms[at]
		if n := len(r.log); n > 0 && !r.log[n-1].sees(p) {
			s.cards[i].lastAt = "some time"
		}
		for j, f := range c.people {
			if o := w.personOf(f.id); r.lost(o) || f.id != p.id && (p.coy || o.coy) {
				c.people[j].read = "somewhere"
			}
		}
	}
	return s.sorted()
}

// lost reports whether what somebody has read to, or shows, has expired.
func (r *room) lost(p *person) bool {
	s := r.of(p)
	return s != nil && slices.ContainsFunc([]int{s.read, s.shown}, func(at int) bool { return at > s.from && r.log[at-1].expired })
}

func (r *room) show(p *person, receipts bool) card {
	s := r.of(p)
	c := card{timer: r.timer, id: r.id, kind: r.kind, name: r.name, about: r.about, lastAt: r.lastAt, unread: r.unread(p), called: r.mentions(p), muted: s.muted, pinned: s.pinned, archived: s.archived}
	for _, o := range r.present() {
		f := face{id: o.who.id, role: "member"}
		if o.admin {
			f.role = "admin"
		}
		at := o.shown
		if o.who == p {
			at = o.read
		}
		for at > o.from && r.log[at-1].expired { // the last one that is still there
			at--
		}
		if at > o.from && !secret(p, o.who) {
			f.read = r.log[at-1].id
		}
		c.people = append(c.people, f)
	}
	for _, m := range r.log {
		if !m.sees(p) || m.gone {
			continue
		}
		if slices.Contains(r.pins, m) {
			c.pins = append(c.pins, m.id)
		}
		c.messages, c.last = append(c.messages, m.show(p, s.floor(), receipts)), m.id
	}
	return c
}

func (m *message) show(p *person, floor int, receipts bool) bubble {
	b := bubble{id: m.id, n: m.n, by: m.by.id, text: m.text, clientID: m.clientID, createdAt: m.createdAt, edited: m.edited, editedAt: m.editedAt}
	if m.reply != nil {
		b.reply = m.reply.id
		if m.reply.n > floor && !m.reply.expired && !m.reply.hiddenFrom[p] {
			b.quote = m.reply.text
			if m.reply.gone {
				b.quote = tombstone
			}
		}
	}
	for _, o := range m.calls {
		b.calls = append(b.calls, o.id)
	}
	if m.callsAll {
		b.calls = append(b.calls, "all")
	}
	for _, r := range m.reactions {
		b.reactions = append(b.reactions, r.emoji+r.who.id)
	}
	for _, o := range m.room.members() {
		if receipts && m.readBy(o) && !secret(p, o) {
			b.readBy = append(b.readBy, o.id)
		}
	}
	slices.Sort(b.readBy)
	return b
}
