package sound

import (
	"encoding/binary"
	"errors"
)

// webmPlaces looks through all tags of a file. They may stand behind the clusters.
func webmPlaces(src *source) ([]patch, error) {
	h := &voider{e: &elements{w: src.window()}}
	for at := int64(0); at < src.size; {
		el, err := h.e.next(at)
		if errors.Is(err, errShort) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch el.id {
		case idSegment:
			at = el.body
			continue
		case idCluster: // one without a size ends where something else begins
			if el.end == unknownSize {
				at = el.body
				continue
			}
		case idTags:
			if _, err := h.tags(el, 0); err != nil {
				return nil, err
			}
		}
		if el.end == unknownSize {
			return nil, malformed("an element without a size")
		}
		at = el.end
	}
	return h.patches, nil
}

// voider collects what is overwritten in a WebM.
type voider struct {
	e       *elements
	patches []patch
}

// tags looks at the simple tags within Tags, Tag or a simple tag, and reports whether one was hidden. Then the checksum
// of the parent is hidden too, for it is none any more.
func (h *voider) tags(parent element, depth int) (hidden bool, err error) {
	if depth > maxDepth {
		return false, malformed("tags too deep")
	}
	var checksum *element
	place := false
	err = h.e.each(parent.body, parent.end, func(el element) error {
		switch el.id {
		case idChecksum:
			checksum = &el
		case idTag, idSimpleTag:
			inner, err := h.tags(el, depth+1)
			hidden = hidden || inner
			return err
		case idTagName:
			name, err := h.e.content(el, maxTextElement)
			place = err == nil && speaksOfPlace(string(name))
			return err
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if place && parent.id == idSimpleTag {
		return true, h.void(parent)
	}
	if hidden && checksum != nil {
		return true, h.void(*checksum)
	}
	return hidden, nil
}

// void makes an element one of nothing, in the same length.
func (h *voider) void(el element) error {
	if len(h.patches) >= maxPatches {
		return malformed("too many places")
	}
	size := el.end - el.start
	head := []byte{idVoid, 0x80 | byte(size-2)}
	if size-2 >= 127 {
		head = binary.BigEndian.AppendUint64([]byte{idVoid}, uint64(size-9)|1<<56)
	}
	h.patches = append(h.patches, patch{at: el.start, end: el.end, head: string(head)})
	return nil
}
