package picture_test

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"io"
	"math"
	"os"
	"testing"

	"github.com/deepteams/webp"
	"github.com/galdor/go-thumbhash"

	"github.com/quckchat/quckchat/server/media/picture"
)

func deflated(b []byte) string {
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	w.Write(b)
	w.Close()
	return z.String()
}

func inflated(t testing.TB, b []byte) []byte {
	t.Helper()
	z, err := zlib.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// p3 is a profile with the colours of Display P3 and the curve of sRGB, as phones have it.
func p3() []byte {
	return p3With(parametric(3, 2.4, 1/1.055, 0.055/1.055, 1/12.92, 0.04045))
}

func fix(v float64) []byte { return binary.BigEndian.AppendUint32(nil, uint32(int32(v*65536))) }

func parametric(kind byte, values ...float64) []byte {
	curve := append([]byte("para\x00\x00\x00\x00\x00"), kind, 0, 0)
	for _, v := range values {
		curve = append(curve, fix(v)...)
	}
	return curve
}

// p3With has the curve given.
func p3With(curve []byte) []byte {
	body := make([]byte, 128)
	copy(body[12:], "mntrRGB XYZ ")
	copy(body[36:], "acsp")
	tag := func(v ...float64) []byte {
		b := []byte("XYZ \x00\x00\x00\x00")
		for _, v := range v {
			b = append(b, fix(v)...)
		}
		return b
	}
	tags := []struct {
		name string
		body []byte
	}{
		{"rXYZ", tag(0.51512, 0.24120, -0.00105)}, {"gXYZ", tag(0.29198, 0.69225, 0.04189)}, {"bXYZ", tag(0.15710, 0.06657, 0.78407)},
		{"rTRC", curve}, {"gTRC", curve}, {"bTRC", curve},
	}
	body = binary.BigEndian.AppendUint32(body, uint32(len(tags)))
	at := 132 + 12*len(tags)
	var data []byte
	for _, tag := range tags {
		body = append(body, tag.name...)
		body = binary.BigEndian.AppendUint32(body, uint32(at+len(data)))
		body = binary.BigEndian.AppendUint32(body, uint32(len(tag.body)))
		data = append(data, tag.body...)
	}
	body = append(body, data...)
	binary.BigEndian.PutUint32(body, uint32(len(body)))
	return body
}

func render(t testing.TB, file []byte, sizes ...picture.Size) ([]picture.Rendition, picture.Placeholder) {
	t.Helper()
	list, hash, err := picture.Render(t.Context(), bytes.NewReader(file), sizes...)
	if err != nil {
		t.Fatal(err)
	}
	return list, hash
}

func TestEachSizeIsMadeInBothFormatsInTheOrderAskedFor(t *testing.T) {
	for name, file := range map[string][]byte{
		"jpeg": makeJPEG(t, corners(800, 600)), "png": makePNG(t, corners(800, 600)),
		"webp": makeWebP(t, corners(800, 600), nil), "gif": makeGIF(t, paletted(corners(800, 600))),
	} {
		list, hash := render(t, file, picture.Thumbnail, picture.Size{Name: "large", Side: 640})
		if len(list) != 4 {
			t.Fatalf("%s: %d pictures", name, len(list))
		}
		for n, want := range []picture.Rendition{
			{Name: "thumb", Format: picture.WebP, Width: 320, Height: 240}, {Name: "thumb", Format: picture.JPEG, Width: 320, Height: 240},
			{Name: "large", Format: picture.WebP, Width: 640, Height: 480}, {Name: "large", Format: picture.JPEG, Width: 640, Height: 480},
		} {
			got := list[n]
			isCorners(t, decode(t, got.Data), want.Width, want.Height)
			if i := inspect(t, got.Data); i.Format != want.Format || i.Width != got.Width {
				t.Errorf("%s: made %+v", name, i)
			}
			got.Data = nil
			if got.Name != want.Name || got.Format != want.Format || got.Width != want.Width || got.Height != want.Height {
				t.Errorf("%s: %+v, want %+v", name, got, want)
			}
		}
		raw, err := base64.StdEncoding.DecodeString(string(hash))
		if err != nil || len(raw) > 30 {
			t.Errorf("%s: hash %q", name, hash)
		}
		m, err := thumbhash.DecodeImage(raw)
		if err != nil {
			t.Fatal(err)
		}
		b := m.Bounds()
		r, _, bl, _ := m.At(b.Dx()/8, b.Dy()/8).RGBA()
		if b.Dx() <= b.Dy() || r < 2*bl {
			t.Errorf("%s: the placeholder is %v and begins with %d, %d", name, b, r>>8, bl>>8)
		}
	}
}

func TestAPreviewIsSparedWhereTheOriginalDoesAsWell(t *testing.T) {
	small := makePNG(t, corners(600, 400))
	if list, hash := render(t, small, picture.Thumbnail, picture.Preview); len(list) != 2 || hash == "" {
		t.Errorf("%d pictures of a small one", len(list))
	}
	noise := photo(700, 500)
	if list, _ := render(t, makePNG(t, noise), picture.Preview); len(list) != 2 || list[0].Width != 700 {
		t.Errorf("%d pictures of one of few pixels and many bytes", len(list))
	}
	large := makeJPEG(t, corners(1400, 200))
	if list, _ := render(t, large, picture.Preview); len(list) != 2 || list[0].Width != 1280 || list[0].Height != 183 {
		t.Errorf("%d pictures of a large one", len(list))
	}
	moving := makeGIF(t, paletted(corners(1500, 50)), paletted(corners(100, 50)))
	list, _ := render(t, moving, picture.Thumbnail, picture.Preview)
	if len(list) != 2 || list[0].Width != 320 {
		t.Errorf("%d pictures of a moving one", len(list))
	}
	if list, hash := render(t, makePNG(t, corners(8, 8))); len(list) != 0 || hash == "" {
		t.Error("a placeholder alone cannot be had")
	}
}

func TestTheFirstFrameIsShownOnItsCanvas(t *testing.T) {
	list, _ := render(t, makeMovingWebP(t), picture.Thumbnail)
	m := decode(t, list[0].Data)
	if m.Bounds() != image.Rect(0, 0, 64, 48) {
		t.Fatalf("%v", m.Bounds())
	}
	if _, _, _, a := m.At(60, 40).RGBA(); a != 0 {
		t.Error("the rest of the canvas is not transparent")
	}
	r, g, b, _ := decode(t, list[1].Data).At(60, 40).RGBA()
	if r>>8 < 250 || g>>8 < 250 || b>>8 < 250 {
		t.Error("and not white in a JPEG")
	}
	if r, _, b, _ := m.At(4, 4).RGBA(); r < 2*b {
		t.Error("the frame is not there")
	}
}

func TestTransparencyStaysInWebPAndIsWhiteInJPEG(t *testing.T) {
	clear := image.NewNRGBA(image.Rect(0, 0, 600, 400))
	for y := range 200 {
		for x := range 600 {
			clear.SetNRGBA(x, y, color.NRGBA{200, 0, 0, 255})
		}
	}
	for name, file := range map[string][]byte{
		"png": makePNG(t, clear), "webp": lossyAlpha(t, clear),
		"lossless": makeWebP(t, clear, func(o *webp.Options) { o.Lossless = true }),
	} {
		list, _ := render(t, file, picture.Thumbnail)
		for _, r := range list {
			m := decode(t, r.Data)
			top, _, _, a := m.At(160, 50).RGBA()
			if !near(top, 200) || a>>8 != 255 {
				t.Errorf("%s %s: the top is %d, %d", name, r.Format, top>>8, a>>8)
			}
			_, g, _, a := m.At(160, 170).RGBA()
			if r.Format == picture.WebP && a != 0 || r.Format == picture.JPEG && g>>8 < 250 {
				t.Errorf("%s %s: the bottom is %d, %d", name, r.Format, g>>8, a>>8)
			}
		}
	}
}

// lossyAlpha is a WebP with a plane of alpha. That of the library only the library itself can read.
func lossyAlpha(t testing.TB, m image.Image) []byte {
	t.Helper()
	list, _ := render(t, makePNG(t, m), picture.Size{Side: 1280})
	if !bytes.Contains(list[0].Data[:64], []byte("ALPH")) {
		t.Fatal("no plane of alpha")
	}
	return list[0].Data
}

func TestOtherDecodersReadWhatWasMade(t *testing.T) {
	dwebp, ffmpeg := program(t, "dwebp", "webp"), program(t, "ffmpeg", "ffmpeg")
	clear := image.NewNRGBA(image.Rect(0, 0, 350, 250))
	for y := range 250 {
		for x := range 350 {
			clear.SetNRGBA(x, y, color.NRGBA{byte(x), byte(y), 90, byte(x * 255 / 350)})
		}
	}
	for name, file := range map[string][]byte{
		"jpeg": makeJPEG(t, photo(350, 250)), "png": makePNG(t, clear), "tiny": makePNG(t, clear.SubImage(image.Rect(0, 0, 3, 2))),
		"flat": makePNG(t, image.NewNRGBA(image.Rect(0, 0, 9, 9))),
	} {
		list, _ := render(t, file, picture.Thumbnail, picture.Size{Name: "large", Side: 1280})
		for _, r := range list {
			path := write(t, name+"."+string(r.Format), r.Data)
			if r.Format == picture.WebP {
				run(t, dwebp, "-quiet", path, "-o", path+".png")
			}
			if said := run(t, ffmpeg, "-v", "error", "-xerror", "-i", path, "-f", "null", "-"); said != "" {
				t.Errorf("%s %s: %s", name, r.Name, said)
			}
		}
	}
	turned, _ := clean(t, appendWebP(lossyAlpha(t, clear), riff("EXIF", string(tiff(binary.LittleEndian, 6)))))
	path := write(t, "turned.webp", turned)
	run(t, dwebp, "-quiet", path, "-o", path+".png")
	if i := inspect(t, turned); i.Width != 250 || !i.Alpha {
		t.Errorf("%+v", i)
	}
}

func TestAWideGamutIsTurnedIntoSRGB(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 64, 64))
	for i := range m.Pix {
		m.Pix[i] = []byte{200, 100, 100, 255}[i%4]
	}
	profile := segment(0xE2, "ICC_PROFILE\x00\x01\x01"+string(p3()))
	for name, c := range map[string]struct {
		file    []byte
		r, g, b int // of P3 (200, 100, 100), worked out by hand
	}{
		"plain": {makeJPEG(t, m), 200, 100, 100}, "p3": {makeJPEG(t, m, profile), 215, 93, 97},
		"p3 png": {makePNG(t, m, chunk("iCCP", "x\x00\x00"+deflated(p3()))), 215, 93, 97},
	} {
		list, _ := render(t, c.file, picture.Thumbnail)
		r, g, b, _ := decode(t, list[1].Data).At(30, 30).RGBA()
		for n, d := range []int{int(r>>8) - c.r, int(g>>8) - c.g, int(b>>8) - c.b} {
			if d < -3 || d > 3 {
				t.Errorf("%s: channel %d is off by %d: %d %d %d", name, n, d, r>>8, g>>8, b>>8)
			}
		}
	}
}

