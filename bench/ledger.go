package main

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// epoch is what now counts from.
var epoch = time.Now()

// now is the monotonic clock in nanoseconds since the program began.
func now() int64 { return int64(time.Since(epoch)) }

// ledger is the account of one run of messages: when each was due, whether the server acknowledged it, and which
// members received it. Message k goes to room k modulo the number of rooms. The schedule is fixed before the run, so
// that a late answer counts from when its message was due, not from when a busy generator came to send it.
type ledger struct {
	run   int
	base  int64 // request ids of this run are base+k
	count int
	due   []int64 // by message, see now
	rooms [][]int // the members of each room
	room  []int32 // by member: their room, -1 for none

	mu       sync.Mutex
	state    []byte
	n        []int64    // by message: its number in the conversation, from the acknowledgement
	got      []int32    // by message: members who have it
	seen     [][]uint64 // by member: a bit for each message received
	sent     int
	answered int
	acked    int
	full     int // acknowledged, and with every member

	deliveries int64 // distinct ones
	lastAt     int64 // the last delivery
	ackedAt    int64 // the last acknowledgement
	newest     int64 // the highest number acknowledged
	doubled    int
	strays     int    // deliveries to somebody outside the room, or of a message never sent
	first      string // the first doubled or stray delivery, for the report
	refused    string // the first refusal of the server

	delivery, ack recorder
}

// What is known of a message.
const (
	unsent = iota
	sent
	acked
	refused
)

// newLedger plans count messages for members 0..members-1 in rooms, interval apart from start on; an interval of 0
// leaves each message due when it is sent.
func newLedger(run, count, members int, rooms [][]int, start int64, interval time.Duration) *ledger {
	l := &ledger{
		run: run, base: int64(run) << 32, count: count, rooms: rooms, due: make([]int64, count), room: make([]int32, members),
		state: make([]byte, count), n: make([]int64, count), got: make([]int32, count), seen: make([][]uint64, members),
	}
	for k := range l.due {
		l.due[k] = start + int64(k)*int64(interval)
	}
	for m := range l.room {
		l.room[m] = -1
	}
	for r, members := range rooms {
		for _, m := range members {
			l.room[m], l.seen[m] = int32(r), make([]uint64, (count+63)/64)
		}
	}
	return l
}

func (l *ledger) audience(k int) int { return len(l.rooms[k%len(l.rooms)]) }

// sending notes that message k, due then, is about to leave.
func (l *ledger) sending(k int, due int64) {
	l.mu.Lock()
	l.state[k], l.due[k] = sent, due
	l.sent++
	l.mu.Unlock()
}

// answeredOK notes the acknowledgement of message k, which got number n in its conversation.
func (l *ledger) answeredOK(k int, n, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k < 0 || k >= l.count || l.state[k] != sent {
		return
	}
	l.state[k], l.n[k], l.ackedAt = acked, n, at
	l.newest = max(l.newest, n)
	l.answered++
	l.acked++
	l.ack.add(time.Duration(at - l.due[k]))
	if int(l.got[k]) == l.audience(k) {
		l.full++
	}
}

// answeredError notes that message k was refused.
func (l *ledger) answeredError(k int, why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k < 0 || k >= l.count || l.state[k] != sent {
		return
	}
	l.state[k] = refused
	l.answered++
	if l.refused == "" {
		l.refused = why
	}
}

// delivered notes that a member received message k.
func (l *ledger) delivered(member, k int, at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k < 0 || k >= l.count || l.state[k] == unsent || int(l.room[member]) != k%len(l.rooms) {
		l.strays++
		l.note("message %d came to member %d, who should not have it", k, member)
		return
	}
	word, bit := &l.seen[member][k/64], uint64(1)<<(k%64)
	if *word&bit != 0 {
		l.doubled++
		l.note("message %d came to member %d twice", k, member)
		return
	}
	*word |= bit
	l.got[k]++
	l.deliveries++
	l.lastAt = at
	l.delivery.add(time.Duration(at - l.due[k]))
	if l.state[k] == acked && int(l.got[k]) == l.audience(k) {
		l.full++
	}
}

func (l *ledger) note(format string, args ...any) {
	if l.first == "" {
		l.first = fmt.Sprintf(format, args...)
	}
}

// complete reports whether every message was sent and answered, and every acknowledged one is with all its members.
func (l *ledger) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent == l.count && l.answered == l.sent && l.full == l.acked
}

// inFlight is the number of messages that wait for an answer.
func (l *ledger) inFlight() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent - l.answered
}

func (l *ledger) newestAcked() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.newest
}

// audit says what is wrong with the deliveries: acknowledged messages that did not reach everybody, and deliveries that
// should not have been. It returns nil when each acknowledged message reached each member exactly once.
func (l *ledger) audit() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []error
	missing, example := 0, ""
	for k, state := range l.state {
		if state != acked || int(l.got[k]) == l.audience(k) {
			continue
		}
		for _, m := range l.rooms[k%len(l.rooms)] {
			if l.seen[m][k/64]&(1<<(k%64)) == 0 {
				missing++
				if example == "" {
					example = fmt.Sprintf("message %d never came to member %d", k, m)
				}
			}
		}
	}
	if missing > 0 {
		problems = append(problems, fmt.Errorf("%d deliveries of acknowledged messages are missing: %s", missing, example))
	}
	if l.doubled+l.strays > 0 {
		problems = append(problems, fmt.Errorf("%d deliveries doubled, %d to the wrong member: %s", l.doubled, l.strays, l.first))
	}
	return errors.Join(problems...)
}

// auditStored compares what the history of a room holds of this run, numbers by message, with what was acknowledged:
// each must be there exactly once under the number that the acknowledgement gave.
func (l *ledger) auditStored(room int, stored map[int][]int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var problems []error
	for k := room; k < l.count; k += len(l.rooms) {
		copies := stored[k]
		switch {
		case len(copies) > 1:
			problems = append(problems, fmt.Errorf("message %d is stored %d times", k, len(copies)))
		case l.state[k] != acked:
		case len(copies) == 0:
			problems = append(problems, fmt.Errorf("message %d was acknowledged and is not stored", k))
		case copies[0] != l.n[k]:
			problems = append(problems, fmt.Errorf("message %d was acknowledged as number %d and is stored as %d", k, l.n[k], copies[0]))
		}
	}
	for k := range stored {
		if k < 0 || k >= l.count || k%len(l.rooms) != room || l.state[k] == unsent {
			problems = append(problems, fmt.Errorf("message %d is stored in room %d, where it was never sent", k, room))
		}
	}
	if len(problems) > 5 {
		problems = append(problems[:5], fmt.Errorf("and %d more", len(problems)-5))
	}
	return errors.Join(problems...)
}
