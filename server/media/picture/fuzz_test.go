package picture_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"image"
	"image/color"
	"io"
	"testing"
	"time"

	"github.com/deepteams/webp"

	"github.com/quckchat/quckchat/server/media/picture"
)

func seeds(f *testing.F) {
	small := corners(24, 16)
	clear := image.NewNRGBA(image.Rect(0, 0, 12, 8))
	clear.SetNRGBA(3, 3, color.NRGBA{255, 0, 0, 128})
	exif := string(tiff(binary.BigEndian, 6))
	profile := segment(0xE2, "ICC_PROFILE\x00\x01\x01"+string(p3()))
	h := heif{w: 640, h: 480, primary: 1, second: "Exif"}
	for _, file := range [][]byte{
		makeJPEG(f, small, segment(0xE1, "Exif\x00\x00"+exif), profile, segment(0xFE, secret)), progressive(24, 16, 5), baseline(32, 32),
		makePNG(f, small, chunk("eXIf", exif), chunk("iCCP", "x\x00\x00"+deflated(p3()))), makePNG(f, clear), emptyPNG(f, 9, 7, 16, 6, true, 8),
		commented(f), wideGIF(f, 8, 8),
		makeWebP(f, small, func(o *webp.Options) { o.EXIF, o.ICC = []byte(exif), p3() }), makeMovingWebP(f), tables(f, 8, 8, 1),
		makeWebP(f, clear, func(o *webp.Options) { o.Lossless = true }), h.file(),
	} {
		f.Add(file)
	}
}

// known says that an error is one that the caller can tell a person.
func known(err error) bool {
	return err == nil || errors.Is(err, picture.ErrMalformed) || errors.Is(err, picture.ErrUnsupported) || errors.Is(err, picture.ErrTooLarge)
}

func FuzzInspect(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		began := time.Now()
		i, err := picture.Inspect(bytes.NewReader(b))
		if !known(err) {
			t.Error(err)
		}
		if err == nil && (i.Width < 1 || i.Height < 1 || i.Width > 30_000 || i.Height > 30_000 || i.Frames < 1 || i.Orientation < 1 || i.Orientation > 8) {
			t.Errorf("%+v", i)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("took %s", took)
		}
	})
}

// What was cleaned is sound, and clean.
func FuzzClean(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		var once, twice bytes.Buffer
		i, err := picture.Clean(t.Context(), &once, bytes.NewReader(b))
		if !known(err) {
			t.Fatal(err)
		}
		if err != nil {
			return
		}
		again, err := picture.Clean(t.Context(), &twice, bytes.NewReader(once.Bytes()))
		if err != nil || again != i || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("%+v, then %+v, %v; %d bytes, then %d", i, again, err, once.Len(), twice.Len())
		}
	})
}

func FuzzRender(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		if i, err := picture.Inspect(bytes.NewReader(b)); err != nil || i.Width*i.Height > 1<<20 {
			return // slow, and no other way through the decoders
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		list, hash, err := picture.Render(ctx, bytes.NewReader(b), picture.Size{Name: "s", Side: 20}, picture.Preview)
		if !known(err) {
			t.Fatal(err)
		}
		if err == nil && (len(list) == 0 || hash == "") {
			t.Errorf("%d pictures, placeholder %q", len(list), hash)
		}
		for _, r := range list {
			if i, err := picture.Inspect(bytes.NewReader(r.Data)); err != nil || i.Width != r.Width || i.Height != r.Height || i.Format != r.Format {
				t.Errorf("made %+v: %v", i, err)
			}
			decode(t, r.Data)
		}
		if _, err := picture.Square(ctx, bytes.NewReader(b), 16); !known(err) {
			t.Fatal(err)
		}
		if _, err := picture.Clean(ctx, io.Discard, bytes.NewReader(b)); !known(err) {
			t.Fatal(err)
		}
	})
}
