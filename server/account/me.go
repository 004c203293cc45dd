package account

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Self is a person as they see themselves.
type Self struct {
	MongoID       string         `json:"_id"`
	ID            string         `json:"id"`
	PhoneNumber   *string        `json:"phoneNumber"`
	Email         *string        `json:"email"`
	Username      string         `json:"username"`
	DisplayName   string         `json:"displayName"`
	Avatar        *string        `json:"avatar"` // its address; picture is its path
	Bio           *string        `json:"bio"`
	Status        string         `json:"status"` // what they chose to be shown as while they are here
	LastSeen      *string        `json:"lastSeen"`
	PublicKey     *string        `json:"publicKey"`
	IsActive      bool           `json:"isActive"`
	IsVerified    bool           `json:"isVerified"`
	Role          string         `json:"role"`
	Permissions   []string       `json:"permissions" nullable:"false"` // empty until custom roles exist
	IsBanned      bool           `json:"isBanned"`
	LinkedDevices []LinkedDevice `json:"linkedDevices" nullable:"false"`
	CreatedAt     string         `json:"createdAt"`
	UpdatedAt     string         `json:"updatedAt"`

	picture *string
}

// Me returns the caller's account.
func (s *Service) Me(ctx context.Context, by api.Caller, _ *struct{}) (self Self, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		self, err = readSelf(v, by.UserID)
		if errors.Is(err, sql.ErrNoRows) {
			return api.E("UNAUTHORIZED")
		}
		return err
	})
	return self, err
}

// UpdateMeInput is the body of PUT and PATCH /users/me. Fields that are not sent stay; null clears what may be empty
// and leaves the others. Whatever else is sent is ignored.
type UpdateMeInput struct {
	Body struct {
		DisplayName Change `json:"displayName" required:"false" maxLength:"200"`
		Username    Change `json:"username" required:"false" maxLength:"60"`
		Email       Change `json:"email" required:"false" maxLength:"254"`
		Bio         Change `json:"bio" required:"false" maxLength:"500"`
		Avatar      Change `json:"avatar" required:"false" maxLength:"2000"`
		PublicKey   Change `json:"publicKey" required:"false" maxLength:"4096"`
	}
}

// Change is a text that may be absent, null, or given.
type Change struct {
	Sent bool
	Text string // "" for null
}

// UnmarshalJSON is called only when the field is there.
func (c *Change) UnmarshalJSON(raw []byte) error {
	var value *string
	if err := json.Unmarshal(raw, &value); err != nil {
		return err
	}
	c.Sent, c.Text = true, strings.TrimSpace(text(value))
	return nil
}

// Schema describes the field to the validation and to the reference.
func (Change) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Nullable: true}
}

// UpdateMe changes the caller's profile. Codes: VALIDATION, USERNAME_TAKEN, EMAIL_TAKEN.
func (s *Service) UpdateMe(ctx context.Context, by api.Caller, in *UpdateMeInput) (Self, error) {
	b := in.Body
	var wrong problems
	if b.DisplayName.given() {
		b.DisplayName.Text = wrong.displayName(b.DisplayName.Text)
	}
	if b.Username.given() {
		b.Username.Text = wrong.username(b.Username.Text)
	}
	b.Email.Text = wrong.email(b.Email.Text)
	if utf8.RuneCountInString(b.Bio.Text) > 500 {
		wrong.add("bio", "must be at most 500 characters")
	}
	if err := wrong.err(); err != nil {
		return Self{}, err
	}
	var self Self
	err := s.db.Write(ctx, "account.update", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		old, err := readSelf(tx, by.UserID)
		if err != nil {
			return err
		}
		self = old
		if b.DisplayName.given() {
			self.DisplayName = b.DisplayName.Text
		}
		if b.Username.given() {
			self.Username = b.Username.Text
		}
		b.Email.apply(&self.Email)
		b.Bio.apply(&self.Bio)
		if b.Avatar.Sent {
			if self.picture, err = s.claim(tx, by, b.Avatar.Text, PictureScope(self.ID), old.picture); err != nil {
				return err
			}
			self.Avatar = picture(tx, self.ID, self.picture)
		}
		b.PublicKey.apply(&self.PublicKey)
		if err := free(tx, self.ID, self.Username, "", text(self.Email)); err != nil {
			return err
		}
		self.UpdatedAt = api.Time(tx.Now)
		if err := saveProfile(tx, &self); err != nil {
			return err
		}
		if err := recordNames(tx, by, &old, &self); err != nil {
			return err
		}
		_, err = s.events.Emit(tx, event.Event{Kind: kindUpdated, Scope: event.ScopeUser, ScopeID: self.ID, SubjectID: self.ID, ActorID: by.UserID}, self)
		return err
	})
	return self, err
}

