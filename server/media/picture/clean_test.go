package picture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/gif"
	"io"
	"strings"
	"testing"

	"github.com/deepteams/webp"

	"github.com/quckchat/quckchat/server/media/picture"
)

func TestAPictureFromACameraComesOutUprightAndTellsNothing(t *testing.T) {
	for o := 1; o <= 8; o++ {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			exif := tiff(order, o)
			stored := lying(corners(96, 64), o)
			for name, file := range map[string][]byte{
				"jpeg": makeJPEG(t, stored, segment(0xE1, "Exif\x00\x00"+string(exif)), segment(0xE1, xmp)),
				"png":  makePNG(t, stored, chunk("eXIf", string(exif)), chunk("tEXt", "Author\x00"+secret)),
				"webp": makeWebP(t, stored, func(o *webp.Options) { o.EXIF, o.XMP = exif, []byte(xmp) }),
			} {
				t.Run(fmt.Sprint(name, o, order), func(t *testing.T) {
					i := inspect(t, file)
					if i.Orientation != o || i.Width != 96 || i.Height != 64 {
						t.Errorf("inspected %+v", i)
					}
					out, i := clean(t, file)
					if i.Orientation != 1 || i.Width != 96 || i.Height != 64 {
						t.Errorf("cleaned %+v", i)
					}
					isCorners(t, decode(t, out), 96, 64)
					list, _, err := picture.Render(t.Context(), bytes.NewReader(file), picture.Size{Name: "s", Side: 48})
					if err != nil {
						t.Fatal(err)
					}
					for _, r := range list {
						isCorners(t, decode(t, r.Data), 48, 32)
					}
				})
			}
		}
	}
}

func TestExiftoolFindsNothingThatIsNotThePicture(t *testing.T) {
	exiftool := program(t, "exiftool", "libimage-exiftool-perl")
	exif := tiff(binary.BigEndian, 6)
	stored := lying(corners(96, 64), 6)
	for name, file := range map[string][]byte{
		"a.jpg":  makeJPEG(t, stored, segment(0xE1, "Exif\x00\x00"+string(exif)), segment(0xE1, xmp), segment(0xFE, secret)),
		"b.jpg":  makeJPEG(t, stored, segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 1))), segment(0xED, "Photoshop 3.0\x00"+secret)),
		"c.png":  makePNG(t, stored, chunk("eXIf", string(exif)), chunk("iTXt", "XML:com.adobe.xmp\x00\x00\x00\x00\x00"+xmp[29:])),
		"d.webp": makeWebP(t, stored, func(o *webp.Options) { o.EXIF, o.XMP = exif, []byte(xmp[29:]) }),
		"e.gif":  append([]byte(nil), commented(t)...),
	} {
		if said := run(t, exiftool, "-a", "-G1", "-s", write(t, name, file)); !strings.Contains(said, secret) {
			t.Errorf("%s: exiftool does not find the secret in the original: %s", name, said)
		}
		out, _ := clean(t, file)
		said := run(t, exiftool, "-a", "-G1", "-s", write(t, name, out))
		for _, group := range []string{"[ExifIFD]", "[IFD0]", "[GPS]", "[XMP", "[IPTC", "[Photoshop", "[MPF", "Comment", "Warning", "Trailer", secret} {
			if strings.Contains(said, group) {
				t.Errorf("%s: %s in %s", name, group, said)
			}
		}
	}
}

// commented is a GIF with all that an extension can hold.
func commented(t testing.TB) []byte {
	file := makeGIF(t, paletted(corners(32, 32)), paletted(corners(32, 32)))
	at := bytes.Index(file, []byte("\x21\xFF\x0BNETSCAPE"))
	var extra []byte
	extra = append(extra, "\x21\xFE"+string(rune(len(secret)))+secret+"\x00"...)
	extra = append(extra, "\x21\xFF\x0BXMP DataXMP"+string(rune(len(secret)))+secret+"\x00"...)
	extra = append(extra, "\x21\xF9\x04\x00\x00\x00\x00\x00\x21\x01\x0C123456789012\x05hello\x00"...)
	return append(append(bytes.Clone(file[:at]), extra...), file[at:]...)
}

