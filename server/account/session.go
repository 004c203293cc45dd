package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// tierRefresh is wide: a whole house refreshes from one address every quarter of an hour, and a token cannot be guessed.
var tierRefresh = api.Tier{Name: "refresh", Limit: 300, Window: time.Minute, ByIP: true}

// replyGrace is how long the refresh token before the current one is answered with the current one: the reply that
// carried it may have been lost.
const replyGrace = 60 * time.Second

// Why sessions end.
const (
	reasonLogout   = "logout"
	reasonRevoked  = "revoked"
	reasonPassword = "password_change"
	reasonReuse    = "refresh_reuse"
	reasonBanned   = "banned"
)

// RefreshInput is the body of POST /auth/refresh.
type RefreshInput struct {
	Body struct {
		RefreshToken string `json:"refreshToken" maxLength:"200"`
	}
}

// Refresh exchanges a refresh token for its successor and a new access token. The token before the current one gets
// the same successor for a minute; after that it was stolen, or kept by a thief's victim, and the session ends.
// Codes: INVALID_TOKEN, USER_BANNED, USER_DEACTIVATED.
func (s *Service) Refresh(ctx context.Context, by api.Caller, in *RefreshInput) (SignedIn, error) {
	session, generation, ok := s.parseRefresh(in.Body.RefreshToken)
	if !ok {
		return SignedIn{}, api.E("INVALID_TOKEN")
	}
	var g grant
	var reused bool
	err := s.db.Write(ctx, "account.refresh", func(tx *storage.Tx) error {
		g, reused = grant{session: session}, false
		var userID string
		var rotatedAt, expiresAt, ofSession int64
		var revoked bool
		err := tx.QueryRow(`SELECT s.user_id, s.generation, s.rotated_at, s.expires_at, s.credential, s.revoked_at IS NOT NULL, u.credential
			FROM session s JOIN user u ON u.id = s.user_id WHERE s.id = ?`, session).
			Scan(&userID, &g.generation, &rotatedAt, &expiresAt, &ofSession, &revoked, &g.credential)
		if errors.Is(err, sql.ErrNoRows) {
			return api.E("INVALID_TOKEN")
		}
		if err != nil {
			return fmt.Errorf("read session: %w", err)
		}
		by := by
		by.UserID, by.SessionID = userID, session
		if err := MayAct(tx, by, tx.Millis()); api.HasCode(err, "UNAUTHORIZED") {
			return api.E("INVALID_TOKEN")
		} else if err != nil {
			return err
		}
		if revoked || expiresAt <= tx.Millis() || ofSession != g.credential {
			return api.E("INVALID_TOKEN")
		}
		switch {
		case generation == g.generation:
			g.generation++
			if err := s.rotate(tx, by, g); err != nil {
				return err
			}
		case generation == g.generation-1 && tx.Millis()-rotatedAt < replyGrace.Milliseconds():
		default:
			reused = true
			if _, err := s.Revoke(tx, userID, Which{Only: session}, reasonReuse); err != nil {
				return err
			}
			return audit.Record(tx, by, "refresh_reuse", audit.Target{Kind: "session", ID: session}, nil, nil)
		}
		g.self, err = readSelf(tx, userID)
		return err
	})
	if err != nil {
		return SignedIn{}, err
	}
	if reused {
		return SignedIn{}, api.E("INVALID_TOKEN")
	}
	return s.signedIn(g)
}

func (s *Service) rotate(tx *storage.Tx, by api.Caller, g grant) error {
	_, err := tx.Exec("UPDATE session SET generation = ?, rotated_at = ?, last_active_at = ?, expires_at = ?, ip = ?, user_agent = ? WHERE id = ?",
		g.generation, tx.Millis(), tx.Millis(), tx.Now.Add(s.config.Get().RefreshTokenTTL).UnixMilli(), by.IP, by.UserAgent, g.session)
	if err != nil {
		return fmt.Errorf("rotate session: %w", err)
	}
	_, err = tx.Exec("UPDATE device SET last_active_at = ? WHERE user_id = ? AND device_id = (SELECT device_id FROM session WHERE id = ?)", tx.Millis(), by.UserID, g.session)
	if err != nil {
		return fmt.Errorf("note device: %w", err)
	}
	tx.OnCommit(func() { s.sessions.forget(g.session) }) // it lives longer now
	return nil
}

