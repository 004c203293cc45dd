package api

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// Most payloads are right, and checking them by the schema means to decode them twice. A body whose fields have only
// simple constraints is first decoded into its struct and checked there. That check may doubt, never err: whatever it is
// not sure of goes the long way, which decides and names what is wrong.

// quickField is a field of a body and what must surely hold of it.
type quickField struct {
	index     int
	required  bool
	maxLength int // bytes, which is at most as many as characters; -1 for none
	enum      []string
	doubtful  bool // what is in it needs the schema
}

// quickFields returns the fields of a body that can be checked quickly, or nil when some cannot.
func quickFields(t reflect.Type) []quickField {
	if t.Kind() != reflect.Struct {
		return nil
	}
	fields := []quickField{}
	for i := range t.NumField() {
		f := t.Field(i)
		for _, tag := range []string{"minimum", "maximum", "minLength", "pattern", "format", "minItems", "maxItems", "default", "dependentRequired"} {
			if f.Tag.Get(tag) != "" {
				return nil
			}
		}
		kind := f.Type.Kind()
		if kind == reflect.Pointer {
			kind = f.Type.Elem().Kind()
		}
		free := f.Type == reflect.TypeFor[json.RawMessage]() || f.Type == reflect.TypeFor[[]any]()
		if kind != reflect.String && kind != reflect.Bool && kind != reflect.Slice {
			return nil
		}
		q := quickField{index: i, maxLength: -1, doubtful: kind == reflect.Slice && !free}
		q.required = !strings.Contains(f.Tag.Get("json"), "omitempty") && f.Tag.Get("required") != "false"
		if text := f.Tag.Get("maxLength"); text != "" {
			n, err := strconv.Atoi(text)
			if err != nil || kind != reflect.String {
				return nil
			}
			q.maxLength = n
		}
		if text := f.Tag.Get("enum"); text != "" {
			q.enum = strings.Split(text, ",")
		}
		fields = append(fields, q)
	}
	return fields
}

// fillQuick reports whether the payload surely fits; when not, in may be half filled.
func (b *binder[I]) fillQuick(in *I, payload []byte) bool {
	if len(payload) == 0 || payload[0] != '{' || bytes.Contains(payload, []byte("null")) {
		return false
	}
	for old := range b.aliases {
		if bytes.Contains(payload, []byte(old)) {
			return false
		}
	}
	body := reflect.ValueOf(in).Elem().Field(b.body)
	if json.Unmarshal(payload, body.Addr().Interface()) != nil {
		return false
	}
	for _, q := range b.quick {
		f := body.Field(q.index)
		if f.IsZero() {
			if q.required {
				return false
			}
			continue
		}
		if q.doubtful {
			return false
		}
		if f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() != reflect.String {
			continue
		}
		text := f.String()
		if q.maxLength >= 0 && len(text) > q.maxLength || q.enum != nil && !slices.Contains(q.enum, text) {
			return false
		}
	}
	return true
}
