package modeltest

import (
	"cmp"
	"fmt"
	"slices"
)

// world is what a patient bookkeeper would note: who is where since when, what was said, and from these alone what each
// person must see. It knows nothing of tables, events or sockets. What cannot be foretold (ids, times) it learns from
// the answer to whoever did the thing; everything else it says first.
type world struct {
	people []*person
	rooms  []*room
	stays  int
	marks  int
	tokens map[string]*token
	learn  func(roomID string, n int) (id, at string) // of a notice, which is in nobody's answer
}

// person is an account.
type person struct {
	id, name string
	blocked  map[*person]bool
}

// room is a conversation.
type room struct {
	id, kind    string
	pair        [2]*person // of a single one
	name, about string
	names       []string // what it was called before, as notices say
	stays       []*stay
	log         []*message // by number, from 1
	lastAt      string
	gone        bool
}

// stay is one membership of one person, from a number of the room on.
type stay struct {
	who    *person
	order  int // people are listed in the order they came, those who came together by id
	admin  bool
	from   int  // sees what is above
	clear  int  // has cleared up to here
	hidden int  // not listed while the room stands here; -1 when listed
	read   int  // has read up to here
	over   bool // has left
}

// message is something said, or a notice of the server's, whose text is here what it is about.
type message struct {
	notice             bool
	room               *room
	n                  int
	id, clientID, text string
	by                 *person
	reply              *message
	edited, gone       bool
	createdAt          string
	editedAt           string
}