func TestWhatLiesUprightIsCopiedWithoutLoss(t *testing.T) {
	noise := corners(96, 64)
	for i := range noise.Pix {
		noise.Pix[i] ^= byte(i * 7 % 31)
	}
	for name, file := range map[string][]byte{
		"jpeg":     makeJPEG(t, noise),
		"png":      makePNG(t, noise),
		"lossy":    makeWebP(t, corners(96, 64), nil),
		"lossless": makeWebP(t, noise, func(o *webp.Options) { o.Lossless = true }),
		"gif":      makeGIF(t, paletted(corners(32, 32))),
		"moving":   makeGIF(t, paletted(corners(32, 32)), paletted(corners(16, 16))),
	} {
		if out, _ := clean(t, file); !bytes.Equal(out, file) {
			t.Errorf("%s: %d bytes became %d others", name, len(file), len(out))
		}
	}
}

func TestPolyglotsAndTrailersAreCut(t *testing.T) {
	zip := "PK\x03\x04" + secret + "PK\x05\x06" + strings.Repeat("\x00", 18)
	html := "<script>alert(1)</script>" + secret
	motion := "\x00\x00\x00\x18ftypmp42" + secret
	preview := string(makeJPEG(t, corners(16, 16)))
	plain := corners(96, 64)
	webP := makeWebP(t, plain, nil)
	extended := makeWebP(t, plain, func(o *webp.Options) { o.XMP = []byte(html) })
	text := chunk("zTXt", "Comment\x00\x00"+html)
	for name, file := range map[string][]byte{
		"html in a comment":      makeJPEG(t, plain, segment(0xFE, html)),
		"html in an application": makeJPEG(t, plain, segment(0xE4, html), segment(0xE0, "JFXX\x00\x10"+html)),
		"between segments":       makeJPEG(t, plain, segment(0xFE, html), []byte(html), segment(0xFE, html), []byte(html)),
		"zip behind a jpeg":      append(makeJPEG(t, plain), zip...),
		"motion photo":           append(makeJPEG(t, plain, segment(0xE2, "MPF\x00"+secret)), motion...),
		"second picture":         append(makeJPEG(t, plain), makeJPEG(t, plain, segment(0xFE, secret))...),
		"thumbnail":              makeJPEG(t, plain, segment(0xE0, "JFIF\x00\x01\x02\x00\x00\x48\x00\x48\x02\x02"+secret[:12])),
		"exif thumbnail":         makeJPEG(t, plain, segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 1))+preview)),
		"zip behind a png":       append(makePNG(t, plain), zip...),
		"text and unknown":       makePNG(t, plain, text, chunk("tIME", secret[:7]), chunk("quCk", html), chunk("sRGB", html)),
		"zip behind a gif":       append(makeGIF(t, paletted(plain)), zip...),
		"gif comment":            commented(t),
		"zip behind a webp":      append(bytes.Clone(webP), zip...),
		"chunks in a webp":       appendWebP(webP, riff("XMP ", html), riff("quck", secret), riff("EXIF", secret)),
		"xmp in a webp":          appendWebP(extended, riff("quck", html)),
	} {
		t.Run(name, func(t *testing.T) {
			out, _ := clean(t, file)
			if bytes.Contains(out, []byte("PK\x03\x04")) || bytes.Contains(out, []byte("ftyp")) || bytes.Contains(out, []byte(secret[:7])) {
				t.Error("something is left")
			}
			want := decode(t, file)
			got := decode(t, out)
			for p := range 96 * 64 / 4 {
				x, y := p%48, p/48
				if got.At(x, y) != want.At(x, y) {
					t.Fatalf("the pixel at %d, %d changed", x, y)
				}
			}
		})
	}
}

func TestAnAnimationStaysOne(t *testing.T) {
	file := commented(t)
	out, i := clean(t, file)
	if !i.Animated || i.Frames != 2 {
		t.Errorf("%+v", i)
	}
	g, err := gif.DecodeAll(bytes.NewReader(out))
	if err != nil || len(g.Image) != 2 || g.LoopCount != 3 || g.Delay[1] != 10 {
		t.Errorf("%+v %v", g, err)
	}
	moving := makeMovingWebP(t)
	out, i = clean(t, moving)
	if !i.Animated || i.Frames != 3 || i.Width != 64 || i.Height != 48 {
		t.Errorf("%+v", i)
	}
	if n := bytes.Count(out, []byte("ANMF")); n != 3 {
		t.Errorf("%d frames", n)
	}
	still := makePNG(t, corners(32, 32))
	control := func(n byte) string {
		return "\x00\x00\x00" + string(rune(n)) + "\x00\x00\x00\x20\x00\x00\x00\x20" + strings.Repeat("\x00", 8) + "\x00\x01\x00\x0A\x00\x00"
	}
	data := still[33+8 : len(still)-12-4]
	apng := append(bytes.Clone(still[:33]), chunk("acTL", "\x00\x00\x00\x02\x00\x00\x00\x00")...)
	apng = append(append(apng, chunk("fcTL", control(0))...), still[33:len(still)-12]...)
	apng = append(append(apng, chunk("fcTL", control(1))...), chunk("fdAT", "\x00\x00\x00\x02"+string(data))...)
	apng = append(apng, still[len(still)-12:]...)
	if out, i = clean(t, apng); !i.Animated || i.Frames != 2 || !bytes.Equal(out, apng) {
		t.Errorf("%+v, %d of %d bytes", i, len(out), len(apng))
	}
}

