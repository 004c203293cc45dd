package sfu

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

func TestParseVP8(t *testing.T) {
	key := func(head ...byte) []byte {
		return append(head, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01, 9, 9) // 640 x 360
	}
	for name, c := range map[string]struct {
		payload []byte
		want    vp8
	}{
		"nothing":            {nil, vp8{}},
		"no extension, key":  {key(0x10), vp8{key: true, width: 640}},
		"not the first part": {key(0x00), vp8{}},
		"partition one":      {key(0x11), vp8{}},
		"15 bits and tl0":    {key(0x90, 0xC0, 0x81, 0x02, 7), vp8{hasPid: true, pidAt: 2, pid: 0x102, tl0At: 4, tl0: 7, key: true, width: 640}},
		"7 bits":             {key(0x90, 0x80, 0x7F), vp8{hasPid: true, pidAt: 2, pid: 0x7F, key: true, width: 640}},
		"tid and keyidx":     {key(0x90, 0xF0, 0x05, 7, 0xE0), vp8{hasPid: true, pidAt: 2, pid: 5, tl0At: 3, tl0: 7, key: true, width: 640}},
		"predicted":          {[]byte{0x10, 1, 0, 0}, vp8{}},
		"cut":                {[]byte{0x90, 0xC0, 0x81}, vp8{}},
	} {
		if got := parseVP8(c.payload); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestPuttingTheOldPictureIDsUndoesIt(t *testing.T) {
	for _, payload := range [][]byte{{0x90, 0xC0, 0xFF, 0xFE, 0xFF, 1}, {0x90, 0xC0, 0x7E, 0xFF, 1}, {0x90, 0x40, 3, 1}, {0x10, 1}} {
		b := bytes.Clone(payload)
		v := parseVP8(b)
		v.put(b, v.pid+5, v.tl0+5)
		if w := parseVP8(b); w.hasPid && (w.pid-v.pid)&0x7F != 5 || w.tl0At > 0 && w.tl0 != v.tl0+5 || w.hasPid != v.hasPid {
			t.Errorf("%x became %x: %+v", payload, b, w)
		}
		v.put(b, v.pid, v.tl0)
		if !bytes.Equal(b, payload) {
			t.Errorf("%x came back as %x", payload, b)
		}
	}
}

func TestKeyFrames(t *testing.T) {
	for _, c := range []struct {
		codec   string
		payload []byte
		want    bool
	}{
		{mimeH264, []byte{0x65, 1}, true}, {mimeH264, []byte{0x67, 1}, true}, {mimeH264, []byte{0x61, 1}, false},
		{mimeH264, []byte{24, 0, 2, 0x67, 1, 0, 2, 0x65, 1}, true}, {mimeH264, []byte{24, 0, 2, 0x61, 1}, false},
		{mimeH264, []byte{24, 0xFF, 0xFF, 0x61, 1}, false}, {mimeH264, []byte{28, 0x85}, true}, {mimeH264, []byte{28, 0x05}, false},
		{mimeH264, []byte{28, 0x81}, false},
		{mimeVP9, []byte{0x08, 0}, true}, {mimeVP9, []byte{0x48, 0}, false}, {mimeVP9, []byte{0x00, 0}, false},
		{mimeVP9, []byte{0xA8, 0x01, 0x00, 0}, true}, {mimeVP9, []byte{0xA8, 0x81, 0x01, 0x02}, false},
		{mimeAV1, []byte{0x18, 0}, true}, {mimeAV1, []byte{0x10, 0}, false},
		{"video/other", []byte{1, 2}, true}, {mimeAV1, []byte{0x18}, false},
	} {
		if got := keyFrame(c.codec, c.payload); got != c.want {
			t.Errorf("%s %x: %v", c.codec, c.payload, got)
		}
	}
}

func FuzzPayloads(f *testing.F) {
	f.Add([]byte{0x90, 0xC0, 0x81, 0x02, 7, 0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1})
	f.Add([]byte{24, 0, 2, 0x67, 1, 0, 2, 0x65, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, codec := range []string{mimeH264, mimeVP9, mimeAV1} {
			keyFrame(codec, b)
		}
		old := bytes.Clone(b)
		v := parseVP8(b)
		v.put(b, v.pid+1, v.tl0+1)
		v.put(b, v.pid, v.tl0)
		if !bytes.Equal(old, b) {
			t.Fatalf("%x became %x", old, b)
		}
	})
}

func TestTheCacheKeepsTheNewest(t *testing.T) {
	c := newCache(4)
	for seq := uint16(65533); seq != 3; seq++ {
		c.put(&packet{seq: seq, ts: uint32(seq), payload: fmt.Appendf(nil, "packet %d", seq)})
	}
	c.put(&packet{seq: 65534, payload: []byte("late")}) // its place has a newer one
	for seq := uint16(65533); seq != 4; seq++ {
		p, ok := c.copy(seq, nil)
		if want := newer(seq, 65534) && seq != 3; ok != want || ok && string(p.payload) != fmt.Sprintf("packet %d", seq) {
			t.Errorf("packet %d: %v %q", seq, ok, p.payload)
		}
	}
}

func TestAllocate(t *testing.T) {
	layers := [layerCount]int64{100, 300, 900}
	for name, c := range map[string]struct {
		budget int64
		wants  []*want
		chosen []int
		short  int64
	}{
		"all fits":                  {10_000, []*want{{rates: layers, top: 2, now: 2}, {rates: layers, top: 2, now: 2}}, []int{2, 2}, 0},
		"the lowest for all first":  {450, []*want{{rates: layers, top: 2, now: 0}, {rates: layers, top: 2, now: 0}}, []int{1, 0}, 690},
		"the speaker first":         {450, []*want{{rates: layers, top: 2, now: 0}, {rates: layers, top: 2, now: 0, first: true}}, []int{0, 1}, 690},
		"a small view":              {10_000, []*want{{rates: layers, top: 0, now: 2}, {rates: layers, top: 1, now: 1}}, []int{0, 1}, 0},
		"not even the lowest":       {90, []*want{{rates: layers, top: 2, now: 0}}, []int{-1}, 100},
		"what is paused needs more": {110, []*want{{rates: layers, top: 2, now: -1}}, []int{-1}, 125},
		"back again":                {125, []*want{{rates: layers, top: 2, now: -1}}, []int{0}, 375},
		"up needs a margin":         {310, []*want{{rates: layers, top: 1, now: 0}}, []int{0}, 345},
		"staying does not":          {310, []*want{{rates: layers, top: 1, now: 1}}, []int{1}, 0},
		"a layer that does not run": {5000, []*want{{rates: [layerCount]int64{100, 0, 900}, top: 1, now: 1}}, []int{0}, 0},
		"one of two is paused":      {150, []*want{{rates: layers, top: 2, now: 0}, {rates: layers, top: 2, now: 0}}, []int{0, -1}, 200},
		"nobody":                    {150, nil, nil, 0},
	} {
		wants := append([]*want(nil), c.wants...)
		short := allocate(c.budget, wants)
		for i, w := range c.wants {
			if w.chosen != c.chosen[i] {
				t.Errorf("%s: video %d gets layer %d, want %d", name, i, w.chosen, c.chosen[i])
			}
		}
		if short != c.short {
			t.Errorf("%s: %d would have been needed, want %d", name, short, c.short)
		}
	}
}

// talk runs voices through a floor: levels by peer for so long.
func talk(f *floor, voices []*voice, levels map[string]uint8, during time.Duration) (changes int) {
	const interval = 100 * time.Millisecond
	for ; during > 0; during -= interval {
		for _, v := range voices {
			level, heard := levels[v.peer]
			v.hear(level, heard, interval)
		}
		if f.update(voices, interval) {
			changes++
		}
	}
	return changes
}

func TestWhoHasTheFloor(t *testing.T) {
	var f floor
	a, b, c := &voice{peer: "a"}, &voice{peer: "b"}, &voice{peer: "c"}
	voices := []*voice{a, b, c}
	is := func(want ...string) {
		t.Helper()
		if fmt.Sprint(f.speakers) != fmt.Sprint(want) {
			t.Fatalf("%v speak, want %v", f.speakers, want)
		}
	}
	talk(&f, voices, map[string]uint8{"a": 90, "b": 127}, 2*time.Second)
	is()
	talk(&f, voices, map[string]uint8{"a": 30}, 200*time.Millisecond) // a cough
	talk(&f, voices, nil, 2*time.Second)
	is()
	talk(&f, voices, map[string]uint8{"a": 30, "b": 80}, time.Second)
	is("a")
	talk(&f, voices, nil, time.Second) // a breath
	is("a")
	talk(&f, voices, map[string]uint8{"a": 30, "b": 28}, 3*time.Second) // as loud as the first: the first stays
	is("a", "b")
	talk(&f, voices, map[string]uint8{"a": 40, "b": 10}, 500*time.Millisecond)
	is("a", "b")
	talk(&f, voices, map[string]uint8{"a": 40, "b": 10}, 2*time.Second)
	is("b", "a")
	talk(&f, voices, map[string]uint8{"a": 30, "b": 30, "c": 30}, time.Second)
	is("b", "a", "c")
	if n := talk(&f, voices, map[string]uint8{"a": 30, "b": 33, "c": 28}, 5*time.Second); n > 0 {
		t.Errorf("%d changes among people who are equally loud", n)
	}
	talk(&f, voices, nil, 2*time.Second)
	is()
}

func TestABucketLetsASecondsWorthPass(t *testing.T) {
	b := bucket{rate: 1000}
	now := time.Unix(1, 0)
	passed := 0
	for range 30 {
		if b.pass(now, 100) {
			passed++
		}
	}
	if passed != 10 {
		t.Errorf("%d of 30 passed at once, want 10", passed)
	}
	if now = now.Add(200 * time.Millisecond); !b.pass(now, 200) || b.pass(now, 1) {
		t.Error("200 ms are not 200 bytes")
	}
}

func TestRates(t *testing.T) {
	var m meter
	now := time.Unix(1, 0)
	m.roll(now)
	for range 10 {
		for range 50 {
			m.add(100)
		}
		now = now.Add(500 * time.Millisecond)
		m.roll(now)
	}
	if bits, pps := m.bits.Load(), m.pps.Load(); bits != 80_000 || pps != 100 {
		t.Errorf("%d bit/s, %d packets/s", bits, pps)
	}
	m.roll(now.Add(time.Second))
	if m.bits.Load() != 0 {
		t.Error("a rate without packets")
	}
}

func TestAdmissionRemembersItsPromises(t *testing.T) {
	l := load{limits: Limits{Packets: 200, Uplink: 1_000_000, CPU: 2}}
	who, other := "a", "b"
	now := time.Unix(1, 0)
	if err := l.admit(&other, now, 4, 0); err != nil {
		t.Fatal(err)
	}
	l.release(&other) // gone again
	if err := l.admit(&who, now, 3, 0); err != nil {
		t.Fatal(err)
	}
	var e *CapacityError
	if err := l.admit(&who, now, 2, 0); !errors.As(err, &e) || e.What != "packets" || e.Used != 150 {
		t.Errorf("five of four: %v", err)
	}
	if err := l.admit(&who, now, 1, 0); err != nil {
		t.Error(err)
	}
	l.measure(now.Add(11*time.Second), 0) // they never came
	if err := l.admit(&who, now.Add(11*time.Second), 0, 1); err != nil {
		t.Error(err)
	}
	if err := l.admit(&who, now.Add(11*time.Second), 1, 0); err != nil {
		t.Error(err)
	}
	if err := l.admit(&who, now.Add(11*time.Second), 0, 1); !errors.As(err, &e) || e.What != "packets" {
		t.Errorf("%v", err)
	}
	l.limits.Packets = 10_000
	if err := l.admit(&who, now.Add(11*time.Second), 0, 1); !errors.As(err, &e) || e.What != "uplink" {
		t.Errorf("%v", err)
	}
	l.limits.Uplink = 0
	for i := range 20 {
		l.measure(now.Add(time.Duration(12+i)*time.Second), time.Duration(3*i)*time.Second)
	}
	if err := l.admit(&who, now.Add(40*time.Second), 1, 0); !errors.As(err, &e) || e.What != "cpu" {
		t.Errorf("%v", err)
	}
	if err := l.admit(&who, now.Add(40*time.Second), 0, 0); err != nil {
		t.Errorf("nothing costs something: %v", err)
	}
}

const clientSDP = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 1 0\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 minptime=10\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\na=sendonly\r\n" +
	"m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=recvonly\r\na=end-of-candidates\r\n"

func TestOfAClientsDescription(t *testing.T) {
	head, sections, err := parseSDP(clientSDP)
	if err != nil {
		t.Fatal(err)
	}
	if len(sections) != 2 || sections[0].mid != "0" || !sections[0].sends || sections[1].sends || sections[1].kind != "video" {
		t.Errorf("sections: %+v", sections)
	}
	if text := inbound(head, sections); strings.Contains(text, "candidate") || !strings.Contains(text, "a=mid:1\r\n") {
		t.Errorf("inbound:\n%s", text)
	}
	for _, bad := range []string{"", "v=0", strings.Repeat("x", maxSDP+1), "v=0\nm=application 9 x\n", "v=0\n" + strings.Repeat("m=audio 9 x\n", maxSections+1)} {
		if _, _, err := parseSDP(bad); !errors.Is(err, ErrSDP) {
			t.Errorf("%.30q: %v", bad, err)
		}
	}
}

func TestOfOurDescription(t *testing.T) {
	limits := Limits{AudioBitrate: 64_000, VideoBitrate: 1_000_000}
	text, err := outbound(clientSDP, []string{"a=candidate:ours"}, &limits)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"a=fmtp:111 minptime=10;useinbandfec=1;usedtx=1\r\n", "a=recvonly\r\na=candidate:ours\r\na=end-of-candidates\r\n",
		"b=AS:1000\r\nb=TIAS:1000000\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	audio := strings.Replace(clientSDP, "a=sendonly", "a=recvonly", 1)
	if text, err := outbound(audio, nil, &limits); err != nil || strings.Contains(text, "b=TIAS:64000") {
		t.Errorf("audio is limited, which makes browsers send so much: %v\n%s", err, text)
	}
	if strings.Contains(text, "192.0.2.1") || strings.Count(text, "candidate:") != 1 || strings.Contains(text, "64000") {
		t.Errorf("too much in\n%s", text)
	}
}

func FuzzDescriptions(f *testing.F) {
	f.Add(clientSDP)
	f.Fuzz(func(t *testing.T, text string) {
		head, sections, err := parseSDP(text)
		if err != nil {
			return
		}
		once := inbound(head, sections)
		head, sections, err = parseSDP(once)
		if err != nil || inbound(head, sections) != once {
			t.Fatalf("%q is not stable: %v", once, err)
		}
		_, _ = outbound(text, []string{"a=candidate:1"}, &Limits{})
	})
}

func TestSameCodec(t *testing.T) {
	codec := func(mime, fmtp string) webrtc.RTPCodecCapability {
		return webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp}
	}
	base := codec(mimeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f")
	for _, c := range []struct {
		with webrtc.RTPCodecCapability
		want bool
	}{
		{codec("video/h264", "profile-level-id=42001f; packetization-mode=1"), true},
		{codec(mimeH264, "packetization-mode=1;profile-level-id=640c1f"), false},
		{codec(mimeH264, "packetization-mode=0;profile-level-id=42e01f"), false},
		{codec(mimeVP8, ""), false},
	} {
		if got := sameCodec(base, c.with); got != c.want {
			t.Errorf("%+v: %v", c.with, got)
		}
	}
	if !sameCodec(codec(mimeVP9, ""), codec(mimeVP9, "profile-id=0")) || sameCodec(codec(mimeVP9, "profile-id=2"), codec(mimeVP9, "profile-id=0")) {
		t.Error("profiles of VP9 are mixed up")
	}
}
