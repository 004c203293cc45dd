package call

import (
	"context"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Create calls people, as Initiate does, for clients that do it over REST. Shipped clients do both, one right after the
// other: what the caller has just begun is answered then. Codes: as of Initiate.
func (s *Service) Create(ctx context.Context, by api.Caller, in *InitiateInput) (*Call, error) {
	id := s.begun(by, in)
	if id == "" {
		var err error
		if id, err = s.place(ctx, by, in); err != nil {
			return nil, err
		}
	}
	return s.get(ctx, by, id)
}

// begun finds the call that the caller has begun and that these people are called to; "" when there is none.
func (s *Service) begun(by api.Caller, in *InitiateInput) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, _ := s.sessionOf(by.UserID)
	if c == nil || c.initiator != by.UserID {
		return ""
	}
	if in.Body.ConversationID != nil && *in.Body.ConversationID != "" && *in.Body.ConversationID != c.conversationID {
		return ""
	}
	for _, id := range in.Body.Participants {
		if c.party(id) == nil {
			return ""
		}
	}
	return c.id
}

func (s *Service) get(ctx context.Context, by api.Caller, id string) (c *Call, err error) {
	err = s.db.Read(ctx, func(v storage.View) error { c, err = one(v, by.UserID, id); return err })
	return c, err
}

// ListInput pages through calls.
type ListInput struct {
	Page  int `query:"page" default:"1" minimum:"1" maximum:"100000"`
	Limit int `query:"limit" default:"50" minimum:"1" maximum:"100"`
}

// List returns the caller's calls, newest first.
func (s *Service) List(ctx context.Context, by api.Caller, in *ListInput) (list []*Call, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		list, err = calls(v, by.UserID, "p.is_hidden = 0 ORDER BY p.call_id DESC LIMIT ? OFFSET ?", in.Limit, (in.Page-1)*in.Limit)
		return err
	})
	return list, err
}

// Get returns a call that the caller was called to. Codes: CALL_NOT_FOUND.
func (s *Service) Get(ctx context.Context, by api.Caller, in *CallInput) (*Call, error) {
	return s.get(ctx, by, plainID(in.CallID))
}

// HistoryInput names a conversation.
type HistoryInput struct {
	ConversationID string `path:"conversationId" maxLength:"64"`
	ListInput
}

// History returns the calls of a conversation that the caller was called to, newest first. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) History(ctx context.Context, by api.Caller, in *HistoryInput) (list []*Call, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		var member bool
		if err := v.QueryRow("SELECT EXISTS (SELECT 1 FROM member WHERE user_id = ? AND conversation_id = ? AND left_seq IS NULL)", by.UserID, in.ConversationID).Scan(&member); err != nil {
			return err
		}
		if !member {
			return api.E("CONVERSATION_NOT_FOUND")
		}
		list, err = calls(v, by.UserID, "c.conversation_id = ? AND p.is_hidden = 0 ORDER BY c.id DESC LIMIT ? OFFSET ?", in.ConversationID, in.Limit, (in.Page-1)*in.Limit)
		return err
	})
	return list, err
}

// ClearHistory clears the caller's list of calls; calls that go on stay.
func (s *Service) ClearHistory(ctx context.Context, by api.Caller, _ *struct{}) (Done, error) {
	for {
		var n int64
		err := s.db.Write(ctx, "call.clear", func(tx *storage.Tx) error {
			result, err := tx.Exec(`UPDATE call_participant SET is_hidden = 1 WHERE user_id = ?1 AND call_id IN (
				SELECT p.call_id FROM call_participant p JOIN call c ON c.id = p.call_id WHERE p.user_id = ?1 AND p.is_hidden = 0 AND c.status <> 'ongoing' LIMIT 500)`, by.UserID)
			if err != nil {
				return err
			}
			n, err = result.RowsAffected()
			return err
		})
		if err != nil || n == 0 {
			return Done{Success: err == nil}, err
		}
	}
}

// UpdateInput says how a call ended. The server knows how long it took.
type UpdateInput struct {
	CallID string `path:"callId" maxLength:"64"`
	Body   struct {
		Status   *string  `json:"status,omitempty" enum:"ongoing,completed,missed,rejected,failed"`
		Duration *float64 `json:"duration,omitempty" doc:"says nothing"`
	}
}

