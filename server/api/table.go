package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
)

// Table is every operation of the server.
type Table struct {
	config Config
	rows   []Row
	verbs  map[string]*verb
	huma   huma.API
	router chi.Router
}

type verb struct {
	row  *Row
	call call
}

// NewTable checks the rows and mounts those with a route on r, below the prefix. It fails on a row without role or
// tier and on a verb or route that is there twice.
func NewTable(config Config, r chi.Router, rows []Row) (*Table, error) {
	if config.Log == nil {
		config.Log = slog.New(slog.DiscardHandler)
	}
	t := &Table{config: config, rows: rows, verbs: map[string]*verb{}, router: r}
	hc := huma.DefaultConfig("QuckChat", config.Version)
	hc.OpenAPIPath, hc.DocsPath, hc.SchemasPath, hc.CreateHooks = config.Prefix+"/openapi", "", "", nil
	hc.AllowAdditionalPropertiesByDefault = true
	hc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", BearerFormat: "JWT"}}
	ownErrors()
	t.huma = humachi.New(r, hc)
	routes := map[string]bool{}
	for i := range rows {
		row := &rows[i]
		if err := row.check(); err != nil {
			return nil, fmt.Errorf("table: %w", err)
		}
		if row.Path != "" {
			route := row.Method + " " + t.path(row)
			if routes[route] {
				return nil, fmt.Errorf("table: route %s is there twice", route)
			}
			routes[route] = true
			row.mount(t, row)
		}
		if row.Verb != "" {
			if t.verbs[row.Verb] != nil {
				return nil, fmt.Errorf("table: verb %s is there twice", row.Verb)
			}
			t.verbs[row.Verb] = &verb{row: row, call: row.bind(t, row)}
		}
	}
	return t, nil
}

type tableKey struct{}

// ownErrors gives huma our error form, once: its hooks belong to the process, and there may be more than one table. The
// table of a request is in its context.
var ownErrors = sync.OnceFunc(func() {
	spare := &Table{config: Config{Log: slog.New(slog.DiscardHandler)}}
	huma.NewErrorWithContext = func(c huma.Context, status int, msg string, errs ...error) huma.StatusError {
		if c == nil {
			return spare.humaError(context.Background(), status, msg, errs)
		}
		if t, ok := c.Context().Value(tableKey{}).(*Table); ok {
			return t.humaError(c.Context(), status, msg, errs)
		}
		return spare.humaError(c.Context(), status, msg, errs)
	}
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return spare.humaError(context.Background(), status, msg, errs)
	}
})

// Rows returns the rows of the table.
func (t *Table) Rows() []Row { return t.rows }

// Call runs the operation behind a socket verb. The error, when there is one, is ready to be sent.
func (t *Table) Call(ctx context.Context, by Caller, name string, payload []byte) (any, *Error) {
	v := t.verbs[name]
	if v == nil {
		return nil, t.render(by.Locale, E("UNKNOWN_OPERATION"))
	}
	if _, err := t.admit(v.row, by); err != nil {
		return nil, t.render(by.Locale, err)
	}
	out, err := v.call(ctx, by, payload)
	if err != nil {
		return nil, t.render(by.Locale, t.public(v.row.Name(), err))
	}
	return out, nil
}

// admit checks role and rate; the usage is empty where nothing is counted.
func (t *Table) admit(row *Row, by Caller) (u Usage, err error) {
	switch {
	case row.Role > RolePublic && !by.SignedIn() && by.Local == "":
		return u, E("UNAUTHORIZED")
	case row.Role > RoleUser && by.Role < row.Role:
		return u, E("INSUFFICIENT_PERMISSIONS")
	case t.config.Limit == nil || row.Tier.Limit == 0:
		return u, nil
	}
	u, ok := t.config.Limit.Allow(row.Tier, by)
	if !ok {
		return u, limited(u)
	}
	return u, nil
}

func limited(u Usage) *Error {
	e := E("RATE_LIMIT_EXCEEDED", "seconds", retrySeconds(u.Reset))
	e.usage = &u
	return e
}

func retrySeconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }

// Render makes an error ready to be sent where no operation has failed; what is named where is logged when a client did
// not cause it.
func (t *Table) Render(locale, where string, err error) *Error {
	return t.render(locale, t.public(where, err))
}

type callerKey struct{}

func callerOf(ctx context.Context) Caller {
	by, _ := ctx.Value(callerKey{}).(Caller)
	return by
}

// bodyTime is how long a body may take to arrive.
const bodyTime = 30 * time.Second

// operation describes a row to huma and puts its guards in front of it.
func (t *Table) operation(row *Row) huma.Operation {
	tag := strings.Split(strings.TrimPrefix(row.Path, "/"), "/")[0]
	op := huma.Operation{
		Method: row.Method, Path: t.path(row), DefaultStatus: row.Status, Summary: row.Summary,
		OperationID: operationID(row), MaxBodyBytes: t.config.MaxBody, BodyReadTimeout: bodyTime,
		Middlewares: huma.Middlewares{func(c huma.Context, next func(huma.Context)) { t.guard(row, c, next) }},
		Tags:        []string{tag},
	}
	if row.Verb != "" {
		op.Description = "Socket verb: `" + row.Verb + "`."
	}
	if row.Role > RolePublic {
		op.Security = []map[string][]string{{"bearer": {}}}
	}
	return op
}

