package chat

import (
	"database/sql"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// ConversationState is the payload of conversation:state: how one person keeps a conversation. It goes to all devices
// of that person and to nobody else.
type ConversationState struct {
	ConversationID string  `json:"conversationId"`
	IsMuted        bool    `json:"isMuted"`
	MutedUntil     *string `json:"mutedUntil"` // null when not muted, or without end
	IsPinned       bool    `json:"isPinned"`
	IsArchived     bool    `json:"isArchived"`
	IsHidden       bool    `json:"isHidden"` // from the list, until the next message
	ClearedN       int64   `json:"clearedN"` // messages up to this number are gone for this person
}

// keep changes how the caller keeps a conversation and, if that changed anything, tells their devices. Who may is
// checked before; query is a constant that touches rows only where they differ.
func (s *Service) keep(tx *storage.Tx, by api.Caller, conversationID, query string, args ...any) error {
	result, err := tx.Exec(query, args...)
	if err != nil {
		return fmt.Errorf("change own state: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	found, err := states(tx, []string{by.UserID}, []string{conversationID})
	if err != nil {
		return err
	}
	_, err = s.events.Emit(tx, event.Event{
		Kind: ConversationKept, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: conversationID, ActorID: by.UserID,
	}, found[[2]string{by.UserID, conversationID}])
	return err
}

// renderStates shows late readers how they keep the conversation now; one they have left since is skipped.
func renderStates(q storage.Querier, events []event.Event) ([]any, error) {
	var users, ids []string
	for _, e := range events {
		users, ids = append(users, e.ScopeID), append(ids, e.SubjectID)
	}
	found, err := states(q, distinct(users), distinct(ids))
	if err != nil {
		return nil, err
	}
	return each(events, func(e event.Event) any {
		if state, ok := found[[2]string{e.ScopeID, e.SubjectID}]; ok {
			return state
		}
		return nil
	}), nil
}

// states reads how people keep those of the conversations that they are in, by person and conversation.
func states(q storage.Querier, users, ids []string) (map[[2]string]ConversationState, error) {
	found := map[[2]string]ConversationState{}
	for _, people := range storage.Chunks(users) {
		for _, chunk := range storage.Chunks(ids) {
			marks, args := storage.In(people)
			more, rest := storage.In(chunk)
			rows, err := q.Query(`SELECT m.user_id, m.conversation_id, m.is_muted, m.muted_until, m.is_pinned, m.is_archived, m.hidden_n >= c.last_n, m.clear_n
				FROM member m JOIN conversation c ON c.id = m.conversation_id
				WHERE m.left_seq IS NULL AND m.user_id IN (`+marks+") AND m.conversation_id IN ("+more+")", slices.Concat(args, rest)...)
			if err != nil {
				return nil, fmt.Errorf("read own states: %w", err)
			}
			if err := scanStates(rows, q.Millis(), found); err != nil {
				return nil, fmt.Errorf("read own states: %w", err)
			}
		}
	}
	return found, nil
}

func scanStates(rows *sql.Rows, now int64, into map[[2]string]ConversationState) error {
	defer rows.Close()
	for rows.Next() {
		var c ConversationState
		var user string
		var m muting
		if err := rows.Scan(&user, &c.ConversationID, &m.on, &m.until, &c.IsPinned, &c.IsArchived, &c.IsHidden, &c.ClearedN); err != nil {
			return err
		}
		c.IsMuted, c.MutedUntil = m.at(now)
		into[[2]string{user, c.ConversationID}] = c
	}
	return rows.Err()
}

// muting is the switch as it is stored. One with an end goes off by itself: nothing is written then.
type muting struct {
	on    bool
	until sql.NullInt64
}

// at reports whether the mute holds at a time, and until when if it has an end.
func (m muting) at(now int64) (on bool, until *string) {
	switch {
	case !m.on:
		return false, nil
	case !m.until.Valid:
		return true, nil
	case m.until.Int64 <= now:
		return false, nil
	}
	text := api.Millis(m.until.Int64)
	return true, &text
}
