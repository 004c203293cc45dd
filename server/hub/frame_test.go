package hub

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzFrame reads what any client may send as a request, and what is answered: the answer is JSON, whatever the id was.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{`{"id":1,"op":"message:send","data":{"content":"x"}}`, `{"id":"a","op":"ping"}`, `{"id":{},"op":"x"}`, `{"id":[1],"op":""}`, `{`, `null`, `[]`, `{"ID":1,"id":2,"Op":"x"}`, `{"id": 1e5 ,"op":"\u0000"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var r request
		_ = json.Unmarshal(raw, &r)
		for _, failure := range []any{nil, wireFailure{"BAD_REQUEST", "x", nil}} {
			b, err := answerFrame(r.ID, map[string]string{"op": r.Op}, failure)
			if err != nil {
				t.Fatal(err)
			}
			payload := b[bytes.IndexByte(b, '{'):]
			var answer struct {
				ID json.RawMessage
				OK *bool
			}
			if err := json.Unmarshal(payload, &answer); err != nil || answer.OK == nil || *answer.OK != (failure == nil) {
				t.Fatalf("%q is answered %q: %v", raw, payload, err)
			}
			if len(b)-len(payload) != map[bool]int{true: 2, false: 4}[len(payload) < 126] && len(payload) < 1<<16 {
				t.Fatalf("header of %d bytes for %d", len(b)-len(payload), len(payload))
			}
		}
	})
}
