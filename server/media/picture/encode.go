package picture

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"

	"github.com/deepteams/webp"
)

// encode makes both encodings of a small picture.
func encode(ctx context.Context, m *image.NRGBA) ([]Rendition, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	data, err := encodeWebP(m, webpQuality, nil)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	w, h := m.Rect.Dx(), m.Rect.Dy()
	list := []Rendition{{Format: WebP, Width: w, Height: h, Data: data}}
	flat := opaque(m)
	if !m.Opaque() {
		flat = image.NewRGBA(m.Rect)
		draw.Draw(flat, flat.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
		draw.Draw(flat, flat.Rect, m, image.Point{}, draw.Over)
	}
	var buf bytes.Buffer
	if err := jpeg.Encode(&buf, flat, &jpeg.Options{Quality: jpegQuality}); err != nil {
		return nil, fmt.Errorf("encode jpeg: %w", err)
	}
	return append(list, Rendition{Format: JPEG, Width: w, Height: h, Data: buf.Bytes()}), nil
}

// opaque is the same picture, of the type that encoders are fast with. Only where nothing is transparent are the bytes
// of the two types the same.
func opaque(m *image.NRGBA) *image.RGBA {
	return &image.RGBA{Pix: m.Pix, Stride: m.Stride, Rect: m.Rect}
}

// encodeWebP encodes a picture lossy, with its plane of alpha lossless. The two are encoded apart and put together here:
// the library writes the header of a lossless picture into the plane, where none belongs, and no other decoder reads it.
func encodeWebP(m *image.NRGBA, quality float32, profile []byte) ([]byte, error) {
	var buf bytes.Buffer
	o := webp.DefaultOptions()
	o.Quality = quality
	if m.Opaque() {
		o.ICC = profile
		if err := webp.Encode(&buf, opaque(m), o); err != nil {
			return nil, fmt.Errorf("encode webp: %w", err)
		}
		return buf.Bytes(), nil
	}
	plane := &image.NRGBA{Pix: bytes.Clone(m.Pix), Stride: m.Stride, Rect: m.Rect}
	for p := plane.Pix; len(p) >= 4; p = p[4:] {
		p[0], p[1], p[2], p[3] = 0, p[3], 0, 0xFF
	}
	if err := webp.Encode(&buf, plane, &webp.EncoderOptions{Lossless: true, Quality: 75, Method: 2}); err != nil {
		return nil, fmt.Errorf("encode alpha: %w", err)
	}
	packed, err := bitstream(buf.Bytes(), "VP8L")
	if err != nil {
		return nil, err
	}
	const head, compressed = 5, 1 // bytes that say how large it is; and no filter
	packed = append([]byte{compressed}, packed[head:]...)

	solid := plane // its pixels are not needed any more
	copy(solid.Pix, m.Pix)
	for p := solid.Pix; len(p) >= 4; p = p[4:] {
		if p[3] == 0 {
			p[0], p[1], p[2] = 0, 0, 0 // what nobody was to see
		}
		p[3] = 0xFF
	}
	buf.Reset()
	if err := webp.Encode(&buf, opaque(solid), o); err != nil {
		return nil, fmt.Errorf("encode webp: %w", err)
	}
	data, err := bitstream(buf.Bytes(), "VP8 ")
	if err != nil {
		return nil, err
	}

	vp8x := make([]byte, 10)
	vp8x[0] = webpAlpha
	putU24(vp8x[4:], m.Rect.Dx()-1)
	putU24(vp8x[7:], m.Rect.Dy()-1)
	body := []byte("WEBP")
	if profile != nil {
		vp8x[0] |= webpProfile
	}
	body = append(body, webpChunk("VP8X", vp8x)...)
	if profile != nil {
		body = append(body, webpChunk("ICCP", profile)...)
	}
	body = append(append(body, webpChunk("ALPH", packed)...), webpChunk("VP8 ", data)...)
	return webpChunk("RIFF", body), nil
}

// bitstream returns the only chunk of a simple WebP.
func bitstream(b []byte, name string) ([]byte, error) {
	if len(b) > 25 && string(b[12:16]) == name {
		if n := int(binary.LittleEndian.Uint32(b[16:])); n > 5 && n <= len(b)-20 {
			return b[20 : 20+n], nil
		}
	}
	return nil, fmt.Errorf("encode webp: no %q came out", name)
}
