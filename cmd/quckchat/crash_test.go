package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// readyWithin is how soon after exec a server must be ready, after a crash too.
const readyWithin = time.Second

// order is something a worker asks the server to do, again and again under the same name until it is answered.
type order struct {
	op       string
	data     map[string]any
	mayRefer string // a refusal that says that it was done already
	done     func(m wireMessage)
}

// worker sends as fast as it is answered, and remembers what it was told is stored.
type worker struct {
	*person
	name    string
	rooms   []string
	churn   *person // somebody to take in and out of the first room, now and then
	inside  bool    // churn is in the room
	count   int
	pending *order            // not answered yet
	stored  []wireMessage     // acknowledged
	texts   map[string]string // by message id, the newest acknowledged text
	since   time.Time         // of the start of the server
	rescued int               // retries that were answered with what was stored before the crash
	failure error
}

// invent makes the next order: a message mostly.
func (w *worker) invent() *order {
	w.count++
	room := w.rooms[rand.IntN(len(w.rooms))]
	switch {
	case w.churn != nil && w.count%40 == 0 && w.inside:
		return &order{
			op: "conversation:participants:remove", data: map[string]any{"conversationId": w.rooms[0], "participantId": w.churn.id},
			mayRefer: "USER_NOT_FOUND", done: func(wireMessage) { w.inside = false },
		}
	case w.churn != nil && w.count%40 == 20 && !w.inside:
		return w.takeIn()
	case w.count%17 == 0 && len(w.stored) > 0:
		m := w.stored[len(w.stored)-1]
		text := fmt.Sprintf("%s, changed in order %d", m.Content, w.count)
		return &order{
			op: "message:edit", data: map[string]any{"messageId": m.ID, "content": text},
			done: func(wireMessage) { w.texts[m.ID] = text },
		}
	case w.count%23 == 0 && len(w.stored) > 0:
		m := w.stored[len(w.stored)-1]
		return &order{op: "conversation:read", data: map[string]any{"conversationId": m.ConversationID, "messageId": m.ID}}
	}
	return w.message(room, fmt.Sprintf("message %d of %s", w.count, w.name))
}

func (w *worker) takeIn() *order {
	return &order{
		op: "conversation:participants:add", data: map[string]any{"conversationId": w.rooms[0], "participantIds": []string{w.churn.id}},
		done: func(wireMessage) { w.inside = true },
	}
}

func (w *worker) message(room, text string) *order {
	clientID := fmt.Sprintf("%s-%d", w.name, w.count)
	return &order{
		op: "message:send", data: map[string]any{"conversationId": room, "content": text, "clientId": clientID},
		done: func(m wireMessage) {
			if m.ClientID != clientID || m.Content != text || m.ConversationID != room || m.N < 1 {
				w.failure = fmt.Errorf("sent %q as %s and was answered %+v", text, clientID, m)
			}
			if m.CreatedAt.Before(w.since) {
				w.rescued++
			}
			w.stored = append(w.stored, m)
			w.texts[m.ID] = text
		},
	}
}

// work carries out orders, first the one that was not answered, as long as more says so or the server is killed.
func (w *worker) work(killed <-chan struct{}, more func() bool) {
	for w.failure == nil && (w.pending != nil || more()) {
		s, _, err := w.dial(-1)
		if err == nil {
			err = w.serve(s, more)
			s.ws.Close()
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, errGone) {
			w.failure = err
		}
		select {
		case <-killed:
			return
		case <-time.After(5 * time.Millisecond): // dropped: come back
		}
	}
}

func (w *worker) serve(s *socket, more func() bool) error {
	for w.failure == nil {
		if w.pending == nil {
			if !more() {
				return nil
			}
			w.pending = w.invent()
		}
		var m wireMessage
		err := s.ask(w.pending.op, w.pending.data, &m)
		if err != nil && (w.pending.mayRefer == "" || refused(err) != w.pending.mayRefer) {
			if refused(err) != "" {
				err = fmt.Errorf("%s %v: %w", w.pending.op, w.pending.data, err)
			}
			return err
		}
		if w.pending.done != nil {
			w.pending.done(m)
		}
		w.pending = nil
	}
	return nil
}

// heard is a message:new as it arrived.
type heard struct {
	seq            int64
	conversationID string
	messageID      string
}

// receiver listens for one person over all the sockets it takes, each resumed where the one before ended.
type receiver struct {
	*person
	mu      sync.Mutex
	last    int64
	heard   []heard
	sockets int
	failure error
}

