package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// Row is one operation in the table.
type Row struct {
	Method, Path string // of REST, below the prefix; empty for a row that only sockets call
	Verb         string // of the socket; empty for a row that only REST calls
	Role         Role
	Tier         Tier
	Status       int               // of success over REST: 201 for POST and 200 for others, unless OK said otherwise
	Summary      string            // one sentence for the reference
	Aliases      map[string]string // old spelling of a payload field -> its name
	In, Out      reflect.Type      // of its input and of its answer; nil of a Raw row
	Dialect      Dialect           // of the answer over REST
	Root         bool              // the path stands at the root of the server, not below the prefix

	mount func(t *Table, row *Row)
	bind  func(t *Table, row *Row) call
}

// call runs an operation with a socket payload.
type call func(ctx context.Context, by Caller, payload []byte) (any, error)

// Option changes a row.
type Option func(*Row)

// OK makes a POST answer 200, as the contract says of some.
func OK(r *Row) { r.Status = http.StatusOK }

// Alias accepts an old spelling of a field of the body or payload. The proper name wins when both are sent.
func Alias(old, name string) Option {
	return func(r *Row) {
		if r.Aliases == nil {
			r.Aliases = map[string]string{}
		}
		r.Aliases[old] = name
	}
}

// For makes the row answer in a dialect over REST. Its verb is not concerned: a socket has a dialect of its own.
func For(d Dialect) Option { return func(r *Row) { r.Dialect = d } }

// AtRoot puts the path of the row at the root of the server.
func AtRoot(r *Row) { r.Root = true }

// Doc sets the sentence of the reference.
func Doc(sentence string) Option { return func(r *Row) { r.Summary = sentence } }

// Statuser is an output that chooses its own HTTP status.
type Statuser interface{ StatusCode() int }

// Follower is an output after which something is to be told on the same socket: Follow is called when the answer is on its
// way. Over REST it is not called.
type Follower interface{ Follow() }

// output is what huma sends.
type output[O any] struct {
	Status int
	Body   O
}

// Op makes the row of an operation. The route is "METHOD /path/{param}", or "" for a socket-only row; the verb is
// "noun:verb", or "" for a REST-only row. fn validates what schemas cannot, authorises by the caller inside its own
// transaction, and returns an Error for everything a client can cause.
func Op[I, O any](route, verb string, role Role, tier Tier, fn func(ctx context.Context, by Caller, in *I) (O, error), options ...Option) Row {
	row := Row{Verb: verb, Role: role, Tier: tier, In: reflect.TypeFor[I](), Out: reflect.TypeFor[O]()}
	if route != "" {
		var ok bool
		if row.Method, row.Path, ok = strings.Cut(route, " "); !ok {
			panic("api: route without a method: " + route)
		}
	}
	row.Status = http.StatusOK
	if row.Method == http.MethodPost {
		row.Status = http.StatusCreated
	}
	for _, o := range options {
		o(&row)
	}
	row.mount = func(t *Table, row *Row) {
		op := t.operation(row)
		if row.Dialect == DialectMobile {
			register(t, row, op, fn)
			return
		}
		op.Responses = t.viewed(row, reflect.TypeFor[O]())
		register(t, row, op, func(ctx context.Context, by Caller, in *I) (any, error) {
			out, err := fn(ctx, by, in)
			if err != nil {
				return nil, err
			}
			return View(out, row.Dialect), nil
		})
	}
	row.bind = func(t *Table, row *Row) call {
		b := newBinder[I](t, row)
		return func(ctx context.Context, by Caller, payload []byte) (any, error) {
			in := new(I)
			if err := b.fill(in, payload); err != nil {
				return nil, err
			}
			return fn(ctx, by, in)
		}
	}
	return row
}

// As is the row under another spelling of its route, for REST alone.
func (r Row) As(route string, options ...Option) Row {
	was := r.Method + " " + r.Path
	created := r.Method != http.MethodPost
	r.Method, r.Path, _ = strings.Cut(route, " ")
	if created && r.Method == http.MethodPost {
		r.Status = http.StatusCreated
	}
	r.Verb, r.Aliases = "", maps.Clone(r.Aliases)
	for _, o := range options {
		o(&r)
	}
	r.Summary = "The same as " + was + "."
	if r.Dialect != DialectMobile {
		r.Summary = "The same as " + was + ", as " + r.Dialect.String() + " reads it."
	}
	return r
}

// register mounts an operation on the router.
func register[I, O any](t *Table, row *Row, op huma.Operation, fn func(ctx context.Context, by Caller, in *I) (O, error)) {
	huma.Register(t.huma, op, func(ctx context.Context, in *I) (*output[O], error) {
		out, err := fn(ctx, callerOf(ctx), in)
		if err != nil {
			return nil, t.wire(ctx, err)
		}
		status := row.Status
		if s, ok := any(out).(Statuser); ok {
			status = s.StatusCode()
		}
		return &output[O]{Status: status, Body: out}, nil
	})
}

// viewed describes the answer of a row with a dialect: what the view of an empty one is.
func (t *Table) viewed(row *Row, out reflect.Type) map[string]*huma.Response {
	empty := reflect.Zero(out)
	if out.Kind() == reflect.Pointer {
		empty = reflect.New(out.Elem())
	}
	view := View(empty.Interface(), row.Dialect)
	if view == nil {
		panic("api: row " + row.Name() + " answers nothing in its dialect")
	}
	schema := t.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeOf(view), true, "")
	return map[string]*huma.Response{strconv.Itoa(row.Status): {
		Description: http.StatusText(row.Status), Content: map[string]*huma.MediaType{"application/json": {Schema: schema}},
	}}
}

// Name is how the row is called in logs, metrics and tests: its verb, or its route.
func (r *Row) Name() string {
	if r.Verb != "" {
		return r.Verb
	}
	return r.Method + " " + r.Path
}

// check refuses a row that says too little to be served safely.
func (r *Row) check() error {
	switch {
	case r.Path == "" && r.Verb == "":
		return fmt.Errorf("a row has neither route nor verb")
	case r.Role < RolePublic || r.Role > RoleSuperAdmin:
		return fmt.Errorf("row %s has no role", r.Name())
	case r.Tier.Name == "":
		return fmt.Errorf("row %s has no rate-limit tier", r.Name())
	}
	return nil
}
