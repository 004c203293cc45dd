package sfu

import (
	"fmt"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
)

// Source is what a track shows or lets hear.
type Source string

// The sources of tracks. The sound of a shared screen is an audio track with the source Screen.
const (
	Microphone Source = "microphone"
	Camera     Source = "camera"
	Screen     Source = "screen"
)

// Track describes a track to clients, in Offer.Tracks and Answer.Tracks, and to RoomOptions.OnTrack.
type Track struct {
	ID     string `json:"id"`
	Peer   string `json:"peer"` // who publishes it
	Kind   string `json:"kind"` // audio or video
	Source Source `json:"source"`
	MID    string `json:"mid,omitempty"` // the m-line of the subscriber that carries it; empty in OnTrack
	Muted  bool   `json:"muted"`         // by a moderator: nothing of it is forwarded
}

// RoomOptions are the callbacks of a room. They are called one after another in the order of what happened, by a goroutine of
// the room that holds no locks; while one runs the others wait, and media goes on. All may be nil.
type RoomOptions struct {
	// OnTrack tells that a track is there (its first packet came), or that it ended.
	OnTrack func(t Track, there bool)
	// OnSpeakers tells who speaks, whenever that changes: the one to show first, then the others by name. A list that was not
	// told yet is replaced by the next one.
	OnSpeakers func(peers []string)
	// OnGone tells that a peer has been removed because its transport ended or stayed away. Peer.Close does not call it.
	OnGone func(peer string, why error)
}

// How often a room looks after its peers.
const (
	tickEvery     = 100 * time.Millisecond
	allocateEvery = 3 // ticks
	reportEvery   = 10
)

// Room is a call: everybody in it gets the tracks of all others. It stays, also empty, until Close.
type Room struct {
	server *Server
	id     string
	on     RoomOptions
	events events

	mu     sync.Mutex // before Peer.mu and track.mu
	peers  map[string]*Peer
	tracks map[string]*track
	floor  floor
	closed bool

	done chan struct{}
	wg   sync.WaitGroup
}

func newRoom(s *Server, id string, o RoomOptions) *Room {
	r := &Room{server: s, id: id, on: o, peers: map[string]*Peer{}, tracks: map[string]*track{}, done: make(chan struct{})}
	r.events.wg = &r.wg
	r.wg.Go(r.run)
	return r
}

// ID is the name of the room.
func (r *Room) ID() string { return r.id }

// peerName is what goes into a session description as the id of a stream (RFC 8830).
var peerName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// Join lets a peer in. Nothing happens on its transport before its first offer, or before there is something to offer it.
// Names are 1 to 40 letters, digits, "_" and "-": ErrName. The others are ErrExists when somebody of this name is
// there (after a reload of the page: close the old peer, join again), ErrRoomFull, ErrCapacity, ErrClosed.
func (r *Room) Join(id string, o PeerOptions) (*Peer, error) {
	if !peerName.MatchString(id) {
		return nil, fmt.Errorf("join: %w", ErrName)
	}
	r.mu.Lock()
	err := r.admit(&id)
	r.mu.Unlock()
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", id, err)
	}
	p, err := newPeer(r, &id, o) // takes a millisecond: not under the lock
	if err != nil {
		return nil, fmt.Errorf("join %s: %w", id, err)
	}
	r.mu.Lock()
	if r.closed || r.peers[id] != nil || len(r.peers) >= r.server.load.limits.Peers {
		err := ErrRoomFull
		if r.closed {
			err = ErrClosed
		} else if r.peers[id] != nil {
			err = ErrExists
		}
		r.mu.Unlock()
		r.server.load.release(&id)
		_ = p.pc.Close()
		return nil, fmt.Errorf("join %s: %w", id, err)
	}
	r.peers[id] = p
	r.wg.Go(p.run)
	r.mu.Unlock()
	p.poke()
	return p, nil
}

// admit asks whether one more may come; r.mu is held.
func (r *Room) admit(id *string) error {
	switch {
	case r.closed:
		return ErrClosed
	case r.peers[*id] != nil:
		return ErrExists
	case len(r.peers) >= r.server.load.limits.Peers:
		return ErrRoomFull
	}
	audio, video := 0, 0
	for _, t := range r.tracks {
		if t.kind == webrtc.RTPCodecTypeAudio {
			audio++
		} else {
			video++
		}
	}
	return r.server.load.admit(id, time.Now(), audio, video)
}

// Peer finds somebody who is in the room, or returns nil.
func (r *Room) Peer(id string) *Peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.peers[id]
}

