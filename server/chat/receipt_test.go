package chat_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// model is what a naive bookkeeper notes of one group: who saw, read and sent what.
type model struct {
	t        *testing.T
	people   []*servertest.User
	room     string
	messages []entry                // in the order of n
	from     map[string]int         // of members: how many messages there were when they joined
	readN    map[string]int         // of members: up to which they have read
	readAt   map[[2]string][2]int64 // user and message: when they read it first, at earliest and at latest
}

type entry struct {
	id, sender string
	deleted    bool
	notice     bool
}

func (m *model) pick(r *rand.Rand, in bool) *servertest.User {
	list := []*servertest.User{}
	for _, u := range m.people[1:] {
		if _, member := m.from[u.ID]; member == in {
			list = append(list, u)
		}
	}
	if in {
		list = append(list, m.people[0])
	}
	if len(list) == 0 {
		return nil
	}
	return list[r.IntN(len(list))]
}

func (m *model) join(id string) {
	m.from[id], m.readN[id] = len(m.messages), len(m.messages)
}

func (m *model) leave(id string) {
	delete(m.from, id)
	delete(m.readN, id)
}

// read notes that somebody has read up to n between two moments.
func (m *model) read(id string, n int, since, until int64) {
	for i := m.readN[id]; i < n; i++ {
		m.readAt[[2]string{id, m.messages[i].id}] = [2]int64{since, until}
	}
	m.readN[id] = max(m.readN[id], n)
}

func (m *model) unread(id string) (n int64) {
	for i := m.readN[id]; i < len(m.messages); i++ {
		if e := m.messages[i]; e.sender != id && !e.deleted && !e.notice {
			n++
		}
	}
	return n
}

// step does one random thing, with the server and in the model.
func (m *model) step(r *rand.Rand) {
	u, path := m.pick(r, true), "/conversations/"+m.room
	since := time.Now().UnixMilli()
	switch k := r.IntN(20); {
	case k < 9:
		m.messages = append(m.messages, entry{id: u.Send(m.room, fmt.Sprint("message ", len(m.messages)+1)), sender: u.ID})
	case k < 14 && len(m.messages) > m.from[u.ID]:
		i := m.from[u.ID] + r.IntN(len(m.messages)-m.from[u.ID])
		if k == 13 {
			i = len(m.messages) - 1
			u.Do("PUT", path+"/read", nil).OK(nil)
		} else {
			u.Do("POST", "/messages/"+m.messages[i].id+"/read", nil).OK(nil)
		}
		m.read(u.ID, i+1, since, time.Now().UnixMilli())
	case k == 14:
		u.Do("PUT", "/conversations/read-all", nil).OK(nil)
		m.read(u.ID, len(m.messages), since, time.Now().UnixMilli())
	case k < 17 && len(m.messages) > m.from[u.ID]:
		i := m.from[u.ID] + r.IntN(len(m.messages)-m.from[u.ID])
		if m.messages[i].sender == u.ID && !m.messages[i].notice {
			u.Do("DELETE", "/messages/"+m.messages[i].id, nil).OK(nil)
			m.messages[i].deleted = true
		}
	case k == 17 && u != m.people[0]:
		u.Do("POST", path+"/leave", nil).OK(nil)
		m.leave(u.ID)
		m.notice(u)
	default:
		if u = m.pick(r, false); u != nil {
			m.people[0].Do("PUT", path+"/participants", map[string]any{"userIds": []string{u.ID}}).OK(nil)
			m.join(u.ID)
			m.notice(m.people[0])
		}
	}
}

// notice notes that the server wrote a message of its own about what somebody did.
func (m *model) notice(by *servertest.User) {
	newest := fetch[[]message](m.people[0], "GET", "/messages/conversation/"+m.room+"?limit=1", nil)[0]
	if newest.Type != "system" || newest.Sender.ID != by.ID || newest.N != int64(len(m.messages)+1) {
		m.t.Fatalf("no notice: %+v", newest)
	}
	m.messages = append(m.messages, entry{id: newest.ID, sender: by.ID, notice: true})
}

