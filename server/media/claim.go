package media

import (
	"database/sql"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// squareFile is the rendition of a picture that a profile or a group is shown with.
const squareFile = "square.webp"

// ClaimPicture makes the picture at an address the one that scope, a profile or a group, is shown with, and returns the path to
// keep: nil for "". It is an upload of the caller's, or the picture that scope has already, at the path was. The picture
// before it is let go. Codes: VALIDATION.
func (s *Service) ClaimPicture(tx *storage.Tx, by api.Caller, address, scope string, was *string) (*string, error) {
	if address == "" {
		return nil, s.Unclaim(tx, scope)
	}
	name, _, ok := parseName(address)
	if !ok {
		return nil, api.Invalid("avatar", "must be an upload of this server")
	}
	if was != nil {
		if before, _, _ := parseName(*was); before == name { // a profile that is sent back whole
			return was, nil
		}
	}
	u, err := uploadBy(tx, "u.user_id = ? AND u.kind = 'image' AND u.state IN ('ready', 'processing') AND u.name = ?", by.UserID, name)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil, api.Invalid("avatar", "must be a picture that you have uploaded")
	}
	if err != nil {
		return nil, err
	}
	if err := s.Unclaim(tx, scope); err != nil {
		return nil, err
	}
	if _, err := tx.Exec("INSERT INTO claim (scope, upload_id) VALUES (?, ?)", scope, u.id); err != nil {
		return nil, fmt.Errorf("claim picture: %w", err)
	}
	if u.state == stateReady && !u.has(squareFile) {
		if err := s.jobs.Enqueue(tx, u.squareJob()); err != nil {
			return nil, err
		}
	}
	path := u.path(squareFile)
	return &path, nil
}

// Unclaim lets go of what is shown as scope: the picture of a profile or a group, a sticker.
func (s *Service) Unclaim(tx *storage.Tx, scope string) error {
	rows, err := tx.Query("DELETE FROM claim WHERE scope = ? RETURNING upload_id", scope)
	if err != nil {
		return fmt.Errorf("let go of picture: %w", err)
	}
	ids, err := storage.ScanIDs(rows)
	if err != nil || len(ids) == 0 {
		return err
	}
	return s.forget(tx, ids)
}

// isClaimed is what holds of an upload u that something shows.
const isClaimed = "(EXISTS (SELECT 1 FROM attachment a WHERE a.upload_id = u.id) OR EXISTS (SELECT 1 FROM claim c WHERE c.upload_id = u.id))"

func claimed(q storage.Querier, id string) (yes bool, err error) {
	if err = q.QueryRow("SELECT "+isClaimed+" FROM upload u WHERE u.id = ?", id).Scan(&yes); err != nil {
		return false, fmt.Errorf("find what shows an upload: %w", err)
	}
	return yes, nil
}

// shownIn reports whether an upload is shown as part of scope at this moment.
func shownIn(q storage.Querier, u *upload, scope string) (shown bool, err error) {
	kind, id := scope[:1], scope[1:]
	if kind == ownerScope {
		return u.userID == id, nil
	}
	err = q.QueryRow("SELECT EXISTS (SELECT 1 FROM claim WHERE scope = ? AND upload_id = ?)", scope, u.id).Scan(&shown)
	if err == nil && !shown && kind == conversationScope {
		err = q.QueryRow(`SELECT EXISTS (SELECT 1 FROM attachment a JOIN message x ON x.id = a.message_id JOIN conversation c ON c.id = x.conversation_id
			WHERE a.upload_id = ? AND x.conversation_id = ? AND c.deleted_at IS NULL AND `+there+")", u.id, id, q.Millis()).Scan(&shown)
	}
	if err != nil {
		return false, fmt.Errorf("find where an upload is shown: %w", err)
	}
	return shown, nil
}

// there is what holds of a message x that is neither deleted nor expired; its parameter is the time.
const there = "x.deleted_at IS NULL AND (x.expires_at IS NULL OR x.expires_at > ?)"

// shownTo reports whether somebody can see an upload: in a message, or as the picture of a group of theirs or of somebody
// who shows it to everyone.
func shownTo(q storage.Querier, uploadID, userID string) (shown bool, err error) {
	err = q.QueryRow(`SELECT EXISTS (SELECT 1 FROM attachment a JOIN message x ON x.id = a.message_id JOIN member m ON m.conversation_id = x.conversation_id
			WHERE a.upload_id = ?1 AND m.user_id = ?2 AND m.left_seq IS NULL AND x.n > max(m.history_from_n, m.clear_n)
				AND x.deleted_at IS NULL AND (x.expires_at IS NULL OR x.expires_at > ?3)
				AND NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.conversation_id = x.conversation_id AND h.n = x.n AND h.user_id = m.user_id))
		OR EXISTS (SELECT 1 FROM claim c JOIN member m ON c.scope = 'c' || m.conversation_id WHERE c.upload_id = ?1 AND m.user_id = ?2 AND m.left_seq IS NULL)
		OR EXISTS (SELECT 1 FROM pack_sticker k WHERE k.upload_id = ?1)
		OR EXISTS (SELECT 1 FROM claim c JOIN user w ON c.scope = 'u' || w.id WHERE c.upload_id = ?1 AND w.photo_for = 'everyone' AND w.erased_at IS NULL)`,
		uploadID, userID, q.Millis()).Scan(&shown)
	if err != nil {
		return false, fmt.Errorf("find who is shown an upload: %w", err)
	}
	return shown, nil
}

func scanPairs(rows *sql.Rows) (map[string]string, error) {
	defer rows.Close()
	found := map[string]string{}
	for rows.Next() {
		var id, name string
		if err := rows.Scan(&id, &name); err != nil {
			return nil, err
		}
		found[name] = id
	}
	return found, rows.Err()
}