// Logout ends the caller's session.
func (s *Service) Logout(ctx context.Context, by api.Caller, _ *struct{}) (Outcome, error) {
	_, err := s.end(ctx, by, "logout", Which{Only: by.SessionID}, reasonLogout)
	return Outcome{true, "Logged out."}, err
}

// LoggedOut is the answer of POST /auth/logout-all.
type LoggedOut struct {
	Outcome
	DevicesLoggedOut int `json:"devicesLoggedOut"`
}

// LogoutAll ends all sessions of the caller.
func (s *Service) LogoutAll(ctx context.Context, by api.Caller, _ *struct{}) (LoggedOut, error) {
	n, err := s.end(ctx, by, "logout_all", Which{}, reasonLogout)
	return LoggedOut{Outcome{true, "Logged out everywhere."}, n}, err
}

// EndSessionInput names a session.
type EndSessionInput struct {
	SessionID string `path:"sessionId" maxLength:"64"`
}

// EndSession ends one of the caller's sessions. Code: SESSION_NOT_FOUND.
func (s *Service) EndSession(ctx context.Context, by api.Caller, in *EndSessionInput) (Outcome, error) {
	n, err := s.end(ctx, by, "session_revoke", Which{Only: in.SessionID}, reasonRevoked)
	if err == nil && n == 0 {
		err = api.E("SESSION_NOT_FOUND")
	}
	return Outcome{true, "Session ended."}, err
}

// EndOtherSessions ends all sessions of the caller but this one.
func (s *Service) EndOtherSessions(ctx context.Context, by api.Caller, _ *struct{}) (Outcome, error) {
	_, err := s.end(ctx, by, "session_revoke", Which{Except: by.SessionID}, reasonRevoked)
	return Outcome{true, "Your other sessions are ended."}, err
}

// end revokes sessions of the caller and says so in the audit log.
func (s *Service) end(ctx context.Context, by api.Caller, action string, which Which, reason string) (n int, err error) {
	err = s.db.Write(ctx, "account.session.end", func(tx *storage.Tx) error {
		n = 0
		if by.SessionID == "" { // a caller on this machine has none
			return api.E("UNAUTHORIZED")
		}
		ended, err := s.Revoke(tx, by.UserID, which, reason)
		if err != nil || len(ended) == 0 {
			return err
		}
		n = len(ended)
		return audit.Record(tx, by, action, audit.Target{Kind: "user", ID: by.UserID}, nil, map[string]any{"sessions": ended})
	})
	return n, err
}

// SessionInfo is one entry of GET /auth/sessions, with both spellings of the clients.
type SessionInfo struct {
	ID           string `json:"id"`
	SessionID    string `json:"sessionId"`
	DeviceInfo   string `json:"deviceInfo"`
	DeviceName   string `json:"deviceName"`
	DeviceType   string `json:"deviceType"`
	IPAddress    string `json:"ipAddress"`
	CreatedAt    string `json:"createdAt"`
	LastActiveAt string `json:"lastActiveAt"`
	LastActivity string `json:"lastActivity"`
	IsCurrent    bool   `json:"isCurrent"`
	Current      bool   `json:"current"`
}

// Sessions lists where the caller is signed in, latest first.
func (s *Service) Sessions(ctx context.Context, by api.Caller, _ *struct{}) ([]SessionInfo, error) {
	list := []SessionInfo{}
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(`SELECT id, user_agent, device_name, device_type, ip, created_at, last_active_at FROM session
			WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? ORDER BY last_active_at DESC, id DESC LIMIT 200`,
			by.UserID, s.db.Now().UnixMilli())
		if err != nil {
			return fmt.Errorf("list sessions: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var i SessionInfo
			var created, active int64
			if err := rows.Scan(&i.ID, &i.DeviceInfo, &i.DeviceName, &i.DeviceType, &i.IPAddress, &created, &active); err != nil {
				return fmt.Errorf("list sessions: %w", err)
			}
			i.SessionID, i.CreatedAt, i.LastActiveAt = i.ID, api.Millis(created), api.Millis(active)
			i.LastActivity, i.IsCurrent = i.LastActiveAt, i.ID == by.SessionID
			i.Current = i.IsCurrent
			list = append(list, i)
		}
		return rows.Err()
	})
	return list, err
}

