package chat

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// A message mentions the members it calls by name or by id (span.go), and, when an admin of a group writes @all, everybody
// who sees it. A row of mention says so, for a person or for "all". Everything else that looks like a mention is plain
// text: strangers, those who have left or came later, oneself, @all of others or where there are but two. Nothing about
// the content changes.
//
// A forward mentions nobody: its words were for others. Editing decides anew. Of somebody whom one blocks no mention counts,
// as long as one does; the others see it all the same, and so does the one who is blocked.

// everybody stands for all members in the place of an id.
const everybody = "all"

// mention stores whom a message calls, and tells it. A message without an @ costs nothing.
func mention(tx *storage.Tx, m *Message, admin bool) error {
	if m.Content == nil || m.original != nil {
		return nil
	}
	var ids, names []string
	all := false
	for _, s := range spans(*m.Content) {
		switch {
		case s.all:
			all = admin
		case s.id != "":
			ids = append(ids, s.id)
		default:
			names = append(names, account.UsernameKey(s.name))
		}
	}
	if !all && len(ids)+len(names) == 0 {
		return nil
	}
	byID, idArgs := storage.In(ids)
	byName, nameArgs := storage.In(names)
	rows, err := tx.Query(fmt.Sprintf(mentionsAdd, byID, byName), slices.Concat([]any{m.ConversationID, m.N, m.ID}, idArgs, nameArgs,
		[]any{m.ConversationID, m.N, m.Sender.ID, everybody, m.ConversationID, m.N, m.ID, all})...)
	if err != nil {
		return fmt.Errorf("store mentions: %w", err)
	}
	called, err := storage.ScanIDs(rows)
	if err != nil {
		return fmt.Errorf("store mentions: %w", err)
	}
	slices.Sort(called)
	for _, id := range called {
		m.mentions(id)
	}
	return nil
}

// mentionAnew stores whom a message calls that says something else from now on.
func mentionAnew(tx *storage.Tx, old *Message, content string, admin bool) error {
	if old.Content != nil && strings.Contains(*old.Content, "@") {
		if _, err := tx.Exec("DELETE FROM mention WHERE message_id = ?", old.ID); err != nil {
			return fmt.Errorf("remove mentions: %w", err)
		}
	}
	changed := *old
	changed.Content = &content
	return mention(tx, &changed, admin)
}

// mentions notes that a message calls somebody.
func (m *Message) mentions(id string) {
	if id == everybody {
		m.MentionsAll = true
	} else {
		m.Mentions = append(m.Mentions, id)
	}
}

// addMentions fills in whom messages call. A page on which nobody wrote an @ costs no query.
func addMentions(q storage.Querier, list []*Message) error {
	ids, byID := []string{}, map[string]*Message{}
	for _, m := range list {
		if m.Content != nil && strings.Contains(*m.Content, "@") && m.original == nil && byID[m.ID] == nil {
			ids, byID[m.ID] = append(ids, m.ID), m
		}
	}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(fmt.Sprintf(mentionsOf, marks), args...)
		if err != nil {
			return fmt.Errorf("read mentions: %w", err)
		}
		if err := scanMentions(rows, byID); err != nil {
			return fmt.Errorf("read mentions: %w", err)
		}
	}
	return nil
}

func scanMentions(rows *sql.Rows, into map[string]*Message) error {
	defer rows.Close()
	for rows.Next() {
		var messageID, id string
		if err := rows.Scan(&messageID, &id); err != nil {
			return err
		}
		into[messageID].mentions(id)
	}
	return rows.Err()
}

func (s *Service) mentionRoutes() []api.Row {
	return []api.Row{api.Op("GET /messages/mentions", "message:mentions", api.RoleUser, api.TierRead, s.Mentions, api.Doc("Where I was mentioned, newest first; the next page with before, the id of the last one."))}
}

// MentionsInput asks for a page of mentions.
type MentionsInput struct {
	Limit  int    `query:"limit" minimum:"1" default:"50" doc:"at most 100 are given"`
	Before string `query:"before" doc:"id of a message: the page ends before it"`
}

