//go:build heif

package picture_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quckchat/quckchat/server/media/picture"
)

func TestAHEICAndAnAVIFAreShown(t *testing.T) {
	for _, kind := range []string{"heic", "avif"} {
		file := makeHEIF(t, kind)
		cleaned, _ := clean(t, file)
		for _, f := range [][]byte{file, cleaned} {
			list, hash := render(t, f, picture.Thumbnail, picture.Size{Name: "s", Side: 96})
			if len(list) != 4 || hash == "" {
				t.Fatalf("%s: %d", kind, len(list))
			}
			// Only the middles of the quarters: heic v0.4.5 damages some pixels of the first and last rows.
			areQuarters(t, decode(t, list[0].Data), 192, 128)
			areQuarters(t, decode(t, list[3].Data), 96, 64)
			if list, err := picture.Square(t.Context(), bytes.NewReader(f), 96); err != nil || list[0].Width != 96 {
				t.Errorf("%s: %v", kind, err)
			}
		}
		for n := 64; n < len(file); n += len(file) / 8 {
			bad := bytes.Clone(file)
			bad[n] ^= 0xFF
			_, _, err := picture.Render(t.Context(), bytes.NewReader(bad), picture.Thumbnail)
			if err != nil && !errors.Is(err, picture.ErrMalformed) && !errors.Is(err, picture.ErrUnsupported) && !errors.Is(err, picture.ErrTooLarge) {
				t.Errorf("%s with another byte %d: %v", kind, n, err)
			}
		}
	}
}

func TestALargeHEICIsNotDecoded(t *testing.T) {
	h := heif{w: 8064, h: 6048, primary: 1, second: "Exif"}
	if _, _, err := picture.Render(t.Context(), bytes.NewReader(h.file()), picture.Thumbnail); !errors.Is(err, picture.ErrTooLarge) {
		t.Error(err)
	}
}