// makeMovingWebP has three frames, the second with a plane of alpha, and a chunk nobody knows in each.
func makeMovingWebP(t testing.TB) []byte {
	body := "VP8X\x0a\x00\x00\x00\x12\x00\x00\x00\x3f\x00\x00\x2f\x00\x00" + string(riff("ANIM", "\x00\x00\x00\x00\x05\x00"))
	for n := range 3 {
		m := corners(32, 24)
		if n == 1 {
			for i := 3; i < len(m.Pix)/2; i += 4 {
				m.Pix[i-3], m.Pix[i-2], m.Pix[i-1], m.Pix[i] = 0, 0, 0, 0
			}
		}
		single := makeWebP(t, m, func(o *webp.Options) { o.Lossless = n == 2 })
		if n == 1 {
			single = lossyAlpha(t, m)
		}
		part := single[12:]
		if bytes.HasPrefix(part, []byte("VP8X")) {
			part = part[18:]
		}
		frame := string([]byte{byte(4 * n), 0, 0, byte(2 * n), 0, 0, 31, 0, 0, 23, 0, 0, 100, 0, 0, 0}) + string(part) + string(riff("quck", secret))
		body += string(riff("ANMF", frame))
	}
	body += string(riff("XMP ", xmp))
	return riff("RIFF", "WEBP"+body)
}

func TestTheProfileStaysAndNothingBesideIt(t *testing.T) {
	profile := p3()
	padded := append(bytes.Clone(profile), secret...)
	stored := lying(corners(96, 64), 6)
	half := len(padded) / 2
	icc := func(parts ...string) (out []byte) {
		for n, p := range parts {
			out = append(out, segment(0xE2, "ICC_PROFILE\x00"+string([]byte{byte(n + 1), byte(len(parts))})+p)...)
		}
		return out
	}
	whole := icc(string(padded[:half]), string(padded[half:]))
	exif := segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6)))
	for name, file := range map[string][]byte{
		"jpeg":        makeJPEG(t, stored, whole),
		"turned jpeg": makeJPEG(t, stored, whole, exif),
		"webp":        makeWebP(t, stored, func(o *webp.Options) { o.ICC = padded }),
		"turned webp": makeWebP(t, stored, func(o *webp.Options) { o.ICC, o.EXIF = padded, tiff(binary.BigEndian, 6) }),
		"png":         makePNG(t, stored, chunk("iCCP", secret+"\x00\x00"+deflated(padded)+secret)),
		"turned png": makePNG(t, stored, chunk("iCCP", secret+"\x00\x00"+deflated(padded)+secret), chunk("gAMA", "\x00\x00\xb1\x8f"),
			chunk("eXIf", string(tiff(binary.BigEndian, 6)))),
	} {
		out, _ := clean(t, file)
		at := bytes.Index(out, []byte("iCCP"))
		if at >= 0 {
			out = append(out, inflated(t, out[at+4+5:])...)
		}
		if !bytes.Contains(out, profile) {
			t.Errorf("%s: the profile is gone", name)
		}
		if strings.HasPrefix(name, "turned png") && !bytes.Contains(out, []byte("gAMA\x00\x00\xb1\x8f")) {
			t.Errorf("%s: the gamma is gone", name)
		}
	}
	for name, bad := range map[string][]byte{
		"not one": icc(secret + strings.Repeat(" ", 200)), "half": icc(string(profile), "")[:len(profile)+18], "short": icc("acsp" + secret),
	} {
		if out, _ := clean(t, makeJPEG(t, stored, bad)); bytes.Contains(out, []byte("ICC_PROFILE")) {
			t.Errorf("%s: a profile that is none stayed", name)
		}
	}
}

