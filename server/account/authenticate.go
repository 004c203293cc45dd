package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Authenticate checks an access token, its session and its person, and fills in who calls. The state of a session is
// remembered; whatever changes it forgets it in the same commit.
// Codes: INVALID_TOKEN, TOKEN_EXPIRED, USER_BANNED, USER_DEACTIVATED.
func (s *Service) Authenticate(ctx context.Context, token string, by *api.Caller) error {
	c, err := s.verify(token, 0)
	if err != nil {
		return err
	}
	return s.recognise(ctx, c, by)
}

// staleMax is how long past its end an access token still opens a Socket.IO connection.
const staleMax = 7 * 24 * time.Hour

// Handshake is Authenticate for the handshake of Socket.IO, and for nothing else: shipped clients come back with the
// token that they had when they started, however old it is by now. An expired one is good for a week, while its session
// lives and its credentials are unchanged. Codes: as Authenticate.
func (s *Service) Handshake(ctx context.Context, token string, by *api.Caller) error {
	c, err := s.verify(token, staleMax)
	if err != nil {
		return err
	}
	return s.recognise(ctx, c, by)
}

// recognise checks the session and the person of a token and fills in who calls.
func (s *Service) recognise(ctx context.Context, c *claims, by *api.Caller) error {
	st, err := s.standing(ctx, c.Session)
	if err != nil {
		return err
	}
	if err := st.check(c.Subject, s.db.Now().UnixMilli()); err != nil {
		return err
	}
	if st.credential != c.Credential {
		return api.E("INVALID_TOKEN")
	}
	by.UserID, by.SessionID, by.Role = st.userID, c.Session, st.role
	if st.locale != "" {
		by.Locale = st.locale
	}
	return nil
}

// standing is the state of a session and of its person, as far as every request needs it.
type standing struct {
	userID      string
	role        api.Role
	locale      string
	credential  int64 // of the person, now
	expiresAt   int64
	bannedUntil int64 // 0 is not banned, MaxInt64 for good
	active      bool
	revoked     bool
	erased      bool
}

// check says why somebody may not use their session now.
func (st *standing) check(userID string, now int64) error {
	switch {
	case st.userID == "" || st.userID != userID || st.erased:
		return api.E("INVALID_TOKEN")
	case st.bannedUntil > now:
		return api.E("USER_BANNED")
	case !st.active:
		return api.E("USER_DEACTIVATED")
	case st.revoked || st.expiresAt <= now:
		return api.E("INVALID_TOKEN")
	}
	return nil
}

// standing returns the state of a session; an unknown one has no person.
func (s *Service) standing(ctx context.Context, session string) (standing, error) {
	st, changes, ok := s.sessions.get(session)
	if ok {
		return st, nil
	}
	err := s.db.Read(ctx, func(v storage.View) (err error) {
		st, err = readStanding(v, session)
		return err
	})
	if err == nil && st.userID != "" {
		s.sessions.put(session, st, changes)
	}
	return st, err
}

func readStanding(q storage.Querier, session string) (standing, error) {
	var st standing
	var role string
	var banned, until sql.NullInt64
	err := q.QueryRow(`SELECT s.user_id, s.expires_at, s.revoked_at IS NOT NULL, u.role, u.locale, u.credential, u.is_active,
		u.banned_at, u.banned_until, u.erased_at IS NOT NULL
		FROM session s JOIN user u ON u.id = s.user_id WHERE s.id = ?`, session).
		Scan(&st.userID, &st.expiresAt, &st.revoked, &role, &st.locale, &st.credential, &st.active, &banned, &until, &st.erased)
	if errors.Is(err, sql.ErrNoRows) {
		return standing{}, nil
	}
	if err != nil {
		return standing{}, fmt.Errorf("read session: %w", err)
	}
	st.role, st.bannedUntil = api.ParseRole(role), bannedUntil(banned, until)
	return st, nil
}

// bannedUntil is the end of a ban in unix milliseconds: 0 when there is none.
func bannedUntil(at, until sql.NullInt64) int64 {
	switch {
	case !at.Valid:
		return 0
	case !until.Valid:
		return math.MaxInt64
	}
	return until.Int64
}

// Changed forgets, when tx commits, what is remembered of a person's sessions. Whatever changes a role, a ban, a
// credential, a language or a session calls it in its transaction.
func (s *Service) Changed(tx *storage.Tx, userID string) error {
	rows, err := tx.Query("SELECT id FROM session WHERE user_id = ? AND revoked_at IS NULL", userID)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	ids, err := storage.ScanIDs(rows)
	if err != nil {
		return fmt.Errorf("list sessions: %w", err)
	}
	tx.OnCommit(func() { s.sessions.forget(ids...) })
	return nil
}

// standings remembers the state of up to twice standingsMax sessions: those used lately, and those used before them,
// which are dropped together when the younger half is full.
type standings struct {
	mu       sync.Mutex
	new, old map[string]standing
	changes  uint64 // counts forget: what was read before one may be out of date
}

const standingsMax = 25_000

// get returns the remembered state, and the count of changes to hand to put.
func (m *standings) get(id string) (st standing, changes uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if st, ok = m.new[id]; !ok {
		if st, ok = m.old[id]; ok {
			m.add(id, st)
		}
	}
	return st, m.changes, ok
}

// put remembers what was read, unless something changed since get.
func (m *standings) put(id string, st standing, changes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if changes == m.changes {
		m.add(id, st)
	}
}

func (m *standings) add(id string, st standing) {
	if len(m.new) >= standingsMax {
		m.old, m.new = m.new, make(map[string]standing, standingsMax)
	}
	m.new[id] = st
}

func (m *standings) forget(ids ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	for _, id := range ids {
		delete(m.new, id)
		delete(m.old, id)
	}
}
