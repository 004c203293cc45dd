package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/picture"
)

// progressive is a JPEG of one grey, w by h pixels in three full planes: the more scans, the more often a decoder goes
// over all of it. A scan is a few zeros for thousands of blocks.
func progressive(w, h, scans int) []byte {
	out := []byte{0xFF, 0xD8}
	out = append(out, segment(0xDB, "\x00"+strings.Repeat("\x01", 64))...)
	size := string([]byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)})
	out = append(out, segment(0xC2, "\x08"+size+"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00")...)
	out = append(out, segment(0xC4, "\x00\x01"+strings.Repeat("\x00", 15)+"\x00")...) // DC: one code, no bits follow
	out = append(out, segment(0xC4, "\x10\x01"+strings.Repeat("\x00", 15)+"\xE0")...) // AC: one code, the end of 16,384 blocks
	blocks := ((w + 7) / 8) * ((h + 7) / 8)
	out = append(out, segment(0xDA, "\x03\x01\x00\x02\x00\x03\x00\x00\x00\x00")...)
	out = append(out, make([]byte, 3*blocks/8+2)...)
	for n := range scans - 1 {
		out = append(out, segment(0xDA, "\x01"+string(rune(1+n%3))+"\x00\x01\x3F\x00")...)
		out = append(out, make([]byte, (blocks>>14+1)*15/8+2)...)
	}
	return append(out, 0xFF, 0xD9)
}

// baseline is a JPEG of one grey in 4:2:0, at two bits for a block.
func baseline(w, h int, segments ...[]byte) []byte {
	out := []byte{0xFF, 0xD8}
	for _, s := range segments {
		out = append(out, s...)
	}
	out = append(out, segment(0xDB, "\x00"+strings.Repeat("\x01", 64))...)
	size := string([]byte{byte(h >> 8), byte(h), byte(w >> 8), byte(w)})
	out = append(out, segment(0xC0, "\x08"+size+"\x03\x01\x22\x00\x02\x11\x00\x03\x11\x00")...)
	out = append(out, segment(0xC4, "\x00\x01"+strings.Repeat("\x00", 15)+"\x00")...)
	out = append(out, segment(0xC4, "\x10\x01"+strings.Repeat("\x00", 15)+"\x00")...)
	out = append(out, segment(0xDA, "\x03\x01\x00\x02\x00\x03\x00\x00\x3F\x00")...)
	return append(append(out, make([]byte, 6*2*((w+15)/16)*((h+15)/16)/8+2)...), 0xFF, 0xD9)
}

// bits writes the bits of a lossless WebP, the lowest first.
type bits struct {
	b []byte
	n int
}

func (b *bits) put(n int, v uint32) {
	for i := range n {
		if b.n%8 == 0 {
			b.b = append(b.b, 0)
		}
		b.b[b.n/8] |= byte(v>>i&1) << (b.n % 8)
		b.n++
	}
}

// symbol is a code of one symbol, which takes no bits.
func (b *bits) symbol(s uint32) { b.put(1, 1); b.put(1, 0); b.put(1, 1); b.put(8, s) }

// full is a code in which all of n symbols have one: 2^k-n shorter ones first.
func (b *bits) full(n int) {
	k := 1
	for 1<<k < n {
		k++
	}
	short := 1<<k - n
	b.put(1, 0)
	// The lengths are in a code of their own: k-1 and k take two bits, "three to six times again" one.
	order := []int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
	b.put(4, 15)
	for _, v := range order {
		switch v {
		case k - 1, k:
			b.put(3, 2)
		case 16:
			b.put(3, 1)
		default:
			b.put(3, 0)
		}
	}
	b.put(1, 0)
	again, a, z := uint32(0), uint32(1), uint32(3) // codes are read from their highest bit: 0, 10, 11
	run := func(n int, code uint32) {
		if n == 0 {
			return
		}
		b.put(2, code)
		for n--; n >= 3; n -= min(n, 6) {
			b.put(1, again)
			b.put(2, uint32(min(n, 6)-3))
		}
		for range n {
			b.put(2, code)
		}
	}
	run(short, a)
	run(n-short, z)
}

