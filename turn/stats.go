package turn

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// counters are what Stats shows.
type counters struct {
	allocations, created      atomic.Int64
	upPackets, upBytes        atomic.Uint64 // of allocations that have ended, as the next four
	downPackets, downBytes    atomic.Uint64
	capped                    atomic.Uint64
	refused, authFailures     atomic.Uint64
	unasked                   atomic.Uint64
	quotaRefusals, turnedAway atomic.Uint64
	overflow, oversized       atomic.Uint64
}

// Stats is how the server does. Counts are since it began.
type Stats struct {
	Allocations   int    `json:"allocations"`   // now
	Created       int64  `json:"created"`       // allocations ever
	Connections   int    `json:"connections"`   // TCP and TLS, now
	Sent          Flow   `json:"sent"`          // from clients to peers, within the bandwidth
	Received      Flow   `json:"received"`      // from peers to clients
	Unasked       uint64 `json:"unasked"`       // packets from peers that the client gave no permission
	Capped        uint64 `json:"capped"`        // packets dropped because they were above the bandwidth of their allocation
	Refused       uint64 `json:"refused"`       // permissions, channels and packets that the policy refused
	AuthFailures  uint64 `json:"authFailures"`  // requests with a credential that is expired, forged or none of ours
	QuotaRefusals uint64 `json:"quotaRefusals"` // allocations refused because the person had enough
	TurnedAway    uint64 `json:"turnedAway"`    // connections closed because there were too many
	Overflow      uint64 `json:"overflow"`      // packets dropped because a socket or a slow client did not take them
	Oversized     uint64 `json:"oversized"`     // packets dropped because they were longer than any that calls use
}

// Flow is an amount of traffic, headers of TURN not counted.
type Flow struct {
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

func (f *flow) sum() Flow { return Flow{f.packets.Load(), f.bytes.Load()} }

func (f *Flow) add(more Flow) {
	f.Packets += more.Packets
	f.Bytes += more.Bytes
}

// Allocation is one relay, for the console.
type Allocation struct {
	User, Call string
	Echo       bool           // restricted to the echo peer
	Client     netip.AddrPort // as the server sees it
	Relay      netip.AddrPort // as peers see it
	Transport  string         // udp, tcp, tls: how the client speaks to the server
	Since      time.Time
	Sent       Flow
	Received   Flow
	Capped     uint64
	Refused    uint64
}

// Stats returns the counts.
func (s *Server) Stats() Stats {
	c := &s.stats
	st := Stats{
		Allocations: int(c.allocations.Load()), Created: c.created.Load(), Refused: c.refused.Load(), AuthFailures: c.authFailures.Load(),
		QuotaRefusals: c.quotaRefusals.Load(), TurnedAway: c.turnedAway.Load(), Overflow: c.overflow.Load(), Oversized: c.oversized.Load(), Unasked: c.unasked.Load(),
		Sent: Flow{c.upPackets.Load(), c.upBytes.Load()}, Received: Flow{c.downPackets.Load(), c.downBytes.Load()}, Capped: c.capped.Load(),
	}
	s.mu.Lock()
	st.Connections = len(s.conns)
	s.mu.Unlock()
	for _, a := range s.Allocations() {
		st.Sent.add(a.Sent)
		st.Received.add(a.Received)
		st.Capped += a.Capped
	}
	return st
}

// Allocations returns the live relays, the oldest first.
func (s *Server) Allocations() []Allocation {
	list := []Allocation{}
	for f := range s.relays {
		for i := range s.relays[f] {
			r := s.relays[f][i].Load()
			if r == nil {
				continue
			}
			o := r.owner.Load()
			if o == nil {
				continue
			}
			a := Allocation{
				User: o.user, Call: o.call, Echo: o.echo, Client: o.addr, Relay: r.addr, Transport: transportUDP, Since: o.since,
				Sent: r.up.sum(), Received: r.down.sum(), Capped: r.up.dropped.Load() + r.down.dropped.Load(), Refused: r.refused.Load(),
			}
			if o.echo {
				a.Call = ""
			}
			if o.stream != nil {
				a.Transport = *o.stream.transport.Load()
			}
			list = append(list, a)
		}
	}
	slices.SortFunc(list, func(a, b Allocation) int { return a.Since.Compare(b.Since) })
	return list
}

// ended keeps what a relay has carried.
func (c *counters) ended(r *relay) {
	up, down := r.up.sum(), r.down.sum()
	c.upPackets.Add(up.Packets)
	c.upBytes.Add(up.Bytes)
	c.downPackets.Add(down.Packets)
	c.downBytes.Add(down.Bytes)
	c.capped.Add(r.up.dropped.Load() + r.down.dropped.Load())
}
