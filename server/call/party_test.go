package call_test

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"

	"github.com/quckchat/quckchat/server/servertest"
)

//go:embed testdata/huddle.js
var huddleScript string

// film is a short picture and sound, made once, that synthetic people send over and over.
type film struct {
	pictures, sounds [][]byte
	pause            time.Duration // between two pictures
}

func shoot(t *testing.T) *film {
	t.Helper()
	ffmpeg, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Skip("SKIPPED: no huddle is tried with pictures, because ffmpeg was not found: apt-get install ffmpeg")
	}
	dir := t.TempDir()
	picture, sound := filepath.Join(dir, "p.ivf"), filepath.Join(dir, "s.ogg")
	for _, args := range [][]string{
		{"-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10:duration=3", "-c:v", "libvpx", "-b:v", "100k", "-g", "10", "-deadline", "realtime", "-cpu-used", "8", picture},
		{"-f", "lavfi", "-i", "sine=frequency=440:duration=3", "-c:a", "libopus", "-b:a", "24k", "-page_duration", "20000", sound},
	} {
		if out, err := exec.Command(ffmpeg, append([]string{"-v", "error"}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg: %v\n%s", err, out)
		}
	}
	f := &film{pause: 100 * time.Millisecond}
	p, err := os.Open(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	ivf, _, err := ivfreader.NewWith(p)
	for err == nil {
		var b []byte
		if b, _, err = ivf.ParseNextFrame(); err == nil {
			f.pictures = append(f.pictures, b)
		}
	}
	s, err := os.Open(sound)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	ogg, _, err := oggreader.NewWith(s)
	for err == nil {
		var b []byte
		if b, _, err = ogg.ParseNextPage(); err == nil {
			f.sounds = append(f.sounds, b)
		}
	}
	if !errors.Is(err, io.EOF) || len(f.pictures) < 20 || len(f.sounds) < 100 {
		t.Fatalf("%d pictures, %d sounds: %v", len(f.pictures), len(f.sounds), err)
	}
	return f
}

// guest is a synthetic person in a huddle: a native socket and a peer connection.
type guest struct {
	t      testing.TB
	user   *servertest.User
	roomID string
	ws     *websocket.Conn
	pc     *webrtc.PeerConnection
	end    chan struct{}
	once   sync.Once

	mu    sync.Mutex
	next  int
	asks  map[int]chan servertest.Frame
	owner map[string]string // of a mid: who publishes what it carries
	got   map[string]int    // packets of each person's audio and video
	steps chan func()

	audio, video *webrtc.TrackLocalStaticSample
	published    bool // on this connection
}

func newGuest(t testing.TB, u *servertest.User, roomID string) *guest {
	t.Helper()
	ws, _, err := websocket.DefaultDialer.Dial("ws"+strings.TrimPrefix(u.Server.URL, "http")+"/api/v1/ws", http.Header{"Authorization": {"Bearer " + u.Token}})
	if err != nil {
		t.Fatal(err)
	}
	g := &guest{t: t, user: u, roomID: roomID, ws: ws, end: make(chan struct{}), asks: map[int]chan servertest.Frame{}, owner: map[string]string{}, got: map[string]int{}, steps: make(chan func(), 64)}
	go g.read()
	go func() {
		for {
			select {
			case f := <-g.steps:
				f()
			case <-g.end:
				return
			}
		}
	}()
	return g
}

func (g *guest) read() {
	for {
		_, raw, err := g.ws.ReadMessage()
		if err != nil {
			g.leave()
			return
		}
		var f servertest.Frame
		if json.Unmarshal(raw, &f) != nil {
			continue
		}
		g.mu.Lock()
		ask := g.asks[f.ID]
		g.mu.Unlock()
		switch {
		case f.Event == "huddle:offer" || f.Event == "huddle:answer":
			select {
			case g.steps <- func() { g.described(f) }:
			case <-g.end:
			}
		case f.Event == "" && ask != nil:
			ask <- f
		}
	}
}

// ask sends a request; the error is its code.
func (g *guest) ask(op string, data any) error {
	answer := make(chan servertest.Frame, 1)
	g.mu.Lock()
	g.next++
	g.asks[g.next] = answer
	err := g.ws.WriteJSON(map[string]any{"id": g.next, "op": op, "data": data})
	g.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case f := <-answer:
		if !f.OK {
			return errors.New(f.Error.Code)
		}
		return nil
	case <-g.end:
		return errors.New("left")
	case <-time.After(servertest.Patience):
		return fmt.Errorf("%s is not answered", op)
	}
}

// join comes to the huddle and publishes the film; without one, silence.
func (g *guest) join(f *film) {
	g.t.Helper()
	if err := g.ask("huddle:join", map[string]any{"roomId": g.roomID}); err != nil {
		g.t.Errorf("%s comes: %v", g.user.Name, err)
		return
	}
	g.video, _ = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8}, "v", "s")
	g.audio, _ = webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, "a", "s")
	if f != nil {
		go g.play(g.video, f.pictures, f.pause)
		go g.play(g.audio, f.sounds, 20*time.Millisecond)
	} else {
		g.video = nil
		go g.play(g.audio, [][]byte{{0xf8, 0xff, 0xfe}}, 20*time.Millisecond)
	}
	select {
	case g.steps <- g.connect:
	case <-g.end:
	}
}

