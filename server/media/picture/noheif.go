//go:build !heif

package picture

import (
	"image"
	"io"
)

// decodeHEIF says that this build keeps such pictures as they are: their decoders are ten megabytes of code.
func (f *file) decodeHEIF(io.Reader) (image.Image, error) {
	return nil, unsupported("%s is not decoded by this build", f.Format)
}
