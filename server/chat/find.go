package chat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// FindInput is a search. Q is in the language that the type query describes.
type FindInput struct {
	Q              string `query:"q" maxLength:"256" required:"true"`
	ConversationID string `query:"conversationId"`
	Type           string `query:"type"`
	Limit          int    `query:"limit" minimum:"1" maximum:"100" default:"20"`
	Skip           int    `query:"skip" minimum:"0" maximum:"10000"`
	Cursor         string `query:"cursor" maxLength:"64" doc:"nextCursor of the page before; instead of skip"`
	Sort           string `query:"sort" enum:"newest,best" default:"newest"`
	StartDate      string `query:"startDate" doc:"ISO 8601"`
	EndDate        string `query:"endDate" doc:"ISO 8601"`
}

// Found is the answer of a search. Items repeats Messages under the name the mobile client reads; Matches says of each
// of them what to mark.
type Found struct {
	Messages   []*Message `json:"messages"`
	Items      []*Message `json:"items"`
	Matches    []Match    `json:"matches"`
	Total      int        `json:"total"`                // counted from the cursor on, up to 1,000; HasMore says if there may be more
	HasMore    bool       `json:"hasMore"`              // after this page
	NextCursor string     `json:"nextCursor,omitempty"` // of the next page
	Current    bool       `json:"current"`              // false while the index is being made or more than a few seconds behind
}

// The limits of a search. What is counted is rows, so that the same search always finds the same.
const (
	foundMax       = 1000  // where counting matches ends, and how many of the newest are compared for the best
	verifyMost     = 256   // how many are verified at a time, and for counting
	tagsAlways     = 8     // with as many conversations the index looks for them itself
	tagsMost       = 512   // with more it never does
	patience       = 1000  // rows of others that are looked at in vain, otherwise, before it does
	patienceMore   = 20    // and for each hit
	countingEffort = 50000 // rows, times the conversations that the index looks for
)

