package main

import "time"

// scale is how large and how long everything is.
type scale struct {
	people int // accounts that the scenarios share
	rounds int // repetitions of what has a fixed rate

	// A
	receivers []int
	fixed     map[int][]float64 // deliveries a second, by receivers
	fixedFor  time.Duration
	firstRate float64 // of the rising rates, in deliveries a second
	steps     int     // at most
	stepFor   time.Duration

	// B
	pairCount int
	pairLoads []pairLoad

	// C
	emptyStarts int
	idlePeople  int
	idleSockets []int
	idleSettle  []time.Duration

	// D
	roomSizes []int
	readFor   time.Duration
	writeRate float64

	// E
	returning int
	smallRoom int // members of each room where not all are in one
	missed    int // messages of each room while they are away

	// G
	uploadsAtOnce int
	uploadSize    int // bytes

	// H
	relayClients  []int
	relayMessages int // of each client

	// I
	huddles   []int // parties
	huddleFor time.Duration
}

type pairLoad struct {
	rate   float64 // messages a second
	length time.Duration
}

var fullScale = scale{
	people: 1000, rounds: 3,
	receivers: []int{100, 1000}, fixed: map[int][]float64{100: {5000, 20000}, 1000: {20000}}, fixedFor: 10 * time.Second,
	firstRate: 40000, steps: 24, stepFor: 5 * time.Second,
	pairCount: 250, pairLoads: []pairLoad{{2000, 15 * time.Second}, {6000, 10 * time.Second}},
	emptyStarts: 5, idlePeople: 200, idleSockets: []int{1000, 10000}, idleSettle: []time.Duration{10 * time.Second, 40 * time.Second},
	roomSizes: []int{1000, 100000}, readFor: 10 * time.Second, writeRate: 50,
	returning: 1000, smallRoom: 4, missed: 20,
	uploadsAtOnce: 50, uploadSize: 20 << 20,
	relayClients: []int{10, 40}, relayMessages: 2000,
	huddles: []int{6, 12}, huddleFor: 15 * time.Second,
}

var quickScale = scale{
	people: 60, rounds: 1,
	receivers: []int{20, 60}, fixed: map[int][]float64{20: {2000}, 60: {3000}}, fixedFor: 2 * time.Second,
	firstRate: 10000, steps: 3, stepFor: time.Second,
	pairCount: 25, pairLoads: []pairLoad{{500, 2 * time.Second}, {1000, time.Second}},
	emptyStarts: 1, idlePeople: 20, idleSockets: []int{50, 500}, idleSettle: []time.Duration{time.Second, 2 * time.Second},
	roomSizes: []int{200, 2000}, readFor: time.Second, writeRate: 50,
	returning: 60, smallRoom: 4, missed: 20,
	uploadsAtOnce: 5, uploadSize: 2 << 20,
	relayClients: []int{4}, relayMessages: 200,
	huddles: []int{4}, huddleFor: 2 * time.Second,
}
