package chat

import (
	"log/slog"
	"path/filepath"
	"testing"
	"unicode"

	"github.com/quckchat/quckchat/storage"
)

// FuzzMatchWords gives whatever somebody types to a real index: it finds nothing or something, and never fails.
func FuzzMatchWords(f *testing.F) {
	for _, seed := range []string{"quick fox", `"a" OR b*`, "NEAR(a b)", "\x00", "\u0301", "a\u0301 b", "नमस्ते", "日本", "-x", "{c}:", "x^2", "ﷺ½Ⅳ"} {
		f.Add(seed)
	}
	x, err := OpenSearch(filepath.Join(f.TempDir(), "search.db"), nil, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { x.Close() })
	f.Fuzz(func(t *testing.T, q string) {
		if runes := []rune(q); len(runes) > 256 {
			q = string(runes[:256])
		}
		match := matchWords(q)
		if match == "" {
			for _, r := range q {
				if unicode.IsLetter(r) || unicode.IsNumber(r) {
					t.Fatalf("%q is no words", q)
				}
			}
			return
		}
		err := x.index.Read(t.Context(), func(v storage.View) error {
			var n int
			return v.QueryRow("SELECT count(*) FROM word WHERE word MATCH ?", match).Scan(&n)
		})
		if err != nil {
			t.Fatalf("%q as %s: %v", q, match, err)
		}
	})
}
