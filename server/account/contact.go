package account

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Contact is somebody in a person's contact list. Being in it is what the visibility "contacts" means.
type Contact struct {
	Public
	ContactName *string `json:"contactName"` // what the owner of the list calls them
	AddedAt     string  `json:"addedAt"`
}

const (
	contactsMax    = 5000
	contactNameMax = 100
)

func (s *Service) contactRoutes() []api.Row {
	spellings := []api.Option{api.Alias("contactId", "userId"), api.Alias("phone", "phoneNumber"), api.Alias("contactName", "name")}
	return []api.Row{
		api.Op("POST /users/me/contacts", "contact:add", api.RoleUser, api.TierWrite, s.AddContact,
			append(spellings, api.Doc("Put somebody on my contact list, by id, by username or by whole phone number."))...),
		api.Op("GET /users/me/contacts", "contact:list", api.RoleUser, api.TierRead, s.Contacts, api.Doc("My contacts by name; the next page with after, the id of the last one.")),
		api.Op("PUT /users/me/contacts/{userId}", "contact:rename", api.RoleUser, api.TierWrite, s.RenameContact,
			api.Alias("contactName", "name"), api.Doc("Call a contact by another name; null or nothing for their own.")),
		api.Op("DELETE /users/me/contacts/{userId}", "contact:remove", api.RoleUser, api.TierWrite, s.RemoveContact, api.Doc("Take somebody off my contact list.")),
	}
}

// AddContactInput names somebody by one of three, and perhaps what to call them.
type AddContactInput struct {
	Body struct {
		UserID      *string `json:"userId,omitempty" maxLength:"64"`
		PhoneNumber *string `json:"phoneNumber,omitempty" maxLength:"40"`
		Username    *string `json:"username,omitempty" maxLength:"60"`
		Name        *string `json:"name,omitempty"`
	}
}

