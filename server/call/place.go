package call

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
)

// InitiateInput says whom to call. Without participants it is everybody else in the conversation.
type InitiateInput struct {
	Body struct {
		ConversationID *string  `json:"conversationId,omitempty" maxLength:"64"`
		Participants   []string `json:"participants,omitempty" maxItems:"256"`
		CallType       string   `json:"callType" enum:"audio,video"`
		IsGroupCall    *bool    `json:"isGroupCall,omitempty" doc:"says nothing: more than two people are a group call"`
	}
}

// Initiated acknowledges call:initiate.
type Initiated struct {
	Success    bool             `json:"success"`
	CallID     string           `json:"callId"`
	ICEServers []turn.ICEServer `json:"iceServers"`
}

// Incoming is the payload of call:incoming.
type Incoming struct {
	CallID         string   `json:"callId"`
	CallType       string   `json:"callType"`
	ConversationID string   `json:"conversationId"`
	From           From     `json:"from"`
	Participants   []string `json:"participants"` // who was called, the initiator too
	IsGroupCall    bool     `json:"isGroupCall"`
	IsInvite       bool     `json:"isInvite,omitempty"`
	Glare          bool     `json:"glare,omitempty"` // this device has just tried to call the same person: it may answer at once
}

// From is who calls.
type From struct {
	ID          string  `json:"id"`
	DisplayName string  `json:"displayName"`
	Avatar      *string `json:"avatar"`
}

// Initiate calls people and rings all their devices. When the other person is calling at the same moment it fails with
// CALL_GLARE and that call rings here too. Codes: VALIDATION, CONVERSATION_NOT_FOUND, CONVERSATION_LOCKED, USER_NOT_FOUND,
// BLOCKED, USER_BANNED, USER_DEACTIVATED, CALL_FULL, CALL_NOBODY, ALREADY_IN_CALL, USER_BUSY, CALL_GLARE.
func (s *Service) Initiate(ctx context.Context, by api.Caller, in *InitiateInput) (*Initiated, error) {
	id, err := s.place(ctx, by, in)
	if err != nil {
		return nil, err
	}
	return &Initiated{true, id, s.ice(by, id)}, nil
}

// plan is a call before it is made.
type plan struct {
	id, conversationID string // conversationID is "" when the people have none
	kind               string
	group              bool
	callees            []string
	began              time.Time
}

