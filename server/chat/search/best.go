package search

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// best compares the newest hits, those with the very words before those with parts of words, and fills the page with
// the best. The cursor is how many were shown before.
func (f *finder) best(v storage.View, cursor string) error {
	if cursor != "" {
		n, err := strconv.Atoi(cursor)
		if err != nil || n < 0 || n > foundMax {
			return api.Invalid("cursor", "expected nextCursor of the page before")
		}
		f.skip = n
	}
	f.texts = true
	low, high, err := f.bounds(v)
	if err != nil {
		return err
	}
	var hits []hit
	known := map[int64]bool{}
	for _, exact := range []bool{true, false} {
		e, found, err := f.plan.expression(v, exact)
		if err != nil {
			return err
		}
		if !found || len(hits) >= foundMax {
			continue
		}
		err = f.walk(v, e, low, high, func(h hit, _ int) bool {
			if !known[h.id] {
				known[h.id] = true
				hits = append(hits, h)
			}
			return len(hits) < foundMax
		})
		if err != nil {
			return err
		}
	}
	weights, err := f.plan.weights(v)
	if err != nil {
		return err
	}
	now := f.x.db.Now().UnixMilli()
	for i := range hits {
		hits[i].score = f.plan.score(hits[i], weights, now)
	}
	slices.SortFunc(hits, func(a, b hit) int { return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(b.id, a.id)) })
	f.total = len(hits)
	from := min(f.skip, len(hits))
	to := min(from+f.limit, len(hits))
	f.page = hits[from:to]
	if f.more = to < len(hits); f.more {
		f.next = strconv.Itoa(to)
	}
	return nil
}

// weights returns how much each matcher says: rare words more than common ones. The index numbers words in the order of
// their first use, and common ones come early.
func (p *plan) weights(v storage.View) ([]float64, error) {
	var all int64
	if err := v.QueryRow("SELECT coalesce(max(id), 1) FROM term").Scan(&all); err != nil {
		return nil, fmt.Errorf("weigh words: %w", err)
	}
	list := make([]float64, len(p.matchers))
	for i, m := range p.matchers {
		for _, t := range m.tokens {
			var id int64
			if err := v.QueryRow("SELECT coalesce((SELECT id FROM term WHERE text = ?), ?)", t, all).Scan(&id); err != nil {
				return nil, fmt.Errorf("weigh words: %w", err)
			}
			list[i] += 1 + math.Log1p(float64(id))
		}
	}
	return list, nil
}

// score says how well a hit fits, in the manner of BM25: the weight of each word, how often it is there, less so in a
// long text; the very word counts more than a part of one, and what is new up to twice as much as what is old.
func (p *plan) score(h hit, weights []float64, now int64) float64 {
	const k, b, usual = 1.2, 0.5, 12.0 // saturation, the influence of length, tokens of a usual message
	const month = 30 * 24 * 3600 * 1000.0
	tokens := strings.Fields(h.text)
	sum := 0.0
	for i, m := range p.matchers {
		often, part := 0.0, false
		for at := range tokens {
			if n, exact := m.at(tokens, at); exact {
				often++
			} else if n > 0 {
				part = true
			}
		}
		if often == 0 && part {
			often = 0.3
		}
		sum += weights[i] * often * (k + 1) / (often + k*(1-b+b*float64(len(tokens))/usual))
	}
	age := max(0, float64(now-h.created)) / month
	return (sum + 0.01) * (1 + 1/(1+age))
}
