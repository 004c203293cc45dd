package sound

// What a header of Vorbis may ask for. Encoders stay far below; the decoder would take anything, in memory and in time.
const (
	vorbisChannels = 8
	vorbisEntries  = 8 << 10 // of one book
	vorbisTotal    = 64 << 10
	vorbisValues   = 1 << 20 // numbers in all books
)

// checkVorbis reads the headers as far as the books go and refuses what would hurt the decoder: large books, books with
// holes, in which it would look for ever, and vectors of nothing.
func checkVorbis(identification, setup []byte) error {
	const head = 7 // type and name
	if len(identification) < head+23 || len(setup) < head+1 {
		return malformed("short vorbis header")
	}
	channels, sizes := identification[head+4], identification[head+21]
	if channels == 0 || channels > vorbisChannels || sizes&15 < 6 || sizes>>4 > 13 || sizes&15 > sizes>>4 {
		return malformed("impossible vorbis stream")
	}
	r := &lowBitReader{b: setup[head:]}
	entries, values := 0, 0
	for range r.take(8) + 1 {
		e, v, ok := vorbisBook(r)
		entries, values = entries+e, values+v
		if !ok || r.over || entries > vorbisTotal || values > vorbisValues {
			return malformed("impossible vorbis codebook")
		}
	}
	return nil
}

// vorbisBook reads one book (Vorbis I, section 3.2.1) and returns how many words and numbers it holds.
func vorbisBook(r *lowBitReader) (entries, values int, ok bool) {
	if r.take(24) != 0x564342 {
		return 0, 0, false
	}
	dimensions := int(r.take(16))
	entries = int(r.take(24))
	if dimensions == 0 || entries < 2 || entries > vorbisEntries {
		return 0, 0, false
	}
	var lengths [33]int // words of each
	if r.take(1) == 0 {
		sparse := r.take(1) == 1
		for range entries {
			if !sparse || r.take(1) == 1 {
				lengths[r.take(5)+1]++
			}
		}
	} else {
		length := r.take(5) + 1
		for i := 0; i < entries; length++ {
			n := int(r.take(bitLength(entries - i)))
			if length > 32 || n > entries-i {
				return 0, 0, false
			}
			lengths[length] += n
			i += n
		}
	}
	if !complete(&lengths) {
		return 0, 0, false
	}
	kind := r.take(4)
	if kind == 0 {
		return entries, 0, true
	}
	if kind > 2 {
		return 0, 0, false
	}
	values = entries * dimensions
	if values > vorbisValues {
		return 0, 0, false
	}
	r.skip(64)
	width := int(r.take(4)) + 1
	r.skip(1)
	numbers := values
	if kind == 1 {
		numbers = root(entries, dimensions)
	}
	r.skip(numbers * width)
	return entries, values, true
}

// complete reports whether each bit leads on to a word: the words fill the tree, or there is only one.
func complete(lengths *[33]int) bool {
	sum, words := uint64(0), 0
	for length, n := range lengths {
		sum += uint64(n) << (32 - length)
		words += n
	}
	return sum == 1<<32 || words == 1 && lengths[1] == 1
}

// root is the largest number whose power is at most v.
func root(v, power int) int {
	for n := 1; ; n++ {
		product := 1
		for range power {
			if product *= n + 1; product > v {
				return n
			}
		}
	}
}

func bitLength(v int) (n int) {
	for ; v > 0; v >>= 1 {
		n++
	}
	return n
}

// lowBitReader reads a number of bits at a time, the lowest first.
type lowBitReader struct {
	b    []byte
	at   int // in bits
	over bool
}

func (r *lowBitReader) take(n int) (v uint32) {
	for i := range n {
		if j := r.at >> 3; j < len(r.b) {
			v |= uint32(r.b[j]>>(r.at&7)&1) << i
		} else {
			r.over = true
		}
		r.at++
	}
	return v
}

func (r *lowBitReader) skip(n int) {
	if r.at += n; r.at > 8*len(r.b) {
		r.over = true
	}
}
