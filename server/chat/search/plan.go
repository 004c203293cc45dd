package search

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quckchat/quckchat/storage"
)

// plan is a search with its names looked up: what the index is asked, and what is looked at in each hit.
type plan struct {
	clauses  []clause  // of words
	tags     []string  // expressions that must hold
	not      []string  // expressions that must not hold
	scope    Scope     // narrowed by in:
	typ      string    // only this type; "" for all
	from, to int64     // milliseconds, both included
	nothing  bool      // it cannot find anything
	matchers []matcher // what to mark in a hit
}

// newPlan looks up, in the main database, whom and what the search names. It does not say whether a person or a
// conversation exists that the caller does not know: such a name finds nothing.
func newPlan(v storage.View, scope Scope, q query) (*plan, error) {
	p := &plan{scope: Scope{scope.UserID, maps.Clone(scope.Floors)}, to: 1 << 62}
	if len(q.dates) > 0 {
		var name string
		if err := v.QueryRow("SELECT time_zone FROM user WHERE id = ?", scope.UserID).Scan(&name); err != nil {
			return nil, fmt.Errorf("read time zone: %w", err)
		}
		zone, err := time.LoadLocation(name) // "" is UTC
		if err != nil {
			zone = time.UTC
		}
		p.from, p.to = q.period(p.from, p.to, time.Now(), zone)
	}
	var senders, types, rooms []string
	var known []acquaintance
	narrowed := false
	for _, c := range q.clauses {
		var tags []string
		switch c.filter {
		case "":
			p.clauses = append(p.clauses, c)
			continue
		case "from", "mentions":
			if known == nil {
				var err error
				if known, err = acquaintances(v, scope.UserID); err != nil {
					return nil, err
				}
			}
			tag := senderTag
			if c.filter == "mentions" {
				tag = mentionTag
			}
			ids := named(known, c.value, scope.UserID)
			if c.filter == "mentions" && slices.Contains(ids, scope.UserID) {
				ids = append(ids, "all")
			}
			for _, id := range ids {
				tags = append(tags, quote(tag(id)))
			}
		case "in":
			ids, err := conversationsNamed(v, scope, c.value)
			if err != nil {
				return nil, err
			}
			if !c.not {
				rooms, narrowed = append(rooms, ids...), true
				continue
			}
			for _, id := range ids {
				tags = append(tags, quote(conversationTag(id)))
			}
		case "has":
			tags = []string{quote(kindTag(c.value))}
		case "type":
			if c.value == "text" && !c.not { // nearly all: not worth a tag
				p.typ = "text"
				continue
			}
			tags = []string{quote(typeTag(c.value))}
		}
		switch {
		case c.not:
			p.not = append(p.not, tags...)
		case c.filter == "from":
			senders = append(senders, tags...)
			p.nothing = p.nothing || len(tags) == 0
		case c.filter == "type":
			types = append(types, tags...)
		default:
			p.tags = append(p.tags, either(tags))
			p.nothing = p.nothing || len(tags) == 0
		}
	}
	for _, list := range [][]string{senders, types} { // a message has one of each
		if len(list) > 0 {
			p.tags = append(p.tags, either(list))
		}
	}
	for id := range p.scope.Floors {
		if narrowed && !slices.Contains(rooms, id) {
			delete(p.scope.Floors, id)
		}
	}
	p.nothing = p.nothing || len(p.scope.Floors) == 0 || p.from > p.to || len(q.clauses)+len(q.dates) == 0
	for _, c := range p.clauses {
		if !c.not {
			p.matchers = append(p.matchers, newMatcher(c))
		}
	}
	return p, nil
}

// The number of words of the index that the words of one search stand for.
const (
	expandedMax   = 64
	expandedLeast = 12 // for each
)

// expression is what the index is asked: all of must, and none of not.
type expression struct{ must, not []string }

// match is the expression in the form of FTS5, within some conversations, or in all when there are none; "" for
// everything. FTS5 can only take away from something: a negation alone needs conversations.
func (e expression) match(conversations []string) string {
	must := e.must
	if len(conversations) > 0 {
		tags := make([]string, len(conversations))
		for i, id := range conversations {
			tags[i] = quote(conversationTag(id))
		}
		must = append(slices.Clone(must), either(tags))
	}
	match := strings.Join(must, " AND ")
	if len(e.not) > 0 {
		match = "(" + match + ") NOT " + either(e.not)
	}
	return match
}

// expression looks the words up in the index. With exact set every word stands for itself, otherwise also for what it
// is a part of. It is not found when no message can have one of them.
func (p *plan) expression(v storage.View, exact bool) (e expression, found bool, err error) {
	most := max(expandedLeast, expandedMax/max(1, len(p.clauses)))
	e = expression{slices.Clone(p.tags), slices.Clone(p.not)}
	for _, c := range p.clauses {
		list, err := alternatives(v, c, exact, most)
		switch {
		case err != nil:
			return e, false, err
		case c.not:
			e.not = append(e.not, list...)
		case len(list) == 0:
			return e, false, nil
		default:
			e.must = append(e.must, either(list))
		}
	}
	return e, true, nil
}

// alternatives are the expressions of which one must hold for a clause of words.
func alternatives(v storage.View, c clause, exact bool, most int) ([]string, error) {
	reach := c.reach()
	if reach == whole || reach == inside && exact {
		return []string{quote(strings.Join(c.tokens, " "))}, nil
	}
	last := len(c.tokens) - 1
	terms, err := expand(v, c.tokens[last], reach == begins, most)
	if err != nil {
		return nil, err
	}
	list := make([]string, len(terms))
	for i, t := range terms {
		list[i] = quote(strings.Join(append(slices.Clone(c.tokens[:last]), t.text), " "))
	}
	return list, nil
}

// quote is a token, or several one after the other, as a string of FTS5: in it nothing is syntax.
func quote(text string) string {
	return `"` + strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && kindOf(r) != letter {
			return ' '
		}
		return r
	}, text) + `"`
}

// either says that one of the expressions must hold.
func either(list []string) string {
	if len(list) == 1 {
		return list[0]
	}
	return "(" + strings.Join(list, " OR ") + ")"
}
