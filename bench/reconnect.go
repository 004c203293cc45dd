package main

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// caughtUpWithin bounds how long a reconnect is waited for.
const caughtUpWithin = time.Minute

// reconnect is scenario E: everybody disconnects, messages are sent, everybody comes back at once with since.
func (b *bench) reconnect(ctx context.Context) error {
	if err := b.restart(ctx, b.people); err != nil {
		return err
	}
	t := b.report.table("E. Reconnect at once and catch up", "clients", "missed", "last caught up", "p50", "p99", "CPU s", "peak RSS")
	t.note = fmt.Sprintf("From the first connect until the frame `resumed`, by which every missed message had come. %d times: medians (and extremes).", b.rounds)
	people := b.accounts[:b.returning]
	whole, err := group(ctx, people, fanoutSenders)
	if err != nil {
		return err
	}
	crowd := newCrowd(ctx, b.loop, b.server.to, people)
	defer crowd.close()
	if err := b.comeBack(ctx, t, crowd, []*room{whole}, "one room"); err != nil {
		return fmt.Errorf("one room: %w", err)
	}

	small := make([]*room, b.returning/b.smallRoom)
	if err := parallel(ctx, 4, len(small), func(i int) (err error) {
		from := i * b.smallRoom
		if small[i], err = group(ctx, people[from:from+b.smallRoom], b.smallRoom); err != nil {
			return err
		}
		for j := range small[i].members { // group numbers them from 0; senders share the array
			small[i].members[j] += from
		}
		return nil
	}); err != nil {
		return err
	}
	if err := b.comeBack(ctx, t, crowd, small, fmt.Sprintf("%d rooms", len(small))); err != nil {
		return fmt.Errorf("%d rooms: %w", len(small), err)
	}
	return nil
}

// comeBack repeats the reconnect and reports it.
func (b *bench) comeBack(ctx context.Context, t *table, crowd *crowd, rooms []*room, where string) error {
	pid := b.server.pid()
	ours := &target{name: "QuckChat", pid: pid, crowd: crowd, acks: true}
	resetPeak(pid)
	var last, p50, p99, cpu []float64
	for range b.rounds {
		if err := crowd.connectAll(2 * time.Minute); err != nil {
			return err
		}
		crowd.disconnectAll()
		members := make([][]int, len(rooms))
		for i, r := range rooms {
			members[i] = r.members
		}
		b.runs++
		o := offer{rooms: rooms, count: b.missed * len(rooms)}
		book := newLedger(b.runs, o.count, len(crowd.clients), members, now(), 0)
		crowd.book.Store(book)
		if err := sendAway(ctx, crowd, o, book); err != nil {
			return err
		}

		used, began := cpuTime(pid), now()
		for _, k := range crowd.clients {
			k.wanted.Store(true)
			if err := k.connect(true); err != nil {
				return err
			}
		}
		if err := crowd.waitLive(caughtUpWithin); err != nil {
			return err
		}
		spent := cpuTime(pid) - used
		if !book.complete() {
			return fmt.Errorf("all %d clients were told that they are caught up: %w", len(crowd.clients), book.audit())
		}
		crowd.book.Store(nil)
		var times recorder
		for _, k := range crowd.clients {
			times.add(time.Duration(k.liveAt.Load() - began))
		}
		b.say("%s: the last of %d clients caught up after %s", where, len(crowd.clients), ms(times.max))
		if err := crowd.waitQuiet(30 * time.Second); err != nil {
			return err
		}
		if err := b.audit(ctx, ours, o, book); err != nil {
			return err
		}
		last, cpu = append(last, float64(times.max)), append(cpu, spent.Seconds())
		p50, p99 = append(p50, float64(times.quantile(0.5))), append(p99, float64(times.quantile(0.99)))
	}
	t.add(count(float64(len(crowd.clients))), fmt.Sprintf("%d messages each, %s", b.missed, where), spreadOf(last...).show(millis),
		spreadOf(p50...).show(millis), spreadOf(p99...).show(millis), spreadOf(cpu...).show(seconds), mib(memory(pid, "VmHWM")))
	b.report.goal(fmt.Sprintf("%d clients come back, %s", len(crowd.clients), where), "caught up within 1 s", millis(spreadOf(last...).median), spreadOf(last...).median <= 1e9)
	return nil
}

// sendAway sends the messages over REST while nobody is connected.
func sendAway(ctx context.Context, crowd *crowd, o offer, book *ledger) error {
	return parallel(ctx, 16, o.count, func(k int) error {
		r := o.rooms[k%len(o.rooms)]
		sender := crowd.clients[r.senders[k/len(o.rooms)%len(r.senders)]].account
		var stored struct {
			N int64 `json:"n"`
		}
		in := map[string]string{
			"conversationId": r.id, "type": "text", "content": o.content(k), "clientId": string(clientID(nil, book.run, k)),
		}
		book.sending(k, now())
		if err := sender.call(ctx, http.MethodPost, "/messages", in, &stored); err != nil {
			return err
		}
		book.answeredOK(k, stored.N, now())
		return nil
	})
}
