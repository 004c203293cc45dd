package account

import (
	"context"
	"fmt"
	"net/mail"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/audit"
	"github.com/quckchat/quckchat/storage"
)

// CreateInput is the body of POST /admin/users.
type CreateInput struct {
	Body struct {
		Username    string  `json:"username" maxLength:"30"`
		DisplayName *string `json:"displayName" required:"false" maxLength:"50" doc:"The username when absent"`
		PhoneNumber *string `json:"phoneNumber" required:"false" maxLength:"20"`
		Email       *string `json:"email" required:"false" maxLength:"254"`
		Password    string  `json:"password" maxLength:"200"`
		Role        *string `json:"role" required:"false" enum:"user,moderator,admin,super_admin"`
	}
}

// Create makes an account for somebody, with any role. Codes: VALIDATION, USERNAME_TAKEN, PHONE_TAKEN, EMAIL_TAKEN.
func (s *Service) Create(ctx context.Context, by api.Caller, in *CreateInput) (Self, error) {
	n := newcomer{
		username: in.Body.Username, displayName: text(in.Body.DisplayName), phone: text(in.Body.PhoneNumber),
		email: text(in.Body.Email), role: text(in.Body.Role),
	}
	if n.displayName == "" {
		n.displayName = n.username
	}
	var wrong problems
	n.check(&wrong)
	wrong.registerPassword(in.Body.Password)
	if err := wrong.err(); err != nil {
		return Self{}, err
	}
	hash, err := s.hashPassword(ctx, in.Body.Password)
	if err != nil {
		return Self{}, err
	}
	var self Self
	err = s.db.Write(ctx, "account.create", func(tx *storage.Tx) error {
		if err := mayAdminister(tx, by); err != nil {
			return err
		}
		id, err := n.insert(tx, hash)
		if err != nil {
			return err
		}
		if err := audit.Record(tx, by, "user_create", audit.Target{Kind: "user", ID: id}, nil, map[string]any{"role": n.role}); err != nil {
			return err
		}
		self, err = readSelf(tx, id)
		return err
	})
	return self, err
}

// mayAdminister checks in a transaction that the caller still stands: the row has checked the role, which a caller on
// this machine has without an account.
func mayAdminister(tx *storage.Tx, by api.Caller) error {
	if by.Local != "" {
		return nil
	}
	return MayAct(tx, by, tx.Millis())
}

// newcomer is an account to be.
type newcomer struct {
	username, displayName string
	phone, email          string // "" is none
	role                  string // "" is user
}

// check brings the fields into their stored form and notes what is wrong with them.
func (n *newcomer) check(wrong *problems) {
	n.username = wrong.username(n.username)
	n.displayName = wrong.displayName(n.displayName)
	n.phone = wrong.phone(n.phone)
	n.email = wrong.email(n.email)
	if n.role == "" {
		n.role = api.RoleUser.String()
	}
}

