package sfu

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Why a peer was removed, in RoomOptions.OnGone.
var (
	ErrLeft = errors.New("the client ended the connection")
	ErrGone = errors.New("the transport stayed away")
)

// State is what the transport of a peer does.
type State string

// The states of a transport. Joined lasts until the first connection; a peer in it is removed when nothing comes of its first offer
// or answer within GoneAfter and ten seconds. Interrupted ends in Connected again, or in the removal of the peer.
const (
	Joined      State = "joined"
	Connected   State = "connected"
	Interrupted State = "interrupted"
)

// PeerOptions are the callbacks of a peer. They are called one after another, in the order in which they must reach the client,
// by a goroutine that holds no locks. All but OnOffer and OnAnswer may be nil.
type PeerOptions struct {
	// OnOffer gives the client something to answer.
	OnOffer func(Offer)
	// OnAnswer gives the answer to an offer of the client.
	OnAnswer func(Answer)
	// OnState tells of the transport. A state that was not told yet is replaced by the next one.
	OnState func(State)
}

// Peer is one client in a room, with one RTCPeerConnection.
type Peer struct {
	id       string
	admitted *string // to whom capacity was promised
	room     *Room
	on       PeerOptions
	pc       *webrtc.PeerConnection
	api      *webrtc.API
	estimate *estimate
	out      meter
	video    meter       // of it
	away     atomic.Bool // the transport is interrupted: nothing is sent

	mutes map[Source]bool // Room.mu
	sends map[string]bool // mids; run only

	tasks chan task
	wake  chan struct{} // of one: there may be something to negotiate
	ready events        // what the callbacks are to be told

	mu        sync.Mutex // before track.mu and subscription.mu
	subs      map[string]*subscription
	sources   map[string]Source // by mid
	published map[*webrtc.RTPReceiver]*track
	count     int
	state     State
	gone      *time.Timer
	left      bool

	slots   []*slot // run only
	pending *Offer  // run only: not answered yet
	offers  uint64  // run only

	done chan struct{}
	wg   sync.WaitGroup // all goroutines but run
}

func newPeer(r *Room, id *string, o PeerOptions) (*Peer, error) {
	pc, api, estimate, err := r.server.peerConnection()
	if err != nil {
		return nil, err
	}
	p := &Peer{id: *id, admitted: id, room: r, on: o, pc: pc, api: api, estimate: estimate, state: Joined,
		mutes: map[Source]bool{}, sends: map[string]bool{}, subs: map[string]*subscription{}, sources: map[string]Source{},
		published: map[*webrtc.RTPReceiver]*track{}, tasks: make(chan task, 16), wake: make(chan struct{}, 1), done: make(chan struct{})}
	p.ready.wg = &r.wg
	pc.OnConnectionStateChange(p.connection)
	pc.OnTrack(p.publish)
	return p, nil
}

// ID is the name of the peer.
func (p *Peer) ID() string { return p.id }

// State is what the transport does now.
func (p *Peer) State() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state
}

// Close takes the peer out of the room; the others are told by their next offers. It returns before the last goroutine of the
// peer has ended, so that a callback may call it.
func (p *Peer) Close() { p.leave(nil) }

func (p *Peer) leave(why error) {
	p.mu.Lock()
	if p.left {
		p.mu.Unlock()
		return
	}
	p.left = true
	if p.gone != nil {
		p.gone.Stop()
	}
	p.mu.Unlock()
	p.room.server.load.release(p.admitted)
	p.room.remove(p, why)
	close(p.done)
}

// end gives back everything; run calls it last.
func (p *Peer) end() {
	_ = p.pc.GracefulClose()
	for _, s := range p.slots { // the client may have closed before these were known to the connection
		_ = s.sender.Stop()
	}
	p.mu.Lock()
	subs := p.subs
	p.subs = map[string]*subscription{}
	p.mu.Unlock()
	for _, s := range subs {
		s.track.drop(s)
	}
	p.wg.Wait()
}

// begin starts a goroutine of the peer, unless it has left.
func (p *Peer) begin(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left {
		return false
	}
	p.wg.Go(f)
	return true
}

// connection follows the transport.
func (p *Peer) connection(state webrtc.PeerConnectionState) {
	switch state {
	case webrtc.PeerConnectionStateConnected:
		p.change(Connected)
	case webrtc.PeerConnectionStateDisconnected, webrtc.PeerConnectionStateFailed:
		p.change(Interrupted)
	case webrtc.PeerConnectionStateClosed:
		p.leave(ErrLeft)
	}
}

func (p *Peer) change(to State) {
	p.mu.Lock()
	if p.left || p.state == to {
		p.mu.Unlock()
		return
	}
	p.state = to
	switch to {
	case Connected:
		if p.gone != nil {
			p.gone.Stop()
			p.gone = nil
		}
	case Interrupted:
		p.expect(p.room.server.goneAfter)
	}
	subs := p.all()
	p.mu.Unlock()
	p.away.Store(to == Interrupted)
	if to == Connected {
		for _, s := range subs {
			s.restart()
		}
	}
	if p.on.OnState != nil {
		p.ready.latest("state", func() { p.on.OnState(to) })
	}
}

