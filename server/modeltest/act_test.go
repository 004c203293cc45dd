package modeltest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/event"
)

// action is something that somebody does on a device: how it is asked, how it must end, and what is then different.
type action struct {
	what       string
	by         *person
	on         *device
	method     string
	path       string // with {names} of ids
	verb       string // the same on the socket
	ids, body  map[string]any
	overSocket bool
	want       func() verdict               // as things stand when it is done
	done       func(answer json.RawMessage) // it ended well: the model follows
	mine       func(answer json.RawMessage) // the device deals with its own answer
	sign       event.Event                  // its event in the log; empty fields are not looked at
	again      event.Event                  // another one, for what may leave one or the other
	class      string                       // in a storm, of these only one: their events could not be told apart
}

// dice decide.
type dice struct{ *rand.Rand }

func roll(seed uint64) dice { return dice{rand.New(rand.NewPCG(seed, 7))} }

func (d dice) oneIn(n int) bool { return d.IntN(n) == 0 }

// pick returns one of a list, the zero value of an empty one.
func pick[T any](d dice, list []T) (one T) {
	if len(list) > 0 {
		one = list[d.IntN(len(list))]
	}
	return one
}

// actions are what can be done, and how often, in a hundred or so. One that makes no sense at the moment is nil.
var actions = []struct {
	name   string
	weight int
	make   func(t *trial, d dice, by *person) *action
}{
	{"send", 34, (*trial).send},
	{"retry", 3, (*trial).retry},
	{"edit", 9, (*trial).edit},
	{"delete", 6, (*trial).erase},
	{"hide", 5, (*trial).conceal},
	{"timer", 4, (*trial).timer},
	{"read", 12, (*trial).read},
	{"read message", 4, (*trial).readMessage},
	{"read all", 2, (*trial).readAll},
	{"look", 4, (*trial).look},
	{"single", 5, (*trial).single},
	{"group", 3, (*trial).group},
	{"rename", 3, (*trial).rename},
	{"add", 7, (*trial).add},
	{"remove", 4, (*trial).remove},
	{"leave", 2, (*trial).leave},
	{"promote", 3, (*trial).promote},
	{"demote", 2, (*trial).demote},
	{"delete conversation", 3, (*trial).dissolve},
	{"keep", 6, (*trial).keep},
	{"pin", 5, (*trial).pin},
	{"react", 8, (*trial).react},
	{"block", 3, (*trial).block},
	{"settings", 2, (*trial).settings},
}

// room is a conversation to act in, rather one where much happens: one's own, or now and then anybody's, as a stranger
// might try.
func (t *trial) room(d dice, by *person, kind string) *room {
	if t.focus.steps > 0 && (kind == "" || t.focus.room.kind == kind) && !d.oneIn(5) {
		return t.focus.room
	}
	var list []*room
	anybody := d.oneIn(8)
	for _, r := range t.rooms {
		if (anybody || r.of(by) != nil) && (kind == "" || r.kind == kind || d.oneIn(20)) && (!r.gone || d.oneIn(20)) {
			list = append(list, r)
		}
	}
	return pick(d, list[:min(len(list), 1+d.IntN(6))])
}

// message is a message to act on, rather a late one.
func (t *trial) message(d dice, by *person, own bool) *message {
	r := t.room(d, by, "")
	if r == nil {
		return nil
	}
	list := slices.DeleteFunc(slices.Clone(r.log), func(m *message) bool { return own && m.by != by })
	if len(list) > 8 && !d.oneIn(4) {
		list = list[len(list)-8:]
	}
	if len(list) == 0 || d.oneIn(25) {
		return t.messageAnywhere(d)
	}
	return pick(d, list)
}

func (t *trial) messageAnywhere(d dice) *message {
	if r := pick(d, t.rooms); r != nil {
		return pick(d, r.log)
	}
	return nil
}

