package sfu

import (
	"math/rand/v2"
	"testing"
	"time"
)

// feed sends packets through a rewriter and notes what leaves.
type feed struct {
	w   rewriter
	now time.Time
}

func newFeed(start uint16) *feed {
	return &feed{w: rewriter{clock: 90000, seq: start - 1}, now: time.Unix(1000, 0)}
}

func (f *feed) packet(seq uint16, ts uint32) *packet {
	return &packet{seq: seq, ts: ts, at: f.now, marker: true, payload: []byte{1}}
}

func (f *feed) next(t *testing.T, seq uint16, ts uint32, want uint16) {
	t.Helper()
	got, ok := f.w.next(f.packet(seq, ts))
	if !ok || got != want {
		t.Fatalf("packet %d leaves as %d (%v), want %d", seq, got, ok, want)
	}
}

func TestGapsOfTheLineStayAndFillLater(t *testing.T) {
	f := newFeed(65534) // both sides wrap
	f.w.source(f.packet(65000, 1), true, 0)
	f.next(t, 65000, 1, 65534)
	f.next(t, 65003, 2, 1)
	f.next(t, 65001, 1, 65535)
	f.next(t, 65002, 1, 0)
	f.next(t, 65004, 2, 2)
}

func TestWhatIsLeftOutIsNoGap(t *testing.T) {
	f := newFeed(100)
	f.w.source(f.packet(10, 1), true, 0)
	f.next(t, 10, 1, 100)
	f.w.skip(f.packet(11, 1))
	f.next(t, 12, 2, 101)
	f.next(t, 14, 3, 103)
	f.w.skip(f.packet(15, 3))
	f.w.skip(f.packet(16, 3))
	f.next(t, 17, 4, 104)
	f.next(t, 13, 3, 102) // late, from before what was left out
	if _, ok := f.w.next(f.packet(9, 1)); ok {
		t.Error("a packet from before the beginning left")
	}
}

func TestPaddingOfOursMovesWhatFollows(t *testing.T) {
	f := newFeed(100)
	f.w.source(f.packet(10, 1), true, 0)
	f.next(t, 10, 1, 100)
	if a, b := f.w.insert(), f.w.insert(); a != 101 || b != 102 {
		t.Fatalf("padding leaves as %d, %d", a, b)
	}
	f.next(t, 12, 2, 104)
	f.next(t, 11, 2, 103)
	f.next(t, 10, 1, 100)
}

func TestAnotherLayerGoesOnWhereTheLastOneEnded(t *testing.T) {
	f := newFeed(100)
	f.w.source(f.packet(10, 9000), true, 0)
	f.next(t, 10, 9000, 100)
	f.next(t, 11, 12000, 101)
	last := f.w.ts
	f.now = f.now.Add(100 * time.Millisecond)
	p := f.packet(50000, 7)
	p.vp8 = vp8{hasPid: true, pid: 500, tl0At: 4, tl0: 9}
	f.w.pid, f.w.tl0 = 77, 3
	f.w.source(p, false, 0)
	f.next(t, 50000, 7, 102)
	if passed := f.w.ts - last; passed != 9000 {
		t.Errorf("100 ms later the timestamp is %d higher", passed)
	}
	if pid, tl0 := p.vp8.pid+f.w.pidOff, p.vp8.tl0+f.w.tl0Off; pid != 78 || tl0 != 4 {
		t.Errorf("picture %d, tl0 %d follow 77 and 3", pid, tl0)
	}
	f.w.source(f.packet(60, 1), false, f.w.ts+4000) // the reports of both know better than the clock
	f.next(t, 60, 1, 103)
	if passed := f.w.ts - last; passed != 13000 {
		t.Errorf("the guess was not taken: %d", passed)
	}
	before := f.w.ts
	f.w.source(f.packet(90, 1), false, before-100)
	f.next(t, 90, 1, 104)
	if int32(f.w.ts-before) <= 0 {
		t.Error("a guess made time go back")
	}
}

func TestRewritingIsOneToOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		f := newFeed(uint16(random.Uint32()))
		seq := uint16(random.Uint32())
		f.w.source(f.packet(seq, 1), true, 0)
		used := map[uint16]bool{}
		take := func(out uint16) {
			if used[out] {
				t.Fatalf("%d was given twice", out)
			}
			used[out] = true
		}
		var late []uint16
		for range 500 {
			switch n := random.IntN(20); {
			case n == 0:
				f.w.skip(f.packet(seq, 1))
			case n == 1:
				take(f.w.insert())
				continue // the same number comes next
			case n == 2:
				late = append(late, seq)
			case n == 3 && len(late) > 0:
				if out, ok := f.w.next(f.packet(late[len(late)-1], 1)); ok {
					take(out)
				}
				late = late[:len(late)-1]
				continue
			default:
				out, ok := f.w.next(f.packet(seq, 1))
				if !ok {
					t.Fatal("a new packet has no place")
				}
				take(out)
			}
			seq++
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	f := newFeed(1)
	f.w.source(f.packet(1, 1), true, 0)
	p := f.packet(1, 1)
	b.ReportAllocs()
	for b.Loop() {
		p.seq++
		f.w.next(p)
	}
}
