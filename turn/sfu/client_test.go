package sfu

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// patience is how long a test waits for what must happen.
const patience = 60 * time.Second

// client is a synthetic browser: one peer connection that offers and answers.
type client struct {
	t    *testing.T
	id   string
	room *Room
	peer *Peer
	pc   *webrtc.PeerConnection
	via  netip.AddrPort // a proxy to go through

	signals chan any // Offer, Answer, or func() from the test
	done    chan struct{}
	ran     chan struct{} // run has ended
	wg      sync.WaitGroup

	mu      sync.Mutex
	changed chan struct{} // closed and replaced whenever something below changes
	tracks  map[string]Track
	got     map[string]*received // by track id
	offers  int
	sources map[string]Source
	sending []*sender
	state   State
}

// received is what came of one track.
type received struct {
	packets, gaps int
	bytes         int
	first, last   uint16 // sequence numbers
	began         bool
	missing       map[uint16]bool
	counter       uint64 // the newest that its publisher wrote into the payload
	layer         byte   // that came last
	perLayer      [layerCount]int
	pids          []uint16
	backwards     int // timestamps that went back
	ts            uint32
	ssrc          uint32
	padding       int
}

type clientOptions struct {
	via   netip.AddrPort
	tcp   bool
	remb  bool // has no transport-wide feedback
	nack  bool // asks for lost audio again, which browsers do when their offer says so
	peer  PeerOptions
	brief bool // the test closes it itself, and no trace of it is kept
}

func join(t *testing.T, r *Room, id string, o clientOptions) *client {
	t.Helper()
	c, err := tryJoin(t, r, id, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func tryJoin(t *testing.T, r *Room, id string, o clientOptions) (*client, error) {
	c := &client{t: t, id: id, room: r, via: o.via, signals: make(chan any, 1024), done: make(chan struct{}), changed: make(chan struct{}),
		tracks: map[string]Track{}, got: map[string]*received{}, sources: map[string]Source{}}
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: sdp.AudioLevelURI}, webrtc.RTPCodecTypeAudio); err != nil {
		return nil, err
	}
	registry := &interceptor.Registry{}
	if o.remb {
		if err := webrtc.ConfigureNack(engine, registry); err != nil {
			return nil, err
		}
	} else if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, err
	}
	if o.nack {
		engine.RegisterFeedback(webrtc.RTCPFeedback{Type: webrtc.TypeRTCPFBNACK}, webrtc.RTPCodecTypeAudio)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.Equal(net.IPv4(127, 0, 0, 1)) })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if o.tcp {
		settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetICETimeouts(2*time.Second, 4*time.Second, 500*time.Millisecond)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	c.pc = pc
	pc.OnTrack(c.receive)
	o.peer.OnOffer = func(offer Offer) { c.signals <- offer }
	o.peer.OnAnswer = func(answer Answer) { c.signals <- answer }
	o.peer.OnState = func(s State) { c.note(func() { c.state = s }) }
	if c.peer, err = r.Join(id, o.peer); err != nil {
		_ = pc.GracefulClose()
		return nil, err
	}
	c.ran = make(chan struct{})
	go c.run()
	if !o.brief {
		t.Cleanup(c.close)
	}
	return c, nil
}

// restart is the signal for an ICE restart.
type restart struct{}

// close ends the client; its peer is taken out of the room as by the server that its socket belongs to.
func (c *client) close() {
	c.peer.Close()
	c.kill()
}

// kill ends the client without a word, as far as pion allows: the server hears the end of DTLS.
func (c *client) kill() {
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		return
	default:
		close(c.done)
	}
	c.mu.Unlock()
	<-c.ran
	_ = c.pc.GracefulClose()
	c.wg.Wait()
}

func (c *client) note(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f()
	close(c.changed)
	c.changed = make(chan struct{})
}

// until waits until something is true of the client; check runs under its lock.
func (c *client) until(what string, check func() bool) {
	c.t.Helper()
	deadline := time.After(patience)
	for {
		c.mu.Lock()
		ok, changed := check(), c.changed
		c.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			c.mu.Lock()
			defer c.mu.Unlock()
			c.t.Fatalf("%s: %s: never; state %s, estimate %d %v, tracks %v, got %s", c.id, what, c.state,
				c.peer.estimate.bits(), c.peer.estimate.GetStats(), c.tracks, c.describe())
		}
	}
}

