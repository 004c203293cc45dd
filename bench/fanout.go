package main

import (
	"context"
	"fmt"
	"time"
)

const (
	fanoutSenders = 16  // so that the serial commits of one connection are no limit
	fanoutFrame   = 600 // bytes of a message:new, when there is no server to look at
	growth        = 1.25
)

// contender is a target of the fan-out with its room and what it has achieved.
type contender struct {
	*target
	process *process
	room    *room
	rounds  []*outcome
}

// fanout is scenario A: one room whose members all hear each message, ours and the bare hub in turn.
func (b *bench) fanout(ctx context.Context) error {
	if !b.floorOnly {
		if err := b.restart(ctx, b.people); err != nil {
			return err
		}
	}
	fixed := b.report.table("A. Fan-out at a fixed rate", "receivers", "offered/s", "server", "delivered/s", "CPU s", "deliveries per CPU-s", "ratio",
		"p50", "p99", "max", "ack p99", "peak RSS")
	fixed.note = fmt.Sprintf("Each row %s, %d times in turn with the other server: medians (and extremes).", b.fixedFor, b.rounds)
	rising := b.report.table("A. Fan-out at rising rates: the greatest loss-free one", "receivers", "server", "deliveries/s", "ratio", "CPU s",
		"deliveries per CPU-s", "p50", "p99", "peak RSS", "the next step")
	rising.note = fmt.Sprintf("Steps of %s, each 1.25 times the last, a failed one tried twice. Loss-free: everything acknowledged and delivered live within %s of the end, "+
		"nobody dropped, at least 98 %% of the offered rate kept up, p99 at most 1 s.", b.stepFor, grace)
	for _, n := range b.receivers {
		if err := b.fanoutTo(ctx, n, fixed, rising); err != nil {
			return fmt.Errorf("%d receivers: %w", n, err)
		}
	}
	return nil
}

func (b *bench) fanoutTo(ctx context.Context, n int, fixed, rising *table) error {
	var contenders []*contender
	size := fanoutFrame
	if !b.floorOnly {
		r, err := group(ctx, b.accounts[:n], fanoutSenders)
		if err != nil {
			return err
		}
		ours := &contender{process: b.server, room: r, target: &target{
			name: "QuckChat", pid: b.server.pid(), acks: true, crowd: newCrowd(ctx, b.loop, b.server.to, b.accounts[:n]),
		}}
		defer ours.crowd.close()
		if err := b.warmUp(ctx, ours); err != nil {
			return err
		}
		size = int(ours.crowd.frameSize.Load())
		contenders = append(contenders, ours)
	}
	p, err := b.startFloorHub(ctx, size)
	if err != nil {
		return err
	}
	defer p.stop()
	hub := &contender{process: p, room: &room{id: "000000000000000000000000"}, target: &target{name: "bare hub", pid: p.pid()}}
	hub.crowd = newCrowd(ctx, b.loop, p.to, make([]*account, n))
	hub.crowd.resumes = false
	defer hub.crowd.close()
	for i := range n {
		hub.room.members = append(hub.room.members, i)
	}
	hub.room.senders = hub.room.members[:min(fanoutSenders, n)]
	if err := b.warmUp(ctx, hub); err != nil {
		return err
	}
	contenders = append(contenders, hub)

	for _, rate := range b.fixed[n] {
		for _, c := range contenders {
			c.rounds = nil
			resetPeak(c.pid)
		}
		for range b.rounds {
			for _, c := range contenders {
				out, err := b.fan(ctx, c, rate, b.fixedFor)
				if err != nil {
					return err
				}
				if out.refused > 0 || out.unanswered > 0 {
					return fmt.Errorf("%s at %s/s: %d sends refused (%s), %d unanswered", c.name, count(rate), out.refused, out.refusal, out.unanswered)
				}
				c.rounds = append(c.rounds, out)
			}
		}
		floor := spreadBy(hub.rounds, perCPU).median
		for _, c := range contenders {
			b.fixedRow(fixed, n, rate, c, floor)
		}
	}

	floor := 0.0
	for i := len(contenders) - 1; i >= 0; i-- {
		c := contenders[i]
		resetPeak(c.pid)
		best, why, err := b.rise(ctx, c)
		if err != nil {
			return err
		}
		if c == hub {
			floor = best.achieved
		} else {
			b.report.goal(fmt.Sprintf("loss-free rate to %d receivers", n), "at least 2 times the bare hub's", fmt.Sprintf("%.2f times", best.achieved/floor), best.achieved >= 2*floor)
		}
		rising.add(fmt.Sprint(n), c.name, count(best.achieved), fmt.Sprintf("%.2f", best.achieved/floor), seconds(best.cpu.Seconds()), count(perCPU(best)),
			ms(best.delivery.quantile(0.5)), ms(best.delivery.quantile(0.99)), mib(memory(c.pid, "VmHWM")), why)
	}
	return nil
}

