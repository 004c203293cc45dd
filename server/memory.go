package server

import (
	"context"
	"log/slog"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a burst leaves behind (a thousand people reconnecting) is given back to the system once it is quiet, instead of
// in the minutes that the runtime takes: the server shares a small machine.
const (
	settleTime = time.Second // after the start, which leaves the most behind
	trimEvery  = 10 * time.Second
	trimAbove  = 8 << 20  // bytes that are held and not used
	quietRate  = 16 << 20 // bytes allocated between two looks: more is work, and is left alone
)

// trimMemory runs until ctx ends.
func trimMemory(ctx context.Context, log *slog.Logger) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(settleTime):
	}
	debug.FreeOSMemory()
	if err := forgetImage(); err != nil {
		log.Debug("give back the pages of the program", "error", err)
	}
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	sample := []metrics.Sample{
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/heap/allocs:bytes"},
	}
	var before uint64
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		free, objects, live, allocated := sample[0].Value.Uint64(), sample[1].Value.Uint64(), sample[2].Value.Uint64(), sample[3].Value.Uint64()
		quiet := allocated-before < quietRate
		before = allocated
		if quiet && free+objects-min(objects, live) > trimAbove {
			debug.FreeOSMemory()
		}
	}
}