func (c *client) describe() string {
	var all []string
	for id, g := range c.got {
		all = append(all, fmt.Sprintf("%s %d packets %d gaps layers %v", id, g.packets, g.gaps, g.perLayer))
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// run owns the negotiation.
func (c *client) run() {
	defer close(c.ran)
	again := false
	for {
		select {
		case <-c.done:
			return
		case s := <-c.signals:
			var err error
			switch s := s.(type) {
			case Offer:
				err = c.answer(s)
			case Answer:
				err = c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: c.redirect(s.SDP)})
			case restart:
				err = c.offer(&again, &webrtc.OfferOptions{ICERestart: true})
			case func() error:
				if err = s(); err == nil {
					err = c.offer(&again, nil)
				}
			}
			if err == nil && again && c.pc.SignalingState() == webrtc.SignalingStateStable {
				again = false
				err = c.offer(&again, nil)
			}
			if err != nil && !c.ended() {
				c.t.Errorf("%s: %v", c.id, err)
			}
		}
	}
}

func (c *client) ended() bool {
	select {
	case <-c.done:
		return true
	case <-c.peer.done:
		return true
	default:
		return false
	}
}

// answer takes an offer of the server.
func (c *client) answer(o Offer) error {
	c.note(func() {
		c.offers++
		clear(c.tracks)
		for _, t := range o.Tracks {
			c.tracks[t.MID] = t
		}
	})
	if err := c.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: c.redirect(o.SDP)}); err != nil {
		return fmt.Errorf("set the server's offer: %w", err)
	}
	answer, err := c.pc.CreateAnswer(nil)
	if err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	if err := c.pc.SetLocalDescription(answer); err != nil {
		return fmt.Errorf("set the answer: %w", err)
	}
	if err := c.peer.Answer(o.ID, c.pc.LocalDescription().SDP); err != nil && !errors.Is(err, ErrStale) {
		return err
	}
	return nil
}

// offer sends an offer. pion cannot roll one back, as browsers do: so it is made when none of the server is under way, or after
// the answer.
func (c *client) offer(again *bool, options *webrtc.OfferOptions) error {
	if c.pc.SignalingState() != webrtc.SignalingStateStable {
		*again = true
		return nil
	}
	err := c.peer.do("offer", func() error {
		if c.peer.pending != nil {
			return ErrGlare
		}
		offer, err := c.pc.CreateOffer(options)
		if err != nil {
			return fmt.Errorf("create an offer: %w", err)
		}
		if err := c.pc.SetLocalDescription(offer); err != nil {
			return fmt.Errorf("set the offer: %w", err)
		}
		sources := map[string]Source{}
		c.mu.Lock()
		for _, s := range c.sending {
			sources[s.transceiver.Mid()] = s.source
		}
		c.mu.Unlock()
		return c.peer.offer(c.pc.LocalDescription().SDP, sources)
	})
	if errors.Is(err, ErrGlare) {
		*again = true
		return nil
	}
	return err
}

var candidatePort = regexp.MustCompile(`(a=candidate:\S+ 1 udp \d+) 127\.0\.0\.1 \d+ `)

// redirect makes the client go through its proxy.
func (c *client) redirect(sdp string) string {
	if !c.via.IsValid() {
		return sdp
	}
	return candidatePort.ReplaceAllString(sdp, fmt.Sprintf("$1 %s %d ", c.via.Addr(), c.via.Port()))
}

// change runs a change of what is published, and offers it.
func (c *client) change(f func() error) { c.signals <- f }

// receive counts what comes of one m-line. The payload says which packet of which layer it is.
func (c *client) receive(remote *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	mid := ""
	for _, t := range c.pc.GetTransceivers() {
		if t.Receiver() == receiver {
			mid = t.Mid()
		}
	}
	c.mu.Lock()
	select {
	case <-c.done:
		c.mu.Unlock()
		return
	default:
	}
	c.wg.Add(1)
	id := c.tracks[mid].ID
	g := c.got[id]
	if g == nil {
		g = &received{missing: map[uint16]bool{}}
		c.got[id] = g
	}
	c.mu.Unlock()
	defer c.wg.Done()
	c.wg.Go(func() {
		for {
			if _, _, err := receiver.ReadRTCP(); err != nil {
				return
			}
		}
	})
	for {
		p, _, err := remote.ReadRTP()
		if err != nil {
			return
		}
		c.note(func() { g.take(p, remote.Kind()) })
	}
}

