package call

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// In the mesh of a huddle, shipped clients send each other everything themselves; the server passes on what they tell each
// other. They know these events without the prefix (hub, meshEvents).

// MeshInput names the huddle whose mesh a device enters or leaves.
type MeshInput struct {
	Body struct {
		RoomID string `json:"roomId" maxLength:"64"`
	}
}

// MeshRoom confirms that a device has entered or left a mesh.
type MeshRoom struct {
	RoomID string `json:"roomId"`
	UserID string `json:"userId,omitempty"`
}

// MeshMember is somebody who has entered or left the mesh.
type MeshMember struct {
	UserID    string `json:"userId"`
	Timestamp string `json:"timestamp"`
}

// MeshSignal is what one device in a mesh tells another.
type MeshSignal struct {
	From      string          `json:"from"`
	To        string          `json:"to"`
	Offer     json.RawMessage `json:"offer,omitempty"`
	Answer    json.RawMessage `json:"answer,omitempty"`
	Candidate json.RawMessage `json:"candidate,omitempty"`
	Timestamp string          `json:"timestamp"`
}

// MeshToggled says that somebody's microphone or camera was turned on or off.
type MeshToggled struct {
	UserID    string `json:"userId"`
	Enabled   bool   `json:"enabled"`
	Timestamp string `json:"timestamp"`
}

// MeshPeople are those in the mesh.
type MeshPeople struct {
	Participants []MeshPerson `json:"participants"`
}

// MeshPerson is somebody in the mesh.
type MeshPerson struct {
	UserID   string `json:"userId"`
	SocketID string `json:"socketId"`
}

// address is an event for the device of a seat.
func (p *seat) address(kind string, value any) event.Live {
	return event.Live{Event: event.Event{Kind: kind, Scope: event.ScopeSession, ScopeID: p.device}, Value: value, Socket: p.socket}
}

// tellRoom tells the others in a huddle. The caller holds mu.
func (s *Service) tellRoom(r *room, userID, kind string, value any) {
	for _, p := range r.seats {
		if p.userID != userID {
			s.events.Tell(p.address(kind, value))
		}
	}
}

// tellMesh tells the others in its mesh. The caller holds mu.
func (s *Service) tellMesh(r *room, userID, kind string, value any) {
	for _, p := range r.seats {
		if p.userID != userID && p.meshed {
			s.events.Tell(p.address(kind, value))
		}
	}
}

