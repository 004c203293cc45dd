package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"github.com/quckchat/quckchat/turn/sfu"
)

// What each party of a huddle sends: a microphone, and a camera of 100 packets of 1,000 bytes a second (0.8 Mbit/s).
const (
	sfuAudioEvery   = 20 * time.Millisecond
	sfuVideoEvery   = 40 * time.Millisecond
	sfuVideoBurst   = 4 // packets of a frame
	sfuAudioBytes   = 100
	sfuVideoBytes   = 1000
	sfuSettleWithin = 60 * time.Second
)

// huddle is scenario H: a call of many, with the SFU in a process of its own, so that its CPU is not mixed with that of the
// clients, which encrypt, decrypt and report like browsers.
func (b *bench) huddle(ctx context.Context) error {
	t := b.report.table("I. Huddles", "parties", "forwarded", "CPU of the SFU", "per forwarded packet", "lost", "RSS", "per party")
	for _, parties := range b.huddles {
		var each, forwarded, cores []float64
		var lost int64
		var rss int64
		for range b.rounds {
			got, err := b.oneHuddle(ctx, parties)
			if err != nil {
				return err
			}
			each, forwarded, cores = append(each, got.each), append(forwarded, got.forwarded), append(cores, got.cores)
			lost, rss = lost+got.lost, max(rss, got.rss)
			b.say("huddle of %d: %.0f packets/s, %.1f us of CPU each", parties, got.forwarded, got.each)
		}
		us := func(v float64) string { return fmt.Sprintf("%.1f us", v) }
		t.add(fmt.Sprint(parties), count(spreadOf(forwarded...).median)+"/s", fmt.Sprintf("%.2f cores", spreadOf(cores...).median),
			spreadOf(each...).show(us), fmt.Sprint(lost), mib(rss), mib(rss/int64(parties)))
		b.report.goal(fmt.Sprintf("CPU per forwarded packet, huddle of %d", parties), "25 us", us(spreadOf(each...).median), spreadOf(each...).median <= 25)
	}
	t.note = "Everybody sends audio (50 packets/s) and one layer of video (100 packets/s of 1,000 bytes) to all others, encrypted, with reports and bandwidth estimation. CPU is the whole SFU process: receiving, forwarding, reports. Medians (and extremes)."
	return nil
}

// huddleResult is one run.
type huddleResult struct {
	each, forwarded, cores float64
	lost, rss              int64
}

func (b *bench) oneHuddle(ctx context.Context, parties int) (r huddleResult, err error) {
	s, err := startSFU(b.self, b.sfuProfile)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	for i := range parties {
		p, err := s.join(fmt.Sprintf("p%d", i))
		if err != nil {
			return r, err
		}
		defer p.close()
	}
	if err := s.settle(ctx, parties); err != nil {
		return r, err
	}
	before, err := s.stats(ctx)
	if err != nil {
		return r, err
	}
	got, cpu, began := s.received.Load(), cpuTime(s.cmd.Process.Pid), time.Now()
	select {
	case <-time.After(b.huddleFor):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	after, err := s.stats(ctx)
	if err != nil {
		return r, err
	}
	used, took := cpuTime(s.cmd.Process.Pid)-cpu, time.Since(began)
	packets := float64(forwarded(after) - forwarded(before))
	r = huddleResult{each: used.Seconds() * 1e6 / packets, forwarded: packets / took.Seconds(), cores: used.Seconds() / took.Seconds(),
		lost: int64(packets) - (s.received.Load() - got), rss: memory(s.cmd.Process.Pid, "VmRSS")}
	if r.lost < int64(packets)/1000 { // what was under way at both ends; padding arrives and is not counted as sent
		r.lost = 0
	}
	return r, nil
}

// forwarded counts what reached a subscription: no padding.
func forwarded(stats sfu.Stats) (packets uint64) {
	for _, p := range stats.Rooms[0].Peers {
		for _, s := range p.Gets {
			packets += s.Packets
		}
	}
	return packets
}

// sfuProcess is the SFU in a child, with the clients that are in its room.
type sfuProcess struct {
	cmd      *exec.Cmd
	in       io.WriteCloser
	read     sync.WaitGroup
	received atomic.Int64
	seen     chan sfu.Stats
	failed   chan error

	mu      sync.Mutex // guards what follows, and writing to in
	encoder *json.Encoder
	parties map[string]*sfuParty
}

func startSFU(self, profile string) (*sfuProcess, error) {
	s := &sfuProcess{parties: map[string]*sfuParty{}, seen: make(chan sfu.Stats, 1), failed: make(chan error, 1)}
	args := []string{"-sfu"}
	if profile != "" {
		args = append(args, profile)
	}
	s.cmd = exec.Command(self, args...)
	s.cmd.Stderr = os.Stderr
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if s.in, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	s.encoder = json.NewEncoder(s.in)
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the SFU: %w", err)
	}
	s.read.Go(func() { s.listen(out) })
	return s, nil
}

func (s *sfuProcess) stop() error {
	s.in.Close()
	s.read.Wait()
	return s.cmd.Wait()
}

func (s *sfuProcess) tell(signal sfuSignal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.encoder.Encode(signal)
}

func (s *sfuProcess) fail(err error) {
	select {
	case s.failed <- err:
	default:
	}
}

