package sound

import "encoding/binary"

// fragment is the part of a fragment (moof) that is about one track.
type fragment struct {
	fragmentDefaults
	at   int64 // where the next sample is in the file
	base int64 // what offsets are relative to
}

// fragmented walks over the samples of a track in fragments, as the recorders of browsers write them.
func (m *film) fragmented(p *boxes, t *track, take func(sample) error) error {
	start, count := uint64(0), 0
	for _, moof := range m.fragments {
		err := p.each(moof.body, moof.end, 1, func(traf box, _ bool) error {
			if traf.kind != "traf" {
				return nil
			}
			f, ours := fragment{fragmentDefaults: m.defaults[t.id], at: moof.start, base: moof.start}, false
			return p.each(traf.body, traf.end, 2, func(b box, _ bool) (err error) {
				switch {
				case b.kind == "tfhd":
					ours, err = f.header(p, b, t.id)
				case b.kind == "tfdt" && ours:
					start, err = decodeTime(p, b)
				case b.kind == "trun" && ours:
					start, err = f.run(p, b, start, &count, take)
				}
				return err
			})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func decodeTime(p *boxes, b box) (uint64, error) {
	c, err := p.content(b, 8, 12)
	if err != nil {
		return 0, err
	}
	if c[0] == 1 && len(c) == 12 {
		return binary.BigEndian.Uint64(c[4:]), nil
	}
	return uint64(binary.BigEndian.Uint32(c[4:])), nil
}

// header reads tfhd, and whether it is about the track.
func (f *fragment) header(p *boxes, b box, id uint32) (ours bool, err error) {
	c, err := p.content(b, 8, 64)
	if err != nil || binary.BigEndian.Uint32(c[4:]) != id {
		return false, err
	}
	flags := binary.BigEndian.Uint32(c)
	c = c[8:]
	next := func(flag uint32, size int) []byte {
		if flags&flag == 0 || len(c) < size {
			return nil
		}
		v := c[:size]
		c = c[size:]
		return v
	}
	if v := next(1, 8); v != nil {
		f.base = int64(binary.BigEndian.Uint64(v) & (1<<62 - 1))
		f.at = f.base
	}
	next(2, 4)
	if v := next(8, 4); v != nil {
		f.duration = binary.BigEndian.Uint32(v)
	}
	if v := next(16, 4); v != nil {
		f.size = binary.BigEndian.Uint32(v)
	}
	return true, nil
}

// run reads trun: samples that follow each other in the file. It returns when the next one begins.
func (f *fragment) run(p *boxes, b box, start uint64, count *int, take func(sample) error) (uint64, error) {
	head, width := 8, 0
	c, err := p.content(b, head, 16)
	if err != nil {
		return start, err
	}
	flags := binary.BigEndian.Uint32(c)
	if flags&1 != 0 && len(c) >= 12 {
		f.at = f.base + int64(int32(binary.BigEndian.Uint32(c[8:])))
		head += 4
	}
	if flags&4 != 0 {
		head += 4
	}
	for flag := uint32(0x100); flag <= 0x800; flag <<= 1 {
		if flags&flag != 0 {
			width += 4
		}
	}
	n := binary.BigEndian.Uint32(c[4:])
	rows := table{w: p.w.src.window(), at: b.body + int64(head), width: width, left: n}
	if int64(n)*int64(width) > b.end-rows.at {
		return start, malformed("a run is cut off")
	}
	for range n {
		if *count++; *count > maxSamples {
			return start, errDone
		}
		x := sample{at: f.at, size: int(f.size), start: start, duration: f.duration}
		row, err := rows.row()
		if err != nil {
			return start, err
		}
		if flags&0x100 != 0 {
			x.duration, row = binary.BigEndian.Uint32(row), row[4:]
		}
		if flags&0x200 != 0 {
			x.size = int(binary.BigEndian.Uint32(row))
		}
		if err := take(x); err != nil {
			return start, err
		}
		f.at += int64(x.size)
		start += uint64(x.duration)
	}
	return start, nil
}
