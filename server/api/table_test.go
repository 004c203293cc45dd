package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/quckchat/quckchat/server/api"
)

// given is an input with everything that inputs of this project have.
type given struct {
	ThingID string `path:"thingId"`
	Page    int    `query:"page" minimum:"1" maximum:"9" default:"2"`
	Word    string `query:"word" maxLength:"5"`
	Body    struct {
		Name     string          `json:"name" minLength:"2" maxLength:"8"`
		Password *string         `json:"password,omitempty" maxLength:"10"`
		Kind     *string         `json:"kind,omitempty" enum:"text,image"`
		Count    *int            `json:"count,omitempty" minimum:"1"`
		Flag     bool            `json:"flag,omitempty"`
		List     []string        `json:"list,omitempty" maxItems:"3"`
		Metadata json.RawMessage `json:"metadata,omitempty"`
	}
}

// simple is an input whose body needs no more than the quick check.
type simple struct {
	Body struct {
		Name     string          `json:"name" maxLength:"8"`
		Kind     *string         `json:"kind,omitempty" enum:"text,image"`
		List     []any           `json:"list,omitempty"`
		Metadata json.RawMessage `json:"metadata,omitempty"`
	}
}

// mirror is a table whose operations answer what they were given.
func mirror(t testing.TB) (*api.Table, http.Handler) {
	t.Helper()
	r := chi.NewRouter()
	echo := func(_ context.Context, _ api.Caller, in *given) (*given, error) { return in, nil }
	old := []api.Option{api.Alias("title", "name"), api.Alias("label", "name"), api.Alias("thing", "thingId")}
	table, err := api.NewTable(api.Config{
		Prefix: "/v", MaxBody: 4 << 10, Describe: func(r *http.Request) api.Caller { return api.Caller{Locale: r.Header.Get("Accept-Language")} },
	}, r, []api.Row{
		api.Op("PUT /things/{thingId}", "thing:put", api.RolePublic, api.TierNone, echo, old...),
		api.Op("POST /simple", "simple:post", api.RolePublic, api.TierNone, func(_ context.Context, _ api.Caller, in *simple) (*simple, error) { return in, nil }),
		api.Op("POST /fail/{code}", "fail", api.RolePublic, api.TierNone, func(_ context.Context, _ api.Caller, in *struct {
			Code string `path:"code"`
		}) (*struct{}, error) {
			return nil, api.E(in.Code, "seconds", 7, "minutes", 7, "max", 7, "why", "7")
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return table, r
}

type failure struct {
	Code, Message string
	Errors        []api.FieldError
}

// rest calls the table over HTTP.
func rest(h http.Handler, method, path, body, locale string) (status int, raw []byte, e failure) {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Accept-Language", locale)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_ = json.Unmarshal(w.Body.Bytes(), &e)
	return w.Code, w.Body.Bytes(), e
}

func TestASocketPayloadFillsTheSameInputAsARequest(t *testing.T) {
	table, h := mirror(t)
	for _, test := range []struct{ query, body, payload string }{
		{"", `{"name":"abc"}`, `{"thingId":"x","name":"abc"}`},
		{"?page=3&word=abc", `{"name":"abc","kind":"text","count":2,"flag":true,"list":["a"],"metadata":{"a":[1, 2]}}`, `{"thingId":"x","page":3,"word":"abc","name":"abc","kind":"text","count":2,"flag":true,"list":["a"],"metadata":{"a":[1, 2]}}`},
		{"", `{"title":"abc","unknown":{"a":1},"flag":false}`, `{"thingId":"x","title":"abc","unknown":{"a":1},"flag":false}`},
		{"", `{"title":"old","name":"new"}`, `{"thingId":"x","title":"old","name":"new"}`},
		{"", `{"title":"old","name":null}`, `{"thingId":"x","title":"old","name":null}`},
		{"", `{"title":"second","label":"first"}`, `{"thingId":"x","title":"second","label":"first"}`},
		{"", `{"name":"abc","password":null,"kind":null,"count":null,"list":null,"metadata":null}`, `{"thingId":"x","name":"abc","password":null,"kind":null,"count":null,"list":null,"metadata":null}`},
		{"", `{"name":"ñandú 👩!"}`, `{"thingId":"x","name":"ñandú 👩!"}`},
		{"", `{"name":"abc"}`, `{"thing":"x","name":"abc"}`},
		// refused
		{"?page=0", `{"name":"abc"}`, `{"thingId":"x","page":0,"name":"abc"}`}, {"?page=10", `{"name":"abc"}`, `{"thingId":"x","page":10,"name":"abc"}`},
		{"?page=x", `{"name":"abc"}`, `{"thingId":"x","page":"x","name":"abc"}`}, {"?word=abcdef", `{"name":"abc"}`, `{"thingId":"x","word":"abcdef","name":"abc"}`},
		{"", `{}`, `{"thingId":"x"}`}, {"", `{"name":null}`, `{"thingId":"x","name":null}`}, {"", `{"name":"a"}`, `{"thingId":"x","name":"a"}`},
		{"", `{"name":"123456789"}`, `{"thingId":"x","name":"123456789"}`}, {"", `{"name":["abc"]}`, `{"thingId":"x","name":["abc"]}`},
		{"", `{"name":"abc","kind":"video"}`, `{"thingId":"x","name":"abc","kind":"video"}`}, {"", `{"name":"abc","count":0}`, `{"thingId":"x","name":"abc","count":0}`},
		{"", `{"name":"abc","count":1.5}`, `{"thingId":"x","name":"abc","count":1.5}`}, {"", `{"name":"abc","flag":"yes"}`, `{"thingId":"x","name":"abc","flag":"yes"}`},
		{"", `{"name":"abc","list":["a","b","c","d"]}`, `{"thingId":"x","name":"abc","list":["a","b","c","d"]}`}, {"", `{"name":"abc","list":[1]}`, `{"thingId":"x","name":"abc","list":[1]}`},
		{"", `{"name":`, `{"name":`},
	} {
		status, raw, e := rest(h, "PUT", "/v/things/x"+test.query, test.body, "")
		out, err := table.Call(t.Context(), api.Caller{}, "thing:put", []byte(test.payload))
		if status == 200 && err == nil {
			var got given
			if err := json.Unmarshal(raw, &got); err != nil {
				t.Fatal(err)
			}
			again, _ := json.Marshal(out)
			if !bytes.Equal(bytes.TrimSpace(raw), again) {
				t.Errorf("%s: by REST %s, by socket %s", test.payload, raw, again)
			}
			continue
		}
		if status == 200 || err == nil || (status != err.Status || e.Code != err.Code) {
			t.Errorf("%s: by REST %d %s, by socket %v", test.payload, status, raw, err)
			continue
		}
		if e.Code == "VALIDATION" {
			names := func(list []api.FieldError) (names []string) {
				for _, f := range list {
					names = append(names, f.Field)
				}
				return names
			}
			if len(e.Errors) == 0 || !reflect.DeepEqual(names(e.Errors), names(err.Fields)) {
				t.Errorf("%s: by REST %v, by socket %v", test.payload, e.Errors, err.Fields)
			}
		}
	}
	if _, err := table.Call(t.Context(), api.Caller{}, "thing:put", []byte(`{"name":"abc"}`)); err == nil || len(err.Fields) != 1 || err.Fields[0].Field != "thingId" {
		t.Errorf("without the id of the path: %v", err)
	}
	if _, err := table.Call(t.Context(), api.Caller{}, "thing:nothing", nil); err == nil || err.Code != "UNKNOWN_OPERATION" {
		t.Errorf("an unknown verb: %v", err)
	}
	_, raw, _ := rest(h, "PUT", "/v/things/x", `{"title":"second","label":"first"}`, "")
	if !strings.Contains(string(raw), `"name":"first"`) {
		t.Errorf("of two old spellings: %s", raw)
	}
}

func TestAValidationErrorNamesTheFieldAndNeverWhatWasSent(t *testing.T) {
	table, h := mirror(t)
	const secret = "Tr0ub4dor"
	for field, bodies := range map[string][]string{
		"password": {`"` + secret + secret + `"`, `["` + secret + `"]`, `{"` + secret + `":1}`, `7355608735560`},
		"name":     {`"` + secret + secret + `"`, `["` + secret + `"]`, `7355608735560`, `true`},
		"kind":     {`"` + secret + `"`}, "count": {`"` + secret + `"`, `-7355608735560`, `73556087355607355608735560`, `7355608.5`},
		"list": {`["a","b","c","` + secret + `"]`, `"` + secret + `"`},
	} {
		for _, value := range bodies {
			body := `{"name":"abc","` + field + `":` + value + `}`
			if field == "name" {
				body = `{"name":` + value + `}`
			}
			status, raw, e := rest(h, "PUT", "/v/things/x", body, "")
			_, err := table.Call(t.Context(), api.Caller{}, "thing:put", []byte(strings.Replace(body, "{", `{"thingId":"x",`, 1)))
			if status != 400 || err == nil || err.Status != 400 {
				t.Errorf("%s: %d %s, %v", body, status, raw, err)
				continue
			}
			told, _ := json.Marshal(err)
			for _, text := range []string{string(raw), string(told)} {
				if strings.Contains(text, secret) || strings.Contains(text, "7355608") {
					t.Errorf("%s is repeated: %s", body, text)
				}
			}
			if len(e.Errors) == 0 || !strings.HasPrefix(e.Errors[0].Field, field) || len(e.Errors[0].Constraints) == 0 {
				t.Errorf("%s: the field is not named: %s", body, raw)
			}
		}
	}
	for _, broken := range []string{`{"password":"` + secret, `{"password":"x"} ` + secret, secret, `{"password":"\u12` + secret + `"}`} {
		if status, raw, _ := rest(h, "PUT", "/v/things/x", broken, ""); status != 400 || strings.Contains(string(raw), secret) {
			t.Errorf("%s: %d %s", broken, status, raw)
		}
	}
	if status, raw, _ := rest(h, "PUT", "/v/things/x?page="+secret, `{"name":"abc"}`, ""); status != 400 || strings.Contains(strings.ReplaceAll(string(raw), "/v/things", ""), secret) {
		t.Errorf("a query: %d %s", status, raw)
	}
	if status, _, e := rest(h, "PUT", "/v/things/x", `{"name":"`+strings.Repeat("x", 5<<10)+`"}`, ""); status != 413 || e.Code != "BODY_TOO_LARGE" {
		t.Errorf("a body too large: %d %s", status, e.Code)
	}
}

// TestTheQuickCheckAgreesWithTheSchema sends what the quick check of a socket payload might take for good.
func TestTheQuickCheckAgreesWithTheSchema(t *testing.T) {
	table, h := mirror(t)
	for _, body := range []string{
		`{"name":"abc"}`, `{"name":""}`, `{"name":"ñandúñan"}`, `{"name":"123456789"}`, `{"name":"a","NAME":"123456789"}`, `{"NAME":"abc"}`, `{"name":"abc","name":"123456789"}`,
		`{"name":"abc","kind":"video"}`, `{"name":"abc","kind":"text"}`, `{"name":"abc","kind":""}`, `{"name":"abc","list":[1,"a"]}`, `{"name":"abc","list":"a"}`,
		`{"name":"abc","metadata":12}`, `{"name":"nullify"}`, `{"name":"abc"} `, ` {"name":"abc"}`, `{"n\u0061me":"abc"}`, `{"name":1}`, `{}`,
	} {
		status, raw, _ := rest(h, "POST", "/v/simple", body, "")
		out, err := table.Call(t.Context(), api.Caller{}, "simple:post", []byte(body))
		again, _ := json.Marshal(out)
		if (status < 300) != (err == nil) || err == nil && !bytes.Equal(bytes.TrimSpace(raw), again) {
			t.Errorf("%s: by REST %d %s, by socket %s %v", body, status, raw, again, err)
		}
	}
}
