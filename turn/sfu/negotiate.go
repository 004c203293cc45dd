package sfu

import (
	"fmt"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// Offer is a session description for the client to answer with Peer.Answer.
type Offer struct {
	ID     uint64  `json:"id"` // to be given back with the answer
	SDP    string  `json:"sdp"`
	Tracks []Track `json:"tracks"` // all that the client gets once it has answered; what its m-lines carry is known by MID
}

// Answer is the answer to an offer of the client.
type Answer struct {
	SDP    string  `json:"sdp"`
	Tracks []Track `json:"tracks"` // as in Offer; the client's offer changes nothing about them
}

// gatherFor is how long changes are waited for before they become an offer: many who join at once are one.
const gatherFor = 30 * time.Millisecond

// maxUntold is how many callbacks may wait before signals of the client are refused.
const maxUntold = 32

// slot is an m-line that carries a track to the client, or did and will carry another. Its number only grows with the most
// tracks that were there at the same time.
type slot struct {
	transceiver *webrtc.RTPTransceiver
	sender      *webrtc.RTPSender
	sub         *subscription // nil when it carries nothing
	free        bool          // the client has agreed that it carries nothing
}

// task is a signal of the client on its way to the goroutine that negotiates.
type task struct {
	run  func() error
	done chan error
}

// Offer takes an offer of the client, which says what it publishes; sources names, by mid, what the tracks are. Those not
// named are Microphone and Camera. When it returns nil the answer is on its way to OnAnswer. The errors: ErrGlare when an
// offer of ours is not answered yet: the client rolls its own back, answers, and offers again. ErrTracks, ErrCapacity, ErrSDP: the
// client rolls back, nothing has changed. ErrBusy, ErrClosed. A simulcast track has the rids q, h and f, of which q is the
// smallest. Candidates need not be sent: checks are answered to where they come from.
func (p *Peer) Offer(sdp string, sources map[string]Source) error {
	return p.do("offer", func() error { return p.offer(sdp, sources) })
}

// offer is what Offer does, on the goroutine that negotiates.
func (p *Peer) offer(sdp string, sources map[string]Source) error {
	if p.pending != nil {
		return ErrGlare
	}
	head, sections, err := parseSDP(sdp)
	if err != nil {
		return err
	}
	sends, err := p.admit(sections)
	if err != nil {
		return err
	}
	p.mu.Lock()
	for mid := range sends {
		if source, ok := sources[mid]; ok {
			p.sources[mid] = source
		}
	}
	p.mu.Unlock()
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: inbound(head, sections)}); err != nil {
		return fmt.Errorf("%w: %w", ErrSDP, err)
	}
	text, err := p.answer()
	if err != nil { // there is no way back from an offer that was taken
		p.leave(err)
		return err
	}
	p.sends = sends
	told := Answer{SDP: text, Tracks: p.tracks()}
	p.ready.add(func() { p.on.OnAnswer(told) })
	return nil
}

// answer makes the answer to the offer that was set.
func (p *Peer) answer() (string, error) {
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("create an answer: %w", err)
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("set the answer: %w", err)
	}
	return p.outbound()
}

// Answer takes the client's answer to an offer by its id. ErrStale says that another one is waited for, or none; then
// nothing needs to be done. Otherwise the errors are those of Offer.
func (p *Peer) Answer(id uint64, sdp string) error {
	return p.do("answer", func() error {
		if p.pending == nil || p.pending.ID != id {
			return ErrStale
		}
		head, sections, err := parseSDP(sdp)
		if err != nil {
			return err
		}
		sends, err := p.admit(sections)
		if err != nil {
			return err
		}
		if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: inbound(head, sections)}); err != nil {
			return fmt.Errorf("%w: %w", ErrSDP, err)
		}
		p.pending, p.sends = nil, sends
		for _, s := range p.slots {
			s.free = s.sub == nil
		}
		p.poke()
		return nil
	})
}

// Resend calls OnOffer again if an offer is not answered. A client whose signalling was interrupted may have missed it.
func (p *Peer) Resend() error {
	return p.do("resend", func() error {
		if p.pending != nil {
			told := *p.pending
			p.ready.add(func() { p.on.OnOffer(told) })
		}
		return nil
	})
}

// do runs a signal on the goroutine that negotiates, and waits for it.
func (p *Peer) do(what string, run func() error) error {
	t := task{run, make(chan error, 1)}
	if p.ready.waiting() > maxUntold {
		return fmt.Errorf("%s of %s: %w", what, p.id, ErrBusy)
	}
	select {
	case p.tasks <- t:
	default:
		return fmt.Errorf("%s of %s: %w", what, p.id, ErrBusy)
	}
	select {
	case err := <-t.done:
		if err != nil {
			return fmt.Errorf("%s of %s: %w", what, p.id, err)
		}
		return nil
	case <-p.done:
		return fmt.Errorf("%s of %s: %w", what, p.id, ErrClosed)
	}
}

