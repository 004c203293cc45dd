package chat

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/storage"
)

// TestPinsAreFoundWithoutReadingTheMessages holds the order in which tables are looked at: however many messages a
// conversation has, its pins lead.
func TestPinsAreFoundWithoutReadingTheMessages(t *testing.T) {
	planned(t, "SEARCH x USING PRIMARY KEY (conversation_id=? AND n=?)", pinsCount, fmt.Sprintf(pinsSeen, "?, ?"), fmt.Sprintf(pinsShared, "?, ?"))
}

// TestOriginalsAreFoundByTheirIDs holds that a page of forwards reads the originals and nothing beside them.
func TestOriginalsAreFoundByTheirIDs(t *testing.T) {
	planned(t, "SEARCH m USING INDEX member_current (user_id=? AND conversation_id=?)", fmt.Sprintf(originalsSeen, "?, ?"))
}

// planned checks that queries scan no table, and do step.
func planned(t *testing.T, step string, queries ...string) {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), storage.FileName)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, query := range queries {
		var plan strings.Builder
		err := db.Read(context.Background(), func(v storage.View) error {
			rows, err := v.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
			if err != nil {
				return err
			}
			defer rows.Close()
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					return err
				}
				plan.WriteString(detail + "\n")
			}
			return rows.Err()
		})
		if err != nil || strings.Contains(strings.ReplaceAll(plan.String(), "SCAN CONSTANT ROW", ""), "SCAN") || !strings.Contains(plan.String(), step) {
			t.Errorf("%s\n%s%v", query, plan.String(), err)
		}
	}
}