// insert adds the account. A hash of "" is no password. Codes: USERNAME_TAKEN, PHONE_TAKEN, EMAIL_TAKEN.
func (n *newcomer) insert(tx *storage.Tx, hash string) (id string, err error) {
	if err := free(tx, "", n.username, n.phone, n.email); err != nil {
		return "", err
	}
	id = storage.NewID()
	_, err = tx.Exec(`INSERT INTO user (id, username, username_key, display_name, search_key, phone, email, password_hash, password_at, role, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		id, n.username, fold(n.username), n.displayName, searchKey(n.username, n.displayName), optional(n.phone), optional(n.email),
		optional(hash), tx.Millis(), n.role, tx.Millis(), tx.Millis())
	if err != nil {
		return "", fmt.Errorf("insert user: %w", err)
	}
	if n.role == api.RoleSuperAdmin.String() {
		err = revokeSetupLinks(tx) // those that wait were for the first one
	}
	return id, err
}

// free checks that no account but self has one of these; "" is not looked for.
func free(q storage.Querier, self, username, phone, email string) error {
	var name, number, mail bool
	err := q.QueryRow(`SELECT EXISTS (SELECT 1 FROM user WHERE username_key = ? AND id <> ?),
		EXISTS (SELECT 1 FROM user WHERE phone = ? AND id <> ?), EXISTS (SELECT 1 FROM user WHERE email = ? AND id <> ?)`,
		fold(username), self, phone, self, email, self).Scan(&name, &number, &mail)
	switch {
	case err != nil:
		return fmt.Errorf("look for duplicates: %w", err)
	case number:
		return api.E("PHONE_TAKEN")
	case name:
		return api.E("USERNAME_TAKEN")
	case mail:
		return api.E("EMAIL_TAKEN")
	}
	return nil
}

// problems collects what is wrong with an input.
type problems []api.FieldError

func (p *problems) add(field, constraint string) {
	*p = append(*p, api.FieldError{Field: field, Constraints: []string{constraint}})
}

func (p problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return &api.Error{Code: "VALIDATION", Fields: p}
}

var (
	usernameForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{3,30}$`)
	numberForm   = regexp.MustCompile(`^[0-9.-]+$`) // could be taken for a phone number at sign-in
	phoneForm    = regexp.MustCompile(`^\+?[1-9]\d{1,14}$`)
)

func (p *problems) username(name string) string {
	name = strings.TrimSpace(name)
	if !usernameForm.MatchString(name) {
		p.add("username", "must be 3 to 30 letters, digits, or one of _ . -")
	} else if numberForm.MatchString(name) {
		p.add("username", "must contain a letter")
	}
	return name
}

// displayNameMax is the most characters of a display name (contract 2.2).
const displayNameMax = 50

func (p *problems) displayName(name string) string {
	name = strings.TrimSpace(name)
	if n := utf8.RuneCountInString(name); n < 2 || n > displayNameMax || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		p.add("displayName", "must be 2 to 50 characters")
	}
	return name
}

// phone returns the number with its plus, the form it is stored in.
func (p *problems) phone(number string) string {
	number = strings.TrimSpace(number)
	if number == "" {
		return ""
	}
	if !phoneForm.MatchString(number) {
		p.add("phoneNumber", "must be a phone number with its country code, such as +34600111222")
	}
	return canonicalPhone(number)
}

func canonicalPhone(number string) string { return "+" + strings.TrimPrefix(number, "+") }

func (p *problems) email(address string) string {
	address = fold(strings.TrimSpace(address))
	if address == "" {
		return ""
	}
	if a, err := mail.ParseAddress(address); err != nil || a.Address != address || len(address) > 254 {
		p.add("email", "must be an e-mail address")
	}
	return address
}

// registerPassword checks a first password (contract 2.2).
func (p *problems) registerPassword(password string) {
	if n := utf8.RuneCountInString(password); n < 6 || n > 100 {
		p.add("password", "must be 6 to 100 characters")
	}
}

// ValidUser checks that somebody exists and can be written to. Code: USER_NOT_FOUND.
func ValidUser(q storage.Querier, id string) error {
	var exists bool
	err := q.QueryRow("SELECT EXISTS (SELECT 1 FROM user WHERE id = ? AND is_active = 1 AND erased_at IS NULL)", id).Scan(&exists)
	if err != nil {
		return fmt.Errorf("look for user: %w", err)
	}
	if !exists {
		return api.E("USER_NOT_FOUND")
	}
	return nil
}

// fold makes names comparable.
func fold(name string) string { return strings.ToLower(name) }

// UsernameKey is a username as the table user has it in username_key.
func UsernameKey(name string) string { return fold(name) }

// searchKey is what a search for a person looks at.
func searchKey(username, displayName string) string { return fold(username + "\n" + displayName) }

// text is the value of an optional field, "" for none.
func text(p *string) string {
	if p == nil {
		return ""
	}
	return *p
}

// optional is the stored form of a text that may be missing.
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}
