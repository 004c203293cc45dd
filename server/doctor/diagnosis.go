package doctor

import (
	"time"

	"github.com/quckchat/quckchat/server/api"
)

// Diagnosis is what the doctor found from one place.
type Diagnosis struct {
	At     string    `json:"at" doc:"When it was found"`
	From   string    `json:"from" enum:"server,browser" doc:"Where it was looked from"`
	OK     bool      `json:"ok" doc:"No fault was found"`
	Advice string    `json:"advice,omitempty" doc:"What to change first, in one sentence"`
	Code   string    `json:"code,omitempty" doc:"The fault that the advice is about"`
	Checks []Finding `json:"checks"`
}

// judged puts checks together. The cause among the faults is the one with the least rank: behind a wrong address all else is
// a consequence.
func judged(from string, at time.Time, checks []Finding) *Diagnosis {
	r := &Diagnosis{At: api.Time(at), From: from, OK: true, Checks: checks}
	for _, c := range checks {
		if c.State == Fault && (r.OK || catalogue[c.Code].rank < catalogue[r.Code].rank) {
			r.OK, r.Code = false, c.Code
		}
	}
	return r
}

// in is the result with its sentences in a language.
func (r *Diagnosis) in(locale string) *Diagnosis {
	out := *r
	out.Checks = make([]Finding, len(r.Checks))
	for i, c := range r.Checks {
		out.Checks[i] = c.in(locale)
		if c.Code == r.Code && out.Advice == "" {
			out.Advice = out.Checks[i].Sentence
		}
	}
	return &out
}