// expect removes the peer unless it is connected in time; p.mu is held.
func (p *Peer) expect(within time.Duration) {
	if p.gone == nil {
		p.gone = time.AfterFunc(within, func() { p.leave(ErrGone) })
	}
}

// all are the subscriptions; p.mu is held.
func (p *Peer) all() []*subscription {
	list := make([]*subscription, 0, len(p.subs))
	for _, s := range p.subs {
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b *subscription) int { return compare(a.track.id, b.track.id) })
	return list
}

func (p *Peer) videos() []*subscription {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(p.all(), func(s *subscription) bool { return !s.video })
}

// View says how a video is shown now. It takes effect within a third of a second, a better layer with its next key frame.
// ErrNotFound says that the peer does not get such a track (yet).
func (p *Peer) View(trackID string, v View) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.subs[trackID]
	if s == nil {
		return fmt.Errorf("view %s: %w", trackID, ErrNotFound)
	}
	s.view.Store(&v)
	return nil
}

// allocate divides the estimate, which is of video alone, among the videos. Audio is sent whatever it says: so it comes first.
// first is who speaks.
func (p *Peer) allocate(now time.Time, first string) {
	p.mu.Lock()
	subs := p.all()
	p.mu.Unlock()
	var wants []*want
	var videos []*subscription
	for _, s := range subs {
		if !s.video {
			continue
		}
		view := s.view.Load()
		if view.Paused {
			s.aim(-1, now)
			continue
		}
		wants = append(wants, &want{rates: s.track.rates(now), top: s.track.topFor(view.Width), now: s.layer(),
			first: s.track.source == Screen || s.track.peer.id == first})
		videos = append(videos, s)
	}
	byWant := make(map[*want]*subscription, len(wants))
	for i, w := range wants {
		byWant[w] = videos[i]
	}
	short := allocate(p.estimate.bits()*95/100, wants)
	for _, w := range wants {
		byWant[w].aim(w.chosen, now)
	}
	if wanted := short * 110 / 100; short > 0 && p.State() == Connected && p.estimate.mayProbe(now) {
		if !p.begin(func() { p.probe(wanted) }) {
			p.estimate.probed(now, false)
		}
	}
}

// report sends the sender reports of all streams.
func (p *Peer) report(now time.Time) {
	p.mu.Lock()
	subs := p.all()
	p.mu.Unlock()
	if p.away.Load() {
		return
	}
	var packets []rtcp.Packet
	for _, s := range subs {
		if sr := s.report(now); sr != nil {
			packets = append(packets, sr)
		}
	}
	for chunk := range slices.Chunk(packets, 40) { // 28 bytes each, of an MTU
		_ = p.pc.WriteRTCP(chunk)
	}
}

// publish takes a remote track, or one layer of it, until it ends. It runs on a goroutine of its own.
func (p *Peer) publish(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	p.mu.Lock()
	index, known := layerOf[remote.RID()]
	if p.left || !known {
		p.mu.Unlock()
		return
	}
	p.wg.Add(1)
	defer p.wg.Done()
	t, fresh := p.published[receiver], false
	if t == nil {
		t, fresh = p.newTrack(remote, receiver), true
		p.published[receiver] = t
	}
	l := newLayer(t, index, remote)
	t.layers[index].Store(l)
	p.mu.Unlock()
	if fresh && !p.room.publish(t) {
		return
	}
	p.begin(func() { l.listen(remote, receiver) })
	l.askKeyFrame(time.Now())
	l.read(remote, receiver)

	t.layers[index].CompareAndSwap(l, nil)
	p.mu.Lock()
	last := true
	for i := range t.layers {
		last = last && t.layers[i].Load() == nil
	}
	if last && p.published[receiver] == t {
		delete(p.published, receiver)
	}
	p.mu.Unlock()
	if last {
		p.room.unpublish(t)
	}
}

// newTrack describes a remote track; p.mu is held.
func (p *Peer) newTrack(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) *track {
	mid := ""
	for _, t := range p.pc.GetTransceivers() {
		if t.Receiver() == receiver {
			mid = t.Mid()
		}
	}
	limits := &p.room.server.load.limits
	t := &track{id: fmt.Sprintf("%s.%d", p.id, p.count), mid: mid, peer: p, kind: remote.Kind(), source: p.sources[mid],
		codec: remote.Codec().RTPCodecCapability, simulcast: remote.RID() != ""}
	p.count++
	bits := limits.VideoBitrate
	if t.kind == webrtc.RTPCodecTypeAudio {
		bits = limits.AudioBitrate
	}
	t.limit.rate = float64(bits) / 8 * 5 / 4 // bursts and overhead
	if t.source == "" {
		t.source = Camera
		if t.kind == webrtc.RTPCodecTypeAudio {
			t.source = Microphone
		}
	}
	t.voice.peer = p.id
	return t
}
