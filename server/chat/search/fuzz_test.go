package search

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/storage"
)

var querySeeds = []string{
	"quick fox", `"a" OR b*`, "NEAR(a b)", "\x00", "\u0301", "a\u0301 b", "नमस्ते", "日本", "日", "-x", "{c}:", "x^2", "ﷺ½Ⅳ", `-"a b" c`, `"a b`, "“a b” c",
	"from:ann has:link -has:image", `from:"Ann Lee" in:x`, "before:2026-01-01 on:2026-02 after:today", "before:nonsense", "foo:bar", "type:image", "mentions:me",
	"wo* -wo*", "สวัสดี", "🎉👩‍👩‍👧", ": -: -\" *", "from:", "from:@ \"", "has:has:link", "２０２６", "on:2026-02-30", "ab", "a b", "-a", "-日", "@[x](0123456789abcdef01234567)",
}

// cut is what the API lets through of a search.
func cut(text string) string {
	if runes := []rune(text); len(runes) > 256 {
		return string(runes[:256])
	}
	return text
}

// lookedUp is the plan of a search with every name found.
func lookedUp(q query) *plan {
	p := &plan{to: 1 << 62}
	for _, c := range q.clauses {
		switch {
		case c.filter != "" && c.not:
			p.not = append(p.not, quote(senderTag(c.value)))
		case c.filter != "":
			p.tags = append(p.tags, quote(typeTag(c.value)))
		default:
			p.clauses = append(p.clauses, c)
			if !c.not {
				p.matchers = append(p.matchers, newMatcher(c))
			}
		}
	}
	return p
}

// FuzzQuery gives whatever somebody types to the parser: the search stays within its limits, its words are plain, and
// they mark in any text only what is there.
func FuzzQuery(f *testing.F) {
	for _, seed := range querySeeds {
		f.Add(seed, "the quick brown fox, 日本語")
	}
	f.Fuzz(func(t *testing.T, text, content string) {
		text = cut(text)
		q, tokens := parseQuery(text), 0
		for _, c := range q.clauses {
			tokens += len(c.tokens)
			if (c.filter == "") != (len(c.tokens) > 0) || (c.filter == "") != (c.value == "") {
				t.Fatalf("%q: clause %+v", text, c)
			}
			for _, token := range c.tokens {
				if !utf8.ValidString(token) || strings.ContainsFunc(token, func(r rune) bool {
					return unicode.IsSpace(r) || unicode.IsControl(r) || r < 0x80 && !unicode.IsLower(r) && !unicode.IsDigit(r)
				}) {
					t.Fatalf("%q: token %q", text, token)
				}
			}
		}
		if len(q.clauses)+len(q.dates) > clausesMax || tokens > tokensMax {
			t.Fatalf("%q has %d parts and %d tokens", text, len(q.clauses)+len(q.dates), tokens)
		}
		if from, to := q.period(0, 1<<62, time.Now(), time.UTC); from < 0 || to > 1<<62 {
			t.Fatalf("%q: from %d to %d", text, from, to)
		}
		p := lookedUp(q)
		for _, content := range []string{content, text} {
			m := p.mark(content)
			last := 0
			for _, h := range m.Highlights {
				if h[0] < last || h[1] <= h[0] || h[1] > utf16Len(m.Text) {
					t.Fatalf("%q in %q: snippet %q, highlights %v", text, content, m.Text, m.Highlights)
				}
				last = h[1]
			}
		}
	})
}

// FuzzExpression gives whatever somebody types to a real index: it finds something or nothing, and never fails.
func FuzzExpression(f *testing.F) {
	for _, seed := range querySeeds {
		f.Add(seed)
	}
	x, err := openFile(storage.Options{Path: filepath.Join(f.TempDir(), "search.db")})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { x.db.Close() })
	var changes []change
	for _, text := range []string{"the quick brown fox", "日本語の文章", "ab abc abcd", "สวัสดี 🎉"} {
		d := &document{messageID: storage.NewID(), conversationID: "c0", senderID: "u0", typ: "text"}
		d.describe(text, false, nil, "")
		changes = append(changes, change{d.messageID, d})
	}
	if err := x.write(f.Context(), changes, nil); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		text = cut(text)
		p := lookedUp(parseQuery(text))
		err := x.db.Read(t.Context(), func(v storage.View) error {
			for _, exact := range []bool{true, false} {
				e, found, err := p.expression(v, exact)
				if err != nil || !found {
					return err
				}
				for _, rooms := range [][]string{nil, {"c0"}, {"c0", "c1"}} {
					match := e.match(rooms)
					if match == "" || len(e.must) == 0 && rooms == nil {
						continue
					}
					var n int
					if err := v.QueryRow("SELECT count(*) FROM word WHERE word MATCH ?", match).Scan(&n); err != nil {
						t.Errorf("%q as %s", text, match)
						return err
					}
				}
			}
			return nil
		})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
	})
}
