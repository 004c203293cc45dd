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
	Status   string  `json:"status"`   // offline for strangers
	LastSeen *string `json:"lastSeen"` // null for strangers
}

// UserInput names a person.
type UserInput struct {
	UserID string `path:"userId" maxLength:"64"`
}

// User returns somebody's profile. When they are online and were last seen is shown to those who share a conversation
// with them. Code: USER_NOT_FOUND.
func (s *Service) User(ctx context.Context, by api.Caller, in *UserInput) (p Profile, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		p = Profile{}
		var seen sql.NullInt64
		var familiar bool
		targets := append(p.PublicTargets(), &p.Bio, &p.Status, &seen, &familiar)
		err := v.QueryRow("SELECT "+PublicColumns+`, u.bio, u.status, u.last_seen_at, u.id = ? OR EXISTS (
				SELECT 1 FROM member a JOIN member b ON b.conversation_id = a.conversation_id AND b.user_id = u.id AND b.left_seq IS NULL
				WHERE a.user_id = ? AND a.left_seq IS NULL)
			FROM user u WHERE u.id = ? AND u.erased_at IS NULL`, by.UserID, by.UserID, in.UserID).Scan(targets...)
		if errors.Is(err, sql.ErrNoRows) {
			return api.E("USER_NOT_FOUND")
		}
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		blocked, err := Blocked(v, by.UserID, p.ID)
		if err != nil {
			return fmt.Errorf("read profile: %w", err)
		}
		p.MongoID = p.ID
		if !familiar || blocked {
			p.Status = statusOffline
			return nil
		}
		if s.online != nil {
			p.Status = present(p.Status, s.online(p.ID))
		}
		if seen.Valid {
			at := api.Millis(seen.Int64)
			p.LastSeen = &at
		}
		return nil
	})
	return p, err
}

// The presence of a person.
const (
	statusOnline  = "online"
	statusOffline = "offline"
)

// present is what to show of a chosen status: offline without a socket, and never offline with one.
func present(chosen string, online bool) string {
	switch {
	case !online:
		return statusOffline
	case chosen == statusOffline:
		return statusOnline
	}
	return chosen
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
		rows, err := v.Query("SELECT "+PublicColumns+` FROM user u
			WHERE (u.search_key LIKE ? ESCAPE '\' OR u.phone = ? OR u.email = ?) AND u.id <> ? AND u.is_active = 1 AND u.erased_at IS NULL
			AND (u.banned_at IS NULL OR u.banned_until <= ?)
			AND NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = u.id AND b.blocked_id = ?)
			AND NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = ? AND b.blocked_id = u.id)
			ORDER BY u.search_key NOT LIKE ? ESCAPE '\', u.username_key LIMIT ?`,
			"%"+part+"%", phone, email, by.UserID, s.db.Now().UnixMilli(), by.UserID, by.UserID, part+"%", searchMax)
		if err != nil {
			return fmt.Errorf("search people: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var p Public
			if err := rows.Scan(p.PublicTargets()...); err != nil {
				return fmt.Errorf("search people: %w", err)
			}
			p.MongoID = p.ID
			found = append(found, p)
		}
		return rows.Err()
	})
	return found, err
}

// likeEscaper takes their meaning from the wildcards of LIKE.
var likeEscaper = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)
