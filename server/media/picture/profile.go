package picture

import (
	"image"
	"math"
)

// checkProfile returns the bytes that an ICC profile says it has, or nil when they are no profile.
func checkProfile(b []byte) []byte {
	if len(b) < 132 || string(b[36:40]) != "acsp" {
		return nil
	}
	if n := u32(b); n >= 132 && n <= int64(len(b)) && n <= maxProfile {
		return b[:n]
	}
	return nil
}

// colours turns the colours of a profile into sRGB: a curve for each channel, a matrix, and the curve of sRGB. Cameras,
// phones and screens have such profiles (Display P3, Adobe RGB). A profile of tables, as printers have, is left alone:
// its colours show as if they were sRGB, in the small pictures only.
//
// It is ours because the profile comes from a stranger, and the library at hand takes the memory its counts ask for.
type colours struct {
	curve  [3][256]float32
	matrix [3][3]float32
	srgb   [4097]byte
}

// readColours returns nil when there is nothing to turn.
func readColours(profile []byte) *colours {
	if profile == nil || string(profile[16:24]) != "RGB XYZ " {
		return nil
	}
	var c colours
	var xyz [3][3]float64
	for i, name := range []string{"r", "g", "b"} {
		if profileTag(profile, "A2B0") != nil || !c.readCurve(i, profileTag(profile, name+"TRC")) {
			return nil
		}
		body := profileTag(profile, name+"XYZ")
		if len(body) < 20 {
			return nil
		}
		for j := range 3 {
			xyz[j][i] = fixed(body[8+4*j:])
		}
	}
	// From the white of profiles (D50) to linear sRGB: the Bradford adaptation of IEC 61966-2-1.
	toSRGB := [3][3]float64{
		{3.1338561, -1.6168667, -0.4906146}, {-0.9787684, 1.9161415, 0.0334540}, {0.0719453, -0.2289914, 1.4052427},
	}
	for i := range 3 {
		for j := range 3 {
			for k := range 3 {
				c.matrix[i][j] += float32(toSRGB[i][k] * xyz[k][j])
			}
		}
	}
	for i := range c.srgb {
		v := float64(i) / float64(len(c.srgb)-1)
		if v <= 0.0031308 {
			v *= 12.92
		} else {
			v = 1.055*math.Pow(v, 1/2.4) - 0.055
		}
		c.srgb[i] = byte(v*255 + 0.5)
	}
	if c.nothing() {
		return nil
	}
	return &c
}

// profileTag returns the body of a tag, or nil.
func profileTag(profile []byte, name string) []byte {
	c := cursor{b: profile, pos: 128}
	for range min(c.number(4), 256) {
		sig, off, n := string(c.bytes(4)), c.number(4), c.number(4)
		if c.short {
			return nil
		}
		if size := uint64(len(profile)); sig == name && off <= size && n <= size-off {
			return profile[off : off+n]
		}
	}
	return nil
}

// fixed reads a signed number with sixteen bits behind the point.
func fixed(b []byte) float64 { return float64(int32(u32(b))) / 65536 }

// readCurve tabulates the curve of a channel, which is a table, a power, or a power with a straight piece.
func (c *colours) readCurve(channel int, b []byte) bool {
	if len(b) < 12 {
		return false
	}
	var f func(x float64) float64
	switch n := int(u32(b[8:])); string(b[:4]) {
	case "curv":
		if n < 0 || n > 1<<16 || len(b) < 12+2*n {
			return false
		}
		at := func(i int) float64 { return float64(int(b[12+2*i])<<8 | int(b[13+2*i])) }
		switch n {
		case 0:
			f = func(x float64) float64 { return x }
		case 1:
			f = func(x float64) float64 { return math.Pow(x, at(0)/256) }
		default:
			f = func(x float64) float64 {
				p := x * float64(n-1)
				i := min(int(p), n-2)
				return (at(i) + (p-float64(i))*(at(i+1)-at(i))) / 65535
			}
		}
	case "para":
		kind := int(b[8])<<8 | int(b[9])
		counts := []int{1, 3, 4, 5, 7}
		if kind >= len(counts) || len(b) < 12+4*counts[kind] {
			return false
		}
		var p [7]float64 // g a b c d e f
		p[1] = 1
		for i := range counts[kind] {
			p[i] = fixed(b[12+4*i:])
		}
		f = func(x float64) float64 { return parametric(kind, p, x) }
	default:
		return false
	}
	for i := range 256 {
		v := f(float64(i) / 255)
		if !(v >= 0) { // not a number too
			v = 0
		}
		c.curve[channel][i] = float32(min(v, 1))
	}
	return true
}

// parametric is the function of ICC.1:2022, 10.18.
func parametric(kind int, p [7]float64, x float64) float64 {
	g, a, b, c, d, e, f := p[0], p[1], p[2], p[3], p[4], p[5], p[6]
	switch kind {
	case 1, 2:
		if kind == 1 {
			c = 0
		}
		if a*x+b < 0 {
			return c
		}
		return math.Pow(a*x+b, g) + c
	case 3:
		e, f = 0, 0
		fallthrough
	case 4:
		if x < d {
			return c*x + f
		}
		return math.Pow(a*x+b, g) + e
	}
	return math.Pow(x, g)
}

func (c *colours) convert(r, g, b byte) (byte, byte, byte) {
	x, y, z := c.curve[0][r], c.curve[1][g], c.curve[2][b]
	var out [3]byte
	for i, m := range c.matrix {
		v := m[0]*x + m[1]*y + m[2]*z
		out[i] = c.srgb[int(min(max(v, 0), 1)*float32(len(c.srgb)-1)+0.5)]
	}
	return out[0], out[1], out[2]
}

// nothing reports whether the profile is sRGB, as most are.
func (c *colours) nothing() bool {
	near := func(a, b byte) bool { return max(a, b)-min(a, b) <= 2 }
	for i := range 1000 {
		r, g, b := byte(i%10*28), byte(i/10%10*28), byte(i/100*28)
		x, y, z := c.convert(r, g, b)
		if !near(r, x) || !near(g, y) || !near(b, z) {
			return false
		}
	}
	return true
}

// apply turns the colours of a picture in place.
func (c *colours) apply(m *image.NRGBA) {
	if c == nil {
		return
	}
	for p := m.Pix; len(p) >= 4; p = p[4:] {
		p[0], p[1], p[2] = c.convert(p[0], p[1], p[2])
	}
}
