package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Switches are the settings that only clients go by. They are stored as they were sent; one that is not stored has its
// value of defaultSwitches, so that a new one needs no migration.
type Switches struct {
	DarkMode             *bool `json:"darkMode,omitempty"`
	AutoDownloadMedia    *bool `json:"autoDownloadMedia,omitempty"`
	SaveToGallery        *bool `json:"saveToGallery,omitempty"`
	PushNotifications    *bool `json:"pushNotifications,omitempty"`
	MessageNotifications *bool `json:"messageNotifications,omitempty"`
	GroupNotifications   *bool `json:"groupNotifications,omitempty"`
	CallNotifications    *bool `json:"callNotifications,omitempty"`
	SoundEnabled         *bool `json:"soundEnabled,omitempty"`
	VibrationEnabled     *bool `json:"vibrationEnabled,omitempty"`
	ShowPreview          *bool `json:"showPreview,omitempty"`
	InAppNotifications   *bool `json:"inAppNotifications,omitempty"`
	NotificationLight    *bool `json:"notificationLight,omitempty"`
	FingerprintLock      *bool `json:"fingerprintLock,omitempty"`
}

const defaultSwitches = `{"darkMode":false,"autoDownloadMedia":true,"saveToGallery":false,"pushNotifications":true,"messageNotifications":true,
	"groupNotifications":true,"callNotifications":true,"soundEnabled":true,"vibrationEnabled":true,"showPreview":true,"inAppNotifications":true,
	"notificationLight":true,"fingerprintLock":false}`

// Settings are what somebody has set (contract 2.3). They exist from the start, all of them defaults, and their id is
// that of the person.
type Settings struct {
	MongoID string `json:"_id"`
	ID      string `json:"id"`
	UserID  string `json:"userId"`
	Switches
	ReadReceipts           bool     `json:"readReceipts"`
	LastSeen               bool     `json:"lastSeen"`
	ProfilePhotoVisibility string   `json:"profilePhotoVisibility" enum:"everyone,contacts,nobody"`
	StatusVisibility       string   `json:"statusVisibility" enum:"everyone,contacts,nobody"`
	TwoFactorAuth          bool     `json:"twoFactorAuth"`
	BlockedUsers           []string `json:"blockedUsers" nullable:"false"`
}

func (s *Service) settingsRoutes() []api.Row {
	return []api.Row{
		api.Op("GET /users/me/settings", "settings:get", api.RoleUser, api.TierRead, s.Settings, api.Doc("My settings.")),
		api.Op("PUT /users/me/settings", "settings:update", api.RoleUser, api.TierWrite, s.UpdateSettings, api.Doc("Change some of my settings.")),
		api.Op("PATCH /users/me/settings", "", api.RoleUser, api.TierWrite, s.UpdateSettings, api.Doc("The same as PUT.")),
	}
}

// Settings returns the caller's settings.
func (s *Service) Settings(ctx context.Context, by api.Caller, _ *struct{}) (out *Settings, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		out, err = settingsOf(v, by.UserID)
		return err
	})
	return out, err
}

// UpdateSettingsInput changes what is sent. Whether a second factor is asked for is not among it: that takes a code.
type UpdateSettingsInput struct {
	Body struct {
		Switches
		ReadReceipts           *bool   `json:"readReceipts,omitempty"`
		LastSeen               *bool   `json:"lastSeen,omitempty"`
		ProfilePhotoVisibility *string `json:"profilePhotoVisibility,omitempty" enum:"everyone,contacts,nobody"`
		StatusVisibility       *string `json:"statusVisibility,omitempty" enum:"everyone,contacts,nobody"`
	}
}