func (g *received) take(p *rtp.Packet, kind webrtc.RTPCodecType) {
	g.ssrc = p.SSRC
	if len(p.Payload) == 0 {
		g.padding++
	}
	if !g.began {
		g.began, g.first, g.last, g.ts = true, p.SequenceNumber, p.SequenceNumber, p.Timestamp
	} else if newer(p.SequenceNumber, g.last) {
		for s := g.last + 1; s != p.SequenceNumber; s++ {
			g.missing[s] = true
			g.gaps++
		}
		g.last = p.SequenceNumber
		if int32(p.Timestamp-g.ts) < 0 {
			g.backwards++
		}
		g.ts = p.Timestamp
	} else if g.missing[p.SequenceNumber] {
		delete(g.missing, p.SequenceNumber)
		g.gaps--
	}
	if len(p.Payload) == 0 {
		return
	}
	g.packets++
	g.bytes += len(p.Payload)
	body := p.Payload
	if kind == webrtc.RTPCodecTypeVideo {
		v := parseVP8(body)
		if v.hasPid {
			g.pids = append(g.pids[max(0, len(g.pids)-4096):], v.pid)
		}
		body = body[min(vp8Head, len(body)):]
	}
	if len(body) >= 9 {
		g.counter = max(g.counter, binary.BigEndian.Uint64(body))
		g.layer = body[8]
		g.perLayer[g.layer]++
	}
}

// track finds what came of a peer's source; nil before anything did. c.mu is held.
func (c *client) from(peer string, source Source) *received {
	for _, t := range c.tracks {
		if t.Peer == peer && t.Source == source {
			return c.got[t.ID]
		}
	}
	return nil
}

// heard waits until so many packets of a peer's source came.
func (c *client) heard(peer string, source Source, packets int) {
	c.t.Helper()
	c.until(fmt.Sprintf("%d packets of %s's %s", packets, peer, source), func() bool {
		g := c.from(peer, source)
		return g != nil && g.packets >= packets
	})
}

// sender publishes a generated track.
type sender struct {
	c           *client
	source      Source
	transceiver *webrtc.RTPTransceiver
	rtp         *webrtc.RTPSender
	streams     []*stream
	stop        chan struct{}

	mu      sync.Mutex
	counter uint64
	level   uint8
	frames  chan struct{} // closed and replaced with every packet
}

// stream is one layer that is sent.
type stream struct {
	track   *webrtc.TrackLocalStaticRTP
	layer   byte
	rid     string
	bytes   int // of a frame
	key     bool
	seq     uint16
	ts      uint32
	pid     uint16
	tl0     uint8
	stopped bool
	keys    int // key frames that were asked for
}

const vp8Head = 16 // bytes before what the tests write: the descriptor of 6, and a header of a key frame of 10

// publishAudio publishes a microphone that sends every interval, at a loudness of RFC 6464.
func (c *client) publishAudio(interval time.Duration, level uint8) *sender {
	c.t.Helper()
	return c.publish(Microphone, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2},
		interval, level, []*stream{{bytes: 80}})
}

// publishVideo publishes a picture; rates are the bits a second of each layer, from the smallest.
func (c *client) publishVideo(source Source, interval time.Duration, rates ...int) *sender {
	c.t.Helper()
	var streams []*stream
	for i, r := range rates {
		s := &stream{bytes: int(float64(r) / 8 * interval.Seconds()), layer: byte(i)}
		if len(rates) > 1 {
			s.rid = []string{"q", "h", "f"}[i]
		}
		streams = append(streams, s)
	}
	return c.publish(source, webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, interval, 127, streams)
}

