package account

import (
	"database/sql"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Public is a person as others see them in every list and message. Where it is shared by all who see it, nothing in it
// depends on who is looking: a picture that is not for everyone is not in it.
type Public struct {
	MongoID     string  `json:"_id"`
	ID          string  `json:"id"`
	Username    string  `json:"username"`
	DisplayName string  `json:"displayName"`
	Avatar      *string `json:"avatar"`
	IsVerified  bool    `json:"isVerified"`
	Status      string  `json:"status,omitempty"`   // this and LastSeen: where one person looks at another
	LastSeen    *string `json:"lastSeen,omitempty"` // (Presence), never in what several are shown
}

// PublicColumns are the columns of a Public that is shared, of the table user under the alias u. For one viewer there
// is PublicColumnsFor.
const PublicColumns = "u.id, u.username, u.display_name, CASE WHEN u.photo_for = 'everyone' THEN u.avatar END, u.is_verified"

// PublicTargets returns where to scan PublicColumns or PublicColumnsFor to, for a query that reads more beside them. Show
// has to follow.
func (p *Public) PublicTargets() []any {
	return []any{&p.ID, &p.Username, &p.DisplayName, &p.Avatar, &p.IsVerified}
}

// Show fills in what follows from the columns: the second id, and the address of the picture for whoever is shown this.
func (p *Public) Show(q storage.Querier) {
	p.MongoID, p.Avatar = p.ID, picture(q, p.ID, p.Avatar)
}

// picture is the address of somebody's picture, from the path that the table has.
func picture(q storage.Querier, userID string, path *string) *string {
	if path == nil {
		return nil
	}
	address := q.Link(*path, PictureScope(userID))
	return &address
}

// PictureScope is what the picture of a profile is shown as part of (storage.Link).
func PictureScope(userID string) string { return "u" + userID }

// Deleted is shown in place of somebody who no longer exists.
func Deleted(id string) Public {
	return Public{MongoID: id, ID: id, Username: "deleted", DisplayName: "Deleted account"}
}

// Publics returns the public form of each of the ids as all may see it, in one query.
func Publics(q storage.Querier, ids []string) (map[string]Public, error) {
	return PublicsFor(q, "", ids)
}

// PublicsFor returns the public form of each of the ids as one viewer sees it, in one query.
func PublicsFor(q storage.Querier, viewer string, ids []string) (map[string]Public, error) {
	found := make(map[string]Public, len(ids))
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT "+PublicColumnsFor+" FROM user u WHERE u.id IN ("+marks+")", append([]any{viewer}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("read people: %w", err)
		}
		if err := scanPublics(q, rows, found); err != nil {
			return nil, fmt.Errorf("read people: %w", err)
		}
	}
	for _, id := range ids {
		if _, ok := found[id]; !ok {
			found[id] = Deleted(id)
		}
	}
	return found, nil
}

func scanPublics(q storage.Querier, rows *sql.Rows, into map[string]Public) error {
	defer rows.Close()
	for rows.Next() {
		var p Public
		if err := rows.Scan(p.PublicTargets()...); err != nil {
			return err
		}
		p.Show(q)
		into[p.ID] = p
	}
	return rows.Err()
}

// Blocked reports whether either of two people has blocked the other.
func Blocked(q storage.Querier, a, b string) (blocked bool, err error) {
	err = q.QueryRow(`SELECT EXISTS (SELECT 1 FROM block WHERE user_id = ? AND blocked_id = ?)
		OR EXISTS (SELECT 1 FROM block WHERE user_id = ? AND blocked_id = ?)`, a, b, b, a).Scan(&blocked)
	return blocked, err
}

// MayAct checks, inside the transaction of an operation, that the caller's account still stands: it exists, is active
// and is not banned. Codes: UNAUTHORIZED, USER_BANNED, USER_DEACTIVATED.
func MayAct(q storage.Querier, by api.Caller, now int64) error {
	var active bool
	var banned, until sql.NullInt64
	err := q.QueryRow("SELECT is_active, banned_at, banned_until FROM user WHERE id = ? AND erased_at IS NULL", by.UserID).Scan(&active, &banned, &until)
	switch {
	case err == sql.ErrNoRows:
		return api.E("UNAUTHORIZED")
	case err != nil:
		return fmt.Errorf("check account: %w", err)
	case !active:
		return api.E("USER_DEACTIVATED")
	case banned.Valid && (!until.Valid || until.Int64 > now):
		return api.E("USER_BANNED")
	}
	return nil
}