// given reports whether there is a new text for a field that cannot be empty.
func (c Change) given() bool { return c.Sent && c.Text != "" }

func (c Change) apply(to **string) {
	if !c.Sent {
		return
	}
	*to = nil
	if c.Text != "" {
		value := c.Text
		*to = &value
	}
}

func saveProfile(tx *storage.Tx, p *Self) error {
	_, err := tx.Exec(`UPDATE user SET display_name = ?, username = ?, username_key = ?, search_key = ?, email = ?, bio = ?, avatar = ?, public_key = ?, updated_at = ?
		WHERE id = ?`, p.DisplayName, p.Username, fold(p.Username), searchKey(p.Username, p.DisplayName), p.Email, p.Bio, p.picture, p.PublicKey, tx.Millis(), p.ID)
	if err != nil {
		return fmt.Errorf("update user: %w", err)
	}
	return nil
}

// recordNames notes a change of the names that sign somebody in. The names themselves stay out: the log is for ever.
func recordNames(tx *storage.Tx, by api.Caller, old, self *Self) error {
	target := audit.Target{Kind: "user", ID: self.ID}
	if old.Username != self.Username {
		if err := audit.Record(tx, by, "username_change", target, nil, nil); err != nil {
			return err
		}
	}
	if text(old.Email) != text(self.Email) {
		return audit.Record(tx, by, "email_change", target, nil, nil)
	}
	return nil
}

// kindUpdated tells a person's own devices that their profile changed.
const kindUpdated = "user:updated"

func renderUpdated(q storage.Querier, events []event.Event) ([]any, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.SubjectID
	}
	found, err := readSelves(q, ids)
	if err != nil {
		return nil, err
	}
	values := make([]any, len(events))
	for i, id := range ids {
		if self, ok := found[id]; ok {
			values[i] = self
		}
	}
	return values, nil
}

const selfColumns = `id, phone, email, username, display_name, avatar, bio, status, last_seen_at, public_key, is_active, is_verified, role,
	banned_at IS NOT NULL, created_at, updated_at`

func (p *Self) scan(q storage.Querier, row interface{ Scan(...any) error }) error {
	var seen sql.NullInt64
	var created, updated int64
	err := row.Scan(&p.ID, &p.PhoneNumber, &p.Email, &p.Username, &p.DisplayName, &p.picture, &p.Bio, &p.Status, &seen, &p.PublicKey,
		&p.IsActive, &p.IsVerified, &p.Role, &p.IsBanned, &created, &updated)
	if err != nil {
		return err
	}
	p.MongoID, p.Permissions, p.LinkedDevices, p.Status = p.ID, []string{}, []LinkedDevice{}, chosen(p.Status)
	p.Avatar = picture(q, p.ID, p.picture)
	p.CreatedAt, p.UpdatedAt = api.Millis(created), api.Millis(updated)
	if seen.Valid {
		at := api.Millis(seen.Int64)
		p.LastSeen = &at
	}
	return nil
}

// readSelf returns one account; sql.ErrNoRows when there is none.
func readSelf(q storage.Querier, id string) (p Self, err error) {
	if err := p.scan(q, q.QueryRow("SELECT "+selfColumns+" FROM user WHERE id = ? AND erased_at IS NULL", id)); err != nil {
		return Self{}, fmt.Errorf("read account: %w", err)
	}
	devices, err := devicesOf(q, []string{id})
	p.LinkedDevices = append(p.LinkedDevices, devices[id]...)
	return p, err
}

func readSelves(q storage.Querier, ids []string) (map[string]Self, error) {
	found := make(map[string]Self, len(ids))
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT "+selfColumns+" FROM user WHERE id IN ("+marks+") AND erased_at IS NULL", args...)
		if err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
		for rows.Next() {
			var p Self
			if err := p.scan(q, rows); err != nil {
				rows.Close()
				return nil, fmt.Errorf("read accounts: %w", err)
			}
			found[p.ID] = p
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read accounts: %w", err)
		}
	}
	devices, err := devicesOf(q, ids)
	for id, list := range devices {
		if p, ok := found[id]; ok {
			p.LinkedDevices = append(p.LinkedDevices, list...)
			found[id] = p
		}
	}
	return found, err
}
