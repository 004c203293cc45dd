package modeltest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// device is a client as it should be written: it loads its lists once, and from then on keeps them by the events it
// hears and the answers it gets. What it shows must be what the server says, at every moment of rest.
type device struct {
	name   string
	user   *servertest.User
	speaks tongue
	socket line   // nil while it is away
	pid    string // of Socket.IO, where it recovers
	seq    int64  // the newest event it has dealt with
	warm   bool   // it has loaded its lists; otherwise it begins with that
	rooms  map[string]*kept
	set    wireSettings
	heard  [][]byte // everything that came in and was not yet looked through
	calm   bool     // nothing happens while it loads: what it is told must fit together
	wrong  []string // what does not
	diary  []string // the latest it met with, for the story of a failure
}

// kept is a conversation on a device.
type kept struct {
	wireRoom
	messages map[string]*wireMessage
	unread   map[string]bool
	pins     map[string]bool
}

func keep(r wireRoom) *kept {
	k := &kept{r, map[string]*wireMessage{}, map[string]bool{}, map[string]bool{}}
	for _, p := range r.PinnedMessages {
		k.pins[p.ID] = true
	}
	return k
}

// wireMessage is what a device reads of a message.
type wireMessage struct {
	ID             string `json:"_id"`
	ConversationID string
	N              int
	Sender         wirePerson `json:"senderId"`
	Type           string
	Metadata       wireNotice
	Content        string
	ClientID       string
	ReplyToID      string
	ReplyTo        *wireMessage
	Reactions      []wireReaction
	Mentions       []string
	MentionsAll    bool
	ReadReceipts   []struct{ UserID string }
	IsEdited       bool
	EditedAt       string
	IsDeleted      bool
	CreatedAt      string
}

// wireNotice is what a message of type system says.
type wireNotice struct {
	Action, By, Name string
	UserIDs          []string
}

// text is what a message says; a notice says it in no language.
func (m *wireMessage) text() string {
	if m.Type == "system" && m.Content != "" {
		return notice(m.Metadata.Action, m.Metadata.By, m.Metadata.UserIDs, m.Metadata.Name)
	}
	return m.Content
}

// calls reports whether somebody has to read the message.
func (m *wireMessage) calls(userID string) bool {
	return m.Sender.ID != userID && !m.IsDeleted && m.Type != "system"
}

type wireReaction struct{ Emoji, UserID string }

type wirePerson struct {
	ID string `json:"_id"`
}

// wireRoom is what a device reads of a conversation.
type wireRoom struct {
	ID             string `json:"_id"`
	Type           string
	Name           string
	Description    string
	Participants   []wireFace
	Admins         []string
	LastMessage    *wireMessage
	LastMessageAt  string
	LastN          int
	UnreadCount    int
	UnreadMentions int
	IsArchived     bool
	PinnedMessages []wirePin
	Timer          int64 `json:"disappearingMessagesTimer"`
}

type wireFace struct {
	User              wirePerson `json:"userId"`
	Role              string
	LastReadMessageID string
	UnreadCount       int
	IsMuted, IsPinned bool
}

// wireSettings are those of our settings that others notice.
type wireSettings struct {
	BlockedUsers           []string
	ReadReceipts, LastSeen bool
}

// wirePin is a pinned message: whole in what is told to one person, an id in what is told to all.
type wirePin struct{ ID string }

// UnmarshalJSON takes either.
func (p *wirePin) UnmarshalJSON(raw []byte) error {
	if json.Unmarshal(raw, &p.ID) == nil {
		return nil
	}
	var m wireMessage
	err := json.Unmarshal(raw, &m)
	p.ID = m.ID
	return err
}

func (r *wireRoom) face(userID string) *wireFace {
	for i := range r.Participants {
		if r.Participants[i].User.ID == userID {
			return &r.Participants[i]
		}
	}
	return nil
}

// complain notes that what the server said cannot be.
func (d *device) complain(format string, args ...any) {
	d.wrong = append(d.wrong, d.name+": "+fmt.Sprintf(format, args...))
}

// note keeps a line of what it met with, the latest fifty.
func (d *device) note(format string, args ...any) {
	d.diary = append(d.diary, fmt.Sprintf(format, args...))
	d.diary = d.diary[max(0, len(d.diary)-50):]
}

// read decodes what came in.
func read[T any](d *device, raw []byte) (out T) {
	if err := json.Unmarshal(raw, &out); err != nil {
		d.complain("%v in %s", err, raw)
	}
	return out
}

