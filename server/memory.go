package server

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a burst leaves behind (a thousand people reconnecting) is given back to the system soon, instead of in the
// minutes that the runtime takes: the server shares a small machine.
const (
	trimEvery = 10 * time.Second
	trimAbove = 8 << 20 // bytes that are held and not used
)

// trimMemory runs until ctx ends.
func trimMemory(ctx context.Context) {
	tick := time.NewTicker(trimEvery)
	defer tick.Stop()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		metrics.Read(sample)
		idle, used := sample[0].Value.Uint64(), sample[1].Value.Uint64()
		if idle > trimAbove && idle > used/4 {
			debug.FreeOSMemory()
		}
	}
}
