package account

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// The presence of a person.
const (
	statusOnline  = "online"
	statusOffline = "offline"
	// statusHidden is stored for somebody who chose to appear offline. What is stored from the start is statusOffline: they
	// have chosen nothing, and are online when they are.
	statusHidden = "hidden"
)

// chosen is what a stored status means: online, away, busy, or offline for those who appear so.
func chosen(stored string) string {
	switch stored {
	case statusOffline:
		return statusOnline
	case statusHidden:
		return statusOffline
	}
	return stored
}

// present is what to show of a stored status: offline without a socket.
func present(stored string, online bool) string {
	if !online {
		return statusOffline
	}
	return chosen(stored)
}

func (s *Service) statusRoutes() []api.Row {
	return []api.Row{
		api.Op("PUT /users/me/status", "status:set", api.RoleUser, api.TierWrite, s.SetStatus,
			api.Doc("Choose what those see who may see my presence, while I am here: online, away or busy; offline to appear so.")),
	}
}

// StatusInput is what to be shown as.
type StatusInput struct {
	Body struct {
		Status string `json:"status" enum:"online,offline,away,busy"`
	}
}

// SetStatus chooses what others are shown while the caller is here. Who chooses offline appears to have gone in this
// moment, until they choose something else; they still see the others and are told everything. Code: VALIDATION.
func (s *Service) SetStatus(ctx context.Context, by api.Caller, in *StatusInput) (Self, error) {
	stored := in.Body.Status
	switch stored {
	case statusOffline:
		stored = statusHidden
	case statusOnline, "away", "busy":
	default: // JSON finds a field in any case, the schema does not
		return Self{}, api.Invalid("status", "expected online, offline, away or busy")
	}
	var self Self
	err := s.db.Write(ctx, "account.status", func(tx *storage.Tx) (err error) {
		if err := MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if self, err = readSelf(tx, by.UserID); err != nil || self.Status == in.Body.Status {
			return err
		}
		_, err = tx.Exec("UPDATE user SET last_seen_at = CASE WHEN ?1 = 'hidden' THEN ?2 ELSE last_seen_at END, status = ?1, updated_at = ?2 WHERE id = ?3",
			stored, tx.Millis(), by.UserID)
		if err != nil {
			return fmt.Errorf("set status: %w", err)
		}
		if self, err = readSelf(tx, by.UserID); err != nil {
			return err
		}
		if _, err := s.events.Emit(tx, event.Event{Kind: kindUpdated, Scope: event.ScopeUser, ScopeID: self.ID, SubjectID: self.ID, ActorID: by.UserID}, self); err != nil {
			return err
		}
		return s.privacyChanged(tx, by.UserID)
	})
	return self, err
}