// connect begins anew with the SFU. A browser rolls its offer back when the server's comes across it; pion cannot, and gives
// its m-lines names that the server's have too: so it begins anew then, and says what it sends after the server's first offer.
func (g *guest) connect() {
	if g.pc != nil {
		_ = g.pc.Close()
	}
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err == nil {
		pc.OnTrack(func(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) { g.hear(pc, track, receiver) })
		g.mu.Lock()
		g.pc, g.published = pc, false
		g.mu.Unlock()
		err = g.ask("huddle:connect", map[string]any{"roomId": g.roomID})
	}
	g.report(err)
	time.AfterFunc(300*time.Millisecond, func() {
		select {
		case g.steps <- g.publish:
		case <-g.end:
		}
	})
}

// publish says what it sends, once.
func (g *guest) publish() {
	if g.published || g.pc.SignalingState() != webrtc.SignalingStateStable {
		return
	}
	g.published = true
	for _, track := range []*webrtc.TrackLocalStaticSample{g.audio, g.video} {
		if track == nil {
			continue
		}
		if _, err := g.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
			g.report(err)
			return
		}
	}
	o, err := g.pc.CreateOffer(nil)
	if err == nil {
		err = g.ask("huddle:offer", map[string]any{"roomId": g.roomID, "sdp": o.SDP})
	}
	switch {
	case err == nil:
		err = g.pc.SetLocalDescription(o)
	case err.Error() == "SFU_GLARE":
		g.connect()
		return
	}
	g.report(err)
}

func (g *guest) play(track *webrtc.TrackLocalStaticSample, samples [][]byte, pause time.Duration) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-tick.C:
		case <-g.end:
			return
		}
		_ = track.WriteSample(media.Sample{Data: samples[i%len(samples)], Duration: pause})
	}
}

func (g *guest) hear(pc *webrtc.PeerConnection, track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	for {
		_, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		mid := ""
		for _, tr := range pc.GetTransceivers() {
			if tr.Receiver() == receiver {
				mid = tr.Mid()
			}
		}
		g.mu.Lock()
		g.got[g.owner[mid]+" "+track.Kind().String()]++
		g.mu.Unlock()
	}
}

func (g *guest) report(err error) {
	select {
	case <-g.end: // whatever it was
	default:
		if err != nil && err.Error() != "HUDDLE_NOT_FOUND" { // it has left over REST, and signals were under way
			g.t.Errorf("%s: %v", g.user.Name, err)
		}
	}
}

func (g *guest) described(f servertest.Frame) {
	var v struct {
		ID     uint64
		SDP    string
		Tracks []struct{ MID, Peer string }
	}
	if err := json.Unmarshal(f.Data, &v); err != nil || g.pc == nil {
		return
	}
	if f.Event == "huddle:offer" && g.pc.SignalingState() != webrtc.SignalingStateStable {
		return // of the connection before
	}
	if f.Event == "huddle:answer" {
		if g.pc.SignalingState() == webrtc.SignalingStateHaveLocalOffer {
			g.report(g.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: v.SDP}))
		}
		return
	}
	g.mu.Lock()
	for _, track := range v.Tracks {
		g.owner[track.MID] = track.Peer
	}
	g.mu.Unlock()
	err := g.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: v.SDP})
	var a webrtc.SessionDescription
	if err == nil {
		a, err = g.pc.CreateAnswer(nil)
	}
	if err == nil {
		err = g.pc.SetLocalDescription(a)
	}
	if err == nil {
		err = g.ask("huddle:answer", map[string]any{"roomId": g.roomID, "id": v.ID, "sdp": a.SDP})
		if err != nil && err.Error() == "SFU_STALE" {
			err = nil
		}
	}
	g.report(err)
	g.publish()
}

// leave goes without a word, as a client that is killed.
func (g *guest) leave() {
	g.once.Do(func() {
		close(g.end)
		g.ws.Close()
		g.mu.Lock()
		pc := g.pc
		g.mu.Unlock()
		if pc != nil {
			_ = pc.Close()
		}
	})
}

// hears reports whether so many packets of everybody else have come.
func (g *guest) hears(people []string, kinds []string, packets int) (missing []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range people {
		for _, kind := range kinds {
			if id != g.user.ID && g.got[id+" "+kind] < packets {
				missing = append(missing, fmt.Sprintf("%s %s %d", id, kind, g.got[id+" "+kind]))
			}
		}
	}
	return missing
}