func (c *client) publish(source Source, codec webrtc.RTPCodecCapability, interval time.Duration, level uint8, streams []*stream) *sender {
	s := &sender{c: c, source: source, streams: streams, stop: make(chan struct{}), level: level, frames: make(chan struct{})}
	c.change(func() error {
		for i, stream := range streams {
			var options []func(*webrtc.TrackLocalStaticRTP)
			if stream.rid != "" {
				options = append(options, webrtc.WithRTPStreamID(stream.rid))
			}
			track, err := webrtc.NewTrackLocalStaticRTP(codec, string(source), c.id, options...)
			if err != nil {
				return err
			}
			stream.track, stream.ts, stream.pid = track, uint32(i)*12345, uint16(i)*100
			if i > 0 {
				if err := s.rtp.AddEncoding(track); err != nil {
					return err
				}
				continue
			}
			s.transceiver, err = c.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
			if err != nil {
				return err
			}
			s.rtp = s.transceiver.Sender()
		}
		c.mu.Lock()
		c.sending = append(c.sending, s)
		c.mu.Unlock()
		c.wg.Go(func() { s.run(interval, codec.ClockRate) })
		for _, stream := range streams {
			c.wg.Go(func() { s.listen(stream) })
		}
		return nil
	})
	return s
}

// unpublish ends the track.
func (s *sender) unpublish() {
	s.c.change(func() error {
		close(s.stop)
		return s.c.pc.RemoveTrack(s.rtp)
	})
}

// listen obeys requests for key frames.
func (s *sender) listen(stream *stream) {
	for {
		var packets []rtcp.Packet
		var err error
		if stream.rid != "" {
			packets, _, err = s.rtp.ReadSimulcastRTCP(stream.rid)
		} else {
			packets, _, err = s.rtp.ReadRTCP()
		}
		if err != nil {
			return
		}
		for _, p := range packets {
			if _, ok := p.(*rtcp.PictureLossIndication); ok {
				s.mu.Lock()
				stream.key, stream.keys = true, stream.keys+1
				s.mu.Unlock()
			}
		}
	}
}

func (s *sender) run(interval time.Duration, clock uint32) {
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.mu.Lock()
			s.counter++
			for _, stream := range s.streams {
				stream.ts += uint32(interval.Seconds() * float64(clock))
				if !stream.stopped {
					s.frame(stream, clock)
				}
			}
			close(s.frames)
			s.frames = make(chan struct{})
			s.mu.Unlock()
		case <-s.stop:
			return
		case <-s.c.done:
			return
		}
	}
}

// frame sends one frame of a stream in packets of at most 1,100 bytes; s.mu is held.
func (s *sender) frame(stream *stream, clock uint32) {
	key := stream.key
	stream.key = false
	stream.pid = (stream.pid + 1) & 0x7FFF
	stream.tl0++
	ids := map[string]uint8{}
	for _, e := range s.rtp.GetParameters().HeaderExtensions {
		ids[e.URI] = uint8(e.ID)
	}
	for left, start := stream.bytes, true; left > 0 || start; start = false {
		size := max(40, min(left, 1100))
		left -= size
		payload := make([]byte, size)
		body := payload
		if clock == 90000 {
			payload[0], payload[1] = 0x80, 0xC0
			if start {
				payload[0] |= 0x10
			}
			payload[2], payload[3], payload[4] = 0x80|byte(stream.pid>>8), byte(stream.pid), stream.tl0
			if !key {
				payload[5] = 1
			}
			payload[11], payload[12] = byte(int(320)<<stream.layer), byte(int(320)<<stream.layer>>8)
			body = payload[vp8Head:]
		}
		binary.BigEndian.PutUint64(body, s.counter)
		body[8] = stream.layer
		stream.seq++
		p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: stream.seq, Timestamp: stream.ts, Marker: left <= 0}, Payload: payload}
		if id := ids[sdp.AudioLevelURI]; id != 0 && clock == 48000 {
			_ = p.SetExtension(id, []byte{s.level})
		}
		if stream.rid != "" {
			_ = p.SetExtension(ids[sdp.SDESMidURI], []byte(s.transceiver.Mid()))
			_ = p.SetExtension(ids[sdp.SDESRTPStreamIDURI], []byte(stream.rid))
		}
		_ = stream.track.WriteRTP(p)
	}
}

// sent waits until so many more frames have been sent, and returns the number of the last one.
func (s *sender) sent(more uint64) uint64 {
	s.mu.Lock()
	want := s.counter + more
	for s.counter < want {
		frames := s.frames
		s.mu.Unlock()
		<-frames
		s.mu.Lock()
	}
	defer s.mu.Unlock()
	return s.counter
}

func (s *sender) loud(level uint8) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.level = level
}