func TestTheSameCurveInAllItsSpellingsIsTheSame(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 16, 16))
	for i := range m.Pix {
		m.Pix[i] = []byte{200, 100, 100, 255}[i%4]
	}
	table := binary.BigEndian.AppendUint32([]byte("curv\x00\x00\x00\x00"), 1024)
	for i := range 1024 {
		v := float64(i) / 1023
		if v <= 0.04045 {
			v /= 12.92
		} else {
			v = math.Pow((v+0.055)/1.055, 2.4)
		}
		table = binary.BigEndian.AppendUint16(table, uint16(v*65535+0.5))
	}
	a, b := 1/1.055, 0.055/1.055
	for name, c := range map[string]struct {
		curve []byte
		near  int
	}{
		"table": {table, 2}, "straight piece": {parametric(3, 2.4, a, b, 1/12.92, 0.04045), 2},
		"with offsets": {parametric(4, 2.4, a, b, 1/12.92, 0.04045, 0, 0), 2}, "shifted": {parametric(2, 2.4, a, b, 0), 2},
		"cut": {parametric(1, 2.4, a, b), 2}, "power": {parametric(0, 2.2), 6}, "one number": {[]byte("curv\x00\x00\x00\x00\x00\x00\x00\x01\x02\x33\x00\x00"), 6},
		"none": {[]byte("curv\x00\x00\x00\x00\xFF\xFF\xFF\xFF"), -1}, "unknown": {[]byte("quck\x00\x00\x00\x00\x00\x00\x00\x00"), -1},
	} {
		list, _ := render(t, makePNG(t, m, chunk("iCCP", "x\x00\x00"+deflated(p3With(c.curve)))), picture.Thumbnail)
		r, g, b, _ := decode(t, list[1].Data).At(8, 8).RGBA()
		want := []int{215, 93, 97}
		if c.near < 0 { // a profile that cannot be read changes nothing
			want, c.near = []int{200, 100, 100}, 2
		}
		for n, v := range []uint32{r, g, b} {
			if d := int(v>>8) - want[n]; d < -c.near || d > c.near {
				t.Errorf("%s: %d %d %d, want %v", name, r>>8, g>>8, b>>8, want)
			}
		}
	}
}

