package call

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// record stores a new call. When the other person is in another call it is a missed one at once.
func (s *Service) record(tx *storage.Tx, by api.Caller, p plan, busy bool) error {
	var conversation *string
	if p.conversationID != "" {
		conversation = &p.conversationID
	}
	now := tx.Millis()
	if _, err := tx.Exec("INSERT INTO call (id, conversation_id, initiator_id, type, is_group, started_at) VALUES (?, ?, ?, ?, ?, ?)",
		p.id, conversation, by.UserID, p.kind, p.group, now); err != nil {
		return fmt.Errorf("store call: %w", err)
	}
	if err := recordParty(tx, p.id, by.UserID, 0, joined, by.SessionID, &now); err != nil {
		return err
	}
	for i, userID := range p.callees { // at most peopleMax
		if err := recordParty(tx, p.id, userID, i+1, ringing, "", nil); err != nil {
			return err
		}
	}
	if !busy {
		return nil
	}
	c := &session{id: p.id, conversationID: p.conversationID, kind: p.kind, initiator: by.UserID, began: tx.Now,
		people: []*party{{userID: by.UserID, state: left}, {userID: p.callees[0], state: missed}}}
	return s.recordEnd(tx, c, "", "missed")
}

func recordParty(tx *storage.Tx, callID, userID string, position int, in state, device string, at *int64) error {
	_, err := tx.Exec(`INSERT INTO call_participant (call_id, user_id, position, state, session_id, joined_at) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (call_id, user_id) DO UPDATE SET state = excluded.state`, callID, userID, position, in, device, at)
	if err != nil {
		return fmt.Errorf("store who is called: %w", err)
	}
	return nil
}

// recordAnswer notes that somebody has joined.
func recordAnswer(tx *storage.Tx, by api.Caller, callID string) error {
	now := tx.Millis()
	if _, err := tx.Exec("UPDATE call SET answered_at = coalesce(answered_at, ?) WHERE id = ?", now, callID); err != nil {
		return fmt.Errorf("note answer: %w", err)
	}
	_, err := tx.Exec(`UPDATE call_participant SET state = 'joined', session_id = ?, joined_at = coalesce(joined_at, ?), left_at = NULL
		WHERE call_id = ? AND user_id = ?`, by.SessionID, now, callID, by.UserID)
	if err != nil {
		return fmt.Errorf("note answer: %w", err)
	}
	return nil
}

// recordStates notes how far everybody is.
func recordStates(tx *storage.Tx, c *session) error {
	for _, p := range c.people { // at most peopleMax
		_, err := tx.Exec(`UPDATE call_participant SET state = ?1, session_id = ?2,
			left_at = CASE WHEN ?1 = 'left' AND joined_at IS NOT NULL THEN coalesce(left_at, ?3) END WHERE call_id = ?4 AND user_id = ?5`,
			p.state, p.device, tx.Millis(), c.id, p.userID)
		if err != nil {
			return fmt.Errorf("note who is in the call: %w", err)
		}
	}
	return nil
}

// Said is the metadata of a message of type call (contract 2.3).
type Said struct {
	CallID   string `json:"callId"`
	Type     string `json:"type"`
	Status   string `json:"status"`
	Duration int64  `json:"duration"` // seconds
}

