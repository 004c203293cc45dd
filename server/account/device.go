package account

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// LinkedDevice is a device of a person, as they see it themselves (contract 2.3).
type LinkedDevice struct {
	DeviceID   string  `json:"deviceId"`
	DeviceName string  `json:"deviceName"`
	DeviceType string  `json:"deviceType"`
	LastActive string  `json:"lastActive"`
	FCMToken   *string `json:"fcmToken"` // the push token it registered last
	LinkedAt   string  `json:"linkedAt"`
}

// devicesMax is how many devices somebody has linked; the one that was quiet for longest gives way to a new one.
const devicesMax = 50

func (s *Service) deviceRoutes() []api.Row {
	return []api.Row{
		api.Op("POST /users/me/linked-devices", "", api.RoleUser, api.TierWrite, s.LinkDevice, api.Doc("Link a device, or name it anew.")),
		api.Op("GET /users/me/linked-devices", "device:list", api.RoleUser, api.TierRead, s.LinkedDevices, api.Doc("My devices, the liveliest first.")),
		api.Op("DELETE /users/me/linked-devices/{deviceId}", "device:unlink", api.RoleUser, api.TierWrite, s.UnlinkDevice,
			api.Doc("Unlink a device: its sessions end, and nothing is pushed to it any more.")),
		api.Op("PUT /users/me/linked-devices/{deviceId}/active", "", api.RoleUser, api.TierWrite, s.DeviceActive, api.Doc("Note that a device is in use.")),
	}
}

// LinkDeviceInput describes a device by the id that it gave itself.
type LinkDeviceInput struct {
	Body struct {
		DeviceID   string  `json:"deviceId" maxLength:"128"`
		DeviceName string  `json:"deviceName" maxLength:"100"`
		DeviceType *string `json:"deviceType,omitempty" enum:"mobile,web,desktop"`
		FCMToken   *string `json:"fcmToken,omitempty" maxLength:"4096"`
	}
}

// LinkDevice links a device, or changes what is known of it. A session that belongs to no device yet belongs to this
// one from now on. Code: VALIDATION.
func (s *Service) LinkDevice(ctx context.Context, by api.Caller, in *LinkDeviceInput) (Self, error) {
	b := &in.Body
	var wrong problems
	id, name := wrong.line("deviceId", b.DeviceID, 128), wrong.line("deviceName", b.DeviceName, 100)
	kind := "mobile"
	if b.DeviceType != nil {
		kind = *b.DeviceType
	}
	if kind != "mobile" && kind != "web" && kind != "desktop" { // JSON finds a field in any case, the schema does not
		wrong.add("deviceType", "expected mobile, web or desktop")
	}
	token := ""
	if text(b.FCMToken) != "" {
		token = wrong.line("fcmToken", *b.FCMToken, tokenLength)
	}
	if err := wrong.err(); err != nil {
		return Self{}, err
	}
	var self Self
	err := s.db.Write(ctx, "account.device.link", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		_, err := tx.Exec(`INSERT INTO device (user_id, device_id, name, type, linked_at, last_active_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)
			ON CONFLICT (user_id, device_id) DO UPDATE SET name = excluded.name, type = CASE WHEN ?6 THEN excluded.type ELSE type END, last_active_at = excluded.last_active_at`,
			by.UserID, id, name, kind, tx.Millis(), b.DeviceType != nil)
		if err != nil {
			return fmt.Errorf("link device: %w", err)
		}
		if err := fewDevices(tx, by.UserID); err != nil {
			return err
		}
		if _, err := tx.Exec("UPDATE session SET device_id = ? WHERE id = ? AND user_id = ? AND device_id = ''", id, by.SessionID, by.UserID); err != nil {
			return fmt.Errorf("link session: %w", err)
		}
		if token != "" {
			if err := addToken(tx, by, token, id, ""); err != nil {
				return err
			}
		}
		self, err = s.devicesChanged(tx, by.UserID)
		return err
	})
	return self, err
}

// LinkedDevices lists the caller's devices, the liveliest first.
func (s *Service) LinkedDevices(ctx context.Context, by api.Caller, _ *struct{}) (list []LinkedDevice, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		found, err := devicesOf(v, []string{by.UserID})
		list = append([]LinkedDevice{}, found[by.UserID]...)
		return err
	})
	return list, err
}

// DeviceInput names one of the caller's devices.
type DeviceInput struct {
	DeviceID string `path:"deviceId" maxLength:"400"`
}

// DeviceActive notes that a device is in use. Code: DEVICE_NOT_FOUND.
func (s *Service) DeviceActive(ctx context.Context, by api.Caller, in *DeviceInput) (Outcome, error) {
	err := s.db.Write(ctx, "account.device.active", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		result, err := tx.Exec("UPDATE device SET last_active_at = ? WHERE user_id = ? AND device_id = ?", tx.Millis(), by.UserID, in.DeviceID)
		return affected(result, err, "DEVICE_NOT_FOUND")
	})
	return Outcome{err == nil, "Noted."}, err
}

