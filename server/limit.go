package server

import (
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// limiter counts calls by tier: windows of seconds in memory, longer ones in the cache, where they survive a restart.
type limiter struct {
	cache *storage.Cache
	log   *slog.Logger

	mu      sync.Mutex
	windows map[string]*window
	buckets map[string]*bucket
	swept   time.Time
}

// window is a count that starts anew at its end.
type window struct {
	count int
	ends  time.Time
}

// bucket is the allowance of one address for all its requests together.
type bucket struct {
	*rate.Limiter
	used time.Time
}

// The allowance of one address: enough for a family that starts its clients at once.
const (
	addressRate  = 50
	addressBurst = 200
	sweepEvery   = time.Minute
)

func newLimiter(cache *storage.Cache, log *slog.Logger) *limiter {
	return &limiter{cache: cache, log: log, windows: map[string]*window{}, buckets: map[string]*bucket{}, swept: time.Now()}
}

// Allow counts one call in its tier.
func (l *limiter) Allow(tier api.Tier, by api.Caller) (api.Usage, bool) {
	who := by.UserID
	if tier.ByIP || who == "" {
		who = by.IP
	}
	if by.Local != "" {
		return api.Usage{Limit: tier.Limit, Remaining: tier.Limit}, true
	}
	key := "limit:" + tier.Name + ":" + who
	var count int
	var left time.Duration
	if tier.Window < time.Minute {
		count, left = l.count(key, tier.Window)
	} else {
		n, rest, err := l.cache.Count(key, tier.Window)
		if err != nil { // a cache that fails must not lock people out
			l.log.Warn("count calls", "error", err)
			return api.Usage{Limit: tier.Limit, Remaining: tier.Limit}, true
		}
		count, left = int(n), rest
	}
	return api.Usage{Limit: tier.Limit, Remaining: max(0, tier.Limit-count), Reset: left}, count <= tier.Limit
}

func (l *limiter) count(key string, length time.Duration) (int, time.Duration) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweep(now)
	w := l.windows[key]
	if w == nil || !w.ends.After(now) {
		w = &window{ends: now.Add(length)}
		l.windows[key] = w
	}
	w.count++
	return w.count, w.ends.Sub(now)
}

// strikes are failed Socket.IO handshakes: an address with more waits for the end of the window.
var strikes = api.Tier{Name: "strikes", Limit: 50, Window: 10 * time.Second, ByIP: true}

// strike counts a failed handshake.
func (l *limiter) strike(by api.Caller) { l.count(strikes.Name+":"+by.IP, strikes.Window) }

// barred returns how long an address with too many failed handshakes has to wait.
func (l *limiter) barred(by api.Caller) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := l.windows[strikes.Name+":"+by.IP]; w != nil && w.count >= strikes.Limit {
		return time.Until(w.ends)
	}
	return 0
}

// address reports whether an address may make one more request now.
func (l *limiter) address(ip string) bool {
	now := time.Now()
	l.mu.Lock()
	l.sweep(now)
	b := l.buckets[ip]
	if b == nil {
		b = &bucket{Limiter: rate.NewLimiter(addressRate, addressBurst)}
		l.buckets[ip] = b
	}
	b.used = now
	l.mu.Unlock()
	return b.Allow()
}

// sweep forgets what has run out; the caller holds mu.
func (l *limiter) sweep(now time.Time) {
	if now.Sub(l.swept) < sweepEvery {
		return
	}
	l.swept = now
	for k, w := range l.windows {
		if !w.ends.After(now) {
			delete(l.windows, k)
		}
	}
	for k, b := range l.buckets {
		if now.Sub(b.used) > sweepEvery {
			delete(l.buckets, k)
		}
	}
}