// AddContact puts somebody on the caller's contact list. They are not told. Adding somebody twice adds them once, and
// changes what they are called if that is sent. Codes: VALIDATION, USER_NOT_FOUND, CONTACTS_FULL.
func (s *Service) AddContact(ctx context.Context, by api.Caller, in *AddContactInput) (Contact, error) {
	name, err := contactName(text(in.Body.Name))
	if err != nil {
		return Contact{}, err
	}
	var c Contact
	err = s.db.Write(ctx, "account.contact.add", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		id, err := in.find(tx, by)
		if err != nil {
			return err
		}
		var count int
		if err := tx.QueryRow("SELECT count(*) FROM contact WHERE user_id = ? AND contact_id <> ?", by.UserID, id).Scan(&count); err != nil {
			return fmt.Errorf("count contacts: %w", err)
		}
		if count >= contactsMax {
			return api.E("CONTACTS_FULL", "max", contactsMax)
		}
		result, err := tx.Exec(`INSERT INTO contact (user_id, contact_id, name, created_at) VALUES (?1, ?2, ?3, ?4)
			ON CONFLICT (user_id, contact_id) DO UPDATE SET name = excluded.name WHERE ?5 AND name <> excluded.name`, by.UserID, id, name, tx.Millis(), in.Body.Name != nil)
		if err != nil {
			return fmt.Errorf("add contact: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n == 0 {
			c, err = contactOf(tx, by.UserID, id)
			return err
		}
		if c, err = s.contactChanged(tx, by, id); err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return c, err
}

// find returns who is meant. By a name or a number nobody is found whom a search would not find: those blocked either
// way, and those who are banned.
func (in *AddContactInput) find(tx *storage.Tx, by api.Caller) (id string, err error) {
	b := &in.Body
	switch {
	case text(b.UserID) != "":
		id = *b.UserID
		if id == by.UserID {
			return "", api.Invalid("userId", "cannot be yourself")
		}
		return id, ValidUser(tx, id)
	case text(b.Username) != "":
		err = tx.QueryRow("SELECT u.id FROM user u WHERE u.username_key = ?3 AND "+findable, by.UserID, tx.Millis(), fold(strings.TrimSpace(*b.Username))).Scan(&id)
	case text(b.PhoneNumber) != "":
		number := strings.TrimSpace(*b.PhoneNumber)
		if !phoneForm.MatchString(number) {
			return "", api.Invalid("phoneNumber", "must be a phone number with its country code, such as +34600111222")
		}
		err = tx.QueryRow("SELECT u.id FROM user u WHERE u.phone = ?3 AND "+findable, by.UserID, tx.Millis(), canonicalPhone(number)).Scan(&id)
	default:
		return "", api.Invalid("userId", "is required")
	}
	if errors.Is(err, sql.ErrNoRows) {
		return "", api.E("USER_NOT_FOUND")
	}
	if err != nil {
		return "", fmt.Errorf("find contact: %w", err)
	}
	return id, nil
}

// findable says in SQL whether u may be found by the caller ?1 at the time ?2.
const findable = `u.id <> ?1 AND u.is_active = 1 AND u.erased_at IS NULL AND (u.banned_at IS NULL OR u.banned_until <= ?2)
	AND NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = u.id AND b.blocked_id = ?1)
	AND NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = ?1 AND b.blocked_id = u.id)`

// contactName trims and checks what somebody is to be called; "" is their own name.
func contactName(name string) (string, error) {
	name = strings.TrimSpace(strings.ToValidUTF8(name, "\uFFFD"))
	if utf8.RuneCountInString(name) > contactNameMax || strings.ContainsFunc(name, unicode.IsControl) {
		return "", api.Invalid("name", fmt.Sprintf("must be at most %d characters", contactNameMax))
	}
	return name, nil
}

// RenameContactInput says what to call somebody.
type RenameContactInput struct {
	UserID string `path:"userId" maxLength:"64"`
	Body   struct {
		Name Change `json:"name" required:"false"`
	}
}

// RenameContact changes what a contact is called. Codes: CONTACT_NOT_FOUND, VALIDATION.
func (s *Service) RenameContact(ctx context.Context, by api.Caller, in *RenameContactInput) (Contact, error) {
	name, err := contactName(in.Body.Name.Text)
	if err != nil {
		return Contact{}, err
	}
	var c Contact
	err = s.db.Write(ctx, "account.contact.rename", func(tx *storage.Tx) (err error) {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if c, err = contactOf(tx, by.UserID, in.UserID); err != nil || !in.Body.Name.Sent || text(c.ContactName) == name {
			return err
		}
		if _, err := tx.Exec("UPDATE contact SET name = ? WHERE user_id = ? AND contact_id = ?", name, by.UserID, in.UserID); err != nil {
			return fmt.Errorf("rename contact: %w", err)
		}
		c, err = s.contactChanged(tx, by, in.UserID)
		return err
	})
	return c, err
}

// RemoveContact takes somebody off the caller's contact list; they need not be on it.
func (s *Service) RemoveContact(ctx context.Context, by api.Caller, in *UserInput) (Outcome, error) {
	err := s.db.Write(ctx, "account.contact.remove", func(tx *storage.Tx) error {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		result, err := tx.Exec("DELETE FROM contact WHERE user_id = ? AND contact_id = ?", by.UserID, in.UserID)
		if err != nil {
			return fmt.Errorf("remove contact: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 {
			return err
		}
		_, err = s.events.Emit(tx, event.Event{Kind: kindContactRemoved, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: in.UserID, ActorID: by.UserID},
			ContactRemoved{in.UserID})
		if err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return Outcome{err == nil, "Removed from your contacts."}, err
}

// ContactsInput asks for a page.
type ContactsInput struct {
	Limit int    `query:"limit" minimum:"1" default:"200" doc:"at most 1000 are given"`
	After string `query:"after" maxLength:"64" doc:"id of a contact: the page begins after it"`
}

// nameOf is what a list of contacts is sorted by, in SQL.
const nameOf = "lower(coalesce(nullif(k.name, ''), u.display_name))"

// Contacts lists the caller's contacts by the names they go by there.
func (s *Service) Contacts(ctx context.Context, by api.Caller, in *ContactsInput) ([]Contact, error) {
	list := []Contact{}
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query("SELECT "+PublicColumnsFor+`, nullif(k.name, ''), k.created_at FROM contact k JOIN user u ON u.id = k.contact_id
			WHERE k.user_id = ?1 AND u.erased_at IS NULL AND (?2 = '' OR (`+nameOf+`, u.id) > (SELECT `+nameOf+`, u.id FROM user u
				LEFT JOIN contact k ON k.user_id = ?1 AND k.contact_id = u.id WHERE u.id = ?2))
			ORDER BY `+nameOf+", u.id LIMIT ?3", by.UserID, in.After, min(in.Limit, 1000))
		if err != nil {
			return fmt.Errorf("list contacts: %w", err)
		}
		return scanContacts(v, rows, func(c Contact) { list = append(list, c) })
	})
	return list, err
}

// The kinds of event about contacts, for the devices of the owner of the list.
const (
	kindContact        = "contact:updated"
	kindContactRemoved = "contact:removed"
)

// ContactRemoved is the value of contact:removed.
type ContactRemoved struct {
	UserID string `json:"userId"`
}

// contactChanged tells the caller's own devices of a contact, and returns it.
func (s *Service) contactChanged(tx *storage.Tx, by api.Caller, id string) (Contact, error) {
	c, err := contactOf(tx, by.UserID, id)
	if err != nil {
		return c, err
	}
	_, err = s.events.Emit(tx, event.Event{Kind: kindContact, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: id, ActorID: by.UserID}, c)
	return c, err
}

// contactOf reads a contact of somebody. Code: CONTACT_NOT_FOUND.
func contactOf(q storage.Querier, owner, id string) (Contact, error) {
	found, err := contactsOf(q, owner, []string{id})
	if err != nil {
		return Contact{}, err
	}
	c, ok := found[id]
	if !ok {
		return c, api.E("CONTACT_NOT_FOUND")
	}
	return c, nil
}

func contactsOf(q storage.Querier, owner string, ids []string) (map[string]Contact, error) {
	found := map[string]Contact{}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT "+PublicColumnsFor+`, nullif(k.name, ''), k.created_at FROM contact k JOIN user u ON u.id = k.contact_id
			WHERE k.user_id = ?1 AND u.erased_at IS NULL AND k.contact_id IN (`+marks+")", append([]any{owner}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("read contacts: %w", err)
		}
		if err := scanContacts(q, rows, func(c Contact) { found[c.ID] = c }); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func scanContacts(q storage.Querier, rows *sql.Rows, fn func(c Contact)) error {
	defer rows.Close()
	for rows.Next() {
		var c Contact
		var added int64
		if err := rows.Scan(append(c.PublicTargets(), &c.ContactName, &added)...); err != nil {
			return fmt.Errorf("read contacts: %w", err)
		}
		c.Show(q)
		c.AddedAt = api.Millis(added)
		fn(c)
	}
	return rows.Err()
}

// renderContacts reads the contacts of a batch as they are now; those removed since are skipped.
func renderContacts(q storage.Querier, events []event.Event) ([]any, error) {
	ids := map[string][]string{} // a batch is of one owner, whose own devices are told
	for _, e := range events {
		ids[e.ScopeID] = append(ids[e.ScopeID], e.SubjectID)
	}
	values := make([]any, len(events))
	for owner, list := range ids {
		found, err := contactsOf(q, owner, list)
		if err != nil {
			return nil, err
		}
		for i, e := range events {
			if c, ok := found[e.SubjectID]; ok && e.ScopeID == owner {
				values[i] = c
			}
		}
	}
	return values, nil
}

func renderContactsRemoved(_ storage.Querier, events []event.Event) ([]any, error) {
	values := make([]any, len(events))
	for i, e := range events {
		values[i] = ContactRemoved{e.SubjectID}
	}
	return values, nil
}
