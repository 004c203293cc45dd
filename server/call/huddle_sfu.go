package call

import (
	"context"
	"errors"
	"fmt"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/turn"
	"github.com/quckchat/quckchat/turn/sfu"
)

// The SFU of a huddle: a device that has joined connects to it, sends what it has once, and gets what all others send. How
// the descriptions go back and forth is said in package sfu.

// Connected is the answer of huddle:connect.
type Connected struct {
	Success    bool             `json:"success"`
	RoomID     string           `json:"roomId"`
	ICEServers []turn.ICEServer `json:"iceServers"`
	Speakers   []string         `json:"speakers"` // ids of who speaks, the one to show first
}

// SFUOffer is the payload of huddle:offer: an offer of the server, to be answered with its id.
type SFUOffer struct {
	RoomID string `json:"roomId"`
	sfu.Offer
}

// SFUAnswer is the payload of huddle:answer: the answer to the device's own offer.
type SFUAnswer struct {
	RoomID string `json:"roomId"`
	sfu.Answer
}

// SFUState is the payload of huddle:state.
type SFUState struct {
	RoomID string    `json:"roomId"`
	State  sfu.State `json:"state"` // joined, connected, interrupted; gone: connect again
}

// gone is the state of a device that the SFU has given up.
const gone sfu.State = "gone"

// Speakers is the payload of huddle:speakers.
type Speakers struct {
	RoomID  string   `json:"roomId"`
	UserIDs []string `json:"userIds"`
}

// huddleMax is how many people a huddle holds.
func (s *Service) huddleMax() int { return s.config.Get().HuddleMax }

// Connect connects a device that has joined a huddle to its SFU; said again, as after a reload, it begins anew. Codes:
// HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, HUDDLE_FULL, SFU_OFF, SFU_BUSY.
func (s *Service) Connect(ctx context.Context, by api.Caller, in *MeshInput) (*Connected, error) {
	if s.sfu == nil {
		return nil, api.E("SFU_OFF")
	}
	if err := s.seated(ctx, by, in.Body.RoomID); err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r, me := s.own(by, in.Body.RoomID)
	if me == nil {
		return nil, api.E("NOT_IN_HUDDLE")
	}
	me.socket = by.Socket
	if r.media == nil {
		media, err := s.sfu.Room(r.roomID, sfu.RoomOptions{
			OnSpeakers: func(ids []string) { s.speak(r.roomID, ids) },
			OnGone:     func(userID string, why error) { s.mediaGone(r.roomID, userID, why) },
		})
		if err != nil {
			return nil, fmt.Errorf("open a room of the SFU: %w", err)
		}
		r.media = media
	}
	if me.media != nil {
		me.media.Close()
	}
	var err error
	me.media, err = r.media.Join(me.userID, sfu.PeerOptions{
		OnOffer:  func(o sfu.Offer) { s.tellSeat(r.roomID, by.UserID, kindSFUOffer, SFUOffer{r.roomID, o}) },
		OnAnswer: func(a sfu.Answer) { s.tellSeat(r.roomID, by.UserID, kindSFUAnswer, SFUAnswer{r.roomID, a}) },
		OnState:  func(state sfu.State) { s.tellSeat(r.roomID, by.UserID, kindSFUState, SFUState{r.roomID, state}) },
	})
	if err != nil {
		return nil, sfuError(err)
	}
	s.hush(r, me)
	return &Connected{true, r.roomID, s.ice(by, r.roomID), r.media.Speakers()}, nil
}

// sfuError is what a client is told of a refusal of the SFU.
func sfuError(err error) error {
	switch {
	case errors.Is(err, sfu.ErrRoomFull):
		return api.E("HUDDLE_FULL", "max", sfuMax)
	case errors.Is(err, sfu.ErrCapacity), errors.Is(err, sfu.ErrBusy):
		return api.E("SFU_BUSY")
	case errors.Is(err, sfu.ErrGlare):
		return api.E("SFU_GLARE")
	case errors.Is(err, sfu.ErrStale):
		return api.E("SFU_STALE")
	case errors.Is(err, sfu.ErrTracks):
		return api.E("SFU_TRACKS")
	case errors.Is(err, sfu.ErrSDP):
		return api.E("SFU_SDP")
	case errors.Is(err, sfu.ErrClosed), errors.Is(err, sfu.ErrNotFound):
		return api.E("SFU_NOT_CONNECTED")
	}
	return err
}

