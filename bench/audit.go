package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// page is what an audit reads of a message.
type page []struct {
	ID       string `json:"_id"`
	N        int64  `json:"n"`
	ClientID string `json:"clientId"`
}

// audit checks a finished run against the server: every acknowledged message reached each member exactly once; sent again
// under its clientId it is the same message; the history of each room holds it once, under the number acknowledged, and
// numbers without a gap.
func (b *bench) audit(ctx context.Context, t *target, o offer, book *ledger) error {
	t.crowd.book.Store(book) // what the repeats below set off
	defer t.crowd.book.Store(nil)
	problems := []error{book.audit()}
	if n := t.crowd.lost.Swap(0); n > 0 {
		problems = append(problems, fmt.Errorf("%d clients that came back were told to start over (resync)", n))
	}
	for _, k := range []int{0, o.count / 2, o.count - 1} {
		problems = append(problems, repeat(ctx, t, o, book, k))
	}
	problems = append(problems, parallel(ctx, 4, len(o.rooms), func(r int) error {
		stored, err := readBack(ctx, t.crowd.clients[o.rooms[r].members[0]].account, o.rooms[r], book.run)
		if err != nil {
			return err
		}
		return book.auditStored(r, stored)
	}))
	if err := book.audit(); problems[0] == nil && err != nil {
		problems = append(problems, fmt.Errorf("after messages were sent again: %w", err))
	}
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("audit of run %d (%s, %d messages): %w", book.run, t.name, o.count, err)
	}
	b.audited += int64(book.acked)
	b.auditedDeliveries += book.deliveries
	return nil
}

// repeat sends an acknowledged message again over REST, as a client does that missed the answer.
func repeat(ctx context.Context, t *target, o offer, book *ledger, k int) error {
	book.mu.Lock()
	known, n := book.state[k] == acked, book.n[k]
	book.mu.Unlock()
	if !known {
		return nil
	}
	r := o.rooms[k%len(o.rooms)]
	sender := t.crowd.clients[r.senders[k/len(o.rooms)%len(r.senders)]].account
	var again struct {
		N int64 `json:"n"`
	}
	in := map[string]string{
		"conversationId": r.id, "type": "text", "content": o.content(k), "clientId": string(clientID(nil, book.run, k)),
	}
	if err := sender.call(ctx, http.MethodPost, "/messages", in, &again); err != nil {
		return fmt.Errorf("send message %d again: %w", k, err)
	}
	if again.N != n {
		return fmt.Errorf("message %d, acknowledged as number %d, is number %d when sent again", k, n, again.N)
	}
	return nil
}

// readBack pages through what came to a room since the last audit and returns the numbers by message of the run.
func readBack(ctx context.Context, who *account, r *room, run int) (map[int][]int64, error) {
	stored := map[int][]int64{}
	before, expect, newest := "", int64(-1), r.seenN
	for {
		path := "/messages/conversation/" + r.id + "?limit=100"
		if before != "" {
			path += "&before=" + before
		}
		var list page
		if err := who.call(ctx, http.MethodGet, path, nil, &list); err != nil {
			return nil, err
		}
		for _, m := range list {
			if expect >= 0 && m.N != expect {
				return nil, fmt.Errorf("history of %s: number %d stands where %d is due", r.id, m.N, expect)
			}
			expect, newest = m.N-1, max(newest, m.N)
			if m.N <= r.seenN {
				break
			}
			if got, k, _, ok := findClientID([]byte(`"clientId":"` + m.ClientID + `"`)); ok && got == run {
				stored[k] = append(stored[k], m.N)
			}
		}
		if expect < r.seenN || len(list) == 0 {
			break
		}
		before = list[len(list)-1].ID
	}
	if expect > r.seenN {
		return nil, fmt.Errorf("history of %s ends at number %d, %d is the last that an earlier audit read", r.id, expect+1, r.seenN)
	}
	r.seenN = newest
	return stored, nil
}
