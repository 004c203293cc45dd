package chat

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// plan is a search with its names looked up: what the index is asked, and what is looked at in each hit.
type plan struct {
	clauses  []clause         // of words
	tags     []string         // expressions that must hold
	not      []string         // expressions that must not hold
	floors   map[string]int64 // the conversations to search, each with the number up to which the caller sees nothing
	typ      string           // only this type; "" for all
	from, to int64            // milliseconds, both included
	nothing  bool             // it cannot find anything
	matchers []matcher        // what to mark in a hit
}

// newPlan looks up, in the main database, where the caller may search and whom and what the search names. It does not
// say whether a person or a conversation exists that the caller does not know: such a name finds nothing.
func newPlan(v storage.View, by api.Caller, q query, conversationID string) (*plan, error) {
	p := &plan{floors: map[string]int64{}, to: 1 << 62}
	if err := p.searchable(v, by, conversationID); err != nil {
		return nil, err
	}
	if len(q.dates) > 0 {
		var name string
		if err := v.QueryRow("SELECT time_zone FROM user WHERE id = ?", by.UserID).Scan(&name); err != nil {
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
				if known, err = acquaintances(v, by); err != nil {
					return nil, err
				}
			}
			tag := senderTag
			if c.filter == "mentions" {
				tag = mentionTag
			}
			ids := named(known, c.value, by)
			if c.filter == "mentions" && slices.Contains(ids, by.UserID) {
				ids = append(ids, "all")
			}
			for _, id := range ids {
				tags = append(tags, quote(tag(id)))
			}
		case "in":
			ids, err := conversationsNamed(v, by, c.value, p.floors)
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
	for id := range p.floors {
		if narrowed && !slices.Contains(rooms, id) {
			delete(p.floors, id)
		}
	}
	p.nothing = p.nothing || len(p.floors) == 0 || p.from > p.to || len(q.clauses)+len(q.dates) == 0
	for _, c := range p.clauses {
		if !c.not {
			p.matchers = append(p.matchers, newMatcher(c))
		}
	}
	return p, nil
}

// searchable notes the conversations to search: one, or all of the caller's.
func (p *plan) searchable(v storage.View, by api.Caller, conversationID string) error {
	if conversationID != "" {
		at, err := memberOf(v, by, conversationID)
		p.floors[conversationID] = at.floor
		return err
	}
	rows, err := v.Query("SELECT conversation_id, max(history_from_n, clear_n) FROM member WHERE user_id = ? AND left_seq IS NULL", by.UserID)
	if err != nil {
		return fmt.Errorf("list searchable: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var id string
		var floor int64
		if err := rows.Scan(&id, &floor); err != nil {
			return err
		}
		p.floors[id] = floor
	}
	return rows.Err()
}

// acquaintance is somebody who is or was in a conversation with the caller.
type acquaintance struct{ id, username, name string }

// acquaintancesMax is how many people are looked at for a name.
const acquaintancesMax = 20000

func acquaintances(v storage.View, by api.Caller) ([]acquaintance, error) {
	rows, err := v.Query(`SELECT DISTINCT u.id, u.username, u.display_name FROM member a JOIN member b ON b.conversation_id = a.conversation_id
		JOIN user u ON u.id = b.user_id WHERE a.user_id = ? AND a.left_seq IS NULL LIMIT ?`, by.UserID, acquaintancesMax)
	if err != nil {
		return nil, fmt.Errorf("list acquaintances: %w", err)
	}
	defer rows.Close()
	list := []acquaintance{}
	for rows.Next() {
		var a acquaintance
		if err := rows.Scan(&a.id, &a.username, &a.name); err != nil {
			return nil, fmt.Errorf("list acquaintances: %w", err)
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// named returns the people that a name stands for: the one with this id or username, else those who are called so, else
// those whose name has these words.
func named(known []acquaintance, name string, by api.Caller) []string {
	bare := strings.TrimLeft(name, "@")
	if strings.EqualFold(bare, "me") {
		return []string{by.UserID}
	}
	var best [3][]string
	wanted := folded(bare)
	for _, a := range known {
		full := folded(a.name)
		switch {
		case a.id == bare || strings.EqualFold(a.username, bare):
			best[0] = append(best[0], a.id)
		case wanted != "" && full == wanted:
			best[1] = append(best[1], a.id)
		case hasWords(full, wanted) || hasWords(folded(a.username), wanted):
			best[2] = append(best[2], a.id)
		}
	}
	for _, ids := range best {
		if len(ids) > 0 {
			return ids[:min(len(ids), namesMax)]
		}
	}
	return nil
}

// namesMax is how many people or conversations one name stands for at most.
const namesMax = 50

// folded is a name as it is compared.
func folded(name string) string {
	var b strings.Builder
	tokenize(name, func(t token) { b.WriteString(t.text + " ") })
	return b.String()
}

// hasWords reports whether the words stand in a folded name, one after the other.
func hasWords(name, words string) bool {
	return words != "" && strings.Contains(" "+name, " "+words)
}

// conversationsNamed returns the conversations among floors that a name stands for: the one with this id, else those
// called so, else those whose name has these words. One of two people is called like the other.
func conversationsNamed(v storage.View, by api.Caller, name string, floors map[string]int64) ([]string, error) {
	bare := strings.TrimLeft(name, "@")
	if _, ok := floors[bare]; ok {
		return []string{bare}, nil
	}
	rows, err := v.Query(`SELECT c.id, coalesce(c.name, ''), coalesce(u.username, ''), coalesce(u.display_name, '')
		FROM member m JOIN conversation c ON c.id = m.conversation_id
		LEFT JOIN member o ON c.type = 'single' AND o.conversation_id = c.id AND o.user_id <> m.user_id
		LEFT JOIN user u ON u.id = o.user_id
		WHERE m.user_id = ? AND m.left_seq IS NULL AND c.deleted_at IS NULL`, by.UserID)
	if err != nil {
		return nil, fmt.Errorf("list conversations by name: %w", err)
	}
	defer rows.Close()
	var best [2][]string
	wanted := folded(bare)
	for rows.Next() {
		var id, group, username, person string
		if err := rows.Scan(&id, &group, &username, &person); err != nil {
			return nil, fmt.Errorf("list conversations by name: %w", err)
		}
		if _, ok := floors[id]; !ok {
			continue
		}
		group, person = folded(group), folded(person)
		switch {
		case wanted != "" && (group == wanted || person == wanted) || username != "" && strings.EqualFold(username, bare):
			best[0] = append(best[0], id)
		case hasWords(group, wanted) || hasWords(person, wanted):
			best[1] = append(best[1], id)
		}
	}
	if len(best[0]) > 0 {
		return best[0][:min(len(best[0]), namesMax)], rows.Err()
	}
	return best[1][:min(len(best[1]), namesMax)], rows.Err()
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