// seated finds the seat of a caller, who must be on the device that takes part and still be allowed to be there. The caller
// does not hold mu. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE.
func (s *Service) seated(ctx context.Context, by api.Caller, roomID string) error {
	if err := s.db.Read(ctx, func(v storage.View) error { return s.mayEnter(v, by.UserID, roomID) }); err != nil {
		return err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	if _, me := s.own(by, roomID); me == nil {
		return api.E("NOT_IN_HUDDLE")
	}
	return nil
}

// own is the seat of a caller on this device, nil when there is none. The caller holds mu.
func (s *Service) own(by api.Caller, roomID string) (*room, *seat) {
	r := s.huddles.rooms[roomID]
	if r == nil {
		return nil, nil
	}
	if me := r.seat(by.UserID); me != nil && me.device == by.SessionID {
		return r, me
	}
	return r, nil
}

// Enter takes a device that has joined a huddle into its mesh. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, MESH_FULL.
func (s *Service) Enter(ctx context.Context, by api.Caller, in *MeshInput) (Done, error) {
	if err := s.seated(ctx, by, in.Body.RoomID); err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, me := s.own(by, in.Body.RoomID)
	if me == nil {
		return Done{}, api.E("NOT_IN_HUDDLE")
	}
	n := 0
	for _, p := range r.seats {
		if p.meshed && p != me {
			n++
		}
	}
	if n >= peopleMax {
		return Done{}, api.E("MESH_FULL", "max", peopleMax)
	}
	me.meshed, me.socket = true, by.Socket
	s.events.Tell(me.address(kindMeshEntered, MeshRoom{r.roomID, by.UserID}))
	s.tellMesh(r, by.UserID, kindMeshJoined, MeshMember{by.UserID, api.Time(s.db.Now())})
	return Done{Success: true}, nil
}

// Exit takes a device out of the mesh; its person stays in the huddle until they leave it. Codes: HUDDLE_NOT_FOUND,
// NOT_IN_HUDDLE.
func (s *Service) Exit(ctx context.Context, by api.Caller, in *MeshInput) (Done, error) {
	if err := s.seated(ctx, by, in.Body.RoomID); err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, me := s.own(by, in.Body.RoomID)
	if me == nil {
		return Done{}, api.E("NOT_IN_HUDDLE")
	}
	if me.meshed {
		me.meshed = false
		s.tellMesh(r, by.UserID, kindMeshLeft, MeshMember{by.UserID, api.Time(s.db.Now())})
	}
	s.events.Tell(me.address(kindMeshExited, MeshRoom{RoomID: r.roomID}))
	return Done{Success: true}, nil
}

// MeshOfferInput carries an offer to somebody in the mesh.
type MeshOfferInput struct {
	Body struct {
		RoomID string          `json:"roomId" maxLength:"64"`
		To     string          `json:"to" maxLength:"64"`
		Offer  json.RawMessage `json:"offer"`
	}
}

// MeshAnswerInput carries the answer to an offer.
type MeshAnswerInput struct {
	Body struct {
		RoomID string          `json:"roomId" maxLength:"64"`
		To     string          `json:"to" maxLength:"64"`
		Answer json.RawMessage `json:"answer"`
	}
}

// MeshCandidateInput carries an ICE candidate.
type MeshCandidateInput struct {
	Body struct {
		RoomID    string          `json:"roomId" maxLength:"64"`
		To        string          `json:"to" maxLength:"64"`
		Candidate json.RawMessage `json:"candidate"`
	}
}

// MeshOffer passes an offer on. Codes: VALIDATION, HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, CALL_PARTICIPANT_NOT_FOUND.
func (s *Service) MeshOffer(ctx context.Context, by api.Caller, in *MeshOfferInput) (Done, error) {
	b := &in.Body
	return s.passMesh(ctx, by, b.RoomID, kindMeshOffer, "offer", len(b.Offer), MeshSignal{To: b.To, Offer: b.Offer})
}

// MeshAnswer passes an answer on. Codes: as of MeshOffer.
func (s *Service) MeshAnswer(ctx context.Context, by api.Caller, in *MeshAnswerInput) (Done, error) {
	b := &in.Body
	return s.passMesh(ctx, by, b.RoomID, kindMeshAnswer, "answer", len(b.Answer), MeshSignal{To: b.To, Answer: b.Answer})
}

// MeshCandidate passes a candidate on. Codes: as of MeshOffer.
func (s *Service) MeshCandidate(ctx context.Context, by api.Caller, in *MeshCandidateInput) (Done, error) {
	b := &in.Body
	return s.passMesh(ctx, by, b.RoomID, kindMeshCandidate, "candidate", len(b.Candidate), MeshSignal{To: b.To, Candidate: b.Candidate})
}

func (s *Service) passMesh(ctx context.Context, by api.Caller, roomID, kind, name string, size int, v MeshSignal) (Done, error) {
	if size > signalMax {
		return Done{}, api.Invalid(name, fmt.Sprintf("expected at most %d bytes", signalMax))
	}
	if err := s.seated(ctx, by, roomID); err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, me := s.own(by, roomID)
	if me == nil || !me.meshed {
		return Done{}, api.E("NOT_IN_HUDDLE")
	}
	to := r.seat(v.To)
	if to == nil || to == me || !to.meshed {
		return Done{}, api.E("CALL_PARTICIPANT_NOT_FOUND")
	}
	v.From, v.Timestamp = by.UserID, api.Time(s.db.Now())
	s.events.Tell(to.address(kind, v))
	return Done{Success: true}, nil
}

// MeshToggleInput says whether a microphone or camera is on.
type MeshToggleInput struct {
	Body struct {
		RoomID  string `json:"roomId" maxLength:"64"`
		Enabled bool   `json:"enabled"`
	}
}

// MeshAudio says whether one's microphone is on. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE.
func (s *Service) MeshAudio(ctx context.Context, by api.Caller, in *MeshToggleInput) (Done, error) {
	return s.switched(ctx, by, in.Body.RoomID, SeatSwitches{Audio: &in.Body.Enabled})
}

// MeshVideo says whether one's camera is on. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE.
func (s *Service) MeshVideo(ctx context.Context, by api.Caller, in *MeshToggleInput) (Done, error) {
	return s.switched(ctx, by, in.Body.RoomID, SeatSwitches{Video: &in.Body.Enabled})
}

// Participants tells the device who is in the mesh. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE.
func (s *Service) Participants(ctx context.Context, by api.Caller, in *MeshInput) (Done, error) {
	if err := s.seated(ctx, by, in.Body.RoomID); err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, me := s.own(by, in.Body.RoomID)
	if me == nil {
		return Done{}, api.E("NOT_IN_HUDDLE")
	}
	list := MeshPeople{Participants: []MeshPerson{}}
	for _, p := range r.seats {
		if p.meshed {
			list.Participants = append(list.Participants, MeshPerson{p.userID, p.userID}) // the names of connections are nobody's business
		}
	}
	s.events.Tell(me.address(kindMeshListed, list))
	return Done{Success: true}, nil
}
