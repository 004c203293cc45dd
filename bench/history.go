package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"
)

const (
	seedSenders  = 16
	seedInFlight = 128
	readers      = 4
	pageSize     = 50
)

// history is scenario D: the latest page of a small and of a large room, and of the large one while somebody writes.
func (b *bench) history(ctx context.Context) error {
	if err := b.restart(ctx, b.people); err != nil {
		return err
	}
	t := b.report.table("D. History: the latest 50 messages", "messages in the room", "load", "pages/s", "CPU s", "pages per CPU-s", "p50", "p99", "max", "peak RSS")
	t.note = fmt.Sprintf("%d readers, each asking again as soon as it was answered, for %s, over HTTP without compression; every page holds %d messages in order, "+
		"and the newest one acknowledged before it was asked for. All rooms are in one database, read in turn once the server is at rest.", readers, b.readFor, pageSize)
	sizes := b.roomSizes
	if b.million {
		sizes = append(sizes[:len(sizes):len(sizes)], 1_000_000)
	}
	rooms := make([]*room, len(sizes))
	var crowd *crowd
	for i, size := range sizes {
		var err error
		if crowd, rooms[i], err = b.seed(ctx, size); err != nil {
			return fmt.Errorf("fill a room with %d messages: %w", size, err)
		}
		crowd.close()
	}
	crowd, err := b.restartFull(ctx, crowd)
	if err != nil {
		return err
	}
	defer crowd.close()
	if err := b.calm(ctx); err != nil {
		return err
	}
	costs := make([][]float64, len(sizes))
	for range b.rounds {
		for i, size := range sizes {
			cost, err := b.readWhile(ctx, t, crowd, rooms[i], size, 0)
			if err != nil {
				return err
			}
			costs[i] = append(costs[i], cost)
		}
	}
	for i, size := range sizes {
		if _, err := b.readWhile(ctx, t, crowd, rooms[i], size, b.writeRate); err != nil {
			return err
		}
	}
	self := func(cost float64) float64 { return cost }
	first, last := spreadBy(costs[0], self).median, spreadBy(costs[len(costs)-1], self).median
	what := fmt.Sprintf("history of %s messages", count(float64(sizes[len(sizes)-1])))
	b.report.goal(what, "at least 1,500 pages per CPU-second", count(last), last >= 1500)
	b.report.goal(what+", cost against "+count(float64(sizes[0])), "the same (at most 1.15 times)", fmt.Sprintf("%.2f times", first/last), first/last <= 1.15)
	return nil
}

// calm waits until the server has done what filling it has left: the index of a million messages goes on being put
// together for a while, and is not what reading a page costs.
func (b *bench) calm(ctx context.Context) error {
	const look, most = 2 * time.Second, 3 * time.Minute
	for start := time.Now(); time.Since(start) < most; {
		used := cpuTime(b.server.pid())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(look):
		}
		if cpuTime(b.server.pid())-used < look/50 {
			return nil
		}
	}
	return fmt.Errorf("the server is still busy %s after it was filled", most)
}

// seed fills a new room from several sockets with as many messages in flight as a group commit likes.
func (b *bench) seed(ctx context.Context, size int) (c *crowd, r *room, err error) {
	people := b.accounts[:seedSenders]
	if r, err = group(ctx, people, seedSenders); err != nil {
		return nil, nil, err
	}
	c = newCrowd(ctx, b.loop, b.server.to, people)
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if err := c.connectAll(time.Minute); err != nil {
		return c, nil, err
	}
	ours := &target{name: "QuckChat", pid: b.server.pid(), crowd: c, acks: true}
	const part = 100_000 // of a ledger
	for done := 0; done < size; done += part {
		o := offer{rooms: []*room{r}, count: min(part, size-done), window: seedInFlight}
		out, book, err := b.run(ctx, ours, o)
		if err != nil {
			return c, nil, err
		}
		if out.refused > 0 || out.unanswered > 0 {
			return c, nil, fmt.Errorf("%d sends refused (%s), %d unanswered", out.refused, out.refusal, out.unanswered)
		}
		if err := b.audit(ctx, ours, o, book); err != nil {
			return c, nil, err
		}
		b.say("filled with %s messages, %s/s", count(float64(done+o.count)), count(float64(out.acked)/out.wall.Seconds()))
	}
	return c, r, nil
}

