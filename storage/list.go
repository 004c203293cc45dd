package storage

import (
	"database/sql"
	"strings"
)

// inMax is the most values in one IN list.
const inMax = 256

// Chunks cuts ids into lists that fit In.
func Chunks(ids []string) [][]string {
	var chunks [][]string
	for len(ids) > inMax {
		chunks, ids = append(chunks, ids[:inMax]), ids[inMax:]
	}
	if len(ids) > 0 {
		chunks = append(chunks, ids)
	}
	return chunks
}

// In returns the marks and the arguments of an IN list of at most 256 ids. The length is rounded up to a power of two
// by repeating the last id, so that there are few statements to prepare. An empty list matches nothing.
func In(ids []string) (marks string, args []any) {
	n := 1
	for n < len(ids) {
		n *= 2
	}
	args = make([]any, n)
	for i := range args {
		switch {
		case len(ids) == 0:
			args[i] = ""
		default:
			args[i] = ids[min(i, len(ids)-1)]
		}
	}
	return strings.Repeat("?,", n-1) + "?", args
}

// ScanIDs reads rows of one column to the end, and closes them.
func ScanIDs(rows *sql.Rows) (ids []string, err error) {
	defer rows.Close()
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, rows.Err()
}
