package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// room is a conversation with its members as numbers in a crowd. Its senders take turns.
type room struct {
	id      string
	members []int
	senders []int
	seenN   int64 // the highest message number that an audit has read
}

// offer is a run of messages to be sent: count of them, rate a second over all rooms, or window of them in flight at
// once when the rate is 0.
type offer struct {
	rooms  []*room
	count  int
	rate   float64
	window int
	word   string // stands at the end of the last message, for the search
}

// target is a server under load: ours or the floor.
type target struct {
	name  string
	pid   int
	crowd *crowd
	acks  bool // it acknowledges, stores, and is audited
}

// outcome is what one run came to.
type outcome struct {
	offered, achieved float64 // deliveries a second
	deliveries        int64
	acked             int
	cpu               time.Duration // of the server, from the first message due to the last delivery
	delivery, ack     *recorder
	settled           bool // everything had arrived within grace of the end of the schedule
	unanswered        int
	refused           int
	refusal           string // the first one
	drops             int64
	late              time.Duration // p99 of how long after it was due a message left the generator
	wall              time.Duration // from the first message due to the last delivery or acknowledgement
}

// grace is how long after the end of a schedule a delivery still counts as made, recovery how long dropped clients have
// to come back and fetch what they missed before the audit calls it lost.
const (
	grace    = 2 * time.Second
	recovery = 30 * time.Second
)

// lossFree is the bar of the rising rates: everything offered was acknowledged and arrived live, in time, by the same
// connections, and the backlog did not grow.
func (o *outcome) lossFree() bool {
	return o.settled && o.drops == 0 && o.refused == 0 && o.unanswered == 0 && o.achieved >= 0.98*o.offered && o.delivery.quantile(0.99) <= time.Second
}

// why names the first thing that keeps a run from being loss-free.
func (o *outcome) why() string {
	switch {
	case o.drops > 0:
		return fmt.Sprintf("%d clients dropped", o.drops)
	case o.refused > 0:
		return fmt.Sprintf("%d sends refused", o.refused)
	case !o.settled:
		return "not all had arrived 2 s after the end"
	case o.achieved < 0.98*o.offered:
		return fmt.Sprintf("fell behind: %s/s", count(o.achieved))
	}
	return "p99 over 1 s"
}

// run offers the messages to the target and waits for the last delivery. What it returns is not audited yet.
func (b *bench) run(ctx context.Context, t *target, o offer) (_ *outcome, _ *ledger, err error) {
	members := make([][]int, len(o.rooms))
	perMessage := 0.0
	for i, r := range o.rooms {
		members[i] = r.members
		perMessage += float64(len(r.members)) / float64(len(o.rooms))
	}
	b.runs++
	interval := time.Duration(0)
	if o.rate > 0 {
		interval = time.Duration(float64(time.Second) / o.rate)
	}
	start := now() + int64(50*time.Millisecond)
	book := newLedger(b.runs, o.count, len(t.crowd.clients), members, start, interval)
	drops := t.crowd.drops.Load()
	t.crowd.book.Store(book)
	defer t.crowd.book.Store(nil)
	runtime.GC() // ours, so that it does not fall into the run
	sleepUntil(start)
	used := cpuTime(t.pid)
	out := &outcome{offered: o.rate * perMessage}
	if out.late, err = send(ctx, t, o, book); err != nil {
		return nil, nil, err
	}
	out.settled = waitComplete(ctx, book, grace)
	out.cpu = cpuTime(t.pid) - used
	out.drops = t.crowd.drops.Load() - drops
	if !out.settled && t.acks {
		waitComplete(ctx, book, recovery)
	}
	book.mu.Lock()
	defer book.mu.Unlock()
	delivery, ack := book.delivery, book.ack
	out.delivery, out.ack = &delivery, &ack
	out.deliveries, out.acked = book.deliveries, book.acked
	out.unanswered, out.refused, out.refusal = book.sent-book.answered, book.answered-book.acked, book.refused
	out.wall = time.Duration(max(book.lastAt, book.ackedAt) - start)
	// The schedule is over one interval after its last message: a server that keeps up achieves what is offered.
	out.achieved = float64(book.deliveries) / (time.Duration(book.lastAt-start) + interval).Seconds()
	return out, book, ctx.Err()
}

func waitComplete(ctx context.Context, book *ledger, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(2 * time.Millisecond) {
		if book.complete() {
			return true
		}
	}
	return book.complete()
}

// send is the open loop: it never waits for the server, except when the offer has a window instead of a rate. It returns
// how late it was itself (p99).
func send(ctx context.Context, t *target, o offer, book *ledger) (time.Duration, error) {
	var late recorder
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var frame []byte
	stuck := now()
	for k := range o.count {
		if k%64 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		due := book.due[k]
		switch {
		case o.rate > 0:
			sleepUntil(due)
		default:
			for book.inFlight() >= o.window {
				if ctx.Err() != nil || now()-stuck > int64(recovery) {
					return 0, fmt.Errorf("message %d of %d waits for an answer: %w", k, o.count, t.crowd.err())
				}
				sleepUntil(now() + int64(50*time.Microsecond))
			}
			stuck = now()
			due = stuck
		}
		r := o.rooms[k%len(o.rooms)]
		sender := t.crowd.clients[r.senders[k/len(o.rooms)%len(r.senders)]]
		frame = sendFrame(frame[:0], sender.socketIO, book, r.id, k, o.content(k))
		book.sending(k, due)
		sender.send(frame)
		late.add(time.Duration(now() - due))
		if !t.acks { // a floor that acknowledges nothing is held to every message sent
			book.answeredOK(k, 0, now())
		}
	}
	return late.quantile(0.99), nil
}

// sendFrame is the websocket frame of message k.
func sendFrame(b []byte, socketIO bool, book *ledger, conversation string, k int, content string) []byte {
	var payload [1024]byte
	before, middle, after := `{"id":`, `,"op":"message:send","data":`, `}`
	if socketIO {
		before, middle, after = chatEvent, `["message:send",`, `]`
	}
	p := strconv.AppendInt(append(payload[:0], before...), book.base+int64(k), 10)
	p = append(append(append(p, middle...), `{"conversationId":"`...), conversation...)
	p = append(append(p, `","type":"text","content":"`...), content...)
	p = append(append(clientID(append(p, `","clientId":"`...), book.run, k), `"}`...), after...)
	return appendFrame(b, opText, p)
}

// content is the text of message k, always the same: some eight words of a vocabulary of 4,096.
func (o *offer) content(k int) string {
	text := contents[k%len(contents)]
	if k == o.count-1 && o.word != "" {
		text += " " + o.word
	}
	return text
}

var contents = makeContents(4096)

func makeContents(n int) []string {
	random := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4096)
	for i := range words {
		for range 2 + random.IntN(3) {
			words[i] += string("bdfgklmnprst"[random.IntN(12)]) + string("aeiou"[random.IntN(5)])
		}
	}
	list := make([]string, n)
	for i := range list {
		picked := make([]string, 5+random.IntN(7))
		for j := range picked { // common words are common
			picked[j] = words[min(random.IntN(4096), random.IntN(4096))]
		}
		list[i] = strings.Join(picked, " ")
	}
	return list
}