func TestAnAvatarIsTheMiddle(t *testing.T) {
	wide := image.NewRGBA(image.Rect(0, 0, 600, 300))
	for y := range 300 {
		for x := range 600 {
			c := color.RGBA{220, 20, 20, 255}
			if x >= 150 && x < 450 {
				c = corners600.RGBAAt(2*x-300, 2*y)
			}
			wide.SetRGBA(x, y, c)
		}
	}
	for name, file := range map[string][]byte{
		"jpeg": makeJPEG(t, wide), "png": makePNG(t, wide), "lying": makeJPEG(t, lying(wide, 6), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6)))),
		"webp": makeWebP(t, wide, nil),
	} {
		list, err := picture.Square(t.Context(), bytes.NewReader(file), 96, 256)
		if err != nil || len(list) != 4 {
			t.Fatalf("%s: %d, %v", name, len(list), err)
		}
		for n, r := range list {
			side := []int{96, 96, 256, 256}[n]
			isCorners(t, decode(t, r.Data), side, side)
		}
	}
	list, err := picture.Square(t.Context(), bytes.NewReader(makePNG(t, corners(64, 50))), 512, 96)
	if err != nil || len(list) != 4 || list[0].Width != 50 || list[2].Width != 50 {
		t.Errorf("of a small picture: %d, %v", len(list), err)
	}
}