// tables is a lossless WebP with as many full sets of code tables as a decoder allows: half a megabyte that takes 137.
func tables(t testing.TB, w, h, sets int) []byte {
	var b bits
	b.put(8, 0x2F)
	b.put(14, uint32(w-1))
	b.put(14, uint32(h-1))
	b.put(4, 0)
	b.put(1, 0) // no transform
	b.put(1, 1) // a cache of colours, the largest
	b.put(4, 11)
	b.put(1, 1) // many sets, a tile for each
	b.put(3, 0) // of 4 by 4 pixels
	b.put(1, 0) // the picture of tiles has no cache
	// Green is the low byte of the number of a set, red the high one: 8 bits each.
	for _, n := range []int{280, 256} {
		b.put(1, 0)
		b.put(4, 15)
		for _, v := range []int{17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15} {
			switch v {
			case 8, 0:
				b.put(3, 1)
			default:
				b.put(3, 0)
			}
		}
		b.put(1, 0)
		for s := range n {
			b.put(1, map[bool]uint32{true: 1, false: 0}[s < 256])
		}
	}
	b.symbol(0)
	b.symbol(255)
	b.symbol(0)
	reversed := func(v int) (r uint32) {
		for i := range 8 {
			r |= uint32(v>>i&1) << (7 - i)
		}
		return r
	}
	for n := range ((w + 3) / 4) * ((h + 3) / 4) {
		n %= sets
		b.put(8, reversed(n&255))
		b.put(8, reversed(n>>8))
	}
	for range sets {
		b.full(280 + 2048)
		b.full(256)
		b.full(256)
		b.full(256)
		b.full(40)
	}
	b.b = append(b.b, make([]byte, w*h*6)...) // pixels: no symbol takes more than 48 bits
	return riff("RIFF", "WEBP"+string(riff("VP8L", string(b.b))))
}

func TestBombsAreRefusedByTheirHeaders(t *testing.T) {
	manyScans := progressive(64, 64, 3000)
	frames := makeGIF(t, paletted(corners(1, 1)))
	at := bytes.IndexByte(frames[13:], 0x2C) + 13
	frames = append(append(bytes.Clone(frames[:at]), bytes.Repeat(frames[at:len(frames)-1], 100_000)...), 0x3B)
	huge := makeGIF(t, paletted(corners(2, 2)))
	copy(huge[6:], "\xff\x70\xff\x70")
	canvas := appendWebP(makeMovingWebP(t))
	copy(canvas[24:], "\xff\xff\xff\xff\xff\xff")
	profile := strings.Repeat("\x00", 500<<20>>10)
	once := baseline(16, 16)
	scan := once[bytes.LastIndex(once, []byte{0xFF, 0xDA}) : len(once)-2]
	again := append(append(bytes.Clone(once[:len(once)-2]), bytes.Repeat(scan, 3)...), 0xFF, 0xD9)
	many := makePNG(t, corners(8, 8), bytes.Repeat(append(chunk("gAMA", "abcd"), chunk("tEXt", "")...), 70_000))
	none := string(make([]byte, 60<<10)) // no profile
	useless := []byte{}
	for i := range 64 {
		useless = append(useless, segment(0xE2, "ICC_PROFILE\x00"+string([]byte{byte(i + 1), 64})+none)...)
	}
	useless = append(useless, bytes.Repeat([]byte{0xFF, 0xC4, 0, 2}, 200_000)...)
	profiles := bytes.Repeat(chunk("iCCP", "x\x00\x00"+deflated(make([]byte, 4<<20-1))), 1000)
	pieces := heif{w: 640, h: 480, primary: 1, second: "Exif", method: 1, pieces: 60_000, padding: 3 << 20}
	for name, c := range map[string]struct {
		file []byte
		want error
	}{
		"200,000 tables behind what is no profile": {baseline(16, 16, useless), nil},
		"1,000 profiles that are none":             {makePNG(t, corners(8, 8), profiles), nil},
		"a picture named 60,000 times":             {pieces.file(), nil},
		"900 megapixels":                           {emptyPNGHead(30_000, 30_000, 8, 6), picture.ErrTooLarge},
		"a side of 2^31":                           {emptyPNGHead(1<<31-1, 1, 1, 0), picture.ErrTooLarge},
		"16 bit":                                   {emptyPNGHead(5000, 5000, 16, 6), picture.ErrTooLarge},
		"100,000 frames":                           {frames, picture.ErrTooLarge},
		"gif canvas":                               {huge, picture.ErrTooLarge},
		"webp canvas":                              {canvas, picture.ErrTooLarge},
		"3,000 scans":                              {manyScans, picture.ErrTooLarge},
		"one scan again":                           {again, picture.ErrMalformed},
		"progressive coefficients":                 {progressive(4000, 3000, 3), picture.ErrTooLarge},
		"baseline":                                 {baseline(12_000, 10_000), picture.ErrTooLarge},
		"lossless webp":                            {tables(t, 8, 8, 1), nil},
		"profile":                                  {makePNG(t, corners(8, 8), chunk("iCCP", "x\x00\x00"+deflated([]byte(strings.Repeat(profile, 10))))), picture.ErrTooLarge},
		"text":                                     {makePNG(t, corners(8, 8), chunk("zTXt", "x\x00\x00"+deflated([]byte(strings.Repeat(profile, 40))))), nil},
		"140,000 chunks":                           {many, picture.ErrMalformed},
		"jpeg of nothing":                          {append([]byte{0xFF, 0xD8, 0xFF}, bytes.Repeat([]byte{0xFF}, 1<<20)...), picture.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			_, err := picture.Inspect(bytes.NewReader(c.file))
			if !errors.Is(err, c.want) {
				t.Errorf("%d bytes: %v", len(c.file), err)
			}
			if took := time.Since(began); took > 2*time.Second { // some milliseconds, on a machine that is not busy
				t.Errorf("%d bytes took %s", len(c.file), took)
			}
			if err != nil {
				t.Log(err)
				var n counter
				if _, err := picture.Clean(t.Context(), &n, bytes.NewReader(c.file)); !errors.Is(err, c.want) || n > 0 {
					t.Errorf("cleaned to %d bytes: %v", n, err)
				}
			}
		})
	}
}

