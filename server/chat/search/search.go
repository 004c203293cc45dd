// Package search finds messages by what they say, in an index of its own that follows the event log. A send never waits
// for it.
//
// A text is cut into folded tokens (token.go, fold.go), the same way for the index and for a search, so that both always
// agree. The index (file.go) has for every message its tokens and, as tags among them, its conversation, sender, type and
// kinds; and a table of all tokens, with their parts of three characters, which a part of a word is looked up in (term.go)
// instead of in an index of every part of every message. Nothing that was deleted stays in its bytes.
//
// A search is read by one parser (query.go), its names are looked up in the main database (plan.go, name.go), and the hits
// are walked from the newest on (walk.go), each verified against the main database as it is at that moment: the index may
// be behind, wrong or empty, and still nobody is shown what they must not see.
//
// The index is a file that may vanish or be damaged at any time; index.go says how that is mended.
package search

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/quckchat/quckchat/storage"
)

// Scope is who searches, and where.
type Scope struct {
	UserID string
	Floors map[string]int64 // the conversations, each with the number up to which they see nothing
}

// Request is a search. Its text is in the language that the type query describes.
type Request struct {
	Text     string
	Type     string // of the messages; "" for all
	From, To int64  // when they were sent, in milliseconds, both included; To 0 is without end
	Best     bool   // the best first instead of the newest
	Limit    int    // of the page; 20 when it is 0
	Skip     int
	Cursor   string // Next of the page before, instead of Skip
}

// Result is a page of hits.
type Result struct {
	IDs     []string // of messages, which the caller could see a moment ago
	Total   int      // counted from the cursor on, up to 1,000
	More    bool     // after this page
	Next    string   // the cursor of the next page
	Current bool     // false while the index is being made or more than a few seconds behind

	plan *plan
}

// The limits of a search. What is counted is rows, so that the same search always finds the same.
const (
	foundMax       = 1000  // where counting matches ends, and how many of the newest are compared for the best
	verifyMost     = 256   // how many are verified at a time
	tagsAlways     = 8     // with as many conversations the index looks for them itself
	tagsMost       = 512   // with more it never does
	patience       = 1000  // rows of others that are looked at in vain, otherwise, before it does
	patienceMore   = 20    // and for each hit
	countingEffort = 25000 // rows, times the conversations that the index looks for
)

// Find searches. Codes: VALIDATION for a cursor that is none.
func (x *Index) Find(ctx context.Context, scope Scope, r Request) (*Result, error) {
	out := &Result{Current: true}
	q := parseQuery(r.Text)
	if r.Type != "" {
		q.clauses = append(q.clauses, clause{filter: "type", value: r.Type})
	}
	err := x.db.Read(ctx, func(v storage.View) (err error) {
		out.plan, err = newPlan(v, scope, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	p := out.plan
	p.from, p.to = max(p.from, r.From), min(p.to, cmp.Or(r.To, p.to))
	if p.nothing {
		return out, nil
	}
	f := &finder{x: x, ctx: ctx, plan: p, limit: cmp.Or(r.Limit, 20), skip: r.Skip}
	err = x.read(ctx, func(v storage.View) error {
		var seq int64
		if err := v.QueryRow("SELECT seq FROM progress").Scan(&seq); err != nil {
			return err
		}
		out.Current = x.current(seq)
		if r.Best {
			return f.best(v, r.Cursor)
		}
		return f.newest(v, r.Cursor)
	})
	if errors.Is(err, errNone) {
		out.Current = false
		return out, nil
	}
	if err != nil {
		return nil, err
	}
	for _, h := range f.page {
		out.IDs = append(out.IDs, h.messageID)
	}
	out.Total, out.More, out.Next = f.total, f.more, f.next
	return out, nil
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
	x           *Index
	ctx         context.Context
	plan        *plan
	limit, skip int
	texts       bool // hits need their texts
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
