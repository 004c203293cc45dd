package api

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// binder fills the input of an operation from a socket payload: fields of the path and the query by name, and the
// Body from the same object, each checked by the schema that REST uses.
type binder[I any] struct {
	registry huma.Registry
	aliases  map[string]string
	params   []param
	body     int // index of the Body field, or -1
	schema   *huma.Schema
	quick    []quickField // of a body that can be checked without the schema; nil otherwise
}

type param struct {
	index    int
	name     string
	required bool
	schema   *huma.Schema
}

func newBinder[I any](t *Table, row *Row) *binder[I] {
	b := &binder[I]{registry: t.huma.OpenAPI().Components.Schemas, aliases: row.Aliases, body: -1}
	typ := reflect.TypeFor[I]()
	for i := range typ.NumField() {
		f := typ.Field(i)
		path, query := f.Tag.Get("path"), f.Tag.Get("query")
		switch {
		case f.Name == "Body":
			b.body, b.schema = i, huma.SchemaFromField(b.registry, f, typ.Name()+"Body")
			b.quick = quickFields(f.Type)
		case path != "":
			b.params = append(b.params, param{i, path, true, huma.SchemaFromField(b.registry, f, "")})
		case query != "":
			name, _, _ := strings.Cut(query, ",")
			b.params = append(b.params, param{i, name, f.Tag.Get("required") == "true", huma.SchemaFromField(b.registry, f, "")})
		}
	}
	return b
}

func (b *binder[I]) fill(in *I, payload []byte) error {
	if b.quick != nil && len(b.params) == 0 && b.fillQuick(in, payload) {
		return nil
	}
	*in = *new(I)
	if len(payload) == 0 || string(payload) == "null" {
		payload = []byte("{}")
	}
	var fields map[string]any
	if err := json.Unmarshal(payload, &fields); err != nil {
		return E("BAD_REQUEST")
	}
	if len(b.aliases) > 0 && fold(fields, b.aliases) {
		payload = foldJSON(payload, b.aliases)
	}
	var wrong []FieldError
	check := func(s *huma.Schema, at string, value any) {
		path := huma.NewPathBuffer(make([]byte, 0, 64), 0)
		if at != "" {
			path.Push(at)
		}
		var res huma.ValidateResult
		huma.Validate(b.registry, s, path, huma.ModeWriteToServer, value, &res)
		for _, err := range res.Errors {
			if d, ok := err.(huma.ErrorDetailer); ok {
				wrong = append(wrong, fieldError(d.ErrorDetail()))
			}
		}
	}
	v := reflect.ValueOf(in).Elem()
	for _, p := range b.params {
		value, sent := fields[p.name]
		if !sent || value == nil {
			if p.required {
				wrong = append(wrong, FieldError{p.name, []string{"is required"}})
			} else if d := p.schema.Default; d != nil {
				set(v.Field(p.index), d)
			}
			continue
		}
		before := len(wrong)
		if check(p.schema, p.name, value); len(wrong) == before {
			set(v.Field(p.index), value)
		}
	}
	if b.body >= 0 {
		check(b.schema, "", fields)
	}
	if len(wrong) > 0 {
		return &Error{Code: "VALIDATION", Fields: wrong}
	}
	if b.body >= 0 {
		if err := json.Unmarshal(payload, v.Field(b.body).Addr().Interface()); err != nil {
			var mismatch *json.UnmarshalTypeError
			if errors.As(err, &mismatch) {
				return &Error{Code: "VALIDATION", Fields: []FieldError{mistyped(mismatch.Field)}}
			}
			return E("BAD_REQUEST")
		}
	}
	return nil
}

// set stores a validated JSON value in a parameter field.
func set(f reflect.Value, value any) {
	v := reflect.ValueOf(value)
	if v.CanConvert(f.Type()) && (f.Kind() == reflect.String) == (v.Kind() == reflect.String) {
		f.Set(v.Convert(f.Type()))
	}
}
