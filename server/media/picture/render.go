package picture

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"image"
	"io"
	"slices"
	"sync"

	"github.com/galdor/go-thumbhash"
	"github.com/kovidgoyal/imaging"
)

// The encodings of small pictures: WebP is half as large, and every client reads JPEG.
const (
	webpQuality = 75
	jpegQuality = 80
	largest     = 1280      // pixels: the longest side that can be asked for
	smallFile   = 256 << 10 // bytes: an original so small needs no preview
	hashSide    = 100       // pixels: what a thumbhash is made from
)

// Size is a small picture that is wanted.
type Size struct {
	Name  string
	Side  int  // pixels, 1 to 1280: neither side is longer
	Spare bool // not wanted when the original does as well: it moves, or it is no longer and at most 256 KiB
}

// The sizes that clients show: in a list, and on a screen before the original is there.
var (
	Thumbnail = Size{Name: "thumb", Side: 320}
	Preview   = Size{Name: "preview", Side: largest, Spare: true}
)

// Rendition is a picture that was made.
type Rendition struct {
	Name          string // of its Size; empty for a square
	Format        Format // WebP or JPEG
	Width, Height int    // pixels
	Data          []byte
}

// Placeholder is a thumbhash in base64: about 25 bytes that a client blurs into a first impression.
type Placeholder string

// Render decodes a picture once and makes each size of it, upright and in sRGB, as WebP and as JPEG, in the order asked
// for; and its placeholder. Nothing is made larger. What is transparent is white in a JPEG; an animation is its first
// frame. Errors: those of Inspect, ErrUnsupported also for a HEIC or AVIF in a build without their decoders, and the
// cause of the context's end.
func Render(ctx context.Context, src io.ReadSeeker, sizes ...Size) ([]Rendition, Placeholder, error) {
	for _, size := range sizes {
		if size.Side < 1 || size.Side > largest {
			return nil, "", fmt.Errorf("size %q has a side of %d pixels", size.Name, size.Side)
		}
	}
	f, err := inspect(src)
	if err != nil {
		return nil, "", err
	}
	list, hash, err := f.render(ctx, src, sizes)
	f.collect()
	if err != nil {
		return nil, "", fmt.Errorf("render %s: %w", f.Format, err)
	}
	return list, hash, nil
}

func (f *file) render(ctx context.Context, src io.ReadSeeker, sizes []Size) (list []Rendition, hash Placeholder, err error) {
	defer guard(&err)
	m, err := f.decode(ctx, src)
	if err != nil {
		return nil, "", err
	}
	wanted := slices.DeleteFunc(slices.Clone(sizes), func(s Size) bool {
		return s.Spare && (f.Animated || f.length <= smallFile && max(f.w, f.h) <= s.Side)
	})
	made := map[int][]Rendition{}
	smaller := shrinker{f: f, m: m}
	for _, size := range slices.SortedFunc(slices.Values(wanted), func(a, b Size) int { return cmp.Compare(b.Side, a.Side) }) {
		if made[size.Side] == nil {
			if made[size.Side], err = encode(ctx, smaller.fit(size.Side)); err != nil {
				return nil, "", err
			}
		}
	}
	for _, size := range wanted {
		for _, r := range made[size.Side] {
			r.Name = size.Name
			list = append(list, r)
		}
	}
	sum := thumbhash.EncodeImage(smaller.fit(hashSide))
	return list, Placeholder(base64.StdEncoding.EncodeToString(sum)), nil
}

// Square decodes a picture and makes an avatar of its middle for each side given, in pixels, 1 to 1280, as WebP and as
// JPEG. Nothing is made larger. Errors: as of Render.
func Square(ctx context.Context, src io.ReadSeeker, sides ...int) ([]Rendition, error) {
	for _, side := range sides {
		if side < 1 || side > largest {
			return nil, fmt.Errorf("a side of %d pixels", side)
		}
	}
	f, err := inspect(src)
	if err != nil {
		return nil, err
	}
	list, err := f.square(ctx, src, sides)
	f.collect()
	if err != nil {
		return nil, fmt.Errorf("render %s: %w", f.Format, err)
	}
	return list, nil
}

