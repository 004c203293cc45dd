package sound

import (
	"encoding/binary"
	"errors"
	"math"
)

// maxSamples is how many samples of a track are looked at: a day of AAC.
const maxSamples = 1 << 22

// fragmentDefaults are what a fragment leaves out.
type fragmentDefaults struct{ duration, size uint32 }

// sample is one packet of a track: where it is in the file, and when it sounds, in units of the track.
type sample struct {
	at       int64
	size     int
	start    uint64
	duration uint32
}

// mp4Sound listens to a track.
func (s *scan) mp4Sound(p *boxes, m *film, t *track) error {
	hear, late, heard := t.hearing()
	if !s.listen || hear == nil || t.scale == 0 {
		return nil
	}
	w := s.src.window()
	err := m.samples(p, t, func(x sample) error {
		at := (float64(x.start)-float64(t.skip))/float64(t.scale) + late
		length := float64(x.duration) / float64(t.scale)
		if t.codec != "aac" && !listens(at) { // AAC is cheap enough
			s.meter.skip(max(0, at), length)
			return nil
		}
		b, err := w.take(x.at, x.size)
		if errors.Is(err, ErrMalformed) {
			return errDone // the sound is cut off, or is not there
		} else if err != nil {
			return err
		}
		s.meter.add(max(0, at), length, hear(b))
		return nil
	})
	s.heard = heard()
	return err
}

// length adds up what the samples of a track last.
func (m *film) length(p *boxes, t *track) (end uint64, err error) {
	err = m.samples(p, t, func(x sample) error {
		end = max(end, x.start+uint64(x.duration))
		return nil
	})
	return end - min(end, uint64(max(0, t.skip))), err
}

// samples walks over the samples of a track, those of the header and those of fragments. What is wrong with them ends the
// walk: the header alone is worth something.
func (m *film) samples(p *boxes, t *track, take func(sample) error) error {
	first := int64(-1) // fragments of what was live begin at any time
	err := t.samples(p, func(x sample) error {
		first = 0
		return take(x)
	})
	if err == nil {
		err = m.fragmented(p, t, func(x sample) error {
			if first < 0 {
				first = int64(x.start & math.MaxInt64)
			}
			x.start -= min(x.start, uint64(first))
			return take(x)
		})
	}
	if errors.Is(err, errDone) || errors.Is(err, ErrMalformed) {
		return nil
	}
	return err
}

// table reads the numbers of a table of samples in order, in rows of a width.
type table struct {
	w     *window
	at    int64
	width int
	left  uint32
}

// open returns a table whose rows begin after a number of bytes; the count of them stands before.
func open(p *boxes, b box, head, width int) (*table, error) {
	if b.kind == "" {
		return nil, malformed("a table is missing")
	}
	t := &table{w: p.w.src.window(), width: width}
	c, err := t.w.take(b.body, head)
	if err != nil {
		return nil, err
	}
	t.left, t.at = binary.BigEndian.Uint32(c[head-4:]), b.body+int64(head)
	if width > 0 && int64(t.left) > (b.end-t.at)/int64(width) {
		return nil, malformed("a table is cut off")
	}
	return t, nil
}

// row returns the next row, or nil after the last.
func (t *table) row() ([]byte, error) {
	if t.left == 0 {
		return nil, nil
	}
	b, err := t.w.take(t.at, t.width)
	t.left--
	t.at += int64(t.width)
	return b, err
}

// samples walks over the samples in the tables of the header: chunk by chunk.
func (t *track) samples(p *boxes, take func(sample) error) error {
	if t.offsets.kind == "" || t.sizes.kind == "" {
		return nil // there are fragments instead
	}
	width := 4
	if t.offsets.kind == "co64" {
		width = 8
	}
	offsets, err := open(p, t.offsets, 8, width)
	if err != nil {
		return err
	}
	chunks, err := open(p, t.chunks, 8, 12)
	if err != nil {
		return err
	}
	times, err := open(p, t.times, 8, 8)
	if err != nil {
		return err
	}
	c, err := p.content(t.sizes, 12, 12)
	if err != nil {
		return err
	}
	fixed := binary.BigEndian.Uint32(c[4:])
	width = 4
	if fixed > 0 {
		width = 0
	}
	sizes, err := open(p, t.sizes, 12, width)
	if err != nil {
		return err
	}
	count := int(min(sizes.left, maxSamples))
	if count == 0 || chunks.left == 0 || times.left == 0 {
		return nil
	}
	chunk, perChunk, run := uint32(0), uint32(0), uint32(0) // run: how many more samples last as long as this one
	first, following, err := chunkRow(chunks)
	if err != nil {
		return err
	}
	for x := (sample{}); ; {
		b, err := offsets.row()
		if b == nil || err != nil {
			return err
		}
		if x.at = int64(binary.BigEndian.Uint32(b)); len(b) == 8 {
			x.at = int64(binary.BigEndian.Uint64(b) & (1<<62 - 1))
		}
		for chunk++; first != 0 && first <= chunk; {
			perChunk = following
			if first, following, err = chunkRow(chunks); err != nil {
				return err
			}
		}
		for range perChunk {
			if count--; count < 0 {
				return nil
			}
			if x.size = int(fixed); fixed == 0 {
				b, err := sizes.row()
				if err != nil {
					return err
				}
				x.size = int(binary.BigEndian.Uint32(b))
			}
			for run == 0 {
				b, err := times.row()
				if b == nil || err != nil {
					return err
				}
				run, x.duration = binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
			}
			run--
			if err := take(x); err != nil {
				return err
			}
			x.at += int64(x.size)
			x.start += uint64(x.duration)
		}
	}
}

// chunkRow reads from which chunk on how many samples are in each; 0 after the last row.
func chunkRow(t *table) (first, samples uint32, err error) {
	b, err := t.row()
	if b == nil || err != nil {
		return 0, 0, err
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:]), nil
}
