package sfu

import (
	"runtime"
	"slices"
	"sync"
	"time"
)

// Limits keep a call bearable for those who are in it. A field that is 0 takes its default.
type Limits struct {
	Peers        int     // in a room; 32
	Tracks       int     // that one peer publishes; 4: microphone, camera, screen and its sound
	AudioBitrate int64   // bit/s of a published audio track, all that is above is dropped; 256,000
	VideoBitrate int64   // bit/s of a published video track, all layers together; 5,000,000
	Packets      int64   // forwarded a second by the whole server; 20,000 for each core
	Uplink       int64   // bit/s sent by the whole server; 0 is unlimited
	CPU          float64 // cores that this process may use before nobody new is admitted; 0.9 of all
}

func (l *Limits) defaults() {
	set(&l.Peers, 32)
	set(&l.Tracks, 4)
	set(&l.AudioBitrate, 256_000)
	set(&l.VideoBitrate, 5_000_000)
	set(&l.Packets, int64(runtime.GOMAXPROCS(0))*20_000)
	set(&l.CPU, float64(runtime.GOMAXPROCS(0))*0.9)
}

func set[T int | int64 | float64](value *T, to T) {
	if *value == 0 {
		*value = to
	}
}

// What a track is thought to cost each of its subscribers before it is measured.
const (
	audioPackets, audioBits = 50, 48_000
	videoPackets, videoBits = 100, 900_000
	promised                = 10 * time.Second // until those who were admitted show in the measurement
)

// load is what the server forwards, measured once a second, with what it has promised lately.
type load struct {
	limits Limits
	out    meter

	mu       sync.Mutex
	cpu      float64 // cores
	cpuTime  time.Duration
	at       time.Time
	promises []promise
}

type promise struct {
	to            *string // who was admitted; their name
	until         time.Time
	packets, bits float64
}

// measure is called about once a second by one goroutine.
func (l *load) measure(now time.Time, cpuTime time.Duration) {
	l.out.roll(now)
	l.mu.Lock()
	defer l.mu.Unlock()
	if took := now.Sub(l.at); !l.at.IsZero() && took > 0 {
		l.cpu = l.cpu/2 + (cpuTime-l.cpuTime).Seconds()/took.Seconds()/2
	}
	l.at, l.cpuTime = now, cpuTime
	kept := l.promises[:0]
	for _, p := range l.promises {
		if p.until.After(now) {
			kept = append(kept, p)
		}
	}
	l.promises = kept
}

// release takes back what was promised to somebody who has gone.
func (l *load) release(to *string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.promises = slices.DeleteFunc(l.promises, func(p promise) bool { return p.to == to })
}

// admit promises somebody the capacity for so many subscriptions, or says why not.
func (l *load) admit(to *string, now time.Time, audio, video int) error {
	packets := float64(audio*audioPackets + video*videoPackets)
	bits := float64(audio*audioBits + video*videoBits)
	if packets == 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	usedPackets, usedBits := float64(l.out.pps.Load()), float64(l.out.bits.Load())
	for _, p := range l.promises {
		usedPackets += p.packets
		usedBits += p.bits
	}
	switch limit := float64(l.limits.Packets); {
	case usedPackets+packets > limit:
		return &CapacityError{What: "packets", Used: usedPackets, Need: packets, Limit: limit}
	case l.limits.Uplink > 0 && usedBits+bits > float64(l.limits.Uplink):
		return &CapacityError{What: "uplink", Used: usedBits, Need: bits, Limit: float64(l.limits.Uplink)}
	case l.cpu > l.limits.CPU:
		return &CapacityError{What: "cpu", Used: l.cpu, Limit: l.limits.CPU}
	}
	l.promises = append(l.promises, promise{to, now.Add(promised), packets, bits})
	return nil
}
