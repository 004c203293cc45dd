package sfu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
)

func serve(t *testing.T, o Options) *Server {
	t.Helper()
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Limits.CPU == 0 {
		o.Limits.CPU = 1000 // the machine that tests run on is busy
	}
	o.Log = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return s
}

func open1(t *testing.T, s *Server, o RoomOptions) *Room {
	t.Helper()
	r, err := s.Room("room", o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestTwelvePartiesGetAllTracks(t *testing.T) {
	const parties = 12
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	var clients []*client
	for i := range parties {
		c := join(t, r, fmt.Sprintf("p%d", i), clientOptions{})
		c.publishAudio(100*time.Millisecond, 127)
		c.publishVideo(Camera, 200*time.Millisecond, 40_000)
		clients = append(clients, c)
	}
	clients[0].publishVideo(Screen, 200*time.Millisecond, 40_000)
	for _, c := range clients {
		for i := range parties {
			if peer := fmt.Sprintf("p%d", i); peer != c.id {
				c.heard(peer, Microphone, 5)
				c.heard(peer, Camera, 5)
			}
		}
		if c.id != "p0" {
			c.heard("p0", Screen, 5)
		}
	}
	for _, c := range clients {
		c.mu.Lock()
		if want := 2*(parties-1) + 1; c.id != "p0" && len(c.tracks) != want {
			t.Errorf("%s is told of %d tracks, want %d", c.id, len(c.tracks), want)
		}
		if limit := 2*parties + 3; c.offers > limit {
			t.Errorf("%s got %d offers for 23 tracks: they are not gathered", c.id, c.offers)
		}
		c.mu.Unlock()
	}
	clients[3].close()
	for _, c := range clients {
		if c.id != "p3" {
			c.until("p3 is gone", func() bool { return c.from("p3", Camera) == nil })
		}
	}
}

func TestManyWhoPublishAtOnceAreFewOffers(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Tracks: 40}})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	for range 10 { // both sides offer at the same time again and again
		a.publishAudio(50*time.Millisecond, 127)
		b.publishAudio(50*time.Millisecond, 127)
	}
	for _, c := range []*client{a, b} {
		c.until("ten tracks of the other", func() bool {
			n := 0
			for _, track := range c.tracks {
				if g := c.got[track.ID]; g != nil && g.packets > 3 {
					n++
				}
			}
			return n == 10
		})
		c.mu.Lock()
		if c.offers > 20 {
			t.Errorf("%s got %d offers for ten tracks", c.id, c.offers)
		}
		c.mu.Unlock()
	}
}

func TestMLinesAreUsedAgain(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a := join(t, r, "a", clientOptions{})
	for i := range 6 {
		id := fmt.Sprintf("b%d", i)
		b := join(t, r, id, clientOptions{})
		b.publishAudio(20*time.Millisecond, 127)
		a.heard(id, Microphone, 10)
		b.close()
		a.until(id+" is gone", func() bool { return a.from(id, Microphone) == nil })
	}
	if n := strings.Count(a.pc.LocalDescription().SDP, "m=audio"); n > 2 {
		t.Errorf("six speakers one after another took %d m-lines", n)
	}
}

func TestATrackThatEndsAndComesAgain(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	b.heard("a", Microphone, 10)
	screen := a.publishVideo(Screen, 50*time.Millisecond, 100_000)
	b.heard("a", Screen, 10)
	screen.unpublish()
	b.until("the screen is gone", func() bool { return b.from("a", Screen) == nil })
	a.publishVideo(Screen, 50*time.Millisecond, 100_000)
	b.heard("a", Screen, 10)
	b.heard("a", Microphone, 20)
}

