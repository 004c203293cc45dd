package chat

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// Receipt says that a member has read a message, and when.
type Receipt struct {
	UserID string `json:"userId"`
	ReadAt string `json:"readAt"`
}

// Reading is the payload of message:read: the member has read everything up to the message.
type Reading struct {
	MessageID      string `json:"messageId"`
	UserID         string `json:"userId"`
	ConversationID string `json:"conversationId"`
	N              int64  `json:"n"`
	ReadAt         string `json:"readAt"`
}

// countsUnread is what makes a message x one that its reader m has to read; its parameter is the time.
const countsUnread = "x.sender_id <> m.user_id AND x.type <> 'system' AND " + there + " AND " + unhidden

// Done is the answer of operations that only confirm.
type Done struct {
	Success bool `json:"success"`
}

// receiptsMax is the largest conversation whose messages list their receipts; in larger ones the events tell.
const receiptsMax = 64

// receipts fills in who has read each message of a page, newest first, in two queries. A read mark (n, at) says that
// everything up to n was read at that time, unless an earlier mark covers it already, or it is from before the reader
// joined. Of people who hide what they read nothing is shown, and to them nothing but their own.
func receipts(q storage.Querier, viewer, conversationID string, page []*Message) error {
	if len(page) == 0 {
		return nil
	}
	newest, oldest := page[0].N, page[len(page)-1].N
	// Of each reader: the marks inside the page, and the first one above it, each with where its stay began to see.
	rows, err := q.Query(`SELECT r.user_id, r.n, r.at, (SELECT max(h.history_from_n) FROM member h
			WHERE h.conversation_id = r.conversation_id AND h.user_id = r.user_id AND h.history_from_n < r.n) FROM member m JOIN read_mark r ON r.conversation_id = m.conversation_id AND r.user_id = m.user_id
			JOIN user u ON u.id = m.user_id
		WHERE m.conversation_id = ?1 AND m.left_seq IS NULL AND r.n >= ?2 AND r.n <=
			coalesce((SELECT min(a.n) FROM read_mark a WHERE a.conversation_id = m.conversation_id AND a.user_id = m.user_id AND a.n >= ?3), ?3)
		AND (SELECT count(*) FROM (SELECT 1 FROM member c WHERE c.conversation_id = ?1 AND c.left_seq IS NULL LIMIT ?4)) < ?4
		AND (m.user_id = ?5 OR u.hides_reads = 0 AND NOT EXISTS (SELECT 1 FROM user w WHERE w.id = ?5 AND w.hides_reads = 1))
		ORDER BY r.user_id, r.n DESC`, conversationID, oldest, newest, receiptsMax+1, viewer)
	if err != nil {
		return fmt.Errorf("read receipts: %w", err)
	}
	defer rows.Close()
	type mark struct {
		user        string
		n, at, from int64
	}
	var marks []mark
	for rows.Next() {
		var m mark
		if err := rows.Scan(&m.user, &m.n, &m.at, &m.from); err != nil {
			return fmt.Errorf("read receipts: %w", err)
		}
		marks = append(marks, m)
	}
	for len(marks) > 0 {
		user, i := marks[0].user, 0
		var at string
		var from int64
		for _, m := range page { // both run downwards: the lowest mark at or above a message is its receipt
			for i < len(marks) && marks[i].user == user && marks[i].n >= m.N {
				at, from = api.Millis(marks[i].at), marks[i].from
				i++
			}
			if at != "" && m.N > from && m.Sender.ID != user {
				m.ReadReceipts = append(m.ReadReceipts, Receipt{user, at})
			}
		}
		for i < len(marks) && marks[i].user == user {
			i++
		}
		marks = marks[i:]
	}
	return rows.Err()
}

// ReadInput says how far the caller has read; without a message, to the end.
type ReadInput struct {
	ConversationID string `path:"conversationId"`
	Body           *struct {
		MessageID *string `json:"messageId,omitempty"`
	}
}

// Read marks a conversation as read up to a message. Reading never goes back. Codes: CONVERSATION_NOT_FOUND,
// MESSAGE_NOT_FOUND.
func (s *Service) Read(ctx context.Context, by api.Caller, in *ReadInput) (Done, error) {
	err := s.db.Write(ctx, "conversation.read", func(tx *storage.Tx) error {
		at, err := memberOf(tx, by, in.ConversationID)
		if err != nil {
			return err
		}
		if in.Body == nil || in.Body.MessageID == nil {
			return s.read(tx, by, in.ConversationID, "", at.lastN, at)
		}
		m, _, err := visible(tx, by, *in.Body.MessageID)
		if err != nil {
			return err
		}
		if m.ConversationID != in.ConversationID {
			return api.E("MESSAGE_NOT_FOUND")
		}
		return s.read(tx, by, m.ConversationID, m.ID, m.N, at)
	})
	return Done{err == nil}, err
}

