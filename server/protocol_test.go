package server_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/servertest"
)

var update = flag.Bool("update", false, "rewrite the tables of docs/protocol.md")

// TestTheTablesOfTheProtocolAreComplete holds docs/protocol.md to the server: every event, every verb, every object.
func TestTheTablesOfTheProtocolAreComplete(t *testing.T) {
	const page = "../docs/protocol.md"
	old, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t)
	d := &describer{named: map[string]reflect.Type{}}
	text := old
	for name, table := range map[string]string{"events": d.events(t, s), "verbs": d.verbs(s)} {
		text = between(t, text, name, table)
	}
	text = between(t, text, "objects", d.objects())
	if *update {
		if err := os.WriteFile(page, text, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(text, old) {
		t.Errorf("the tables of %s are old: run make golden", page)
	}
}

// between replaces what stands between the marks of a generated part.
func between(t *testing.T, text []byte, name, part string) []byte {
	begin, end := []byte("<!-- generated: "+name+" -->\n"), []byte("<!-- end -->")
	before, rest, ok := bytes.Cut(text, begin)
	_, after, ended := bytes.Cut(rest, end)
	if !ok || !ended {
		t.Fatalf("docs/protocol.md has no place for the %s", name)
	}
	return slices.Concat(before, begin, []byte(part), end, after)
}

// describer writes down types as JSON has them.
type describer struct {
	named map[string]reflect.Type // objects that a table calls by name
}

// inline is how many fields a table spells out; larger objects have a row of their own.
const inline = 6

func (d *describer) events(t *testing.T, s *servertest.Server) string {
	var b strings.Builder
	b.WriteString("| event | kept | data | |\n|---|---|---|---|\n")
	kinds := s.Inner.Events().Kinds()
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		k := kinds[name]
		if strings.HasPrefix(name, "test:") {
			continue
		}
		if k.Doc == "" || k.Value == nil {
			t.Errorf("the kind %s says nothing of itself", name)
			continue
		}
		kept := ""
		if k.Render != nil {
			kept = "yes"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kept, d.form(reflect.TypeOf(k.Value)), k.Doc)
	}
	return b.String()
}

func (d *describer) verbs(s *servertest.Server) string {
	rows := slices.Clone(s.Inner.Table().Rows())
	rows = slices.DeleteFunc(rows, func(r api.Row) bool { return r.Verb == "" })
	slices.SortFunc(rows, func(a, b api.Row) int { return strings.Compare(a.Verb, b.Verb) })
	var b strings.Builder
	b.WriteString("| verb | REST | data | answer | |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		route := ""
		if r.Path != "" {
			route = "`" + r.Method + " " + r.Path + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", r.Verb, route, strings.Join(d.input(r.In), ", "), d.form(r.Out), r.Summary)
	}
	return b.String()
}

func (d *describer) objects() string {
	var b strings.Builder
	b.WriteString("| object | fields |\n|---|---|\n")
	done := map[string]bool{}
	for len(done) < len(d.named) { // describing one may name others
		for _, name := range slices.Sorted(maps.Keys(d.named)) {
			if !done[name] {
				done[name] = true
				d.fields(d.named[name])
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.named)) {
		fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(d.fields(d.named[name]), ", "))
	}
	return b.String()
}

// input names the fields of an operation's input: of path and query, and of the body.
func (d *describer) input(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("path") + f.Tag.Get("query")
		switch name, _, _ := strings.Cut(tag, ","); {
		case f.Name == "Body":
			names = append(names, d.fields(bare(f.Type))...)
		case f.Anonymous && f.Type.Kind() == reflect.Struct:
			names = append(names, d.input(f.Type)...)
		case name != "":
			names = append(names, "`"+name+"`")
		}
	}
	return names
}

func (d *describer) fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		typ := bare(f.Type)
		switch {
		case f.Anonymous && name == "" && len(d.tagged(typ)) > inline:
			d.named[typ.Name()] = typ
			names = append(names, "all of "+typ.Name())
		case f.Anonymous && name == "" && typ.Kind() == reflect.Struct:
			names = append(names, d.fields(typ)...)
		case !f.IsExported() || name == "-" || name == "":
		default:
			text := "`" + name + "`"
			if of := d.nested(f.Type); of != "" {
				text += " (" + of + ")"
			}
			names = append(names, text)
		}
	}
	return names
}

// nested is the name of the object in a field, "" for plain values.
func (d *describer) nested(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return d.nested(t.Elem())
	case reflect.Slice:
		if of := d.nested(t.Elem()); of != "" {
			return "list of " + of
		}
	case reflect.Struct:
		if t.Name() != "" && len(d.tagged(t)) > 0 {
			d.named[t.Name()] = t
			return t.Name()
		}
	}
	return ""
}

// bare is the type itself behind pointers.
func bare(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

// tagged names the fields of a struct that JSON has, without going down into them.
func (d *describer) tagged(t reflect.Type) (tags []string) {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("json") != "" || t.Field(i).Anonymous {
			tags = append(tags, t.Field(i).Name)
		}
	}
	return tags
}

// form is what a value looks like: its fields when they are few, else its name.
func (d *describer) form(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return d.form(t.Elem())
	case reflect.Slice:
		return "list of " + d.form(t.Elem())
	case reflect.Struct:
		if own := d.tagged(t); len(own) > inline {
			d.named[t.Name()] = t
			return t.Name()
		}
		return strings.Join(d.fields(t), ", ")
	}
	return t.Kind().String()
}