// some returns up to n people other than one.
func (t *trial) some(d dice, but *person, n int) []*person {
	list := slices.DeleteFunc(slices.Clone(t.people), func(p *person) bool { return p == but })
	d.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if p := t.focus.who; t.focus.steps > 0 && p != but && !d.oneIn(3) {
		i := slices.Index(list, p)
		list[0], list[i] = p, list[0]
	}
	return list[:min(n, len(list))]
}

func idsOf(people []*person) []string {
	ids := []string{}
	for _, p := range people {
		ids = append(ids, p.id)
	}
	return ids
}

// decode reads an answer for the model.
func decode[T any](t *trial, raw json.RawMessage) (out T) {
	if err := json.Unmarshal(raw, &out); raw != nil && err != nil {
		t.fail("%v in %s", err, raw)
	}
	return out
}

// answered is what the model learns from an answer.
type answered struct {
	ID        string `json:"_id"`
	N         int
	Content   *string
	IsDeleted bool
	CreatedAt string
	EditedAt  string
}

// fromAnswer stands in a sign for the id that the answer has.
const fromAnswer = "the answer's"

// left reports whether an event of the log is the one that an action left there.
func (a *action) left(e event.Event, answer json.RawMessage) bool {
	if n, room, own := strings.Cut(e.Data, " "); e.Kind == "message:read" {
		e.Data = n
		if own { // a reading that only the reader is told of
			e.ScopeID = room
		}
	}
	is := func(want, got string) bool { return want == "" || want == got }
	for _, s := range []event.Event{a.sign, a.again} {
		if s.SubjectID == fromAnswer {
			var one answered
			if json.Unmarshal(answer, &one) != nil {
				continue
			}
			s.SubjectID = one.ID
		}
		if e.Kind == s.Kind && e.ActorID == a.by.id && is(s.ScopeID, e.ScopeID) && is(s.SubjectID, e.SubjectID) && is(s.Data, e.Data) {
			return true
		}
	}
	return false
}

// call is whom a text calls, in the form it has there.
type call struct {
	text string
	who  *person
	all  bool
}

func (t *trial) call(d dice, r *room) (c call) {
	if !d.oneIn(3) {
		return c
	}
	c.who = t.member(d, r)
	switch {
	case d.oneIn(4) || c.who == nil:
		return call{text: " @all", all: true}
	case d.oneIn(2):
		c.text = " @" + c.who.name
	default:
		c.text = fmt.Sprintf(" @[%s](%s)", c.who.name, c.who.id)
	}
	return c
}

func (t *trial) send(d dice, by *person) *action {
	r := t.room(d, by, "")
	if r == nil {
		return nil
	}
	var reply *message
	replyID, clientID := "", ""
	if d.oneIn(3) {
		if reply = pick(d, r.log); d.oneIn(20) {
			reply = t.messageAnywhere(d)
		}
		if reply != nil {
			replyID = reply.id
		}
	}
	if d.oneIn(2) {
		t.keys++
		clientID = fmt.Sprint("key", t.keys)
	}
	c := t.call(d, r)
	return t.saying(by, r, t.mint("said in "+r.id)+c.text, c, clientID, reply, replyID)
}

// retry sends again under a key that was used, by oneself or by another: as it was, or something else.
func (t *trial) retry(d dice, by *person) *action {
	m := t.message(d, by, true)
	if m == nil || m.clientID == "" {
		return nil
	}
	text, c, replyID := m.text, m.call, ""
	if d.oneIn(3) || m.by != by {
		text, c = t.mint("said under an old key"), call{}
	}
	if m.reply != nil {
		replyID = m.reply.id
	}
	return t.saying(by, m.room, text, c, m.clientID, m.reply, replyID)
}

