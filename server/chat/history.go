package chat

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// standing is what a member may see of a conversation.
type standing struct {
	kind  string // single, group
	role  string // member, admin
	floor int64  // nothing up to this number: before they joined, or cleared by themselves
	readN int64
	lastN int64

	viewer string // whose standing this is
}

// admin reports whether the member may run the conversation; both people of a single one may.
func (m standing) admin() bool { return m.kind == "single" || m.role == "admin" }

// memberOf returns the caller's standing, or CONVERSATION_NOT_FOUND for everybody who is not a member now.
func memberOf(q storage.Querier, by api.Caller, conversationID string) (standing, error) {
	m := standing{viewer: by.UserID}
	err := q.QueryRow(`SELECT c.type, m.role, max(m.history_from_n, m.clear_n), m.read_n, c.last_n
		FROM member m JOIN conversation c ON c.id = m.conversation_id
		WHERE m.user_id = ? AND m.conversation_id = ? AND m.left_seq IS NULL AND c.deleted_at IS NULL`, by.UserID, conversationID).
		Scan(&m.kind, &m.role, &m.floor, &m.readN, &m.lastN)
	if errors.Is(err, sql.ErrNoRows) {
		return m, api.E("CONVERSATION_NOT_FOUND")
	}
	if err != nil {
		return m, fmt.Errorf("check membership: %w", err)
	}
	return m, nil
}

// visible returns a message and the caller's standing in its conversation, or MESSAGE_NOT_FOUND when the caller
// cannot see it. A deleted message is visible as its tombstone, one that the caller has hidden is not.
func visible(q storage.Querier, by api.Caller, messageID string) (*Message, standing, error) {
	m, at, err := reached(q, by, messageID)
	if err != nil {
		return nil, at, err
	}
	hidden, err := hiddenFrom(q, by.UserID, []string{messageID})
	if err != nil {
		return nil, at, err
	}
	if hidden[messageID] {
		return nil, at, api.E("MESSAGE_NOT_FOUND")
	}
	return m, at, completeFor(q, by.UserID, []*Message{m}, above(at.floor))
}

// reached is visible, bare, of a message that the caller may have hidden.
func reached(q storage.Querier, by api.Caller, messageID string) (*Message, standing, error) {
	m, err := bare(q, messageID)
	if err != nil {
		return nil, standing{}, err
	}
	at, err := memberOf(q, by, m.ConversationID)
	if api.HasCode(err, "CONVERSATION_NOT_FOUND") || err == nil && m.N <= at.floor {
		return nil, at, api.E("MESSAGE_NOT_FOUND")
	}
	return m, at, err
}

// pageMax is the most messages in a page.
const pageMax = 100

// HistoryInput asks for a page of a conversation, newest first.
type HistoryInput struct {
	ConversationID string `path:"conversationId"`
	Limit          int    `query:"limit" minimum:"1" default:"50" doc:"at most 100 are given"`
	Before         string `query:"before" doc:"id of a message: the page ends before it"`
	After          string `query:"after" doc:"id of a message: the page begins after it"`
	Around         string `query:"around" doc:"id of a message: it is in the middle of the page, as far as there are messages on both sides"`
}

// History is a page of messages, newest first, deleted ones left out: the newest, or those before, after or around a
// message. Codes: CONVERSATION_NOT_FOUND, MESSAGE_NOT_FOUND for a message that is not of this conversation.
func (s *Service) History(ctx context.Context, by api.Caller, in *HistoryInput) (list []*Message, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		at, err := memberOf(v, by, in.ConversationID)
		if err != nil {
			return err
		}
		part := stretch{before: at.lastN + 1, limit: min(in.Limit, pageMax)}
		if in.Around != "" {
			list, err = around(v, in.ConversationID, at, in.Around, part.limit)
			return err
		}
		if in.Before != "" {
			if part.before, err = edge(v, in.ConversationID, in.Before, false); err != nil {
				return err
			}
		}
		if in.After != "" {
			part.upwards = true
			if part.after, err = place(v, in.ConversationID, in.After); err != nil {
				return err
			}
		}
		list, err = history(v, in.ConversationID, at, part)
		return err
	})
	return list, err
}

