// Package api is what an operation is, and the one table that holds them all.
//
// An operation is one typed function, func(ctx, by Caller, in *In) (Out, error). A [Row] made by [Op] points at it
// from a REST route, from a socket verb, or from both:
//
//	api.Op("PUT /messages/{messageId}", "message:edit", api.RoleUser, api.TierWrite, s.Edit)
//
// There is no handler layer. The input is a struct with path, query and Body fields, validated by the schema that its
// tags describe (huma); a socket payload fills the same struct and passes the same schema. The [Table] mounts the rows
// on a router, answers socket verbs, and is the source of the OpenAPI document, of the reference page, and of the
// test that calls every row as everybody.
//
// Errors are [Error] values: a stable code, from which the status and the sentence follow in one catalogue, in the
// person's language. Whatever else an operation returns becomes "Internal error." and is logged once, here.
package api

import (
	"context"
	"log/slog"
	"net/http"
	"time"
)

// Role is the least standing that an operation asks of its caller. Higher roles include the lower ones.
type Role int

// The roles, in rising order. RolePublic admits callers who are not signed in.
const (
	RolePublic Role = iota
	RoleUser
	RoleModerator
	RoleAdmin
	RoleSuperAdmin
)

var roleNames = map[string]Role{"user": RoleUser, "moderator": RoleModerator, "admin": RoleAdmin, "super_admin": RoleSuperAdmin}

// ParseRole returns the role of a stored name; an unknown name is an ordinary user.
func ParseRole(name string) Role {
	if r, ok := roleNames[name]; ok {
		return r
	}
	return RoleUser
}

// String is the stored name of the role, "public" for RolePublic.
func (r Role) String() string {
	for name, role := range roleNames {
		if role == r {
			return name
		}
	}
	return "public"
}

// Caller is who asks. The zero value is a stranger who is not signed in.
type Caller struct {
	UserID    string
	SessionID string
	Socket    string // the connection, when the call came over one
	Role      Role
	Locale    string // language tag for sentences, such as "es"
	IP        string // the address limits and the audit log go by; from a header only behind a configured proxy
	UserAgent string
	DeviceID  string
	RequestID string
	Host      string // the Host header: the name that the client knows this server by, not to be trusted
	Local     string // the operating-system user, when the call came through the command line or the admin socket
}

// SignedIn reports whether the caller has an account.
func (c Caller) SignedIn() bool { return c.UserID != "" }

// Tier is a rate limit: so many calls in a window, counted per account, or per address for those not signed in.
type Tier struct {
	Name   string
	Limit  int
	Window time.Duration
	ByIP   bool // count by address even when signed in
}

// The tiers of the contract (1.7), with the larger bursts that its section 7 asks for: a client that starts reads many
// lists at once, and a family shares one address.
var (
	TierNone     = Tier{Name: "none"}
	TierRead     = Tier{Name: "read", Limit: 300, Window: time.Minute}
	TierWrite    = Tier{Name: "write", Limit: 60, Window: time.Minute}
	TierSearch   = Tier{Name: "search", Limit: 30, Window: time.Minute}
	TierMessage  = Tier{Name: "message", Limit: 10, Window: time.Second}
	TierTyping   = Tier{Name: "typing", Limit: 5, Window: time.Second}
	TierLogin    = Tier{Name: "login", Limit: 10, Window: 15 * time.Minute, ByIP: true}
	TierRegister = Tier{Name: "register", Limit: 10, Window: time.Hour, ByIP: true}
	TierTicket   = Tier{Name: "ticket", Limit: 60, Window: time.Minute}
	TierUpload   = Tier{Name: "upload", Limit: 300, Window: time.Hour}
	TierAdmin    = Tier{Name: "admin", Limit: 60, Window: time.Minute}
)

// Authenticator turns an access token into a caller.
type Authenticator interface {
	// Authenticate checks token and fills who it belongs to into by, which carries address and device already.
	// Codes: INVALID_TOKEN, TOKEN_EXPIRED, USER_BANNED, USER_DEACTIVATED.
	Authenticate(ctx context.Context, token string, by *Caller) error
}

// Usage is what a Limiter found: how many calls the tier allows, how many are left, and when it starts anew.
type Usage struct {
	Limit, Remaining int
	Reset            time.Duration
}

// Limiter counts calls.
type Limiter interface {
	// Allow counts one call; ok is false when it is one too many.
	Allow(tier Tier, by Caller) (u Usage, ok bool)
}

// Config is what a Table needs from its surroundings.
type Config struct {
	Prefix       string // "/api/v1"
	Version      string
	MaxBody      int64 // bytes of a JSON body
	Authenticate Authenticator
	Limit        Limiter // nil counts nothing
	Log          *slog.Logger
	Describe     func(r *http.Request) Caller // address, device, language of a request, before it is authenticated
}