// place makes the row and the session of a call and rings.
func (s *Service) place(ctx context.Context, by api.Caller, in *InitiateInput) (id string, err error) {
	if by.UserID == "" {
		return "", api.E("UNAUTHORIZED")
	}
	s.order.Lock()
	defer s.order.Unlock()
	if err := s.freeCaller(ctx, by); err != nil {
		return "", err
	}
	var p plan
	var from From
	var glare *session
	var busy bool
	err = s.db.Write(ctx, "call.place", func(tx *storage.Tx) (err error) {
		if p, err = plans(tx, by, in); err != nil {
			return err
		}
		if glare, busy = s.conflicts(by, p); glare != nil {
			return nil
		}
		if from, err = caller(tx, by.UserID); err != nil {
			return err
		}
		p.id, p.began = storage.NewID(), tx.Now
		return s.record(tx, by, p, busy)
	})
	if err != nil {
		return "", err
	}
	if glare != nil {
		return "", s.rang(ctx, by, glare)
	}
	if busy {
		return "", api.E("USER_BUSY")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &session{id: p.id, conversationID: p.conversationID, kind: p.kind, group: p.group, initiator: by.UserID, began: p.began}
	me := &party{userID: by.UserID, state: joined, device: by.SessionID, socket: by.Socket}
	c.people = append(c.people, me)
	s.live[c.id] = c
	for _, userID := range p.callees {
		callee := &party{userID: userID, state: ringing}
		c.people = append(c.people, callee)
		s.ring(callee, c.began.Add(ringTime))
	}
	s.watch(c, me)
	v := s.incoming(c, from, false)
	for _, p := range c.people[1:] {
		s.tell(p.userID, kindIncoming, v, "")
	}
	return c.id, nil
}

// rang rings the device of somebody who has just tried to call the person who is calling them. Code: CALL_GLARE.
func (s *Service) rang(ctx context.Context, by api.Caller, c *session) error {
	from, err := s.fromOf(ctx, c.initiator)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.incoming(c, from, false)
	v.Glare = true
	s.events.Tell(event.Live{Event: event.Event{Kind: kindIncoming, Scope: event.ScopeSession, ScopeID: by.SessionID}, Value: v, Socket: by.Socket})
	return api.E("CALL_GLARE")
}

func (s *Service) incoming(c *session, from From, invite bool) Incoming {
	v := Incoming{CallID: c.id, CallType: c.kind, ConversationID: c.conversationID, From: from, IsGroupCall: c.group, IsInvite: invite}
	for _, p := range c.people {
		v.Participants = append(v.Participants, p.userID)
	}
	return v
}

// freeCaller lets go of a call that this person has lost: one whose device is away, or that this same device began before.
// The caller holds order. Codes: ALREADY_IN_CALL.
func (s *Service) freeCaller(ctx context.Context, by api.Caller) error {
	s.mu.Lock()
	c, me := s.sessionOf(by.UserID)
	lost := c != nil && (me.away || me.device == by.SessionID && me.socket != by.Socket)
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	if !lost {
		return api.E("ALREADY_IN_CALL")
	}
	s.leave(ctx, c.id, by.UserID, lostDevice)
	return nil
}

// conflicts finds what stands in the way of a call: the other person who is calling just now, or who is in another call.
func (s *Service) conflicts(by api.Caller, p plan) (glare *session, busy bool) {
	if p.group {
		return nil, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	other := p.callees[0]
	for _, c := range s.live {
		them := c.party(other)
		if them == nil || them.state != joined {
			continue
		}
		if me := c.party(by.UserID); me != nil && me.state == ringing {
			return c, false
		}
		busy = true
	}
	return nil, busy
}

// plans finds out whom the caller wants to call, and whether they may.
func plans(q *storage.Tx, by api.Caller, in *InitiateInput) (p plan, err error) {
	b := &in.Body
	if err := account.MayAct(q, by, q.Millis()); err != nil {
		return p, err
	}
	p.kind = b.CallType
	p.callees = slices.DeleteFunc(distinct(b.Participants), func(id string) bool { return id == by.UserID })
	if b.ConversationID != nil && *b.ConversationID != "" {
		p.conversationID = *b.ConversationID
		err = p.ofConversation(q, by)
	} else {
		err = p.ofPeople(q, by)
	}
	switch {
	case err != nil:
		return p, err
	case len(p.callees) == 0:
		return p, api.E("CALL_NOBODY")
	case len(p.callees) >= peopleMax:
		return p, api.E("CALL_FULL", "max", peopleMax)
	}
	p.group = p.group || len(p.callees) > 1
	return p, nil
}

// ofConversation plans a call in a conversation: of those named, who must be members, or of all of them.
func (p *plan) ofConversation(q storage.Querier, by api.Caller) error {
	var kind string
	var locked bool
	err := q.QueryRow(`SELECT c.type, c.is_locked FROM member m JOIN conversation c ON c.id = m.conversation_id
		WHERE m.user_id = ? AND m.conversation_id = ? AND m.left_seq IS NULL`, by.UserID, p.conversationID).Scan(&kind, &locked)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return api.E("CONVERSATION_NOT_FOUND")
	case err != nil:
		return fmt.Errorf("find conversation of call: %w", err)
	case locked:
		return api.E("CONVERSATION_LOCKED")
	}
	p.group = kind == "group"
	all := len(p.callees) == 0
	which, args := "", []any{by.UserID, p.conversationID} // of all members no more than show that they are too many
	if !all {
		marks, named := storage.In(p.callees[:min(len(p.callees), 2*peopleMax)])
		which, args = "AND m.user_id IN ("+marks+")", append(args, named...)
	}
	rows, err := q.Query(`SELECT m.user_id, EXISTS (SELECT 1 FROM block b WHERE b.user_id = ?1 AND b.blocked_id = m.user_id) OR
			EXISTS (SELECT 1 FROM block b WHERE b.user_id = m.user_id AND b.blocked_id = ?1)
		FROM member m JOIN user u ON u.id = m.user_id AND u.is_active = 1 AND u.erased_at IS NULL
		WHERE m.conversation_id = ?2 AND m.left_seq IS NULL AND m.user_id <> ?1 `+which+fmt.Sprint(" LIMIT ", 2*peopleMax), args...)
	if err != nil {
		return fmt.Errorf("find members to call: %w", err)
	}
	defer rows.Close()
	free := map[string]bool{}
	for rows.Next() {
		var id string
		var blocked bool
		if err := rows.Scan(&id, &blocked); err != nil {
			return err
		}
		switch {
		case blocked && !p.group:
			return api.E("BLOCKED")
		case blocked: // who blocks somebody hears nothing of them
		case all:
			p.callees = append(p.callees, id)
			fallthrough
		default:
			free[id] = true
		}
	}
	if err := rows.Err(); err != nil || all {
		return err
	}
	before := len(p.callees)
	p.callees = slices.DeleteFunc(p.callees, func(id string) bool { return !free[id] })
	if len(p.callees) == 0 && before > 0 {
		return api.E("USER_NOT_FOUND")
	}
	return nil
}

// ofPeople plans a call of people, who have to let themselves be reached. Two are called in their conversation, when they
// have one.
func (p *plan) ofPeople(q storage.Querier, by api.Caller) error {
	for _, id := range p.callees[:min(len(p.callees), peopleMax)] {
		if err := reachable(q, by.UserID, id); err != nil {
			return err
		}
	}
	if len(p.callees) != 1 {
		return nil
	}
	pair := min(by.UserID, p.callees[0]) + ":" + max(by.UserID, p.callees[0])
	err := q.QueryRow(`SELECT c.id FROM conversation c JOIN member m ON m.conversation_id = c.id AND m.user_id = ? AND m.left_seq IS NULL
		WHERE c.pair = ? AND c.deleted_at IS NULL`, by.UserID, pair).Scan(&p.conversationID)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return fmt.Errorf("find conversation of call: %w", err)
	}
	return nil
}

