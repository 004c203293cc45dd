package search

import (
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The kinds of folded characters.
type kind uint8

const (
	separator kind = iota
	letter         // of a word, digits and marks included
	spaceless      // of a script that is written without spaces between words
	symbol         // an emoji, a word by itself
	ignored        // as if it were not there
)

func kindOf(r rune) kind {
	switch {
	case r < utf8.RuneSelf:
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' {
			return letter
		}
		return separator
	case isSpaceless(r):
		return spaceless
	case unicode.In(r, unicode.L, unicode.N, unicode.M):
		return letter
	case 0x1F3FB <= r && r <= 0x1F3FF || unicode.Is(unicode.Cf, r): // skin tones, joiners
		return ignored
	case r >= 0x1F000 || 0x231A <= r && r <= 0x23FF || 0x2600 <= r && r <= 0x27BF || 0x2B05 <= r && r <= 0x2B55:
		if unicode.Is(unicode.So, r) {
			return symbol
		}
	}
	return separator
}

// isSpaceless reports whether r is of Chinese, Japanese, Korean, Thai, Lao, Burmese or Khmer. Korean has spaces, but
// its words carry endings that nobody searches for.
func isSpaceless(r rune) bool {
	switch {
	case r < 0x0E00:
		return false
	case r <= 0x0EFF, 0x1000 <= r && r <= 0x109F, 0x1780 <= r && r <= 0x17D3: // Thai and Lao, Burmese, Khmer
		return unicode.In(r, unicode.L, unicode.N, unicode.M)
	case 0x1100 <= r && r <= 0x11FF, 0x3005 <= r && r <= 0x3007, 0x3031 <= r && r <= 0x3035, 0x3041 <= r && r <= 0x31FF, 0x3400 <= r && r <= 0x4DBF,
		0x4E00 <= r && r <= 0x9FFF, 0xA960 <= r && r <= 0xA97C, 0xAC00 <= r && r <= 0xD7FB, 0xF900 <= r && r <= 0xFAFF, 0x20000 <= r && r <= 0x3FFFD:
		return unicode.In(r, unicode.L, unicode.N, unicode.M)
	}
	return false
}

// foldSegment takes away what a search does not see from a character and the marks that follow it.
func foldSegment(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == len(s) {
		if r >= 0x2E80 && isSpaceless(r) && r < 0xF900 && (r < 0x3130 || r > 0x318F) { // most of what is written in East Asia is folded as it stands
			return s
		}
		if r < foldedMax {
			return foldedBefore()[r]
		}
	}
	return foldSlow(s)
}

// foldedMax is where the table of folded characters ends: Latin, Greek, Cyrillic, Hebrew, Arabic.
const foldedMax = 0x700

var foldedBefore = sync.OnceValue(func() *[foldedMax]string {
	var table [foldedMax]string
	for r := range rune(foldedMax) {
		table[r] = foldSlow(string(r))
	}
	return &table
})

// alike are letters that have no decomposition and are typed in more than one way.
var alike = strings.NewReplacer(
	"ß", "ss", "æ", "ae", "œ", "oe", "ø", "o", "đ", "d", "ð", "d", "þ", "th", "ł", "l", "ħ", "h", "ŧ", "t", "ı", "i", "ŋ", "n", "ς", "σ",
	"ى", "ي", "ی", "ي", "ک", "ك", "ة", "ه", "ـ", "", // Arabic: final forms, Persian letters, the stretching line
)

func foldSlow(s string) string {
	// Compatibility first, so that ℌ is a letter; then lower case, which may give marks (İ), and those away.
	s = norm.NFKD.String(strings.ToLower(norm.NFKC.String(s)))
	s = strings.Map(func(r rune) rune {
		if isAccent(r) {
			return -1
		}
		return r
	}, s)
	return alike.Replace(norm.NFC.String(s)) // together again: Hangul, and the voiced kana
}

// isAccent reports whether a mark is one that people leave away: of Latin, Greek, Cyrillic, Hebrew, Arabic and Syriac,
// and what chooses the picture of an emoji. In other scripts marks are vowels, and stay.
func isAccent(r rune) bool {
	switch {
	case r < 0x0300:
		return false
	case r <= 0x036F, 0x0483 <= r && r <= 0x0489, 0x0591 <= r && r <= 0x05C7, 0x0610 <= r && r <= 0x061A, 0x064B <= r && r <= 0x065F, r == 0x0670,
		0x06D6 <= r && r <= 0x06ED, 0x0730 <= r && r <= 0x074A, 0x1AB0 <= r && r <= 0x1AFF, 0x1DC0 <= r && r <= 0x1DFF, 0x20D0 <= r && r <= 0x20FF,
		0xFE00 <= r && r <= 0xFE0F, 0xFE20 <= r && r <= 0xFE2F, 0xE0100 <= r && r <= 0xE01EF:
		return unicode.Is(unicode.M, r)
	}
	return false
}
