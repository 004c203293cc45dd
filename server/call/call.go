// Package call is calls: who rings whom, who takes part, and what the devices tell each other so that sound and picture
// find their way. The media themselves go from device to device, or through the TURN server; nothing of them comes here.
//
// # A call
//
// [Service.Initiate] makes a row and a session under the same id, and rings every device of everybody called. The first
// device that answers takes the call for its person; the others are told call:ended with reason answered_elsewhere. Offers,
// answers and ICE candidates go to the device that takes part, and wait for it while it rings or is away for a moment. A
// call of two ends when one of them hangs up; a call of more goes on while two are in it. Who does not answer in
// [ringTime] has missed it.
//
// # Devices that go away
//
// A device whose last socket closes has [awayTime] to come back: it is told call:resume then, and signals anew with an ICE
// restart. The same holds for everybody after a restart of the server, which touches no media of a call between two devices:
// the rows say who was in which call.
//
// # State
//
// Sessions are in memory under Service.mu, and nothing blocks under it. What changes the state of a call holds
// Service.order first, so that changes happen one after the other, each with its write to the database. A call that has
// ended for people and could not be written is closed by the calendar.
package call

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/chat"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
	"github.com/quckchat/quckchat/turn/sfu"
)

// The times and sizes of a call.
const (
	ringTime     = 45 * time.Second
	awayTime     = 30 * time.Second
	peopleMax    = 8        // everybody sends to everybody
	signalMax    = 64 << 10 // bytes of one offer, answer or candidate
	waitingMax   = 128      // signals that wait for one person
	waitingBytes = 512 << 10
)

// Options are what New needs.
type Options struct {
	DB     *storage.DB
	Events *event.Log
	Jobs   *job.Queue
	Config *config.Live
	Log    *slog.Logger
	Chat   *chat.Service
	// Hears reports whether a session has a socket open on which events of this kind are told.
	Hears func(sessionID, kind string) bool
	// ICE returns the STUN and TURN servers for a device, with credentials for one call.
	ICE func(by api.Caller, callID string) []turn.ICEServer
	SFU *sfu.Server // nil where there is none
}

// Service holds the calls that are going on.
type Service struct {
	db     *storage.DB
	events *event.Log
	jobs   *job.Queue
	config *config.Live
	log    *slog.Logger
	chat   *chat.Service
	hears  func(sessionID, kind string) bool
	ice    func(by api.Caller, callID string) []turn.ICEServer
	sfu    *sfu.Server

	order sync.Mutex // held by whatever changes the state of a call, with its write
	mu    sync.Mutex // guards everything below
	live  map[string]*session
	wake  chan struct{}

	huddles huddles
}

// New makes the service and registers its events.
func New(o Options) *Service {
	s := &Service{
		db: o.DB, events: o.Events, jobs: o.Jobs, config: o.Config, log: o.Log, chat: o.Chat, hears: o.Hears, ice: o.ICE, sfu: o.SFU,
		live: map[string]*session{}, wake: make(chan struct{}, 1),
		huddles: huddles{rooms: map[string]*room{}},
	}
	o.Events.Register(s.Events()...)
	return s
}

// ICEServers is the answer of GET /calls/ice-servers.
type ICEServers struct {
	ICEServers []turn.ICEServer `json:"iceServers"`
}

// FreshICE returns STUN and TURN servers with new credentials.
func (s *Service) FreshICE(_ context.Context, by api.Caller, _ *struct{}) (ICEServers, error) {
	return ICEServers{s.ice(by, "")}, nil
}

