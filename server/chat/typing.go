package chat

import (
	"context"
	"fmt"
	"slices"
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
	timer  *time.Timer
	name   string
	except []string // people of the conversation who were never told of it
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
	var except []string
	err := s.db.Read(ctx, func(v storage.View) error {
		if _, err := memberOf(v, by, conversationID); err != nil {
			return err
		}
		known, err := account.Publics(v, []string{by.UserID})
		me = known[by.UserID]
		if err != nil || !start {
			return err
		}
		except, err = blockedMembers(v, conversationID, by.UserID)
		return err
	})
	if err != nil {
		return Done{}, err
	}
	if start {
		s.typing.start(conversationID, me, except)
	} else {
		s.typing.stop(conversationID, me.ID)
	}
	return Done{true}, nil
}

// start tells the others but those in except. Whoever was told once is told of the end, though a block came meanwhile.
func (t *typists) start(conversationID string, who account.Public, except []string) {
	key := [2]string{conversationID, who.ID}
	never := except
	t.mu.Lock()
	if was, ok := t.active[key]; ok {
		was.timer.Stop()
		never = slices.DeleteFunc(slices.Clone(except), func(id string) bool { return !slices.Contains(was.except, id) })
	}
	t.active[key] = typist{time.AfterFunc(typingLasts, func() { t.stop(conversationID, who.ID) }), who.DisplayName, never}
	t.mu.Unlock()
	t.say("typing:start", conversationID, who.ID, who.DisplayName, except)
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
		t.say("typing:stop", conversationID, userID, was.name, was.except)
	}
}

func (t *typists) say(kind, conversationID, userID, name string, except []string) {
	t.events.Tell(event.Live{
		Event:  event.Event{Kind: kind, Scope: event.ScopeConversation, ScopeID: conversationID, ActorID: userID},
		Value:  Typing{conversationID, userID, name, api.Time(time.Now()), kind == "typing:start"},
		Except: append([]string{userID}, except...),
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

// blockedMembers are the members of a conversation whom somebody blocks, or who block them: they see nothing of what
// that person does in this moment.
func blockedMembers(q storage.Querier, conversationID, userID string) ([]string, error) {
	rows, err := q.Query(`SELECT m.user_id FROM member m
		WHERE (EXISTS (SELECT 1 FROM block a WHERE a.user_id = ?1) OR EXISTS (SELECT 1 FROM block a WHERE a.blocked_id = ?1))
		AND m.conversation_id = ?2 AND m.left_seq IS NULL AND (EXISTS (SELECT 1 FROM block b WHERE b.user_id = ?1 AND b.blocked_id = m.user_id)
			OR EXISTS (SELECT 1 FROM block b WHERE b.user_id = m.user_id AND b.blocked_id = ?1))`, userID, conversationID)
	if err != nil {
		return nil, fmt.Errorf("find blocks: %w", err)
	}
	return storage.ScanIDs(rows)
}
