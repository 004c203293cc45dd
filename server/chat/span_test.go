package chat

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// called says whom spans are about: names with an @, ids as they are, and everybody.
func called(text string) string {
	var list []string
	for _, s := range spans(text) {
		switch {
		case s.all:
			list = append(list, "everybody")
		case s.id != "":
			list = append(list, s.id)
		default:
			list = append(list, "@"+s.name)
		}
	}
	return strings.Join(list, " ")
}

func TestWhomATextCalls(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ""},
		{"nobody", ""},
		{"@", ""},
		{"@[", ""},
		{"hello @ada", "@ada"},
		{"@ada", "@ada"},
		{"@ada, @bob. And (@carl)!", "@ada @bob @carl"},
		{"@ada_l.k-m.", "@ada_l.k-m"},
		{"@ada... look", "@ada"},
		{"@Ada and @ADA and @ada", "@Ada"},
		{"*@ada* '@bob' \"@carl\" …@dora —@eve", "@ada @bob @carl @dora @eve"},
		{"@ab @abc", "@abc"},
		{"@" + strings.Repeat("a", 30), "@" + strings.Repeat("a", 30)},
		{"@" + strings.Repeat("a", 31), ""},
		{"line\n@ada\n@bob", "@ada @bob"},

		// as clients write it
		{"@[Ada Lovelace](64b7f0c2a1d3e4f5a6b7c8d9) hello", "64b7f0c2a1d3e4f5a6b7c8d9"},
		{"x@[Ada](a1)@[Bob](b2)", "a1 b2"},
		{"@[Ada [QA] (x)](a1)", "a1"},
		{"@[Ada 👩‍💻 أدا](a1)", "a1"},
		{"@[ada@example.org](a1)", "a1"},
		{"@[](a1) @[x]() @[x](a b) @[x](a1 @[x] (a1) @[x\n](a1) @[x", ""},
		{"@[broken @ada", "@ada"},
		{"@[broken @[Ada](a1)", "a1"},
		{"@[" + strings.Repeat("x", 399) + "](a1)", ""},
		{"@[x](" + strings.Repeat("a", 65) + ")", ""},
		{"@[Ada](a1) @[Ada again](a1)", "a1"},
		{"@[`](a1) `](b2)", ""},

		// everybody
		{"@all", "everybody"},
		{"@All: now. @all", "everybody"},
		{"@[Everybody](all)", "everybody"},
		{"@allan", "@allan"},
		{"b@all", ""},

		// no mentions
		{"mail a@b.c or ada@example.org", ""},
		{"josé@example.org, иван@example.org", ""},
		{"first.last+tag@example.org a_@example.org", ""},
		{"@ada@example.org", ""},
		{"https://example.org/@ada?x=@bob", ""},
		{"@adaé @bobы @carl\u0301", ""},
		{`\@ada \@[Ada](a1)`, ""},
		{"@@ada", ""},
		{"＠ada", ""},

		// scripts without spaces, and emojis
		{"你好@ada请看@bob。", "@ada @bob"},
		{"안녕@ada은", "@ada"},
		{"สวัสดี@ada", "@ada"},
		{"👍@ada👍 ❤\uFE0F@bob 1\uFE0F\u20E3@carl", "@ada @bob @carl"},
		{"\u200f@ada\u200f", "@ada"},

		// code
		{"`@ada` @bob", "@bob"},
		{"``a ` @ada`` @bob", "@bob"},
		{"a ` b @ada", "@ada"},
		{"a ` b\n\n@ada ` c", "@ada"},
		{"a ` b\n@ada ` c", ""},
		{"`@[Ada](a1)`", ""},
		{"```\n@ada\n```\n@bob", "@bob"},
		{"```go\n@ada\n`` ` ```x\n@bob\n   ````  \n@carl", "@carl"},
		{"```\n@ada", ""},
		{"```@ada``` @bob", "@bob"},
		{"x ``` @ada", "@ada"},
		{"```\r\n@ada\r\n```\r\n@bob", "@bob"},
	} {
		if got := called(c.text); got != c.want {
			t.Errorf("%q calls %q, want %q", c.text, got, c.want)
		}
	}
}