// path is where a row is mounted.
func (t *Table) path(row *Row) string {
	if row.Root {
		return row.Path
	}
	return t.config.Prefix + row.Path
}

func operationID(row *Row) string {
	if row.Root {
		return "root-" + operationID(&Row{Method: row.Method, Path: row.Path})
	}
	return strings.ToLower(row.Method) + strings.NewReplacer("/", "-", "{", "", "}", "").Replace(row.Path)
}

// guard authenticates, admits, and folds old spellings, before huma binds anything.
func (t *Table) guard(row *Row, c huma.Context, next func(huma.Context)) {
	r, _ := humachi.Unwrap(c)
	by, u, err := t.enter(row, r)
	fail := func(err error) {
		e := t.wire(context.WithValue(c.Context(), callerKey{}, by), err)
		for k, vs := range e.headers() {
			c.SetHeader(k, vs[0])
		}
		c.SetHeader("Content-Type", "application/json")
		c.SetStatus(e.status)
		_ = json.NewEncoder(c.BodyWriter()).Encode(e)
	}
	if u.Limit > 0 {
		for name, value := range u.headers() {
			c.SetHeader(name, value)
		}
	}
	if err != nil {
		fail(err)
		return
	}
	c = huma.WithValue(huma.WithValue(c, tableKey{}, t), callerKey{}, by)
	if len(row.Aliases) > 0 {
		_ = c.SetReadDeadline(time.Now().Add(bodyTime))
		body, err := io.ReadAll(io.LimitReader(c.BodyReader(), t.config.MaxBody+1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			fail(E("BODY_TIMEOUT"))
			return
		}
		if err != nil {
			fail(E("BAD_REQUEST"))
			return
		}
		c = &foldedContext{humaContext: c, body: bytes.NewReader(foldJSON(body, row.Aliases))}
	}
	next(c)
}

// foldedContext is a request whose body has been rewritten.
type foldedContext struct {
	humaContext
	body io.Reader
}

// humaContext is huma.Context under a name that leaves its method Context free when embedded.
type humaContext = huma.Context

func (c *foldedContext) BodyReader() io.Reader { return c.body }
func (c *foldedContext) Unwrap() huma.Context  { return c.humaContext }

// foldJSON renames old spellings at the top of a JSON object; what is not an object is left for validation to refuse.
func foldJSON(raw []byte, aliases map[string]string) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(raw, &fields) != nil {
		return raw
	}
	if !fold(fields, aliases) {
		return raw
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return raw
	}
	return out
}

// fold gives old spellings their proper names, unless something else than null has the name already. Of several old
// ones the first in the alphabet wins.
func fold[V any](fields map[string]V, aliases map[string]string) (changed bool) {
	for _, old := range slices.Sorted(maps.Keys(aliases)) {
		if v, ok := fields[old]; ok {
			name := aliases[old]
			if was, taken := fields[name]; !taken || isNull(was) {
				fields[name] = v
				changed = true
			}
		}
	}
	return changed
}

// isNull reports whether a value of a JSON object, decoded or not, is null.
func isNull(v any) bool {
	raw, ok := v.(json.RawMessage)
	return v == nil || ok && string(raw) == "null"
}

// public turns whatever an operation returned into an Error; what a client did not cause is logged, once, here.
func (t *Table) public(name string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	var coded interface{ Code() string }
	if errors.As(err, &coded) && known(coded.Code()) {
		if code := coded.Code(); code != "OVERLOADED" && code != "SHUTTING_DOWN" {
			t.config.Log.Error("operation failed", "operation", name, "code", code, "error", err)
		}
		return E(coded.Code())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return E("CANCELLED")
	}
	t.config.Log.Error("operation failed", "operation", name, "error", err)
	return E("INTERNAL")
}

// NotFound answers requests that match no route, in the contract's form.
func (t *Table) NotFound(w http.ResponseWriter, r *http.Request) { t.Fail(w, r, E("ROUTE_NOT_FOUND")) }

// MethodNotAllowed answers requests whose path is known and whose method is not.
func (t *Table) MethodNotAllowed(w http.ResponseWriter, r *http.Request) {
	t.Fail(w, r, E("METHOD_NOT_ALLOWED"))
}

// Fail writes err in the contract's form, for handlers outside the table.
func (t *Table) Fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := context.WithValue(r.Context(), callerKey{}, t.config.Describe(r))
	e := t.wire(context.WithValue(ctx, pathKey{}, r.URL.Path), err)
	for k, vs := range e.headers() {
		w.Header().Set(k, vs[0])
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(e.status)
	_ = json.NewEncoder(w).Encode(e)
}