var corners600 = corners(600, 600)

func TestASquareOfFullColourDoesNotReadPastTheEnd(t *testing.T) {
	convert := program(t, "convert", "imagemagick")
	path := write(t, "wide.png", makePNG(t, corners(256, 64)))
	run(t, convert, path, "-sampling-factor", "4:4:4", path+".jpg")
	file, err := os.ReadFile(path + ".jpg")
	if err != nil {
		t.Fatal(err)
	}
	for _, side := range []int{32, 63, 64, 512} {
		if _, err := picture.Square(t.Context(), bytes.NewReader(file), side); err != nil {
			t.Error(side, err)
		}
	}
}

func TestJPEGsOfAllKindsAreReadAndTurned(t *testing.T) {
	convert := program(t, "convert", "imagemagick")
	path := write(t, "lying.png", makePNG(t, lying(corners(192, 128), 6)))
	for name, args := range map[string][]string{
		"progressive": {"-interlace", "JPEG"}, "444": {"-sampling-factor", "4:4:4"}, "422": {"-sampling-factor", "4:2:2"},
		"440": {"-sampling-factor", "4:4:0"}, "411": {"-sampling-factor", "4:1:1"}, "cmyk": {"-colorspace", "CMYK"},
		"restarts": {"-define", "jpeg:restart-interval=4"}, "rgb": {"-colorspace", "RGB", "-define", "jpeg:colorspace=RGB"},
	} {
		t.Run(name, func(t *testing.T) {
			to := path + name + ".jpg"
			run(t, convert, append(append([]string{path}, args...), to)...)
			file, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			plain, _ := clean(t, file)
			if !bytes.Equal(plain, file) && name != "rgb" {
				t.Logf("%d bytes became %d", len(file), len(plain))
			}
			file = append(append(bytes.Clone(file[:2]), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6)))...), file[2:]...)
			if name == "rgb" {
				if _, _, err := picture.Render(t.Context(), bytes.NewReader(file), picture.Thumbnail); err != nil {
					t.Error(err)
				}
				return // linear light: the colours are others
			}
			out, _ := clean(t, file)
			isCorners(t, decode(t, out), 192, 128)
			list, _ := render(t, file, picture.Size{Name: "s", Side: 96})
			isCorners(t, decode(t, list[1].Data), 96, 64)
		})
	}
	grey := image.NewGray(image.Rect(0, 0, 33, 17))
	if _, i := clean(t, makeJPEG(t, grey, segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 8))))); i.Width != 17 || i.Height != 33 {
		t.Errorf("%+v", i)
	}
}