// around reads the messages around one that the member can see: the way from a hit of a search to its place.
func around(q storage.Querier, conversationID string, at standing, id string, limit int) ([]*Message, error) {
	n, err := place(q, conversationID, id)
	if err == nil && n <= at.floor {
		err = api.E("MESSAGE_NOT_FOUND")
	}
	if err != nil {
		return nil, err
	}
	newer := stretch{after: n, before: at.lastN + 1, limit: limit / 2, upwards: true}
	after, err := history(q, conversationID, at, newer)
	if err != nil {
		return nil, err
	}
	before, err := history(q, conversationID, at, stretch{before: n + 1, limit: limit - len(after)})
	if err != nil {
		return nil, err
	}
	if more := limit - len(before); len(after) == newer.limit && more > newer.limit { // little came before it
		newer.limit = more
		if after, err = history(q, conversationID, at, newer); err != nil {
			return nil, err
		}
	}
	return append(after, before...), nil
}

// stretch is a part of a history: limit messages between two numbers, the bounds left out, from its new end, or from
// its old end when upwards.
type stretch struct {
	after, before int64
	limit, skip   int
	upwards       bool
}

// history reads a part of a conversation as a member sees it, newest first, whole.
func history(q storage.Querier, conversationID string, at standing, part stretch) ([]*Message, error) {
	order := "DESC"
	if part.upwards {
		order = "ASC"
	}
	rows, err := q.Query("SELECT "+messageColumns+` FROM message x WHERE x.conversation_id = ? AND x.n < ? AND x.n > ? AND `+there+`
		AND (NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = ? AND h.conversation_id = ?) -- asked once: most have hidden nothing
			OR NOT EXISTS (SELECT 1 FROM message_hidden h WHERE h.user_id = ? AND h.conversation_id = x.conversation_id AND h.n = x.n))
		ORDER BY x.n `+order+" LIMIT ? OFFSET ?",
		conversationID, part.before, max(part.after, at.floor), q.Millis(), at.viewer, conversationID, at.viewer, part.limit, part.skip)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	list, err := scanMessages(rows, q.Millis())
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	if len(list) == 0 {
		return []*Message{}, nil
	}
	if part.upwards {
		slices.Reverse(list)
	}
	if err := completeFor(q, at.viewer, list, above(at.floor)); err != nil {
		return nil, err
	}
	return list, receipts(q, at.viewer, conversationID, list)
}

// place returns the number of a message in a conversation, or MESSAGE_NOT_FOUND.
func place(q storage.Querier, conversationID, id string) (n int64, err error) {
	err = q.QueryRow("SELECT n FROM message WHERE id = ? AND conversation_id = ?", id, conversationID).Scan(&n)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, api.E("MESSAGE_NOT_FOUND")
	}
	if err != nil {
		return 0, fmt.Errorf("find place in history: %w", err)
	}
	return n, nil
}

// edge returns the number before which a page ends, or after which it begins: that of a message, or of the place in time
// that an id has which is of no message there, because a client may go on from what has just disappeared. Whether there is
// such a message elsewhere makes no difference, or strangers could ask what there is. The conversation is the caller's.
// Code: MESSAGE_NOT_FOUND for what is no id.
func edge(q storage.Querier, conversationID, id string, after bool) (int64, error) {
	n, err := place(q, conversationID, id)
	if !api.HasCode(err, "MESSAGE_NOT_FOUND") || !storage.IsID(id) {
		return n, err
	}
	var below, above int64
	err = q.QueryRow("SELECT last_n + 1 FROM conversation WHERE id = ?", conversationID).Scan(&above)
	for err == nil && above-below > 1 { // ids rise with numbers: some twenty steps in a million
		middle, at := (below+above)/2, ""
		err = q.QueryRow("SELECT n, id FROM message WHERE conversation_id = ? AND n > ? AND n <= ? ORDER BY n DESC LIMIT 1", conversationID, below, middle).Scan(&n, &at)
		switch {
		case errors.Is(err, sql.ErrNoRows): // none between
			below, err = middle, nil
		case err == nil && at < id:
			below = middle
		case err == nil:
			above = n
		}
	}
	if err != nil {
		return 0, fmt.Errorf("find former place in history: %w", err)
	}
	if after {
		return above - 1, nil
	}
	return above, nil
}

// MessageInput names a message.
type MessageInput struct {
	MessageID string `path:"messageId"`
}

// Message returns one message. Codes: MESSAGE_NOT_FOUND.
func (s *Service) Message(ctx context.Context, by api.Caller, in *MessageInput) (m *Message, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if m, _, err = visible(v, by, in.MessageID); err != nil {
			return err
		}
		if err := people(v, by.UserID, m); err != nil {
			return err
		}
		return receipts(v, by.UserID, m.ConversationID, []*Message{m})
	})
	return m, err
}
