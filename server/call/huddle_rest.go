package call

import (
	"context"
	"fmt"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

func (s *Service) huddleRoutes() []api.Row {
	rows := []api.Row{
		api.Op("POST /huddle", "huddle:create", api.RoleUser, api.TierWrite, s.StartHuddle, api.Doc("Open a huddle, in a conversation or by itself, and come to it.")),
		api.Op("POST /huddle/join", "huddle:join", api.RoleUser, api.TierWrite, s.JoinHuddle, api.Doc("Come to a huddle of one's conversation, or one was invited to.")),
		api.Op("POST /huddle/{roomId}/leave", "huddle:leave", api.RoleUser, api.TierWrite, s.LeaveHuddle, api.Doc("Leave a huddle; the last one ends it.")),
		api.Op("PUT /huddle/{roomId}/participant", "huddle:update", api.RoleUser, api.TierWrite, s.UpdateSeat, api.Doc("Say whether one's microphone and camera are on.")),
		api.Op("GET /huddle/active/me", "huddle:active", api.RoleUser, api.TierRead, s.MyHuddle, api.Doc("The huddle I am in, or null.")),
		api.Op("GET /huddle/active/count", "", api.RoleUser, api.TierRead, s.CountHuddles, api.Doc("How many huddles there are that I may come to.")),
		api.Op("GET /huddle/chat/{chatId}", "huddle:list", api.RoleUser, api.TierRead, s.ChatHuddles, api.Doc("The huddles that go on in a conversation.")),
		api.Op("GET /huddle/history/me", "huddle:history", api.RoleUser, api.TierRead, s.HuddleHistory, api.Doc("The huddles I was in, newest first.")),
		api.Op("GET /huddle/stats/me", "", api.RoleUser, api.TierRead, s.HuddleStats, api.Doc("How many huddles I was in, and how long.")),
		api.Op("POST /huddle/force-leave", "", api.RoleUser, api.TierWrite, s.ForceLeave, api.Doc("Leave whatever huddle I am in.")),
		api.Op("GET /huddle/{roomId}", "huddle:get", api.RoleUser, api.TierRead, s.GetHuddle, api.Doc("One huddle.")),
		api.Op("GET /huddle/{roomId}/participants", "", api.RoleUser, api.TierRead, s.HuddlePeople, api.Doc("Who is in a huddle.")),
		api.Op("DELETE /huddle/{roomId}", "huddle:end", api.RoleUser, api.TierWrite, s.EndHuddle, api.Doc("End a huddle for everybody: who began it may, and the admins of its group.")),
		api.Op("POST /huddle/{roomId}/invite", "huddle:invite", api.RoleUser, api.TierWrite, s.InviteToHuddle, api.Doc("Invite people to the huddle one is in.")),
		api.Op("POST /huddle/{roomId}/knock", "huddle:knock", api.RoleUser, api.TierWrite, s.Knock, api.OK, api.Doc("Ask those in a huddle without a conversation to be let in; whoever knows its name may.")),
		api.Op("POST /huddle/{roomId}/admit", "huddle:admit", api.RoleUser, api.TierWrite, s.Admit, api.OK, api.Doc("Let somebody in who knocks, or send them away.")),
		api.Op("PUT /huddle/{roomId}/participants/{userId}/mute", "huddle:mute", api.RoleUser, api.TierWrite, s.MuteSeat, api.Doc("Mute somebody for everybody, or let them speak again: for moderators.")),

		api.Op("", "huddle:enter", api.RoleUser, api.TierWrite, s.Enter, api.Doc("Enter the mesh of a huddle one has joined (join-room of shipped clients).")),
		api.Op("", "huddle:exit", api.RoleUser, api.TierWrite, s.Exit, api.Doc("Leave the mesh (leave-room).")),
		api.Op("", "huddle:mesh-offer", api.RoleUser, tierSignal, s.MeshOffer, api.Doc("Send an offer to somebody in the mesh (webrtc-offer).")),
		api.Op("", "huddle:mesh-answer", api.RoleUser, tierSignal, s.MeshAnswer, api.Doc("Send an answer to somebody in the mesh (webrtc-answer).")),
		api.Op("", "huddle:mesh-candidate", api.RoleUser, tierSignal, s.MeshCandidate, api.Doc("Send an ICE candidate to somebody in the mesh (ice-candidate).")),
		api.Op("", "huddle:toggle-audio", api.RoleUser, api.TierWrite, s.MeshAudio, api.Doc("Say whether one's microphone is on (toggle-audio).")),
		api.Op("", "huddle:toggle-video", api.RoleUser, api.TierWrite, s.MeshVideo, api.Doc("Say whether one's camera is on (toggle-video).")),
		api.Op("", "huddle:participants", api.RoleUser, api.TierRead, s.Participants, api.Doc("Who is in the mesh; the answer comes as an event (get-participants).")),
	}
	return append(rows, s.sfuRoutes()...)
}

// SeatSwitches are what somebody has on.
type SeatSwitches struct {
	Audio, Video *bool
}

// SeatInput says what somebody has on.
type SeatInput struct {
	RoomID string `path:"roomId" maxLength:"64"`
	Body   struct {
		IsAudioEnabled *bool `json:"isAudioEnabled,omitempty"`
		IsVideoEnabled *bool `json:"isVideoEnabled,omitempty"`
		IsMuted        *bool `json:"isMuted,omitempty" doc:"the opposite of isAudioEnabled, for clients that say it so"`
	}
}

// UpdateSeat says whether one's microphone and camera are on. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE.
func (s *Service) UpdateSeat(ctx context.Context, by api.Caller, in *SeatInput) (*Huddle, error) {
	b := &in.Body
	switches := SeatSwitches{b.IsAudioEnabled, b.IsVideoEnabled}
	if b.IsMuted != nil && switches.Audio == nil {
		on := !*b.IsMuted
		switches.Audio = &on
	}
	if _, err := s.switched(ctx, by, in.RoomID, switches); err != nil {
		return nil, err
	}
	return s.huddle(ctx, by, in.RoomID)
}

// switched notes what somebody has on and tells the others. The caller may speak from another device than the one that
// takes part: it is their own huddle.
func (s *Service) switched(ctx context.Context, by api.Caller, roomID string, to SeatSwitches) (Done, error) {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	var r *room
	var now seat
	err := s.db.Write(ctx, "huddle.switch", func(tx *storage.Tx) error {
		if err := s.mayEnter(tx, by.UserID, roomID); err != nil {
			return err
		}
		s.huddles.mu.Lock()
		r = s.huddles.rooms[roomID]
		var me *seat
		if r != nil {
			me = r.seat(by.UserID)
		}
		if me == nil {
			s.huddles.mu.Unlock()
			return api.E("NOT_IN_HUDDLE")
		}
		now = *me
		s.huddles.mu.Unlock()
		if to.Audio != nil {
			now.audio = *to.Audio
		}
		if to.Video != nil {
			now.video = *to.Video
		}
		return recordSeat(tx, r, &now)
	})
	if err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	me := r.seat(by.UserID)
	at := api.Time(s.db.Now())
	if to.Audio != nil {
		me.audio = *to.Audio
		s.tellRoom(r, by.UserID, kindMeshAudio, MeshToggled{by.UserID, me.audio, at})
	}
	if to.Video != nil {
		me.video = *to.Video
		s.tellRoom(r, by.UserID, kindMeshVideo, MeshToggled{by.UserID, me.video, at})
	}
	return Done{Success: true}, nil
}

// MuteInput mutes somebody.
type MuteInput struct {
	RoomID string `path:"roomId" maxLength:"64"`
	UserID string `path:"userId" maxLength:"64"`
	Body   struct {
		Muted bool `json:"muted"`
	}
}

// MuteSeat mutes somebody for everybody: of what their microphone sends, the SFU passes nothing on. Codes: HUDDLE_NOT_FOUND,
// NOT_HUDDLE_MODERATOR, CALL_PARTICIPANT_NOT_FOUND.
func (s *Service) MuteSeat(ctx context.Context, by api.Caller, in *MuteInput) (*Huddle, error) {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	r, err := s.moderated(ctx, by, in.RoomID)
	if err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	var now seat
	there := false
	if r != nil {
		if p := r.seat(in.UserID); p != nil {
			now, there = *p, true
		}
	}
	s.huddles.mu.Unlock()
	if !there {
		return nil, api.E("CALL_PARTICIPANT_NOT_FOUND")
	}
	now.muted = in.Body.Muted
	if err := s.db.Write(ctx, "huddle.mute", func(tx *storage.Tx) error { return recordSeat(tx, r, &now) }); err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	if p := r.seat(in.UserID); p != nil {
		p.muted = in.Body.Muted
		s.hush(r, p)
	}
	s.tellRoom(r, "", kindHuddleMuted, HuddleMuted{r.roomID, in.UserID, in.Body.Muted, by.UserID})
	s.huddles.mu.Unlock()
	return s.huddle(ctx, by, in.RoomID)
}

// MyHuddle is the huddle that the caller is in, nil when they are in none.
func (s *Service) MyHuddle(ctx context.Context, by api.Caller, _ *struct{}) (*Huddle, error) {
	s.huddles.mu.Lock()
	r, _ := s.seatOf(by.UserID)
	s.huddles.mu.Unlock()
	if r == nil {
		return nil, nil
	}
	return s.huddle(ctx, by, r.roomID)
}

// mineToCome is the condition on huddle h that the person ?1 may come to it.
const mineToCome = `h.ended_at IS NULL AND (EXISTS (SELECT 1 FROM member m WHERE m.user_id = ?1 AND m.conversation_id = h.conversation_id AND m.left_seq IS NULL)
	OR h.conversation_id IS NULL AND EXISTS (SELECT 1 FROM huddle_participant p WHERE p.user_id = ?1 AND p.huddle_id = h.id))`

// CountHuddles is how many huddles go on that the caller may come to.
func (s *Service) CountHuddles(ctx context.Context, by api.Caller, _ *struct{}) (n int, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow("SELECT count(*) FROM huddle h WHERE "+mineToCome, by.UserID).Scan(&n)
	})
	return n, err
}

