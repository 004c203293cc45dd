package chat

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// fill sets the lists that are never null on the wire and the second name of the id.
func (m *Message) fill() {
	m.MongoID = m.ID
	m.Attachments, m.Reactions, m.ReadReceipts, m.Mentions = []Attachment{}, []Reaction{}, []Receipt{}, []string{}
}

// messageColumns are what scanMessage reads, of the table message under the alias x.
const messageColumns = `x.id, x.conversation_id, x.n, x.sender_id, x.type, x.content, x.client_id, x.reply_to_id, x.metadata,
	x.forwarded_from, x.attached, x.reacted, x.edited_at, x.expires_at, x.deleted_at, x.created_at, x.updated_at`

// scanMessages reads rows, without those of messages that have expired by now.
func scanMessages(rows *sql.Rows, now int64) ([]*Message, error) {
	defer rows.Close()
	var list []*Message
	for rows.Next() {
		m := &Message{}
		var metadata *string
		var edited, expires, deleted sql.NullInt64
		var created, updated int64
		if err := rows.Scan(&m.ID, &m.ConversationID, &m.N, &m.Sender.ID, &m.Type, &m.Content, &m.ClientID, &m.ReplyToID, &metadata,
			&m.original, &m.attached, &m.reacted, &edited, &expires, &deleted, &created, &updated); err != nil {
			return nil, err
		}
		if expires.Valid {
			if expires.Int64 <= now {
				continue
			}
			m.ExpiresAt = api.Millis(expires.Int64)
		}
		m.fill()
		m.CreatedAt, m.IsForwarded = api.Millis(created), m.original != nil
		if m.UpdatedAt = m.CreatedAt; updated != created {
			m.UpdatedAt = api.Millis(updated)
		}
		if metadata != nil {
			m.Metadata = json.RawMessage(*metadata)
		}
		if edited.Valid {
			m.IsEdited, m.EditedAt = true, api.Millis(edited.Int64)
		}
		if deleted.Valid {
			m.IsDeleted, m.DeletedAt = true, api.Millis(deleted.Int64)
			m.Content, m.Metadata, m.ReplyToID, m.IsForwarded, m.original, m.attached = nil, nil, nil, false, nil, 0
		}
		list = append(list, m)
	}
	return list, rows.Err()
}

// messagesByID reads messages without their people. Those that have expired are not there.
func messagesByID(q storage.Querier, ids []string) (map[string]*Message, error) {
	found := make(map[string]*Message, len(ids))
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT "+messageColumns+" FROM message x WHERE x.id IN ("+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("read messages: %w", err)
		}
		list, err := scanMessages(rows, q.Millis())
		if err != nil {
			return nil, fmt.Errorf("read messages: %w", err)
		}
		for _, m := range list {
			found[m.ID] = m
		}
	}
	return found, nil
}

// people fills in senders, and senders of what is replied to, as the viewer sees them, or as all may see them when
// viewer is "", and lets notices say whom they are about.
func people(q storage.Querier, viewer string, list ...*Message) error {
	var ids []string
	seen := map[string]bool{}
	each := func(fn func(m *Message)) {
		for _, m := range list {
			fn(m)
			if m.ReplyTo != nil {
				fn(m.ReplyTo)
			}
		}
	}
	need := func(id string) {
		if !seen[id] {
			seen[id] = true
			ids = append(ids, id)
		}
	}
	notices := map[*Message]*Notice{}
	each(func(m *Message) {
		need(m.Sender.ID)
		if n := noticeOf(m); n != nil {
			notices[m] = n
			for _, id := range append(n.named(), n.By) {
				need(id)
			}
		}
	})
	known, err := account.PublicsFor(q, viewer, ids)
	if err != nil {
		return err
	}
	each(func(m *Message) { m.Sender = known[m.Sender.ID] })
	for m, n := range notices {
		text := n.sentence(known)
		m.Content = &text
	}
	return nil
}

// shown says whether a reply is shown with the message r that it replies to; otherwise it has only its id.
type shown func(m, r *Message) bool

