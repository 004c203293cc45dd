//go:build !heif

package picture_test

import (
	"bytes"
	"errors"
	"testing"

	"github.com/quckchat/quckchat/server/media/picture"
)

func TestAHEICIsKeptButNotDecoded(t *testing.T) {
	h := heif{w: 8064, h: 6048, primary: 1, second: "Exif"}
	if _, _, err := picture.Render(t.Context(), bytes.NewReader(h.file()), picture.Thumbnail); !errors.Is(err, picture.ErrUnsupported) {
		t.Error(err)
	}
	if _, err := picture.Square(t.Context(), bytes.NewReader(h.file()), 96); !errors.Is(err, picture.ErrUnsupported) {
		t.Error(err)
	}
	clean(t, h.file())
}