// admit looks at what a client wants to publish, and asks for the capacity of what is new.
func (p *Peer) admit(sections []section) (map[string]bool, error) {
	sends := map[string]bool{}
	audio, video := 0, 0
	for _, s := range sections {
		for _, line := range s.lines {
			if rid, ok := strings.CutPrefix(line, "a=rid:"); ok && strings.HasSuffix(strings.TrimSpace(rid), " send") {
				rid, _, _ = strings.Cut(rid, " ")
				if _, known := layerOf[rid]; !known {
					return nil, fmt.Errorf("%w: the rid %.20q is none of q, h and f", ErrSDP, rid)
				}
			}
		}
		if !s.sends {
			continue
		}
		sends[s.mid] = true
		switch {
		case p.sends[s.mid]:
		case s.kind == "audio":
			audio++
		default:
			video++
		}
	}
	if limit := p.room.server.load.limits.Tracks; len(sends) > limit {
		return nil, fmt.Errorf("%w: %d, the limit is %d", ErrTracks, len(sends), limit)
	}
	p.room.mu.Lock()
	others := len(p.room.peers) - 1
	p.room.mu.Unlock()
	return sends, p.room.server.load.admit(p.admitted, time.Now(), audio*others, video*others)
}

// poke says that there may be something to negotiate.
func (p *Peer) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// run owns the negotiation of a peer until it leaves.
func (p *Peer) run() {
	defer p.end()
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	waiting := false
	for {
		select {
		case <-p.done:
			return
		case t := <-p.tasks:
			t.done <- t.run()
		case <-p.wake:
			if !waiting && p.pending == nil {
				waiting = true
				timer.Reset(gatherFor)
			}
		case <-timer.C:
			waiting = false
			if p.pending != nil {
				break // the answer pokes
			}
			if err := p.negotiate(); err != nil {
				p.room.server.log.Warn("cannot offer", "peer", p.id, "error", err)
				p.leave(err)
			}
		}
	}
}

// negotiate offers what has changed, if anything has.
func (p *Peer) negotiate() error {
	changed, err := p.reconcile()
	if err != nil || !changed {
		return err
	}
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create an offer: %w", err)
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return fmt.Errorf("set the offer: %w", err)
	}
	text, err := p.outbound()
	if err != nil {
		return err
	}
	p.offers++
	p.pending = &Offer{ID: p.offers, SDP: text, Tracks: p.tracks()}
	told := *p.pending
	p.ready.add(func() { p.on.OnOffer(told) })
	return nil
}

// outbound is our description as the client gets it. From the first one on the client is expected to connect.
func (p *Peer) outbound() (string, error) {
	p.mu.Lock()
	if p.state == Joined && !p.left {
		p.expect(p.room.server.goneAfter + 10*time.Second)
	}
	p.mu.Unlock()
	local := p.pc.LocalDescription()
	if local == nil {
		return "", fmt.Errorf("our description is gone: %w", ErrClosed)
	}
	var lines []string
	for _, c := range p.room.server.sockets.candidates(*p.room.server.public.Load()) {
		lines = append(lines, c.String())
	}
	return outbound(local.SDP, lines, &p.room.server.load.limits)
}

// tracks are what the client gets, by m-line.
func (p *Peer) tracks() []Track {
	list := []Track{}
	for _, s := range p.slots {
		if s.sub != nil {
			t := s.sub.track.describe()
			t.MID = s.transceiver.Mid()
			list = append(list, t)
		}
	}
	return list
}

// reconcile makes the slots carry what is published now, and tells whether that changed anything.
func (p *Peer) reconcile() (changed bool, err error) {
	wanted := map[string]*track{}
	p.room.mu.Lock()
	for id, t := range p.room.tracks {
		if t.peer != p {
			wanted[id] = t
		}
	}
	p.room.mu.Unlock()
	for _, s := range p.slots {
		if s.sub == nil {
			continue
		}
		if wanted[s.sub.track.id] != nil {
			delete(wanted, s.sub.track.id)
			continue
		}
		changed = true
		p.mu.Lock()
		delete(p.subs, s.sub.track.id)
		p.mu.Unlock()
		s.sub.track.drop(s.sub)
		s.sub = nil
		if err := p.pc.RemoveTrack(s.sender); err != nil {
			return true, fmt.Errorf("end a track: %w", err)
		}
	}
	for _, t := range wanted {
		if err := p.subscribe(t); err != nil {
			return true, err
		}
		changed = true
	}
	return changed, nil
}

// subscribe puts a track on a slot that is free, or on a new one.
func (p *Peer) subscribe(t *track) error {
	sub := newSubscription(t, p)
	var chosen *slot
	for _, s := range p.slots {
		if s.free && s.transceiver.Kind() == t.kind {
			chosen = s
			break
		}
	}
	if chosen != nil {
		sender, err := p.api.NewRTPSender(sub, p.pc.SCTP().Transport())
		if err != nil {
			return fmt.Errorf("make a sender: %w", err)
		}
		if err := chosen.transceiver.SetSender(sender, sub); err != nil {
			return fmt.Errorf("use an m-line again: %w", err)
		}
		chosen.sender, chosen.free = sender, false
	} else {
		transceiver, err := p.pc.AddTransceiverFromTrack(sub, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		if err != nil {
			return fmt.Errorf("add an m-line: %w", err)
		}
		chosen = &slot{transceiver: transceiver, sender: transceiver.Sender()}
		p.slots = append(p.slots, chosen)
	}
	chosen.sub = sub
	sender := chosen.sender
	p.mu.Lock()
	p.subs[t.id] = sub
	p.mu.Unlock()
	p.begin(func() { sub.listen(sender) })
	t.add(sub) // when the track has ended meanwhile, the room pokes us
	return nil
}
