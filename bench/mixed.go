package main

import (
	"context"
	"fmt"
)

// mixedMost is what a room may cost, half of whose members speak Socket.IO, beside one where all speak natively.
const mixedMost = 1.3

// mixed is scenario F: the same room heard by native sockets alone, and half by Socket.IO, in turn on the same server.
func (b *bench) mixed(ctx context.Context) error {
	if err := b.restart(ctx, b.people); err != nil {
		return err
	}
	t := b.report.table("F. One room, natively and half of it by Socket.IO", "receivers", "offered/s", "sockets", "delivered/s", "CPU s", "deliveries per CPU-s",
		"cost", "p50", "p99", "ack p99")
	t.note = fmt.Sprintf("Each row %s, %d times in turn with the other: medians (and extremes). Senders are of both kinds.", b.fixedFor, b.rounds)
	n := b.receivers[0]
	r, err := group(ctx, b.accounts[:n], fanoutSenders)
	if err != nil {
		return err
	}
	var contenders []*contender
	for _, name := range []string{"native", "half Socket.IO"} {
		c := &contender{process: b.server, room: r, target: &target{
			name: name, pid: b.server.pid(), acks: true, crowd: newCrowd(ctx, b.loop, b.server.to, b.accounts[:n]),
		}}
		defer c.crowd.close()
		for i, k := range c.crowd.clients {
			k.socketIO = name != "native" && i%2 == 1
		}
		contenders = append(contenders, c)
	}
	for _, rate := range b.fixed[n] {
		for _, c := range contenders {
			c.rounds = nil
		}
		for range b.rounds {
			for _, c := range contenders {
				out, err := b.fan(ctx, c, rate, b.fixedFor)
				if err != nil {
					return err
				}
				c.crowd.disconnectAll() // the other one's sockets alone are heard
				if out.refused > 0 || out.unanswered > 0 || !out.settled {
					return fmt.Errorf("%s at %s/s: %d sends refused (%s), %d unanswered, all delivered: %v", c.name, count(rate), out.refused, out.refusal, out.unanswered, out.settled)
				}
				c.rounds = append(c.rounds, out)
			}
		}
		native := spreadBy(contenders[0].rounds, perCPU).median
		for _, c := range contenders {
			quantile := func(q float64) string {
				return spreadBy(c.rounds, func(o *outcome) float64 { return float64(o.delivery.quantile(q)) }).show(millis)
			}
			cost := spreadBy(c.rounds, perCPU)
			if c != contenders[0] {
				b.report.goal(fmt.Sprintf("a room half of Socket.IO at %s/s: CPU", count(rate)), fmt.Sprintf("at most %.1f times a native one's", mixedMost),
					fmt.Sprintf("%.2f times", native/cost.median), native/cost.median <= mixedMost)
			}
			t.add(fmt.Sprint(n), count(rate), c.name, spreadBy(c.rounds, func(o *outcome) float64 { return o.achieved }).show(count),
				spreadBy(c.rounds, func(o *outcome) float64 { return o.cpu.Seconds() }).show(seconds), cost.show(count), fmt.Sprintf("%.2f", native/cost.median),
				quantile(0.5), quantile(0.99), spreadBy(c.rounds, func(o *outcome) float64 { return float64(o.ack.quantile(0.99)) }).show(millis))
		}
	}
	return nil
}