func TestACutFileIsRefusedWhereverItIsCut(t *testing.T) {
	files := map[string][]byte{
		"jpeg": makeJPEG(t, corners(24, 16), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6)))),
		"png":  makePNG(t, corners(24, 16), chunk("tEXt", "Author\x00"+secret), chunk("iCCP", "x\x00\x00"+deflated(p3()))),
		"gif":  commented(t), "webp": makeWebP(t, corners(24, 16), func(o *webp.Options) { o.EXIF = tiff(binary.BigEndian, 6) }),
		"moving": makeMovingWebP(t),
	}
	for name, file := range files {
		for n := range file {
			cut := file[:n]
			_, err := picture.Inspect(bytes.NewReader(cut))
			_, cleanErr := picture.Clean(t.Context(), io.Discard, bytes.NewReader(cut))
			_, _, renderErr := picture.Render(t.Context(), bytes.NewReader(cut), picture.Thumbnail)
			want := picture.ErrMalformed
			if n < 12 && !errors.Is(err, want) {
				want = picture.ErrUnsupported
			}
			if !errors.Is(err, want) || !errors.Is(cleanErr, want) || !errors.Is(renderErr, want) {
				t.Fatalf("%s cut at %d of %d: %v, %v, %v", name, n, len(file), err, cleanErr, renderErr)
			}
		}
	}
}

func TestOtherFilesAreNotPictures(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "text": "hello", "svg": "<svg xmlns='http://www.w3.org/2000/svg'/>", "mp4": "\x00\x00\x00\x10ftypisom\x00\x00\x00\x00",
		"bmp": "BM\x00\x00\x00\x00\x00\x00\x00\x00", "wav": "RIFF\x04\x00\x00\x00WAVE", "arithmetic": "\xff\xd8\xff\xc9\x00\x02",
		"critical": string(makePNG(t, corners(8, 8), chunk("CgBI", "abcd"))),
	} {
		if _, err := picture.Inspect(strings.NewReader(text)); !errors.Is(err, picture.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAlphaIsSeen(t *testing.T) {
	clear := image.NewNRGBA(image.Rect(0, 0, 16, 16))
	clear.SetNRGBA(3, 3, color.NRGBA{255, 0, 0, 128})
	solid := corners(16, 16)
	for name, c := range map[string]struct {
		file []byte
		want bool
	}{
		"png": {makePNG(t, clear), true}, "solid png": {makePNG(t, solid), false}, "jpeg": {makeJPEG(t, solid), false},
		"webp": {lossyAlpha(t, clear), true}, "solid webp": {makeWebP(t, solid, nil), false},
		"lossless": {makeWebP(t, clear, func(o *webp.Options) { o.Lossless = true }), true},
		"gif":      {makeGIF(t, paletted(solid)), false},
		"key":      {makePNG(t, solid, chunk("tRNS", "\x00\x01\x00\x02\x00\x03")), true},
	} {
		if i := inspect(t, c.file); i.Alpha != c.want || i.Animated || i.Frames != 1 {
			t.Errorf("%s: %+v", name, i)
		}
	}
}

func TestTheEndOfAContextAndTheErrorsOfOthersPassThrough(t *testing.T) {
	file := makeJPEG(t, corners(96, 64), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 6))))
	ended, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the person left")
	cancel(gone)
	for name, f := range map[string][]byte{"turned": file, "copied": makeJPEG(t, corners(96, 64))} {
		if _, err := picture.Clean(ended, io.Discard, bytes.NewReader(f)); !errors.Is(err, gone) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := picture.Render(ended, bytes.NewReader(file), picture.Thumbnail); !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := picture.Square(ended, bytes.NewReader(file), 96); !errors.Is(err, gone) {
		t.Error(err)
	}
	full := errors.New("no space")
	if _, err := picture.Clean(t.Context(), failing{err: full}, bytes.NewReader(file)); !errors.Is(err, full) {
		t.Error(err)
	}
	for n := range 8 { // a source that fails at its nth read
		left := n
		torn := failing{ReadSeeker: bytes.NewReader(file), left: &left, err: full}
		_, _, err := picture.Render(t.Context(), torn, picture.Thumbnail)
		if errors.Is(err, picture.ErrMalformed) || n == 0 && !errors.Is(err, full) {
			t.Errorf("at read %d: %v", n, err)
		}
	}
}

type failing struct {
	io.ReadSeeker
	left *int
	err  error
}

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func (f failing) Read(b []byte) (int, error) {
	if *f.left == 0 {
		return 0, f.err
	}
	*f.left--
	return f.ReadSeeker.Read(b)
}