// check compares everybody's counters and one person's whole history with the model.
func (m *model) check(u *servertest.User) {
	m.t.Helper()
	for _, u := range m.people {
		if _, in := m.from[u.ID]; !in {
			continue
		}
		c := fetch[conversation](u, "GET", "/conversations/"+m.room, nil)
		total := fetch[struct{ Count int64 }](u, "GET", "/conversations/unread/count", nil)
		own := int64(-1)
		for _, p := range c.Participants {
			if p.User.ID == u.ID {
				own = p.UnreadCount
			} else if p.UnreadCount != 0 {
				m.t.Fatalf("%s is shown the counter of somebody else", u.Name)
			}
		}
		if want := m.unread(u.ID); c.UnreadCount != want || total.Count != want || own != want {
			m.t.Fatalf("%s has %d unread, in total %d, as a participant %d; recounted %d", u.Name, c.UnreadCount, total.Count, own, want)
		}
	}
	want := []entry{}
	for i := len(m.messages) - 1; i >= m.from[u.ID]; i-- {
		if !m.messages[i].deleted {
			want = append(want, m.messages[i])
		}
	}
	got := everything(m.t, u, m.room, 4)
	if len(got) != len(want) {
		m.t.Fatalf("%s sees %d messages, should %d", u.Name, len(got), len(want))
	}
	for i, e := range want {
		if got[i].ID != e.id {
			m.t.Fatalf("%s sees %s at %d, should %s", u.Name, got[i].ID, i, e.id)
		}
		m.compareReceipts(got[i], e)
	}
}

func (m *model) compareReceipts(got message, e entry) {
	m.t.Helper()
	readers := []string{}
	for _, u := range m.people {
		_, in := m.from[u.ID]
		if _, read := m.readAt[[2]string{u.ID, e.id}]; read && in && u.ID != e.sender {
			readers = append(readers, u.ID)
		}
	}
	shown := []string{}
	for _, r := range got.ReadReceipts {
		shown = append(shown, r.UserID)
		at, err := time.Parse(time.RFC3339, r.ReadAt)
		if span := m.readAt[[2]string{r.UserID, e.id}]; err != nil || at.UnixMilli() < span[0] || at.UnixMilli() > span[1] {
			m.t.Fatalf("message %d: %s read it at %s, not in %v", got.N, r.UserID, r.ReadAt, span)
		}
	}
	slices.Sort(readers)
	slices.Sort(shown)
	if !slices.Equal(readers, shown) {
		m.t.Fatalf("message %d: read by %v, shown %v", got.N, readers, shown)
	}
}

func TestCountersAndReceiptsEqualANaiveRecountWhateverHappens(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	s := servertest.Start(t)
	m := &model{t: t, from: map[string]int{}, readN: map[string]int{}, readAt: map[[2]string][2]int64{}}
	for _, name := range []string{"ada", "bob", "carl", "dora"} {
		m.people = append(m.people, s.Register(name))
	}
	m.room = m.people[0].Group("g", m.people[1:]...)
	for _, u := range m.people {
		m.join(u.ID)
	}
	m.notice(m.people[0])
	for i := range 220 {
		m.step(r)
		if i%12 == 0 {
			m.check(m.pick(r, true))
		}
	}
	for _, u := range m.people {
		if _, in := m.from[u.ID]; in {
			m.check(u)
		}
	}
}

func TestReadingNeverGoesBackAndIsToldOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room, other := ada.Single(bob), ada.Single(eve)
	foreign := ada.Send(other, "x")
	listener := ada.Socket()
	bob.Do("PUT", "/conversations/"+room+"/read", nil).OK(nil) // nothing to read yet
	listener.Silent()
	ids := []string{}
	for i := range 3 {
		ids = append(ids, ada.Send(room, fmt.Sprint(i)))
		listener.Expect("message:new")
	}
	bob.Do("POST", "/messages/"+ids[1]+"/read", nil).OK(nil)
	if f := listener.Expect("message:read"); !strings.Contains(string(f.Data), ids[1]) || !strings.Contains(string(f.Data), `"n":2`) {
		t.Errorf("told: %s", f.Raw)
	}
	at := fetch[message](ada, "GET", "/messages/"+ids[0], nil).ReadReceipts[0].ReadAt
	for _, id := range ids[:2] {
		bob.Do("PUT", "/conversations/"+room+"/read", map[string]any{"messageId": id}).OK(nil)
	}
	listener.Silent()
	bob.Do("PUT", "/conversations/"+room+"/read", nil).OK(nil)
	listener.Expect("message:read")
	if again := fetch[message](ada, "GET", "/messages/"+ids[0], nil).ReadReceipts[0].ReadAt; again != at {
		t.Errorf("read at %s becomes read at %s", at, again)
	}
	bob.Do("PUT", "/conversations/"+room+"/read", map[string]any{"messageId": foreign}).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("PUT", "/conversations/"+room+"/read", map[string]any{"messageId": foreign}).Fails(404, "MESSAGE_NOT_FOUND")
	bob.Do("PUT", "/conversations/"+other+"/read", nil).Fails(404, "CONVERSATION_NOT_FOUND")
	eve.Do("POST", "/messages/"+ids[0]+"/read", nil).Fails(404, "MESSAGE_NOT_FOUND")
}
