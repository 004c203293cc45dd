package chat

import (
	"context"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// typingLasts is how long somebody counts as typing without saying so again.
const typingLasts = 30 * time.Second

// Typing is the payload of typing:start and typing:stop.
type Typing struct {
	ConversationID string `json:"conversationId"`
	UserID         string `json:"userId"`
	UserName       string `json:"userName"`
	Timestamp      string `json:"timestamp"`
	typing         bool   // or no longer
}

// typists is who is typing where, in memory only.
type typists struct {
	events *event.Log
	mu     sync.Mutex
	active map[[2]string]typist // conversation, user
}

// typist is somebody typing, until the timer.
type typist struct {
	timer *time.Timer
	name  string
}

func newTypists(events *event.Log) *typists {
	return &typists{events: events, active: map[[2]string]typist{}}
}

// TypingInput names where somebody types.
type TypingInput struct {
	Body struct {
		ConversationID string `json:"conversationId"`
	}
}

func (t *typists) routes(s *Service) []api.Row {
	say := func(start bool) func(ctx context.Context, by api.Caller, in *TypingInput) (Done, error) {
		return func(ctx context.Context, by api.Caller, in *TypingInput) (Done, error) {
			return s.type_(ctx, by, in.Body.ConversationID, start)
		}
	}
	return []api.Row{
		api.Op("", "typing:start", api.RoleUser, api.TierTyping, say(true), api.Doc("Say that one is typing; it ends by itself after 30 s.")),
		api.Op("", "typing:stop", api.RoleUser, api.TierTyping, say(false), api.Doc("Say that one has stopped typing.")),
	}
}

// type_ tells the other members. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) type_(ctx context.Context, by api.Caller, conversationID string, start bool) (Done, error) {
	var me account.Public
	err := s.db.Read(ctx, func(v storage.View) error {
		if _, err := memberOf(v, by, conversationID); err != nil {
			return err
		}
		known, err := account.Publics(v, []string{by.UserID})
		me = known[by.UserID]
		return err
	})
	if err != nil {
		return Done{}, err
	}
	if start {
		s.typing.start(conversationID, me)
	} else {
		s.typing.stop(conversationID, me.ID)
	}
	return Done{true}, nil
}

func (t *typists) start(conversationID string, who account.Public) {
	key := [2]string{conversationID, who.ID}
	t.mu.Lock()
	if was, ok := t.active[key]; ok {
		was.timer.Stop()
	}
	t.active[key] = typist{time.AfterFunc(typingLasts, func() { t.stop(conversationID, who.ID) }), who.DisplayName}
	t.mu.Unlock()
	t.say("typing:start", conversationID, who.ID, who.DisplayName)
}

func (t *typists) stop(conversationID, userID string) {
	key := [2]string{conversationID, userID}
	t.mu.Lock()
	was, ok := t.active[key]
	if ok {
		was.timer.Stop()
		delete(t.active, key)
	}
	t.mu.Unlock()
	if ok {
		t.say("typing:stop", conversationID, userID, was.name)
	}
}

func (t *typists) say(kind, conversationID, userID, name string) {
	t.events.Tell(event.Live{
		Event:  event.Event{Kind: kind, Scope: event.ScopeConversation, ScopeID: conversationID, ActorID: userID},
		Value:  Typing{conversationID, userID, name, api.Time(time.Now()), kind == "typing:start"},
		Except: []string{userID},
	})
}

// StopTyping ends whatever somebody was typing; it is called when they have gone offline.
func (s *Service) StopTyping(userID string) {
	s.typing.mu.Lock()
	var where []string
	for key := range s.typing.active {
		if key[1] == userID {
			where = append(where, key[0])
		}
	}
	s.typing.mu.Unlock()
	for _, conversationID := range where {
		s.typing.stop(conversationID, userID)
	}
}