// Two cores that do anything else meanwhile do not bear a party of twelve with its pictures: it is one of the torture tests.
func TestAPartyAndABrowserInAHuddle(t *testing.T) {
	if os.Getenv("QUCKCHAT_TORTURE") == "" {
		t.Skip("QUCKCHAT_TORTURE is not set")
	}
	const size = 12
	f := shoot(t)
	s := servertest.Start(t, "QUCKCHAT_SFU_LISTEN=127.0.0.1:0", "QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_TURN_PUBLIC_IP=127.0.0.1")
	users := make([]*servertest.User, size)
	ids := make([]string, len(users))
	for i := range users {
		users[i] = s.Register(fmt.Sprint("guest", i))
		ids[i] = users[i].ID
	}
	room := users[0].Group("g", users[1:]...)
	h := startHuddle(users[0], room)
	page := servertest.OpenPage(t, "", s.URL)
	guests := make([]*guest, size-1)
	for i := range guests {
		guests[i] = newGuest(t, users[i], h.RoomID)
		t.Cleanup(guests[i].leave)
		guests[i].join(f)
	}
	servertest.Eval[any](page, fmt.Sprintf("%s; window.h = huddler(%q, %q, true); h.open().then(() => h.join())", huddleScript, users[size-1].Token, h.RoomID))
	type person struct{ Frames, Sounds, Width int }
	got := servertest.Eval[map[string]person](page, fmt.Sprintf("h.gets(%d, 10)", size-1))
	for _, id := range ids[:size-1] {
		if p := got[id]; p.Frames < 10 || p.Sounds <= 20 {
			t.Errorf("the browser gets %+v of %s", p, id)
		}
	}
	for _, g := range guests {
		var missing []string
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			if missing = g.hears(ids, []string{"audio", "video"}, 20); len(missing) == 0 || time.Now().After(deadline) {
				break
			}
		}
		if len(missing) > 0 {
			t.Errorf("%s does not get %v", g.user.Name, missing)
		}
	}
	t.Logf("%d people, everybody gets all others; the browser: %+v", size, got)
}

// Many come and go, some of them without a word: in the end nobody is in a huddle who is not there, and everything that they
// took is given back.
func TestNobodyIsLeftWhenManyHaveComeAndGone(t *testing.T) {
	times, pause := 60, 20*time.Millisecond
	if os.Getenv("QUCKCHAT_TORTURE") != "" {
		times, pause = 2000, 280*time.Millisecond // ten minutes
	}
	s := servertest.Start(t, "QUCKCHAT_SFU_LISTEN=127.0.0.1:0")
	users := make([]*servertest.User, 14)
	for i := range users {
		users[i] = s.Register(fmt.Sprint("guest", i))
	}
	chat := users[0].Group("g", users[1:]...)
	hosts := [2]*guest{}
	var rooms [2]string
	for i := range hosts {
		rooms[i] = startHuddle(users[i], chat).RoomID
		hosts[i] = newGuest(t, users[i], rooms[i])
		t.Cleanup(hosts[i].leave)
	}
	before, memory := goroutines(), rss(t)
	inside := map[int]*guest{} // of the users from 2 on
	in := map[int]int{}        // the room of each
	random := rand.New(rand.NewPCG(1, 2))
	comings := 0
	for comings < times {
		i := 2 + random.IntN(len(users)-2)
		if g := inside[i]; g != nil {
			if random.IntN(2) == 0 {
				users[i].Do("POST", "/huddle/"+rooms[in[i]]+"/leave", nil).OK(nil)
			}
			g.leave()
			delete(inside, i)
			continue
		}
		in[i] = random.IntN(2)
		people := 1
		for j := range inside {
			if in[j] == in[i] {
				people++
			}
		}
		if people >= 6 {
			continue
		}
		users[i] = users[i].Refreshed()
		inside[i] = newGuest(t, users[i], rooms[in[i]])
		inside[i].join(nil)
		comings++
		time.Sleep(pause)
	}
	for _, g := range inside {
		g.leave()
	}
	for deadline := time.Now().Add(servertest.Patience); ; time.Sleep(50 * time.Millisecond) {
		s.Advance(31 * time.Second) // of those who went without a word
		ghosts := 0
		for i, roomID := range rooms {
			var people []any
			users[i] = users[i].Refreshed()
			users[i].Do("GET", "/huddle/"+roomID+"/participants", nil).OK(&people)
			ghosts += len(people) - 1
		}
		now := goroutines()
		if ghosts == 0 && now <= before+5 {
			t.Logf("%d came: no ghosts; %d goroutines, %d before; %d MiB, %d before", comings, now, before, rss(t)>>20, memory>>20)
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d ghosts; %d goroutines, %d before", ghosts, now, before)
		}
	}
}

func goroutines() int {
	http.DefaultClient.CloseIdleConnections()
	runtime.GC()
	return runtime.NumGoroutine()
}

// rss is the memory of this process, servers and clients together, in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	debug.FreeOSMemory()
	raw, err := os.ReadFile("/proc/self/statm")
	var size, resident int64
	if err == nil {
		_, err = fmt.Sscan(string(raw), &size, &resident)
	}
	if err != nil {
		t.Fatal(err)
	}
	return resident * int64(os.Getpagesize())
}