// get asks over REST; not ok means 404.
func (d *device) get(path string) (raw []byte, ok bool) {
	r := d.user.Do("GET", path, nil)
	d.note("get %s: %d", path, r.Status)
	d.heard = append(d.heard, r.Body)
	if r.Status != http.StatusOK && r.Status != http.StatusNotFound {
		d.complain("GET %s: %d %s", path, r.Status, r.Body)
	}
	return r.Body, r.Status == http.StatusOK
}

// open connects, from where it was if it has been here before.
func (d *device) open() {
	if d.speaks != native {
		l := dialIO(d.user, d.speaks, d.pid, d.seq)
		d.socket, d.warm = l, d.warm && !l.fresh
		if l.fresh {
			d.seq = 0
		}
		d.pid = l.space.PID
		d.note("opens, anew %v", l.fresh)
		return
	}
	since := ""
	if d.warm {
		since = fmt.Sprintf("?since=%d", d.seq)
	}
	socket, status := d.user.Server.Dial(since, d.user.Bearer())
	if socket == nil {
		d.complain("the socket is refused with %d", status)
		return
	}
	d.socket = socket
	d.note("opens%s", since)
}

// close goes away, without a word and without reading what may have come.
func (d *device) close() {
	if d.socket != nil {
		d.note("closes")
		d.socket.Close()
		d.socket = nil
	}
}

// forget loses everything it knew.
func (d *device) forget() {
	d.close()
	d.warm, d.seq, d.pid, d.rooms = false, 0, "", map[string]*kept{}
}

// catchUp deals with all that has come.
func (d *device) catchUp() {
	if d.socket == nil {
		return
	}
	d.take(d.socket.Arrived())
}

// take deals with frames.
func (d *device) take(frames []servertest.Frame) {
	for _, f := range frames {
		d.heard = append(d.heard, f.Raw)
		d.hear(f)
	}
}

// hear deals with one frame.
func (d *device) hear(f servertest.Frame) {
	d.note("hears %s", f.Raw)
	if f.Seq > 0 {
		if f.Seq <= d.seq {
			d.complain("event %d comes after %d: %s", f.Seq, d.seq, f.Raw)
		}
		d.seq = f.Seq
	}
	switch f.Event {
	case "hello":
		if !d.warm { // everything from there on comes live, so the lists may be loaded now
			d.seq = read[struct{ Seq int64 }](d, f.Data).Seq
			d.load()
		}
	case "resync":
		d.load()
		d.seq = read[struct{ Seq int64 }](d, f.Data).Seq
	case "resumed", "heartbeat":
		d.seq = max(d.seq, read[struct{ Seq int64 }](d, f.Data).Seq)
	case "message:new":
		d.arrived(read[*wireMessage](d, f.Data))
	case "message:edited":
		d.changed(read[*wireMessage](d, f.Data))
	case "message:deleted":
		e := read[struct {
			MessageID, ConversationID string
			Expired                   bool
		}](d, f.Data)
		if e.Expired {
			d.drop(e.ConversationID, e.MessageID)
		}
		d.changed(&wireMessage{ID: e.MessageID, ConversationID: e.ConversationID, IsDeleted: true})
	case "message:hidden":
		e := read[struct{ MessageID, ConversationID string }](d, f.Data)
		d.drop(e.ConversationID, e.MessageID)
	case "message:read":
		e := read[struct{ MessageID, UserID, ConversationID string }](d, f.Data)
		d.hasRead(e.ConversationID, e.UserID, e.MessageID)
	case "message:reaction:added", "message:reaction:removed":
		e := read[struct{ MessageID, ConversationID, UserID, Emoji string }](d, f.Data)
		d.reacted(e.ConversationID, e.MessageID, wireReaction{e.Emoji, e.UserID}, f.Event == "message:reaction:added")
	case "message:pinned", "message:unpinned":
		e := read[struct{ MessageID, ConversationID string }](d, f.Data)
		if k := d.rooms[e.ConversationID]; k != nil {
			k.pins[e.MessageID] = f.Event == "message:pinned"
		}
	case "conversation:new":
		if r := read[wireRoom](d, f.Data); d.rooms[r.ID] == nil {
			d.rooms[r.ID] = keep(r)
		}
	case "conversation:updated":
		d.described(read[wireRoom](d, f.Data), false)
	case "conversation:state":
		d.keeps(read[wireState](d, f.Data))
	case "user:settings":
		d.set = read[wireSettings](d, f.Data)
	case "conversation:participant:added":
		e := read[struct {
			ConversationID string
			UserIDs        []string
		}](d, f.Data)
		if slices.Contains(e.UserIDs, d.user.ID) {
			d.fetch(e.ConversationID)
		} // others are described by the event that follows
	case "conversation:participant:removed":
		e := read[struct {
			ConversationID string
			UserIDs        []string
		}](d, f.Data)
		d.departed(e.ConversationID, e.UserIDs)
	case "conversation:deleted":
		delete(d.rooms, read[struct{ ConversationID string }](d, f.Data).ConversationID)
	}
}

