package search

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"time"

	"github.com/quckchat/quckchat/storage"
)

// bounds are the first id of the index that the dates of the search allow, and the first after them. Times rise with
// ids but for a clock that was set, so there is a day more on each side; walk looks at the times themselves.
func (f *finder) bounds(v storage.View) (low, high int64, err error) {
	const slack = int64(24 * time.Hour / time.Millisecond)
	if err := v.QueryRow("SELECT coalesce((SELECT min(id) FROM doc), 0), coalesce((SELECT max(id) FROM doc), 0) + 1").Scan(&low, &high); err != nil {
		return 0, 0, fmt.Errorf("find dates: %w", err)
	}
	first := func(at int64) int64 {
		return low + int64(sort.Search(int(high-low), func(i int) bool {
			created := int64(1 << 62)
			if err == nil {
				err = v.QueryRow("SELECT coalesce((SELECT created_at FROM doc WHERE id >= ? ORDER BY id LIMIT 1), ?)", low+int64(i), created).Scan(&created)
			}
			return created >= at
		}))
	}
	begin, end := low, high
	if f.plan.from > 0 {
		begin = first(f.plan.from - slack)
	}
	if f.plan.to < 1<<62 {
		end = first(f.plan.to + slack)
	}
	return begin, end, err
}

const (
	hitColumns   = "SELECT d.id, d.message_id, d.conversation_id, d.type, d.n, d.created_at, iif(?, d.text, '') FROM "
	walkMatching = hitColumns + "word CROSS JOIN doc d ON d.id = word.rowid WHERE word MATCH ? AND word.rowid >= ? AND word.rowid < ? ORDER BY word.rowid DESC"
	walkAll      = hitColumns + "doc d WHERE d.id >= ? AND d.id < ? ORDER BY d.id DESC"
)

// walk gives the hits with low <= id < high that the caller may see, the newest first, until yield has enough. Cost is
// the effort of finding one more.
//
// Somebody may be in few of many conversations. Then a common word has a million rows that are not theirs, and the index
// must look for word and conversations together; but to look for hundreds of conversations is dear for somebody who
// would have found enough among the newest rows. So those are looked at first.
func (f *finder) walk(v storage.View, e expression, low, high int64, yield func(h hit, cost int) bool) error {
	var conversations []string
	for id := range f.plan.scope.Floors {
		conversations = append(conversations, id)
	}
	slices.Sort(conversations)
	n := len(conversations)
	alone := len(e.must) == 0 && len(e.not) > 0
	if n > tagsAlways && !alone {
		wait := patience
		if n > tagsMost {
			wait = math.MaxInt
		}
		last, full, err := f.run(v, e.match(nil), low, high, wait, func(h hit) bool { return yield(h, 1) })
		if err != nil || full {
			return err
		}
		high = last
	}
	_, _, err := f.run(v, e.match(conversations), low, high, math.MaxInt, func(h hit) bool { return yield(h, n) })
	return err
}

// run is one pass over the index, until wait rows were of no use. It returns the last id it has looked at; full when
// yield had enough or nothing is left.
func (f *finder) run(v storage.View, match string, low, high int64, wait int, yield func(h hit) bool) (last int64, full bool, err error) {
	statement, args := walkMatching, []any{f.texts, match, low, high}
	if match == "" {
		statement, args = walkAll, []any{f.texts, low, high}
	}
	rows, err := v.Query(statement, args...)
	if err != nil {
		return 0, false, fmt.Errorf("search: %w", err)
	}
	defer rows.Close()
	size := min(f.skip+f.limit+1, verifyMost)
	waiting := make([]hit, 0, size)
	flush := func() (enough bool, err error) {
		seen, err := f.seen(waiting)
		if err != nil {
			return false, err
		}
		for _, h := range waiting {
			if seen[h.messageID] && !yield(h) {
				return true, nil
			}
		}
		waiting = waiting[:0]
		return false, nil
	}
	last = high
	for rows.Next() {
		var h hit
		if err := rows.Scan(&h.id, &h.messageID, &h.conversationID, &h.typ, &h.n, &h.created, &h.text); err != nil {
			return 0, false, fmt.Errorf("search: %w", err)
		}
		last = h.id
		floor, mine := f.plan.scope.Floors[h.conversationID]
		if !mine || h.n <= floor || h.created < f.plan.from || h.created > f.plan.to || f.plan.typ != "" && h.typ != f.plan.typ {
			if wait--; wait == 0 {
				enough, err := flush()
				return last, enough, err
			}
			continue
		}
		if wait < math.MaxInt-patienceMore {
			wait += patienceMore
		}
		if waiting = append(waiting, h); len(waiting) < size {
			continue
		}
		if enough, err := flush(); err != nil || enough {
			return last, enough, err
		}
		size = verifyMost
	}
	if err := rows.Err(); err != nil {
		return 0, false, fmt.Errorf("search: %w", err)
	}
	_, err = flush()
	return last, true, err
}

// seen returns which of the hits the caller may see at this moment: the index is a little behind, and knows nothing of
// what somebody has hidden.
func (f *finder) seen(hits []hit) (map[string]bool, error) {
	seen := make(map[string]bool, len(hits))
	if len(hits) == 0 {
		return seen, nil
	}
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i] = h.messageID
	}
	marks, args := storage.In(ids)
	err := f.x.db.Read(f.ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT x.id FROM message x WHERE x.id IN (`+marks+`) AND `+searchable+`
			AND NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = ? AND h.conversation_id = x.conversation_id AND h.n = x.n)`,
			append(args, v.Millis(), f.plan.scope.UserID)...)
		if err != nil {
			return err
		}
		ids, err := storage.ScanIDs(rows)
		for _, id := range ids {
			seen[id] = true
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("verify hits: %w", err)
	}
	return seen, nil
}