// token is a word that stands in one text only, so that whoever hears it has heard that text.
type token struct {
	what  string
	may   map[*person]bool // who may ever hear it
	dead  bool             // it has been replaced or deleted: nobody may hear it any more
	dying bool             // dead as soon as what is on its way has arrived
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

// publish lets people hear a text; "" is none.
func (w *world) publish(word string, to ...*person) {
	if word == "" {
		return
	}
	for _, p := range to {
		w.tokens[word].may[p] = true
	}
}

// bury notes that a text is no more.
func (w *world) bury(word string) {
	if t := w.tokens[word]; t != nil {
		t.dying = true
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
	return s != nil && m.n > s.floor()
}

// hearers are those who are told what becomes of a message: members who were there when it was sent.
func (m *message) hearers() []*person {
	var list []*person
	for _, s := range m.room.present() {
		if m.n > s.from {
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
	return slices.ContainsFunc(m.room.stays, func(s *stay) bool { return s.who == p && s.from < m.n && m.n <= s.read })
}

// unread recounts what somebody has not read.
func (r *room) unread(p *person) int {
	s, n := r.of(p), 0
	for _, m := range r.log {
		if m.n > max(s.floor(), s.read) && m.by != p && !m.gone && !m.notice {
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
	w.notice(r, people[0], "created")
	return r
}

// enter begins stays: they see what is said from now on.
func (w *world) enter(r *room, people ...*person) {
	w.stays++
	for _, p := range people {
		n := len(r.log)
		r.stays = append(r.stays, &stay{who: p, order: w.stays, from: n, hidden: -1, read: n})
		for _, word := range []string{r.name, r.about} {
			w.publish(word, p)
		}
	}
}

// part ends a stay, by removal or by leaving. Those who are left get an admin, an empty group ends.
func (w *world) part(r *room, by, p *person) {
	r.of(p).over = true
	left := r.present()
	if len(left) == 0 {
		w.dissolve(r)
		return
	}
	if by == p {
		w.notice(r, by, "left")
	} else {
		w.notice(r, by, "removed")
	}
	if r.admins() == 0 {
		left[0].admin = true
		w.notice(r, by, "promoted")
	}
}

// appoint changes a role.
func (w *world) appoint(r *room, by, p *person, admin bool) {
	if s := r.of(p); s.admin != admin {
		s.admin = admin
		w.notice(r, by, map[bool]string{true: "promoted", false: "demoted"}[admin])
	}
}

// dissolve ends a group and everything said in it.
func (w *world) dissolve(r *room) {
	for _, s := range r.present() {
		s.over = true
	}
	r.gone = true
	for _, m := range r.log {
		w.bury(m.text)
	}
	for _, name := range r.names {
		w.bury(name)
	}
	w.bury(r.name)
	w.bury(r.about)
}

// say adds a message.
func (w *world) say(r *room, by *person, text, clientID string, reply *message, id, at string) *message {
	m := &message{room: r, n: len(r.log) + 1, id: id, by: by, text: text, clientID: clientID, reply: reply, createdAt: at}
	r.log, r.lastAt = append(r.log, m), at
	w.publish(text, r.members()...)
	return m
}

// notice adds a message of the server's about what somebody did to a group.
func (w *world) notice(r *room, by *person, about string) {
	if r.kind == "group" {
		id, at := w.learn(r.id, len(r.log)+1)
		w.say(r, by, "", "", nil, id, at)
		m := r.log[len(r.log)-1]
		m.notice, m.text = true, about
	}
}

// edit replaces a text.
func (w *world) edit(m *message, text, at string) {
	w.bury(m.text)
	m.text, m.edited, m.editedAt = text, true, at
	w.publish(text, m.hearers()...)
}

// erase deletes a message for everyone.
func (w *world) erase(m *message) {
	w.bury(m.text)
	m.gone = true
}

// rename changes what a group is called. The notice of a new name keeps saying it.
func (w *world) rename(r *room, by *person, name, about *string) {
	for _, c := range []struct {
		old, new *string
		notice   string
	}{{&r.name, name, "renamed"}, {&r.about, about, "described"}} {
		if c.new == nil || *c.new == *c.old {
			continue
		}
		if !slices.Contains(r.names, *c.old) {
			w.bury(*c.old)
		}
		if *c.old = *c.new; c.notice == "renamed" {
			r.names = append(r.names, *c.new)
		}
		w.publish(*c.new, r.members()...)
		w.notice(r, by, c.notice)
	}
}

// sending says how a send must end; first is what the same clientId sent before, which is answered again.
func (w *world) sending(r *room, by *person, text, clientID string, reply *message, replyID string) (first *message, v verdict) {
	s := r.of(by)
	if s == nil {
		return nil, verdict{"CONVERSATION_NOT_FOUND"}
	}
	v = v.add("BLOCKED", r.kind == "single" && apart(r.pair[0], r.pair[1]))
	v = v.add("REPLY_NOT_FOUND", replyID != "" && (reply == nil || reply.room != r || reply.n <= s.floor() || reply.gone))
	for _, m := range r.log {
		if clientID != "" && m.by == by && m.clientID == clientID {
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
	v = v.add("MESSAGE_NOT_EDITABLE", m.by != by || m.gone || m.notice)
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
	var shown screen
	for _, r := range w.rooms {
		if r.listed(p) {
			shown = append(shown, r.show(p, receipts))
		}
	}
	return shown.sorted()
}

func (r *room) show(p *person, receipts bool) card {
	s := r.of(p)
	c := card{id: r.id, kind: r.kind, name: r.name, about: r.about, lastAt: r.lastAt, unread: r.unread(p)}
	for _, o := range r.present() {
		f := face{id: o.who.id, role: "member"}
		if o.admin {
			f.role = "admin"
		}
		if o.read > o.from {
			f.read = r.log[o.read-1].id
		}
		c.people = append(c.people, f)
	}
	for _, m := range r.log {
		if m.n <= s.floor() || m.gone {
			continue
		}
		b := bubble{id: m.id, n: m.n, by: m.by.id, text: m.text, clientID: m.clientID, createdAt: m.createdAt, edited: m.edited, editedAt: m.editedAt}
		if m.reply != nil {
			b.reply, b.quote = m.reply.id, ""
			if m.reply.n > s.floor() {
				b.quote = m.reply.text
				if m.reply.gone {
					b.quote = tombstone
				}
			}
		}
		if receipts {
			for _, o := range r.members() {
				if m.readBy(o) {
					b.readBy = append(b.readBy, o.id)
				}
			}
			slices.Sort(b.readBy)
		}
		c.messages, c.last = append(c.messages, b), m.id
	}
	return c
}
