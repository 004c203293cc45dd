package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// pairRound is one repetition of a load on the rooms of two.
type pairRound struct {
	*outcome
	rate    float64       // acknowledged messages a second
	cpu     time.Duration // until the search had caught up
	indexed time.Duration // from the last acknowledgement until the last message was found
}

// indexWithin is how long the search may take to catch up.
const indexWithin = time.Minute

// pairs is scenario B: durable sends in many rooms of two, and bare SQLite inserts at the same rates.
func (b *bench) pairs(ctx context.Context) error {
	t := b.report.table("B. Durable sends in rooms of two", "offered/s", "server", "acknowledged/s", "ack p50", "ack p99", "ack max", "delivery p99", "CPU s",
		"messages per CPU-s", "ratio", "search caught up after", "peak RSS")
	t.note = fmt.Sprintf("%d rooms, all members connected, both send. CPU until the last message is found by search. %d times: medians (and extremes). The floor "+
		"inserts rows with the same group commit and does nothing else; flat out: 64 callers, as fast as it goes.", b.pairCount, b.rounds)
	var crowd *crowd
	var rooms []*room
	if !b.floorOnly {
		if err := b.restart(ctx, b.people); err != nil {
			return err
		}
		people := b.accounts[:2*b.pairCount]
		rooms = make([]*room, b.pairCount)
		if err := parallel(ctx, 4, b.pairCount, func(i int) (err error) {
			rooms[i], err = pair(ctx, people, 2*i, 2*i+1)
			return err
		}); err != nil {
			return err
		}
		crowd = newCrowd(ctx, b.loop, b.server.to, people)
		defer crowd.close()
		if err := crowd.connectAll(time.Minute); err != nil {
			return err
		}
		ours := &target{name: "QuckChat", pid: b.server.pid(), crowd: crowd, acks: true}
		if _, err := b.pairRun(ctx, ours, rooms, pairLoad{500, time.Second}); err != nil { // warm
			return err
		}
	}
	for _, load := range b.pairLoads {
		if err := b.pairLoad(ctx, t, crowd, rooms, load); err != nil {
			return fmt.Errorf("%s/s: %w", count(load.rate), err)
		}
	}
	flat, err := b.floorSQL(ctx, 0, b.pairLoads[0].length)
	if err != nil {
		return err
	}
	t.add("flat out", "bare SQLite", count(flat.rate()), ms(flat.P50), ms(flat.P99), "", "", seconds(flat.CPU.Seconds()), count(flat.perCPU()), "", "", "")
	return nil
}