func (s *sfuProcess) listen(out io.Reader) {
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var signal sfuSignal
		if err := json.Unmarshal(lines.Bytes(), &signal); err != nil {
			s.fail(fmt.Errorf("a line of the SFU: %w", err))
			return
		}
		if signal.Stats != nil {
			s.seen <- *signal.Stats
			continue
		}
		s.mu.Lock()
		p := s.parties[signal.Peer]
		s.mu.Unlock()
		if signal.Error != "" {
			s.fail(errors.New(signal.Error))
		} else if p != nil {
			p.signals <- signal
		}
	}
}

func (s *sfuProcess) stats(ctx context.Context) (sfu.Stats, error) {
	if err := s.tell(sfuSignal{}); err != nil {
		return sfu.Stats{}, err
	}
	select {
	case stats := <-s.seen:
		return stats, nil
	case err := <-s.failed:
		return sfu.Stats{}, err
	case <-ctx.Done():
		return sfu.Stats{}, ctx.Err()
	}
}

// settle waits until everybody gets everything, at its full rate.
func (s *sfuProcess) settle(ctx context.Context, parties int) error {
	ctx, cancel := context.WithTimeout(ctx, sfuSettleWithin)
	defer cancel()
	want := int64(parties*(parties-1)) * 150 * 95 / 100
	for calm := 0; calm < 3; {
		before := s.received.Load()
		select {
		case <-time.After(time.Second):
		case err := <-s.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("%d packets/s reach the clients, not %d: %w", s.received.Load()-before, want, ctx.Err())
		}
		if calm++; s.received.Load()-before < want {
			calm = 0
		}
	}
	return nil
}

// sfuParty is one client.
type sfuParty struct {
	sfu     *sfuProcess
	id      string
	pc      *webrtc.PeerConnection
	signals chan sfuSignal
	done    chan struct{}
	wg      sync.WaitGroup
}

func (s *sfuProcess) join(id string) (*sfuParty, error) {
	engine, registry, settings := &webrtc.MediaEngine{}, &interceptor.Registry{}, webrtc.SettingEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, err
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, err
	}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	p := &sfuParty{sfu: s, id: id, pc: pc, signals: make(chan sfuSignal, 256), done: make(chan struct{})}
	pc.OnTrack(p.receive)
	s.mu.Lock()
	s.parties[id] = p
	s.mu.Unlock()
	if err := p.publish(); err != nil {
		p.close()
		return nil, fmt.Errorf("publish: %w", err)
	}
	p.wg.Go(p.negotiate)
	return p, nil
}

func (p *sfuParty) close() {
	close(p.done)
	_ = p.pc.GracefulClose()
	p.wg.Wait()
}

func (p *sfuParty) publish() error {
	audio, err := p.track(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2})
	if err != nil {
		return err
	}
	video, err := p.track(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000})
	if err != nil {
		return err
	}
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	p.wg.Go(func() { p.send(audio, sfuAudioEvery, 48000, 1, sfuAudioBytes) })
	p.wg.Go(func() { p.send(video, sfuVideoEvery, 90000, sfuVideoBurst, sfuVideoBytes) })
	return p.sfu.tell(sfuSignal{Peer: p.id, Join: true, SDP: p.pc.LocalDescription().SDP})
}

func (p *sfuParty) track(codec webrtc.RTPCodecCapability) (*webrtc.TrackLocalStaticRTP, error) {
	track, err := webrtc.NewTrackLocalStaticRTP(codec, codec.MimeType, p.id)
	if err != nil {
		return nil, err
	}
	_, err = p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	return track, err
}

// send writes a packet, or some, at even times. All frames of video claim to be key frames.
func (p *sfuParty) send(track *webrtc.TrackLocalStaticRTP, every time.Duration, clock, burst, size int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	payload := make([]byte, size)
	packet := rtp.Packet{Header: rtp.Header{Version: 2}, Payload: payload}
	for {
		select {
		case <-tick.C:
		case <-p.done:
			return
		}
		packet.Timestamp += uint32(every.Seconds() * float64(clock))
		for i := range burst {
			payload[0] = 0
			if i == 0 {
				payload[0] = 0x10 // a descriptor without extensions; the key frame begins here
			}
			packet.SequenceNumber++
			packet.Marker = i == burst-1
			_ = track.WriteRTP(&packet)
		}
	}
}

func (p *sfuParty) receive(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
	buf := make([]byte, 1500)
	for {
		if _, _, err := track.Read(buf); err != nil {
			return
		}
		p.sfu.received.Add(1)
	}
}

func (p *sfuParty) negotiate() {
	for {
		select {
		case s := <-p.signals:
			if err := p.signal(s); err != nil {
				p.sfu.fail(fmt.Errorf("%s: %w", p.id, err))
			}
		case <-p.done:
			return
		}
	}
}

func (p *sfuParty) signal(s sfuSignal) error {
	if s.Answer != nil {
		return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: s.Answer.SDP})
	}
	if err := p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: s.Offer.SDP}); err != nil {
		return err
	}
	answer, err := p.pc.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := p.pc.SetLocalDescription(answer); err != nil {
		return err
	}
	return p.sfu.tell(sfuSignal{Peer: p.id, Number: s.Offer.ID, SDP: p.pc.LocalDescription().SDP})
}
