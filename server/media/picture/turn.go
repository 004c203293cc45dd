package picture

import (
	"image"
	"image/draw"
)

// turn returns the picture upright, as EXIF's orientation o tells. The planes of a JPEG are turned as they are, not made
// RGB first: that keeps the colours, and takes a third of the memory. It panics on none of the types that decoders make;
// others become RGB.
func turn(m image.Image, o int) image.Image {
	if o < 2 || o > 8 {
		return m
	}
	b := m.Bounds()
	w, h := b.Dx(), b.Dy()
	r := image.Rect(0, 0, w, h)
	if o >= 5 {
		r = image.Rect(0, 0, h, w)
	}
	switch m := m.(type) {
	case *image.Gray:
		return &image.Gray{Pix: turnPlane(m.Pix, m.Stride, w, h, 1, o), Stride: r.Dx(), Rect: r}
	case *image.Gray16:
		return &image.Gray16{Pix: turnPlane(m.Pix, m.Stride, w, h, 2, o), Stride: 2 * r.Dx(), Rect: r}
	case *image.Paletted:
		return &image.Paletted{Pix: turnPlane(m.Pix, m.Stride, w, h, 1, o), Stride: r.Dx(), Rect: r, Palette: m.Palette}
	case *image.RGBA:
		return &image.RGBA{Pix: turnPlane(m.Pix, m.Stride, w, h, 4, o), Stride: 4 * r.Dx(), Rect: r}
	case *image.NRGBA:
		return &image.NRGBA{Pix: turnPlane(m.Pix, m.Stride, w, h, 4, o), Stride: 4 * r.Dx(), Rect: r}
	case *image.RGBA64:
		return &image.RGBA64{Pix: turnPlane(m.Pix, m.Stride, w, h, 8, o), Stride: 8 * r.Dx(), Rect: r}
	case *image.NRGBA64:
		return &image.NRGBA64{Pix: turnPlane(m.Pix, m.Stride, w, h, 8, o), Stride: 8 * r.Dx(), Rect: r}
	case *image.YCbCr:
		if t := turnYCbCr(m, r, o); t != nil {
			return t
		}
	case *image.NYCbCrA:
		if t := turnYCbCr(&m.YCbCr, r, o); t != nil {
			return &image.NYCbCrA{YCbCr: *t, A: turnPlane(m.A, m.AStride, w, h, 1, o), AStride: r.Dx()}
		}
	}
	return turn(rgb(m), o)
}

// rgb draws a picture of any type.
func rgb(m image.Image) *image.RGBA {
	out := image.NewRGBA(image.Rect(0, 0, m.Bounds().Dx(), m.Bounds().Dy()))
	draw.Draw(out, out.Rect, m, m.Bounds().Min, draw.Src)
	return out
}

// turnYCbCr returns nil for a subsampling that has no name when it lies on its side.
func turnYCbCr(m *image.YCbCr, r image.Rectangle, o int) *image.YCbCr {
	ratio := m.SubsampleRatio
	w, h := m.Rect.Dx(), m.Rect.Dy()
	cw, ch := w, h
	switch ratio {
	case image.YCbCrSubsampleRatio444:
	case image.YCbCrSubsampleRatio420:
		cw, ch = tiles(w, 2), tiles(h, 2)
	case image.YCbCrSubsampleRatio422:
		if cw = tiles(w, 2); o >= 5 {
			ratio = image.YCbCrSubsampleRatio440
		}
	case image.YCbCrSubsampleRatio440:
		if ch = tiles(h, 2); o >= 5 {
			ratio = image.YCbCrSubsampleRatio422
		}
	default:
		return nil
	}
	t := &image.YCbCr{
		Y:              turnPlane(m.Y, m.YStride, w, h, 1, o),
		Cb:             turnPlane(m.Cb, m.CStride, cw, ch, 1, o),
		Cr:             turnPlane(m.Cr, m.CStride, cw, ch, 1, o),
		SubsampleRatio: ratio, YStride: w, CStride: cw, Rect: r,
	}
	if o >= 5 {
		t.YStride, t.CStride = h, ch
	}
	return t
}

// turnPlane turns w by h pixels of size bytes each. It goes over the result row by row, and over the source by steps.
func turnPlane(src []byte, stride, w, h, size, o int) []byte {
	start, right, down := 0, size, stride // in the source, for a step in the result
	lastX, lastY := (w-1)*size, (h-1)*stride
	switch o {
	case 2:
		start, right = lastX, -size
	case 3:
		start, right, down = lastX+lastY, -size, -stride
	case 4:
		start, down = lastY, -stride
	case 5:
		right, down = stride, size
	case 6:
		start, right, down = lastY, -stride, size
	case 7:
		start, right, down = lastX+lastY, -stride, -size
	case 8:
		start, right, down = lastX, stride, -size
	}
	if o >= 5 {
		w, h = h, w
	}
	dst := make([]byte, w*h*size)
	d := dst
	for y := range h {
		at := start + y*down
		if size == 1 {
			for x := range w {
				d[x] = src[at]
				at += right
			}
			d = d[w:]
			continue
		}
		for range w {
			copy(d[:size], src[at:at+size])
			d = d[size:]
			at += right
		}
	}
	return dst
}
