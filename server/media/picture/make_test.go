package picture_test

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/deepteams/webp"
	xwebp "golang.org/x/image/webp"

	"github.com/quckchat/quckchat/server/media/picture"
)

// secret stands in everything that must not be passed on.
const secret = "Baker Street 221B"

// corners is a picture of four quarters: red, green, blue, yellow, in reading order.
func corners(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			m.SetRGBA(x, y, quarters[2*y/h*2+2*x/w])
		}
	}
	return m
}

var quarters = []color.RGBA{{220, 20, 20, 255}, {20, 200, 20, 255}, {20, 20, 220, 255}, {220, 220, 20, 255}}

// lying is how a camera stores m so that it is upright with orientation o, after the table of the EXIF specification
// (4.6.4 A): where row 0 and column 0 of the stored picture are.
func lying(m image.Image, o int) *image.RGBA {
	w, h := m.Bounds().Dx(), m.Bounds().Dy()
	sw, sh := w, h
	if o >= 5 {
		sw, sh = h, w
	}
	out := image.NewRGBA(image.Rect(0, 0, sw, sh))
	for row := range sh {
		for col := range sw {
			x, y := col, row
			switch o {
			case 2:
				x, y = w-1-col, row
			case 3:
				x, y = w-1-col, h-1-row
			case 4:
				x, y = col, h-1-row
			case 5:
				x, y = row, col
			case 6:
				x, y = w-1-row, col
			case 7:
				x, y = w-1-row, h-1-col
			case 8:
				x, y = row, h-1-col
			}
			out.Set(col, row, m.At(x, y))
		}
	}
	return out
}

// isCorners checks the middles of the quarters, and the corners.
func isCorners(t *testing.T, m image.Image, w, h int) {
	t.Helper()
	if m.Bounds() != image.Rect(0, 0, w, h) {
		t.Errorf("bounds %v, want %d by %d", m.Bounds(), w, h)
		return
	}
	areQuarters(t, m, w, h)
	for i, want := range quarters {
		isColour(t, m, i%2*(w-1), i/2*(h-1), want)
	}
}

func areQuarters(t *testing.T, m image.Image, w, h int) {
	t.Helper()
	for i, want := range quarters {
		isColour(t, m, w/4+i%2*w/2, h/4+i/2*h/2, want)
	}
}

func isColour(t *testing.T, m image.Image, x, y int, want color.RGBA) {
	t.Helper()
	r, g, b, _ := m.At(x, y).RGBA()
	if !near(r, want.R) || !near(g, want.G) || !near(b, want.B) {
		t.Errorf("at %d, %d %d %d %d, want %v", x, y, r>>8, g>>8, b>>8, want)
	}
}

func near(v uint32, want uint8) bool {
	d := int(v>>8) - int(want)
	return d > -40 && d < 40
}

// tiff is an EXIF block without its "Exif": an orientation, an author, and a place.
func tiff(order binary.AppendByteOrder, o int) []byte {
	b := []byte("II*\x00")
	if order == binary.BigEndian {
		b = []byte("MM\x00*")
	}
	b = order.AppendUint32(b, 8)
	entry := func(tag, kind uint16, n uint32, value ...byte) {
		b = order.AppendUint16(order.AppendUint16(b, tag), kind)
		b = append(order.AppendUint32(b, n), value...)
	}
	short := func(v int) []byte { return append(order.AppendUint16(nil, uint16(v)), 0, 0) }
	long := func(v int) []byte { return order.AppendUint32(nil, uint32(v)) }
	b = order.AppendUint16(b, 3)
	text := 8 + 2 + 3*12 + 4
	gps := text + 32
	entry(0x0112, 3, 1, short(o)...)
	entry(0x013B, 2, uint32(len(secret)+1), long(text)...)
	entry(0x8825, 4, 1, long(gps)...)
	b = append(order.AppendUint32(b, 0), append([]byte(secret), make([]byte, 32-len(secret))...)...)
	b = order.AppendUint16(b, 4)
	at := gps + 2 + 4*12 + 4
	entry(1, 2, 2, 'N', 0, 0, 0)
	entry(2, 5, 3, long(at)...)
	entry(3, 2, 2, 'W', 0, 0, 0)
	entry(4, 5, 3, long(at)...)
	b = order.AppendUint32(b, 0)
	for _, v := range []uint32{51, 1, 31, 1, 2, 1} {
		b = order.AppendUint32(b, v)
	}
	return b
}

func segment(marker byte, body string) []byte {
	return append([]byte{0xFF, marker, byte((len(body) + 2) >> 8), byte(len(body) + 2)}, body...)
}

const xmp = `http://ns.adobe.com/xap/1.0/` + "\x00" + `<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>` + secret + `</rdf:RDF></x:xmpmeta>`

func makeJPEG(t testing.TB, m image.Image, segments ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, m, &jpeg.Options{Quality: 95}); err != nil {
		t.Fatal(err)
	}
	out := []byte{0xFF, 0xD8}
	for _, s := range segments {
		out = append(out, s...)
	}
	return append(out, b.Bytes()[2:]...)
}