// reachable checks that one person may call another. Codes: USER_NOT_FOUND, BLOCKED.
func reachable(q storage.Querier, from, to string) error {
	var there bool
	if err := q.QueryRow("SELECT EXISTS (SELECT 1 FROM user WHERE id = ? AND is_active = 1 AND erased_at IS NULL)", to).Scan(&there); err != nil {
		return fmt.Errorf("find person to call: %w", err)
	}
	if !there {
		return api.E("USER_NOT_FOUND")
	}
	blocked, err := account.Blocked(q, from, to)
	if err == nil && blocked {
		err = api.E("BLOCKED")
	}
	return err
}

// caller is how somebody who calls is shown.
func caller(q storage.Querier, userID string) (From, error) {
	known, err := account.Publics(q, []string{userID})
	u := known[userID]
	return From{u.ID, u.DisplayName, u.Avatar}, err
}

func (s *Service) fromOf(ctx context.Context, userID string) (from From, err error) {
	err = s.db.Read(ctx, func(v storage.View) error { from, err = caller(v, userID); return err })
	return from, err
}

func distinct(ids []string) (list []string) {
	for _, id := range ids {
		if id != "" && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	return list
}

// ring starts the time that somebody has to answer. The caller holds mu.
func (s *Service) ring(p *party, until time.Time) {
	p.due = until
	s.Wake()
}