func TestFivePercentLoss(t *testing.T) {
	t.Parallel()
	for name, nack := range map[string]bool{"redundancy alone": false, "repeated audio": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, Options{})
			r := open1(t, s, RoomOptions{})
			line := newProxy(t, s.Addrs()[0], 7)
			line.set(0.05, 0)
			a := join(t, r, "a", clientOptions{via: line.addr(), nack: nack})
			b := join(t, r, "b", clientOptions{via: line.addr(), nack: nack})
			a.publishAudio(20*time.Millisecond, 127)
			a.publishVideo(Camera, 40*time.Millisecond, 400_000)
			b.heard("a", Microphone, 400)
			b.heard("a", Camera, 400)
			b.mu.Lock()
			defer b.mu.Unlock()
			line.mu.Lock()
			defer line.mu.Unlock()
			if line.lost < 40 {
				t.Fatalf("the line lost %d packets only", line.lost)
			}
			audio, video := b.from("a", Microphone), b.from("a", Camera)
			silent := 0 // each packet of Opus carries the one before once more
			for seq := range audio.missing {
				if audio.missing[seq+1] {
					silent++
				}
			}
			t.Logf("line: %d lost of %d; audio: %d packets, %d missing, %d without the next one; video: %d packets, %d missing",
				line.lost, line.lost+line.passed, audio.packets, audio.gaps, silent, video.packets, video.gaps)
			if silent*100 > audio.packets*3 || nack && audio.gaps*100 > audio.packets*2 {
				t.Errorf("of %d audio packets %d are missing, %d cannot be mended", audio.packets, audio.gaps, silent)
			}
			if video.gaps*100 > video.packets {
				t.Errorf("%d of %d video packets are missing, more than 1 %%", video.gaps, video.packets)
			}
			if audio.backwards+video.backwards > 0 {
				t.Errorf("timestamps went back %d times", audio.backwards+video.backwards)
			}
		})
	}
}

func TestAConstrainedReceiverGetsASmallerLayer(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	line := newProxy(t, s.Addrs()[0], 9)
	a := join(t, r, "a", clientOptions{})
	b := join(t, r, "b", clientOptions{})
	c := join(t, r, "c", clientOptions{via: line.addr()})
	a.publishAudio(20*time.Millisecond, 127)
	a.publishVideo(Camera, 50*time.Millisecond, 80_000, 200_000, 700_000)
	best := func(c *client, layer byte, since int) func() bool {
		return func() bool {
			g := c.from("a", Camera)
			return g != nil && g.layer == layer && g.perLayer[layer] > since
		}
	}
	b.until("the best layer", best(b, 2, 50))
	c.until("the best layer", best(c, 2, 50))
	line.set(0, 300_000)
	c.until("a smaller layer", func() bool {
		g := c.from("a", Camera)
		return g.layer < 2 && g.perLayer[0]+g.perLayer[1] > 60
	})
	c.mu.Lock()
	heard := c.from("a", Microphone).packets
	c.mu.Unlock()
	c.heard("a", Microphone, heard+100) // audio goes on
	b.mu.Lock()
	g := b.from("a", Camera)
	if small := g.perLayer[0] + g.perLayer[1]; g.layer != 2 || small > g.perLayer[2]/4 {
		t.Errorf("the other receiver's layers are %v", g.perLayer)
	}
	b.mu.Unlock()
	line.set(0, 0)
	c.mu.Lock()
	since := c.from("a", Camera).perLayer[2]
	c.mu.Unlock()
	c.until("the best layer again", best(c, 2, since+50))
	c.mu.Lock()
	defer c.mu.Unlock()
	if g := c.from("a", Camera); g.backwards > 0 || g.padding == 0 {
		t.Errorf("timestamps went back %d times; %d packets of padding looked for bandwidth", g.backwards, g.padding)
	}
}

func TestAReceiverWithREMBAlone(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{remb: true})
	a.publishVideo(Camera, 50*time.Millisecond, 50_000, 100_000, 200_000)
	b.until("the best layer", func() bool {
		g := b.from("a", Camera)
		return g != nil && g.perLayer[2] > 10
	})
	say := func(bits float32) {
		b.mu.Lock()
		ssrc := b.from("a", Camera).ssrc
		b.mu.Unlock()
		if err := b.pc.WriteRTCP([]rtcp.Packet{&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: bits, SSRCs: []uint32{ssrc}}}); err != nil {
			t.Fatal(err)
		}
	}
	say(80_000)
	b.until("the smallest layer", func() bool { g := b.from("a", Camera); return g.layer == 0 && g.perLayer[0] > 20 })
	say(1000)
	for b.peer.videos()[0].layer() >= 0 {
		runtime.Gosched()
	}
	say(1_000_000)
	b.mu.Lock()
	best := b.from("a", Camera).perLayer[2]
	b.mu.Unlock()
	b.until("the best layer again", func() bool { return b.from("a", Camera).perLayer[2] > best+10 })
}