// Which names sessions of one person: all of them, or Only one, or all Except one, or those on a Device.
type Which struct{ Only, Except, Device string }

// kindRevoked tells whoever holds the connections of a session that it is over. Its subject is the session.
const kindRevoked = "auth:revoked"

// Revoked is the value of auth:revoked.
type Revoked struct {
	SessionID string `json:"sessionId"`
	Reason    string `json:"reason"`
}

// Revoke ends live sessions of a person in the transaction of tx and returns which. Their access tokens die with the
// commit, their sockets by the event auth:revoked, and nothing is pushed for them any more.
func (s *Service) Revoke(tx *storage.Tx, userID string, which Which, reason string) ([]string, error) {
	rows, err := tx.Query(`SELECT id FROM session
		WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? AND (? = '' OR id = ?) AND id <> ? AND (? = '' OR device_id = ?)`,
		userID, tx.Millis(), which.Only, which.Only, which.Except, which.Device, which.Device)
	if err != nil {
		return nil, fmt.Errorf("revoke sessions: %w", err)
	}
	ids, err := storage.ScanIDs(rows)
	if err != nil {
		return nil, fmt.Errorf("revoke sessions: %w", err)
	}
	_, err = tx.Exec(`UPDATE session SET revoked_at = ?, revoked_why = ?
		WHERE user_id = ? AND revoked_at IS NULL AND expires_at > ? AND (? = '' OR id = ?) AND id <> ? AND (? = '' OR device_id = ?)`,
		tx.Millis(), reason, userID, tx.Millis(), which.Only, which.Only, which.Except, which.Device, which.Device)
	if err != nil {
		return nil, fmt.Errorf("revoke sessions: %w", err)
	}
	if err := dropTokens(tx, ids); err != nil {
		return nil, err
	}
	for _, id := range ids {
		e := event.Event{Kind: kindRevoked, Scope: event.ScopeSession, ScopeID: id, SubjectID: id, ActorID: userID, Data: reason}
		if _, err := s.events.Emit(tx, e, Revoked{id, reason}); err != nil {
			return nil, err
		}
	}
	tx.OnCommit(func() { s.sessions.forget(ids...) })
	return ids, nil
}

func renderRevoked(_ storage.Querier, events []event.Event) ([]any, error) {
	values := make([]any, len(events))
	for i, e := range events {
		values[i] = Revoked{e.SubjectID, e.Data}
	}
	return values, nil
}

// sessionsKept is how long a session that is over stays for the record.
const sessionsKept = 30 * 24 * time.Hour

// Sweep removes sessions that ended long ago, and push tokens of sessions that are over, in short batches. A periodic
// task runs it.
func (s *Service) Sweep(ctx context.Context) error {
	for {
		var gone int64
		err := s.db.Write(ctx, "account.session.sweep", func(tx *storage.Tx) error {
			before := tx.Now.Add(-sessionsKept).UnixMilli()
			result, err := tx.Exec("DELETE FROM session WHERE id IN (SELECT id FROM session WHERE expires_at < ? ORDER BY expires_at LIMIT 500)", before)
			if err != nil {
				return fmt.Errorf("sweep sessions: %w", err)
			}
			sessions, err := result.RowsAffected()
			if err != nil {
				return err
			}
			result, err = tx.Exec(`DELETE FROM push_token WHERE token IN (
				SELECT p.token FROM push_token p LEFT JOIN session s ON s.id = p.session_id WHERE s.id IS NULL OR s.expires_at <= ? LIMIT 500)`, tx.Millis())
			if err != nil {
				return fmt.Errorf("sweep push tokens: %w", err)
			}
			tokens, err := result.RowsAffected()
			gone = sessions + tokens
			return err
		})
		if err != nil || gone == 0 {
			return err
		}
	}
}
