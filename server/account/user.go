package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Profile is a person as others see them when they look at them.
type Profile struct {
	Public
	Bio      *string `json:"bio"`
	Status   string  `json:"status"`   // offline for those who may not see it
	LastSeen *string `json:"lastSeen"` // null for those who may not see it
}

// UserInput names a person.
type UserInput struct {
	UserID string `path:"userId" maxLength:"64"`
}

// User returns somebody's profile. Whether they are online and when they were last seen is shown to those who share a
// conversation with them, as their settings and blocks allow. Somebody they block sees their names alone.
// Code: USER_NOT_FOUND.
func (s *Service) User(ctx context.Context, by api.Caller, in *UserInput) (p Profile, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		p = Profile{}
		var seen sql.NullInt64
		var shown bool
		targets := append(p.PublicTargets(), &p.Bio, &p.Status, &seen, &shown)
		err := v.QueryRow("SELECT "+PublicColumnsFor+`, CASE WHEN NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = u.id AND b.blocked_id = ?1) THEN u.bio END,
			u.status, u.last_seen_at, `+mayPresence+` FROM user u WHERE u.id = ?2 AND u.erased_at IS NULL`, by.UserID, in.UserID).Scan(targets...)
		if errors.Is(err, sql.ErrNoRows) {
			return api.E("USER_NOT_FOUND")
		}
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		p.Show(v)
		if !shown {
			p.Status = statusOffline
			return nil
		}
		p.Status = present(p.Status, s.online == nil || s.online(p.ID))
		if seen.Valid {
			at := api.Millis(seen.Int64)
			p.LastSeen = &at
		}
		return nil
	})
	return p, err
}

// SearchInput is what to look for; both spellings are known.
type SearchInput struct {
	Q     string `query:"q" maxLength:"100"`
	Query string `query:"query" maxLength:"100"`
}

const (
	searchMin = 2 // characters; a shorter search finds nobody
	searchMax = 20
)

// Search finds people by a part of their names, or by their whole phone number or e-mail address. It leaves out the
// caller, those blocked either way, and those who are banned, deactivated or gone.
func (s *Service) Search(ctx context.Context, by api.Caller, in *SearchInput) ([]Public, error) {
	found := []Public{}
	wanted := strings.TrimSpace(in.Q)
	if wanted == "" {
		wanted = strings.TrimSpace(in.Query)
	}
	if utf8.RuneCountInString(wanted) < searchMin {
		return found, nil
	}
	var phone, email any // NULL equals nothing
	if phoneForm.MatchString(wanted) {
		phone = canonicalPhone(wanted)
	}
	if strings.Contains(wanted, "@") {
		email = fold(wanted)
	}
	part := likeEscaper.Replace(fold(wanted))
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT "+PublicColumnsFor+` FROM user u WHERE (u.search_key LIKE ?3 ESCAPE '\' OR u.phone = ?4 OR u.email = ?5) AND `+findable+`
			ORDER BY u.search_key NOT LIKE ?6 ESCAPE '\', u.username_key LIMIT ?7`,
			by.UserID, s.db.Now().UnixMilli(), "%"+part+"%", phone, email, part+"%", searchMax)
		if err != nil {
			return fmt.Errorf("search people: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var p Public
			if err := rows.Scan(p.PublicTargets()...); err != nil {
				return fmt.Errorf("search people: %w", err)
			}
			p.Show(v)
			found = append(found, p)
		}
		return rows.Err()
	})
	return found, err
}

// likeEscaper takes their meaning from the wildcards of LIKE.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
