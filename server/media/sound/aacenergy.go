package sound

import "math"

// aacLong and aacShort are where the bands of a long and of a short window end, by the index of the sample rate
// (ISO/IEC 14496-3, 4.5.4).
var (
	aacLong  = [13][]int{aac96, aac96, aac64, aac48, aac48, aac32, aac24, aac24, aac16, aac16, aac16, aac8, aac8}
	aacShort = [13][]int{
		short96, short96, short96, short48, short48, short48, short24, short24, short16, short16, short16, short8, short8,
	}

	aac96 = []int{
		4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 156, 172, 188, 212,
		240, 276, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960, 1024,
	}
	aac64 = []int{
		4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 64, 72, 80, 88, 100, 112, 124, 140, 156, 172, 192, 216, 240,
		268, 304, 344, 384, 424, 464, 504, 544, 584, 624, 664, 704, 744, 784, 824, 864, 904, 944, 984, 1024,
	}
	aac48 = append(aac32[:47:47], 928, 1024)[:49]
	aac32 = []int{
		4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 72, 80, 88, 96, 108, 120, 132, 144, 160, 176, 196, 216, 240, 264,
		292, 320, 352, 384, 416, 448, 480, 512, 544, 576, 608, 640, 672, 704, 736, 768, 800, 832, 864, 896, 928, 960, 992,
		1024,
	}
	aac24 = []int{
		4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 52, 60, 68, 76, 84, 92, 100, 108, 116, 124, 136, 148, 160, 172, 188, 204,
		220, 240, 260, 284, 308, 336, 364, 396, 432, 468, 508, 552, 600, 652, 704, 768, 832, 896, 960, 1024,
	}
	aac16 = []int{
		8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 100, 112, 124, 136, 148, 160, 172, 184, 196, 212, 228, 244, 260, 280,
		300, 320, 344, 368, 396, 424, 456, 492, 532, 572, 616, 664, 716, 772, 832, 896, 960, 1024,
	}
	aac8 = []int{
		12, 24, 36, 48, 60, 72, 84, 96, 108, 120, 132, 144, 156, 172, 188, 204, 220, 236, 252, 268, 288, 308, 328, 348, 372,
		396, 420, 448, 476, 508, 544, 580, 620, 664, 712, 764, 820, 880, 944, 1024,
	}
	short96 = []int{4, 8, 12, 16, 20, 24, 32, 40, 48, 64, 92, 128}
	short48 = []int{4, 8, 12, 16, 20, 28, 36, 44, 56, 68, 80, 96, 112, 128}
	short24 = []int{4, 8, 12, 16, 20, 24, 28, 36, 44, 52, 64, 76, 92, 108, 128}
	short16 = []int{4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 60, 72, 88, 108, 128}
	short8  = []int{4, 8, 12, 16, 20, 24, 28, 36, 44, 52, 60, 72, 88, 108, 128}
)

// The elements of a block of AAC that may stand before the first channel, or are it.
const (
	aacSingle = 0
	aacPair   = 1
	aacData   = 4
	aacFill   = 6
)

// The books of a band that has no spectral values of its own.
const (
	aacNothing   = 0
	aacNoise     = 13
	aacIntensity = 14 // and 15
)

// aacScale makes the mean square of a block of its energy, the full scale being 1.
const aacScale = 1. / (1 << 51)

// aacLoudness is the mean square of the first channel, or pair, of a block of AAC-LC: the energy of its spectrum, which is
// read but not transformed. Where the block cannot be read further, what was read counts.
func aacLoudness(block []byte, rate int) float64 {
	if rate >= len(aacLong) {
		return 0
	}
	a := aacReader{bitReader: bitReader{b: block}, rate: rate}
	for range 16 {
		switch a.take(3) {
		case aacSingle:
			a.skip(4)
			return a.channel(false) * aacScale
		case aacPair:
			a.skip(4)
			common := a.take(1) == 1
			if common {
				a.window()
				a.stereo()
			}
			return (a.channel(common) + a.channel(common)) / 2 * aacScale
		case aacData:
			a.skip(4)
			align := a.take(1) == 1
			n := a.take(8)
			if n == 255 {
				n += a.take(8)
			}
			if align {
				a.at = (a.at + 7) &^ 7
			}
			a.skip(8 * int(n))
		case aacFill:
			n := a.take(4)
			if n == 15 {
				n += a.take(8) - 1
			}
			a.skip(8 * int(n))
		default:
			return 0
		}
		if a.over {
			return 0
		}
	}
	return 0
}

// aacReader reads the streams of individual channels. A channel has groups of windows, and each group has bands.
type aacReader struct {
	bitReader
	rate   int
	bad    bool // what follows cannot be read
	short  bool
	bands  int    // in each group
	groups []int  // windows in each; 1 long one, or 8 short ones
	ends   []int  // of the bands, in values
	middle []bool // by group and band: the channels are sum and difference

	book  [8 * 64]uint8 // by group and band
	scale [8 * 64]int
}

// window reads which windows follow (ics_info).
func (a *aacReader) window() {
	a.skip(1)
	a.groups = append(a.groups[:0], 1)
	a.short = a.take(2) == 2
	a.skip(1)
	if a.short {
		a.ends = aacShort[a.rate]
		a.bands = int(a.take(4))
		for range 7 {
			if a.take(1) == 1 {
				a.groups[len(a.groups)-1]++
			} else {
				a.groups = append(a.groups, 1)
			}
		}
	} else {
		a.ends = aacLong[a.rate]
		a.bands = int(a.take(6))
		a.bad = a.bad || a.take(1) == 1 // prediction is not of AAC-LC
	}
	a.bad = a.bad || a.over || a.bands > len(a.ends)
}