// Tracks lists what is published now, by id.
func (r *Room) Tracks() []Track {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]Track, 0, len(r.tracks))
	for _, t := range r.tracks {
		list = append(list, t.describe())
	}
	slices.SortFunc(list, func(a, b Track) int { return compare(a.ID, b.ID) })
	return list
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// Mute silences a peer for everybody, or lets it be heard again: packets of its tracks of this source are not forwarded and not
// tapped, whatever the client does. It holds for tracks that come later too. ErrNotFound says that there is no such peer.
func (r *Room) Mute(peer string, source Source, muted bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[peer]
	if p == nil {
		return fmt.Errorf("mute %s: %w", peer, ErrNotFound)
	}
	p.mutes[source] = muted
	for _, t := range r.tracks {
		if t.peer == p && t.source == source {
			t.mute(muted)
		}
	}
	return nil
}

// Speakers is who speaks now, as in RoomOptions.OnSpeakers.
func (r *Room) Speakers() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.floor.speakers)
}

// Close ends the call for everybody. It does not wait for callbacks, so that one of them may call it.
func (r *Room) Close() {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return
	}
	r.closed = true
	peers := r.others(nil)
	close(r.done)
	r.mu.Unlock()
	for _, p := range peers {
		p.Close()
	}
	r.server.mu.Lock()
	delete(r.server.rooms, r.id)
	r.server.mu.Unlock()
}

// others are all peers but one; r.mu is held.
func (r *Room) others(but *Peer) []*Peer {
	list := make([]*Peer, 0, len(r.peers))
	for _, p := range r.peers {
		if p != but {
			list = append(list, p)
		}
	}
	return list
}

// publish makes a track known. It fails when the peer or room has gone meanwhile.
func (r *Room) publish(t *track) bool {
	r.mu.Lock()
	if r.closed || r.peers[t.peer.id] != t.peer {
		r.mu.Unlock()
		return false
	}
	t.muted.Store(t.peer.mutes[t.source])
	r.tracks[t.id] = t
	others, about := r.others(t.peer), t.describe()
	r.events.add(func() {
		if r.on.OnTrack != nil {
			r.on.OnTrack(about, true)
		}
	})
	r.mu.Unlock()
	for _, p := range others {
		p.poke()
	}
	return true
}

func (r *Room) unpublish(t *track) {
	r.mu.Lock()
	if r.tracks[t.id] != t {
		r.mu.Unlock()
		return
	}
	delete(r.tracks, t.id)
	others, about := r.others(t.peer), t.describe()
	r.events.add(func() {
		if r.on.OnTrack != nil {
			r.on.OnTrack(about, false)
		}
	})
	r.mu.Unlock()
	t.end()
	for _, p := range others {
		p.poke()
	}
}

// remove takes a peer out with all that it published; why is nil when it was closed by us.
func (r *Room) remove(p *Peer, why error) {
	r.mu.Lock()
	if r.peers[p.id] != p {
		r.mu.Unlock()
		return
	}
	delete(r.peers, p.id)
	var published []*track
	for _, t := range r.tracks {
		if t.peer == p {
			published = append(published, t)
		}
	}
	r.mu.Unlock()
	for _, t := range published {
		r.unpublish(t)
	}
	if why != nil {
		r.events.add(func() {
			if r.on.OnGone != nil {
				r.on.OnGone(p.id, why)
			}
		})
	}
}

// run looks after everybody until the room closes.
func (r *Room) run() {
	tick := time.NewTicker(tickEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		select {
		case now := <-tick.C:
			r.tick(now, n)
		case <-r.done:
			return
		}
	}
}

func (r *Room) tick(now time.Time, n int) {
	r.mu.Lock()
	peers := r.others(nil)
	tracks := make([]*track, 0, len(r.tracks))
	for _, t := range r.tracks {
		tracks = append(tracks, t)
	}
	var voices []*voice
	for _, t := range tracks {
		if t.source == Microphone && t.kind == webrtc.RTPCodecTypeAudio {
			level, heard := t.loudest()
			t.voice.hear(level, heard, tickEvery)
			voices = append(voices, &t.voice)
		}
	}
	if r.floor.update(voices, tickEvery) {
		r.events.latest("speakers", func() {
			if r.on.OnSpeakers != nil {
				r.on.OnSpeakers(r.Speakers())
			}
		})
	}
	first := ""
	if len(r.floor.speakers) > 0 {
		first = r.floor.speakers[0]
	}
	r.mu.Unlock()
	for _, t := range tracks {
		t.tick(now)
	}
	if n%allocateEvery == 0 {
		for _, p := range peers {
			p.out.roll(now)
			p.allocate(now, first)
		}
	}
	if n%reportEvery == 0 {
		for _, p := range peers {
			p.report(now)
		}
	}
}