// Update hangs up for the caller when the status is one of an end. Said again, or of a call that has ended, it changes
// nothing. Codes: CALL_NOT_FOUND.
func (s *Service) Update(ctx context.Context, by api.Caller, in *UpdateInput) (*Call, error) {
	status := "ongoing"
	if in.Body.Status != nil {
		status = *in.Body.Status
	}
	return s.update(ctx, by, in.CallID, status)
}

func (s *Service) update(ctx context.Context, by api.Caller, callID, status string) (*Call, error) {
	callID = plainID(callID)
	if status != "ongoing" {
		if err := s.end(ctx, by, callID, status); err != nil {
			return nil, err
		}
	}
	return s.get(ctx, by, callID)
}

// end hangs up, and takes a call that has ended already for what was wanted. Codes: CALL_NOT_FOUND.
func (s *Service) end(ctx context.Context, by api.Caller, callID, status string) error {
	s.order.Lock()
	defer s.order.Unlock()
	if err := s.hangUp(ctx, by, callID, status); !api.HasCode(err, "CALL_NOT_FOUND") {
		return err
	}
	_, err := s.get(ctx, by, callID)
	return err
}

// join answers a call over REST, or comes back to it. Codes: as of Answer.
func (s *Service) join(ctx context.Context, by api.Caller, in *CallInput) (*Call, error) {
	a, err := s.answer(ctx, by, in.CallID)
	if err != nil {
		return nil, err
	}
	a.Follow()
	return s.get(ctx, by, a.CallID)
}

// InviteInput names people to ring.
type InviteInput struct {
	CallID string `path:"callId" maxLength:"64"`
	Body   struct {
		UserIDs []string `json:"userIds" minItems:"1" maxItems:"256" nullable:"false"`
	}
}

// Invited says who was rung.
type Invited struct {
	Success bool     `json:"success"`
	Invited []string `json:"invited"`
	Message string   `json:"message"`
}

// Invite rings more people, who must be reachable for the caller; in a conversation they must be its members. Who is in the
// call already is not rung. Codes: CALL_NOT_FOUND, NOT_IN_CALL, USER_NOT_FOUND, BLOCKED, CALL_FULL.
func (s *Service) Invite(ctx context.Context, by api.Caller, in *InviteInput) (*Invited, error) {
	s.order.Lock()
	defer s.order.Unlock()
	callID := plainID(in.CallID)
	s.mu.Lock()
	c, me, err := s.mine(by, callID)
	var fresh []string
	var took int
	switch {
	case err != nil:
	case me.state != joined:
		err = api.E("NOT_IN_CALL")
	default:
		for _, id := range distinct(in.Body.UserIDs) {
			if p := c.party(id); p == nil || p.state != joined && p.state != ringing {
				fresh = append(fresh, id)
			}
		}
		if took = c.count(joined) + c.count(ringing); took+len(fresh) > peopleMax {
			err = api.E("CALL_FULL", "max", peopleMax)
		}
	}
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var from From
	err = s.db.Write(ctx, "call.invite", func(tx *storage.Tx) error {
		if err := account.MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		for i, id := range fresh { // at most peopleMax
			if err := reachable(tx, by.UserID, id); err != nil {
				return err
			}
			if err := stillThere(tx, id, c.conversationID); err != nil {
				return api.E("USER_NOT_FOUND")
			}
			if err := recordParty(tx, callID, id, len(c.people)+i, ringing, "", nil); err != nil {
				return err
			}
		}
		if _, err := tx.Exec("UPDATE call SET is_group = 1 WHERE id = ? AND (SELECT count(*) FROM call_participant WHERE call_id = call.id) > 2", callID); err != nil {
			return err
		}
		from, err = caller(tx, by.UserID)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range fresh {
		p := c.party(id)
		if p == nil {
			p = &party{userID: id}
			c.people = append(c.people, p)
		}
		p.stop()
		p.state = ringing
		s.ring(p, s.db.Now().Add(ringTime))
	}
	c.group = c.group || len(c.people) > 2
	v := s.incoming(c, from, true)
	for _, id := range fresh {
		s.tell(id, kindIncoming, v, "")
	}
	if fresh == nil {
		fresh = []string{}
	}
	return &Invited{true, fresh, "Invitations sent."}, nil
}
