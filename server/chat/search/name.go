package search

import (
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/storage"
)

// acquaintance is somebody who is or was in a conversation with the caller.
type acquaintance struct{ id, username, name string }

// acquaintancesMax is how many people are looked at for a name.
const acquaintancesMax = 20000

func acquaintances(v storage.View, userID string) ([]acquaintance, error) {
	rows, err := v.Query(`SELECT DISTINCT u.id, u.username, u.display_name FROM member a JOIN member b ON b.conversation_id = a.conversation_id
		JOIN user u ON u.id = b.user_id WHERE a.user_id = ? AND a.left_seq IS NULL LIMIT ?`, userID, acquaintancesMax)
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
func named(known []acquaintance, name, userID string) []string {
	bare := strings.TrimLeft(name, "@")
	if strings.EqualFold(bare, "me") {
		return []string{userID}
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

// conversationsNamed returns the conversations of the scope that a name stands for: the one with this id, else those
// called so, else those whose name has these words. One of two people is called like the other.
func conversationsNamed(v storage.View, scope Scope, name string) ([]string, error) {
	bare := strings.TrimLeft(name, "@")
	if _, ok := scope.Floors[bare]; ok {
		return []string{bare}, nil
	}
	rows, err := v.Query(`SELECT c.id, coalesce(c.name, ''), coalesce(u.username, ''), coalesce(u.display_name, '')
		FROM member m JOIN conversation c ON c.id = m.conversation_id
		LEFT JOIN member o ON c.type = 'single' AND o.conversation_id = c.id AND o.user_id <> m.user_id
		LEFT JOIN user u ON u.id = o.user_id
		WHERE m.user_id = ? AND m.left_seq IS NULL AND c.deleted_at IS NULL`, scope.UserID)
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
		if _, ok := scope.Floors[id]; !ok {
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
