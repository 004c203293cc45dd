package sound_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/sound"
)

func box(kind string, parts ...string) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(joined(parts))))
	return string(b) + kind + joined(parts)
}

func joined(parts []string) (s string) {
	for _, p := range parts {
		s += p
	}
	return s
}

func u32(values ...uint32) (s string) {
	for _, v := range values {
		s += string(binary.BigEndian.AppendUint32(nil, v))
	}
	return s
}

// movie is a film with one track of AAC and these tables.
func movie(stsz, stsc, stts, stco string) string {
	matrix := u32(0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
	asc := "\x03\x19\x00\x00\x00\x04\x11\x40\x15\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x02\x11\x88"
	entry := box("mp4a", u32(0, 1, 0, 0, 0x10010, 0, 48000<<16), box("esds", u32(0), asc))
	return box("ftyp", "isom", u32(0)) + box("moov",
		box("mvhd", u32(0, 0, 0, 1000, 0, 0x10000, 0, 0, 0), matrix, u32(0, 0, 0, 0, 0, 0, 2)),
		box("trak", box("tkhd", u32(0, 0, 0, 1, 0, 0, 0, 0, 0, 0), matrix, u32(0, 0)), box("mdia",
			box("mdhd", u32(0, 0, 0, 48000, 0, 0)), box("hdlr", u32(0, 0), "soun", u32(0, 0, 0)), box("minf", box("stbl",
				box("stsd", u32(0, 1), entry), box("stsz", stsz), box("stsc", stsc), box("stts", stts), box("stco", stco))))))
}

// quick is a time in which nothing may hang.
const quick = 20 * time.Second

// survive inspects and strips hostile bytes, and returns what was told.
func survive(t *testing.T, name string, b []byte) sound.Info {
	t.Helper()
	begin := time.Now()
	info, err := sound.Inspect(ctx, bytes.NewReader(b))
	if err != nil && !errors.Is(err, sound.ErrMalformed) && !errors.Is(err, sound.ErrUnsupported) {
		t.Errorf("%s: %v", name, err)
	}
	if format := sound.Sniff(b); format != "" {
		if _, err := sound.Located(ctx, bytes.NewReader(b), format); err != nil && !errors.Is(err, sound.ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d := time.Since(begin); d > quick {
		t.Errorf("%s took %v", name, d)
	}
	return info
}

func TestTablesThatLieDoNoHarm(t *testing.T) {
	huge := uint32(0xFFFFFFFF)
	for name, s := range map[string]string{
		"the same megabyte again and again": movie(u32(0, 1<<20, huge), u32(0, 1, 1, huge, 1), u32(0, 1, huge, 1024), u32(0, 1, 0)) + string(make([]byte, 2<<20)),
		"samples without bytes":             movie(u32(0, 0, 0), u32(0, 1, 1, huge, 1), u32(0, 1, huge, huge), u32(0, 1, 0)),
		"a count larger than the table":     movie(u32(0, 0, huge), u32(0, huge, 1, huge, 1), u32(0, huge, huge, 1024), u32(0, huge, 0)),
		"chunks before the first":           movie(u32(0, 1, 8), u32(0, 2, 0, huge, 1, 0, huge, 1), u32(0, 2, 0, 1, 0, 1), u32(0, 2, huge, huge)),
		"samples that last for ever":        movie(u32(0, 1, 1<<20), u32(0, 1, 1, huge, 1), u32(0, 1, huge, huge), u32(0, 1, 0)),
		"times without samples":             movie(u32(0, 1, 9), u32(0, 1, 1, 9, 1), u32(0, 1, 0, 0), u32(0, 1, 0)),
	} {
		survive(t, name, []byte(s))
	}
}

func TestBoxesAndElementsMayNotNestWithoutEnd(t *testing.T) {
	deep := ""
	for range 3000 {
		deep = box("trak", box("mdia", deep))
	}
	survive(t, "deep boxes", []byte(box("ftyp", "isom", u32(0))+box("moov", deep)))
	survive(t, "deep lists", []byte(box("ftyp", "isom", u32(0))+box("moov", box("udta", box("meta", u32(0), deep)))))
	tags := ""
	for range 5000 {
		tags = "\x67\xc8" + string(binary.BigEndian.AppendUint64(nil, uint64(len(tags))|1<<56)) + tags
	}
	head := "\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67\x01\xff\xff\xff\xff\xff\xff\xff"
	survive(t, "deep tags", []byte(head+"\x12\x54\xc3\x67"+string(binary.BigEndian.AppendUint64(nil, uint64(len(tags))|1<<56))+tags))
	survive(t, "many small boxes", append([]byte(box("ftyp", "isom", u32(0))), bytes.Repeat([]byte(box("free")), 1<<18)...))
	survive(t, "many small elements", append([]byte(head), bytes.Repeat([]byte("\xec\x80"), 1<<20)...))
	survive(t, "many pages", bytes.Repeat([]byte("OggS\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"), 1<<18))
}

// low writes a number of bits at a time, the lowest first.
type low struct {
	b  []byte
	at int
}

func (l *low) put(n int, v uint64) {
	for i := range n {
		if l.at%8 == 0 {
			l.b = append(l.b, 0)
		}
		l.b[l.at/8] |= byte(v>>i&1) << (l.at % 8)
		l.at++
	}
}

// vorbisFile is an Ogg with three headers, the last with these bits, and some packets.
func vorbisFile(setup func(*low)) []byte {
	page := func(granule uint64, flags byte, packet []byte) []byte {
		b := append([]byte("OggS\x00"), flags)
		b = binary.LittleEndian.AppendUint64(b, granule)
		b = append(b, make([]byte, 12)...)
		n := len(packet)/255 + 1
		b = append(b, byte(n))
		b = append(b, bytes.Repeat([]byte{255}, n-1)...)
		b = append(b, byte(len(packet)%255))
		return append(b, packet...)
	}
	var l low
	setup(&l)
	b := page(0, 2, []byte("\x01vorbis\x00\x00\x00\x00\x01\x80\xbb\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xb8\x01"))
	b = append(b, page(0, 0, []byte("\x03vorbis\xff\xff\xff\xff\xff\xff\xff\xff"))...)
	b = append(b, page(0, 0, append([]byte("\x05vorbis"), l.b...))...)
	for i := range 20 {
		b = append(b, page(uint64(i+1)*1024, 0, bytes.Repeat([]byte{0x55}, 100))...)
	}
	return b
}

// The decoder would look for a word for ever, ask for gigabytes, or count to 2^24 times 2^16.
func TestABookThatWouldHurtTheDecoderIsNotGivenToIt(t *testing.T) {
	begin := func(l *low, dimensions, entries uint64) {
		l.put(8, 0)
		l.put(24, 0x564342)
		l.put(16, dimensions)
		l.put(24, entries)
	}
	for name, setup := range map[string]func(*low){
		"no words":                func(l *low) { begin(l, 1, 4); l.put(2, 2); l.put(4, 0); l.put(4, 0) },
		"a hole":                  func(l *low) { begin(l, 1, 2); l.put(2, 0); l.put(5, 1); l.put(5, 1); l.put(4, 0) },
		"no entries":              func(l *low) { begin(l, 1, 0); l.put(2, 0); l.put(4, 0) },
		"no dimensions":           func(l *low) { begin(l, 0, 2); l.put(2, 0); l.put(10, 0); l.put(4, 0) },
		"sixteen million entries": func(l *low) { begin(l, 65535, 1<<24-1); l.put(1, 1); l.put(5, 23); l.put(24, 1<<24-1); l.put(4, 2) },
		"lengths that never end":  func(l *low) { begin(l, 1, 8); l.put(1, 1); l.put(400, 0) },
		"many numbers":            func(l *low) { begin(l, 65535, 8192); l.put(1, 1); l.put(5, 12); l.put(14, 8192); l.put(4, 1) },
		"nothing":                 func(*low) {},
	} {
		info := survive(t, name, vorbisFile(func(l *low) { setup(l); l.put(400, 0) }))
		if info.Codec != "vorbis" || info.Waveform != nil || info.Duration < 400*time.Millisecond {
			t.Errorf("%s: %+v", name, info)
		}
	}
}

func TestEachByteOfAFileMayBeWrong(t *testing.T) {
	for name, b := range small(t) {
		for i := 0; i < len(b); i += 1 + i/3 {
			for _, v := range []byte{0, 0xFF, b[i] ^ 0x80} {
				was := b[i]
				b[i] = v
				survive(t, name, b)
				b[i] = was
			}
		}
	}
}

func FuzzInspect(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		info, err := sound.Inspect(ctx, bytes.NewReader(b))
		if err != nil && !errors.Is(err, sound.ErrMalformed) && !errors.Is(err, sound.ErrUnsupported) {
			t.Error(err)
		}
		if info.Duration < 0 || info.Waveform != nil && len(info.Waveform) != sound.Bars || info.Width < 0 || info.Height < 0 {
			t.Errorf("%+v", info)
		}
	})
}

func FuzzStrip(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, b []byte) {
		format := sound.Sniff(b)
		if format == "" {
			return
		}
		var out bytes.Buffer
		if err := sound.Strip(ctx, &out, bytes.NewReader(b), format); err != nil {
			if !errors.Is(err, sound.ErrMalformed) {
				t.Error(err)
			}
			return
		}
		if out.Len() != len(b) {
			t.Errorf("%d bytes became %d", len(b), out.Len())
		}
	})
}

// seed adds a short file of each format, or without ffmpeg what can be written by hand.
func seed(f *testing.F) {
	f.Add([]byte(movie(u32(0, 0, 2, 4, 4), u32(0, 1, 1, 2, 1), u32(0, 1, 2, 1024), u32(0, 1, 40)) + "\x01\x00\x00\x00\x01\x00\x00\x00"))
	f.Add(vorbisFile(func(l *low) { l.put(300, 0x55555555) }))
	f.Add([]byte("#!AMR\n\x3c" + string(make([]byte, 31))))
	needs(f, "ffmpeg")
	for name, b := range small(f) {
		if len(b) > 3000 && name != "small.ogg" && name != "small.mov" {
			b = b[:3000]
		}
		f.Add(b)
	}
}
