package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Raw makes the row of an operation that reads or writes a stream: an upload, a download. It stands behind the same
// guards as every row, has no verb, and gets the request as it is; path parameters are read with chi.URLParam. An error
// it returns is sent in the contract's form, so it returns one only while nothing has been written.
func Raw(route string, role Role, tier Tier, fn func(w http.ResponseWriter, r *http.Request, by Caller) error, options ...Option) Row {
	row := Row{Role: role, Tier: tier, Status: http.StatusOK}
	var ok bool
	if row.Method, row.Path, ok = strings.Cut(route, " "); !ok {
		panic("api: route without a method: " + route)
	}
	if row.Method == http.MethodPost {
		row.Status = http.StatusCreated
	}
	for _, o := range options {
		o(&row)
	}
	row.mount = func(t *Table, row *Row) {
		t.describe(row)
		t.router.Method(row.Method, t.path(row), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			t.raw(row, fn, w, r)
		}))
	}
	return row
}

func (t *Table) raw(row *Row, fn func(w http.ResponseWriter, r *http.Request, by Caller) error, w http.ResponseWriter, r *http.Request) {
	by, u, err := t.enter(row, r)
	if u.Limit > 0 {
		for name, value := range u.headers() {
			w.Header().Set(name, value)
		}
	}
	if err == nil {
		err = fn(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, by)), by)
	}
	if err != nil {
		t.Fail(w, r, t.public(row.Name(), err))
	}
}

// enter finds out who calls and whether they may, for every route.
func (t *Table) enter(row *Row, r *http.Request) (by Caller, u Usage, err error) {
	by = t.config.Describe(r)
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		if err := t.config.Authenticate.Authenticate(r.Context(), token, &by); err != nil && row.Role > RolePublic {
			return by, u, err
		}
	}
	u, err = t.admit(row, by)
	return by, u, err
}

// headers are how much is left, as contract 1.7 spells it.
func (u Usage) headers() map[string]string {
	return map[string]string{
		"X-RateLimit-Limit": strconv.Itoa(u.Limit), "X-RateLimit-Remaining": strconv.Itoa(u.Remaining), "X-RateLimit-Reset": strconv.Itoa(retrySeconds(u.Reset)),
	}
}

// describe writes a stream into the OpenAPI document, which huma does for the others.
func (t *Table) describe(row *Row) {
	op := t.operation(row)
	op.Middlewares, op.BodyReadTimeout, op.MaxBodyBytes = nil, 0, 0
	op.Responses = map[string]*huma.Response{strconv.Itoa(row.Status): {Description: http.StatusText(row.Status)}}
	for part := range strings.SplitSeq(row.Path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	t.huma.OpenAPI().AddOperation(&op)
}
