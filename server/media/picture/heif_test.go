package picture_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/media/picture"
)

// makeHEIF encodes a picture with Debian's libheif, with EXIF and XMP in it.
func makeHEIF(t testing.TB, kind string) []byte {
	t.Helper()
	heifEnc, exiftool := program(t, "heif-enc", "libheif-examples"), program(t, "exiftool", "libimage-exiftool-perl")
	in := write(t, "in.jpg", makeJPEG(t, corners(192, 128), segment(0xE1, "Exif\x00\x00"+string(tiff(binary.BigEndian, 1)))))
	out := strings.TrimSuffix(in, "in.jpg") + "out." + kind
	args := []string{in, "-q", "90", "-o", out}
	if kind == "avif" {
		args = append(args, "--avif")
	}
	run(t, heifEnc, args...)
	run(t, exiftool, "-q", "-overwrite_original", "-XMP-dc:Creator="+secret, "-EXIF:Artist="+secret, "-GPSLatitude=51.5", "-GPSLatitudeRef=N", out)
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestAHEICAndAnAVIFTellNothingAndStillShow(t *testing.T) {
	for _, kind := range []string{"heic", "avif"} {
		t.Run(kind, func(t *testing.T) {
			file := makeHEIF(t, kind)
			if !bytes.Contains(file, []byte(secret)) || !bytes.Contains(file, []byte("Exif")) {
				t.Fatal("the original has no secret")
			}
			i := inspect(t, file)
			if string(i.Format) != kind || i.Width != 192 || i.Height != 128 || i.Orientation != 1 || i.Animated {
				t.Errorf("%+v", i)
			}
			trailer := append(bytes.Clone(file), "\x00\x00\x00\x30mpvd\x00\x00\x00\x18ftypmp42"+secret+strings.Repeat(" ", 11)+"PK\x05\x06"...)
			for name, f := range map[string][]byte{"plain": file, "motion photo": trailer} {
				out, _ := clean(t, f)
				if len(out) > len(file) {
					t.Errorf("%s: %d bytes became %d", name, len(file), len(out))
				}
				path := write(t, "clean."+kind, out)
				said := run(t, program(t, "exiftool", ""), "-a", "-G1", "-s", path)
				for _, group := range []string{"[ExifIFD]", "[IFD0]", "[GPS]", "[XMP", "Artist", "Creator", "Trailer", secret} {
					if strings.Contains(said, group) {
						t.Errorf("%s: %s in %s", name, group, said)
					}
				}
				run(t, program(t, "heif-convert", "libheif-examples"), path, path+".png")
				b, err := os.ReadFile(path + ".png")
				if err != nil {
					t.Fatal(err)
				}
				isCorners(t, decode(t, b), 192, 128)
			}
		})
	}
}

func TestACutHEICIsRefused(t *testing.T) {
	for _, kind := range []string{"heic", "avif"} {
		file := makeHEIF(t, kind)
		clean, _ := clean(t, file)
		end := len(bytes.TrimRight(clean, "\x00")) // behind it, only what was blanked
		for n := range end {
			want := picture.ErrMalformed
			if n < 12 {
				want = picture.ErrUnsupported
			}
			if _, err := picture.Clean(t.Context(), io.Discard, bytes.NewReader(file[:n])); !errors.Is(err, want) && !errors.Is(err, picture.ErrMalformed) {
				t.Fatalf("%s cut at %d of %d: %v", kind, n, len(file), err)
			}
		}
	}
}

// A byte of the structure that lies must never bring the secret through. Only in iloc may it: what is said to be the bytes
// of the picture is copied, in every format, and no reader finds anything in it.
func TestADamagedHEICIsRefusedOrClean(t *testing.T) {
	file := makeHEIF(t, "heic")
	end := bytes.Index(file, []byte("mdat"))
	iloc := bytes.Index(file, []byte("iloc"))
	behind := iloc + int(binary.BigEndian.Uint32(file[iloc-4:]))
	for at := range end {
		if at >= iloc && at < behind {
			continue
		}
		for _, v := range []byte{0, 1, 0x7F, 0xFF, file[at] + 1, file[at] ^ 0x80} {
			bad := bytes.Clone(file)
			bad[at] = v
			var out bytes.Buffer
			_, err := picture.Clean(t.Context(), &out, bytes.NewReader(bad))
			if err == nil && bytes.Contains(out.Bytes(), []byte(secret)) {
				t.Fatalf("byte %d as %02x brings the secret through", at, v)
			}
			if err != nil && !errors.Is(err, picture.ErrMalformed) && !errors.Is(err, picture.ErrUnsupported) && !errors.Is(err, picture.ErrTooLarge) {
				t.Fatalf("byte %d as %02x: %v", at, v, err)
			}
		}
	}
}

// What heif-enc does not make: turned, cropped, with alpha, pictures in the meta box, boxes in the way.
func TestTheStructureOfAHEICIsFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*heif)
		want   error
		w, h   int
	}{
		"plain":                  {func(*heif) {}, nil, 640, 480},
		"turned":                 {func(h *heif) { h.props = append(h.props, box("irot", "\x01")) }, nil, 480, 640},
		"upside down":            {func(h *heif) { h.props = append(h.props, box("irot", "\x02")) }, nil, 640, 480},
		"cropped":                {func(h *heif) { h.props = append(h.props, box("clap", clap(600, 400))) }, nil, 600, 400},
		"in the meta box":        {func(h *heif) { h.method = 1 }, nil, 640, 480},
		"a description":          {func(h *heif) { h.props = append(h.props, box("udes", "\x00\x00\x00\x00en\x00"+secret)) }, nil, 640, 480},
		"in pieces that overlap": {func(h *heif) { h.method, h.pieces = 1, 3 }, nil, 640, 480},
		"unknown meta box":       {func(h *heif) { h.meta = box("uuid", "0123456789abcdef"+secret) }, nil, 640, 480},
		"unknown box":            {func(h *heif) { h.before = box("uuid", "0123456789abcdef"+secret) }, nil, 640, 480},
		"a movie":                {func(h *heif) { h.before = box("moov", secret) }, picture.ErrUnsupported, 0, 0},
		"a large picture":        {func(h *heif) { h.w = 40_000 }, picture.ErrTooLarge, 0, 0},
		"many pixels":            {func(h *heif) { h.w, h.h = 20_000, 20_000 }, picture.ErrTooLarge, 0, 0},
		"an unknown item":        {func(h *heif) { h.second = "quck" }, nil, 640, 480},
		"an item elsewhere":      {func(h *heif) { h.elsewhere = 1 }, picture.ErrMalformed, 0, 0},
		"an item of an item":     {func(h *heif) { h.method = 2 }, picture.ErrMalformed, 0, 0},
		"an item in the boxes":   {func(h *heif) { h.shift = -60 }, picture.ErrMalformed, 0, 0},
		"an item far away":       {func(h *heif) { h.shift = 1 << 20 }, picture.ErrMalformed, 0, 0},
		"no primary item":        {func(h *heif) { h.primary = 9 }, picture.ErrMalformed, 0, 0},
		"primary is metadata":    {func(h *heif) { h.primary = 2 }, picture.ErrMalformed, 0, 0},
		"no size":                {func(h *heif) { h.w = 0 }, picture.ErrMalformed, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			h := heif{w: 640, h: 480, primary: 1, second: "Exif"}
			c.change(&h)
			file := h.file()
			i, err := picture.Inspect(bytes.NewReader(file))
			if !errors.Is(err, c.want) || i.Width != c.w || i.Height != c.h {
				t.Fatalf("%+v, %v", i, err)
			}
			if err != nil {
				return
			}
			out, _ := clean(t, file)
			if !bytes.Contains(out, []byte("the coded picture")) || len(out) != len(file) {
				t.Errorf("the picture is gone, or moved: %d of %d bytes", len(out), len(file))
			}
		})
	}
}

