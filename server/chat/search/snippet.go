package search

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Snippet is a piece of a text, and which parts of the piece were searched for.
type Snippet struct {
	Text       string   // plain
	Highlights [][2]int // start and end in UTF-16 code units, as JavaScript, Java and Swift count
}

// The size of a snippet in bytes: how much stands before the first mark, and how much there is at most. Both end between
// words where they can.
const (
	snippetBefore = 60
	snippetMax    = 240
)

// matcher finds a clause of words among the tokens of a text.
type matcher struct {
	tokens []string
	reach  reach
}

func newMatcher(c clause) matcher { return matcher{c.tokens, c.reach()} }

// at returns how many tokens match from position i on; 0 for no match. Whole says that they are the very words.
func (m matcher) at(tokens []string, i int) (n int, whole bool) {
	n = len(m.tokens)
	if i+n > len(tokens) || !slices.Equal(m.tokens[:n-1], tokens[i:i+n-1]) {
		return 0, false
	}
	wanted, is := m.tokens[n-1], tokens[i+n-1]
	switch {
	case is == wanted:
		return n, true
	case m.reach == begins && strings.HasPrefix(is, wanted), m.reach == inside && strings.Contains(is, wanted):
		return n, false
	}
	return 0, false
}

// Mark makes the snippet of a message that was found.
func (r *Result) Mark(content string) Snippet { return r.plan.mark(content) }

func (p *plan) mark(content string) Snippet {
	out := Snippet{Highlights: [][2]int{}}
	text := plainMentions(content)
	spans := p.spans(text)
	first := 0
	if len(spans) > 0 {
		first = spans[0][0]
	}
	from, to := excerpt(text, first)
	var b strings.Builder
	if from > 0 {
		b.WriteString("…")
	}
	units, at := utf16Len(b.String()), from
	for _, s := range spans {
		if s[1] > to {
			break
		}
		start := units + utf16Len(text[at:s[0]])
		units = start + utf16Len(text[s[0]:s[1]])
		at = s[1]
		out.Highlights = append(out.Highlights, [2]int{start, units})
	}
	b.WriteString(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, text[from:to]))
	if to < len(text) {
		b.WriteString("…")
	}
	out.Text = b.String()
	return out
}

// spans returns the bytes of the text that were searched for, in order, not overlapping.
func (p *plan) spans(text string) [][2]int {
	var tokens []token
	var texts []string
	tokenize(text, func(t token) {
		tokens, texts = append(tokens, t), append(texts, t.text)
	})
	var spans [][2]int
	for i := range tokens {
		for _, m := range p.matchers {
			n, _ := m.at(texts, i)
			if n == 0 {
				continue
			}
			last := tokens[i+n-1]
			end := last.end
			if isPairable(m.tokens[n-1]) { // one character of a pair
				end = last.head
			}
			spans = append(spans, [2]int{tokens[i].start, end})
		}
	}
	slices.SortFunc(spans, func(a, b [2]int) int { return a[0] - b[0] })
	var merged [][2]int
	for _, s := range spans {
		if n := len(merged); n > 0 && s[0] < merged[n-1][1] {
			merged[n-1][1] = max(merged[n-1][1], s[1])
		} else {
			merged = append(merged, s)
		}
	}
	return merged
}

// excerpt chooses what of a text is shown, with the byte first near its beginning.
func excerpt(text string, first int) (from, to int) {
	if len(text) <= snippetMax {
		return 0, len(text)
	}
	if first > snippetBefore {
		from = boundary(text, first-snippetBefore, first)
	}
	to = min(len(text), from+snippetMax)
	if to < len(text) {
		for to > from && !utf8.RuneStart(text[to]) {
			to--
		}
		if space := strings.LastIndexFunc(text[from:to], unicode.IsSpace); space > snippetMax/2 {
			to = from + space
		}
	}
	return from, to
}

// boundary returns the beginning of a word, or else of a character, between two places in a text.
func boundary(text string, from, to int) int {
	for !utf8.RuneStart(text[from]) {
		from++
	}
	if space := strings.IndexFunc(text[from:to], unicode.IsSpace); space >= 0 {
		_, n := utf8.DecodeRuneInString(text[from+space:])
		return from + space + n
	}
	return from
}

// mentionMax is the longest mention in bytes, without its id.
const mentionMax = 500

// plainMentions shows @[Name](id) as @Name.
func plainMentions(text string) string {
	if !strings.Contains(text, "](") {
		return text
	}
	var b strings.Builder
	for {
		open := strings.Index(text, "@[")
		if open < 0 {
			break
		}
		n, closing := 0, strings.IndexByte(text[open:min(len(text), open+mentionMax)], ']')
		if closing > 0 {
			closing += open
			n = mentionID(text[closing:])
		}
		if n == 0 {
			b.WriteString(text[:open+2])
			text = text[open+2:]
			continue
		}
		b.WriteString(text[:open+1] + text[open+2:closing])
		text = text[closing+n+1:]
	}
	return b.String() + text
}

func utf16Len(text string) (n int) {
	for _, r := range text {
		if n++; r > 0xFFFF {
			n++
		}
	}
	return n
}