func (b *bench) pairLoad(ctx context.Context, t *table, crowd *crowd, rooms []*room, load pairLoad) error {
	var ours []*pairRound
	var floor []floorRows
	if crowd != nil {
		resetPeak(b.server.pid())
	}
	for range b.rounds {
		if crowd != nil {
			r, err := b.pairRun(ctx, &target{name: "QuckChat", pid: b.server.pid(), crowd: crowd, acks: true}, rooms, load)
			if err != nil {
				return err
			}
			ours = append(ours, r)
			b.say("QuckChat at %s/s: %s acknowledged/s, %s per CPU-s, p50 %s, p99 %s, search behind by %s", count(load.rate), count(r.rate),
				count(r.perCPU()), ms(r.ack.quantile(0.5)), ms(r.ack.quantile(0.99)), ms(r.indexed))
		}
		f, err := b.floorSQL(ctx, load.rate, load.length)
		if err != nil {
			return err
		}
		floor = append(floor, f)
		b.say("bare SQLite at %s/s: %s rows/s, %s per CPU-s, p50 %s, p99 %s", count(load.rate), count(f.rate()), count(f.perCPU()), ms(f.P50), ms(f.P99))
	}
	floorCost := spreadBy(floor, floorRows.perCPU)
	if len(ours) > 0 {
		quantile := func(q float64) spread {
			return spreadBy(ours, func(r *pairRound) float64 { return float64(r.ack.quantile(q)) })
		}
		cost, rate, p99 := spreadBy(ours, (*pairRound).perCPU), spreadBy(ours, func(r *pairRound) float64 { return r.rate }), quantile(0.99)
		indexed := spreadBy(ours, func(r *pairRound) float64 { return float64(r.indexed) })
		t.add(count(load.rate), "QuckChat", rate.show(count), quantile(0.5).show(millis), p99.show(millis), quantile(1).show(millis),
			spreadBy(ours, func(r *pairRound) float64 { return float64(r.delivery.quantile(0.99)) }).show(millis),
			spreadBy(ours, func(r *pairRound) float64 { return r.cpu.Seconds() }).show(seconds), cost.show(count),
			fmt.Sprintf("%.2f", cost.median/floorCost.median), indexed.show(millis), mib(memory(b.server.pid(), "VmHWM")))
		what := fmt.Sprintf("rooms of two at %s/s: ", count(load.rate))
		if load.rate <= 2000 {
			b.report.goal(what+"messages per CPU-second", "at least 3,000", count(cost.median), cost.median >= 3000)
			b.report.goal(what+"ack p99", "at most 10 ms", millis(p99.median), p99.median <= 10e6)
		} else {
			b.report.goal(what+"held", "the whole rate", count(rate.median), rate.median >= 0.98*load.rate)
			b.report.goal(what+"search caught up", "soon after (5 s)", millis(indexed.median), indexed.median <= 5e9)
		}
	}
	t.add(count(load.rate), "bare SQLite", spreadBy(floor, floorRows.rate).show(count),
		spreadBy(floor, func(r floorRows) float64 { return float64(r.P50) }).show(millis),
		spreadBy(floor, func(r floorRows) float64 { return float64(r.P99) }).show(millis), "", "",
		spreadBy(floor, func(r floorRows) float64 { return r.CPU.Seconds() }).show(seconds), floorCost.show(count), "1.00", "", "")
	return nil
}

func (r *pairRound) perCPU() float64 { return float64(r.acked) / r.cpu.Seconds() }

// pairRun sends at a rate, waits until the search finds the last message, and audits.
func (b *bench) pairRun(ctx context.Context, t *target, rooms []*room, load pairLoad) (*pairRound, error) {
	if err := t.crowd.connectAll(time.Minute); err != nil {
		return nil, err
	}
	o := offer{rooms: rooms, rate: load.rate, count: int(load.rate * load.length.Seconds()), word: fmt.Sprintf("quagga%dx%d", b.runs, time.Now().UnixNano()%1e6)}
	used := cpuTime(t.pid)
	out, book, err := b.run(ctx, t, o)
	if err != nil {
		return nil, err
	}
	if book.state[o.count-1] != acked {
		return nil, fmt.Errorf("the last message was not acknowledged; %d were refused (%s), %d are unanswered", out.refused, out.refusal, out.unanswered)
	}
	if out.refused > 0 || out.unanswered > 0 {
		return nil, fmt.Errorf("%d sends refused (%s), %d unanswered", out.refused, out.refusal, out.unanswered)
	}
	r := &pairRound{outcome: out, rate: float64(out.acked) / (out.wall + time.Duration(float64(time.Second)/load.rate)).Seconds()}
	reader := t.crowd.clients[rooms[(o.count-1)%len(rooms)].members[0]].account
	if r.indexed, err = waitIndexed(ctx, reader, o, book); err != nil {
		return nil, err
	}
	r.cpu = cpuTime(t.pid) - used
	return r, b.audit(ctx, t, o, book)
}

// waitIndexed asks the search for the last message's own word until it is found.
func waitIndexed(ctx context.Context, who *account, o offer, book *ledger) (time.Duration, error) {
	token, err := who.token(ctx)
	if err != nil {
		return 0, err
	}
	last := clientID(nil, book.run, o.count-1)
	for {
		found, err := who.api.raw(ctx, http.MethodGet, "/messages/search/query?q="+url.QueryEscape(o.word), token, nil)
		if err != nil {
			return 0, err
		}
		behind := time.Duration(now() - book.ackedAt)
		if bytes.Contains(found, last) {
			return max(behind, 0), nil
		}
		if behind > indexWithin {
			return 0, fmt.Errorf("search does not find the last message after %s", indexWithin)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