// ChatInput names a conversation.
type ChatInput struct {
	ChatID string `path:"chatId" maxLength:"64"`
}

// ChatHuddles are the huddles that go on in a conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) ChatHuddles(ctx context.Context, by api.Caller, in *ChatInput) (list []*Huddle, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if stillThere(v, by.UserID, in.ChatID) != nil {
			return api.E("CONVERSATION_NOT_FOUND")
		}
		list, err = huddlesOf(v, by.UserID, "h.conversation_id = ? AND h.ended_at IS NULL ORDER BY h.id DESC LIMIT 20", in.ChatID)
		return err
	})
	return list, err
}

// HuddleHistory are the huddles that the caller was in, newest first.
func (s *Service) HuddleHistory(ctx context.Context, by api.Caller, in *HuddleHistoryInput) (list []*Huddle, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		list, err = huddlesOf(v, by.UserID, `h.id IN (SELECT p.huddle_id FROM huddle_participant p WHERE p.user_id = ? AND p.joined_at IS NOT NULL
			ORDER BY p.huddle_id DESC LIMIT ?) ORDER BY h.id DESC`, by.UserID, in.Limit)
		return err
	})
	return list, err
}

// HuddleHistoryInput bounds a history.
type HuddleHistoryInput struct {
	Limit int `query:"limit" default:"20" minimum:"1" maximum:"100"`
}

