package sound

import "math"

const (
	slots    = 4096
	slotTime = 0.005 // seconds of a slot at first
	floor    = 2.5e-4
	listened = 600.0 // seconds that are decoded whole, before only a share is
)

// meter collects loudness over time without knowing how long it will be: when its slots are full, each two become one.
type meter struct {
	width   float64        // seconds of a slot; 0 before the first
	end     float64        // seconds
	energy  [slots]float64 // mean square times seconds
	unheard [slots]float64 // seconds that were not decoded
}

// add records the mean square of a stretch, the full scale being 1. Times are in seconds.
func (m *meter) add(at, length, square float64) {
	if !(square >= 0) || math.IsInf(square, 0) {
		square = 0
	}
	m.spread(&m.energy, at, length, square)
}

// skip records a stretch that nobody listened to. It counts as loud as what surrounds it.
func (m *meter) skip(at, length float64) { m.spread(&m.unheard, at, length, 1) }

func (m *meter) spread(to *[slots]float64, at, length, weight float64) {
	if !(at >= 0) || !(length > 0) || at+length > longest.Seconds() {
		return
	}
	if m.width == 0 {
		m.width = slotTime
	}
	m.end = max(m.end, at+length)
	for m.end > m.width*slots {
		m.fold()
	}
	for i := int(at / m.width); i < slots && float64(i)*m.width < at+length; i++ {
		from, to2 := max(at, float64(i)*m.width), min(at+length, float64(i+1)*m.width)
		if to2 > from {
			to[i] += (to2 - from) * weight
		}
	}
}

func (m *meter) fold() {
	for _, a := range []*[slots]float64{&m.energy, &m.unheard} {
		for i := range slots / 2 {
			a[i] = a[2*i] + a[2*i+1]
		}
		clear(a[slots/2:])
	}
	m.width *= 2
}

// bars are the loudness of each part of the time between 0 and the end.
func (m *meter) bars() []byte {
	var rms [Bars]float64
	loudest := 0.0
	step := m.end / Bars
	for i := range rms {
		energy, unheard := m.sum(float64(i)*step, float64(i+1)*step)
		if heard := step - unheard; heard > step/1000 {
			rms[i] = math.Sqrt(energy / heard)
		} else if i > 0 {
			rms[i] = rms[i-1]
		}
		loudest = max(loudest, rms[i])
	}
	out := make([]byte, Bars)
	if loudest < floor { // hiss and dither are no voice
		return out
	}
	for i, v := range rms {
		out[i] = byte(math.Round(255 * v / loudest))
	}
	return out
}

func (m *meter) sum(from, to float64) (energy, unheard float64) {
	if m.width == 0 {
		return 0, 0
	}
	for i := int(from / m.width); i < slots && float64(i)*m.width < to; i++ {
		a, b := max(from, float64(i)*m.width), min(to, float64(i+1)*m.width)
		if share := (b - a) / m.width; share > 0 {
			energy += share * m.energy[i]
			unheard += share * m.unheard[i]
		}
	}
	return energy, unheard
}

// listens reports whether what sounds at this second is decoded: all of the first ten minutes, and then of each doubling
// of the time half the share, half a second in one piece, so that a recording of a day costs as much as one of an hour.
func listens(at float64) bool {
	if at < listened {
		return true
	}
	period := math.Exp2(math.Ceil(math.Log2(at/listened))) / 2
	return math.Mod(at, max(period, 1)) < 0.5
}

// square is the mean square of samples.
func square(pcm []float32) float64 {
	if len(pcm) == 0 {
		return 0
	}
	sum := 0.0
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return sum / float64(len(pcm))
}
