package account

import (
	"database/sql"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Presence adds to people whether they are here and when they were last seen, as one viewer may see it. The viewer
// shares a conversation with each of them: that is the caller's to know. Who shows nothing is offline.
func (s *Service) Presence(q storage.Querier, viewer string, people []*Public) error {
	ids := make([]string, len(people))
	byID := make(map[string][]*Public, len(people))
	for i, p := range people {
		p.Status = statusOffline
		ids[i], byID[p.ID] = p.ID, append(byID[p.ID], p)
	}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT u.id, u.status, u.last_seen_at FROM user u WHERE (u.id = ?1 OR "+showsPresence+") AND u.id IN ("+marks+") AND u.erased_at IS NULL",
			append([]any{viewer}, args...)...)
		if err != nil {
			return fmt.Errorf("read presence: %w", err)
		}
		if err := s.scanPresence(rows, byID); err != nil {
			return fmt.Errorf("read presence: %w", err)
		}
	}
	return nil
}

func (s *Service) scanPresence(rows *sql.Rows, byID map[string][]*Public) error {
	defer rows.Close()
	for rows.Next() {
		var id, status string
		var seen sql.NullInt64
		if err := rows.Scan(&id, &status, &seen); err != nil {
			return err
		}
		for _, p := range byID[id] {
			p.Status = present(status, s.online == nil || s.online(id))
			if seen.Valid {
				at := api.Millis(seen.Int64)
				p.LastSeen = &at
			}
		}
	}
	return rows.Err()
}