// HuddleFigures are how many huddles somebody was in, and how long.
type HuddleFigures struct {
	TotalHuddles    int64 `json:"totalHuddles"`
	TotalDuration   int64 `json:"totalDuration"`   // seconds that they were there
	AverageDuration int64 `json:"averageDuration"` // seconds
	AudioCount      int64 `json:"audioCount"`
	VideoCount      int64 `json:"videoCount"`
}

// HuddleStats counts the huddles that the caller was in.
func (s *Service) HuddleStats(ctx context.Context, by api.Caller, _ *struct{}) (f HuddleFigures, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		return v.QueryRow(`SELECT count(*), coalesce(sum(coalesce(p.left_at, ?) - p.joined_at), 0) / 1000, coalesce(sum(h.type = 'audio'), 0), coalesce(sum(h.type = 'video'), 0)
			FROM huddle_participant p JOIN huddle h ON h.id = p.huddle_id WHERE p.user_id = ? AND p.joined_at IS NOT NULL`, v.Millis(), by.UserID).
			Scan(&f.TotalHuddles, &f.TotalDuration, &f.AudioCount, &f.VideoCount)
	})
	if f.TotalHuddles > 0 {
		f.AverageDuration = f.TotalDuration / f.TotalHuddles
	}
	return f, err
}

// GetHuddle is a huddle that the caller may know of. Codes: HUDDLE_NOT_FOUND.
func (s *Service) GetHuddle(ctx context.Context, by api.Caller, in *RoomInput) (*Huddle, error) {
	return s.huddle(ctx, by, in.RoomID)
}

// HuddlePeople are those who are in a huddle now. Codes: HUDDLE_NOT_FOUND.
func (s *Service) HuddlePeople(ctx context.Context, by api.Caller, in *RoomInput) ([]HuddleParticipant, error) {
	h, err := s.huddle(ctx, by, in.RoomID)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(h.Participants, func(p HuddleParticipant) bool { return p.LeftAt != "" }), nil
}

// HuddleInviteInput names people to invite.
type HuddleInviteInput struct {
	RoomID string `path:"roomId" maxLength:"64"`
	Body   struct {
		UserIDs []string `json:"userIds" minItems:"1" maxItems:"50" nullable:"false"`
	}
}

