package api

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/go-chi/chi/v5"
)

// FuzzFold renames old spellings in whatever a client sends: what is an object stays one, with every other field as it was.
func FuzzFold(f *testing.F) {
	aliases := map[string]string{"old": "new", "older": "new", "participants": "participantIds"}
	for _, seed := range []string{`{"old":1}`, `{"old":1,"new":null}`, `{"old":null,"new":2}`, `{"older":{"a":[1,2]},"old":"x"}`, `[]`, `{`, `{"old":1}{"old":2}`, `null`, `{"participants":"a","x":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var before, after map[string]json.RawMessage
		out := foldJSON(bytes.Clone(raw), aliases)
		if json.Unmarshal(raw, &before) != nil {
			if !bytes.Equal(out, raw) {
				t.Fatalf("%q becomes %q", raw, out)
			}
			return
		}
		if err := json.Unmarshal(out, &after); err != nil {
			t.Fatalf("%q becomes %q: %v", raw, out, err)
		}
		for name, v := range before {
			if got, ok := after[name]; !ok || !same(v, got) && !(isNull(v) && (name == "new" || name == "participantIds")) {
				t.Fatalf("%q loses %q: %q", raw, name, out)
			}
		}
		if _, sent := before["old"]; sent && after["new"] == nil {
			t.Fatalf("%q is not folded: %q", raw, out)
		}
		again := maps.Clone(after)
		if fold(again, aliases); !reflect.DeepEqual(again, after) && !isNull(after["new"]) && !isNull(after["participantIds"]) {
			t.Fatalf("%q is folded twice: %v", raw, again)
		}
	})
}

func same(a, b json.RawMessage) bool {
	var x, y any
	return json.Unmarshal(a, &x) == nil && json.Unmarshal(b, &y) == nil && reflect.DeepEqual(x, y)
}

// FuzzBind fills an input from whatever a client sends: with the quick check and without it the outcome is the same,
// or the quick check has doubted.
func FuzzBind(f *testing.F) {
	type input struct {
		Body struct {
			Name string          `json:"name" maxLength:"8"`
			Kind *string         `json:"kind,omitempty" enum:"text,image"`
			List []any           `json:"list,omitempty"`
			Raw  json.RawMessage `json:"raw,omitempty"`
			Flag *bool           `json:"flag,omitempty"`
		}
	}
	table, err := NewTable(Config{Prefix: "/v"}, chi.NewRouter(), nil)
	if err != nil {
		f.Fatal(err)
	}
	long := newBinder[input](table, &Row{Aliases: map[string]string{"title": "name"}})
	quick := *long
	long.quick = nil
	for _, seed := range []string{`{"name":"abc"}`, `{"name":"123456789"}`, `{"title":"abc"}`, `{"name":"abc","kind":"video"}`, `{"NAME":"abc","raw":{"a":1}}`, `{"name":"x","list":[1]}`, `{"name":null}`, `[]`, `{"name":"a","name":1}`, `{"name":"x","flag":false}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var a, b input
		errQuick, errLong := quick.fill(&a, bytes.Clone(raw)), long.fill(&b, bytes.Clone(raw))
		if errLong == nil && (errQuick != nil || !reflect.DeepEqual(a, b)) {
			t.Fatalf("%q: quick %+v %v, long %+v", raw, a.Body, errQuick, b.Body)
		}
		if errQuick == nil && len([]rune(a.Body.Name)) > 8 {
			t.Fatalf("%q: too long a name is taken: %+v", raw, a.Body)
		}
	})
}
