package search

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func tokenTexts(text string) string {
	var list []string
	tokenize(text, func(t token) { list = append(list, t.text) })
	return strings.Join(list, "|")
}

func TestTokensAreFoldedWordsAndPairs(t *testing.T) {
	for text, want := range map[string]string{
		"The QUICK brown-fox":                           "the|quick|brown|fox",
		"a.b@example.org":                               "a|b|example|org",
		"Crème BRÛLÉE":                                  "creme|brulee",
		"Cre\u0300me e\u0301":                           "creme|e", // typed with marks of their own
		"Straße STRASSE ẞ":                              "strasse|strasse|ss",
		"Müller Øre Łódź Æsir œuvre":                    "muller|ore|lodz|aesir|oeuvre",
		"İstanbul ISPARTA ışık":                         "istanbul|isparta|isik",
		"Ὀδυσσεύς ΟΔΥΣΣΕΥΣ":                             "οδυσσευσ|οδυσσευσ",
		"Ёлка ёж йод":                                   "елка|еж|иод",
		"السَّلَامُ أحمد إلى مدرسة ـــ":                 "السلام|احمد|الي|مدرسه",
		"سلام علیکم":                                    "سلام|عليكم",
		"שָׁלוֹם":                                       "שלום",
		"नमस्ते दुनिया":                                 "नमस्ते|दुनिया",
		"日本語":                                           "日本|本語|語",
		"日":                                             "日",
		"日本 語":                                          "日本|本|語",
		"東京Tower2へ":                                     "東京|京|tower2|へ",
		"ｶﾞﾗｽ ガラス":                                      "ガラ|ラス|ス|ガラ|ラス|ス",
		"Ｆｕｌｌｗｉｄｔｈ １２３":                                 "fullwidth|123",
		"스타 한국어":                                        "스타|타|한국|국어|어",
		"\u1112\u1161\u11ab":                            "한", // the same syllable in letters
		"สวัสดี":                                        "สว|วั|ัส|สด|ดี|ี",
		"ສະບາຍ":                                         "ສະ|ະບ|บາย",
		"ខ្មែរ":                                         "ខ្|្ម|មែ|ែរ|រ",
		"🎉 party🎉🎊":                                     "🎉|party|🎉|🎊",
		"👩‍👩‍👧 👍🏽 ❤️":                                   "👩|👩|👧|👍|❤",
		"soft\u00adhyphen zero\u200bwidth":              "softhyphen|zerowidth",
		"ﬁne ½ Ⅳ ㎏":                                     "fine|1|2|iv|kg",
		"hi @[Ada Lovelace](0123456789abcdef01234567)!": "hi|ada|lovelace",
		"[x](short) a](0123456789abcdef0123456z)":       "x|short|a|0123456789abcdef0123456z",
		"\x00a\xffb":                                    "a|b",
		"":                                              "",
		" -- ":                                          "",
	} {
		if text == "ສະບາຍ" {
			want = "ສະ|ະບ|ບາ|າຍ|ຍ"
		}
		if got := tokenTexts(text); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	long := strings.Repeat("ab", 80)
	if got := tokenTexts(long); got != long[:64]+"|"+long[64:128]+"|"+long[128:] {
		t.Errorf("a long word: %s", got)
	}
}

// checkTokens holds what must be true of the tokens of any text.
func checkTokens(t *testing.T, text string) {
	t.Helper()
	last := 0
	tokenize(text, func(k token) {
		if k.text == "" || !utf8.ValidString(k.text) || utf8.RuneCountInString(k.text) > wordMax {
			t.Errorf("%q: token %q", text, k.text)
		}
		for _, r := range k.text {
			if unicode.IsSpace(r) || unicode.IsControl(r) || r < 0x80 && !unicode.IsLower(r) && !unicode.IsDigit(r) {
				t.Errorf("%q: token %q is not plain", text, k.text)
			}
		}
		if k.start < last || k.head <= k.start || k.end < k.head || k.end > len(text) {
			t.Errorf("%q: token %q at %d, %d, %d after %d", text, k.text, k.start, k.head, k.end, last)
		}
		last = k.start
	})
}

func FuzzTokens(f *testing.F) {
	for _, seed := range []string{"quick fox", "a\u0301", "日本語 ｶﾞ", "ﷺ½Ⅳ", "@[x](0123456789abcdef01234567)", "\xff\x00", "👩‍👩‍👧", "e\u0301\u0302", "สวัสดี"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) { checkTokens(t, text) })
}

func BenchmarkTokens(b *testing.B) {
	for name, text := range map[string]string{
		"ascii": "the quick brown fox jumps over the lazy dog, twice a day", "german": "Die Kühe grasen über den Hügeln südlich von Köln",
		"chinese": "今天天气很好我们一起去公园散步吧", "devanagari": "नमस्ते दुनिया यह एक परीक्षण है",
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				tokenize(text, func(token) {})
			}
		})
	}
}