// InviteToHuddle invites people, who must be in the conversation of the huddle, or reachable for the caller when it has
// none. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE, USER_NOT_FOUND, BLOCKED.
func (s *Service) InviteToHuddle(ctx context.Context, by api.Caller, in *HuddleInviteInput) (*Invited, error) {
	people := slices.DeleteFunc(distinct(in.Body.UserIDs), func(id string) bool { return id == by.UserID })
	s.huddles.mu.Lock()
	r := s.huddles.rooms[in.RoomID]
	there := r != nil && r.seat(by.UserID) != nil
	s.huddles.mu.Unlock()
	var from From
	err := s.db.Write(ctx, "huddle.invite", func(tx *storage.Tx) (err error) {
		if err := s.mayEnter(tx, by.UserID, in.RoomID); err != nil {
			return err
		}
		if !there {
			return api.E("NOT_IN_HUDDLE")
		}
		for _, id := range people { // at most as many as may be named
			if err := reachable(tx, by.UserID, id); err != nil {
				return err
			}
			if stillThere(tx, id, r.chatID) != nil {
				return api.E("USER_NOT_FOUND")
			}
			if _, err := tx.Exec("INSERT INTO huddle_participant (huddle_id, user_id) VALUES (?, ?) ON CONFLICT (huddle_id, user_id) DO NOTHING", r.id, id); err != nil {
				return fmt.Errorf("note invitation: %w", err)
			}
		}
		from, err = caller(tx, by.UserID)
		return err
	})
	if err != nil {
		return nil, err
	}
	v := HuddleInvitation{RoomID: r.roomID, Type: r.kind, InviterID: by.UserID, From: from, Timestamp: api.Time(s.db.Now())}
	if r.chatID != "" {
		v.ChatID = &r.chatID
	}
	for _, id := range people {
		s.events.Tell(event.Live{Event: event.Event{Kind: kindHuddleInvitation, Scope: event.ScopeUser, ScopeID: id}, Value: v})
	}
	if people == nil {
		people = []string{}
	}
	return &Invited{true, people, "Invitations sent."}, nil
}

// knocksMax is how many who knock a huddle remembers.
const knocksMax = 100

// Knock asks those in a huddle to be let in. It is for huddles without a conversation: whoever knows the name may ask. Codes:
// HUDDLE_NOT_FOUND, HUDDLE_ENDED.
func (s *Service) Knock(ctx context.Context, by api.Caller, in *RoomInput) (Done, error) {
	if by.UserID == "" {
		return Done{}, api.E("UNAUTHORIZED")
	}
	from, err := s.fromOf(ctx, by.UserID)
	if err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	r := s.huddles.rooms[in.RoomID]
	if r == nil || r.chatID != "" {
		return Done{}, api.E("HUDDLE_NOT_FOUND")
	}
	if !slices.Contains(r.knocks, by.UserID) {
		r.knocks = append(r.knocks, by.UserID)
		r.knocks = r.knocks[max(len(r.knocks)-knocksMax, 0):]
	}
	s.tellRoom(r, by.UserID, kindHuddleKnock, HuddleKnock{r.roomID, from})
	return Done{Success: true}, nil
}

// AdmitInput lets somebody in, or sends them away.
type AdmitInput struct {
	RoomID string `path:"roomId" maxLength:"64"`
	Body   struct {
		UserID string `json:"userId" maxLength:"64"`
		Admit  *bool  `json:"admit,omitempty" doc:"false sends them away"`
	}
}

// Admit lets somebody in who knocks, or sends them away: whoever is in the huddle may. Codes: HUDDLE_NOT_FOUND, NOT_IN_HUDDLE,
// CALL_PARTICIPANT_NOT_FOUND, BLOCKED.
func (s *Service) Admit(ctx context.Context, by api.Caller, in *AdmitInput) (Done, error) {
	if err := s.seated(ctx, by, in.RoomID); err != nil {
		return Done{}, err
	}
	s.huddles.mu.Lock()
	r, _ := s.own(by, in.RoomID)
	knocks := r != nil && slices.Contains(r.knocks, in.Body.UserID)
	if knocks {
		r.knocks = slices.DeleteFunc(r.knocks, func(id string) bool { return id == in.Body.UserID })
	}
	s.huddles.mu.Unlock()
	if !knocks {
		return Done{}, api.E("CALL_PARTICIPANT_NOT_FOUND")
	}
	if in.Body.Admit == nil || *in.Body.Admit {
		invite := &HuddleInviteInput{RoomID: in.RoomID}
		invite.Body.UserIDs = []string{in.Body.UserID}
		if _, err := s.InviteToHuddle(ctx, by, invite); err != nil {
			return Done{}, err
		}
	}
	s.events.Tell(event.Live{
		Event: event.Event{Kind: kindHuddleAdmitted, Scope: event.ScopeUser, ScopeID: in.Body.UserID},
		Value: HuddleAdmitted{in.RoomID, in.Body.Admit == nil || *in.Body.Admit},
	})
	return Done{Success: true}, nil
}