func chunk(name, body string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(body)))
	b = append(append(b, name...), body...)
	return binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b[4:]))
}

// makePNG puts chunks behind the header.
func makePNG(t testing.TB, m image.Image, chunks ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	out := bytes.Clone(b.Bytes()[:33])
	for _, c := range chunks {
		out = append(out, c...)
	}
	return append(out, b.Bytes()[33:]...)
}

// emptyPNG is a sound PNG without its data decoded by anybody yet: zeros, as many as the header promises.
func emptyPNG(t testing.TB, w, h int, depth, colour byte, interlaced bool, bytesPerPixel int) []byte {
	t.Helper()
	head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(w)), uint32(h))
	head = append(head, depth, colour, 0, 0, 0)
	if interlaced {
		head[12] = 1
	}
	var z bytes.Buffer
	zw, _ := zlib.NewWriterLevel(&z, zlib.BestSpeed)
	passes := [][4]int{{0, 0, 1, 1}}
	if interlaced { // where each begins, and its steps
		passes = [][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}
	}
	for _, p := range passes {
		columns, rows := (w-p[0]+p[2]-1)/p[2], (h-p[1]+p[3]-1)/p[3]
		if _, err := io.CopyN(zw, zero{}, int64(rows)*int64(columns*bytesPerPixel+1)); err != nil {
			t.Fatal(err)
		}
	}
	zw.Close()
	out := append([]byte("\x89PNG\r\n\x1a\n"), chunk("IHDR", string(head))...)
	return append(append(out, chunk("IDAT", z.String())...), chunk("IEND", "")...)
}

type zero struct{}

func (zero) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func makeGIF(t testing.TB, frames ...*image.Paletted) []byte {
	t.Helper()
	g := &gif.GIF{LoopCount: 3, Image: frames}
	for range frames {
		g.Delay = append(g.Delay, 10)
		g.Disposal = append(g.Disposal, 1)
	}
	var b bytes.Buffer
	if err := gif.EncodeAll(&b, g); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func paletted(m image.Image) *image.Paletted {
	p := image.NewPaletted(m.Bounds(), color.Palette{quarters[0], quarters[1], quarters[2], quarters[3]})
	for y := m.Bounds().Min.Y; y < m.Bounds().Max.Y; y++ {
		for x := m.Bounds().Min.X; x < m.Bounds().Max.X; x++ {
			p.Set(x, y, m.At(x, y))
		}
	}
	return p
}

func riff(name, body string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte(name), uint32(len(body)))
	if b = append(b, body...); len(body)%2 == 1 {
		b = append(b, 0)
	}
	return b
}

func makeWebP(t testing.TB, m image.Image, set func(*webp.Options)) []byte {
	t.Helper()
	o := webp.DefaultOptions()
	o.Quality = 95
	if set != nil {
		set(o)
	}
	var b bytes.Buffer
	if err := webp.Encode(&b, m, o); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// appendWebP puts chunks behind the others.
func appendWebP(file []byte, chunks ...[]byte) []byte {
	file = bytes.Clone(file)
	for _, c := range chunks {
		file = append(file, c...)
	}
	binary.LittleEndian.PutUint32(file[4:], uint32(len(file)-8))
	return file
}

func decode(t testing.TB, b []byte) image.Image {
	t.Helper()
	var m image.Image
	var err error
	switch {
	case bytes.HasPrefix(b, []byte("RIFF")):
		m, err = xwebp.Decode(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("GIF8")):
		m, err = gif.Decode(bytes.NewReader(b))
	case bytes.HasPrefix(b, []byte("\x89PNG")):
		m, err = png.Decode(bytes.NewReader(b))
	default:
		m, err = jpeg.Decode(bytes.NewReader(b))
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func inspect(t testing.TB, b []byte) picture.Info {
	t.Helper()
	i, err := picture.Inspect(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// clean cleans, and checks what holds for all: no trace of the secret, Clean tells of what it wrote, and cleaning again
// changes nothing.
func clean(t testing.TB, b []byte) ([]byte, picture.Info) {
	t.Helper()
	var out, again bytes.Buffer
	i, err := picture.Clean(t.Context(), &out, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if seen := inspect(t, out.Bytes()); seen != i {
		t.Errorf("cleaned %+v, is %+v", i, seen)
	}
	for _, trace := range []string{secret, "Exif", "xmpmeta", "GPS", "<script"} {
		if bytes.Contains(out.Bytes(), []byte(trace)) {
			t.Errorf("%q is left", trace)
		}
	}
	if _, err := picture.Clean(t.Context(), &again, bytes.NewReader(out.Bytes())); err != nil {
		t.Error(err)
	} else if !bytes.Equal(again.Bytes(), out.Bytes()) {
		t.Error("cleaning again changed it")
	}
	return out.Bytes(), i
}

// program looks for a program of the system that a test needs.
func program(t testing.TB, name, debian string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("SKIPPED: %s was not found: apt-get install %s", name, debian)
	}
	return path
}

func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func write(t testing.TB, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