// above shows what somebody may see who sees nothing up to a number.
func above(floor int64) shown { return func(_, r *Message) bool { return r.N > floor } }

// forAll shows what everybody may see who is ever told of the messages in list: nobody joined between the message
// replied to and the reply, and nobody left between the reply and an edit of the message replied to.
func forAll(q storage.Querier, list []*Message) (shown, error) {
	var ids []string
	for _, m := range list {
		if m.ReplyToID != nil {
			ids = append(ids, m.ConversationID)
		}
	}
	stays := map[string][]window{}
	for _, chunk := range storage.Chunks(distinct(ids)) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT DISTINCT conversation_id, history_from_n, coalesce(left_at, 0) FROM member WHERE (history_from_n > 0 OR left_at > 0) AND conversation_id IN ("+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("read stays: %w", err)
		}
		if err := scanWindows(rows, stays); err != nil {
			return nil, fmt.Errorf("read stays: %w", err)
		}
	}
	return func(m, r *Message) bool {
		return !slices.ContainsFunc(stays[m.ConversationID], func(w window) bool {
			return w.from >= r.N && w.from < m.N || w.left >= m.CreatedAt && w.left <= r.EditedAt
		})
	}, nil
}

// window is what one stay of a member saw: messages above from, until left, which is "" for one that goes on.
type window struct {
	from int64
	left string
}

func scanWindows(rows *sql.Rows, into map[string][]window) error {
	defer rows.Close()
	for rows.Next() {
		var id string
		var w window
		var left int64
		if err := rows.Scan(&id, &w.from, &left); err != nil {
			return err
		}
		if left > 0 {
			w.left = api.Millis(left)
		}
		into[id] = append(into[id], w)
	}
	return rows.Err()
}

// complete fills in what is replied to, where that is shown, reactions, mentions, and the people as all may see them, in a fixed
// number of queries for any number of messages. A reply to a message that is gone shows the tombstone.
func complete(q storage.Querier, list []*Message, show shown) error {
	return completeFor(q, "", list, show)
}

// completeFor is complete with the people as one viewer sees them, and with the originals of forwards that they can see.
func completeFor(q storage.Querier, viewer string, list []*Message, show shown) error {
	var ids []string
	for _, m := range list {
		if m.ReplyToID != nil {
			ids = append(ids, *m.ReplyToID)
		}
	}
	if len(ids) > 0 {
		replied, err := messagesByID(q, ids)
		if err != nil {
			return err
		}
		hidden, err := hiddenFrom(q, viewer, ids)
		if err != nil {
			return err
		}
		for _, m := range list {
			if m.ReplyToID == nil {
				continue
			}
			if r := replied[*m.ReplyToID]; r != nil && !hidden[r.ID] && show(m, r) {
				m.ReplyTo = r
			}
		}
	}
	if err := addReactions(q, list); err != nil {
		return err
	}
	if err := addAttachments(q, list); err != nil {
		return err
	}
	if err := addOriginals(q, viewer, list); err != nil {
		return err
	}
	if err := addMentions(q, list); err != nil {
		return err
	}
	return people(q, viewer, list...)
}

// one reads a message whole.
func one(q storage.Querier, id string, show shown) (*Message, error) {
	m, err := bare(q, id)
	if err != nil {
		return nil, err
	}
	return m, complete(q, []*Message{m}, show)
}

// bare reads a message without its people and without what it replies to.
func bare(q storage.Querier, id string) (*Message, error) {
	found, err := messagesByID(q, []string{id})
	if err != nil {
		return nil, err
	}
	if found[id] == nil {
		return nil, api.E("MESSAGE_NOT_FOUND")
	}
	return found[id], nil
}

// oneForAll reads a message as all members may see it.
func oneForAll(q storage.Querier, id string) (*Message, error) {
	m, err := bare(q, id)
	if err != nil {
		return nil, err
	}
	show, err := forAll(q, []*Message{m})
	if err != nil {
		return nil, err
	}
	return m, complete(q, []*Message{m}, show)
}
