package outbound

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// HostState is a place that has failed lately, for health and the console.
type HostState struct {
	Place    string    // host:port
	Failures int       // in a row
	Open     bool      // it is left alone
	Until    time.Time // when Open: the next request after it is a trial
}

// State lists the places whose last request failed, by name. What is not listed works, or has not been asked.
func (c *Client) State() []HostState { return c.breaker.state() }

// breaker leaves places alone that fail: an integration that is down costs nobody its timeout. Its memory is bounded, for
// anybody may name hosts.
type breaker struct {
	after int
	pause time.Duration

	mu     sync.Mutex
	places map[string]*record
}

const maxPlaces = 1000

// record is of a place with at least one failure.
type record struct {
	failures int
	last     time.Time // of a failure, or of the beginning of the trial after a pause
}

// enter asks whether a place may be asked now: after a pause one request may, the others wait for the next, unless it
// has succeeded. Errors: errOpen.
func (b *breaker) enter(place string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.places[place]; r != nil && r.failures >= b.after {
		if time.Since(r.last) < b.pause {
			return errOpen
		}
		r.last = time.Now()
	}
	return nil
}

func (b *breaker) succeeded(place string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.places, place)
}

func (b *breaker) failed(place string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.count(place)
}

// count runs under mu.
func (b *breaker) count(place string) {
	r := b.places[place]
	if r == nil {
		if b.places == nil {
			b.places = map[string]*record{}
		}
		if len(b.places) >= maxPlaces {
			b.forget()
		}
		r = &record{}
		b.places[place] = r
	}
	r.failures++
	r.last = time.Now()
}

// forget makes room, by the half that failed longest ago.
func (b *breaker) forget() {
	times := make([]time.Time, 0, len(b.places))
	for _, r := range b.places {
		times = append(times, r.last)
	}
	slices.SortFunc(times, time.Time.Compare)
	middle := times[len(times)/2]
	for place, r := range b.places {
		if !r.last.After(middle) {
			delete(b.places, place)
		}
	}
}

func (b *breaker) state() (list []HostState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for place, r := range b.places {
		s := HostState{Place: place, Failures: r.failures, Open: r.failures >= b.after}
		if s.Open {
			s.Until = r.last.Add(b.pause)
		}
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y HostState) int { return cmp.Compare(x.Place, y.Place) })
	return list
}