func (b *bench) warmUp(ctx context.Context, c *contender) error {
	if err := c.crowd.connectAll(2 * time.Minute); err != nil {
		return fmt.Errorf("%s: %w", c.name, err)
	}
	_, err := b.fan(ctx, c, float64(50*len(c.room.members)), min(b.stepFor, 2*time.Second))
	return err
}

// fan offers the room a rate in deliveries a second for some time, and audits.
func (b *bench) fan(ctx context.Context, c *contender, rate float64, length time.Duration) (*outcome, error) {
	if err := c.crowd.connectAll(time.Minute); err != nil { // whoever was dropped in the last run
		return nil, err
	}
	messages := rate / float64(len(c.room.members))
	o := offer{rooms: []*room{c.room}, rate: messages, count: max(int(messages*length.Seconds()), 1)}
	out, book, err := b.run(ctx, c.target, o)
	if err != nil {
		return nil, err
	}
	if c.acks {
		if err := b.audit(ctx, c.target, o, book); err != nil {
			return nil, err
		}
	}
	b.say("%d receivers, %s at %s/s: %s delivered/s, %s per CPU-s, p50 %s, p99 %s, %d dropped (sent late by p99 %s)", len(c.room.members), c.name, count(rate),
		count(out.achieved), count(perCPU(out)), ms(out.delivery.quantile(0.5)), ms(out.delivery.quantile(0.99)), out.drops, ms(out.late))
	return out, nil
}

// rise finds the greatest loss-free rate, and says what is wrong with the next.
func (b *bench) rise(ctx context.Context, c *contender) (best *outcome, why string, err error) {
	rate, failures := b.firstRate, 0
	for range b.steps {
		out, err := b.fan(ctx, c, rate, b.stepFor)
		if err != nil {
			return nil, "", err
		}
		switch {
		case out.lossFree():
			best, why, failures = out, "not tried", 0
			rate *= growth
		case best == nil: // began too high
			best, why = nil, out.why()
			if rate /= 2; rate < 1000 {
				return nil, "", fmt.Errorf("%s is not loss-free at any rate: %s", c.name, why)
			}
		default:
			why = fmt.Sprintf("%s/s: %s", count(rate), out.why())
			if failures++; failures == 2 {
				return best, why, nil
			}
		}
	}
	if best == nil {
		return nil, "", fmt.Errorf("%s is not loss-free at any rate tried: %s", c.name, why)
	}
	return best, why, nil
}

func perCPU(o *outcome) float64 { return float64(o.deliveries) / o.cpu.Seconds() }

func (b *bench) fixedRow(t *table, n int, rate float64, c *contender, floor float64) {
	quantile := func(q float64) spread {
		return spreadBy(c.rounds, func(o *outcome) float64 { return float64(o.delivery.quantile(q)) })
	}
	cost, p50, p99 := spreadBy(c.rounds, perCPU), quantile(0.5), quantile(0.99)
	acks := "none"
	if c.acks {
		acks = spreadBy(c.rounds, func(o *outcome) float64 { return float64(o.ack.quantile(0.99)) }).show(millis)
		if n == 100 {
			what := fmt.Sprintf("fan-out to %d at %s/s: ", n, count(rate))
			b.report.goal(what+"deliveries per CPU-second", "at least 0.70 of the bare hub's", fmt.Sprintf("%.2f", cost.median/floor), cost.median >= 0.7*floor)
			b.report.goal(what+"p50, p99", "at most 2 ms, 5 ms", millis(p50.median)+", "+millis(p99.median), p50.median <= 2e6 && p99.median <= 5e6)
		}
	}
	t.add(fmt.Sprint(n), count(rate), c.name, spreadBy(c.rounds, func(o *outcome) float64 { return o.achieved }).show(count),
		spreadBy(c.rounds, func(o *outcome) float64 { return o.cpu.Seconds() }).show(seconds), cost.show(count), fmt.Sprintf("%.2f", cost.median/floor),
		p50.show(millis), p99.show(millis), quantile(1).show(millis), acks, mib(memory(c.pid, "VmHWM")))
}