// ReadMessage marks everything up to a message as read. Codes: MESSAGE_NOT_FOUND.
func (s *Service) ReadMessage(ctx context.Context, by api.Caller, in *MessageInput) (Done, error) {
	err := s.db.Write(ctx, "message.read", func(tx *storage.Tx) error {
		m, at, err := visible(tx, by, in.MessageID)
		if err != nil {
			return err
		}
		return s.read(tx, by, m.ConversationID, m.ID, m.N, at)
	})
	return Done{err == nil}, err
}

// ReadAll marks every conversation of the caller as read.
func (s *Service) ReadAll(ctx context.Context, by api.Caller, _ *struct{}) (Done, error) {
	err := s.db.Write(ctx, "conversation.read-all", func(tx *storage.Tx) error {
		rows, err := tx.Query(`SELECT c.id, c.last_n, m.read_n FROM member m JOIN conversation c ON c.id = m.conversation_id
			WHERE m.user_id = ? AND m.left_seq IS NULL AND m.read_n < c.last_n`, by.UserID)
		if err != nil {
			return fmt.Errorf("find unread: %w", err)
		}
		defer rows.Close()
		type unread struct {
			id    string
			lastN int64
			at    standing
		}
		var list []unread
		for rows.Next() {
			var u unread
			if err := rows.Scan(&u.id, &u.lastN, &u.at.readN); err != nil {
				return err
			}
			list = append(list, u)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		for _, u := range list { // each conversation has its own mark and its own audience
			if err := s.read(tx, by, u.id, "", u.lastN, u.at); err != nil {
				return err
			}
		}
		return nil
	})
	return Done{err == nil}, err
}

func (s *Service) read(tx *storage.Tx, by api.Caller, conversationID, messageID string, n int64, at standing) error {
	if n <= at.readN || n == 0 {
		return nil
	}
	if messageID == "" {
		if err := tx.QueryRow("SELECT coalesce((SELECT id FROM message WHERE conversation_id = ? AND n <= ? ORDER BY n DESC LIMIT 1), '')", conversationID, n).Scan(&messageID); err != nil {
			return fmt.Errorf("find last message: %w", err)
		}
	}
	now := tx.Millis()
	if _, err := tx.Exec("UPDATE member SET read_n = ? WHERE user_id = ? AND conversation_id = ? AND left_seq IS NULL", n, by.UserID, conversationID); err != nil {
		return fmt.Errorf("note reading: %w", err)
	}
	reading := Reading{messageID, by.UserID, conversationID, n, api.Millis(now)}
	if quiet, err := readsQuietly(tx, by, conversationID); err != nil {
		return err
	} else if quiet { // their other devices alone are told, and no mark is left to be shown later
		_, err := s.events.Emit(tx, event.Event{
			Kind: MessageRead, Scope: event.ScopeUser, ScopeID: by.UserID, SubjectID: messageID, ActorID: by.UserID, Data: strconv.FormatInt(n, 10) + " " + conversationID,
		}, reading)
		return err
	}
	if _, err := tx.Exec("INSERT INTO read_mark (conversation_id, user_id, n, at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", conversationID, by.UserID, n, now); err != nil {
		return fmt.Errorf("mark reading: %w", err)
	}
	_, err := s.events.Emit(tx, event.Event{
		Kind: MessageRead, Scope: event.ScopeConversation, ScopeID: conversationID, SubjectID: messageID, ActorID: by.UserID, Data: strconv.FormatInt(n, 10),
	}, reading)
	return err
}

// readsQuietly reports whether nobody is to know what the caller reads: they hide it, or it is a conversation with
// somebody whom one of the two has blocked.
func readsQuietly(q storage.Querier, by api.Caller, conversationID string) (quiet bool, err error) {
	err = q.QueryRow(`SELECT u.hides_reads = 1 OR EXISTS (SELECT 1 FROM conversation c JOIN member o ON o.conversation_id = c.id AND o.user_id <> u.id
			WHERE c.id = ? AND c.type = 'single' AND (EXISTS (SELECT 1 FROM block b WHERE b.user_id = o.user_id AND b.blocked_id = u.id)
				OR EXISTS (SELECT 1 FROM block b WHERE b.user_id = u.id AND b.blocked_id = o.user_id)))
		FROM user u WHERE u.id = ?`, conversationID, by.UserID).Scan(&quiet)
	if err != nil {
		return false, fmt.Errorf("check receipts: %w", err)
	}
	return quiet, nil
}

// renderReadings needs no table: the pointer says everything.
func renderReadings(_ storage.Querier, events []event.Event) ([]any, error) {
	values := make([]any, len(events))
	for i, e := range events {
		number, conversationID, own := strings.Cut(e.Data, " ")
		if !own {
			conversationID = e.ScopeID
		}
		n, _ := strconv.ParseInt(number, 10, 64)
		values[i] = Reading{e.SubjectID, e.ActorID, conversationID, n, api.Millis(e.At)}
	}
	return values, nil
}
