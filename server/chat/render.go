package chat

import (
	"database/sql"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

// Events are the kinds of this package and what late readers are shown of them.
func (s *Service) Events() []event.Kind {
	joins := func(e event.Event) (joined, left []string) { return unpackIDs(e.Data), nil }
	leaves := func(e event.Event) (joined, left []string) { return nil, unpackIDs(e.Data) }
	change := func(_ storage.Querier, events []event.Event) ([]any, error) {
		return each(events, func(e event.Event) any { return ParticipantsChange{e.ScopeID, unpackIDs(e.Data), e.ActorID, nil} }), nil
	}
	kinds := []event.Kind{
		{Name: MessageNew, Doc: "A message; to all members, the sender's devices included.", Value: &Message{}, Render: renderMessages(func(_ event.Event, m *Message) any { return m })},
		{Name: MessageEdited, Doc: "The message as it is now.", Value: Edited{}, Render: renderMessages(func(e event.Event, m *Message) any { return Edited{m, m.ID, e.ActorID} })},
		{Name: MessageDeleted, Doc: "A message is gone for everyone: deleted, or, with `expired`, by the timer of the conversation; deletedBy is empty then.", Value: Deletion{}, Render: func(_ storage.Querier, events []event.Event) ([]any, error) {
			return each(events, func(e event.Event) any {
				return Deletion{e.SubjectID, e.ScopeID, e.ActorID, api.Millis(e.At), e.ActorID == ""}
			}), nil
		}},
		{Name: MessageRead, Doc: "Somebody has read everything up to `n`; not between people of whom one hides what they read.", Receipt: true, Value: Reading{}, Render: renderReadings},
		{Name: MessagePinned, Doc: "A message was pinned; to those who can see it.", Value: Pinning{}, Render: renderPinnings},
		{Name: MessageUnpinned, Doc: "A message is no longer pinned. One that is deleted is not either, and `message:deleted` alone tells.", Value: Pinning{}, Render: renderPinnings},
		{Name: ConversationNew, Doc: "A conversation you are in from now on, as all members may see it.", Value: &Conversation{}, Render: renderConversations(func(c *Conversation) any { return c }), Membership: joins},
		{Name: ConversationUpdated, Doc: "The conversation as it is now, as all members may see it.", Value: &Conversation{}, Render: renderConversations(func(c *Conversation) any { return ConversationChange{c} })},
		{Name: ConversationDeleted, Doc: "A group is no more.", Value: ConversationGone{}, Membership: leaves, Render: func(_ storage.Querier, events []event.Event) ([]any, error) {
			return each(events, func(e event.Event) any { return ConversationGone{e.ScopeID, e.ActorID} }), nil
		}},
		{Name: ConversationKept, Doc: "How you keep a conversation; to your own devices.", Value: ConversationState{}, Render: renderStates},
		{Name: ParticipantAdded, Doc: "People came into a group; they are told too.", Value: ParticipantsChange{}, Render: renderAdded, Membership: joins},
		{Name: "typing:start", Doc: "Somebody writes; it ends by itself after 30 s.", Value: Typing{}},
		{Name: "typing:stop", Doc: "They stopped.", Value: Typing{}},
		{Name: ParticipantRemoved, Doc: "People left or were removed; they get it last.", Value: ParticipantsChange{}, Render: change, Membership: leaves},
	}
	return slices.Concat(kinds, reactionEvents(), hiddenEvents(), transcriptEvents(), processedEvents())
}

func each(events []event.Event, fn func(e event.Event) any) []any {
	values := make([]any, len(events))
	for i, e := range events {
		values[i] = fn(e)
	}
	return values
}

// renderMessages reads the messages as they are now: edited since, or tombstones. Those purged are skipped.
func renderMessages(form func(e event.Event, m *Message) any) func(q storage.Querier, events []event.Event) ([]any, error) {
	return func(q storage.Querier, events []event.Event) ([]any, error) {
		ids := make([]string, len(events))
		for i, e := range events {
			ids[i] = e.SubjectID
		}
		found, err := messagesByID(q, distinct(ids))
		if err != nil {
			return nil, err
		}
		list := make([]*Message, 0, len(found))
		for _, m := range found {
			list = append(list, m)
		}
		show, err := forAll(q, list)
		if err != nil {
			return nil, err
		}
		if show, err = sparing(q, events[0].Viewer, list, show); err != nil {
			return nil, err
		}
		if err := complete(q, list, show); err != nil {
			return nil, err
		}
		if err := unsign(q, events[0].Viewer, list); err != nil {
			return nil, err
		}
		return each(events, func(e event.Event) any {
			if m := found[e.SubjectID]; m != nil {
				return form(e, m.before(e.Seq))
			}
			return nil
		}), nil
	}
}

func renderConversations(form func(c *Conversation) any) func(q storage.Querier, events []event.Event) ([]any, error) {
	return func(q storage.Querier, events []event.Event) ([]any, error) {
		ids := make([]string, len(events))
		for i, e := range events {
			ids[i] = e.SubjectID
		}
		found, err := conversations(q, "", distinct(ids))
		if err != nil {
			return nil, err
		}
		return each(events, func(e event.Event) any {
			if c := found[e.SubjectID]; c != nil {
				return form(c)
			}
			return nil
		}), nil
	}
}

// renderAdded gives those who are in the conversation now, and no others, the conversation with who came into it.
func renderAdded(q storage.Querier, events []event.Event) ([]any, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.SubjectID
	}
	found, err := conversations(q, "", distinct(ids))
	return each(events, func(e event.Event) any {
		room := found[e.SubjectID]
		if room != nil && !slices.ContainsFunc(room.Participants, func(p Participant) bool { return p.User.ID == e.Viewer }) {
			room = nil
		}
		return ParticipantsChange{e.ScopeID, unpackIDs(e.Data), e.ActorID, room}
	}), err
}