func (t *trial) saying(by *person, r *room, text string, c call, clientID string, reply *message, replyID string) *action {
	body := map[string]any{"conversationId": r.id, "content": text}
	what := fmt.Sprintf("send %q to %s", text, r.id)
	if clientID != "" {
		body["clientId"] = clientID
		what += " as " + clientID
	}
	if replyID != "" {
		body["replyTo"] = replyID
		what += " re " + replyID
	}
	var first *message
	return &action{
		what: what, by: by, method: "POST", path: "/messages", verb: "message:send", body: body,
		want: func() (v verdict) { first, v = t.sending(r, by, text, clientID, reply, replyID); return v },
		done: func(answer json.RawMessage) {
			a := decode[answered](t, answer)
			if first != nil {
				if a.ID != first.id || a.IsDeleted != first.gone {
					t.fail("the first message was %s, the answer is %s", first.id, answer)
				}
				if !first.gone {
					t.publish(first.word, by) // even if they have cleared it since: they have said it themselves
				}
				return
			}
			if a.N != len(r.log)+1 || a.Content == nil || *a.Content != text {
				t.fail("message %d was to be %q, and is %s", len(r.log)+1, text, answer)
			}
			m := t.say(r, by, text, clientID, reply, a.ID, a.CreatedAt)
			if m.word = text; r.timer > 0 {
				m.expires = m.said + r.timer
			}
			m.mention(c)
			t.publish(text, r.members()...)
		},
		sign: event.Event{Kind: "message:new", SubjectID: fromAnswer},
	}
}

func (t *trial) edit(d dice, by *person) *action {
	m := t.message(d, by, !d.oneIn(6))
	if m == nil {
		return nil
	}
	c := t.call(d, m.room)
	text := t.mint("edited in "+m.room.id) + c.text
	if d.oneIn(10) {
		text = m.text
	}
	return &action{
		what: fmt.Sprintf("edit %s to %q", m.id, text), by: by, method: "PUT", path: "/messages/{messageId}", verb: "message:edit",
		ids: map[string]any{"messageId": m.id}, body: map[string]any{"content": text},
		want: func() verdict { return t.editing(m, by) },
		done: func(answer json.RawMessage) {
			if text != m.text {
				t.world.edit(m, text, decode[answered](t, answer).EditedAt)
				m.mention(c)
			}
		},
		sign:  event.Event{Kind: "message:edited", SubjectID: m.id},
		class: "edit " + m.id,
	}
}

func (t *trial) erase(d dice, by *person) *action {
	m := t.message(d, by, !d.oneIn(6))
	if m == nil {
		return nil
	}
	return &action{
		what: "delete " + m.id, by: by, method: "DELETE", path: "/messages/{messageId}", verb: "message:delete", ids: map[string]any{"messageId": m.id},
		want: func() verdict { return t.erasing(m, by) },
		done: func(answer json.RawMessage) {
			if a := decode[answered](t, answer); answer != nil && (!a.IsDeleted || a.Content != nil || a.ID != m.id) {
				t.fail("not a tombstone: %s", answer)
			}
			t.world.erase(m)
		},
		sign:  event.Event{Kind: "message:deleted", SubjectID: m.id},
		class: "delete " + m.id,
	}
}

// conceal deletes a message for oneself alone.
func (t *trial) conceal(d dice, by *person) *action {
	m := t.message(d, by, d.oneIn(3))
	if m == nil {
		return nil
	}
	return &action{
		what: "hide " + m.id, by: by, method: "DELETE", path: "/messages/{messageId}", verb: "message:delete", ids: map[string]any{"messageId": m.id},
		body: map[string]any{"type": "for_me"},
		want: func() verdict {
			s := m.room.of(by)
			return verdict(nil).add("MESSAGE_NOT_FOUND", s == nil || m.n <= s.floor() || m.expired)
		},
		done: func(json.RawMessage) { m.hiddenFrom[by] = true },
		mine: func(answer json.RawMessage) { // what it says is the tombstone that it is for us
			if a := decode[answered](t, answer); answer != nil && (!a.IsDeleted || a.Content != nil || a.ID != m.id) {
				t.fail("not a tombstone: %s", answer)
			}
		},
		sign:  event.Event{Kind: "message:hidden", ScopeID: by.id, SubjectID: m.id},
		class: "hide " + by.id + m.id,
	}
}

