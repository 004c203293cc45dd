package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table is one block of the report.
type table struct {
	title  string
	note   string // under the table: how to read it
	header []string
	rows   [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// report is all tables of a run.
type report struct {
	tables []*table
	goals  [][]string
	smoke  bool // too small to compare with goals
}

func (r *report) table(title string, header ...string) *table {
	t := &table{title: title, header: header}
	r.tables = append(r.tables, t)
	return t
}

// goal compares a figure with what the project asks of it. A goal missed is shown; it does not fail the run.
func (r *report) goal(what, want, got string, ok bool) {
	if r.smoke {
		return
	}
	verdict := "yes"
	if !ok {
		verdict = "NO"
	}
	r.goals = append(r.goals, []string{what, want, got, verdict})
}

func (r *report) all() []*table {
	if len(r.goals) == 0 {
		return r.tables
	}
	return append(slices.Clone(r.tables), &table{title: "Goals", header: []string{"what", "wanted", "measured", "met"}, rows: r.goals})
}

// text writes a table for a terminal.
func (t *table) text(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", t.title)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(t.header, "\t"))
	for _, row := range t.rows {
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	tw.Flush()
	if t.note != "" {
		fmt.Fprintln(w, t.note)
	}
}

// markdown writes the whole report for bench/RESULTS.md.
func (r *report) markdown(w io.Writer, about []string, footer string) {
	fmt.Fprintf(w, "# Results of the load generator\n\nMade by `go run ./bench`; what is measured and how is said in `bench/main.go`.\n\n")
	for _, line := range about {
		fmt.Fprintf(w, "- %s\n", line)
	}
	for _, t := range r.all() {
		fmt.Fprintf(w, "\n## %s\n\n| %s |\n|%s\n", t.title, strings.Join(t.header, " | "), strings.Repeat("---|", len(t.header)))
		for _, row := range t.rows {
			fmt.Fprintf(w, "| %s |\n", strings.Join(row, " | "))
		}
		if t.note != "" {
			fmt.Fprintf(w, "\n%s\n", t.note)
		}
	}
	fmt.Fprintf(w, "\n%s\n", footer)
}

// spread is the median of some repetitions and their extremes.
type spread struct{ median, min, max float64 }

func spreadOf(values ...float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	mid := len(values) / 2
	median := values[mid]
	if len(values)%2 == 0 {
		median = (values[mid-1] + values[mid]) / 2
	}
	return spread{median, values[0], values[len(values)-1]}
}

func spreadBy[T any](list []T, value func(T) float64) spread {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = value(v)
	}
	return spreadOf(values...)
}

// show formats the median, and the extremes when they differ from it as shown.
func (s spread) show(format func(float64) string) string {
	low, mid, high := format(s.min), format(s.median), format(s.max)
	if low == mid && high == mid {
		return mid
	}
	return fmt.Sprintf("%s (%s-%s)", mid, low, high)
}

// count formats a number with thousands separated.
func count(v float64) string {
	digits := fmt.Sprintf("%.0f", v)
	for i := len(digits) - 3; i > 0 && digits[i-1] != '-'; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func millis(v float64) string { return fmt.Sprintf("%.2f ms", v/1e6) }

func seconds(v float64) string { return fmt.Sprintf("%.2f s", v) }

func ms(d time.Duration) string { return millis(float64(d)) }

func mib(bytes int64) string { return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20)) }
