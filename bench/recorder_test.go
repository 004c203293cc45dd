package main

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestQuantilesAreNeverTooLowAndAtMostOnePointSixPercentTooHigh(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	for _, scale := range []float64{100, 1e4, 1e6, 1e9, 1e11} {
		var r recorder
		values := make([]time.Duration, 5000)
		for i := range values {
			values[i] = time.Duration(random.ExpFloat64() * scale)
			r.add(values[i])
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.01, 0.5, 0.9, 0.99, 0.999, 1} {
			exact := values[max(int(q*5000+0.999999), 1)-1]
			if got := r.quantile(q); got < exact || float64(got) > float64(exact)*1.016 {
				t.Errorf("scale %g: quantile %g is %d, exactly it is %d", scale, q, got, exact)
			}
		}
		if r.max != values[4999] || r.n != 5000 {
			t.Errorf("scale %g: max %d of %d, want %d of 5000", scale, r.max, r.n, values[4999])
		}
	}
}

func TestRecorderTakesNothingAndEverything(t *testing.T) {
	var r recorder
	if got := r.quantile(0.99); got != 0 {
		t.Errorf("quantile of nothing is %d", got)
	}
	r.add(-1)
	r.add(1000 * time.Hour)
	if r.quantile(0) != 0 || r.max != 1000*time.Hour {
		t.Errorf("got %v and %v", r.quantile(0), r.max)
	}
	var sum recorder
	sum.merge(&r)
	sum.merge(&r)
	if sum.n != 4 || sum.max != r.max {
		t.Errorf("merged %d values up to %v", sum.n, sum.max)
	}
}