// timer sets after how long disappears what is said from now on.
func (t *trial) timer(d dice, by *person) *action {
	r := t.room(d, by, "")
	if r == nil {
		return nil
	}
	seconds := pick(d, []int64{0, 86400, 86400, 604800})
	return &action{
		what: fmt.Sprintf("timer of %d s in %s", seconds, r.id), by: by, method: "PUT", path: "/conversations/{conversationId}/disappearing-messages",
		verb: "conversation:disappear", ids: map[string]any{"conversationId": r.id}, body: map[string]any{"timer": seconds},
		want: func() (v verdict) {
			s := r.of(by)
			if s == nil {
				return verdict{"CONVERSATION_NOT_FOUND"}
			}
			v = v.add("NOT_ADMIN", r.kind == "group" && !s.admin)
			return v.add("BLOCKED", r.kind == "single" && apart(r.pair[0], r.pair[1]))
		},
		done:  func(json.RawMessage) { t.lasts(r, by, time.Duration(seconds)*time.Second) },
		sign:  event.Event{Kind: "conversation:updated", ScopeID: r.id},
		class: "run " + by.id + r.id,
	}
}

// read reads a conversation, to the end or up to a message.
func (t *trial) read(d dice, by *person) *action {
	r := t.room(d, by, "")
	if r == nil {
		return nil
	}
	a := &action{
		what: "read " + r.id, by: by, method: "PUT", path: "/conversations/{conversationId}/read", verb: "conversation:read", ids: map[string]any{"conversationId": r.id},
		sign:  event.Event{Kind: "message:read", ScopeID: r.id},
		class: "read " + by.id + r.id,
	}
	var m *message
	if d.oneIn(3) {
		if m = pick(d, r.log); d.oneIn(10) {
			m = t.messageAnywhere(d)
		}
	}
	if m != nil {
		a.what += " up to " + m.id
		a.body = map[string]any{"messageId": m.id}
	}
	a.want = func() verdict {
		switch {
		case r.of(by) == nil:
			return verdict{"CONVERSATION_NOT_FOUND"}
		case m != nil && (m.room != r || !m.sees(by)):
			return verdict{"MESSAGE_NOT_FOUND"}
		}
		return nil
	}
	a.done = func(json.RawMessage) { t.hasRead(a, r, m) }
	return a
}

func (t *trial) readMessage(d dice, by *person) *action {
	m := t.message(d, by, false)
	if m == nil {
		return nil
	}
	a := &action{
		what: "read up to " + m.id, by: by, method: "POST", path: "/messages/{messageId}/read", verb: "message:read", ids: map[string]any{"messageId": m.id},
		want:  func() verdict { return verdict(nil).add("MESSAGE_NOT_FOUND", !m.sees(by)) },
		sign:  event.Event{Kind: "message:read", ScopeID: m.room.id},
		class: "read " + by.id + m.room.id,
	}
	a.done = func(json.RawMessage) { t.hasRead(a, m.room, m) }
	return a
}

// hasRead notes a reading, in the model and on the device that asked for it.
func (t *trial) hasRead(a *action, r *room, m *message) {
	n, id := len(r.log), ""
	if m != nil {
		n, id = m.n, m.id
	} else if n > 0 {
		id = r.log[n-1].id
	}
	if n > r.of(a.by).read {
		r.reads(a.by, n)
		a.mine = func(json.RawMessage) { a.on.hasRead(r.id, a.by.id, id) }
	}
}

func (t *trial) readAll(_ dice, by *person) *action {
	a := &action{what: "read all", by: by, method: "PUT", path: "/conversations/read-all", verb: "conversation:read-all", want: func() verdict { return nil }}
	a.done = func(json.RawMessage) {
		for _, r := range t.rooms {
			if r.of(by) != nil {
				r.reads(by, len(r.log))
			}
		}
	}
	return a
}