// Find searches the caller's own conversations, the newest or the best first. Codes: CONVERSATION_NOT_FOUND, VALIDATION.
func (s *Service) Find(ctx context.Context, by api.Caller, in *FindInput) (*Found, error) {
	out := &Found{Messages: []*Message{}, Items: []*Message{}, Matches: []Match{}, Current: true}
	from, to, err := period(in.StartDate, in.EndDate)
	if err != nil {
		return nil, err
	}
	q := parseQuery(in.Q)
	if in.Type != "" {
		q.clauses = append(q.clauses, clause{filter: "type", value: in.Type})
	}
	var p *plan
	err = s.db.Read(ctx, func(v storage.View) error {
		p, err = newPlan(v, by, q, in.ConversationID)
		return err
	})
	if err != nil {
		return nil, err
	}
	p.from, p.to = max(p.from, from), min(p.to, to)
	if p.nothing {
		return out, nil
	}
	f := &finder{s: s, ctx: ctx, by: by, plan: p, limit: in.Limit, skip: in.Skip}
	if f.limit <= 0 {
		f.limit = 20 // called by another operation
	}
	err = s.search.read(ctx, func(v storage.View) error {
		var seq int64
		if err := v.QueryRow("SELECT seq FROM progress").Scan(&seq); err != nil {
			return err
		}
		out.Current = s.search.current(seq)
		if in.Sort == "best" {
			return f.best(v, in.Cursor)
		}
		return f.newest(v, in.Cursor)
	})
	if errors.Is(err, errNoIndex) {
		out.Current = false
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	out.Total, out.HasMore, out.NextCursor = f.total, f.more, f.next
	return out, s.db.Read(ctx, func(v storage.View) error { return f.show(v, out) })
}

// hit is a row of the index.
type hit struct {
	id                             int64 // of the index, rising with time
	messageID, conversationID, typ string
	n, created                     int64
	text                           string // its tokens
	score                          float64
}

// finder is one search under way.
type finder struct {
	s           *Service
	ctx         context.Context
	by          api.Caller
	plan        *plan
	limit, skip int
	page        []hit
	total       int
	more        bool
	next        string
}

// newest fills the page with the newest hits and counts.
func (f *finder) newest(v storage.View, cursor string) error {
	e, found, err := f.plan.expression(v, false)
	if err != nil || !found {
		return err
	}
	low, high, err := f.bounds(v)
	if err != nil {
		return err
	}
	if cursor != "" {
		var before int64 // ids of messages rise with time, like those of the index
		if err := v.QueryRow("SELECT coalesce((SELECT id FROM doc WHERE message_id >= ? ORDER BY message_id LIMIT 1), ?)", cursor, high).Scan(&before); err != nil {
			return fmt.Errorf("find cursor: %w", err)
		}
		high, f.skip = min(high, before), 0
	}
	effort := 0
	err = f.walk(v, e, low, high, func(h hit, cost int) bool {
		if f.total >= f.skip && len(f.page) < f.limit {
			f.page = append(f.page, h)
		} else if f.total > f.skip {
			f.more = true
		}
		f.total++
		if f.total > f.skip+f.limit {
			effort += cost
		}
		return f.total < f.skip+f.limit+1 || f.total < foundMax && effort < countingEffort
	})
	if f.more && len(f.page) > 0 {
		f.next = f.page[len(f.page)-1].messageID
	}
	return err
}

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
	now := f.s.db.Now().UnixMilli()
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
	hitColumns   = "SELECT d.id, d.message_id, d.conversation_id, d.type, d.n, d.created_at, d.text FROM "
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
	for id := range f.plan.floors {
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
	statement, args := walkMatching, []any{match, low, high}
	if match == "" {
		statement, args = walkAll, []any{low, high}
	}
	rows, err := v.Query(statement, args...)
	if err != nil {
		return 0, false, fmt.Errorf("search: %w", err)
	}
	defer rows.Close()
	verified := max(f.skip+f.limit+1, verifyMost)
	size := min(f.skip+f.limit+1, verifyMost)
	waiting := make([]hit, 0, size)
	flush := func() (enough bool, err error) {
		seen, err := f.seen(waiting, f.total >= verified)
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
		floor, mine := f.plan.floors[h.conversationID]
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
// what somebody has hidden. Those that are only counted are believed.
func (f *finder) seen(hits []hit, believe bool) (map[string]bool, error) {
	seen := make(map[string]bool, len(hits))
	ids := make([]string, len(hits))
	for i, h := range hits {
		ids[i], seen[h.messageID] = h.messageID, believe
	}
	if believe || len(hits) == 0 {
		return seen, nil
	}
	marks, args := storage.In(ids)
	err := f.s.db.Read(f.ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT x.id FROM message x WHERE x.id IN (`+marks+`) AND `+searchable+`
			AND NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = ? AND h.conversation_id = x.conversation_id AND h.n = x.n)`,
			append(args, v.Millis(), f.by.UserID)...)
		if err != nil {
			return err
		}
		ids, err := scanIDs(rows)
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

// show reads the messages of the page and marks in them what was searched for.
func (f *finder) show(v storage.View, out *Found) error {
	ids := make([]string, len(f.page))
	for i, h := range f.page {
		ids[i] = h.messageID
	}
	found, err := messagesByID(v, ids)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if m := found[id]; m != nil && !m.IsDeleted {
			out.Messages = append(out.Messages, m)
			out.Matches = append(out.Matches, f.plan.mark(m))
		}
	}
	out.Items = out.Messages
	return completeFor(v, f.by.UserID, out.Messages, func(m, r *Message) bool { return r.N > f.plan.floors[m.ConversationID] })
}

// period reads the bounds of a search in milliseconds.
func period(start, end string) (from, to int64, err error) {
	from, to = 0, 1<<62
	parse := func(field, text string, into *int64, wholeDay time.Duration) error {
		if text = strings.TrimSpace(text); text == "" {
			return nil
		}
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			if at, err = time.Parse(time.DateOnly, text); err != nil {
				return api.Invalid(field, "expected an ISO 8601 date")
			}
			at = at.Add(wholeDay)
		}
		*into = at.UnixMilli()
		return nil
	}
	if err := parse("startDate", start, &from, 0); err != nil {
		return 0, 0, err
	}
	return from, to, parse("endDate", end, &to, 24*time.Hour-time.Millisecond)
}