// stereo reads in which bands the channels are sum and difference.
func (a *aacReader) stereo() {
	if a.bad {
		return
	}
	mask := a.take(2)
	a.middle = make([]bool, len(a.groups)*a.bands)
	for i := range a.middle {
		a.middle[i] = mask == 2 || mask == 1 && a.take(1) == 1
	}
}

// channel returns the energy of one channel.
func (a *aacReader) channel(common bool) float64 {
	gain := int(a.take(8))
	if !common {
		a.window()
	}
	if a.bad || !a.sections() {
		return 0
	}
	energy := a.scales(gain)
	if a.tools(); !a.bad {
		energy += a.spectrum()
	}
	if a.short { // a value of a short window lasts an eighth, and weighs 64 times as much
		energy *= 8
	}
	return energy
}

// sections reads by which book each band is coded.
func (a *aacReader) sections() bool {
	width := 5
	if a.short {
		width = 3
	}
	for g := range a.groups {
		for band := 0; band < a.bands; {
			book, n := uint8(a.take(4)), 0
			for more := true; more && !a.over; {
				step := int(a.take(width))
				n, more = n+step, step == 1<<width-1
			}
			if a.over || n > a.bands-band || book == 12 {
				a.bad = true
				return false
			}
			for range n {
				a.book[g*64+band] = book
				band++
			}
		}
	}
	return true
}

// scales reads the scale factors. It returns the energy of bands of noise, which is all that these have.
func (a *aacReader) scales(gain int) (energy float64) {
	noise, first := gain-90-256, true
	for g := range a.groups {
		for band := range a.bands {
			switch i := g*64 + band; {
			case a.book[i] == aacNothing:
			case a.book[i] >= aacIntensity:
				a.symbol(&aacBooks[0])
			case a.book[i] == aacNoise:
				if first {
					noise, first = noise+int(a.take(9)), false
				} else {
					noise += a.symbol(&aacBooks[0]) - 60
				}
				energy += float64(a.groups[g]) * math.Exp2(float64(min(noise, 200))/2)
			default:
				gain += a.symbol(&aacBooks[0]) - 60
				a.scale[i] = gain
				a.bad = a.bad || gain < 0 || gain > 255
			}
			if a.bad {
				return energy
			}
		}
	}
	return energy
}

// tools steps over what shapes the values, pulses and noise shaping. It keeps the energy nearly as it is.
func (a *aacReader) tools() {
	if a.bad {
		return
	}
	if a.take(1) == 1 {
		n := a.take(2)
		a.skip(6 + 9*int(n+1))
	}
	if a.take(1) == 1 {
		windows, filters, length, order := 1, 2, 6, 5
		if a.short {
			windows, filters, length, order = 8, 1, 4, 3
		}
		for range windows {
			n := a.take(filters)
			if n == 0 {
				continue
			}
			width := 3 + int(a.take(1))
			for range n {
				a.skip(length)
				if o := int(a.take(order)); o > 0 {
					a.skip(1)
					a.skip(o * (width - int(a.take(1))))
				}
			}
		}
	}
	a.bad = a.bad || a.take(1) == 1 || a.over // gain control is not of AAC-LC
}

// spectrum sums the squares of the values.
func (a *aacReader) spectrum() (energy float64) {
	for g, windows := range a.groups {
		from := 0
		for band := range a.bands {
			i, n := g*64+band, (a.ends[band]-from)*windows
			from = a.ends[band]
			if a.book[i] == aacNothing || a.book[i] >= aacNoise {
				continue
			}
			sum := a.values(int(a.book[i]), n)
			if j := g*a.bands + band; j < len(a.middle) && a.middle[j] {
				sum *= 2
			}
			energy += sum * math.Exp2(float64(a.scale[i]-100)/2)
			if a.bad || a.over {
				a.bad = true
				return energy
			}
		}
	}
	return energy
}

// values reads n values and sums their squares, as they are before they are scaled.
func (a *aacReader) values(number, n int) (sum float64) {
	book := &aacBooks[number]
	for ; n > 0 && !a.bad && !a.over; n -= book.digits {
		symbol := a.symbol(book)
		var large [2]bool
		signs := 0
		for d := range book.digits {
			v := symbol%book.base - book.offset
			symbol /= book.base
			if v != 0 {
				signs++
			}
			if number == 11 && v == 16 {
				large[d] = true
			} else {
				sum += aacSquares[max(v, -v)]
			}
		}
		if book.offset == 0 {
			a.skip(signs)
		}
		for _, escaped := range large {
			if escaped {
				sum += a.escape()
			}
		}
	}
	return sum
}

// escape reads a value of 16 or more.
func (a *aacReader) escape() float64 {
	width := 4
	for a.take(1) == 1 {
		if width++; width > 12 {
			a.bad = true
			return 0
		}
	}
	return math.Pow(float64(uint32(1)<<width+a.take(width)), 8./3)
}

// symbol reads one word of a book.
func (a *aacReader) symbol(book *aacBook) int {
	code, first, index := 0, 0, 0
	for _, count := range book.counts {
		code |= int(a.take(1))
		if code-first < count {
			return int(book.symbols[index+code-first])
		}
		index += count
		first = (first + count) << 1
		code <<= 1
	}
	a.bad = true
	return 0
}

// aacSquares are the squares of the small values: quantised to the power of 3/4.
var aacSquares = func() (t [17]float64) {
	for i := range t {
		t[i] = math.Pow(float64(i), 8./3)
	}
	return t
}()