// look reads one message, as somebody may who has only its id.
func (t *trial) look(d dice, by *person) *action {
	m := t.messageAnywhere(d)
	if m == nil {
		return nil
	}
	return &action{
		what: "look at " + m.id, by: by, method: "GET", path: "/messages/{messageId}", verb: "message:get", ids: map[string]any{"messageId": m.id},
		want: func() verdict { return verdict(nil).add("MESSAGE_NOT_FOUND", !m.sees(by)) },
		done: func(answer json.RawMessage) {
			a := decode[wireMessage](t, answer)
			if a.IsDeleted != m.gone || !m.gone && a.text() != m.text || a.N != m.n || a.Sender.ID != m.by.id {
				t.fail("%s is %s", m.id, answer)
			}
		},
		mine: func(json.RawMessage) {},
	}
}

func (t *trial) single(d dice, by *person) *action {
	other := pick(d, t.people)
	if t.live("single") > 8 && !d.oneIn(5) {
		return nil
	}
	find := func() *room {
		for _, r := range t.rooms {
			if r.kind == "single" && r.of(by) != nil && r.of(other) != nil && by != other {
				return r
			}
		}
		return nil
	}
	class, r := "open "+by.id+other.id, find()
	if r != nil {
		class = "keep " + by.id + r.id
	}
	return &action{
		what: "open with " + other.id, by: by, method: "POST", path: "/conversations/single", verb: "conversation:single", body: map[string]any{"recipientId": other.id},
		want: func() (v verdict) {
			if r = find(); other == by {
				return verdict{"SELF_CONVERSATION"}
			}
			return v.add("BLOCKED", apart(by, other))
		},
		done: func(answer json.RawMessage) {
			a := decode[wireRoom](t, answer)
			if r == nil {
				r = t.found(a.ID, "single", "", "", by, other)
				r.lastAt = a.LastMessageAt
			}
			if a.ID != r.id {
				t.fail("%s and %s have %s, and now %s", by.id, other.id, r.id, a.ID)
			}
			r.of(by).hidden = -1
		},
		sign:  event.Event{Kind: "conversation:new", SubjectID: fromAnswer},
		again: event.Event{Kind: "conversation:state", SubjectID: fromAnswer},
		class: class,
	}
}

func (t *trial) group(d dice, by *person) *action {
	if t.live("group") > 4 && !d.oneIn(10) {
		return nil
	}
	people := t.some(d, by, d.IntN(5))
	name, about := t.mint("a name"), ""
	body := map[string]any{"name": name, "participantIds": idsOf(people)}
	if d.oneIn(2) {
		about = t.mint("a description")
		body["description"] = about
	}
	return &action{
		what: fmt.Sprintf("group %q with %s", name, idsOf(people)), by: by, method: "POST", path: "/conversations/group", verb: "conversation:group", body: body,
		want: func() verdict { return t.inviting(by, people) },
		done: func(answer json.RawMessage) {
			a := decode[wireRoom](t, answer)
			r := t.found(a.ID, "group", name, about, append([]*person{by}, people...)...)
			t.notice(r, by, "created", nil, "")
		},
		sign: event.Event{Kind: "conversation:new", SubjectID: fromAnswer},
	}
}

// live is how many conversations there are.
func (t *trial) live(kind string) (n int) {
	for _, r := range t.rooms {
		if r.kind == kind && !r.gone {
			n++
		}
	}
	return n
}

func (t *trial) rename(d dice, by *person) *action {
	r := t.room(d, by, "group")
	if r == nil {
		return nil
	}
	var name, about *string
	body := map[string]any{}
	if n := t.mint("a new name of " + r.id); !d.oneIn(3) {
		name, body["name"] = &n, n
	}
	switch n := t.mint("a new description of " + r.id); d.IntN(4) {
	case 0:
		n = ""
		about, body["description"] = &n, nil
	case 1:
		about, body["description"] = &n, n
	}
	return &action{
		what: fmt.Sprintf("rename %s to %v", r.id, body), by: by, method: "PUT", path: "/conversations/{conversationId}", verb: "conversation:update",
		ids: map[string]any{"conversationId": r.id}, body: body,
		want:  func() verdict { return t.running(r, by) },
		done:  func(json.RawMessage) { t.world.rename(r, by, name, about) },
		sign:  event.Event{Kind: "conversation:updated", ScopeID: r.id},
		class: "run " + by.id + r.id,
	}
}

