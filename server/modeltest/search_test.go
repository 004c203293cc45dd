package modeltest

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"time"
)

// compareSearch holds what somebody finds, of everything and of single words, against the model. The index is a second
// behind, so it is asked until it is right.
func (t *trial) compareSearch(p *person) {
	t.searchUntil(p, "-nosuchword", func(*message) bool { return true })
	word := regexp.MustCompile(`^tk\d+x$`)
	for _, r := range t.rooms {
		for _, m := range r.log {
			if m.n%7 == 0 && word.MatchString(m.text) { // whether they see it or not
				t.searchUntil(p, m.text, func(o *message) bool { return o.text == m.text })
			}
		}
	}
}

func (t *trial) searchUntil(p *person, q string, fits func(*message) bool) {
	must := []string{}
	for _, r := range t.rooms {
		for _, m := range r.log {
			if m.sees(p) && !m.gone && !m.notice && fits(m) {
				must = append(must, m.id)
			}
		}
	}
	slices.Sort(must)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		got, total := t.find(p, q)
		slices.Sort(got)
		if slices.Equal(got, must) && total == len(must) {
			return
		}
		if time.Now().After(end) {
			t.fail("%s searches for %q and finds %d: %v, but must find %d: %v", p.name, q, total, got, len(must), must)
			return
		}
	}
}

// find reads all pages of a search, and the total that the first one says.
func (t *trial) find(p *person, q string) (ids []string, total int) {
	d := &device{name: p.name + "'s search", user: t.devices[p][0].user, calm: true}
	for cursor, first := "", true; ; first = false {
		raw, _ := d.get(fmt.Sprintf("/messages/search/query?q=%s&limit=30&cursor=%s", url.QueryEscape(q), cursor))
		page := read[struct {
			Messages []struct {
				ID string `json:"_id"`
			}
			Total      int
			NextCursor string
		}](d, raw)
		for _, m := range page.Messages {
			ids = append(ids, m.ID)
		}
		if first {
			total = page.Total
		}
		if cursor = page.NextCursor; cursor == "" {
			break
		}
	}
	if heard := append(d.overhears(t.world), d.wrong...); len(heard) > 0 {
		t.fail("search of %s: %q", p.name, heard)
	}
	return ids, total
}
