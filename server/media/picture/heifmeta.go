package picture

import (
	"bytes"
	"cmp"
	"slices"
)

// readMeta reads the items that the meta box describes, and overwrites in it what is not about pictures.
func (h *heifWalk) readMeta() error {
	h.items = map[uint64]*heifItem{}
	b := h.boxes[h.metaAt]
	head := int(b.body-b.off) + 4 // version and flags
	if len(h.meta) < head {
		return malformed("an empty meta box")
	}
	found := map[string][]byte{}
	err := eachBox(h.meta[head:], func(kind string, body, whole []byte) error {
		if found[kind] != nil {
			return malformed("two %q boxes", kind)
		}
		switch kind {
		case "iinf", "iloc", "pitm", "iprp":
			found[kind] = body
		case "idat":
			found[kind] = body
		case "hdlr":
			if len(body) < 24 || string(body[8:12]) != "pict" {
				return malformed("not a picture")
			}
			clear(body[24:]) // a name
		case "iref", "dinf", "grpl":
		default:
			free(body, whole)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, kind := range []string{"pitm", "iinf", "iloc", "iprp"} {
		if found[kind] == nil {
			return malformed("no %q box", kind)
		}
	}
	if err := h.itemInfos(found["iinf"]); err != nil {
		return err
	}
	if err := h.itemPlaces(found["iloc"], int64(len(found["idat"]))); err != nil {
		return err
	}
	h.blankItemData(found["idat"])
	c := cursor{b: found["pitm"]}
	version := c.number(4) >> 24
	h.primary = c.number(2 << min(version, 1))
	return h.properties(found["iprp"])
}

// eachBox calls do for the boxes in b, with the body and the whole of each.
func eachBox(b []byte, do func(kind string, body, whole []byte) error) error {
	for len(b) > 0 {
		c := cursor{b: b}
		n, kind := c.number(4), string(c.bytes(4))
		switch n {
		case 0:
			n = uint64(len(b))
		case 1:
			n = c.number(8)
		}
		if c.short || n < uint64(c.pos) || n > uint64(len(b)) {
			return malformed("a box of %d bytes in %d", n, len(b))
		}
		if err := do(kind, b[c.pos:n:n], b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// free makes of a box one that holds nothing.
func free(body, whole []byte) {
	copy(whole[4:], "free")
	clear(body)
}

// itemInfos reads the kind of each item. Names are overwritten, and the kind of what is not a picture: some readers
// refuse a file whose EXIF is not one.
func (h *heifWalk) itemInfos(iinf []byte) error {
	c := cursor{b: iinf}
	version := c.number(4) >> 24
	c.number(2 << min(version, 1))
	if c.short {
		return malformed("item infos")
	}
	return eachBox(iinf[c.pos:], func(kind string, body, whole []byte) error {
		c := cursor{b: body}
		version := c.number(4) >> 24
		if kind != "infe" || version < 2 || version > 3 {
			return malformed("%q of version %d", kind, version)
		}
		id := c.number(int(version)*2 - 2)
		protected := c.number(2)
		name := c.bytes(4)
		if c.short || protected != 0 || h.items[id] != nil || len(h.items) == maxPieces {
			return malformed("item info")
		}
		h.items[id] = &heifItem{kind: string(name)}
		clear(body[c.pos:])
		if !slices.Contains(heifPictures, string(name)) {
			copy(name, "free")
		}
		return nil
	})
}

// itemPlaces reads where the bytes of each item are.
func (h *heifWalk) itemPlaces(iloc []byte, idat int64) error {
	c := cursor{b: iloc}
	version := c.number(4) >> 24
	sizes := c.number(2)
	var width [4]int
	for i := range width {
		width[i] = int(sizes >> (12 - 4*i) & 15)
		if width[i] != 0 && width[i] != 4 && width[i] != 8 {
			return malformed("item location")
		}
	}
	offset, length, base, index := width[0], width[1], width[2], width[3]
	id, count := 2, 2
	switch version {
	case 0:
		index = 0
	case 1:
	case 2:
		id, count = 4, 4
	default:
		return malformed("item location of version %d", version)
	}
	all := 0
	for range c.number(count) {
		item := h.items[c.number(id)]
		method := uint64(0)
		if version > 0 {
			method = c.number(2)
		}
		elsewhere := c.number(2)
		start := c.number(base)
		n := c.number(2)
		if all += int(n); c.short || item == nil || item.extents != nil || item.inMeta != nil || elsewhere != 0 || all > maxPieces {
			return malformed("item location")
		}
		for range n {
			c.number(index)
			from, size := start+c.number(offset), c.number(length)
			const far = 1 << 60
			if c.short || size == 0 || size > far || from > far {
				return malformed("item location")
			}
			e := span{int64(from), int64(from + size)}
			switch {
			case method == 0 && e.to <= h.size:
				item.extents = append(item.extents, e)
			case method == 1 && e.to <= idat:
				item.inMeta = append(item.inMeta, e)
			default:
				return malformed("an item outside of the file")
			}
		}
	}
	return nil
}

// blankItemData overwrites what no picture has in the data that is kept in the meta box. It goes over the data once, however
// often pictures name the same bytes.
func (h *heifWalk) blankItemData(idat []byte) {
	at := int64(0)
	for _, e := range h.pictureSpans(func(i *heifItem) []span { return i.inMeta }) {
		if e.from > at {
			clear(idat[at:e.from])
		}
		at = max(at, e.to)
	}
	clear(idat[at:])
}

// pictureSpans are the bytes that pictures have in one of two places, in the order of where they begin.
func (h *heifWalk) pictureSpans(of func(*heifItem) []span) (list []span) {
	for _, item := range h.items {
		if slices.Contains(heifPictures, item.kind) {
			list = append(list, of(item)...)
		}
	}
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return list
}

// heifProperty is what a property says, as far as it is of use here.
type heifProperty struct {
	kind   string
	w, h   int
	turned bool // by 90 or 270 degrees
	alpha  bool
}

// properties reads the size of the picture and how it is turned, which readers apply by themselves.
func (h *heifWalk) properties(iprp []byte) error {
	var props []heifProperty
	var links [][]byte
	err := eachBox(iprp, func(kind string, body, whole []byte) error {
		switch kind {
		case "ipco":
			return eachBox(body, func(kind string, body, whole []byte) error {
				props = append(props, heifProp(kind, body, whole))
				return nil
			})
		case "ipma":
			links = append(links, body)
		default:
			free(body, whole)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, ipma := range links {
		if err := h.associate(ipma); err != nil {
			return err
		}
	}
	primary := h.items[h.primary]
	if primary == nil || !slices.Contains(heifPictures, primary.kind) {
		return malformed("no primary picture")
	}
	turned := false
	for _, n := range primary.props {
		if n < 1 || n > len(props) {
			continue
		}
		switch p := props[n-1]; p.kind {
		case "ispe":
			if err := h.setSize(p.w, p.h); err != nil {
				return err
			}
		case "clap": // what shows of it
			if err := h.setSize(min(p.w, h.w), min(p.h, h.h)); err != nil {
				return err
			}
		case "irot":
			turned = p.turned
		}
	}
	if h.w == 0 {
		return malformed("a picture without a size")
	}
	if turned {
		h.w, h.h = h.h, h.w
	}
	for _, item := range h.items {
		for _, n := range item.props {
			if n >= 1 && n <= len(props) && props[n-1].alpha {
				h.Alpha = true
			}
		}
	}
	return nil
}

// heifProp reads a property. What describes a picture in words, or when it was taken, is overwritten.
func heifProp(kind string, body, whole []byte) heifProperty {
	p := heifProperty{kind: kind}
	c := cursor{b: body}
	switch kind {
	case "ispe":
		c.number(4)
		p.w, p.h = int(min(c.number(4), maxSide+1)), int(min(c.number(4), maxSide+1))
	case "clap":
		w, wd, h, hd := c.number(4), c.number(4), c.number(4), c.number(4)
		p.w, p.h = int(w/max(wd, 1)), int(h/max(hd, 1))
	case "irot":
		p.turned = c.number(1)&1 == 1
	case "auxC":
		p.alpha = bytes.Contains(body, []byte("alpha")) || bytes.Contains(body, []byte("hevc:2015:auxid:1"))
	case "udes", "altt", "crtt", "mdft", "uuid":
		free(body, whole)
	}
	return p
}

// associate reads which properties belong to which item.
func (h *heifWalk) associate(ipma []byte) error {
	c := cursor{b: ipma}
	head := c.number(4)
	id, index := 2, 1
	if head>>24 > 0 {
		id = 4
	}
	if head&1 != 0 {
		index = 2
	}
	for range c.number(4) {
		item := h.items[c.number(id)]
		n := c.number(1)
		for range n {
			v := int(c.number(index)) & (1<<(8*index-1) - 1)
			if item != nil {
				item.props = append(item.props, v)
			}
		}
		if c.short {
			return malformed("item properties")
		}
	}
	return nil
}