// sfuMax is how many devices the SFU takes in a room.
const sfuMax = 32

// SFUOfferInput is an offer of a device, which says what it publishes.
type SFUOfferInput struct {
	Body struct {
		RoomID  string            `json:"roomId" maxLength:"64"`
		SDP     string            `json:"sdp"`
		Sources map[string]string `json:"sources,omitempty" doc:"what the track of each mid is: microphone, camera, screen"`
	}
}

// SFUOffer takes an offer of a device; the answer comes as huddle:answer. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE,
// SFU_NOT_CONNECTED, SFU_GLARE, SFU_TRACKS, SFU_SDP, SFU_BUSY.
func (s *Service) SFUOffer(_ context.Context, by api.Caller, in *SFUOfferInput) (Done, error) {
	p, err := s.plugged(by, in.Body.RoomID)
	if err != nil {
		return Done{}, err
	}
	sources := map[string]sfu.Source{}
	for mid, source := range in.Body.Sources {
		if source := sfu.Source(source); source == sfu.Microphone || source == sfu.Camera || source == sfu.Screen {
			sources[mid] = source
		}
	}
	if err := p.Offer(in.Body.SDP, sources); err != nil {
		return Done{}, sfuError(err)
	}
	return Done{Success: true}, nil
}

// SFUAnswerInput is the answer of a device to an offer of the server.
type SFUAnswerInput struct {
	Body struct {
		RoomID string `json:"roomId" maxLength:"64"`
		ID     uint64 `json:"id"`
		SDP    string `json:"sdp"`
	}
}

// SFUAnswer takes the answer of a device. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, SFU_NOT_CONNECTED, SFU_STALE, SFU_SDP,
// SFU_BUSY.
func (s *Service) SFUAnswer(_ context.Context, by api.Caller, in *SFUAnswerInput) (Done, error) {
	p, err := s.plugged(by, in.Body.RoomID)
	if err != nil {
		return Done{}, err
	}
	if err := p.Answer(in.Body.ID, in.Body.SDP); err != nil {
		return Done{}, sfuError(err)
	}
	return Done{Success: true}, nil
}

// SFUCandidate takes a candidate, which nothing needs: the SFU answers to where checks come from. Codes: HUDDLE_NOT_FOUND,
// NOT_IN_HUDDLE, SFU_NOT_CONNECTED.
func (s *Service) SFUCandidate(_ context.Context, by api.Caller, in *MeshInput) (Done, error) {
	_, err := s.plugged(by, in.Body.RoomID)
	return Done{Success: err == nil}, err
}

// ViewInput says how a video is shown on a device.
type ViewInput struct {
	Body struct {
		RoomID  string `json:"roomId" maxLength:"64"`
		TrackID string `json:"trackId" maxLength:"128"`
		Width   int    `json:"width,omitempty" minimum:"0" maximum:"16384" doc:"pixels of the element that shows it; 0 is the best there is"`
		Paused  bool   `json:"paused,omitempty" doc:"it is not shown: nothing is sent"`
	}
}

// View has a video sent as it is shown. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, SFU_NOT_CONNECTED.
func (s *Service) View(_ context.Context, by api.Caller, in *ViewInput) (Done, error) {
	p, err := s.plugged(by, in.Body.RoomID)
	if err != nil {
		return Done{}, err
	}
	if err := p.View(in.Body.TrackID, sfu.View{Width: in.Body.Width, Paused: in.Body.Paused}); err != nil {
		return Done{}, sfuError(err)
	}
	return Done{Success: true}, nil
}

