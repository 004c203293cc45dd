package chat

import (
	"context"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// A conversation may have a timer: what is sent while it is set expires that much later. The timer at the moment of
// sending decides; changing it, editing the message or forwarding it changes nothing for what is there, and what is
// forwarded goes by the timer of where it goes to.
//
// A message is gone for everybody at the moment it expires: every read leaves out what has expired by its clock. A few
// seconds later the sweeper removes the row and all that hangs on it, and tells the members with message:deleted, which
// every client understands. Its number is not given again. A legal hold keeps the row, which nobody is shown: its
// expires_at is made negative, so that it stays expired whatever the clock does.

// timers are the choices, in seconds, with their names.
var timers = map[int64]string{0: "Off", 86400: "24 hours", 604800: "7 days", 2592000: "30 days"}

// Disappearing is the timer of a conversation.
type Disappearing struct {
	Enabled    bool   `json:"enabled"`
	Timer      int64  `json:"timer" doc:"seconds, 0 when off"`
	TimerLabel string `json:"timerLabel" doc:"Off, 24 hours, 7 days, 30 days"`
}

// DisappearInput sets a timer, by timer alone or by enabled and duration.
type DisappearInput struct {
	ConversationID string `path:"conversationId"`
	Body           struct {
		Timer    *int64 `json:"timer,omitempty" doc:"seconds: 0 (off), 86400, 604800 or 2592000"`
		Enabled  *bool  `json:"enabled,omitempty"`
		Duration *int64 `json:"duration,omitempty" doc:"seconds, when enabled"`
	}
}

// seconds is the timer that the input asks for.
func (in *DisappearInput) seconds() (int64, error) {
	b := &in.Body
	field, value := "timer", b.Timer
	if value == nil {
		field, value = "duration", b.Duration
		if b.Enabled != nil && !*b.Enabled {
			return 0, nil
		}
	}
	on := b.Timer == nil && b.Enabled != nil // and true
	if value == nil || timers[*value] == "" || on && *value == 0 {
		return 0, api.Invalid(field, "expected 86400, 604800 or 2592000, or a timer of 0")
	}
	return *value, nil
}

// Disappear sets the timer of a conversation for what is sent from now on. In a group admins may, in a single
// conversation both. Codes: VALIDATION, CONVERSATION_NOT_FOUND, NOT_ADMIN, CONVERSATION_LOCKED, BLOCKED.
func (s *Service) Disappear(ctx context.Context, by api.Caller, in *DisappearInput) (*Conversation, error) {
	seconds, err := in.seconds()
	if err != nil {
		return nil, err
	}
	var c *Conversation
	err = s.db.Write(ctx, "conversation.disappear", func(tx *storage.Tx) error {
		at, err := memberOf(tx, by, in.ConversationID)
		switch {
		case err != nil:
			return err
		case !at.admin():
			return api.E("NOT_ADMIN")
		}
		if _, err := sendable(tx, by, in.ConversationID); err != nil { // who may not write there may not decide this either
			return err
		}
		result, err := tx.Exec(`UPDATE conversation SET disappearing_seconds = ?1, disappearing_at = ?2, disappearing_by = ?3, updated_at = ?2
			WHERE id = ?4 AND disappearing_seconds <> ?1`, seconds, tx.Millis(), by.UserID, in.ConversationID)
		if err != nil {
			return fmt.Errorf("set timer: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil {
			return err
		} else if n > 0 {
			notice, err := s.note(tx, by, in.ConversationID, Notice{Action: "timer", Seconds: &seconds})
			if err != nil {
				return err
			}
			if err := s.updated(tx, by, in.ConversationID); err != nil {
				return err
			}
			if err := s.announce(tx, by, notice); err != nil {
				return err
			}
		}
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

// Disappearing returns the timer of a conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Disappearing(ctx context.Context, by api.Caller, in *ConversationInput) (out Disappearing, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if _, err := memberOf(v, by, in.ConversationID); err != nil {
			return err
		}
		if err := v.QueryRow("SELECT disappearing_seconds FROM conversation WHERE id = ?", in.ConversationID).Scan(&out.Timer); err != nil {
			return fmt.Errorf("read timer: %w", err)
		}
		return nil
	})
	out.Enabled, out.TimerLabel = out.Timer > 0, timers[out.Timer]
	return out, err
}

func (s *Service) disappearingRoutes() []api.Row {
	return []api.Row{
		api.Op("PUT /conversations/{conversationId}/disappearing-messages", "conversation:disappear", api.RoleUser, api.TierWrite, s.Disappear,
			api.Doc("Set after how long what is sent from now on disappears.")),
		api.Op("GET /conversations/{conversationId}/disappearing-messages", "conversation:disappearing", api.RoleUser, api.TierRead, s.Disappearing,
			api.Doc("After how long messages disappear.")),
	}
}

// there is what holds of a message x that is neither deleted nor expired; its parameter is the time.
const there = "x.deleted_at IS NULL AND (x.expires_at IS NULL OR x.expires_at > ?)"

// goneSince is the tombstone of an expired message that is not swept yet, or is held, for its sender who sends it again.
func goneSince(q storage.Querier, id string) (*Message, error) {
	m := &Message{ID: id, IsDeleted: true, IsExpired: true}
	var expired, created, updated int64
	err := q.QueryRow("SELECT conversation_id, n, sender_id, type, client_id, abs(expires_at), created_at, updated_at FROM message WHERE id = ?", id).
		Scan(&m.ConversationID, &m.N, &m.Sender.ID, &m.Type, &m.ClientID, &expired, &created, &updated)
	if err != nil {
		return nil, fmt.Errorf("read expired message: %w", err)
	}
	m.fill()
	m.DeletedAt, m.ExpiresAt, m.CreatedAt, m.UpdatedAt = api.Millis(expired), api.Millis(expired), api.Millis(created), api.Millis(updated)
	return m, people(q, m.Sender.ID, m)
}