func (t *trial) add(d dice, by *person) *action {
	r := t.room(d, by, "group")
	if r == nil {
		return nil
	}
	people := t.some(d, nil, 1+d.IntN(2))
	for _, s := range r.stays {
		if s.over && d.oneIn(3) { // somebody who was there before
			people = []*person{s.who}
		}
	}
	var fresh []*person
	return &action{
		what: fmt.Sprintf("add %s to %s", idsOf(people), r.id), by: by, method: "PUT", path: "/conversations/{conversationId}/participants", verb: "conversation:participants:add",
		ids: map[string]any{"conversationId": r.id}, body: map[string]any{"participantIds": idsOf(people)},
		want: func() verdict {
			fresh = slices.DeleteFunc(slices.Clone(people), func(p *person) bool { return r.of(p) != nil })
			if v := t.running(r, by); v != nil {
				return v
			}
			return t.inviting(by, fresh)
		},
		done: func(json.RawMessage) {
			if len(fresh) > 0 {
				t.enter(r, fresh...)
				t.notice(r, by, "added", fresh, "")
			}
		},
		sign:  event.Event{Kind: "conversation:participant:added", ScopeID: r.id},
		class: "run " + by.id + r.id,
	}
}

// member is somebody in a room, or now and then somebody who is not.
func (t *trial) member(d dice, r *room) *person {
	switch {
	case t.focus.steps > 0 && !d.oneIn(3):
		return t.focus.who
	case d.oneIn(10):
		return pick(d, t.people)
	}
	return pick(d, r.members())
}

func (t *trial) remove(d dice, by *person) *action {
	r := t.room(d, by, "group")
	if r == nil {
		return nil
	}
	p := t.member(d, r)
	if p == nil {
		return nil
	}
	a := &action{
		what: fmt.Sprintf("remove %s from %s", p.id, r.id), by: by, method: "DELETE", path: "/conversations/{conversationId}/participants/{participantId}",
		verb: "conversation:participants:remove", ids: map[string]any{"conversationId": r.id, "participantId": p.id},
		want: func() verdict {
			if p == by && r.of(by) != nil {
				return verdict(nil).add("NOT_GROUP", r.kind != "group")
			}
			v := t.running(r, by)
			return v.add("USER_NOT_FOUND", r.of(by) != nil && r.of(p) == nil)
		},
		done:  func(json.RawMessage) { t.part(r, p, by) },
		sign:  event.Event{Kind: "conversation:participant:removed", ScopeID: r.id, Data: p.id},
		class: "run " + by.id + r.id,
	}
	if p == by {
		a.mine = func(json.RawMessage) { a.on.departed(r.id, []string{by.id}) }
	}
	return a
}

func (t *trial) leave(d dice, by *person) *action {
	r := t.room(d, by, "group")
	if r == nil {
		return nil
	}
	a := &action{
		what: "leave " + r.id, by: by, method: "POST", path: "/conversations/{conversationId}/leave", verb: "conversation:leave-group", ids: map[string]any{"conversationId": r.id},
		want: func() verdict {
			if r.of(by) == nil {
				return verdict{"CONVERSATION_NOT_FOUND"}
			}
			return verdict(nil).add("NOT_GROUP", r.kind != "group")
		},
		done:  func(json.RawMessage) { t.part(r, by, by) },
		sign:  event.Event{Kind: "conversation:participant:removed", ScopeID: r.id, Data: by.id},
		class: "run " + by.id + r.id,
	}
	a.mine = func(json.RawMessage) { a.on.departed(r.id, []string{by.id}) }
	return a
}

func (t *trial) promote(d dice, by *person) *action { return t.role(d, by, true) }

func (t *trial) demote(d dice, by *person) *action { return t.role(d, by, false) }