// UnlinkDevice forgets a device, ends its sessions and pushes nothing to it any more. Code: DEVICE_NOT_FOUND.
func (s *Service) UnlinkDevice(ctx context.Context, by api.Caller, in *DeviceInput) (Outcome, error) {
	err := s.db.Write(ctx, "account.device.unlink", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if in.DeviceID == "" {
			return api.E("DEVICE_NOT_FOUND")
		}
		ended, err := s.Revoke(tx, by.UserID, Which{Device: in.DeviceID}, reasonRevoked)
		if err != nil {
			return err
		}
		result, err := tx.Exec("DELETE FROM device WHERE user_id = ? AND device_id = ?", by.UserID, in.DeviceID)
		if err := affected(result, err, "DEVICE_NOT_FOUND"); err != nil && (len(ended) == 0 || !api.HasCode(err, "DEVICE_NOT_FOUND")) {
			return err
		}
		if _, err := tx.Exec("DELETE FROM push_token WHERE user_id = ? AND device_id = ?", by.UserID, in.DeviceID); err != nil {
			return fmt.Errorf("remove push tokens: %w", err)
		}
		if err := audit.Record(tx, by, "device_unlink", audit.Target{Kind: "user", ID: by.UserID}, nil, map[string]any{"sessions": ended}); err != nil {
			return err
		}
		_, err = s.devicesChanged(tx, by.UserID)
		return err
	})
	return Outcome{err == nil, "Device unlinked."}, err
}

// signedInOn notes the device that somebody signs in on, when it says which it is. One that is not linked yet is, under
// the name that its User-Agent suggests.
func (s *Service) signedInOn(tx *storage.Tx, userID, deviceID, name, kind string) error {
	if wrong := (problems{}); wrong.line("deviceId", deviceID, 128) != deviceID || wrong.err() != nil {
		return nil // a header may hold anything
	}
	result, err := tx.Exec("UPDATE device SET last_active_at = ? WHERE user_id = ? AND device_id = ?", tx.Millis(), userID, deviceID)
	if err != nil {
		return fmt.Errorf("note device: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n > 0 {
		return err
	}
	if _, err := tx.Exec("INSERT INTO device (user_id, device_id, name, type, linked_at, last_active_at) VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
		userID, deviceID, name, kind, tx.Millis()); err != nil {
		return fmt.Errorf("link device: %w", err)
	}
	if err := fewDevices(tx, userID); err != nil {
		return err
	}
	_, err = s.devicesChanged(tx, userID)
	return err
}

// devicesChanged tells a person's devices who they are now, their devices among it.
func (s *Service) devicesChanged(tx *storage.Tx, userID string) (Self, error) {
	self, err := readSelf(tx, userID)
	if err != nil {
		return self, err
	}
	_, err = s.events.Emit(tx, event.Event{Kind: kindUpdated, Scope: event.ScopeUser, ScopeID: userID, SubjectID: userID, ActorID: userID}, self)
	return self, err
}

// fewDevices forgets the devices that were quiet for longest, when there are too many.
func fewDevices(tx *storage.Tx, userID string) error {
	_, err := tx.Exec(`DELETE FROM device WHERE user_id = ?1 AND device_id IN (
		SELECT device_id FROM device WHERE user_id = ?1 ORDER BY last_active_at DESC, linked_at DESC, device_id LIMIT 1000 OFFSET ?2)`, userID, devicesMax)
	if err != nil {
		return fmt.Errorf("forget devices: %w", err)
	}
	return nil
}

// devicesOf reads the devices of people, of each the liveliest first.
func devicesOf(q storage.Querier, userIDs []string) (map[string][]LinkedDevice, error) {
	found := map[string][]LinkedDevice{}
	for _, chunk := range storage.Chunks(userIDs) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT d.user_id, d.device_id, d.name, d.type, d.last_active_at, d.linked_at,
			(SELECT p.token FROM push_token p WHERE p.user_id = d.user_id AND p.device_id = d.device_id ORDER BY p.used_at DESC, p.token LIMIT 1)
			FROM device d WHERE d.user_id IN (`+marks+") ORDER BY d.user_id, d.last_active_at DESC, d.device_id", args...)
		if err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
		if err := scanDevices(rows, found); err != nil {
			return nil, fmt.Errorf("read devices: %w", err)
		}
	}
	return found, nil
}

func scanDevices(rows *sql.Rows, into map[string][]LinkedDevice) error {
	defer rows.Close()
	for rows.Next() {
		var d LinkedDevice
		var userID string
		var active, linked int64
		if err := rows.Scan(&userID, &d.DeviceID, &d.DeviceName, &d.DeviceType, &active, &linked, &d.FCMToken); err != nil {
			return err
		}
		d.LastActive, d.LinkedAt = api.Millis(active), api.Millis(linked)
		into[userID] = append(into[userID], d)
	}
	return rows.Err()
}

// line trims and checks a text without line breaks that must not be empty.
func (p *problems) line(field, value string, most int) string {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > most || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7F || r == '\uFFFD' }) {
		p.add(field, fmt.Sprintf("must be 1 to %d characters", most))
	}
	return value
}
