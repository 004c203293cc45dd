package web_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/web"
)

func get(t *testing.T, path string, headers ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, path, nil)
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, r)
	return w
}

// loads finds what a page or script loads.
var loads = regexp.MustCompile(`(?:src|href)="([^"]+)"|from '([^']+)'`)

func TestPagesLoadOnlyWhatTheServerHasAndNothingInline(t *testing.T) {
	for _, path := range []string{"/", "/setup", "/join", "/doctor/calls"} {
		w := get(t, path)
		if w.Code != http.StatusOK || w.Header().Get("Content-Type") != "text/html; charset=utf-8" {
			t.Fatalf("%s: %d %s", path, w.Code, w.Header().Get("Content-Type"))
		}
		csp := w.Header().Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", path, csp)
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"} {
			if got := w.Header().Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		page := w.Body.String()
		if regexp.MustCompile(`<script[^>]*>[^<]|<style|style="| on[a-z]+="`).MatchString(page) {
			t.Errorf("%s has something inline", path)
		}
		for _, m := range loads.FindAllStringSubmatch(page, -1) {
			asset := get(t, m[1])
			if !strings.HasPrefix(m[1], "/assets/") || asset.Code != http.StatusOK {
				t.Errorf("%s loads %s: %d", path, m[1], asset.Code)
			}
			for _, m := range loads.FindAllStringSubmatch(asset.Body.String(), -1) {
				if w := get(t, "/assets/"+strings.TrimPrefix(m[2], "./")); w.Code != http.StatusOK {
					t.Errorf("%s imports %s: %d", m[1], m[2], w.Code)
				}
			}
		}
	}
}

func TestEveryTextOfAPageIsInBothLanguagesAndEveryInputHasALabel(t *testing.T) {
	for _, name := range []string{"index", "setup", "join", "doctor/calls"} {
		path := "/" + strings.TrimPrefix(name, "index")
		name = strings.TrimSuffix(name, "/calls")
		page, script := get(t, path).Body.String(), get(t, "/assets/"+name+".js").Body.String()
		for _, m := range regexp.MustCompile(`data-t="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if !regexp.MustCompile(`(?s)\b` + m[1] + `: \['[^']+',\s+'[^']+'\]`).MatchString(script) {
				t.Errorf("%s: text %s is not in both languages", path, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`<input id="([^"]+)"`).FindAllStringSubmatch(page, -1) {
			if !strings.Contains(page, `<label for="`+m[1]+`">`) {
				t.Errorf("%s: input %s has no label", path, m[1])
			}
		}
	}
}

func TestUnchangedFilesAreNotSentAgainAndOthersAreNotFound(t *testing.T) {
	first := get(t, "/assets/style.css")
	if again := get(t, "/assets/style.css", "If-None-Match", first.Header().Get("ETag")); again.Code != http.StatusNotModified {
		t.Errorf("second request: %d", again.Code)
	}
	for _, path := range []string{"/nothing", "/assets/", "/assets/setup.html", "/assets/../web.go", "/setup/"} {
		if w := get(t, path); w.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	w := httptest.NewRecorder()
	web.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/setup", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", w.Code)
	}
}
