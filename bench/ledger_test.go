package main

import (
	"strings"
	"testing"
)

// trioAndPair is a ledger of four messages, 0 and 2 to a room of members 0 to 2, 1 and 3 to one of members 3 and 4, all
// of them sent and acknowledged.
func trioAndPair() *ledger {
	l := newLedger(7, 4, 5, [][]int{{0, 1, 2}, {3, 4}}, 0, 0)
	for k := range 4 {
		l.sending(k, int64(k))
		l.answeredOK(k, int64(1+k/2), 100)
	}
	return l
}

func deliver(l *ledger, except func(member, k int) bool) {
	for k := range l.count {
		for _, m := range l.rooms[k%len(l.rooms)] {
			if except == nil || !except(m, k) {
				l.delivered(m, k, 200)
			}
		}
	}
}

func TestAuditPassesWhenEachMemberHasEachMessageOnce(t *testing.T) {
	l := trioAndPair()
	deliver(l, nil)
	if err := l.audit(); err != nil || !l.complete() {
		t.Errorf("complete %v, audit says %v", l.complete(), err)
	}
	if l.deliveries != 10 || l.ack.n != 4 || l.ack.max != 100 {
		t.Errorf("%d deliveries, %d acknowledgements up to %d", l.deliveries, l.ack.n, l.ack.max)
	}
}

func TestAuditFindsWhatIsWrong(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(l *ledger)
		want  string
	}{
		{"missing", func(l *ledger) { deliver(l, func(member, k int) bool { return member == 4 && k == 3 }) }, "message 3 never came to member 4"},
		{"doubled", func(l *ledger) { deliver(l, nil); l.delivered(1, 2, 300) }, "message 2 came to member 1 twice"},
		{"one missing behind one doubled", func(l *ledger) {
			deliver(l, func(member, k int) bool { return member == 0 && k == 0 })
			l.delivered(1, 0, 300)
		}, "message 0 never came to member 0"},
		{"to a stranger", func(l *ledger) { deliver(l, nil); l.delivered(3, 0, 300) }, "message 0 came to member 3, who should not have it"},
		{"never sent", func(l *ledger) { deliver(l, nil); l.delivered(0, 4, 300) }, "message 4 came to member 0, who should not have it"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			l := trioAndPair()
			test.spoil(l)
			if err := l.audit(); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("audit says %v, want %q", err, test.want)
			}
		})
	}
}

func TestARefusedOrUnansweredMessageNeedNotArrive(t *testing.T) {
	l := newLedger(1, 2, 1, [][]int{{0}}, 0, 0)
	l.sending(0, 0)
	l.answeredError(0, "OVERLOADED")
	l.sending(1, 0)
	if l.complete() {
		t.Error("complete while an answer is due")
	}
	if err := l.audit(); err != nil || l.inFlight() != 1 {
		t.Errorf("audit says %v, %d in flight", err, l.inFlight())
	}
}

func TestAuditOfTheStoreFindsMissingDoubledAndRenumbered(t *testing.T) {
	tests := []struct {
		name   string
		stored map[int][]int64
		want   string
	}{
		{"all there", map[int][]int64{0: {1}, 2: {2}}, ""},
		{"missing", map[int][]int64{0: {1}}, "message 2 was acknowledged and is not stored"},
		{"doubled", map[int][]int64{0: {1, 3}, 2: {2}}, "message 0 is stored 2 times"},
		{"renumbered", map[int][]int64{0: {1}, 2: {5}}, "message 2 was acknowledged as number 2 and is stored as 5"},
		{"in the wrong room", map[int][]int64{0: {1}, 2: {2}, 3: {3}}, "message 3 is stored in room 0"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := trioAndPair().auditStored(0, test.stored)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("audit says %v, want %q", err, test.want)
			}
		})
	}
}