func TestAnOfferThatWasMissedIsRepeated(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a := join(t, r, "a", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	offers := make(chan Offer, 10)
	b, err := r.Join("b", PeerOptions{OnOffer: func(o Offer) { offers <- o }, OnAnswer: func(Answer) {}})
	if err != nil {
		t.Fatal(err)
	}
	first := <-offers
	if err := b.Offer(clientSDP, nil); !errors.Is(err, ErrGlare) {
		t.Errorf("an offer that crosses one of the server: %v", err)
	}
	if err := b.Answer(first.ID+1, clientSDP); !errors.Is(err, ErrStale) {
		t.Errorf("an answer to another offer: %v", err)
	}
	if err := b.Resend(); err != nil {
		t.Fatal(err)
	}
	if again := <-offers; again.ID != first.ID || again.SDP != first.SDP {
		t.Error("another offer was repeated")
	}
	b.Close()
	if err := b.Resend(); !errors.Is(err, ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	if b.State() != Joined {
		t.Errorf("a peer that never connected is %s", b.State())
	}
}

func TestTheViewDecidesTheLayer(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishVideo(Camera, 50*time.Millisecond, 50_000, 100_000, 200_000)
	b.heard("a", Camera, 5)
	id := r.Tracks()[0].ID
	for _, view := range []struct {
		width int
		layer byte
	}{{1280, 2}, {200, 0}, {500, 1}, {5000, 2}} {
		if err := b.peer.View(id, View{Width: view.width}); err != nil {
			t.Fatal(err)
		}
		b.mu.Lock()
		since := b.from("a", Camera).perLayer[view.layer]
		b.mu.Unlock()
		b.until(fmt.Sprintf("layer %d for a width of %d", view.layer, view.width), func() bool {
			g := b.from("a", Camera)
			return g.layer == view.layer && g.perLayer[view.layer] > since+10
		})
	}
	if err := b.peer.View(id, View{Paused: true}); err != nil {
		t.Fatal(err)
	}
	for b.peer.videos()[0].layer() >= 0 {
		runtime.Gosched()
	}
	if err := b.peer.View(id, View{}); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock()
	since := b.from("a", Camera).packets
	b.mu.Unlock()
	b.heard("a", Camera, since+20)
	b.mu.Lock()
	defer b.mu.Unlock()
	g := b.from("a", Camera)
	if g.gaps > 0 || g.backwards > 0 {
		t.Errorf("%d gaps and %d timestamps back", g.gaps, g.backwards)
	}
	for i := 1; i < len(g.pids); i++ {
		if d := (g.pids[i] - g.pids[i-1]) & 0x7FFF; d > 1 {
			t.Fatalf("picture ids %v jump", g.pids[max(0, i-3):i+1])
		}
	}
	if err := b.peer.View("nothing", View{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a view of nothing: %v", err)
	}
}

func TestMutedTracksAreSilent(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	mic := a.publishAudio(20*time.Millisecond, 10)
	a.publishVideo(Camera, 50*time.Millisecond, 100_000)
	b.heard("a", Microphone, 10)
	b.heard("a", Camera, 10)
	if err := r.Mute("a", Microphone, true); err != nil {
		t.Fatal(err)
	}
	last := mic.sent(5) // what was on its way has come
	b.mu.Lock()
	heard, seen := b.from("a", Microphone).packets, b.from("a", Camera).packets
	b.mu.Unlock()
	for mic.sent(1) < last+50 {
	}
	b.heard("a", Camera, seen+10)
	b.mu.Lock()
	if now := b.from("a", Microphone).packets; now > heard {
		t.Errorf("%d packets of a muted track were forwarded", now-heard)
	}
	b.mu.Unlock()
	if err := r.Mute("a", Microphone, false); err != nil {
		t.Fatal(err)
	}
	b.heard("a", Microphone, heard+10)
	b.mu.Lock()
	if g := b.from("a", Microphone); g.gaps > 0 {
		t.Errorf("after the silence %d packets seem lost", g.gaps)
	}
	b.mu.Unlock()
	if err := r.Mute("z", Microphone, true); !errors.Is(err, ErrNotFound) {
		t.Errorf("mute nobody: %v", err)
	}
}

func TestTCPAlone(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{tcp: true}), join(t, r, "b", clientOptions{tcp: true})
	a.publishAudio(20*time.Millisecond, 127)
	b.publishVideo(Camera, 50*time.Millisecond, 200_000)
	b.heard("a", Microphone, 50)
	a.heard("b", Camera, 50)
}

func TestAnAddressThatChangesKeepsThePeer(t *testing.T) {
	t.Parallel()
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{OnGone: func(peer string, why error) { t.Errorf("%s is gone: %v", peer, why) }})
	line := newProxy(t, s.Addrs()[0], 3)
	a, b := join(t, r, "a", clientOptions{via: line.addr()}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	b.publishAudio(20*time.Millisecond, 127)
	a.heard("b", Microphone, 50)
	b.heard("a", Microphone, 50)
	line.forget()
	a.heard("b", Microphone, 150)
	b.heard("a", Microphone, 150)
}

func TestAnICERestartKeepsThePeer(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{OnGone: func(peer string, why error) { t.Errorf("%s is gone: %v", peer, why) }})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	b.publishAudio(20*time.Millisecond, 127)
	a.heard("b", Microphone, 20)
	b.heard("a", Microphone, 20)
	ufrag := regexp.MustCompile(`a=ice-ufrag:\S+`)
	before := ufrag.FindString(a.pc.RemoteDescription().SDP)
	a.signals <- restart{}
	a.until("new credentials of the server", func() bool { return ufrag.FindString(a.pc.RemoteDescription().SDP) != before })
	a.mu.Lock()
	heard := a.from("b", Microphone).packets
	a.mu.Unlock()
	a.heard("b", Microphone, heard+100)
	b.heard("a", Microphone, heard+100)
}

func TestAPeerWhoseTransportStaysAwayIsRemoved(t *testing.T) {
	t.Parallel()
	gone := make(chan error, 1)
	s := serve(t, Options{GoneAfter: time.Second})
	r := open1(t, s, RoomOptions{OnGone: func(peer string, why error) {
		if peer == "a" {
			gone <- why
		}
	}})
	line := newProxy(t, s.Addrs()[0], 5)
	a, b := join(t, r, "a", clientOptions{via: line.addr()}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	b.heard("a", Microphone, 20)
	line.set(1, 0)
	select {
	case why := <-gone:
		if !errors.Is(why, ErrGone) {
			t.Errorf("gone because of %v", why)
		}
	case <-time.After(patience):
		t.Fatal("nobody noticed")
	}
	if r.Peer("a") != nil || len(r.Tracks()) != 0 {
		t.Error("a ghost is left")
	}
	b.until("its track is gone", func() bool { return b.from("a", Microphone) == nil })
}

func TestWhoSpeaksIsTold(t *testing.T) {
	told := make(chan []string, 100)
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{OnSpeakers: func(peers []string) { told <- peers }})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 20)
	quiet := b.publishAudio(20*time.Millisecond, 100)
	expect := func(want ...string) {
		t.Helper()
		for {
			select {
			case got := <-told:
				if fmt.Sprint(got) == fmt.Sprint(want) {
					return
				}
			case <-time.After(patience):
				t.Fatalf("never %v", want)
			}
		}
	}
	expect("a")
	quiet.loud(20)
	expect("a", "b")
}

