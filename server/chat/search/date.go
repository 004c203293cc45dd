package search

import (
	"strings"
	"time"
)

// dateFilter is before:, after:, on: or during: with a day, a month or a year of the calendar.
type dateFilter struct {
	filter           string
	year, month, day int // month and day are 0 when they were not named
	ago              int // days before today plus one; 0 for a date
}

func parseDate(text string) (dateFilter, bool) {
	switch strings.ToLower(text) {
	case "today":
		return dateFilter{ago: 1}, true
	case "yesterday":
		return dateFilter{ago: 2}, true
	}
	for _, layout := range []string{"2006-01-02", "2006-01", "2006"} {
		at, err := time.Parse(layout, text)
		if err != nil || len(text) != len(layout) {
			continue
		}
		d := dateFilter{year: at.Year()}
		if len(layout) > 4 {
			d.month = int(at.Month())
		}
		if len(layout) > 7 {
			d.day = at.Day()
		}
		return d, true
	}
	return dateFilter{}, false
}

// span is the time that the date stands for, in a time zone: from its first moment until the first one after it.
func (d dateFilter) span(now time.Time, zone *time.Location) (start, end time.Time) {
	switch {
	case d.ago > 0:
		y, m, day := now.In(zone).Date()
		day -= d.ago - 1
		return time.Date(y, m, day, 0, 0, 0, 0, zone), time.Date(y, m, day+1, 0, 0, 0, 0, zone)
	case d.month == 0:
		return time.Date(d.year, 1, 1, 0, 0, 0, 0, zone), time.Date(d.year+1, 1, 1, 0, 0, 0, 0, zone)
	case d.day == 0:
		return time.Date(d.year, time.Month(d.month), 1, 0, 0, 0, 0, zone), time.Date(d.year, time.Month(d.month)+1, 1, 0, 0, 0, 0, zone)
	}
	return time.Date(d.year, time.Month(d.month), d.day, 0, 0, 0, 0, zone), time.Date(d.year, time.Month(d.month), d.day+1, 0, 0, 0, 0, zone)
}

// period narrows a span of milliseconds, both ends included, by the dates of the search.
func (q *query) period(from, to int64, now time.Time, zone *time.Location) (int64, int64) {
	for _, d := range q.dates {
		start, end := d.span(now, zone)
		if d.filter == "on" || d.filter == "during" {
			from, to = max(from, start.UnixMilli()), min(to, end.UnixMilli()-1)
		}
		if d.filter == "before" {
			to = min(to, start.UnixMilli()-1)
		}
		if d.filter == "after" {
			from = max(from, end.UnixMilli())
		}
	}
	return from, to
}
