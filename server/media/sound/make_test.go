package sound_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/quckchat/quckchat/server/media/sound"
)

// placeKey is under which an iPhone keeps the place.
const placeKey = "com.apple.quicktime.location.ISO6709"

var ctx = context.Background()

// made holds what the tests share: files that take a while to make. The directory is removed at the end.
var made struct {
	sync.Mutex
	dir  string
	once map[string]bool
}

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "sound")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	made.dir, made.once = dir, map[string]bool{}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

func needs(t testing.TB, tools ...string) {
	t.Helper()
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("SKIPPED: %s was not found", tool)
		}
	}
}

// makeFile runs ffmpeg once for a file of this name and returns its path.
func makeFile(t testing.TB, name string, args ...string) string {
	t.Helper()
	needs(t, "ffmpeg")
	made.Lock()
	defer made.Unlock()
	path := filepath.Join(made.dir, name)
	if !made.once[name] {
		args = append(append([]string{"-nostdin", "-v", "error", "-y"}, args...), "-bitexact", path)
		if out, err := exec.Command("ffmpeg", args...).CombinedOutput(); err != nil {
			t.Fatalf("ffmpeg %q: %v\n%s", args, err, out)
		}
		made.once[name] = true
	}
	return path
}

// note is a voice note of some seconds with a pause in the middle, at 48 kHz, and a quieter second half.
func note(t testing.TB) string {
	t.Helper()
	needs(t, "ffmpeg", "espeak-ng")
	words := func(name, text string) string {
		path := filepath.Join(made.dir, name)
		if out, err := exec.Command("espeak-ng", "-w", path, text).CombinedOutput(); err != nil {
			t.Fatalf("espeak-ng: %v\n%s", err, out)
		}
		return path
	}
	made.Lock()
	first := words("first.wav", "Hello there, this is a voice note.")
	second := words("second.wav", "And now the second part begins.")
	made.Unlock()
	return makeFile(t, "note.wav", "-i", first, "-i", second, "-filter_complex",
		"[0]apad=pad_dur=2.5,aresample=48000[a];[1]volume=0.4,aresample=48000[b];[a][b]concat=n=2:v=0:a=1")
}

// beeps is a second of tones, small, for tests that read a file many times.
func beeps(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	path := makeFile(t, name, append([]string{"-f", "lavfi", "-i", "sine=frequency=600:beep_factor=4:duration=1"}, args...)...)
	return read(t, path)
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func inspect(t testing.TB, path string) sound.Info {
	t.Helper()
	info, err := sound.Inspect(ctx, bytes.NewReader(read(t, path)))
	if err != nil {
		t.Fatalf("%s: %v", filepath.Base(path), err)
	}
	return info
}

// loudness is what ffmpeg decodes, as the RMS of each bar.
func loudness(t testing.TB, path string) (rms [sound.Bars]float64) {
	t.Helper()
	pcm, err := exec.Command("ffmpeg", "-nostdin", "-v", "error", "-i", path, "-map", "0:a:0", "-ac", "1", "-f", "s16le", "-").Output()
	if err != nil {
		t.Fatal(err)
	}
	n := len(pcm) / 2
	for i := range rms {
		from, to := n*i/sound.Bars, n*(i+1)/sound.Bars
		for j := from; j < to; j++ {
			v := float64(int16(binary.LittleEndian.Uint16(pcm[2*j:])))
			rms[i] += v * v / float64(to-from)
		}
		rms[i] = math.Sqrt(rms[i])
	}
	return rms
}

// alike is Pearson's correlation.
func alike(bars []byte, rms [sound.Bars]float64) float64 {
	var a, b, ab, aa, bb float64
	for i := range rms {
		a, b = a+float64(bars[i])/sound.Bars, b+rms[i]/sound.Bars
	}
	for i := range rms {
		x, y := float64(bars[i])-a, rms[i]-b
		ab, aa, bb = ab+x*y, aa+x*x, bb+y*y
	}
	return ab / math.Sqrt(aa*bb)
}
