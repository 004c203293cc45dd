package main

import (
	"math/bits"
	"time"
)

// Buckets of a recorder: exact up to subBuckets nanoseconds, then subBuckets/2 for each doubling.
const (
	subBits    = 7
	subBuckets = 1 << subBits
	buckets    = subBuckets + (41-subBits)*subBuckets/2
)

// recorder keeps the distribution of any number of durations in 18 KiB. A quantile is the upper end of its bucket: at
// most 1.6 % too high, never too low. Durations above 18 minutes count as the longest. It is not safe for concurrent use.
type recorder struct {
	counts [buckets]uint64
	n      uint64
	max    time.Duration
}

func (r *recorder) add(d time.Duration) {
	d = max(d, 0)
	r.counts[bucket(d)]++
	r.n++
	r.max = max(r.max, d)
}

func bucket(d time.Duration) int {
	v := uint64(d)
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits
	return min(shift*subBuckets/2+int(v>>shift), buckets-1)
}

// merge adds what another recorder holds.
func (r *recorder) merge(other *recorder) {
	for i, c := range other.counts {
		r.counts[i] += c
	}
	r.n += other.n
	r.max = max(r.max, other.max)
}

// quantile is the duration that the fraction q of the recorded ones does not exceed, 0 when nothing was recorded.
func (r *recorder) quantile(q float64) time.Duration {
	if r.n == 0 {
		return 0
	}
	rank := max(uint64(q*float64(r.n)+0.999999), 1)
	for i, c := range r.counts {
		if c >= rank {
			return min(upper(i), r.max)
		}
		rank -= c
	}
	return r.max
}

func upper(i int) time.Duration {
	if i < subBuckets {
		return time.Duration(i)
	}
	shift := i/(subBuckets/2) - 1
	return time.Duration((uint64(i-shift*subBuckets/2)+1)<<shift - 1)
}
