//go:build heif

package picture

import (
	"image"
	"io"

	"github.com/gen2brain/avif"
	"github.com/gen2brain/heic"
)

// maxHEIF is the pixels of a picture that is decoded: as many as a phone makes of one.
const maxHEIF = 4096 * 3072

// decodeHEIF decodes with libheif and libavif, translated to WebAssembly: upright, whatever the file says. The first
// picture of each kind takes a second or more, to compile them, and 50 MiB for good.
//
// This build keeps none of the package's promises about memory and time: 12 megapixels take 400 MiB and five seconds, a
// context is not looked at meanwhile, and a coded picture may be larger than its file says. It is for sites that know
// whose pictures they take. The library frees a HEIC before it hands it out, which damages some pixels of the first and
// last rows.
func (f *file) decodeHEIF(r io.Reader) (m image.Image, err error) {
	if f.w*f.h > maxHEIF {
		return nil, tooLarge("%s of %d by %d pixels", f.Format, f.w, f.h)
	}
	if f.Format == AVIF {
		m, err = avif.Decode(r, avif.Options{AutoRotate: true})
	} else {
		m, err = heic.Decode(r)
	}
	if err != nil {
		return nil, decodeError(f.Format, err)
	}
	f.memory = maxMemory // more, if anything: it is to be given back
	f.collect()
	return m, nil
}
