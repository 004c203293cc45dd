package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// The limits of push tokens.
const (
	tokenLength = 4096 // bytes; a subscription of a browser is the longest
	tokensMax   = 20   // of one person; the one registered longest ago gives way
)

func (s *Service) pushRoutes() []api.Row {
	const legacy = "The same for clients that send {fcmToken} here."
	token := api.Alias("fcmToken", "token")
	return []api.Row{
		api.Op("PUT /users/me/fcm-token", "", api.RoleUser, api.TierWrite, s.PushToken, token,
			api.Doc("Register where to push for me on this device, or with another action than add take it back.")),
		api.Op("POST /users/fcm-token", "", api.RoleUser, api.TierWrite, s.AddPushToken, token, api.Doc(legacy)),
		api.Op("DELETE /users/fcm-token", "", api.RoleUser, api.TierWrite, s.RemovePushToken, token, api.Doc(legacy)),
	}
}

// PushTokenInput is a token that a push service gave an app. The platform is guessed from the token when it is not sent.
type PushTokenInput struct {
	Body struct {
		Token    string  `json:"token" maxLength:"4096"`
		Action   *string `json:"action,omitempty" maxLength:"20" doc:"add, the default; everything else removes"`
		Platform *string `json:"platform,omitempty" maxLength:"20"`
	}
}

// PushToken registers a push token, or removes it. A token belongs to one installation of an app, and so to whoever
// registers it last; it lasts as long as the session that registered it. Code: VALIDATION.
func (s *Service) PushToken(ctx context.Context, by api.Caller, in *PushTokenInput) (Outcome, error) {
	if in.Body.Action != nil && *in.Body.Action != "add" {
		return s.RemovePushToken(ctx, by, in)
	}
	return s.AddPushToken(ctx, by, in)
}

// AddPushToken is PushToken with the action add.
func (s *Service) AddPushToken(ctx context.Context, by api.Caller, in *PushTokenInput) (Outcome, error) {
	var wrong problems
	token := wrong.line("token", in.Body.Token, tokenLength)
	if err := wrong.err(); err != nil {
		return Outcome{}, err
	}
	err := s.db.Write(ctx, "account.push.add", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		var device string
		err := tx.QueryRow("SELECT device_id FROM session WHERE id = ? AND user_id = ?", by.SessionID, by.UserID).Scan(&device)
		if errors.Is(err, sql.ErrNoRows) { // a caller on this machine has no session
			return api.E("UNAUTHORIZED")
		}
		if err != nil {
			return fmt.Errorf("find device: %w", err)
		}
		return addToken(tx, by, token, device, text(in.Body.Platform))
	})
	return Outcome{err == nil, "Registered."}, err
}

// RemovePushToken takes a push token of the caller back; it need not be there. Code: VALIDATION.
func (s *Service) RemovePushToken(ctx context.Context, by api.Caller, in *PushTokenInput) (Outcome, error) {
	var wrong problems
	token := wrong.line("token", in.Body.Token, tokenLength)
	if err := wrong.err(); err != nil {
		return Outcome{}, err
	}
	err := s.db.Write(ctx, "account.push.remove", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if _, err := tx.Exec("DELETE FROM push_token WHERE token = ? AND user_id = ?", token, by.UserID); err != nil {
			return fmt.Errorf("remove push token: %w", err)
		}
		return nil
	})
	return Outcome{err == nil, "Removed."}, err
}

// addToken stores a push token of the caller's session; a platform that is not known is guessed.
func addToken(tx *storage.Tx, by api.Caller, token, deviceID, platform string) error {
	switch platform {
	case "fcm", "apns", "expo", "web":
	default:
		platform = platformOf(token)
	}
	_, err := tx.Exec(`INSERT INTO push_token (token, user_id, session_id, device_id, platform, created_at, used_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6)
		ON CONFLICT (token) DO UPDATE SET user_id = excluded.user_id, session_id = excluded.session_id, device_id = excluded.device_id,
			platform = excluded.platform, used_at = excluded.used_at`, token, by.UserID, by.SessionID, deviceID, platform, tx.Millis())
	if err != nil {
		return fmt.Errorf("add push token: %w", err)
	}
	_, err = tx.Exec(`DELETE FROM push_token WHERE token IN (
		SELECT token FROM push_token WHERE user_id = ? ORDER BY used_at DESC, token LIMIT 1000 OFFSET ?)`, by.UserID, tokensMax)
	if err != nil {
		return fmt.Errorf("remove old push tokens: %w", err)
	}
	return nil
}

// platformOf guesses by its form which push service a token is of: Expo marks its own, a browser's subscription is JSON
// or an address, an Apple token is hexadecimal; what is left is Firebase's.
func platformOf(token string) string {
	isHex := func(r rune) bool { return strings.ContainsRune("0123456789abcdefABCDEF", r) }
	switch {
	case strings.HasPrefix(token, "ExponentPushToken") || strings.HasPrefix(token, "ExpoPushToken"):
		return "expo"
	case strings.HasPrefix(token, "{") || strings.HasPrefix(token, "https://"):
		return "web"
	case len(token) >= 64 && len(token) <= 200 && strings.TrimLeftFunc(token, isHex) == "":
		return "apns"
	}
	return "fcm"
}

// dropTokens removes the push tokens that sessions registered.
func dropTokens(tx *storage.Tx, sessions []string) error {
	for _, chunk := range storage.Chunks(sessions) {
		marks, args := storage.In(chunk)
		if _, err := tx.Exec("DELETE FROM push_token WHERE session_id IN ("+marks+")", args...); err != nil {
			return fmt.Errorf("remove push tokens: %w", err)
		}
	}
	return nil
}