// load fetches everything.
func (d *device) load() {
	d.warm, d.rooms = true, map[string]*kept{}
	raw, _ := d.get("/users/me/settings")
	d.set = read[wireSettings](d, raw)
	for _, list := range []string{"/conversations", "/conversations?archived=true"} {
		raw, _ := d.get(list)
		for _, r := range read[[]wireRoom](d, raw) {
			if r.IsArchived != (list != "/conversations") {
				d.complain("%s lists %s", list, r.ID)
			}
			d.install(r)
		}
	}
}

// fetch loads one conversation, if it is there for us.
func (d *device) fetch(roomID string) {
	delete(d.rooms, roomID)
	if raw, ok := d.get("/conversations/" + roomID); ok {
		d.install(read[wireRoom](d, raw))
	}
}

// install takes a conversation from a list, and fetches its history in pages.
func (d *device) install(r wireRoom) {
	k := keep(r)
	me := r.face(d.user.ID)
	if me == nil {
		d.complain("not among the members of %s", r.ID)
		return
	}
	for before, more := "", true; more; {
		raw, ok := d.get("/messages/conversation/" + r.ID + "?limit=40" + before)
		if !ok {
			return // removed since
		}
		page := read[[]*wireMessage](d, raw)
		for _, m := range page {
			if m.IsDeleted || k.messages[m.ID] != nil {
				d.complain("history of %s lists %s, twice or deleted", r.ID, m.ID)
			}
			k.messages[m.ID] = m
			if m.calls(d.user.ID) && m.ID > me.LastReadMessageID { // ids of one conversation are in its order
				k.unread[m.ID] = true
			}
			before = "&before=" + m.ID
		}
		more = len(page) == 40
	}
	d.rooms[r.ID] = k
	if !d.calm {
		return
	}
	if called := d.called(k); called != r.UnreadMentions {
		d.complain("%s says %d unread call us, but from the history it is %d", r.ID, r.UnreadMentions, called)
	}
	if len(k.unread) != r.UnreadCount || me.UnreadCount != r.UnreadCount {
		d.complain("%s says %d and %d unread, but from the history it is %d", r.ID, r.UnreadCount, me.UnreadCount, len(k.unread))
	}
	if last := k.last(); (last == nil) != (r.LastMessage == nil) || last != nil && last.ID != r.LastMessage.ID {
		d.complain("%s has the last message %+v, but in the history it is %+v", r.ID, r.LastMessage, last)
	}
	for _, f := range r.Participants {
		if slices.Contains(r.Admins, f.User.ID) != (f.Role == "admin") || f.User.ID != d.user.ID && f.UnreadCount != 0 {
			d.complain("%s: %+v does not fit the admins %v, or is told", r.ID, f, r.Admins)
		}
	}
}

// called counts the unread messages that call us.
func (d *device) called(k *kept) (n int) {
	for id := range k.unread {
		if m := k.messages[id]; (m.MentionsAll || slices.Contains(m.Mentions, d.user.ID)) && !slices.Contains(d.set.BlockedUsers, m.Sender.ID) {
			n++
		}
	}
	return n
}

// last is the newest message that is not deleted.
func (k *kept) last() (last *wireMessage) {
	for _, m := range k.messages {
		if !m.IsDeleted && (last == nil || m.N > last.N) {
			last = m
		}
	}
	return last
}

