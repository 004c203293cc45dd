package server

import (
	"html/template"
	"net/http"

	"github.com/quckchat/quckchat/server/api"
)

// docsPage is the reference of the API, made from the table. It loads nothing from outside.
var docsPage = template.Must(template.New("docs").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>QuckChat API</title>
<style>
:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem}
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #8884;vertical-align:top}
code{font:13px ui-monospace,monospace}th{position:sticky;top:0;background:Canvas}
</style></head><body>
<h1>QuckChat API</h1>
<p>Version {{.Version}}. REST paths are below <code>{{.Prefix}}</code>, unless it says root; the same operations answer on the socket at <code>{{.Prefix}}/ws</code>
under their verb. The machine-readable form is <a href="{{.Prefix}}/openapi.json">openapi.json</a>.</p>
<table><thead><tr><th>REST</th><th>Socket</th><th>Who</th><th>Limit</th><th>What</th></tr></thead><tbody>
{{range .Rows}}<tr><td><code>{{.Method}} {{.Path}}</code>{{if .Root}} (root){{end}}</td><td><code>{{.Verb}}</code></td><td>{{.Role}}</td><td>{{.Tier.Name}}</td><td>{{.Summary}}</td></tr>
{{end}}</tbody></table></body></html>`))

func (s *Server) docs(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	data := struct {
		Version, Prefix string
		Rows            []api.Row
	}{s.version, prefix, s.table.Rows()}
	if err := docsPage.Execute(w, data); err != nil {
		s.log.Debug("write reference", "error", err)
	}
}