// recordEnd writes down how a call went, says so in its conversation, and tells those who have missed it.
func (s *Service) recordEnd(tx *storage.Tx, c *session, endedBy, status string) error {
	now := tx.Millis()
	result, err := tx.Exec("UPDATE call SET status = ?, ended_at = ?, ended_by = ? WHERE id = ? AND status = 'ongoing'", status, now, endedBy, c.id)
	if err != nil {
		return fmt.Errorf("end call: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err // it was ended before
	}
	if err := recordStates(tx, c); err != nil {
		return err
	}
	if c.conversationID != "" {
		var duration int64
		if !c.answered.IsZero() {
			duration = max(now-c.answered.UnixMilli(), 0) / 1000
		}
		metadata, err := json.Marshal(Said{c.id, c.kind, status, duration})
		if err != nil {
			return err
		}
		if err := s.chat.Post(tx, c.initiator, c.conversationID, "call", metadata); err != nil {
			return err
		}
	}
	from, err := caller(tx, c.initiator)
	if err != nil {
		return err
	}
	for _, p := range c.people {
		if p.state != missed || p.userID == c.initiator {
			continue
		}
		e := event.Event{Kind: kindMissed, Scope: event.ScopeUser, ScopeID: p.userID, SubjectID: c.id, ActorID: c.initiator}
		v := Missed{CallID: c.id, CallType: c.kind, ConversationID: c.conversationID, From: from, StartedAt: api.Time(c.began)}
		if _, err := s.events.Emit(tx, e, v); err != nil {
			return err
		}
	}
	return nil
}

// Missed is the payload of call:missed.
type Missed struct {
	CallID         string `json:"callId"`
	CallType       string `json:"callType"`
	ConversationID string `json:"conversationId"`
	From           From   `json:"from"`
	StartedAt      string `json:"startedAt"`
}

// renderMissed gives late readers what they have missed.
func renderMissed(q storage.Querier, events []event.Event) ([]any, error) {
	values := make([]any, len(events))
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.SubjectID
	}
	found := map[string]*Missed{}
	var people []string
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT id, type, coalesce(conversation_id, ''), initiator_id, started_at FROM call WHERE id IN ("+marks+")", args...)
		if err != nil {
			return nil, fmt.Errorf("read missed calls: %w", err)
		}
		for rows.Next() {
			m := &Missed{}
			var at int64
			if err := rows.Scan(&m.CallID, &m.CallType, &m.ConversationID, &m.From.ID, &at); err != nil {
				rows.Close()
				return nil, err
			}
			m.StartedAt = api.Millis(at)
			found[m.CallID] = m
			people = append(people, m.From.ID)
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	known, err := account.Publics(q, people)
	if err != nil {
		return nil, err
	}
	for i, e := range events {
		if m := found[e.SubjectID]; m != nil {
			u := known[m.From.ID]
			m.From = From{u.ID, u.DisplayName, u.Avatar}
			values[i] = *m
		}
	}
	return values, nil
}

// stillThere checks that somebody who was called in a conversation is still in it. Code: CALL_NOT_FOUND.
func stillThere(q storage.Querier, userID, conversationID string) error {
	if conversationID == "" {
		return nil
	}
	var there bool
	err := q.QueryRow("SELECT EXISTS (SELECT 1 FROM member WHERE user_id = ? AND conversation_id = ? AND left_seq IS NULL)", userID, conversationID).Scan(&there)
	if err == nil && !there {
		err = api.E("CALL_NOT_FOUND")
	}
	return err
}

// Call is a call on the wire (contract 2.3).
type Call struct {
	MongoID      string         `json:"_id"`
	ID           string         `json:"id"`
	Conversation *CallPlace     `json:"conversationId"`
	Initiator    account.Public `json:"initiatorId"`
	Type         string         `json:"type"`
	Status       string         `json:"status"`
	Participants []CallPerson   `json:"participants"`
	StartedAt    string         `json:"startedAt"`
	AnsweredAt   string         `json:"answeredAt,omitempty"`
	EndedAt      string         `json:"endedAt,omitempty"`
	Duration     int64          `json:"duration"` // seconds since somebody answered
	IsGroupCall  bool           `json:"isGroupCall"`
	CreatedAt    string         `json:"createdAt"`
}

// CallPlace is the conversation of a call; of one that the viewer has left only the id is shown.
type CallPlace struct {
	MongoID string  `json:"_id"`
	ID      string  `json:"id"`
	Type    string  `json:"type"`
	Name    *string `json:"name"`
}

// CallPerson is somebody who was called, or who calls.
type CallPerson struct {
	User        account.Public `json:"userId"`
	State       string         `json:"state"` // ringing, joined, declined, missed, left
	JoinedAt    string         `json:"joinedAt,omitempty"`
	LeftAt      string         `json:"leftAt,omitempty"`
	IsInitiator bool           `json:"isInitiator"`
}

// calls reads calls that somebody was part of and has not cleared; which is the rest of a condition on call c and their part
// p, and the order.
func calls(q storage.Querier, viewer, which string, args ...any) ([]*Call, error) {
	rows, err := q.Query(`SELECT c.id, c.conversation_id, v.type, v.name, c.initiator_id, c.type, c.status, c.is_group, c.started_at, c.answered_at, c.ended_at
		FROM call_participant p JOIN call c ON c.id = p.call_id
			LEFT JOIN member m ON m.user_id = p.user_id AND m.conversation_id = c.conversation_id AND m.left_seq IS NULL
			LEFT JOIN conversation v ON v.id = m.conversation_id
		WHERE p.user_id = ? AND `+which, append([]any{viewer}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("read calls: %w", err)
	}
	defer rows.Close()
	list := []*Call{}
	byID := map[string]*Call{}
	ids := []string{}
	for rows.Next() {
		c := &Call{Participants: []CallPerson{}}
		var place, kind, name sql.NullString
		var started int64
		var answered, ended sql.NullInt64
		if err := rows.Scan(&c.ID, &place, &kind, &name, &c.Initiator.ID, &c.Type, &c.Status, &c.IsGroupCall, &started, &answered, &ended); err != nil {
			return nil, err
		}
		c.MongoID, c.StartedAt, c.CreatedAt = c.ID, api.Millis(started), api.Millis(started)
		if place.Valid {
			c.Conversation = &CallPlace{MongoID: place.String, ID: place.String, Type: kind.String}
			if name.Valid {
				c.Conversation.Name = &name.String
			}
		}
		if answered.Valid {
			c.AnsweredAt = api.Millis(answered.Int64)
		}
		if ended.Valid {
			c.EndedAt = api.Millis(ended.Int64)
			if answered.Valid {
				c.Duration = max(ended.Int64-answered.Int64, 0) / 1000
			}
		}
		list, byID[c.ID], ids = append(list, c), c, append(ids, c.ID)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return list, participants(q, viewer, ids, byID)
}

// participants fills in who is who in calls.
func participants(q storage.Querier, viewer string, ids []string, byID map[string]*Call) error {
	var people []string
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT call_id, user_id, state, joined_at, left_at FROM call_participant WHERE call_id IN ("+marks+") ORDER BY call_id, position", args...)
		if err != nil {
			return fmt.Errorf("read who was called: %w", err)
		}
		for rows.Next() {
			var callID string
			var p CallPerson
			var in, out sql.NullInt64
			if err := rows.Scan(&callID, &p.User.ID, &p.State, &in, &out); err != nil {
				rows.Close()
				return err
			}
			if in.Valid {
				p.JoinedAt = api.Millis(in.Int64)
			}
			if out.Valid {
				p.LeftAt = api.Millis(out.Int64)
			}
			c := byID[callID]
			p.IsInitiator = p.User.ID == c.Initiator.ID
			c.Participants = append(c.Participants, p)
			people = append(people, p.User.ID)
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	known, err := account.PublicsFor(q, viewer, people)
	if err != nil {
		return err
	}
	for _, c := range byID {
		c.Initiator = known[c.Initiator.ID]
		for i := range c.Participants {
			c.Participants[i].User = known[c.Participants[i].User.ID]
		}
	}
	return nil
}

// one reads a call that somebody was part of. Code: CALL_NOT_FOUND.
func one(q storage.Querier, viewer, callID string) (*Call, error) {
	list, err := calls(q, viewer, "c.id = ?", callID)
	if err == nil && len(list) == 0 {
		err = api.E("CALL_NOT_FOUND")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// plainID is the id of a call as the tables have it: clients of the old server wrote call_ before it.
func plainID(id string) string { return strings.TrimPrefix(id, "call_") }
