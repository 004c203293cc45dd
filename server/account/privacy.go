package account

import (
	"fmt"

	"github.com/quckchat/quckchat/storage"
)

// Privacy is what others may see of somebody's presence, as the open sockets go by it.
type Privacy struct {
	Status     string              // what they chose: online, away, busy, or offline, which shows nothing of them
	HidesSeen  bool                // they neither show when they are here nor see it of others
	HidesReads bool                // they neither show what they have read nor see it of others
	Only       map[string]struct{} // presence is for these alone; nil for everyone
	Blocked    map[string]struct{} // neither sees the other's presence
}

// The words of the visibility settings, as they are stored and sent.
const (
	forEveryone = "everyone"
	forContacts = "contacts"
	forNobody   = "nobody"
)

// PrivacyOf reads somebody's privacy. Somebody unknown hides nothing: there is nothing to see.
func PrivacyOf(q storage.Querier, userID string) (Privacy, error) {
	var p Privacy
	var status, statusFor string
	rows, err := q.Query("SELECT status, status_for, hides_seen, hides_reads FROM user WHERE id = ?", userID)
	if err != nil {
		return p, fmt.Errorf("read privacy: %w", err)
	}
	for rows.Next() {
		if err := rows.Scan(&status, &statusFor, &p.HidesSeen, &p.HidesReads); err != nil {
			rows.Close()
			return p, fmt.Errorf("read privacy: %w", err)
		}
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return p, fmt.Errorf("read privacy: %w", err)
	}
	p.Status = chosen(status)
	if p.Blocked, err = idSet(q, "SELECT blocked_id FROM block WHERE user_id = ?", userID); err != nil {
		return p, fmt.Errorf("read blocks: %w", err)
	}
	switch statusFor {
	case forNobody:
		p.Only = map[string]struct{}{}
	case forContacts:
		if p.Only, err = idSet(q, "SELECT contact_id FROM contact WHERE user_id = ?", userID); err != nil {
			return p, fmt.Errorf("read contacts: %w", err)
		}
		if p.Only == nil {
			p.Only = map[string]struct{}{}
		}
	}
	return p, nil
}

// idSet is the ids that a query gives, nil when there are none.
func idSet(q storage.Querier, query string, args ...any) (map[string]struct{}, error) {
	rows, err := q.Query(query, args...)
	if err != nil {
		return nil, err
	}
	ids, err := storage.ScanIDs(rows)
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	set := make(map[string]struct{}, len(ids))
	for _, id := range ids {
		set[id] = struct{}{}
	}
	return set, nil
}

// privacyChanged hands over, when tx commits, what somebody's privacy is now. Whatever changes a status, a block, a
// contact or a privacy setting calls it in its transaction.
func (s *Service) privacyChanged(tx *storage.Tx, userID string) error {
	if s.privacy == nil {
		return nil
	}
	p, err := PrivacyOf(tx, userID)
	if err != nil {
		return err
	}
	tx.OnCommit(func() { s.privacy(userID, p) })
	return nil
}

// mayPicture says in SQL whether the viewer ?1 may see the picture of u.
const mayPicture = `(u.id = ?1 OR (u.photo_for = 'everyone' OR u.photo_for = 'contacts' AND EXISTS (SELECT 1 FROM contact k WHERE k.user_id = u.id AND k.contact_id = ?1))
	AND NOT EXISTS (SELECT 1 FROM block kb WHERE kb.user_id = u.id AND kb.blocked_id = ?1))`

// PublicColumnsFor are PublicColumns as one viewer sees them: the picture of somebody who shows it to their contacts
// alone is there for those. The viewer is the first argument of the query, ?1; nobody is "".
const PublicColumnsFor = "u.id, u.username, u.display_name, CASE WHEN " + mayPicture + " THEN u.avatar END, u.is_verified"

// showsPresence says in SQL whether u shows the viewer ?1, another person, when they are here: neither has blocked the
// other, both show such things, and u shows them to this viewer.
const showsPresence = `(u.hides_seen = 0 AND NOT EXISTS (SELECT 1 FROM user w WHERE w.id = ?1 AND w.hides_seen = 1)
	AND (u.status_for = 'everyone' OR u.status_for = 'contacts' AND EXISTS (SELECT 1 FROM contact k WHERE k.user_id = u.id AND k.contact_id = ?1))
	AND NOT EXISTS (SELECT 1 FROM block kb WHERE kb.user_id = u.id AND kb.blocked_id = ?1)
	AND NOT EXISTS (SELECT 1 FROM block kb WHERE kb.user_id = ?1 AND kb.blocked_id = u.id))`

// mayPresence says in SQL whether the viewer ?1 may see whether u is here and when they last were: u shows it, and they
// share a conversation.
const mayPresence = `(u.id = ?1 OR ` + showsPresence + `
	AND EXISTS (SELECT 1 FROM member ma JOIN member mb ON mb.conversation_id = ma.conversation_id AND mb.user_id = u.id AND mb.left_seq IS NULL
		WHERE ma.user_id = ?1 AND ma.left_seq IS NULL))`