// answered deals with the answer to an operation of our own. Answers and events overtake each other when others are
// busy too: then an answer may be older than what we have, and only what we do not have yet is taken from it.
func (d *device) answered(verb string, answer json.RawMessage) {
	if answer == nil {
		return
	}
	switch verb {
	case "message:send":
		m := read[*wireMessage](d, answer)
		if k := d.rooms[m.ConversationID]; k != nil && m.N > k.LastN {
			d.arrived(m)
		} // one that is not there has been left, hidden or cleared since, or else the event brings it
	case "message:edit", "message:delete", "message:reaction:add", "message:reaction:remove":
		if d.calm {
			d.changed(read[*wireMessage](d, answer))
		}
	case "conversation:single", "conversation:group":
		d.fetch(read[wireRoom](d, answer).ID)
	case "conversation:update", "conversation:participants:add", "conversation:participants:remove", "conversation:promote", "conversation:demote",
		"conversation:pin", "conversation:unpin", "conversation:archive", "conversation:unarchive", "message:pin", "message:unpin":
		if d.calm {
			d.described(read[wireRoom](d, answer), true)
		}
	case "block:add", "block:remove", "settings:update":
		if d.calm {
			d.set = read[wireSettings](d, answer)
		}
	}
}

// arrived deals with a message, in an event or as the answer to having sent it.
func (d *device) arrived(m *wireMessage) {
	k := d.rooms[m.ConversationID]
	if k == nil { // hidden until now, or not ours any more
		d.fetch(m.ConversationID)
		return
	}
	k.LastN = max(k.LastN, m.N)
	k.LastMessageAt = max(k.LastMessageAt, m.CreatedAt)
	if k.messages[m.ID] != nil {
		d.changed(m)
		return
	}
	k.put(m)
	if m.calls(d.user.ID) {
		k.unread[m.ID] = true
	}
}

// changed deals with a new state of a message that we have.
func (d *device) changed(m *wireMessage) {
	k := d.rooms[m.ConversationID]
	if k == nil || k.messages[m.ID] == nil {
		return
	}
	was := k.messages[m.ID]
	if m.IsDeleted {
		m = &wireMessage{ID: m.ID, ConversationID: m.ConversationID, N: was.N, Sender: was.Sender, IsDeleted: true}
		delete(k.unread, m.ID)
	} else if m.ReplyTo == nil {
		m.ReplyTo = was.ReplyTo // it was for us, and is not for all
	}
	k.put(m)
}

// drop takes a message off the screen without a trace.
func (d *device) drop(roomID, messageID string) {
	k := d.rooms[roomID]
	if k == nil {
		return
	}
	delete(k.messages, messageID)
	delete(k.unread, messageID)
	for _, m := range k.messages {
		if m.ReplyTo != nil && m.ReplyTo.ID == messageID {
			m.ReplyTo = nil
		}
	}
}

// put stores a message, and shows it wherever it is quoted.
func (k *kept) put(m *wireMessage) {
	if m.ReplyTo != nil && k.messages[m.ReplyTo.ID] != nil {
		m.ReplyTo = k.messages[m.ReplyTo.ID]
	}
	k.messages[m.ID] = m
	for _, other := range k.messages {
		if other.ReplyTo != nil && other.ReplyTo.ID == m.ID {
			other.ReplyTo = m
		}
	}
}

// reacted deals with a reaction added or taken back.
func (d *device) reacted(roomID, messageID string, r wireReaction, added bool) {
	k := d.rooms[roomID]
	if k == nil || k.messages[messageID] == nil || k.messages[messageID].IsDeleted {
		return
	}
	m := k.messages[messageID]
	switch had := slices.Contains(m.Reactions, r); {
	case added && !had:
		m.Reactions = append(m.Reactions, r)
	case !added:
		m.Reactions = slices.DeleteFunc(m.Reactions, func(o wireReaction) bool { return o == r })
	}
}

// wireState is how we keep a conversation.
type wireState struct {
	ConversationID                          string
	IsMuted, IsPinned, IsArchived, IsHidden bool
	ClearedN                                int
}

// keeps deals with how we keep a conversation, set on this device or on another one.
func (d *device) keeps(e wireState) {
	k := d.rooms[e.ConversationID]
	switch {
	case e.IsHidden:
		delete(d.rooms, e.ConversationID)
		return
	case k == nil:
		d.fetch(e.ConversationID)
		return
	}
	k.IsArchived = e.IsArchived
	if me := k.face(d.user.ID); me != nil {
		me.IsMuted, me.IsPinned = e.IsMuted, e.IsPinned
	}
	for id, m := range k.messages {
		if m.N <= e.ClearedN {
			delete(k.messages, id)
			delete(k.unread, id)
		} else if m.ReplyTo != nil && m.ReplyTo.N <= e.ClearedN {
			m.ReplyTo = nil
		}
	}
}