// Mentions lists the messages that mention the caller, of all their conversations, newest first, as far as they see them.
func (s *Service) Mentions(ctx context.Context, by api.Caller, in *MentionsInput) ([]*Message, error) {
	before := in.Before
	if before == "" {
		before = "g" // after every id
	}
	list := []*Message{}
	err := s.db.Read(ctx, func(v storage.View) error {
		rows, err := v.Query(mentionsSeen, by.UserID, before, v.Millis(), v.Millis(), min(in.Limit, pageMax))
		if err != nil {
			return fmt.Errorf("list mentions: %w", err)
		}
		floors := map[string]int64{} // by message
		ids, err := scanFloors(rows, floors)
		if err != nil {
			return fmt.Errorf("list mentions: %w", err)
		}
		found, err := messagesByID(v, ids)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if m := found[id]; m != nil {
				list = append(list, m)
			}
		}
		return completeFor(v, by.UserID, list, func(m, r *Message) bool { return r.N > floors[m.ID] })
	})
	return list, err
}

func scanFloors(rows *sql.Rows, floors map[string]int64) (ids []string, err error) {
	defer rows.Close()
	for rows.Next() {
		var id string
		var floor int64
		if err := rows.Scan(&id, &floor); err != nil {
			return nil, err
		}
		ids, floors[id] = append(ids, id), floor
	}
	return ids, rows.Err()
}

const (
	// Stores who is called of the ids and names, if they can see the message and have not written it, and answers who that is.
	mentionsAdd = `INSERT INTO mention (user_id, conversation_id, n, message_id)
		SELECT u.id, ?, ?, ? FROM user u CROSS JOIN member m WHERE (u.id IN (%s) OR u.username_key IN (%s))
			AND m.user_id = u.id AND m.conversation_id = ? AND m.left_seq IS NULL AND m.history_from_n < ? AND u.id <> ?
		UNION ALL SELECT ?, ?, ?, ? WHERE ?
		RETURNING user_id`

	// Whom some messages call, in the order of ids.
	mentionsOf = "SELECT message_id, user_id FROM mention WHERE message_id IN (%s) ORDER BY message_id, user_id"

	// What is not blocked of a message x for its reader m.
	unblocked = "NOT EXISTS (SELECT 1 FROM block b WHERE b.user_id = m.user_id AND b.blocked_id = x.sender_id)"

	// How many unread messages call the member m, a thousand at most; its parameter is the time.
	mentionsUnread = `SELECT count(*) FROM (SELECT DISTINCT a.n FROM mention a CROSS JOIN message x WHERE a.user_id IN (m.user_id, 'all') AND a.conversation_id = m.conversation_id
		AND a.n > max(m.read_n, m.clear_n, m.history_from_n) AND x.conversation_id = a.conversation_id AND x.n = a.n AND ` + countsUnread + " AND " + unblocked + " LIMIT 1000)"

	// The messages that call somebody, newest first. Those for one person are read in this order. Of those for everybody the
	// newest of each conversation are looked up, as many as are asked for, and sorted. Parameters: who, before which id, the
	// time twice, how many.
	mentionsSeen = `SELECT a.message_id, max(m.history_from_n, m.clear_n) FROM mention a CROSS JOIN member m CROSS JOIN message x
		WHERE a.user_id = ?1 AND a.message_id < ?2 AND m.user_id = ?1 AND m.left_seq IS NULL AND m.conversation_id = a.conversation_id AND ` + mentionsMine + `
		UNION ALL SELECT g.message_id, max(m.history_from_n, m.clear_n) FROM member m CROSS JOIN mention g
		WHERE m.user_id = ?1 AND m.left_seq IS NULL AND g.user_id = 'all' AND g.conversation_id = m.conversation_id AND g.n IN (
			SELECT a.n FROM mention a CROSS JOIN message x WHERE a.user_id = 'all' AND a.conversation_id = m.conversation_id AND a.message_id < ?2 AND ` + mentionsMine + `
				AND NOT EXISTS (SELECT 1 FROM mention o WHERE o.user_id = m.user_id AND o.conversation_id = a.conversation_id AND o.n = a.n)
			ORDER BY a.n DESC LIMIT ?5)
		ORDER BY 1 DESC LIMIT ?5`

	// What holds of a mention a in a message x that the member m can see; its parameter is the time.
	mentionsMine = `a.n > max(m.history_from_n, m.clear_n) AND x.conversation_id = a.conversation_id AND x.n = a.n
		AND x.sender_id <> m.user_id AND ` + there + " AND " + unhidden + " AND " + unblocked
)