// UpdateSettings changes some of the caller's settings; the others stay. Code: VALIDATION.
func (s *Service) UpdateSettings(ctx context.Context, by api.Caller, in *UpdateSettingsInput) (*Settings, error) {
	b := &in.Body
	for field, value := range map[string]*string{"profilePhotoVisibility": b.ProfilePhotoVisibility, "statusVisibility": b.StatusVisibility} {
		switch text(value) { // JSON finds a field in any case, the schema does not
		case forEveryone, forContacts, forNobody:
		default:
			if value != nil {
				return nil, api.Invalid(field, "expected everyone, contacts or nobody")
			}
		}
	}
	var out *Settings
	err := s.db.Write(ctx, "account.settings", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if err := saveSwitches(tx, by.UserID, &b.Switches); err != nil {
			return err
		}
		_, err := tx.Exec(`UPDATE user SET photo_for = coalesce(?, photo_for), status_for = coalesce(?, status_for),
			hides_seen = coalesce(?, hides_seen), hides_reads = coalesce(?, hides_reads) WHERE id = ?`,
			b.ProfilePhotoVisibility, b.StatusVisibility, not(b.LastSeen), not(b.ReadReceipts), by.UserID)
		if err != nil {
			return fmt.Errorf("save privacy: %w", err)
		}
		if out, err = s.settingsChanged(tx, by); err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return out, err
}

// not is the contrary of a switch, nil for one that is not sent.
func not(on *bool) *bool {
	if on == nil {
		return nil
	}
	off := !*on
	return &off
}

// saveSwitches lays what was sent over what is stored.
func saveSwitches(tx *storage.Tx, userID string, sent *Switches) error {
	var stored Switches
	if err := readSwitches(tx, userID, &stored); err != nil {
		return err
	}
	change, err := json.Marshal(sent)
	if err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	if err := json.Unmarshal(change, &stored); err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	data, err := json.Marshal(stored)
	if err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	_, err = tx.Exec(`INSERT INTO user_setting (user_id, data, updated_at) VALUES (?, ?, ?)
		ON CONFLICT (user_id) DO UPDATE SET data = excluded.data, updated_at = excluded.updated_at`, userID, string(data), tx.Millis())
	if err != nil {
		return fmt.Errorf("save settings: %w", err)
	}
	return nil
}

// readSwitches lays what is stored over into.
func readSwitches(q storage.Querier, userID string, into *Switches) error {
	rows, err := q.Query("SELECT data FROM user_setting WHERE user_id = ?", userID)
	if err != nil {
		return fmt.Errorf("read settings: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			return fmt.Errorf("read settings: %w", err)
		}
	}
	return rows.Err()
}

// kindSettings tells a person's own devices that their settings changed, the people they block among them.
const kindSettings = "user:settings"

// settingsChanged tells the caller's own devices what the settings are now, and returns them.
func (s *Service) settingsChanged(tx *storage.Tx, by api.Caller) (*Settings, error) {
	out, err := settingsOf(tx, by.UserID)
	if err != nil {
		return nil, err
	}
	_, err = s.events.Emit(tx, event.Event{Kind: kindSettings, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: by.UserID, ActorID: by.UserID}, out)
	return out, err
}

// renderSettings reads the settings of each person once: a batch is of one person, whose own devices are told.
func renderSettings(q storage.Querier, events []event.Event) ([]any, error) {
	read := map[string]*Settings{}
	values := make([]any, len(events))
	for i, e := range events {
		if read[e.SubjectID] == nil {
			out, err := settingsOf(q, e.SubjectID)
			if api.HasCode(err, "UNAUTHORIZED") {
				continue
			}
			if err != nil {
				return nil, err
			}
			read[e.SubjectID] = out
		}
		values[i] = read[e.SubjectID]
	}
	return values, nil
}

// settingsOf reads somebody's settings. Code: UNAUTHORIZED when there is no such person.
func settingsOf(q storage.Querier, userID string) (*Settings, error) {
	out := &Settings{MongoID: userID, ID: userID, UserID: userID}
	if err := json.Unmarshal([]byte(defaultSwitches), &out.Switches); err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if err := readSwitches(q, userID, &out.Switches); err != nil {
		return nil, err
	}
	var hidesReads, hidesSeen bool
	err := q.QueryRow("SELECT hides_reads, hides_seen, photo_for, status_for, totp_secret IS NOT NULL FROM user WHERE id = ? AND erased_at IS NULL", userID).
		Scan(&hidesReads, &hidesSeen, &out.ProfilePhotoVisibility, &out.StatusVisibility, &out.TwoFactorAuth)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.E("UNAUTHORIZED")
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	out.ReadReceipts, out.LastSeen = !hidesReads, !hidesSeen
	rows, err := q.Query("SELECT blocked_id FROM block WHERE user_id = ? ORDER BY created_at DESC, blocked_id", userID)
	if err != nil {
		return nil, fmt.Errorf("read blocks: %w", err)
	}
	if out.BlockedUsers, err = storage.ScanIDs(rows); err != nil {
		return nil, fmt.Errorf("read blocks: %w", err)
	}
	if out.BlockedUsers == nil {
		out.BlockedUsers = []string{}
	}
	return out, nil
}
