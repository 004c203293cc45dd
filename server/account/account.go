// Package account is people: how an account comes into being, how somebody proves to be its owner, where they are
// signed in, and what others see of them.
//
// An access token lives for minutes and hangs on a session row. Every request is checked against that row and its
// person, from memory mostly ([Service.Authenticate]); whatever ends a session or changes a person's standing forgets
// the remembered state in the same commit. A refresh token is not stored: it is a keyed digest of the session and its
// generation, so that the database holds nothing that signs anybody in.
//
// Whoever may register depends on the mode (open, invite, closed) and on invites; the first administrator comes from
// a setup link. Everything about sign-in, credentials and invites is in the audit log, written in the same
// transaction; passwords, codes and tokens never are.
package account

import (
	"log/slog"
	"sync"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Options are what the accounts stand on.
type Options struct {
	DB      *storage.DB
	Events  *event.Log
	Cache   *storage.Cache // counters of wrong passwords; nil where nobody signs in
	Config  *config.Live
	Secrets Secrets
	Log     *slog.Logger
	Online  func(userID string) bool       // nil takes everybody for online
	Privacy func(userID string, p Privacy) // called after the commit of a change; it does not block. Nil where nobody listens
	// Claim makes the picture at an address, of an upload of the caller's, the one that is shown as scope, and lets go of
	// the path was; it returns its path, nil for the address "". Nil where nobody has a picture.
	Claim func(tx *storage.Tx, by api.Caller, address, scope string, was *string) (path *string, err error)
}

// Service holds the operations on accounts. Its methods may be called from any goroutine.
type Service struct {
	db       *storage.DB
	events   *event.Log
	cache    *storage.Cache
	config   *config.Live
	secrets  Secrets
	log      *slog.Logger
	online   func(userID string) bool
	privacy  func(userID string, p Privacy)
	claim    func(tx *storage.Tx, by api.Caller, address, scope string, was *string) (*string, error)
	sessions standings
	cost     cost          // of a new hash
	hashing  chan struct{} // a place per password being hashed: each takes 19 MiB
	counting sync.Mutex    // makes counting a wrong password one step
}

// New makes the service. Register Events with the event log before the first write.
func New(o Options) *Service {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Claim == nil {
		o.Claim = func(_ *storage.Tx, _ api.Caller, address, _ string, _ *string) (*string, error) {
			if address != "" {
				return nil, api.Invalid("avatar", "must be an upload of this server")
			}
			return nil, nil
		}
	}
	return &Service{
		db: o.DB, events: o.Events, cache: o.Cache, config: o.Config, secrets: o.Secrets, log: o.Log, online: o.Online, privacy: o.Privacy, claim: o.Claim,
		sessions: standings{new: map[string]standing{}}, cost: fullCost, hashing: make(chan struct{}, hashesAtOnce),
	}
}

// Routes returns the rows of the table.
func (s *Service) Routes() []api.Row {
	rows := []api.Row{
		api.Op("POST /auth/register", "", api.RolePublic, api.TierRegister, s.Register, api.Doc("Create an account and sign in.")),
		api.Op("POST /auth/login", "", api.RolePublic, api.TierLogin, s.Login, api.OK, api.Doc("Sign in with a password.")),
		api.Op("POST /auth/refresh", "", api.RolePublic, tierRefresh, s.Refresh, api.OK, api.Doc("Exchange a refresh token for new tokens.")),
		api.Op("POST /auth/logout", "", api.RoleUser, api.TierWrite, s.Logout, api.OK, api.Doc("End this session.")),
		api.Op("POST /auth/logout-all", "", api.RoleUser, api.TierWrite, s.LogoutAll, api.OK, api.Doc("End all my sessions.")),
		api.Op("GET /auth/sessions", "", api.RoleUser, api.TierRead, s.Sessions, api.Doc("Where I am signed in.")),
		api.Op("DELETE /auth/sessions/{sessionId}", "", api.RoleUser, api.TierWrite, s.EndSession, api.Doc("End one of my sessions.")),
		api.Op("DELETE /auth/sessions", "", api.RoleUser, api.TierWrite, s.EndOtherSessions, api.Doc("End my other sessions.")),
		api.Op("POST /auth/password/change", "", api.RoleUser, api.TierLogin, s.ChangePassword, api.OK, api.Doc("Change my password and end my other sessions.")),
		api.Op("POST /auth/password/set", "", api.RoleUser, api.TierLogin, s.SetPassword, api.OK, api.Doc("Give my account a password, when it has none.")),
		api.Op("POST /auth/password/strength", "", api.RolePublic, api.TierRead, s.PasswordStrength, api.OK, api.Doc("How good a password is, and what would make it better.")),
		api.Op("POST /auth/token/verify", "", api.RolePublic, tierVerify, s.VerifyToken, api.OK, api.Doc("Whether an access token is good now.")),

		api.Op("GET /users/me", "", api.RoleUser, api.TierRead, s.Me, api.Doc("My own account.")),
		api.Op("PUT /users/me", "", api.RoleUser, api.TierWrite, s.UpdateMe, api.Doc("Change my profile.")),
		api.Op("GET /users/search", "", api.RoleUser, api.TierSearch, s.Search, api.Doc("Find people by name, or by exact phone number or e-mail address.")),
		api.Op("GET /users/{userId}", "", api.RoleUser, api.TierRead, s.User, api.Doc("Somebody's public profile.")),

		api.Op("GET /setup/state", "", api.RolePublic, api.TierRead, s.SetupState, api.Doc("Whether the first administrator is still missing.")),
		api.Op("POST /setup", "", api.RolePublic, api.TierLogin, s.Setup, api.Doc("Create an administrator with the secret of a setup link, and sign in.")),
		api.Op("POST /admin/setup-link", "", api.RoleSuperAdmin, api.TierAdmin, s.SetupLink, api.Doc("Make a setup link; earlier ones stop working.")),
		api.Op("POST /admin/users", "", api.RoleSuperAdmin, api.TierAdmin, s.Create, api.Doc("Create an account for somebody.")),
		api.Op("POST /invites", "", api.RoleSuperAdmin, api.TierAdmin, s.Invite, api.Doc("Make an invite; its code is shown only now.")),
		api.Op("GET /invites", "", api.RoleSuperAdmin, api.TierAdmin, s.Invites, api.Doc("The invites, newest first.")),
		api.Op("DELETE /invites/{inviteId}", "", api.RoleSuperAdmin, api.TierAdmin, s.RevokeInvite, api.Doc("Make an invite invalid.")),
	}
	for _, more := range [][]api.Row{s.settingsRoutes(), s.statusRoutes(), s.blockRoutes(), s.contactRoutes(), s.deviceRoutes(), s.pushRoutes()} {
		rows = append(rows, more...)
	}
	return rows
}

// Events returns the kinds of events that accounts emit.
func (s *Service) Events() []event.Kind {
	return []event.Kind{
		{Name: kindUpdated, Doc: "Your profile changed; to your own devices.", Value: Self{}, Render: renderUpdated},
		{Name: kindSettings, Doc: "Your settings changed, or whom you block; to your own devices.", Value: &Settings{}, Render: renderSettings},
		{Name: kindContact, Doc: "Somebody on your contact list, new or called otherwise; to your own devices.", Value: Contact{}, Render: renderContacts},
		{Name: kindContactRemoved, Doc: "Somebody is no longer on your contact list; to your own devices.", Value: ContactRemoved{}, Render: renderContactsRemoved},
		{Name: kindRevoked, Doc: "Your session has ended; the socket closes with 4401.", Value: Revoked{}, Render: renderRevoked},
	}
}

// Outcome is the answer of an operation that has nothing to show.
type Outcome struct {
	Success bool   `json:"success"`
	Message string `json:"message"`
}