// hasRead deals with a reading; "" is up to the newest message.
func (d *device) hasRead(roomID, userID, messageID string) {
	k := d.rooms[roomID]
	if k == nil {
		return
	}
	if f := k.face(userID); f != nil && messageID != "" {
		f.LastReadMessageID = messageID
	}
	if userID == d.user.ID {
		for id := range k.unread {
			if id <= messageID || messageID == "" {
				delete(k.unread, id)
			}
		}
	}
}

// described deals with what a conversation is called and who is in it. What is told to all is without what is one's own.
func (d *device) described(r wireRoom, own bool) {
	k := d.rooms[r.ID]
	if k == nil {
		return
	}
	if !own {
		r.IsArchived = k.IsArchived
		for i := range r.Participants { // nor how far anybody has read
			if was := k.face(r.Participants[i].User.ID); was != nil {
				r.Participants[i].LastReadMessageID = was.LastReadMessageID
			}
		}
		if was, is := k.face(d.user.ID), r.face(d.user.ID); was != nil && is != nil {
			is.IsMuted, is.IsPinned = was.IsMuted, was.IsPinned
		}
	}
	r.LastN = max(k.LastN, r.LastN)
	k.wireRoom = r
}

// departed takes people out of a conversation, ourselves perhaps.
func (d *device) departed(roomID string, userIDs []string) {
	if slices.Contains(userIDs, d.user.ID) {
		delete(d.rooms, roomID)
	}
	if k := d.rooms[roomID]; k != nil {
		gone := func(id string) bool { return slices.Contains(userIDs, id) }
		k.Participants = slices.DeleteFunc(k.Participants, func(f wireFace) bool { return gone(f.User.ID) })
		k.Admins = slices.DeleteFunc(k.Admins, gone)
	}
}

// show is what the device has on its screen.
func (d *device) show(receipts bool) screen {
	shown := screen{blocked: slices.Clone(d.set.BlockedUsers), hidesReads: !d.set.ReadReceipts, hidesSeen: !d.set.LastSeen}
	for _, k := range d.rooms {
		c := card{id: k.ID, kind: k.Type, name: k.Name, about: k.Description, lastAt: k.LastMessageAt, unread: len(k.unread), called: d.called(k), archived: k.IsArchived, timer: time.Duration(k.Timer) * time.Second}
		if me := k.face(d.user.ID); me != nil {
			c.muted, c.pinned = me.IsMuted, me.IsPinned
		}
		for _, f := range k.Participants {
			c.people = append(c.people, face{f.User.ID, f.Role, f.LastReadMessageID})
		}
		for _, m := range k.messages {
			if m.IsDeleted {
				continue
			}
			b := bubble{id: m.ID, n: m.N, by: m.Sender.ID, text: m.text(), clientID: m.ClientID, createdAt: m.CreatedAt, edited: m.IsEdited, editedAt: m.EditedAt}
			b.reply = m.ReplyToID
			r := m.ReplyTo
			if r == nil && m.ReplyToID != "" {
				r = k.messages[m.ReplyToID]
			}
			if r != nil {
				b.quote = r.text()
				if r.IsDeleted {
					b.quote = tombstone
				}
			}
			if b.calls = m.Mentions; m.MentionsAll {
				b.calls = append(slices.Clone(b.calls), "all")
			}
			for _, r := range m.Reactions {
				b.reactions = append(b.reactions, r.Emoji+r.UserID)
			}
			if receipts {
				for _, r := range m.ReadReceipts {
					b.readBy = append(b.readBy, r.UserID)
				}
				slices.Sort(b.readBy)
			}
			c.messages = append(c.messages, b)
		}
		slices.SortFunc(c.messages, func(a, b bubble) int { return a.n - b.n })
		for _, b := range c.messages {
			if k.pins[b.id] {
				c.pins = append(c.pins, b.id)
			}
		}
		if last := k.last(); last != nil {
			c.last = last.ID
		}
		shown.cards = append(shown.cards, c)
	}
	return shown.sorted()
}

var words = regexp.MustCompile(`tk\d+x`)

// overhears looks through everything that came in for words that were not for these ears.
func (d *device) overhears(w *world) (list []string) {
	me := w.personOf(d.user.ID)
	for _, raw := range d.heard {
		for _, word := range words.FindAllString(string(raw), -1) {
			t := w.tokens[word]
			switch {
			case t == nil:
				list = append(list, fmt.Sprintf("%s hears %s, which nobody said: %s", d.name, word, raw))
			case !t.may[me]:
				list = append(list, fmt.Sprintf("%s hears %s (%s), which is not for them, or is no more: %s", d.name, word, t.what, raw))
			}
		}
	}
	d.heard = nil
	return list
}
