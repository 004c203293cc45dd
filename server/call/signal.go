package call

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/chat"
	"github.com/quckchat/quckchat/storage"
)

const (
	kindOffer     = "webrtc:offer"
	kindAnswer    = "webrtc:answer"
	kindCandidate = "webrtc:ice-candidate"
)

// OfferInput carries an offer to somebody in the call.
type OfferInput struct {
	Body struct {
		CallID       string          `json:"callId" maxLength:"64"`
		TargetUserID string          `json:"targetUserId" maxLength:"64"`
		Offer        json.RawMessage `json:"offer"`
	}
}

// AnswerOfferInput carries the answer to an offer.
type AnswerOfferInput struct {
	Body struct {
		CallID       string          `json:"callId" maxLength:"64"`
		TargetUserID string          `json:"targetUserId" maxLength:"64"`
		Answer       json.RawMessage `json:"answer"`
	}
}

// CandidateInput carries an ICE candidate.
type CandidateInput struct {
	Body struct {
		CallID       string          `json:"callId" maxLength:"64"`
		TargetUserID string          `json:"targetUserId" maxLength:"64"`
		Candidate    json.RawMessage `json:"candidate"`
	}
}

// Done is the answer of operations that only confirm.
type Done = chat.Done

// Offer sends an offer to the device of somebody in the same call; it waits for one that rings or is away. Codes:
// VALIDATION, CALL_NOT_FOUND, NOT_IN_CALL, CALL_PARTICIPANT_NOT_FOUND, BLOCKED, USER_BANNED, USER_DEACTIVATED.
func (s *Service) Offer(ctx context.Context, by api.Caller, in *OfferInput) (Done, error) {
	b := &in.Body
	return s.pass(ctx, by, b.TargetUserID, kindOffer, Signal{CallID: b.CallID, Offer: b.Offer})
}

// AnswerOffer sends the answer to an offer. Codes: as of Offer.
func (s *Service) AnswerOffer(ctx context.Context, by api.Caller, in *AnswerOfferInput) (Done, error) {
	b := &in.Body
	return s.pass(ctx, by, b.TargetUserID, kindAnswer, Signal{CallID: b.CallID, Answer: b.Answer})
}

// Candidate sends an ICE candidate. Codes: as of Offer.
func (s *Service) Candidate(ctx context.Context, by api.Caller, in *CandidateInput) (Done, error) {
	b := &in.Body
	return s.pass(ctx, by, b.TargetUserID, kindCandidate, Signal{CallID: b.CallID, Candidate: b.Candidate})
}

// pass hands a signal over. Both must be in the call, the sender with this device, and still be allowed to talk.
func (s *Service) pass(ctx context.Context, by api.Caller, target, kind string, v Signal) (Done, error) {
	if size := v.size(); size > signalMax {
		return Done{}, api.Invalid(field(kind), fmt.Sprintf("expected at most %d bytes", signalMax))
	}
	v.CallID, v.From = plainID(v.CallID), by.UserID
	s.mu.Lock()
	c, _, err := s.mine(by, v.CallID)
	s.mu.Unlock()
	if err != nil {
		return Done{}, err
	}
	if err := s.db.Read(ctx, func(q storage.View) error { return mayTalk(q, by, target, c.conversationID) }); err != nil {
		return Done{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c, me, err := s.mine(by, v.CallID) // it may have ended meanwhile
	if err != nil {
		return Done{}, err
	}
	if !me.on(by) {
		return Done{}, api.E("NOT_IN_CALL")
	}
	me.socket = by.Socket
	p := c.party(target)
	if p == nil || p == me || p.state != joined && p.state != ringing {
		return Done{}, api.E("CALL_PARTICIPANT_NOT_FOUND")
	}
	s.signal(p, kind, by.UserID, v, v.size())
	return Done{Success: true}, nil
}

// mayTalk checks that two people in a call may still be in one: who was removed from its conversation, banned, or blocked
// since it began, is not. Codes: CALL_NOT_FOUND, BLOCKED, USER_BANNED, USER_DEACTIVATED.
func mayTalk(q storage.View, by api.Caller, other, conversationID string) error {
	if err := account.MayAct(q, by, q.Millis()); err != nil {
		return err
	}
	if blocked, err := account.Blocked(q, by.UserID, other); err != nil || blocked {
		return cmp.Or(err, error(api.E("BLOCKED")))
	}
	return stillThere(q, by.UserID, conversationID)
}

func field(kind string) string {
	switch kind {
	case kindOffer:
		return "offer"
	case kindAnswer:
		return "answer"
	}
	return "candidate"
}

// mine finds the live call that somebody was called to. The caller holds mu. Codes: CALL_NOT_FOUND.
func (s *Service) mine(by api.Caller, callID string) (*session, *party, error) {
	if c := s.live[callID]; c != nil {
		if p := c.party(by.UserID); p != nil {
			return c, p, nil
		}
	}
	return nil, nil, api.E("CALL_NOT_FOUND")
}

// ToggleInput says whether a microphone or camera is on.
type ToggleInput struct {
	Body struct {
		CallID  string `json:"callId" maxLength:"64"`
		Enabled bool   `json:"enabled"`
	}
}

// Toggled is the payload of call:participant:audio-toggled and call:participant:video-toggled.
type Toggled struct {
	CallID  string `json:"callId"`
	UserID  string `json:"userId"`
	Enabled bool   `json:"enabled"`
}

// ToggleAudio tells the others whether somebody's microphone is on. Codes: CALL_NOT_FOUND, NOT_IN_CALL.
func (s *Service) ToggleAudio(_ context.Context, by api.Caller, in *ToggleInput) (Done, error) {
	return s.toggle(by, in, kindAudioToggled)
}

// ToggleVideo tells the others whether somebody's camera is on. Codes: CALL_NOT_FOUND, NOT_IN_CALL.
func (s *Service) ToggleVideo(_ context.Context, by api.Caller, in *ToggleInput) (Done, error) {
	return s.toggle(by, in, kindVideoToggled)
}

func (s *Service) toggle(by api.Caller, in *ToggleInput, kind string) (Done, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, me, err := s.mine(by, plainID(in.Body.CallID))
	if err != nil {
		return Done{}, err
	}
	if !me.on(by) {
		return Done{}, api.E("NOT_IN_CALL")
	}
	s.tellOthers(c, by.UserID, kind, Toggled{c.id, by.UserID, in.Body.Enabled})
	return Done{Success: true}, nil
}
