package sfu

import (
	"cmp"
	"slices"
	"time"
)

// Stats is what a server does now. Counters begin with the server, room, peer or track and only grow; rates are of the last
// second or two, 0 when nothing comes.
type Stats struct {
	Rooms         []RoomStats `json:"rooms"`
	Packets       uint64      `json:"packets"` // forwarded, with repeated ones and padding
	Bytes         uint64      `json:"bytes"`
	PacketsPerSec int64       `json:"packetsPerSecond"`
	BitsPerSec    int64       `json:"bitsPerSecond"`
	CPU           float64     `json:"cpu"` // cores that the whole process uses
}

// RoomStats is one room.
type RoomStats struct {
	ID       string      `json:"id"`
	Speakers []string    `json:"speakers"`
	Peers    []PeerStats `json:"peers"`
}

// PeerStats is one peer: what its line bears, what it sends and what it gets.
type PeerStats struct {
	ID         string              `json:"id"`
	State      State               `json:"state"`
	Estimate   int64               `json:"estimate"` // bit/s that it can get, as far as is known
	BitsPerSec int64               `json:"bitsPerSecond"`
	Tracks     []TrackStats        `json:"tracks"`
	Gets       []SubscriptionStats `json:"gets"`
}

// TrackStats is one published track.
type TrackStats struct {
	Track
	Codec  string       `json:"codec"`
	Layers []LayerStats `json:"layers"`
}

// LayerStats is one layer of a published track, on its way to us.
type LayerStats struct {
	Layer      int    `json:"layer"` // 0 is the smallest
	Width      int    `json:"width"` // pixels; 0 is unknown
	Packets    uint64 `json:"packets"`
	Bytes      uint64 `json:"bytes"`
	BitsPerSec int64  `json:"bitsPerSecond"`
	Lost       int64  `json:"lost"`    // and not repeated
	Dropped    uint64 `json:"dropped"` // by us: muted, or above the limit
	PLIs       uint64 `json:"plis"`    // key frames we asked for
}

// SubscriptionStats is one track on its way to a peer.
type SubscriptionStats struct {
	Track    string `json:"track"`
	Layer    int    `json:"layer"` // that is sent; -1 is none
	Packets  uint64 `json:"packets"`
	Bytes    uint64 `json:"bytes"`
	Lost     int64  `json:"lost"`     // as the peer reports
	NACKs    uint64 `json:"nacks"`    // packets it asked for again
	Repeated uint64 `json:"repeated"` // of them those we still had
	PLIs     uint64 `json:"plis"`     // key frames it asked for
}

// Stats looks at everything. It takes some microseconds for each track, and holds up nobody for longer than one of them.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	rooms := make([]*Room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	out := &s.load.out
	all := Stats{Rooms: make([]RoomStats, 0, len(rooms)), Packets: out.packets.Load(), Bytes: out.bytes.Load(),
		PacketsPerSec: out.pps.Load(), BitsPerSec: out.bits.Load()}
	s.load.mu.Lock()
	all.CPU = s.load.cpu
	s.load.mu.Unlock()
	for _, r := range rooms {
		all.Rooms = append(all.Rooms, r.Stats())
	}
	slices.SortFunc(all.Rooms, func(a, b RoomStats) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// Stats looks at one room; its peers are sorted by name.
func (r *Room) Stats() RoomStats {
	r.mu.Lock()
	peers := r.others(nil)
	tracks := make([]*track, 0, len(r.tracks))
	for _, t := range r.tracks {
		tracks = append(tracks, t)
	}
	r.mu.Unlock()
	slices.SortFunc(peers, func(a, b *Peer) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(tracks, func(a, b *track) int { return cmp.Compare(a.id, b.id) })
	all := RoomStats{ID: r.id, Speakers: r.Speakers(), Peers: make([]PeerStats, 0, len(peers))}
	now := time.Now()
	for _, p := range peers {
		stats := p.stats(now)
		for _, t := range tracks {
			if t.peer == p {
				stats.Tracks = append(stats.Tracks, t.stats())
			}
		}
		all.Peers = append(all.Peers, stats)
	}
	return all
}

func (p *Peer) stats(now time.Time) PeerStats {
	p.mu.Lock()
	subs, state := p.all(), p.state
	p.mu.Unlock()
	stats := PeerStats{ID: p.id, State: state, Estimate: p.estimate.bits(), BitsPerSec: p.out.bits.Load(),
		Tracks: []TrackStats{}, Gets: make([]SubscriptionStats, 0, len(subs))}
	for _, s := range subs {
		stats.Gets = append(stats.Gets, SubscriptionStats{Track: s.track.id, Layer: s.layer(), Packets: s.out.packets.Load(),
			Bytes: s.out.bytes.Load(), Lost: s.lost.Load(), NACKs: s.nacks.Load(), Repeated: s.again.Load(), PLIs: s.plis.Load()})
	}
	return stats
}

func (t *track) stats() TrackStats {
	stats := TrackStats{Track: t.describe(), Codec: t.codec.MimeType, Layers: []LayerStats{}}
	for i := range t.layers {
		if l := t.layers[i].Load(); l != nil {
			stats.Layers = append(stats.Layers, LayerStats{Layer: i, Width: int(l.width.Load()), Packets: l.in.packets.Load(),
				Bytes: l.in.bytes.Load(), BitsPerSec: l.in.bits.Load(), Lost: l.lost.Load(), Dropped: l.dropped.Load(), PLIs: l.plis.Load()})
		}
	}
	return stats
}