// plugged finds the connection of a device. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, SFU_NOT_CONNECTED.
func (s *Service) plugged(by api.Caller, roomID string) (*sfu.Peer, error) {
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r := s.huddles.rooms[roomID]
	switch {
	case r == nil || r.seat(by.UserID) == nil:
		return nil, api.E("HUDDLE_NOT_FOUND")
	case r.seat(by.UserID).device != by.SessionID:
		return nil, api.E("NOT_IN_HUDDLE")
	case r.seat(by.UserID).media == nil:
		return nil, api.E("SFU_NOT_CONNECTED")
	}
	return r.seat(by.UserID).media, nil
}

// tellSeat tells somebody in a huddle, if they still are.
func (s *Service) tellSeat(roomID, userID, kind string, value any) {
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	if r := s.huddles.rooms[roomID]; r != nil {
		if p := r.seat(userID); p != nil {
			s.events.Tell(p.address(kind, value))
		}
	}
}

func (s *Service) speak(roomID string, ids []string) {
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	if r := s.huddles.rooms[roomID]; r != nil {
		s.tellRoom(r, "", kindSpeakers, Speakers{roomID, ids})
	}
}

// mediaGone tells a device that the SFU has lost. Whether its person stays in the huddle follows from its sockets.
func (s *Service) mediaGone(roomID, userID string, why error) {
	if !errors.Is(why, sfu.ErrLeft) {
		s.log.Info("a device has lost its huddle", "huddle", roomID, "why", why)
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	if r := s.huddles.rooms[roomID]; r != nil {
		if p := r.seat(userID); p != nil && r.media != nil && r.media.Peer(userID) == nil {
			p.media = nil
			s.events.Tell(p.address(kindSFUState, SFUState{roomID, gone}))
		}
	}
}

// unplug takes a seat out of the SFU. The caller holds mu.
func (s *Service) unplug(p *seat) {
	if p.media != nil {
		p.media.Close()
		p.media = nil
	}
}

// closeRoom closes the room of the SFU. The caller holds mu.
func (s *Service) closeRoom(r *room) {
	if r.media != nil {
		r.media.Close()
		r.media = nil
	}
}

// hush tells the SFU whether to pass on what a seat says. The caller holds mu.
func (s *Service) hush(r *room, p *seat) {
	if r.media != nil && p.media != nil {
		_ = r.media.Mute(p.userID, sfu.Microphone, p.muted) // it is there, or has just gone
	}
}

// The kinds of event of the SFU.
const (
	kindSFUOffer  = "huddle:offer"
	kindSFUAnswer = "huddle:answer"
	kindSFUState  = "huddle:state"
	kindSpeakers  = "huddle:speakers"
)

func sfuEvents() []event.Kind {
	return []event.Kind{
		{Name: kindSFUOffer, Doc: "An offer of the SFU, with all tracks you get and the m-line of each; answer it by its id.", Value: SFUOffer{}},
		{Name: kindSFUAnswer, Doc: "The SFU's answer to your offer.", Value: SFUAnswer{}},
		{Name: kindSFUState, Doc: "What your connection to the SFU does: joined, connected, interrupted; gone: connect again.", Value: SFUState{}},
		{Name: kindSpeakers, Doc: "Who speaks now, the one to show first.", Value: Speakers{}},
	}
}

func (s *Service) sfuRoutes() []api.Row {
	return []api.Row{
		api.Op("", "huddle:connect", api.RoleUser, api.TierWrite, s.Connect, api.Doc("Connect this device to the SFU of a huddle it has joined.")),
		api.Op("", "huddle:offer", api.RoleUser, tierSignal, s.SFUOffer, api.Doc("Publish: an offer to the SFU, answered by the event huddle:answer.")),
		api.Op("", "huddle:answer", api.RoleUser, tierSignal, s.SFUAnswer, api.Doc("Answer an offer of the SFU.")),
		api.Op("", "huddle:candidate", api.RoleUser, tierSignal, s.SFUCandidate, api.Doc("An ICE candidate, which the SFU does not need.")),
		api.Op("", "huddle:view", api.RoleUser, tierSignal, s.View, api.Doc("Say how a video is shown here, so that no more of it is sent.")),
	}
}
