package call

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn/sfu"
)

// A huddle is a room that people come to and leave as they like; it ends with the last of them. Shipped clients send each
// other everything themselves (a mesh, [Service.enter]), others send it once to the SFU. The locks are as those of calls:
// huddles.order for what changes who is there, huddles.mu for the memory.

// huddles are the rooms with people in them.
type huddles struct {
	order sync.Mutex
	mu    sync.Mutex
	rooms map[string]*room // by room id
}

// room is a huddle that is active. huddles.mu guards it.
type room struct {
	id, roomID, chatID, kind string
	initiator                string
	began                    time.Time
	seats                    []*seat   // in the order of their coming
	knocks                   []string  // who asks to be let in, the latest last
	media                    *sfu.Room // once somebody has connected to it
}

// seat is somebody who is in a huddle.
type seat struct {
	userID, device, socket string
	audio, video, muted    bool
	meshed                 bool      // it has entered the mesh
	media                  *sfu.Peer // once it has connected to the SFU
	away                   bool
	due                    time.Time // the end of that
}

func (r *room) seat(userID string) *seat {
	for _, p := range r.seats {
		if p.userID == userID {
			return p
		}
	}
	return nil
}

// HuddleInput describes a new huddle.
type HuddleInput struct {
	Body struct {
		Type           string  `json:"type" enum:"audio,video"`
		ChatID         *string `json:"chatId,omitempty" maxLength:"64"`
		IsAudioEnabled *bool   `json:"isAudioEnabled,omitempty"`
		IsVideoEnabled *bool   `json:"isVideoEnabled,omitempty"`
	}
}

