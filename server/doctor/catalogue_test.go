package doctor

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestEveryCodeHasItsSentencesAndItsPlaceInTheManual(t *testing.T) {
	manual, err := os.ReadFile("../../docs/calls.md")
	if err != nil {
		t.Fatal(err)
	}
	blanks := regexp.MustCompile(`\{[a-z]+\}`)
	of := func(text string) []string {
		list := blanks.FindAllString(text, -1)
		slices.Sort(list)
		return slices.Compact(list)
	}
	for code, e := range catalogue {
		if !slices.Equal(of(e.en), of(e.es)) {
			t.Errorf("%s says other things in other languages: %v and %v", code, of(e.en), of(e.es))
		}
		for _, text := range []string{e.en, e.es} {
			if !strings.HasSuffix(text, ".") || strings.Contains(text, ". ") {
				t.Errorf("%s is not one sentence: %q", code, text)
			}
		}
		if (e.state == Fault) != (e.rank > 0) {
			t.Errorf("%s is a %s of rank %d", code, e.state, e.rank)
		}
		if !strings.Contains(string(manual), "`"+code+"`") {
			t.Errorf("docs/calls.md does not say what %s means", code)
		}
	}
	for _, code := range regexp.MustCompile("(?m)^\\| `([a-z0-9_]+)`").FindAllStringSubmatch(string(manual), -1) {
		if _, ok := catalogue[code[1]]; !ok {
			t.Errorf("docs/calls.md knows a code %s that there is not", code[1])
		}
	}
}