func (t *trial) role(d dice, by *person, admin bool) *action {
	r := t.room(d, by, "group")
	if r == nil {
		return nil
	}
	p := t.member(d, r)
	if p == nil {
		return nil
	}
	a := &action{
		by: by, path: "/conversations/{conversationId}/admins/{participantId}", ids: map[string]any{"conversationId": r.id, "participantId": p.id},
		want: func() verdict {
			v := t.running(r, by)
			if r.of(by) == nil {
				return v
			}
			others := r.admins()
			if s := r.of(p); s != nil && s.admin {
				others--
			}
			v = v.add("USER_NOT_FOUND", r.of(p) == nil)
			return v.add("VALIDATION", !admin && others == 0)
		},
		done:  func(json.RawMessage) { t.world.promote(r, p, by, admin) },
		sign:  event.Event{Kind: "conversation:updated", ScopeID: r.id},
		class: "run " + by.id + r.id,
	}
	a.what, a.method, a.verb = fmt.Sprintf("promote %s in %s", p.id, r.id), "PUT", "conversation:promote"
	if !admin {
		a.what, a.method, a.verb = fmt.Sprintf("demote %s in %s", p.id, r.id), "DELETE", "conversation:demote"
	}
	return a
}

// dissolve deletes a group for all, or hides a single conversation and clears it for oneself.
func (t *trial) dissolve(d dice, by *person) *action {
	r := t.room(d, by, pick(d, []string{"group", "single"}))
	if r == nil {
		return nil
	}
	a := &action{
		what: "delete conversation " + r.id, by: by, method: "DELETE", path: "/conversations/{conversationId}", verb: "conversation:delete",
		ids: map[string]any{"conversationId": r.id},
		want: func() verdict {
			s := r.of(by)
			if s == nil {
				return verdict{"CONVERSATION_NOT_FOUND"}
			}
			return verdict(nil).add("NOT_ADMIN", r.kind == "group" && !s.admin)
		},
		done: func(json.RawMessage) {
			if r.kind == "group" {
				t.world.dissolve(r)
				return
			}
			t.hide(r, by)
		},
		sign:  event.Event{Kind: "conversation:deleted", ScopeID: r.id},
		class: "run " + by.id + r.id,
	}
	if r.kind == "single" {
		a.sign, a.class = event.Event{Kind: "conversation:state", SubjectID: r.id}, "keep "+by.id+r.id
	}
	a.mine = func(json.RawMessage) { delete(a.on.rooms, r.id) }
	return a
}

// keep changes how somebody keeps a conversation: muted, pinned, archived, or cleared.
func (t *trial) keep(d dice, by *person) *action {
	r := t.room(d, by, "")
	if r == nil {
		return nil
	}
	a := &action{
		by: by, ids: map[string]any{"conversationId": r.id},
		want:  func() verdict { return verdict(nil).add("CONVERSATION_NOT_FOUND", r.of(by) == nil) },
		sign:  event.Event{Kind: "conversation:state", SubjectID: r.id},
		class: "keep " + by.id + r.id,
	}
	on := !d.oneIn(3)
	set := func(name, path string, flag func(s *stay) *bool) {
		if !on {
			name, path = "un"+name, "un"+path
		}
		a.method, a.path, a.verb = "POST", "/conversations/{conversationId}/"+path, "conversation:"+name
		a.done = func(json.RawMessage) { *flag(r.of(by)) = on }
	}
	switch d.IntN(4) {
	case 0:
		set("mute", "mute", func(s *stay) *bool { return &s.muted })
		if on {
			a.method = "PUT"
		}
	case 1:
		set("pin", "pin", func(s *stay) *bool { return &s.pinned })
	case 2:
		set("archive", "archive", func(s *stay) *bool { return &s.archived })
	case 3:
		a.method, a.path, a.verb = "DELETE", "/conversations/{conversationId}/messages", "conversation:clear"
		a.done = func(json.RawMessage) { t.wipe(r, by) }
	}
	a.what = a.verb + " " + r.id
	return a
}

