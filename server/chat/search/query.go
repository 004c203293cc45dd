package search

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// query is a search as somebody typed it. Its parts must all hold. The language:
//
//	word            the word, a word that begins like it, or, from three letters on, contains it
//	wo*             words that begin like it
//	"some words"    these words in this order
//	-word -"some words" -from:ann   not these
//	from:ann from:@ann from:"Ann Lee" from:me    who wrote it: a name, a username, or an id
//	in:family       where: the name of a group, of the other person, or an id
//	before:2026-05-01 after:2026-05 on:yesterday when: a day, a month, a year, today, yesterday
//	has:link        what is in it: see hasKinds
//	type:image      its type
//	mentions:me     who is named in it
//
// Whatever is not of this language is words: nothing that is typed is an error.
type query struct {
	clauses []clause
	dates   []dateFilter
}

// clause is one part of a search.
type clause struct {
	not    bool
	filter string   // from, in, has, type or mentions; "" for words
	value  string   // of a filter: not empty, as it was typed
	tokens []string // of words: at least one, to be found one after the other
	exact  bool     // in quotation marks
	prefix bool     // the last token may go on
	typing bool     // the last word of a search, which may be unfinished
}

// reach is what the last token of a clause of words stands for.
type reach uint8

const (
	whole  reach = iota // itself
	begins              // what begins like it
	inside              // what contains it
)

func (c *clause) reach() reach {
	last := c.tokens[len(c.tokens)-1]
	r, _ := utf8.DecodeRuneInString(last)
	letters := utf8.RuneCountInString(last)
	switch {
	case c.prefix:
		return begins
	case kindOf(r) != letter || c.not || c.exact:
		return whole
	case len(c.tokens) > 1:
		if c.typing {
			return begins
		}
		return whole
	case letters >= gramSize:
		return inside
	case letters == 2 && c.typing:
		return begins
	}
	return whole
}

// The limits of a search; what is beyond them is not looked at.
const (
	clausesMax = 16
	tokensMax  = 48
)

// hasKinds are the values of has:, with the tag that the index has for each.
var hasKinds = map[string]string{
	"link": "link", "links": "link", "url": "link", "image": "image", "images": "image", "photo": "image", "video": "video", "audio": "audio", "voice": "audio",
	"file": "file", "attachment": "attachment", "media": "attachment", "location": "location", "poll": "poll", "contact": "contact", "sticker": "sticker",
	"mention": "mention", "reply": "reply",
}

// messageTypes are the values of type:.
var messageTypes = []string{"text", "image", "video", "audio", "file", "call", "huddle", "system", "poll", "location", "contact", "sticker"}

// parseQuery reads a search in one pass.
func parseQuery(text string) query {
	var q query
	left := tokensMax
	typing := false // the last thing is a word that may go on
	for rest := strings.TrimLeftFunc(text, unicode.IsSpace); rest != "" && len(q.clauses)+len(q.dates) < clausesMax; rest = strings.TrimLeftFunc(rest, unicode.IsSpace) {
		var c clause
		typing = false
		if after, ok := strings.CutPrefix(rest, "-"); ok && after != "" && !startsWithSpace(after) {
			c.not, rest = true, after
		}
		if n := quoteLen(rest); n > 0 {
			var closed bool
			var inside string
			inside, closed, rest = quoted(rest[n:])
			c.exact, c.prefix = true, !closed
			q.words(c, inside, &left)
			continue
		}
		word := rest
		if end := strings.IndexFunc(rest, unicode.IsSpace); end >= 0 {
			word = rest[:end]
		}
		if name, value, ok := strings.Cut(word, ":"); ok {
			after := rest[len(word):]
			if n := quoteLen(value); n > 0 {
				value, _, after = quoted(rest[len(name)+1+n:])
			}
			if q.filter(c, strings.ToLower(name), strings.TrimSpace(value)) {
				rest = after
				continue
			}
		}
		rest = rest[len(word):]
		c.prefix = strings.HasSuffix(word, "*")
		typing = q.words(c, word, &left) && !c.not
	}
	if typing {
		q.clauses[len(q.clauses)-1].typing = true
	}
	return q
}

// words adds a clause of words, if there are any.
func (q *query) words(c clause, text string, left *int) bool {
	var last, before token
	tokenize(text, func(t token) {
		if *left == 0 {
			return
		}
		*left--
		c.tokens, before, last = append(c.tokens, t.text), last, t
	})
	n := len(c.tokens)
	if n == 0 {
		return false
	}
	if isPairable(last.text) {
		if n > 1 && before.end == last.end { // the end of a run is in its last pair already
			c.tokens = c.tokens[:n-1]
		} else {
			c.prefix = true // a single character begins a pair
		}
	}
	q.clauses = append(q.clauses, c)
	return true
}

// isPairable reports whether a token is a single character of a script without spaces.
func isPairable(text string) bool {
	r, n := utf8.DecodeRuneInString(text)
	return n == len(text) && kindOf(r) == spaceless
}

// filter adds a clause name:value; false when that is no filter, but words.
func (q *query) filter(c clause, name, value string) bool {
	if value == "" {
		return false
	}
	c.filter, c.value = name, value
	switch name {
	case "from", "in", "mentions":
		if strings.Trim(value, "@ ") == "" {
			return false
		}
	case "has":
		tag, known := hasKinds[strings.ToLower(value)]
		if !known {
			return false
		}
		c.value = tag
	case "type":
		if c.value = strings.ToLower(value); !slices.Contains(messageTypes, c.value) {
			return false
		}
	case "before", "after", "on", "during":
		d, ok := parseDate(value)
		if !ok || c.not {
			return false
		}
		d.filter = name
		q.dates = append(q.dates, d)
		return true
	default:
		return false
	}
	q.clauses = append(q.clauses, c)
	return true
}

func startsWithSpace(text string) bool {
	r, _ := utf8.DecodeRuneInString(text)
	return unicode.IsSpace(r)
}

// quoteLen is the length of the quotation mark that text begins with; 0 when it begins with something else.
func quoteLen(text string) int {
	switch r, n := utf8.DecodeRuneInString(text); r {
	case '"', '“', '”', '„', '«', '»':
		return n
	}
	return 0
}

// quoted returns what comes before the next quotation mark, and what after it.
func quoted(text string) (inside string, closed bool, rest string) {
	for i := range text {
		if n := quoteLen(text[i:]); n > 0 {
			return text[:i], true, text[i+n:]
		}
	}
	return text, false, ""
}