func TestPNGsOfAllKindsAreReadAndTurned(t *testing.T) {
	box := image.Rect(0, 0, 40, 24)
	deep, deepAlpha, grey16 := image.NewRGBA64(box), image.NewNRGBA64(box), image.NewGray16(box)
	for y := range 24 {
		for x := range 40 {
			c := corners600.At(x*15, y*25)
			deep.Set(x, y, c)
			deepAlpha.Set(x, y, c)
			grey16.Set(x, y, c)
		}
	}
	deepAlpha.SetNRGBA64(20, 12, color.NRGBA64{})
	for name, m := range map[string]image.Image{"deep": deep, "deep alpha": deepAlpha, "grey": grey16, "palette": paletted(corners(40, 24))} {
		out, i := clean(t, makePNG(t, m, chunk("eXIf", string(tiff(binary.BigEndian, 6)))))
		if i.Width != 24 || i.Height != 40 {
			t.Errorf("%s: %+v", name, i)
		}
		got := decode(t, out)
		for y := range 24 {
			for x := range 40 {
				r, g, b, a := m.At(x, y).RGBA()
				if r2, g2, b2, a2 := got.At(23-y, x).RGBA(); r != r2 || g != g2 || b != b2 || a != a2 {
					t.Fatalf("%s: the pixel at %d, %d changed", name, x, y)
				}
			}
		}
		if list, _ := render(t, out, picture.Size{Name: "s", Side: 20}); len(list) != 2 {
			t.Errorf("%s: %d", name, len(list))
		}
	}
}

func TestASizeThatMakesNoSenseIsRefused(t *testing.T) {
	file := bytes.NewReader(makePNG(t, corners(8, 8)))
	for _, side := range []int{0, -1, 1281} {
		if _, _, err := picture.Render(t.Context(), file, picture.Size{Side: side}); err == nil || errors.Is(err, picture.ErrMalformed) {
			t.Errorf("side %d: %v", side, err)
		}
		if _, err := picture.Square(t.Context(), file, side); err == nil || errors.Is(err, picture.ErrMalformed) {
			t.Errorf("side %d: %v", side, err)
		}
	}
}

func BenchmarkRenderJPEGOf12Megapixels(b *testing.B) {
	file := makeJPEG(b, photo(4000, 3000))
	b.ReportAllocs()
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		if _, _, err := picture.Render(b.Context(), bytes.NewReader(file), picture.Thumbnail, picture.Preview); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkInspectJPEGOf12Megapixels(b *testing.B) {
	file := makeJPEG(b, photo(4000, 3000))
	b.SetBytes(int64(len(file)))
	for b.Loop() {
		inspect(b, file)
	}
}

func BenchmarkCleanJPEGOf12Megapixels(b *testing.B) {
	for name, o := range map[string]int{"upright": 1, "turned": 6} {
		b.Run(name, func(b *testing.B) {
			file := makeJPEG(b, photo(4000, 3000), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, o))))
			b.ReportAllocs()
			b.SetBytes(int64(len(file)))
			for b.Loop() {
				if _, err := picture.Clean(b.Context(), io.Discard, bytes.NewReader(file)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func photo(w, h int) *image.RGBA {
	m := image.NewRGBA(image.Rect(0, 0, w, h))
	seed := uint32(1)
	for i := 0; i < len(m.Pix); i += 4 {
		seed = seed*1664525 + 1013904223
		x, y := i/4%w, i/4/w
		m.Pix[i], m.Pix[i+1] = byte(x/16+y/32)+byte(seed>>28), byte(y/16)+byte(seed>>29)
		m.Pix[i+2], m.Pix[i+3] = byte(x*y>>14), 255
	}
	return m
}