// pin pins a message for all, or unpins it.
func (t *trial) pin(d dice, by *person) *action {
	m := t.message(d, by, false)
	if m == nil {
		return nil
	}
	r, on := m.room, !d.oneIn(4)
	if d.oneIn(15) {
		r = pick(d, t.rooms)
	}
	a := &action{
		what: fmt.Sprintf("pin %s in %s", m.id, r.id), by: by, method: "POST", path: "/conversations/{conversationId}/pin/{messageId}", verb: "message:pin",
		ids:  map[string]any{"conversationId": r.id, "messageId": m.id},
		want: func() verdict { return t.pinning(r, m, by, on) },
		done: func(json.RawMessage) {
			r.pins = slices.DeleteFunc(r.pins, func(p *message) bool { return p == m })
			if on {
				r.pins = append(r.pins, m)
			}
		},
		sign:  event.Event{Kind: "message:pinned", SubjectID: m.id},
		class: "pin " + by.id + m.id,
	}
	if !on {
		a.what, a.method, a.verb, a.sign.Kind = "un"+a.what, "DELETE", "message:unpin", "message:unpinned"
	}
	return a
}

// react adds an emoji to a message, or takes it back.
func (t *trial) react(d dice, by *person) *action {
	m := t.message(d, by, false)
	if m == nil {
		return nil
	}
	emoji, on := pick(d, []string{"👍", "❤️", "👩‍🚀"}), !d.oneIn(3)
	a := &action{
		what: fmt.Sprintf("%s to %s", emoji, m.id), by: by, method: "POST", path: "/messages/{messageId}/reactions", verb: "message:reaction:add",
		ids: map[string]any{"messageId": m.id}, body: map[string]any{"emoji": emoji},
		want:  func() verdict { return t.reacting(m, by) },
		done:  func(json.RawMessage) { m.react(by, emoji, on) },
		sign:  event.Event{Kind: "message:reaction:added", SubjectID: m.id, Data: emoji},
		class: "react " + by.id + m.id + emoji,
	}
	if !on {
		a.what, a.method, a.path, a.verb, a.sign.Kind = "no "+a.what, "DELETE", a.path+"/{emoji}", "message:reaction:remove", "message:reaction:removed"
		a.ids["emoji"], a.body = emoji, nil
	}
	return a
}

// block blocks somebody, or no longer.
func (t *trial) block(d dice, by *person) *action {
	other := pick(d, t.people)
	a := &action{
		what: "block " + other.id, by: by, method: "POST", path: "/users/me/blocked-users", verb: "block:add", body: map[string]any{"userId": other.id},
		want:  func() verdict { return verdict(nil).add("VALIDATION", by == other) },
		done:  func(json.RawMessage) { by.blocked[other] = true },
		sign:  event.Event{Kind: "user:settings"},
		class: "settings " + by.id,
	}
	if by.blocked[other] || d.oneIn(8) {
		a.what, a.method, a.path, a.verb = "un"+a.what, "DELETE", a.path+"/{userId}", "block:remove"
		a.ids, a.body = map[string]any{"userId": other.id}, nil
		a.want = func() verdict { return nil }
		a.done = func(json.RawMessage) { by.blocked[other] = false }
	}
	return a
}

// settings changes what others may see.
func (t *trial) settings(d dice, by *person) *action {
	body := map[string]any{}
	var reads, seen *bool
	if on := d.oneIn(2); !d.oneIn(3) {
		reads, body["readReceipts"] = &on, on
	}
	if on := d.oneIn(2); !d.oneIn(3) {
		seen, body["lastSeen"] = &on, on
	}
	return &action{
		what: fmt.Sprint("settings ", body), by: by, method: "PUT", path: "/users/me/settings", verb: "settings:update", body: body,
		want: func() verdict { return nil },
		done: func(json.RawMessage) {
			if reads != nil {
				by.coy = by.coy || by.hidesReads == *reads
				by.hidesReads = !*reads
			}
			if seen != nil {
				by.hidesSeen = !*seen
			}
		},
		sign:  event.Event{Kind: "user:settings"},
		class: "settings " + by.id,
	}
}

// fill puts ids into a path.
func fill(path string, ids map[string]any) string {
	for name, id := range ids {
		path = strings.ReplaceAll(path, "{"+name+"}", url.PathEscape(id.(string)))
	}
	return path
}
