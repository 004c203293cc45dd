// Package web is what a browser sees: the page that makes the first administrator, the page that an invite leads to,
// the page that finds out why calls do not connect, and a page that says what runs here. They are plain HTML with one script each, speak the REST API, and load nothing
// from elsewhere.
package web

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"fmt"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed pages
var pages embed.FS

// Paths are the routes that Handler answers, in the form of a chi or ServeMux pattern without a method.
func Paths() []string {
	routes := []string{"/"}
	for name := range pageOf {
		if name != "/" {
			routes = append(routes, name)
		}
	}
	return append(routes, assets+"*")
}

const assets = "/assets/"

// pageOf is the file of each page.
var pageOf = map[string]string{"/": "index.html", "/setup": "setup.html", "/join": "join.html", "/doctor/calls": "doctor.html"}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".svg":  "image/svg+xml",
}

// policy allows what lies beside the page and nothing else; no inline script or style.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"

// file is a page or asset, ready to be sent.
type file struct {
	data []byte
	etag string
	kind string
}

// Handler answers GET and HEAD of the pages and their assets. Browsers keep them and ask whether they changed.
func Handler() http.Handler {
	files := map[string]file{}
	entries, err := pages.ReadDir("pages")
	if err != nil {
		panic(err) // they are part of the binary
	}
	for _, e := range entries {
		data, err := pages.ReadFile("pages/" + e.Name())
		if err != nil {
			panic(err)
		}
		files[e.Name()] = file{data, fmt.Sprintf(`"%x"`, sha256.Sum256(data)), contentTypes[path.Ext(e.Name())]}
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, ok := pageOf[r.URL.Path]
		if asset, is := strings.CutPrefix(r.URL.Path, assets); is && path.Ext(asset) != ".html" {
			name, ok = asset, true
		}
		f, found := files[name]
		if !ok || !found {
			http.NotFound(w, r)
			return
		}
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
			return
		}
		h := w.Header()
		h.Set("Content-Type", f.kind)
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cache-Control", "no-cache")
		h.Set("ETag", f.etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.data))
	})
}