// heif is a file of two items: a picture, and something about it, which lie one behind the other.
type heif struct {
	w, h, primary, elsewhere, method, shift int
	second                                  string
	props                                   [][]byte
	meta, before                            []byte
	pieces, padding                         int // of the picture: how often it is named, and bytes behind it
}

func box(name, body string) []byte {
	return append(append(binary.BigEndian.AppendUint32(nil, uint32(8+len(body))), name...), body...)
}

func be16(v ...int) (s string) {
	for _, v := range v {
		s += string([]byte{byte(v >> 8), byte(v)})
	}
	return s
}

func be32(v ...int) (s string) {
	for _, v := range v {
		s += be16(v>>16, v)
	}
	return s
}

func clap(w, h int) string { return be32(w, 1, h, 1, 0, 1, 0, 1) }

func (h *heif) file() []byte {
	coded := "the coded picture" + strings.Repeat("x", h.padding)
	data := coded + secret + "more of " + secret
	ftyp := box("ftyp", "heic\x00\x00\x00\x00mif1heic")
	var props string
	links := "\x01"
	if h.w > 0 {
		props, links = string(box("ispe", be32(0, h.w, h.h))), "\x81"
	}
	n := len(links)
	for _, p := range h.props {
		props += string(p)
		n++
		links += string([]byte{0x80 | byte(n)})
	}
	build := func(at int) []byte {
		iloc := box("iloc", "\x01\x00\x00\x00\x44\x00"+be16(2)+
			be16(1, h.method, h.elsewhere, max(h.pieces, 1))+strings.Repeat(be32(at+h.shift, len(coded)), max(h.pieces, 1))+
			be16(2, h.method, h.elsewhere, 1)+be32(at+len(coded), len(secret)))
		body := "\x00\x00\x00\x00" + string(box("hdlr", be32(0, 0)+"pict"+be32(0, 0, 0)+secret+"\x00")) +
			string(box("pitm", be32(0)+be16(h.primary))) + string(iloc) +
			string(box("iinf", be32(0)+be16(2)+
				string(box("infe", "\x02\x00\x00\x00"+be16(1, 0)+"hvc1"+secret+"\x00"))+
				string(box("infe", "\x02\x00\x00\x00"+be16(2, 0)+h.second+secret+"\x00")))) +
			string(box("iprp", string(box("ipco", props))+string(box("ipma", be32(0, 1)+be16(1)+string([]byte{byte(len(links))})+links)))) +
			string(h.meta)
		if h.method == 1 {
			body += string(box("idat", data))
		}
		return append(append(bytes.Clone(ftyp), h.before...), box("meta", body)...)
	}
	at := 0
	if h.method != 1 {
		at = len(build(0)) + 8
	}
	return append(build(at), box("mdat", data)...)
}
