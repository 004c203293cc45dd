package search

import (
	"fmt"
	"strconv"
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

// FuzzFind searches real messages for whatever somebody types, the newest and the best first, page by page, and marks
// every message with it: that finds something or nothing, never fails, and never shows what is not for them.
func FuzzFind(f *testing.F) {
	for _, seed := range querySeeds {
		f.Add(seed)
	}
	x, _ := openTestSearch(f, 0)
	until(f, "the index of nothing is made", x.settled)
	texts := []string{"the quick brown fox", "日本語の文章", "ab abc abcd", "สวัสดี 🎉", "quick of others"}
	err := x.db.Write(f.Context(), "test", func(tx *storage.Tx) error {
		for _, statement := range []string{
			"INSERT INTO user (id, username, username_key, display_name, created_at, updated_at) VALUES ('u', 'ann', 'ann', 'Ann Lee', 0, 0)",
			"INSERT INTO conversation (id, type, name, created_by, last_message_at, created_at, updated_at) VALUES ('mine', 'group', 'x', '', 0, 0, 0), ('other', 'group', 'x', '', 0, 0, 0)",
			"INSERT INTO member (conversation_id, user_id, joined_seq, joined_at) VALUES ('mine', 'u', 1, 0)",
		} {
			if _, err := tx.Exec(statement); err != nil {
				return err
			}
		}
		for i, text := range texts {
			room := "mine"
			if strings.HasSuffix(text, "others") {
				room = "other"
			}
			if _, err := tx.Exec("INSERT INTO message (conversation_id, n, id, sender_id, type, content, created_at, updated_at) VALUES (?, ?, ?, 'u', 'text', ?, ?, 0)",
				room, i+1, fmt.Sprintf("%024x", i), text, time.Now().UnixMilli()); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	x.Rebuild()
	until(f, "the index is made", func() bool { return x.settled() && x.documents(f) == len(texts) })
	scope := Scope{"u", map[string]int64{"mine": 0}}
	f.Fuzz(func(t *testing.T, text string) {
		for _, best := range []bool{false, true} {
			for request := (Request{Text: cut(text), Best: best, Limit: 3}); ; {
				r, err := x.Find(t.Context(), scope, request)
				if err != nil {
					t.Fatalf("%q: %v", text, err)
				}
				if len(r.IDs) > request.Limit || r.Total < len(r.IDs) || r.More != (r.Next != "") {
					t.Fatalf("%q: %+v", text, r)
				}
				for _, id := range r.IDs {
					n, err := strconv.ParseInt(id, 16, 64)
					if err != nil || n > 3 {
						t.Fatalf("%q finds %s", text, id)
					}
					r.Mark(texts[n])
				}
				if request.Cursor = r.Next; r.Next == "" {
					break
				}
			}
		}
	})
}