// StartHuddle opens a room and takes the caller into it. Codes: VALIDATION, CONVERSATION_NOT_FOUND, CONVERSATION_LOCKED,
// ALREADY_IN_HUDDLE, USER_BANNED, USER_DEACTIVATED.
func (s *Service) StartHuddle(ctx context.Context, by api.Caller, in *HuddleInput) (*Huddle, error) {
	if by.UserID == "" {
		return nil, api.E("UNAUTHORIZED")
	}
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	if err := s.freeSeat(ctx, by, ""); err != nil {
		return nil, err
	}
	r := &room{id: "", roomID: "huddle-" + uuid.NewString(), kind: in.Body.Type, initiator: by.UserID}
	if in.Body.ChatID != nil {
		r.chatID = *in.Body.ChatID
	}
	me := &seat{userID: by.UserID, device: by.SessionID, socket: by.Socket}
	me.set(in.Body.IsAudioEnabled, in.Body.IsVideoEnabled, r.kind)
	var h *Huddle
	err := s.db.Write(ctx, "huddle.start", func(tx *storage.Tx) (err error) {
		if err := mayHuddle(tx, by, r.chatID); err != nil {
			return err
		}
		r.id, r.began = storage.NewID(), tx.Now
		if err := recordHuddle(tx, r); err != nil {
			return err
		}
		if err := recordSeat(tx, r, me); err != nil {
			return err
		}
		h, err = oneHuddle(tx, by.UserID, r.roomID)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	s.huddles.rooms[r.roomID] = r
	r.seats = []*seat{me}
	s.watchSeat(me)
	if r.chatID != "" {
		s.events.Tell(event.Live{
			Event: event.Event{Kind: kindHuddleStarted, Scope: event.ScopeConversation, ScopeID: r.chatID},
			Value: HuddleStarted{r.roomID, r.chatID, r.kind, by.UserID},
		})
	}
	return h, nil
}

// set takes over what somebody has switched on; without a word the microphone is, and in a video huddle the camera.
func (p *seat) set(audio, video *bool, kind string) {
	p.audio, p.video = true, kind == "video"
	if audio != nil {
		p.audio = *audio
	}
	if video != nil {
		p.video = *video
	}
}

// JoinHuddleInput names a huddle to come to.
type JoinHuddleInput struct {
	Body struct {
		RoomID         string `json:"roomId" maxLength:"64"`
		IsAudioEnabled *bool  `json:"isAudioEnabled,omitempty"`
		IsVideoEnabled *bool  `json:"isVideoEnabled,omitempty"`
	}
}

// JoinHuddle takes the caller into a huddle of a conversation they are in, or one they were invited to. Said again it is
// the same; from another device the first one is let go. Codes: HUDDLE_NOT_FOUND, HUDDLE_ENDED, HUDDLE_FULL,
// ALREADY_IN_HUDDLE, USER_BANNED, USER_DEACTIVATED.
func (s *Service) JoinHuddle(ctx context.Context, by api.Caller, in *JoinHuddleInput) (*Huddle, error) {
	if by.UserID == "" {
		return nil, api.E("UNAUTHORIZED")
	}
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	roomID := in.Body.RoomID
	if err := s.freeSeat(ctx, by, roomID); err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	r := s.huddles.rooms[roomID]
	me := &seat{userID: by.UserID}
	full := false
	if r != nil {
		if was := r.seat(by.UserID); was != nil {
			copied := *was
			me = &copied
		}
		full = r.seat(by.UserID) == nil && len(r.seats) >= s.huddleMax()
	}
	s.huddles.mu.Unlock()
	moved := me.device != "" && me.device != by.SessionID
	old := *me
	if r != nil {
		me.device, me.socket = by.SessionID, by.Socket
		me.set(in.Body.IsAudioEnabled, in.Body.IsVideoEnabled, r.kind)
	}
	var h *Huddle
	err := s.db.Write(ctx, "huddle.join", func(tx *storage.Tx) (err error) {
		if err := account.MayAct(tx, by, tx.Millis()); err != nil {
			return err
		}
		if err := s.mayEnter(tx, by.UserID, roomID); err != nil {
			return err
		}
		switch {
		case r == nil:
			return api.E("HUDDLE_ENDED")
		case full:
			return api.E("HUDDLE_FULL", "max", s.huddleMax())
		}
		if err := recordSeat(tx, r, me); err != nil {
			return err
		}
		h, err = oneHuddle(tx, by.UserID, roomID)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.huddles.mu.Lock()
	defer s.huddles.mu.Unlock()
	if moved {
		s.letGo(r, &old)
	}
	if i := slices.IndexFunc(r.seats, func(p *seat) bool { return p.userID == by.UserID }); i >= 0 {
		r.seats[i] = me
	} else {
		r.seats = append(r.seats, me)
		s.tellRoom(r, by.UserID, kindHuddleChanged, HuddleMember{RoomID: r.roomID, UserID: by.UserID})
	}
	me.away, me.due = false, time.Time{}
	s.watchSeat(me)
	return h, nil
}

// letGo tells the device that somebody has left for another one. The caller holds mu.
func (s *Service) letGo(r *room, was *seat) {
	s.events.Tell(was.address(kindHuddleEnded, HuddleOver{r.roomID, "moved"}))
	if was.meshed {
		s.tellMesh(r, was.userID, kindMeshLeft, MeshMember{UserID: was.userID, Timestamp: api.Time(s.db.Now())})
	}
	s.unplug(was)
}

// freeSeat lets go of another huddle that this person has lost. The caller holds order. Codes: ALREADY_IN_HUDDLE.
func (s *Service) freeSeat(ctx context.Context, by api.Caller, roomID string) error {
	s.huddles.mu.Lock()
	r, me := s.seatOf(by.UserID)
	other := r != nil && r.roomID != roomID
	lost := other && (me.away || me.device == by.SessionID)
	s.huddles.mu.Unlock()
	switch {
	case !other:
		return nil
	case !lost:
		return api.E("ALREADY_IN_HUDDLE")
	}
	s.leaveHuddle(ctx, r, by.UserID)
	return nil
}

// seatOf finds the huddle that somebody is in. The caller holds mu.
func (s *Service) seatOf(userID string) (*room, *seat) {
	for _, r := range s.huddles.rooms {
		if p := r.seat(userID); p != nil {
			return r, p
		}
	}
	return nil, nil
}

// RoomInput names a huddle.
type RoomInput struct {
	RoomID string `path:"roomId" maxLength:"64"`
}

// LeaveHuddle takes the caller out of a huddle; the last one ends it. Codes: HUDDLE_NOT_FOUND.
func (s *Service) LeaveHuddle(ctx context.Context, by api.Caller, in *RoomInput) (*Huddle, error) {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	s.huddles.mu.Lock()
	r := s.huddles.rooms[in.RoomID]
	there := r != nil && r.seat(by.UserID) != nil
	s.huddles.mu.Unlock()
	if there {
		s.leaveHuddle(ctx, r, by.UserID)
	}
	return s.huddle(ctx, by, in.RoomID)
}

// leaveHuddle takes somebody out of a huddle. The caller holds order.
func (s *Service) leaveHuddle(ctx context.Context, r *room, userID string) {
	err := s.db.Write(context.WithoutCancel(ctx), "huddle.leave", func(tx *storage.Tx) error { return recordLeft(tx, r.id, userID) })
	if err != nil {
		s.log.Error("write down who left a huddle: its end will", "huddle", r.id, "error", err)
	}
	s.huddles.mu.Lock()
	i := slices.IndexFunc(r.seats, func(p *seat) bool { return p.userID == userID })
	if i < 0 {
		s.huddles.mu.Unlock()
		return
	}
	gone := r.seats[i]
	r.seats = slices.Delete(r.seats, i, i+1)
	over := len(r.seats) == 0
	if gone.meshed {
		s.tellMesh(r, userID, kindMeshLeft, MeshMember{UserID: userID, Timestamp: api.Time(s.db.Now())})
	}
	s.events.Tell(gone.address(kindHuddleEnded, HuddleOver{r.roomID, "left"}))
	s.tellRoom(r, userID, kindHuddleChanged, HuddleMember{RoomID: r.roomID, UserID: userID, Left: true})
	s.unplug(gone)
	s.huddles.mu.Unlock()
	if over {
		s.endHuddle(ctx, r)
	}
}

// endHuddle ends a huddle for everybody and says so in its conversation. The caller holds order.
func (s *Service) endHuddle(ctx context.Context, r *room) {
	// It is over for people whether or not that can be written down.
	err := s.db.Write(context.WithoutCancel(ctx), "huddle.end", func(tx *storage.Tx) error { return s.recordHuddleEnd(tx, r.id) })
	if err != nil {
		s.log.Error("write down a huddle: the calendar will", "huddle", r.id, "error", err)
	}
	s.huddles.mu.Lock()
	delete(s.huddles.rooms, r.roomID)
	seats := r.seats
	r.seats = nil
	for _, p := range seats {
		s.events.Tell(p.address(kindHuddleEnded, HuddleOver{r.roomID, "ended"}))
		s.unplug(p)
	}
	s.closeRoom(r)
	s.huddles.mu.Unlock()
	if r.chatID != "" {
		s.events.Tell(event.Live{
			Event: event.Event{Kind: kindHuddleOver, Scope: event.ScopeConversation, ScopeID: r.chatID}, Value: HuddleOver{r.roomID, "ended"},
		})
	}
}

// EndHuddle ends a huddle for everybody: its initiator may, and the admins of its group. Codes: HUDDLE_NOT_FOUND,
// NOT_HUDDLE_MODERATOR.
func (s *Service) EndHuddle(ctx context.Context, by api.Caller, in *RoomInput) (*Huddle, error) {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	r, err := s.moderated(ctx, by, in.RoomID)
	if err != nil {
		return nil, err
	}
	if r != nil {
		s.endHuddle(ctx, r)
	}
	return s.huddle(ctx, by, in.RoomID)
}

// Left says how many huddles somebody has left.
type Left struct {
	Count int `json:"count"`
}

// ForceLeave takes the caller out of whatever huddle they are in, and ends those that they began and sit in alone.
func (s *Service) ForceLeave(ctx context.Context, by api.Caller, _ *struct{}) (Left, error) {
	s.huddles.order.Lock()
	defer s.huddles.order.Unlock()
	n := 0
	for {
		s.huddles.mu.Lock()
		r, _ := s.seatOf(by.UserID)
		s.huddles.mu.Unlock()
		if r == nil {
			return Left{n}, nil
		}
		s.leaveHuddle(ctx, r, by.UserID)
		n++
	}
}

// moderated returns a huddle that the caller may moderate; nil when it has ended. Codes: HUDDLE_NOT_FOUND,
// NOT_HUDDLE_MODERATOR.
func (s *Service) moderated(ctx context.Context, by api.Caller, roomID string) (*room, error) {
	s.huddles.mu.Lock()
	r := s.huddles.rooms[roomID]
	s.huddles.mu.Unlock()
	err := s.db.Read(ctx, func(v storage.View) error {
		if err := s.mayEnter(v, by.UserID, roomID); err != nil {
			return err
		}
		if r == nil || r.initiator == by.UserID || by.Role >= api.RoleModerator {
			return nil
		}
		var admin bool
		err := v.QueryRow(`SELECT EXISTS (SELECT 1 FROM member m JOIN conversation c ON c.id = m.conversation_id AND c.type = 'group'
			WHERE m.user_id = ? AND m.conversation_id = ? AND m.left_seq IS NULL AND m.role = 'admin')`, by.UserID, r.chatID).Scan(&admin)
		if err == nil && !admin {
			err = api.E("NOT_HUDDLE_MODERATOR")
		}
		return err
	})
	return r, err
}

// mayHuddle checks that somebody may open a huddle, in a conversation when there is one.
func mayHuddle(q *storage.Tx, by api.Caller, chatID string) error {
	if err := account.MayAct(q, by, q.Millis()); err != nil || chatID == "" {
		return err
	}
	p := plan{conversationID: chatID}
	return p.ofConversation(q, by)
}

// mayEnter checks that somebody may know of a huddle: they are in its conversation, or began it, were invited, or let in.
// Code: HUDDLE_NOT_FOUND.
func (s *Service) mayEnter(q storage.Querier, userID, roomID string) error {
	var may bool
	err := q.QueryRow(`SELECT EXISTS (SELECT 1 FROM huddle h WHERE h.room_id = ?1 AND CASE
		WHEN h.conversation_id IS NOT NULL THEN EXISTS (SELECT 1 FROM member m WHERE m.user_id = ?2 AND m.conversation_id = h.conversation_id AND m.left_seq IS NULL)
		ELSE EXISTS (SELECT 1 FROM huddle_participant p WHERE p.huddle_id = h.id AND p.user_id = ?2) END)`, roomID, userID).Scan(&may)
	if err != nil {
		return fmt.Errorf("find huddle: %w", err)
	}
	if !may {
		return api.E("HUDDLE_NOT_FOUND")
	}
	return nil
}
