package chat

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Reaction is somebody's emoji on a message (contract 2.3). A person may have several on one message, each once.
type Reaction struct {
	Emoji     string `json:"emoji"`
	UserID    string `json:"userId"`
	CreatedAt string `json:"createdAt"`
	seq       int64  // of the event that told of it
}

// ReactionChange is the payload of message:reaction:added and :removed.
type ReactionChange struct {
	MessageID      string `json:"messageId"`
	UserID         string `json:"userId"`
	Emoji          string `json:"emoji"`
	ConversationID string `json:"conversationId"`
}

// The kinds of event about reactions.
const (
	ReactionAdded   = "message:reaction:added"
	ReactionRemoved = "message:reaction:removed"
)

// The limits of reactions.
const (
	reactionsOfOne = 20   // emojis of one person on one message
	reactionsKinds = 50   // different emojis on one message
	reactionsMax   = 1000 // of all people on one message: a page of history lists them all
)

func (s *Service) reactionRoutes() []api.Row {
	return []api.Row{
		api.Op("POST /messages/{messageId}/reactions", "message:reaction:add", api.RoleUser, api.TierWrite, s.React, api.Doc("React to a message with an emoji; again changes nothing.")),
		api.Op("DELETE /messages/{messageId}/reactions/{emoji}", "message:reaction:remove", api.RoleUser, api.TierWrite, s.Unreact, api.Doc("Take one's own reaction back.")),
	}
}

func reactionEvents() []event.Kind {
	return []event.Kind{
		{Name: ReactionAdded, Doc: "Somebody reacted to a message; once per person and emoji.", Value: ReactionChange{}, Render: renderReactions},
		{Name: ReactionRemoved, Doc: "They took it back.", Value: ReactionChange{}, Render: renderReactions},
	}
}

// ReactInput is an emoji for a message.
type ReactInput struct {
	MessageID string `path:"messageId"`
	Body      struct {
		Emoji string `json:"emoji" doc:"One emoji, or the :name: of one"`
	}
}