func TestAdmission(t *testing.T) {
	s := serve(t, Options{Limits: Limits{Peers: 3, Tracks: 2, Packets: 10_000}})
	r := open1(t, s, RoomOptions{})
	a := join(t, r, "a", clientOptions{})
	if _, err := tryJoin(t, r, "a", clientOptions{}); !errors.Is(err, ErrExists) {
		t.Errorf("twice: %v", err)
	}
	if _, err := tryJoin(t, r, "a b", clientOptions{}); !errors.Is(err, ErrName) {
		t.Errorf("a name with a space: %v", err)
	}
	join(t, r, "b", clientOptions{})
	join(t, r, "c", clientOptions{})
	if _, err := tryJoin(t, r, "d", clientOptions{}); !errors.Is(err, ErrRoomFull) {
		t.Errorf("a fourth of three: %v", err)
	}
	var lines []string
	for i := range 3 {
		lines = append(lines, fmt.Sprintf("m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:%d\r\na=sendonly\r\n", i))
	}
	if err := a.peer.Offer("v=0\r\n"+strings.Join(lines, ""), nil); !errors.Is(err, ErrTracks) {
		t.Errorf("three tracks of two: %v", err)
	}
	if err := a.peer.Offer("nonsense", nil); !errors.Is(err, ErrSDP) {
		t.Errorf("nonsense: %v", err)
	}
	if err := a.peer.Answer(77, "v=0\r\nm=audio 9 x\r\n"); !errors.Is(err, ErrStale) {
		t.Errorf("an answer to nothing: %v", err)
	}

	small := serve(t, Options{Limits: Limits{Packets: 120}})
	tight := open1(t, small, RoomOptions{})
	one, two := join(t, tight, "one", clientOptions{}), join(t, tight, "two", clientOptions{})
	one.publishAudio(20*time.Millisecond, 127)
	two.heard("one", Microphone, 5)
	var capacity *CapacityError
	if err := two.peer.Offer("v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:9\r\na=sendonly\r\n", nil); !errors.Is(err, ErrCapacity) || !errors.As(err, &capacity) || capacity.What != "packets" {
		t.Errorf("a video without room for it: %v", err)
	}
	two.heard("one", Microphone, 20)
}

