package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// This file finds the places of a text that call somebody: @[Name](userId) as clients write it when a person was picked,
// @username as people type it, and @all. Whether there is such a person is for others to say.
//
// A username that belongs to something longer calls nobody: an e-mail address (a@b.c), an address in a path (/@name), a
// name at another server (@name@host). Nor does what stands in code, between backticks or below a fence of them, as in
// CommonMark, or after a backslash. Words of scripts without spaces may touch the name on either side.

// spansMax is how many different people, or names, a text can call; the rest of it is plain text.
const spansMax = 50

// span is a place of a text, in bytes, and whom it calls: one of the three.
type span struct {
	start, end int
	id         string // of @[Name](id)
	name       string // of @name, as it is written
	all        bool
}

// The forms of what follows an @.
const (
	nameMin, nameEnd = 3, 30 // of a username, in characters
	idMax            = 64
	labelMax         = 400 // bytes: a display name, and more
)

// spans finds who is called in a text, each the first time. It looks at each byte a fixed number of times at most.
func spans(text string) (found []span) {
	if strings.IndexByte(text, '@') < 0 {
		return nil
	}
	code, seen := codes(text), map[string]bool{}
	for i := 0; len(found) < spansMax; {
		at := strings.IndexByte(text[i:], '@')
		if at < 0 {
			break
		}
		at += i
		i = at + 1
		for len(code) > 0 && code[0].end <= at {
			code = code[1:]
		}
		if len(code) > 0 && code[0].start <= at {
			i = code[0].end
			continue
		}
		s, ok := spanAt(text, at)
		if !ok {
			continue
		}
		i = s.end
		if key := s.id + "@" + strings.ToLower(s.name); !seen[key] { // "@" alone is all
			seen[key] = true
			found = append(found, s)
		}
	}
	return found
}

// spanAt reads what begins with the @ at a place.
func spanAt(text string, at int) (span, bool) {
	before, _ := utf8.DecodeLastRuneInString(text[:at])
	if before == '\\' {
		return span{}, false
	}
	s := span{start: at}
	if strings.HasPrefix(text[at+1:], "[") {
		id, length := picked(text[at+1:])
		if s.end = at + 1 + length; id == "all" {
			s.all = true
		} else {
			s.id = id
		}
		return s, length > 0
	}
	if binds(before) {
		return span{}, false
	}
	end := at + 1
	for end < len(text) && ofUsername(text[end]) {
		end++
	}
	name := strings.TrimRight(text[at+1:end], ".-") // the end of a sentence
	s.end = at + 1 + len(name)
	if after, _ := utf8.DecodeRuneInString(text[s.end:]); after == '@' || word(after) { // @name@host, @nameé
		return span{}, false
	}
	switch {
	case strings.EqualFold(name, "all"):
		s.all = true
	case len(name) < nameMin || len(name) > nameEnd:
		return span{}, false
	default:
		s.name = name
	}
	return s, true
}

// picked reads "[Name](id)" at the beginning of a text, and says how long it is; 0 when there is none. A name may have
// brackets, but neither lines nor backticks, nor the beginning of another.
func picked(text string) (id string, length int) {
	label := text[:min(len(text), labelMax)]
	for _, stop := range []string{"@[", "\n", "`"} {
		label, _, _ = strings.Cut(label, stop)
	}
	begin := strings.Index(label, "](")
	if begin < 2 {
		return "", 0
	}
	begin += 2
	end := begin
	for end < len(text) && end-begin < idMax && (ofUsername(text[end]) && text[end] != '.' && text[end] != '_') {
		end++
	}
	if end == begin || end == len(text) || text[end] != ')' {
		return "", 0
	}
	return text[begin:end], end + 1
}

// ofUsername reports whether a byte can stand in a username, which is ASCII.
func ofUsername(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '.' || c == '-'
}

// binds reports whether what follows a character belongs to it: it is then no mention.
func binds(r rune) bool { return strings.ContainsRune("_%+-/=@", r) || word(r) }

// unspaced are scripts whose words touch.
var unspaced = []*unicode.RangeTable{
	unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar, unicode.Tibetan,
}

// word reports whether a character is of a word that would go on.
func word(r rune) bool {
	if r < utf8.RuneSelf {
		return ofUsername(byte(r)) && r != '.' && r != '-'
	}
	if r == utf8.RuneError || unicode.Is(unicode.Variation_Selector, r) || r == '\u20E3' { // the latter two end emojis
		return false
	}
	return (unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r)) && !unicode.In(r, unspaced...)
}

// ticks is a run of backticks.
type ticks struct {
	start, end int
	fence      bool // three or more, with nothing but spaces before them in the line, and no others in it
	bare       bool // nothing at all after them in the line
	paragraph  int
}

// codes are the parts of a text that are code, in order.
func codes(text string) (parts []span) {
	runs := backticks(text)
	next, last := make([]int, len(runs)), map[int]int{} // the next run of the same length; 0 for none
	for i := len(runs) - 1; i >= 0; i-- {
		length := runs[i].end - runs[i].start
		next[i], last[length] = last[length], i
	}
	for i := 0; i < len(runs); i++ {
		if runs[i].fence {
			close := i + 1
			for close < len(runs) && !(runs[close].fence && runs[close].bare && runs[close].end-runs[close].start >= runs[i].end-runs[i].start) {
				close++
			}
			end := len(text) // one that is never closed
			if close < len(runs) {
				end = runs[close].end
			}
			parts = append(parts, span{start: runs[i].start, end: end})
			i = close
		} else if close := next[i]; close > 0 && runs[close].paragraph == runs[i].paragraph {
			parts = append(parts, span{start: runs[i].start, end: runs[close].end})
			i = close
		}
	}
	return parts
}

// backticks finds the runs of backticks in a text.
func backticks(text string) (runs []ticks) {
	if strings.IndexByte(text, '`') < 0 {
		return nil
	}
	paragraph, offset := 0, 0
	for line := range strings.SplitAfterSeq(text, "\n") {
		if strings.TrimSpace(line) == "" {
			paragraph++
		}
		first := len(runs)
		for i := 0; i < len(line); i++ {
			if line[i] != '`' {
				continue
			}
			end := i
			for end < len(line) && line[end] == '`' {
				end++
			}
			if len(runs) > first {
				runs[first].fence = false
			}
			fence := len(runs) == first && end-i >= 3 && strings.Trim(line[:i], " ") == ""
			runs = append(runs, ticks{offset + i, offset + end, fence, fence && strings.TrimSpace(line[end:]) == "", paragraph})
			i = end
		}
		offset += len(line)
	}
	return runs
}