// Routes are the operations on calls.
func (s *Service) Routes() []api.Row {
	people := []api.Option{api.Alias("participantIds", "participants"), api.Alias("userIds", "participants"), api.Alias("type", "callType")}
	ended := func(status string) func(ctx context.Context, by api.Caller, in *CallInput) (*Call, error) {
		return func(ctx context.Context, by api.Caller, in *CallInput) (*Call, error) {
			return s.update(ctx, by, in.CallID, status)
		}
	}
	rows := []api.Row{
		api.Op("", "call:initiate", api.RoleUser, api.TierWrite, s.Initiate, append(people, api.Doc("Call people: everybody named, or the other members of the conversation."))...),
		api.Op("", "call:answer", api.RoleUser, api.TierWrite, s.Answer, api.Doc("Answer a call on this device; what waited for it follows the answer.")),
		api.Op("", "call:reject", api.RoleUser, api.TierWrite, s.Reject, api.Doc("Decline a call, on all devices.")),
		api.Op("", "call:end", api.RoleUser, api.TierWrite, s.End, api.Doc("Hang up: ends a call of two, leaves a call of more.")),
		api.Op("", "webrtc:offer", api.RoleUser, tierSignal, s.Offer, api.Doc("Send an offer to somebody in the call.")),
		api.Op("", "webrtc:answer", api.RoleUser, tierSignal, s.AnswerOffer, api.Doc("Send the answer to somebody's offer.")),
		api.Op("", "webrtc:ice-candidate", api.RoleUser, tierSignal, s.Candidate, api.Doc("Send an ICE candidate to somebody in the call.")),
		api.Op("", "call:toggle-audio", api.RoleUser, api.TierWrite, s.ToggleAudio, api.Doc("Say whether one's microphone is on.")),
		api.Op("", "call:toggle-video", api.RoleUser, api.TierWrite, s.ToggleVideo, api.Doc("Say whether one's camera is on.")),

		api.Op("GET /calls/ice-servers", "call:ice-servers", api.RoleUser, api.TierRead, s.FreshICE, api.Doc("STUN and TURN servers with credentials that are good for a while.")),
		api.Op("POST /calls", "", api.RoleUser, api.TierWrite, s.Create, append(people, api.Doc("Call people, or get the call that this person has just begun."))...),
		api.Op("GET /calls", "call:list", api.RoleUser, api.TierRead, s.List, api.Doc("My calls, newest first.")),
		api.Op("GET /calls/{callId}", "call:get", api.RoleUser, api.TierRead, s.Get, api.Doc("One call.")),
		api.Op("PUT /calls/{callId}", "", api.RoleUser, api.TierWrite, s.Update, api.Doc("Say how a call ended; said again, or after it has ended, it changes nothing.")),
		api.Op("PUT /calls/{callId}/answer", "", api.RoleUser, api.TierWrite, s.join, api.Doc("Answer a call.")),
		api.Op("PUT /calls/{callId}/join", "", api.RoleUser, api.TierWrite, s.join, api.Doc("Answer a call, or come back to it.")),
		api.Op("PUT /calls/{callId}/leave", "", api.RoleUser, api.TierWrite, ended("completed"), api.Doc("Leave a call.")),
		api.Op("PUT /calls/{callId}/end", "", api.RoleUser, api.TierWrite, ended("completed"), api.Doc("Hang up.")),
		api.Op("PUT /calls/{callId}/reject", "", api.RoleUser, api.TierWrite, ended("rejected"), api.Doc("Decline a call.")),
		api.Op("POST /calls/{callId}/invite", "call:invite", api.RoleUser, api.TierWrite, s.Invite, api.Alias("participants", "userIds"), api.Alias("participantIds", "userIds"), api.Doc("Ring more people.")),
		api.Op("DELETE /calls/history", "call:clear", api.RoleUser, api.TierWrite, s.ClearHistory, api.Doc("Clear my list of calls; the others keep theirs.")),
		api.Op("GET /calls/history/{conversationId}", "call:history", api.RoleUser, api.TierRead, s.History, api.Doc("The calls of a conversation that I was called to, newest first.")),
	}
	return append(rows, s.huddleRoutes()...)
}

// tierSignal is generous: a device has all its candidates at once, for everybody in the call.
var tierSignal = api.Tier{Name: "signal", Limit: 200, Window: time.Second}