func TestATapGetsATrackAndNeverHoldsItUp(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	mic := a.publishAudio(20*time.Millisecond, 127)
	b.heard("a", Microphone, 5)
	tap, err := r.Tap(r.Tracks()[0].ID, 10)
	if err != nil {
		t.Fatal(err)
	}
	if codec := tap.Codec(); codec.MimeType != "audio/opus" || codec.ClockRate != 48000 || tap.Track().Peer != "a" {
		t.Errorf("the tap is of %+v, %+v", tap.Track(), codec)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var last Packet
	for i := range 20 {
		p, err := tap.Read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 && (p.Seq != last.Seq+1 || p.Timestamp != last.Timestamp+960 || len(p.Payload) != 80) {
			t.Fatalf("packet %d of %d bytes follows %d, time %d follows %d", p.Seq, len(p.Payload), last.Seq, p.Timestamp, last.Timestamp)
		}
		last = p
	}
	b.mu.Lock()
	heard := b.from("a", Microphone).packets
	b.mu.Unlock()
	mic.sent(30)
	b.heard("a", Microphone, heard+30)
	if tap.Lost() == 0 {
		t.Error("a tap that nobody reads lost nothing")
	}
	a.close()
	for {
		if _, err := tap.Read(ctx); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	tap.Close()
	if _, err := r.Tap("nothing", 1); !errors.Is(err, ErrNotFound) {
		t.Errorf("a tap of nothing: %v", err)
	}
}

func TestStats(t *testing.T) {
	s := serve(t, Options{})
	r := open1(t, s, RoomOptions{})
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishVideo(Camera, 50*time.Millisecond, 100_000)
	b.heard("a", Camera, 30)
	all := s.Stats()
	if len(all.Rooms) != 1 || len(all.Rooms[0].Peers) != 2 || all.Packets < 30 {
		t.Fatalf("stats: %+v", all)
	}
	from, to := all.Rooms[0].Peers[0], all.Rooms[0].Peers[1]
	if len(from.Tracks) != 1 || len(to.Gets) != 1 {
		t.Fatalf("a publishes %+v, b gets %+v", from.Tracks, to.Gets)
	}
	layer, gets := from.Tracks[0].Layers[0], to.Gets[0]
	if layer.Packets < 30 || layer.Bytes < 30*100 || layer.PLIs < 1 || layer.Width != 320 || from.Tracks[0].Codec != "video/VP8" || from.Tracks[0].Source != Camera {
		t.Errorf("the publisher's track: %+v", from.Tracks[0])
	}
	if gets.Packets < 30 || gets.Layer != 0 || gets.Track != from.Tracks[0].ID || to.State != Connected || to.Estimate == 0 {
		t.Errorf("the subscriber: %+v", to)
	}
}

// settle waits until the number of goroutines is at most what it was.
func settle(t *testing.T, before int) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for runtime.NumGoroutine() > before {
		select {
		case <-tick.C:
		case <-deadline:
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestNothingIsLeftOfThoseWhoLeft(t *testing.T) {
	rounds := 60
	if os.Getenv("QUCKCHAT_TORTURE") != "" {
		rounds = 500
	}
	s := serve(t, Options{})
	settled := runtime.NumGoroutine()
	var heap uint64
	for round := range rounds {
		r, err := s.Room(fmt.Sprint("room", round), RoomOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var clients []*client
		for i := range 4 {
			c := join(t, r, fmt.Sprintf("p%d", i), clientOptions{brief: true})
			c.publishAudio(50*time.Millisecond, 127)
			clients = append(clients, c)
		}
		if round%4 == 0 {
			clients[0].heard("p1", Microphone, 2)
			clients[3].heard("p0", Microphone, 2)
		}
		var wg sync.WaitGroup
		for i, c := range clients {
			wg.Go(func() {
				if i%2 == 0 {
					c.close()
				} else {
					c.kill() // without signalling: the server hears it on the transport
					c.peer.Close()
				}
			})
		}
		wg.Wait()
		r.Close()
		if round == rounds/2 {
			settle(t, settled)
			heap = live()
		}
	}
	settle(t, settled)
	if now := live(); now > heap+8<<20 {
		t.Errorf("%d KiB live, %d after half of it", now>>10, heap>>10)
	}
	if left := len(s.Stats().Rooms); left > 0 {
		t.Errorf("%d rooms are left", left)
	}
}

func live() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestCloseGivesThePortBack(t *testing.T) {
	before := runtime.NumGoroutine()
	s, err := New(Options{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	addr := s.Addrs()[0]
	r, err := s.Room("r", RoomOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a, b := join(t, r, "a", clientOptions{}), join(t, r, "b", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	b.heard("a", Microphone, 10)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Join("c", PeerOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("join after close: %v", err)
	}
	if _, err := s.Room("x", RoomOptions{}); !errors.Is(err, ErrClosed) {
		t.Errorf("a room after close: %v", err)
	}
	a.close()
	b.close()
	settle(t, before)
	again, err := New(Options{Listen: addr.String()})
	if err != nil {
		t.Fatal(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestPublicAddressesComeFirst(t *testing.T) {
	s := serve(t, Options{Public: []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}})
	addrs := s.Addrs()
	if len(addrs) != 2 || addrs[0].Addr().String() != "203.0.113.7" || addrs[1].Addr().String() != "127.0.0.1" || addrs[0].Port() != addrs[1].Port() {
		t.Errorf("addresses: %v", addrs)
	}
	offers := make(chan Offer, 1)
	r := open1(t, s, RoomOptions{})
	a := join(t, r, "a", clientOptions{})
	a.publishAudio(20*time.Millisecond, 127)
	if _, err := r.Join("b", PeerOptions{OnOffer: func(o Offer) { offers <- o }, OnAnswer: func(Answer) {}}); err != nil {
		t.Fatal(err)
	}
	offer := <-offers
	for _, want := range []string{"a=ice-lite", " udp 2130706431 203.0.113.7 ", " 203.0.113.7 ", "tcptype passive", "typ host"} {
		if !strings.Contains(offer.SDP, want) {
			t.Errorf("no %q in the offer:\n%s", want, offer.SDP)
		}
	}
	if offer.Tracks[0].MID == "" || offer.Tracks[0].Peer != "a" || offer.Tracks[0].Source != Microphone || offer.Tracks[0].Kind != "audio" {
		t.Errorf("the track is told as %+v", offer.Tracks[0])
	}
}