func (f *file) square(ctx context.Context, src io.ReadSeeker, sides []int) (list []Rendition, err error) {
	defer guard(&err)
	m, err := f.decode(ctx, src)
	if err != nil {
		return nil, err
	}
	if m, err = middle(m); err != nil {
		return nil, err
	}
	most := m.Bounds().Dx()
	made := map[int][]Rendition{}
	smaller := shrinker{f: f, m: m}
	for _, side := range slices.SortedFunc(slices.Values(sides), func(a, b int) int { return cmp.Compare(b, a) }) {
		if side = min(side, most); made[side] == nil {
			if made[side], err = encode(ctx, smaller.to(side, side)); err != nil {
				return nil, err
			}
		}
	}
	for _, side := range sides {
		list = append(list, made[min(side, most)]...)
	}
	return list, nil
}

// middle is the largest square in the middle.
func middle(m image.Image) (image.Image, error) {
	b := m.Bounds()
	side := min(b.Dx(), b.Dy())
	r := image.Rect(0, 0, side, side).Add(b.Min).Add(image.Pt((b.Dx()-side)/2, (b.Dy()-side)/2))
	if y, ok := m.(*image.YCbCr); ok && y.SubsampleRatio == image.YCbCrSubsampleRatio444 && side > 1 {
		r.Max.Y-- // the library reads a row on from the last, which is past the end when the row begins in the middle
	}
	part, ok := m.(interface {
		SubImage(image.Rectangle) image.Image
	})
	if !ok {
		return nil, unsupported("%T", m)
	}
	return part.SubImage(r), nil
}

// shrinker makes a picture smaller step by step: the small ones are made of the larger, at a fraction of the time. So
// the largest is asked for first.
type shrinker struct {
	f     *file
	m     image.Image
	ready bool // it is upright and in sRGB, which is done when it is small
}

// fit makes the longer side at most side.
func (s *shrinker) fit(side int) *image.NRGBA {
	w, h := s.m.Bounds().Dx(), s.m.Bounds().Dy()
	if long := max(w, h); long > side {
		w, h = max(1, (w*side+long/2)/long), max(1, (h*side+long/2)/long)
	}
	return s.to(w, h)
}

func (s *shrinker) to(w, h int) *image.NRGBA {
	small := resize(s.m, w, h, !s.f.Alpha)
	if !s.ready {
		readColours(s.f.profile).apply(small)
		small = turn(small, s.f.Orientation).(*image.NRGBA)
	}
	first := !s.ready
	if s.m, s.ready = small, true; first {
		s.f.collect() // what was decoded is not needed any more
	}
	return small
}

// oneCore keeps the library to the goroutine that calls it: the other core is for messages.
var oneCore = sync.OnceFunc(func() { imaging.SetMaxProcs(1) })

// resize returns a picture of its own: m keeps its pixels.
func resize(m image.Image, w, h int, opaque bool) *image.NRGBA {
	oneCore()
	if m.Bounds().Dx() == w && m.Bounds().Dy() == h {
		c := imaging.Clone(m)
		return &image.NRGBA{Pix: c.Pix, Stride: c.Stride, Rect: image.Rect(0, 0, w, h)}
	}
	switch r := imaging.ResizeWithOpacity(m, w, h, imaging.CatmullRom, opaque).(type) {
	case *image.NRGBA:
		return &image.NRGBA{Pix: r.Pix, Stride: r.Stride, Rect: image.Rect(0, 0, w, h)}
	case *imaging.NRGB:
		out := image.NewNRGBA(image.Rect(0, 0, w, h))
		for y := range h {
			to := out.Pix[y*out.Stride:]
			from := r.Pix[y*r.Stride:]
			for range w {
				to[0], to[1], to[2], to[3] = from[0], from[1], from[2], 0xFF
				to, from = to[4:], from[3:]
			}
		}
		return out
	default:
		panic(fmt.Sprintf("resized to %T", r))
	}
}
