package search

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// token is a piece of text that the index knows and a search can ask for: a word, two neighbouring characters of a
// script that is written without spaces, the last character of a run of such a script, or an emoji.
type token struct {
	text       string // folded: without accents, case and other differences that a search does not see
	start, end int    // bytes of the original
	head       int    // of a pair, where its first character ends; otherwise end
}

// wordMax is the longest word that is kept whole, in characters. A longer one becomes several.
const wordMax = 64

// tokenize cuts text into tokens, in order. The same function makes the index and reads a search, so that both always
// agree. The id in a mention, @[Name](id), is not text.
func tokenize(text string, yield func(token)) {
	t := tokenizer{yield: yield}
	for i := 0; i < len(text); {
		if c := text[i]; c < utf8.RuneSelf && (i+1 == len(text) || text[i+1] < utf8.RuneSelf) { // not to be combined with what follows
			switch {
			case 'A' <= c && c <= 'Z':
				t.add(rune(c)+'a'-'A', i, i+1)
			case 'a' <= c && c <= 'z' || '0' <= c && c <= '9':
				t.add(rune(c), i, i+1)
			default:
				t.flush()
				if c == ']' {
					i += mentionID(text[i:])
				}
			}
			i++
			continue
		}
		n := norm.NFKC.NextBoundaryInString(text[i:], true)
		for _, r := range foldSegment(text[i : i+n]) {
			t.add(r, i, i+n)
		}
		i += n
	}
	t.flush()
}

// mentionID is the length of the id after the ] of a mention.
func mentionID(rest string) int {
	const form = len("](") + 24 + len(")")
	if len(rest) < form || rest[1] != '(' || rest[form-1] != ')' {
		return 0
	}
	for _, c := range []byte(rest[2 : form-1]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return 0
		}
	}
	return form - 1
}

// tokenizer gathers folded characters.
type tokenizer struct {
	yield      func(token)
	word       []byte // of the word being read
	count      int    // its characters
	start, end int
	prev       rune // of a run without spaces, the character before; 0 outside of one
	prevStart  int
	prevEnd    int
}

// add takes one folded character that stands for text[start:end].
func (t *tokenizer) add(r rune, start, end int) {
	switch kindOf(r) {
	case ignored:
	case spaceless:
		t.endWord()
		if t.prev != 0 {
			t.yield(token{string([]rune{t.prev, r}), t.prevStart, end, t.prevEnd})
		}
		t.prev, t.prevStart, t.prevEnd = r, start, end
	case symbol:
		t.flush()
		t.yield(token{string(r), start, end, end})
	case letter:
		t.endRun()
		if t.count == wordMax {
			t.endWord()
		}
		if t.count == 0 {
			t.start = start
		}
		t.word, t.end = utf8.AppendRune(t.word, r), end
		t.count++
	default:
		t.flush()
	}
}

func (t *tokenizer) flush() {
	t.endWord()
	t.endRun()
}

func (t *tokenizer) endWord() {
	if t.count > 0 {
		t.yield(token{string(t.word), t.start, t.end, t.end})
		t.word, t.count = t.word[:0], 0
	}
}

// endRun gives the last character of a run by itself: so every character begins a token, and a search for one finds it.
func (t *tokenizer) endRun() {
	if t.prev != 0 {
		t.yield(token{string(t.prev), t.prevStart, t.prevEnd, t.prevEnd})
		t.prev = 0
	}
}
