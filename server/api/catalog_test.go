package api_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/api"
)

// used returns every code that stands in the sources, with where.
func used(t *testing.T) map[string]string {
	t.Helper()
	call := regexp.MustCompile(`api\.E\("([A-Z_]+)"|\bE\("([A-Z_]+)"|HasCode\([^"]+, "([A-Z_]+)"\)`)
	found := map[string]string{}
	for _, dir := range []string{"../../server", "../../cmd", "../../storage"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			raw, err := os.ReadFile(path)
			for _, m := range call.FindAllStringSubmatch(string(raw), -1) {
				found[m[1]+m[2]+m[3]] = path
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return found
}

func TestEveryCodeHasASentenceInBothLanguages(t *testing.T) {
	_, h := mirror(t)
	codes := used(t)
	if len(codes) < 40 {
		t.Fatalf("only %d codes found in the sources", len(codes))
	}
	raw, err := os.ReadFile("catalog.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^\t"([A-Z_]+)":\s+\{`).FindAllStringSubmatch(string(raw), -1) {
		codes[m[1]] = "catalog.go"
	}
	hole := regexp.MustCompile(`\{\w+\}`)
	for code, where := range codes {
		if !api.Known(code) {
			t.Errorf("%s: %s is not in the catalogue", where, code)
			continue
		}
		status, _, english := rest(h, "POST", "/v/fail/"+code, "", "en-GB")
		_, _, spanish := rest(h, "POST", "/v/fail/"+code, "", "es-MX,es;q=0.9,en;q=0.8")
		if status < 400 || english.Code != code || english.Message == "" || spanish.Message == "" || english.Message == spanish.Message {
			t.Errorf("%s: %d %q, %q", code, status, english.Message, spanish.Message)
		}
		for _, text := range []string{english.Message, spanish.Message} {
			if hole.MatchString(text) {
				t.Errorf("%s: a hole is left: %q", code, text)
			}
		}
		if _, _, e := rest(h, "POST", "/v/fail/"+code, "", "de, es"); e.Message != english.Message {
			t.Errorf("%s in another language: %q", code, e.Message)
		}
	}
}
