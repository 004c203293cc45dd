package main

import (
	"context"
	"fmt"
	"os"
	"time"
)

// atRest is how long an empty server stands before its memory is read.
const atRest = 3 * time.Second

// idle is scenario C: an empty server, then one with sockets that do nothing.
func (b *bench) idle(ctx context.Context) error {
	if err := b.empty(ctx); err != nil {
		return fmt.Errorf("empty server: %w", err)
	}
	return b.idleCrowd(ctx)
}

// empty starts servers on new directories.
func (b *bench) empty(ctx context.Context) error {
	var ready, rss, peak []float64
	for range b.emptyStarts {
		dir, err := os.MkdirTemp(b.tmp, "empty-")
		if err != nil {
			return err
		}
		p, err := b.serve(ctx, dir)
		if err != nil {
			return err
		}
		ready = append(ready, float64(p.ready))
		select {
		case <-time.After(atRest):
		case <-ctx.Done():
			return ctx.Err()
		}
		rss, peak = append(rss, float64(memory(p.pid(), "VmRSS"))), append(peak, float64(memory(p.pid(), "VmHWM")))
		p.stop()
	}
	bytes := func(v float64) string { return mib(int64(v)) }
	t := b.report.table("C. An empty server", "starts", "time to ready", "RSS at rest", "peak RSS")
	t.note = fmt.Sprintf("On a new directory, from exec to the first 200 of /health/ready, asked every millisecond; RSS %s later. Medians (and extremes).", atRest)
	t.add(fmt.Sprint(b.emptyStarts), spreadOf(ready...).show(millis), spreadOf(rss...).show(bytes), spreadOf(peak...).show(bytes))
	b.report.goal("ready on an empty directory", "under 100 ms", millis(spreadOf(ready...).median), spreadOf(ready...).median < 100e6)
	b.report.goal("RSS at rest", "at most 40 MiB", bytes(spreadOf(rss...).median), spreadOf(rss...).median <= 40<<20)
	return nil
}

// idleCrowd opens more and more sockets on a server of its own, whose people share no conversation, so that nobody is
// told of anybody. In the end a group of some of them hears messages: the sockets were alive.
func (b *bench) idleCrowd(ctx context.Context) error {
	p, accounts, err := b.rested(ctx, b.idlePeople)
	if err != nil {
		return err
	}
	defer func() { p.stop() }()

	t := b.report.table("C. Idle sockets", "sockets", "RSS", "RSS per socket", "peak RSS", "peak per socket", "CPU s to connect", "CPU s while idle")
	base := memory(p.pid(), "VmRSS")
	t.add("0", mib(base), "", mib(memory(p.pid(), "VmHWM")), "", "", "")
	crowd := newCrowd(ctx, b.loop, p.to, nil)
	defer crowd.close()
	limit := len(b.loop.table) - 200
	for i, n := range b.idleSockets {
		if n > limit {
			t.note = fmt.Sprintf("Only %d sockets: the limit of open files. ", limit)
			n = limit
		}
		resetPeak(p.pid())
		used := cpuTime(p.pid())
		for j := len(crowd.clients); j < n; j++ {
			crowd.clients = append(crowd.clients, &client{crowd: crowd, member: j, account: accounts[j%len(accounts)]})
		}
		if err := crowd.connectAll(2 * time.Minute); err != nil {
			return err
		}
		connecting := cpuTime(p.pid()) - used
		used = cpuTime(p.pid())
		select {
		case <-time.After(b.idleSettle[i]):
		case <-ctx.Done():
			return ctx.Err()
		}
		idling := cpuTime(p.pid()) - used
		if crowd.live() < n || crowd.drops.Load() > 0 {
			return fmt.Errorf("of %d idle sockets %d were dropped: %w", n, crowd.drops.Load(), crowd.err())
		}
		rss, peak := memory(p.pid(), "VmRSS"), memory(p.pid(), "VmHWM")
		kib := func(bytes int64) float64 { return float64(bytes-base) / float64(n) / 1024 }
		t.add(count(float64(n)), mib(rss), fmt.Sprintf("%.1f KiB", kib(rss)), mib(peak), fmt.Sprintf("%.1f KiB", kib(peak)),
			seconds(connecting.Seconds()), fmt.Sprintf("%.2f s in %s", idling.Seconds(), b.idleSettle[i]))
		b.say("%d idle sockets: %.1f KiB each", n, kib(rss))
		if i == len(b.idleSockets)-1 {
			b.report.goal(fmt.Sprintf("RSS per idle socket at %s", count(float64(n))), "at most 12 KiB", fmt.Sprintf("%.1f KiB", kib(rss)), kib(rss) <= 12)
		}
	}
	t.note += fmt.Sprintf("%d accounts, several sockets each, all alive at the end; RSS above that of the same server without sockets, garbage included.", len(accounts))
	return b.proveAlive(ctx, &target{name: "QuckChat", pid: p.pid(), crowd: crowd, acks: true}, accounts)
}

// rested starts a server of its own for a scenario, with so many accounts on it, and lets it come to rest.
func (b *bench) rested(ctx context.Context, people int) (*process, []*account, error) {
	dir, err := os.MkdirTemp(b.tmp, "own-")
	if err != nil {
		return nil, nil, err
	}
	p, err := b.serve(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	accounts, err := register(ctx, newAPI(p), people)
	p.stop() // hashing passwords took memory
	if err != nil {
		return nil, nil, err
	}
	if p, err = b.serve(ctx, dir); err != nil {
		return nil, nil, err
	}
	a := newAPI(p)
	for _, k := range accounts {
		k.api = a
	}
	time.Sleep(atRest)
	return p, accounts, nil
}

// proveAlive sends messages to a group of a tenth of the people and audits that every socket of theirs heard each once.
func (b *bench) proveAlive(ctx context.Context, t *target, accounts []*account) error {
	r, err := group(ctx, accounts[:max(len(accounts)/10, 2)], 4)
	if err != nil {
		return err
	}
	if err := t.crowd.waitQuiet(10 * time.Second); err != nil {
		return err
	}
	people := len(r.members)
	r.members = nil
	for i := range t.crowd.clients {
		if i%len(accounts) < people {
			r.members = append(r.members, i)
		}
	}
	o := offer{rooms: []*room{r}, rate: 20, count: 20}
	_, book, err := b.run(ctx, t, o)
	if err != nil {
		return err
	}
	return b.audit(ctx, t, o, book)
}