// React adds the caller's emoji to a message. Adding it again changes nothing and tells nobody. Codes: VALIDATION,
// MESSAGE_NOT_FOUND, REACTIONS_FULL, CONVERSATION_LOCKED, BLOCKED.
func (s *Service) React(ctx context.Context, by api.Caller, in *ReactInput) (*Message, error) {
	emoji := in.Body.Emoji
	if !isEmoji(emoji) {
		return nil, api.Invalid("emoji", "expected one emoji, or the :name: of one")
	}
	var m *Message
	err := s.db.Write(ctx, "message.react", func(tx *storage.Tx) (err error) {
		if m, err = reactable(tx, by, in.MessageID); err != nil {
			return err
		}
		own, kinds := 0, map[string]bool{emoji: true}
		for _, r := range m.Reactions {
			if r.UserID == by.UserID && r.Emoji == emoji {
				return nil
			}
			if r.UserID == by.UserID {
				own++
			}
			kinds[r.Emoji] = true
		}
		switch {
		case own >= reactionsOfOne:
			return api.E("REACTIONS_FULL", "max", reactionsOfOne)
		case len(kinds) > reactionsKinds:
			return api.E("REACTIONS_FULL", "max", reactionsKinds)
		case len(m.Reactions) >= reactionsMax:
			return api.E("REACTIONS_FULL", "max", reactionsMax)
		}
		now := tx.Millis()
		seq, err := s.tellReaction(tx, by, m, ReactionAdded, emoji)
		if err != nil {
			return err
		}
		if _, err := tx.Exec("INSERT INTO reaction (message_id, user_id, emoji, seq, created_at) VALUES (?, ?, ?, ?, ?)", m.ID, by.UserID, emoji, seq, now); err != nil {
			return fmt.Errorf("add reaction: %w", err)
		}
		if _, err := tx.Exec("UPDATE message SET reacted = 1 WHERE id = ? AND reacted = 0", m.ID); err != nil {
			return fmt.Errorf("add reaction: %w", err)
		}
		m.Reactions = append(m.Reactions, Reaction{emoji, by.UserID, api.Millis(now), seq})
		return nil
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// UnreactInput names a reaction of the caller's.
type UnreactInput struct {
	MessageID string `path:"messageId"`
	Emoji     string `path:"emoji"`
}

// Unreact takes the caller's emoji from a message. Where it is not, nothing changes and nobody is told. Codes:
// MESSAGE_NOT_FOUND, CONVERSATION_LOCKED, BLOCKED.
func (s *Service) Unreact(ctx context.Context, by api.Caller, in *UnreactInput) (*Message, error) {
	var m *Message
	err := s.db.Write(ctx, "message.unreact", func(tx *storage.Tx) (err error) {
		if m, err = reactable(tx, by, in.MessageID); err != nil {
			return err
		}
		at := slices.IndexFunc(m.Reactions, func(r Reaction) bool { return r.UserID == by.UserID && r.Emoji == in.Emoji })
		if at < 0 {
			return nil
		}
		m.Reactions = slices.Delete(m.Reactions, at, at+1)
		if _, err := tx.Exec("DELETE FROM reaction WHERE message_id = ? AND user_id = ? AND emoji = ?", m.ID, by.UserID, in.Emoji); err != nil {
			return fmt.Errorf("remove reaction: %w", err)
		}
		_, err = s.tellReaction(tx, by, m, ReactionRemoved, in.Emoji)
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// reactable returns a message that the caller sees, and in whose conversation they may speak now.
func reactable(tx *storage.Tx, by api.Caller, messageID string) (*Message, error) {
	m, _, err := visible(tx, by, messageID)
	if err != nil {
		return nil, err
	}
	if m.IsDeleted {
		return nil, api.E("MESSAGE_NOT_FOUND")
	}
	if _, err := sendable(tx, by, m.ConversationID); err != nil {
		return nil, err
	}
	return m, receipts(tx, by.UserID, m.ConversationID, []*Message{m})
}

func (s *Service) tellReaction(tx *storage.Tx, by api.Caller, m *Message, kind, emoji string) (int64, error) {
	late, err := newcomers(tx, m)
	if err != nil {
		return 0, err
	}
	return s.events.Emit(tx, event.Event{
		Kind: kind, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID, ActorID: by.UserID, Data: emoji,
	}, ReactionChange{m.ID, by.UserID, emoji, m.ConversationID}, late...)
}

// renderReactions tells late readers of a reaction that still stands, at the place in the log where it was added last,
// and of every removal from a message that is still there. So whoever was away ends with the right ones, each told
// once: those who had it lose it, those who had not hear of nothing to add.
func renderReactions(q storage.Querier, events []event.Event) ([]any, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.SubjectID
	}
	ids = distinct(ids)
	present := map[string]bool{}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT x.id FROM message x WHERE "+there+" AND x.id IN ("+marks+")", append([]any{q.Millis()}, args...)...)
		if err != nil {
			return nil, fmt.Errorf("find messages reacted to: %w", err)
		}
		found, err := storage.ScanIDs(rows)
		if err != nil {
			return nil, fmt.Errorf("find messages reacted to: %w", err)
		}
		for _, id := range found {
			present[id] = true
		}
	}
	standing := map[int64]bool{}
	err := eachReaction(q, ids, func(_ string, r Reaction) { standing[r.seq] = true })
	if err != nil {
		return nil, err
	}
	return each(events, func(e event.Event) any {
		if !present[e.SubjectID] || e.Kind == ReactionAdded && !standing[e.Seq] {
			return nil
		}
		return ReactionChange{e.SubjectID, e.ActorID, e.Data, e.ScopeID}
	}), nil
}

// addReactions fills in the reactions of messages, in the order they were added. Messages to which nobody ever reacted
// cost no query.
func addReactions(q storage.Querier, list []*Message) error {
	ids, byID := make([]string, 0, len(list)), make(map[string]*Message, len(list))
	for _, m := range list {
		if m.reacted && !m.IsDeleted {
			ids, byID[m.ID] = append(ids, m.ID), m
		}
	}
	return eachReaction(q, ids, func(id string, r Reaction) { byID[id].Reactions = append(byID[id].Reactions, r) })
}

// before returns the message with the reactions that it had at a place in the log and has still: what came later is told
// by events of its own, and two of them would be one too many.
func (m *Message) before(seq int64) *Message {
	if !slices.ContainsFunc(m.Reactions, func(r Reaction) bool { return r.seq >= seq }) {
		return m
	}
	then := *m
	then.Reactions = slices.DeleteFunc(slices.Clone(m.Reactions), func(r Reaction) bool { return r.seq >= seq })
	return &then
}

func eachReaction(q storage.Querier, ids []string, fn func(messageID string, r Reaction)) error {
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT message_id, emoji, user_id, created_at, seq FROM reaction WHERE message_id IN ("+marks+") ORDER BY message_id, seq", args...)
		if err != nil {
			return fmt.Errorf("read reactions: %w", err)
		}
		if err := scanReactions(rows, fn); err != nil {
			return fmt.Errorf("read reactions: %w", err)
		}
	}
	return nil
}

func scanReactions(rows *sql.Rows, fn func(messageID string, r Reaction)) error {
	defer rows.Close()
	for rows.Next() {
		var id string
		var r Reaction
		var created int64
		if err := rows.Scan(&id, &r.Emoji, &r.UserID, &created, &r.seq); err != nil {
			return err
		}
		r.CreatedAt = api.Millis(created)
		fn(id, r)
	}
	return rows.Err()
}
