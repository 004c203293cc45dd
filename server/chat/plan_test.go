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

// TestMentionsAreFoundWithoutReadingTheMessages holds the same of mentions: those of a person lead, and those for
// everybody are looked up by conversation.
func TestMentionsAreFoundWithoutReadingTheMessages(t *testing.T) {
	const message = "SEARCH x USING PRIMARY KEY (conversation_id=? AND n=?)"
	of := "SELECT (" + mentionsUnread + ") FROM member m WHERE m.user_id = ? AND m.left_seq IS NULL AND m.conversation_id IN (?, ?)"
	planned(t, message, of, mentionsSeen)
	planned(t, "SEARCH a USING PRIMARY KEY (user_id=? AND conversation_id=? AND n>?)", of, mentionsSeen)
	planned(t, "SEARCH a USING COVERING INDEX mention_newest (user_id=? AND message_id<?)", mentionsSeen)
	planned(t, "SEARCH mention USING COVERING INDEX mention_message (message_id=?)", fmt.Sprintf(mentionsOf, "?, ?"))
	add := fmt.Sprintf(mentionsAdd, "?, ?", "?, ?")
	planned(t, "SEARCH u USING INDEX sqlite_autoindex_user_2 (username_key=?)", add)
	planned(t, "SEARCH m USING INDEX member_current (user_id=? AND conversation_id=?)", add)
	if plan := explained(t, mentionsSeen); strings.Count(plan, "TEMP B-TREE") != 1 || strings.Index(plan, "TEMP B-TREE") < strings.Index(plan, "RIGHT") {
		t.Errorf("those of one person are sorted: %s", plan)
	}
}

// planned checks that queries scan no table, and do step.
func planned(t *testing.T, step string, queries ...string) {
	t.Helper()
	for _, query := range queries {
		if plan := explained(t, query); strings.Contains(strings.NewReplacer("SCAN CONSTANT ROW", "", "SCAN (subquery", "").Replace(plan), "SCAN") || !strings.Contains(plan, step) {
			t.Errorf("%s\n%s", query, plan)
		}
	}
}

// explained is how SQLite answers a query.
func explained(t *testing.T, query string) string {
	t.Helper()
	db, err := storage.Open(storage.Options{Path: filepath.Join(t.TempDir(), storage.FileName)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var plan strings.Builder
	err = db.Read(context.Background(), func(v storage.View) error {
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
	if err != nil {
		t.Fatal(err)
	}
	return plan.String()
}
