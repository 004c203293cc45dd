package chat

import (
	"regexp"
	"unicode"
	"unicode/utf8"
)

const emojiMax = 64 // bytes; the longest sequence that Unicode recommends has 35

// emojiName is an emoji of a client's own, by its name.
var emojiName = regexp.MustCompile(`^:[A-Za-z0-9_+-]{1,32}:$`)

// pictographs is the property Extended_Pictographic of Unicode 15.1, with the places it keeps for emoji to come.
var pictographs = &unicode.RangeTable{
	LatinOffset: 2,
	R16: []unicode.Range16{
		{0x00A9, 0x00A9, 1}, {0x00AE, 0x00AE, 1}, {0x203C, 0x203C, 1}, {0x2049, 0x2049, 1}, {0x2122, 0x2122, 1}, {0x2139, 0x2139, 1},
		{0x2194, 0x2199, 1}, {0x21A9, 0x21AA, 1}, {0x231A, 0x231B, 1}, {0x2328, 0x2328, 1}, {0x2388, 0x2388, 1}, {0x23CF, 0x23CF, 1},
		{0x23E9, 0x23F3, 1}, {0x23F8, 0x23FA, 1}, {0x24C2, 0x24C2, 1}, {0x25AA, 0x25AB, 1}, {0x25B6, 0x25B6, 1}, {0x25C0, 0x25C0, 1},
		{0x25FB, 0x25FE, 1}, {0x2600, 0x2605, 1}, {0x2607, 0x2612, 1}, {0x2614, 0x2685, 1}, {0x2690, 0x2705, 1}, {0x2708, 0x2712, 1},
		{0x2714, 0x2714, 1}, {0x2716, 0x2716, 1}, {0x271D, 0x271D, 1}, {0x2721, 0x2721, 1}, {0x2728, 0x2728, 1}, {0x2733, 0x2734, 1},
		{0x2744, 0x2744, 1}, {0x2747, 0x2747, 1}, {0x274C, 0x274C, 1}, {0x274E, 0x274E, 1}, {0x2753, 0x2755, 1}, {0x2757, 0x2757, 1},
		{0x2763, 0x2767, 1}, {0x2795, 0x2797, 1}, {0x27A1, 0x27A1, 1}, {0x27B0, 0x27B0, 1}, {0x27BF, 0x27BF, 1}, {0x2934, 0x2935, 1},
		{0x2B05, 0x2B07, 1}, {0x2B1B, 0x2B1C, 1}, {0x2B50, 0x2B50, 1}, {0x2B55, 0x2B55, 1}, {0x3030, 0x3030, 1}, {0x303D, 0x303D, 1},
		{0x3297, 0x3297, 1}, {0x3299, 0x3299, 1},
	},
	R32: []unicode.Range32{
		{0x1F000, 0x1F0FF, 1}, {0x1F10D, 0x1F10F, 1}, {0x1F12F, 0x1F12F, 1}, {0x1F16C, 0x1F171, 1}, {0x1F17E, 0x1F17F, 1},
		{0x1F18E, 0x1F18E, 1}, {0x1F191, 0x1F19A, 1}, {0x1F1AD, 0x1F1E5, 1}, {0x1F201, 0x1F20F, 1}, {0x1F21A, 0x1F21A, 1},
		{0x1F22F, 0x1F22F, 1}, {0x1F232, 0x1F23A, 1}, {0x1F23C, 0x1F23F, 1}, {0x1F249, 0x1F3FA, 1}, {0x1F400, 0x1F53D, 1},
		{0x1F546, 0x1F64F, 1}, {0x1F680, 0x1F6FF, 1}, {0x1F774, 0x1F77F, 1}, {0x1F7D5, 0x1F7FF, 1}, {0x1F80C, 0x1F80F, 1},
		{0x1F848, 0x1F84F, 1}, {0x1F85A, 0x1F85F, 1}, {0x1F888, 0x1F88F, 1}, {0x1F8AE, 0x1F8FF, 1}, {0x1F90C, 0x1F93A, 1},
		{0x1F93C, 0x1F945, 1}, {0x1F947, 0x1FAFF, 1}, {0x1FC00, 0x1FFFD, 1},
	},
}

// isEmoji reports whether text is exactly one emoji as people see it, or the :name: of one. The grammar is that of UTS 51,
// which makes every emoji one grapheme cluster:
//
//	emoji    = flag | keycap | element (ZWJ element)*
//	flag     = two regional indicators         keycap = [0-9#*] VS16? U+20E3
//	element  = pictograph (skin tone | VS15 | VS16 | tags)?
func isEmoji(text string) bool {
	if len(text) > emojiMax || !utf8.ValidString(text) {
		return false
	}
	if emojiName.MatchString(text) {
		return true
	}
	r := []rune(text)
	switch {
	case len(r) == 2 && regional(r[0]) && regional(r[1]):
		return true
	case len(r) >= 2 && len(r) <= 3 && keycapBase(r[0]) && r[len(r)-1] == 0x20E3:
		return len(r) == 2 || r[1] == 0xFE0F
	}
	for i := 0; ; i++ { // at the beginning of an element
		if i >= len(r) || !unicode.Is(pictographs, r[i]) && !(skinTone(r[i]) && len(r) == 1) {
			return false
		}
		i++
		switch {
		case i < len(r) && (skinTone(r[i]) || r[i] == 0xFE0E || r[i] == 0xFE0F):
			i++
		case i < len(r) && tag(r[i]):
			for i < len(r) && tag(r[i]) {
				i++
			}
			if i >= len(r) || r[i] != 0xE007F {
				return false
			}
			i++
		}
		if i == len(r) {
			return true
		}
		if r[i] != 0x200D {
			return false
		}
	}
}

func regional(r rune) bool   { return r >= 0x1F1E6 && r <= 0x1F1FF }
func skinTone(r rune) bool   { return r >= 0x1F3FB && r <= 0x1F3FF }
func tag(r rune) bool        { return r >= 0xE0020 && r <= 0xE007E }
func keycapBase(r rune) bool { return r >= '0' && r <= '9' || r == '#' || r == '*' }