// restartFull starts the server again on what it holds, and notes how long that took when that is a million messages.
func (b *bench) restartFull(ctx context.Context, old *crowd) (*crowd, error) {
	if err := b.restart(ctx, b.people); err != nil {
		return nil, err
	}
	if b.million {
		full := b.report.table("D. Start with a million messages", "time to ready", "RSS")
		full.add(ms(b.server.ready), mib(memory(b.server.pid(), "VmRSS")))
		b.report.goal("ready with a million messages", "under 1 s", ms(b.server.ready), b.server.ready < time.Second)
	}
	crowd := newCrowd(ctx, b.loop, b.server.to, b.accounts[:len(old.clients)])
	return crowd, crowd.connectAll(time.Minute)
}

// readWhile reads the latest page over and over while rate messages a second are written, and returns pages per CPU-second.
func (b *bench) readWhile(ctx context.Context, t *table, crowd *crowd, r *room, size int, rate float64) (float64, error) {
	pid := b.server.pid()
	resetPeak(pid)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu      sync.Mutex
		latency recorder
		wg      sync.WaitGroup
		failed  error
	)
	start := time.Now()
	end, used := start.Add(b.readFor), cpuTime(pid)
	for i := range readers {
		wg.Go(func() {
			var mine recorder
			var err error
			for err == nil && time.Now().Before(end) {
				asked := now()
				if err = readPage(ctx, crowd, i, r); err == nil {
					mine.add(time.Duration(now() - asked))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			latency.merge(&mine)
			if err != nil && failed == nil {
				failed = err
				cancel()
			}
		})
	}
	load := fmt.Sprintf("%d readers", readers)
	var book *ledger
	var o offer
	ours := &target{name: "QuckChat", pid: pid, crowd: crowd, acks: true}
	if rate > 0 {
		load += fmt.Sprintf(" and a writer at %s/s", count(rate))
		o = offer{rooms: []*room{r}, rate: rate, count: int(rate * b.readFor.Seconds())}
		var err error
		if _, book, err = b.run(ctx, ours, o); err != nil && failed == nil {
			failed = err
		}
	}
	wg.Wait()
	wall, cpu := time.Since(start), cpuTime(pid)-used
	if failed != nil {
		return 0, failed
	}
	if book != nil {
		if book.ack.quantile(0.99) > 0 {
			load += fmt.Sprintf(" (ack p99 %s)", ms(book.ack.quantile(0.99)))
		}
		if err := b.audit(ctx, ours, o, book); err != nil {
			return 0, err
		}
	}
	cost := float64(latency.n) / cpu.Seconds()
	t.add(count(float64(size)), load, count(float64(latency.n)/wall.Seconds()), seconds(cpu.Seconds()), count(cost), ms(latency.quantile(0.5)),
		ms(latency.quantile(0.99)), ms(latency.max), mib(memory(pid, "VmHWM")))
	b.say("%d messages, %s: %s pages per CPU-s", size, load, count(cost))
	return cost, nil
}

// readPage reads the latest messages and checks that the page is whole, in order, and not older than what the reader
// had heard of before it asked.
func readPage(ctx context.Context, c *crowd, reader int, r *room) error {
	who, heard := c.clients[reader].account, r.seenN
	if book := c.book.Load(); book != nil {
		heard = max(heard, book.newestAcked())
	}
	token, err := who.token(ctx)
	if err != nil {
		return err
	}
	body, err := who.api.raw(ctx, http.MethodGet, fmt.Sprintf("/messages/conversation/%s?limit=%d", r.id, pageSize), token, nil)
	if err != nil {
		return err
	}
	n, last := 0, int64(-1)
	for rest := body; ; n++ {
		i := bytes.Index(rest, keyN)
		if i < 0 {
			break
		}
		var at int64
		at, rest = number(rest[i+len(keyN):])
		if n == 0 && at < heard {
			return fmt.Errorf("a page of history ends at number %d after number %d was acknowledged", at, heard)
		}
		if n > 0 && at != last-1 {
			return fmt.Errorf("a page of history has number %d after %d", at, last)
		}
		last = at
	}
	if n != pageSize {
		return fmt.Errorf("a page of history has %d messages, %d are due", n, pageSize)
	}
	return nil
}