// listen follows until it is told to stop, coming back whenever the connection is lost.
func (r *receiver) listen(stop <-chan struct{}) {
	for {
		s, _, err := r.dial(r.at())
		if err == nil {
			r.mu.Lock()
			r.sockets++
			r.mu.Unlock()
			ended := make(chan struct{})
			go func() { // ends the read below
				select {
				case <-stop:
				case <-ended:
				}
				s.ws.Close()
			}()
			for err == nil {
				var f wireFrame
				if f, err = s.read(); err == nil {
					err = r.hear(f)
				}
			}
			close(ended)
		}
		if !errors.Is(err, errGone) {
			r.mu.Lock()
			r.failure = err
			r.mu.Unlock()
			return
		}
		select {
		case <-stop:
			return
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (r *receiver) at() int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.last
}

func (r *receiver) hear(f wireFrame) error {
	if f.Event == "resync" {
		return fmt.Errorf("%s was told to start anew after %d", r.name, r.last)
	}
	if f.Seq == 0 {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if f.Seq <= r.last {
		return fmt.Errorf("%s got seq %d after %d", r.name, f.Seq, r.last)
	}
	r.last = f.Seq
	if f.Event == "message:new" {
		m, err := decode[wireMessage](f.Data)
		if err != nil {
			return err
		}
		if m.notice() {
			return nil
		}
		r.heard = append(r.heard, heard{f.Seq, m.ConversationID, m.ID})
	}
	return nil
}

// has reports whether the message has arrived, or that it never will.
func (r *receiver) has(messageID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.heard) - 1; i >= 0; i-- {
		if r.heard[i].messageID == messageID {
			return true
		}
	}
	return r.failure != nil
}

// world is who talks where in the crash test.
type world struct {
	*site
	people    []*person // ada, bob, cleo and dan; dan comes and goes in the group
	rooms     map[string][]*person
	group     string
	workers   []*worker
	receivers []*receiver
}

func newWorld(s *site) *world {
	w := &world{site: s}
	for _, name := range []string{"ada", "bob", "cleo", "dan"} {
		w.people = append(w.people, s.register(name))
	}
	ada, bob, cleo, dan := w.people[0], w.people[1], w.people[2], w.people[3]
	w.group = ada.group("the crew", bob, cleo, dan)
	adaBob, cleoDan := ada.pair(bob), cleo.pair(dan)
	w.rooms = map[string][]*person{w.group: w.people, adaBob: {ada, bob}, cleoDan: {cleo, dan}}
	work := func(p *person, rooms ...string) *worker {
		worker := &worker{person: p, name: fmt.Sprintf("%s-%d", p.name, len(w.workers)), rooms: rooms, texts: map[string]string{}}
		w.workers = append(w.workers, worker)
		return worker
	}
	admin := work(ada, w.group)
	admin.churn, admin.inside = dan, true
	work(ada, w.group, adaBob)
	work(bob, w.group)
	work(bob, adaBob, w.group)
	work(cleo, w.group, cleoDan)
	work(cleo, w.group)
	work(dan, cleoDan)
	work(dan, cleoDan)
	for _, p := range w.people {
		socket, seq, err := p.dial(-1)
		if err != nil {
			s.t.Fatal(err)
		}
		socket.ws.Close()
		w.receivers = append(w.receivers, &receiver{person: p, last: seq})
	}
	return w
}

// run has all the workers work until killed, or until more says no; it returns when they have ended.
func (w *world) run(killed <-chan struct{}, more func() bool) *sync.WaitGroup {
	var all sync.WaitGroup
	for _, worker := range w.workers {
		worker.since = time.Now().Add(-w.ready)
		all.Go(func() { worker.work(killed, more) })
	}
	return &all
}

// settle asks again what is unsure, takes in for good who comes and goes, has everybody say a last word in each of
// their rooms, and returns the newest message of each room.
func (w *world) settle() map[string]string {
	w.t.Helper()
	w.run(nil, func() bool { return false }).Wait()
	for _, worker := range w.workers {
		orders := []*order{}
		if worker.churn != nil {
			orders = append(orders, worker.takeIn())
		}
		for _, room := range worker.rooms {
			worker.count++
			orders = append(orders, worker.message(room, "farewell from "+worker.name))
		}
		for _, worker.pending = range orders {
			worker.work(nil, func() bool { return false })
		}
	}
	w.failed()
	last := map[string]string{}
	for _, worker := range w.workers {
		for _, m := range worker.stored {
			last[m.ConversationID] = max(last[m.ConversationID], m.ID) // ids rise
		}
	}
	return last
}

func (w *world) failed() {
	w.t.Helper()
	for _, worker := range w.workers {
		if worker.failure != nil {
			w.t.Fatalf("%s: %v\n%s", worker.name, worker.failure, w.log.end())
		}
	}
	for _, r := range w.receivers {
		r.mu.Lock()
		if r.failure != nil {
			w.t.Errorf("%s: %v\n%s", r.name, r.failure, w.log.end())
		}
		r.mu.Unlock()
	}
}

// TestWhatWasAcknowledgedSurvivesKill kills the server under load, again and again.
func TestWhatWasAcknowledgedSurvivesKill(t *testing.T) {
	rounds := 3
	if os.Getenv("QUCKCHAT_TORTURE") == "1" {
		rounds = 10
	}
	s := newSite(t)
	s.start()
	w := newWorld(s)
	over := make(chan struct{})
	var listening sync.WaitGroup
	for _, r := range w.receivers {
		listening.Go(func() { r.listen(over) })
	}
	hush := sync.OnceFunc(func() { close(over); listening.Wait() })
	defer hush()
	for round := range rounds {
		if out, code := s.command("user", "add", "--username", fmt.Sprintf("guest%d", round)); code != 0 { // for the audit log
			t.Fatalf("user add: %d %s", code, out)
		}
		killed := make(chan struct{})
		life := 200*time.Millisecond + rand.N(1300*time.Millisecond)
		working := w.run(killed, func() bool { return true })
		<-time.After(life) // the random moment is what is tested
		close(killed)
		s.kill()
		working.Wait()
		w.failed()
		sum, unsure, rescued := 0, 0, 0
		for _, worker := range w.workers {
			sum, rescued = sum+len(worker.stored), rescued+worker.rescued
			if worker.pending != nil {
				unsure++
			}
		}
		s.start()
		t.Logf("round %d: killed after %v, ready again after %v; %d messages acknowledged, %d orders without an answer, %d rescued so far",
			round+1, life.Round(time.Millisecond), s.ready.Round(time.Millisecond), sum, unsure, rescued)
		if s.ready > readyWithin {
			t.Errorf("ready after %v", s.ready)
		}
	}
	last := w.settle()
	for room, members := range w.rooms {
		for _, r := range w.receivers {
			if slices.Contains(members, r.person) {
				until(t, r.name+" hears the last message", patience, func() bool { return r.has(last[room]) })
			}
		}
	}
	w.failed()
	w.checkHistory()
	w.checkUnread()
	ada := w.people[0]
	until(t, "search finds the last message", 5*time.Second, func() bool { return ada.finds("farewell", last[w.group]) })
	hush()
	s.stop()
	w.checkStore(rounds)
}

// checkHistory compares what the members read with what the senders were told.
func (w *world) checkHistory() {
	t := w.t
	t.Helper()
	expected, texts := map[string]map[string]wireMessage{}, map[string]string{}
	for _, worker := range w.workers {
		for _, m := range worker.stored {
			if expected[m.ConversationID] == nil {
				expected[m.ConversationID] = map[string]wireMessage{}
			}
			if _, twice := expected[m.ConversationID][m.ID]; twice {
				t.Errorf("message %s was given to two sends", m.ID)
			}
			expected[m.ConversationID][m.ID] = m
		}
		for id, text := range worker.texts {
			texts[id] = text
		}
	}
	for room, members := range w.rooms {
		for _, p := range members {
			floor := int64(0)
			history := p.history(room)
			if p.name == "dan" && room == w.group && len(history) > 0 {
				floor = history[0].N - 1 // since he was taken in again
			}
			seen, notices := map[string]bool{}, 0
			for i, m := range history {
				if m.N != floor+int64(i)+1 {
					t.Fatalf("%s reads n %d where %d must be", p.name, m.N, floor+int64(i)+1)
				}
				if m.notice() {
					notices++
					continue
				}
				e, known := expected[room][m.ID]
				if !known || seen[m.ClientID] || e.N != m.N || e.ClientID != m.ClientID || m.Content != texts[m.ID] {
					t.Errorf("%s reads %+v, acknowledged was %+v with text %q (known %v, again %v)", p.name, m, e, texts[m.ID], known, seen[m.ClientID])
				}
				seen[m.ClientID] = true
			}
			if floor == 0 && len(history)-notices != len(expected[room]) {
				t.Errorf("%s reads %d messages, acknowledged were %d", p.name, len(history)-notices, len(expected[room]))
			}
		}
	}
}

// checkUnread counts anew, by the receipts on the messages.
func (w *world) checkUnread() {
	t := w.t
	t.Helper()
	for _, p := range w.people {
		total := 0
		for room, members := range w.rooms {
			if !slices.Contains(members, p) {
				continue
			}
			unread := 0
			for _, m := range p.history(room) {
				read := m.Sender.ID == p.id || m.notice()
				for _, r := range m.ReadReceipts {
					read = read || r.UserID == p.id
				}
				if !read {
					unread++
				}
			}
			var c struct {
				UnreadCount int `json:"unreadCount"`
			}
			p.must("GET", "/conversations/"+room, nil, &c)
			if c.UnreadCount != unread {
				t.Errorf("%s has %d unread messages, the server counts %d", p.name, unread, c.UnreadCount)
			}
			total += unread
		}
		var sum struct {
			Count int `json:"count"`
		}
		if p.must("GET", "/conversations/unread/count", nil, &sum); sum.Count != total {
			t.Errorf("%s has %d unread messages in all, the server counts %d", p.name, total, sum.Count)
		}
	}
}

// checkStore opens a copy of the stopped server's data: the file is sound, the audit log is whole, and the receivers
// heard what the event log holds for them, each once.
func (w *world) checkStore(rounds int) {
	t := w.t
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, storage.FileName))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), storage.FileName)
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(storage.Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	ctx := context.Background()
	err = db.Read(ctx, func(v storage.View) error {
		if count, err := auditEntries(v); err != nil || count < rounds {
			t.Errorf("audit log: %d entries, %v", count, err)
		}
		var sound string
		if err := v.QueryRow("PRAGMA integrity_check").Scan(&sound); err != nil || sound != "ok" {
			t.Errorf("integrity: %q %v", sound, err)
		}
		for _, r := range w.receivers {
			rows, err := v.Query(`SELECT e.seq, e.scope_id, e.subject_id FROM event e JOIN member m ON m.conversation_id = e.scope_id
				JOIN message x ON x.id = e.subject_id AND x.type <> 'system'
				WHERE m.user_id = ? AND e.kind = 'message:new' AND e.seq >= m.joined_seq AND e.seq <= coalesce(m.left_seq, e.seq) ORDER BY e.seq`, r.id)
			if err != nil {
				return err
			}
			i, same := 0, true
			for ; rows.Next(); i++ {
				var e heard
				if err := rows.Scan(&e.seq, &e.conversationID, &e.messageID); err != nil {
					return err
				}
				if same && (i >= len(r.heard) || r.heard[i] != e) {
					same = false // and so is everything after it
					t.Errorf("%s did not hear %+v as number %d of %d", r.name, e, i, len(r.heard))
				}
			}
			if err := rows.Close(); err != nil {
				return err
			}
			if i != len(r.heard) {
				t.Errorf("%s heard %d messages, the log holds %d", r.name, len(r.heard), i)
			}
			t.Logf("%s heard %d messages over %d sockets", r.name, len(r.heard), r.sockets)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// auditEntries follows the chain of the audit log as its package describes it, and returns how many entries are whole.
// It counts by itself: this package may not import that one.
func auditEntries(v storage.View) (count int, err error) {
	rows, err := v.Query(`SELECT id, at, actor_kind, actor_id, action, target_kind, target_id, ip, user_agent, before, after, prev_hash, hash
		FROM audit ORDER BY id`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	last := ""
	for rows.Next() {
		var id, at uint64
		var texts [9]string
		var previous, hash string
		targets := []any{&id, &at}
		for i := range texts {
			targets = append(targets, &texts[i])
		}
		if err := rows.Scan(append(targets, &previous, &hash)...); err != nil {
			return count, err
		}
		fields := [][]byte{[]byte(previous), binary.BigEndian.AppendUint64(nil, id), binary.BigEndian.AppendUint64(nil, at)}
		for _, text := range texts {
			fields = append(fields, []byte(text))
		}
		sum := sha256.New()
		for _, f := range fields {
			sum.Write(append(binary.BigEndian.AppendUint64(nil, uint64(len(f))), f...))
		}
		if count++; id != uint64(count) || previous != last || hash != hex.EncodeToString(sum.Sum(nil)) {
			return count - 1, fmt.Errorf("entry %d is not as it was written", id)
		}
		last = hash
	}
	return count, rows.Err()
}