func TestATextCallsFiftyAtMost(t *testing.T) {
	var b strings.Builder
	for i := range 60 {
		fmt.Fprintf(&b, "@user%d @user%d ", i, i)
	}
	found := spans(b.String())
	if len(found) != spansMax || found[0].name != "user0" || found[49].name != "user49" {
		t.Errorf("%d are called: %+v", len(found), found)
	}
}

// TestNoTextTakesLong gives the parser what makes others slow; four million bytes would take hours if each looked at all.
func TestNoTextTakesLong(t *testing.T) {
	const size = 4 << 20
	for _, part := range []string{
		"@", "@[", "@[x](", "@[x]", "`", "`@", "` ``", "```\n", "\n`", "a@b.c ", "@ab ", "\\@", "@[x\n", "](", "@[x](a b)", "é", "@é", "\n\n` ", "```x\n@", strings.Repeat("@[", 200) + "\n",
	} {
		text := strings.Repeat(part, size/len(part))
		begin := time.Now()
		spans(text)
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%q: %v", part, took)
		}
	}
	var runs strings.Builder // of every length, so that none has its like
	for n := 1; runs.Len() < size; n++ {
		runs.WriteString(strings.Repeat("`", n) + " ")
	}
	begin := time.Now()
	spans(runs.String() + "@")
	if took := time.Since(begin); took > 10*time.Second {
		t.Errorf("backticks: %v", took)
	}
}

// FuzzMentions holds what must be true of every text: the spans lie on it, in order, each says the same by itself, and
// none is in code.
func FuzzMentions(f *testing.F) {
	for _, seed := range []string{
		"hello @ada, @[Bob [x]](b2) and @all", "a@b.c @a.b@c `@x` ```\n@y\n```", "@[@[@[x](y)", "你好@ada。", "\\@ada @ada\u0301", "``a ` @b``\n\n` @c", "@[x](all) @ALL", "@ada.-", "\xff@ada\xff", "```@x``` @yyy", "@000 @[0](000)",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		found, end := spans(text), 0
		if len(found) > spansMax {
			t.Fatalf("%d spans", len(found))
		}
		seen := map[span]bool{}
		parts := codes(text)
		for i, p := range parts {
			if p.start >= p.end || p.end > len(text) || text[p.start] != '`' || i > 0 && p.start < parts[i-1].end {
				t.Fatalf("%q: code %+v", text, parts)
			}
		}
		for _, s := range found {
			if s.start < end || s.end <= s.start || s.end > len(text) || text[s.start] != '@' {
				t.Fatalf("%q: %+v after %d", text, s, end)
			}
			end = s.end
			if utf8.ValidString(text) && !utf8.ValidString(text[s.start:s.end]) {
				t.Fatalf("%q: %+v cuts a character", text, s)
			}
			if kinds := []bool{s.all, s.id != "", s.name != ""}; len(slices.DeleteFunc(kinds, func(b bool) bool { return !b })) != 1 {
				t.Fatalf("%q: %+v is not one of three", text, s)
			}
			whom := span{id: s.id, name: strings.ToLower(s.name), all: s.all}
			if seen[whom] {
				t.Fatalf("%q: %+v twice", text, s)
			}
			seen[whom] = true
			if s.name != "" && text[s.start:s.end] != "@"+s.name || s.id != "" && !strings.HasSuffix(text[s.start:s.end], "]("+s.id+")") {
				t.Fatalf("%q: %+v is not what stands there", text, s)
			}
			again := spans(text[s.start:s.end])
			if want := (span{end: s.end - s.start, id: s.id, name: s.name, all: s.all}); len(again) != 1 || again[0] != want {
				t.Fatalf("%q: %+v by itself is %+v", text, s, again)
			}
			for _, p := range parts {
				if s.start < p.end && p.start < s.end {
					t.Fatalf("%q: %+v is in code %+v", text, s, p)
				}
			}
		}
	})
}