// mine reads a conversation as the caller sees it.
func mine(q storage.Querier, by api.Caller, id string) (*Conversation, error) {
	if _, err := memberOf(q, by, id); err != nil {
		return nil, err
	}
	found, err := conversations(q, by.UserID, []string{id})
	if err != nil {
		return nil, err
	}
	return found[id], nil
}

// shared reads a conversation as it is sent to all members alike.
func shared(q storage.Querier, id string) (*Conversation, error) {
	found, err := conversations(q, "", []string{id})
	return found[id], err
}

// conversations reads conversations as the viewer sees them, or as everybody may see them when viewer is "": then
// without last message and without anybody's own counters. The number of queries does not depend on the number read.
func conversations(q storage.Querier, viewer string, ids []string) (map[string]*Conversation, error) {
	found := make(map[string]*Conversation, len(ids))
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT c.id, c.type, c.name, c.description, c.avatar, c.created_by, c.last_n, c.last_message_at, c.is_locked,
			c.disappearing_seconds, c.disappearing_at, c.disappearing_by, c.created_at, c.updated_at, c.pins_changed_at FROM conversation c WHERE c.deleted_at IS NULL AND c.id IN (`+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("read conversations: %w", err)
		}
		if err := scanConversations(q, rows, found); err != nil {
			return nil, fmt.Errorf("read conversations: %w", err)
		}
		if err := addParticipants(q, viewer, marks, args, found); err != nil {
			return nil, err
		}
		if err := addPins(q, viewer, marks, args, found); err != nil {
			return nil, err
		}
		if viewer == "" {
			continue
		}
		if err := addOwn(q, viewer, marks, args, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func scanConversations(q storage.Querier, rows *sql.Rows, found map[string]*Conversation) error {
	defer rows.Close()
	for rows.Next() {
		c := &Conversation{Participants: []Participant{}, Admins: []string{}, PinnedMessages: []any{}}
		var last, created, updated int64
		var timer, pins sql.NullInt64
		if err := rows.Scan(&c.ID, &c.Type, &c.Name, &c.Description, &c.Avatar, &c.CreatedBy, &c.LastN, &last, &c.IsLocked,
			&c.DisappearingTimer, &timer, &c.DisappearingBy, &created, &updated, &pins); err != nil {
			return err
		}
		c.MongoID, c.LastMessageAt, c.CreatedAt, c.UpdatedAt = c.ID, api.Millis(last), api.Millis(created), api.Millis(updated)
		if timer.Valid {
			c.DisappearingAt = api.Millis(timer.Int64)
		}
		if pins.Valid {
			c.PinsUpdatedAt = api.Millis(pins.Int64)
		}
		if c.Avatar != nil {
			address := q.Link(*c.Avatar, media.ConversationScope(c.ID))
			c.Avatar = &address
		}
		found[c.ID] = c
	}
	return rows.Err()
}

// addParticipants adds who is in the conversations. How far somebody has read is shown to themselves, and to others when
// neither hides such things, as far as it was told then: what was read in secret leaves no mark. It is not in what all
// members are sent alike.
func addParticipants(q storage.Querier, viewer, marks string, args []any, found map[string]*Conversation) error {
	rows, err := q.Query(`SELECT m.conversation_id, m.role, m.joined_at,
			(SELECT r.id FROM message r WHERE r.conversation_id = m.conversation_id AND r.n > m.history_from_n AND r.n <=
				CASE WHEN m.user_id = ?1 THEN m.read_n
					WHEN ?1 <> '' AND u.hides_reads = 0 AND NOT EXISTS (SELECT 1 FROM user w WHERE w.id = ?1 AND w.hides_reads = 1)
					THEN (SELECT max(k.n) FROM read_mark k WHERE k.conversation_id = m.conversation_id AND k.user_id = m.user_id) END
				ORDER BY r.n DESC LIMIT 1),
			m.is_muted, m.muted_until, m.is_pinned, `+account.PublicColumnsFor+`
		FROM member m JOIN user u ON u.id = m.user_id
		WHERE m.left_seq IS NULL AND m.conversation_id IN (`+marks+") ORDER BY m.conversation_id, m.joined_seq, m.user_id", append([]any{viewer}, args...)...)
	if err != nil {
		return fmt.Errorf("read participants: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var p Participant
		var id string
		var joined int64
		var muted muting
		var pinned bool
		if err := rows.Scan(append([]any{&id, &p.Role, &joined, &p.LastReadMessageID, &muted.on, &muted.until, &pinned}, p.User.PublicTargets()...)...); err != nil {
			return fmt.Errorf("read participants: %w", err)
		}
		c := found[id]
		if c == nil {
			continue
		}
		p.User.Show(q)
		p.JoinedAt = api.Millis(joined)
		if p.User.ID == viewer {
			p.IsPinned = pinned
			p.IsMuted, p.MutedUntil = muted.at(q.Millis())
		}
		c.Participants = append(c.Participants, p)
		if p.Role == "admin" {
			c.Admins = append(c.Admins, p.User.ID)
		}
	}
	return rows.Err()
}

// addOwn adds what only the viewer sees: unread counter, archive switch, and the last message they may see.
func addOwn(q storage.Querier, viewer, marks string, args []any, found map[string]*Conversation) error {
	rows, err := q.Query(`SELECT m.conversation_id, m.is_archived, max(m.clear_n, m.history_from_n),
		(SELECT count(*) FROM message x WHERE x.conversation_id = m.conversation_id AND x.n > max(m.read_n, m.clear_n, m.history_from_n)
			AND `+countsUnread+`), (`+mentionsUnread+`),
		(SELECT x.id FROM message x WHERE x.conversation_id = m.conversation_id AND `+there+` AND `+unhidden+`
			AND x.n > max(m.clear_n, m.history_from_n) ORDER BY x.n DESC LIMIT 1)
		FROM member m WHERE m.user_id = ? AND m.left_seq IS NULL AND m.conversation_id IN (`+marks+")", append([]any{q.Millis(), q.Millis(), q.Millis(), viewer}, args...)...)
	if err != nil {
		return fmt.Errorf("read own state: %w", err)
	}
	last, floors := map[string]string{}, map[string]int64{}
	var ids []string
	defer rows.Close()
	for rows.Next() {
		var id string
		var archived bool
		var floor, unread, mentions int64
		var lastID sql.NullString
		if err := rows.Scan(&id, &archived, &floor, &unread, &mentions, &lastID); err != nil {
			return fmt.Errorf("read own state: %w", err)
		}
		c := found[id]
		if c == nil {
			continue
		}
		c.IsArchived, c.UnreadCount, c.UnreadMentions, floors[id] = archived, unread, mentions, floor
		for i := range c.Participants {
			if c.Participants[i].User.ID == viewer {
				c.Participants[i].UnreadCount = unread
			}
		}
		if lastID.Valid {
			last[id] = lastID.String
			ids = append(ids, lastID.String)
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	messages, err := messagesByID(q, ids)
	if err != nil {
		return err
	}
	list := make([]*Message, 0, len(messages))
	for _, m := range messages {
		list = append(list, m)
	}
	if err := completeFor(q, viewer, list, func(m, r *Message) bool { return r.N > floors[m.ConversationID] }); err != nil {
		return err
	}
	for id, messageID := range last {
		found[id].LastMessage = messages[messageID]
	}
	return nil
}