type counter int

func (c *counter) Write(b []byte) (int, error) { *c += counter(len(b)); return len(b), nil }

// emptyPNGHead promises pixels and has few.
func emptyPNGHead(w, h int, depth, colour byte) []byte {
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	out := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", string(append(head, depth, colour, 0, 0, 0)))...)
	return append(append(out, chunk("IDAT", deflated(make([]byte, 100<<10)))...), chunk("IEND", "")...)
}

// hostile are files that are just small enough: each takes the most of its kind.
func hostile(t testing.TB) map[string][]byte {
	lying := segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6)))
	flat := emptyPNG(t, 4500, 4000, 8, 6, false, 4)
	return map[string][]byte{
		"baseline":        baseline(10_000, 8200),
		"baseline tall":   baseline(3300, 29_000),
		"baseline lying":  baseline(9000, 6100, lying),
		"progressive":     progressive(3330, 3330, 64),
		"png rgba":        emptyPNG(t, 6100, 5600, 8, 6, false, 4),
		"png rgb":         emptyPNG(t, 6100, 5600, 8, 2, false, 3),
		"png 16":          emptyPNG(t, 4500, 4000, 16, 6, false, 8),
		"png interlaced":  emptyPNG(t, 4500, 4000, 8, 6, true, 4),
		"png lying":       append(bytes.Clone(flat[:33]), append(chunk("eXIf", string(tiff(binary.BigEndian, 6))), flat[33:]...)...),
		"png grey":        emptyPNG(t, 29_000, 4000, 8, 0, false, 1),
		"webp tables":     tables(t, 208, 208, 2600),
		"webp large":      tables(t, 3500, 2600, 2600),
		"gif":             makeGIF(t, image.NewPaletted(image.Rect(0, 0, 9000, 9000), paletted(corners(2, 2)).Palette)),
		"gif on a canvas": wideGIF(t, 5000, 5000),
	}
}

func wideGIF(t testing.TB, w, h int) []byte {
	file := makeGIF(t, image.NewPaletted(image.Rect(0, 0, w, h), paletted(corners(2, 2)).Palette))
	binary.LittleEndian.PutUint16(file[6:], uint16(w+1))
	return file
}

// The server shares 256 MiB. A process that does nothing but this is measured: a binary of its own, because the race
// detector takes several times the memory.
func TestNoHostileFileTakesMoreThan256MiB(t *testing.T) {
	switch dir := os.Getenv("PICTURE_HOSTILE"); os.Getenv("PICTURE_STEP") {
	case "make":
		for name, b := range hostile(t) {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return
	case "work":
		workOn(t, dir)
		return
	}
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	dir := t.TempDir()
	binary := filepath.Join(t.TempDir(), "picture.test")
	build := exec.Command("go", "test", "-c", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, out)
	}
	for _, step := range []string{"make", "work"} {
		work := exec.Command(binary, "-test.v", "-test.run", "^TestNoHostileFileTakesMoreThan256MiB$")
		work.Env = append(os.Environ(), "PICTURE_HOSTILE="+dir, "PICTURE_STEP="+step)
		out, err := work.CombinedOutput()
		t.Logf("%s", out)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// workOn does everything to each file of a directory and looks how much memory that took at its peak, together.
func workOn(t *testing.T, dir string) {
	files, err := os.ReadDir(dir)
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	fmt.Printf("%-16s peak %3d MiB\n", "nothing", peak(t))
	for _, e := range files {
		// The peak so far is forgotten, where the system allows it.
		_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
		began := time.Now()
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		_, inspected := picture.Inspect(f)
		_, cleaned := picture.Clean(t.Context(), io.Discard, f)
		_, _, rendered := picture.Render(t.Context(), f, picture.Thumbnail, picture.Preview)
		now := peak(t)
		fmt.Printf("%-16s peak %3d MiB, %6d KiB, %s\n", e.Name(), now, info.Size()>>10, time.Since(began).Round(time.Millisecond))
		if inspected != nil || cleaned != nil || rendered != nil {
			t.Errorf("%s was refused, so it measures nothing: %v, %v, %v", e.Name(), inspected, cleaned, rendered)
		}
		if now >= 256 {
			t.Errorf("%s: %d MiB", e.Name(), now)
		}
	}
}

// peak is the most memory that the process had, in MiB.
func peak(t testing.TB) int {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("SKIPPED: only Linux says how much memory a process had")
	}
	_, rest, _ := strings.Cut(string(b), "VmHWM:")
	kib, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kib >> 10
}
