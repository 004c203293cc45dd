//go:build heif

package picture

import (
	"image"
	"io"

	"github.com/gen2brain/avif"
	"github.com/gen2brain/heic"
)

// decodeHEIF decodes with libheif and libavif, translated to WebAssembly. The first picture of each kind takes the time
// to compile them; their memory is freed with the picture.
func (f *file) decodeHEIF(r io.Reader) (m image.Image, err error) {
	if f.Format == AVIF {
		m, err = avif.Decode(r, avif.Options{AutoRotate: true})
	} else {
		m, err = heic.Decode(r)
	}
	if err != nil {
		return nil, decodeError(f.Format, err)
	}
	return m, nil
}
