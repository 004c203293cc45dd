package chat

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
)

// ParticipantsChange is the payload of conversation:participant:added and :removed.
type ParticipantsChange struct {
	ConversationID string        `json:"conversationId"`
	UserIDs        []string      `json:"userIds"`
	By             string        `json:"by"`
	room           *Conversation // what the newcomers are in now; the web client is told of that
}

// stringList is a list of ids that also takes a single one, as some clients send it.
type stringList []string

// UnmarshalJSON accepts "a" for ["a"], and null for none.
func (l *stringList) UnmarshalJSON(b []byte) error {
	var one *string
	if json.Unmarshal(b, &one) == nil {
		if one != nil {
			*l = stringList{*one}
		}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(l))
}

// Schema describes both forms to the validation and to the reference.
func (stringList) Schema(huma.Registry) *huma.Schema {
	id := &huma.Schema{Type: huma.TypeString}
	s := &huma.Schema{AnyOf: []*huma.Schema{{Type: huma.TypeArray, Items: id, Nullable: true}, id}}
	s.PrecomputeMessages()
	return s
}

// AddInput names the people to add.
type AddInput struct {
	ConversationID string `path:"conversationId"`
	Body           struct {
		ParticipantIDs stringList `json:"participantIds"`
	}
}

// Add brings people into a group. They see what is said from now on; those who are in it already stay as they are.
// Codes: CONVERSATION_NOT_FOUND, NOT_GROUP, NOT_ADMIN, USER_NOT_FOUND, BLOCKED, GROUP_FULL.
func (s *Service) Add(ctx context.Context, by api.Caller, in *AddInput) (*Conversation, error) {
	var c *Conversation
	err := s.db.Write(ctx, "conversation.add", func(tx *storage.Tx) error {
		if err := runs(tx, by, in.ConversationID); err != nil {
			return err
		}
		at, err := memberOf(tx, by, in.ConversationID)
		if err != nil {
			return err
		}
		present, err := members(tx, in.ConversationID)
		if err != nil {
			return err
		}
		added := distinct(in.Body.ParticipantIDs)
		added = slices.DeleteFunc(added, func(id string) bool { return slices.Contains(present, id) })
		if most := s.config.Get().GroupMembersMax; len(present)+len(added) > most {
			return api.E("GROUP_FULL", "max", most)
		}
		if err := reachable(tx, by, added); err != nil {
			return err
		}
		if len(added) > 0 {
			seq, err := event.Next(tx)
			if err != nil {
				return err
			}
			notice, err := s.note(tx, by, in.ConversationID, Notice{Action: "added", UserIDs: added})
			if err != nil {
				return err
			}
			for _, userID := range added { // one insert each: at most the size of a group
				if err := join(tx, in.ConversationID, userID, "member", seq, at.lastN); err != nil {
					return err
				}
			}
			room, err := shared(tx, in.ConversationID)
			if err != nil {
				return err
			}
			if _, err := s.events.Emit(tx, event.Event{
				Kind: ParticipantAdded, Scope: event.ScopeConversation, ScopeID: in.ConversationID, SubjectID: in.ConversationID, ActorID: by.UserID, Data: packIDs(added),
			}, ParticipantsChange{in.ConversationID, added, by.UserID, room}); err != nil {
				return err
			}
			if err := s.updated(tx, by, in.ConversationID); err != nil {
				return err
			}
			if err := s.announce(tx, by, notice); err != nil {
				return err
			}
		}
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

// ParticipantInput names a member of a conversation.
type ParticipantInput struct {
	ConversationID string `path:"conversationId"`
	ParticipantID  string `path:"participantId"`
}

// Remove takes somebody out of a group; everybody may take out themselves. Codes: CONVERSATION_NOT_FOUND, NOT_GROUP,
// NOT_ADMIN, USER_NOT_FOUND.
func (s *Service) Remove(ctx context.Context, by api.Caller, in *ParticipantInput) (*Conversation, error) {
	var c *Conversation
	err := s.db.Write(ctx, "conversation.remove", func(tx *storage.Tx) error {
		if in.ParticipantID == by.UserID {
			before, err := mine(tx, by, in.ConversationID)
			if err != nil {
				return err
			}
			c = before
			return s.leave(tx, by, in.ConversationID)
		}
		if err := runs(tx, by, in.ConversationID); err != nil {
			return err
		}
		if err := s.depart(tx, by, in.ConversationID, in.ParticipantID); err != nil {
			return err
		}
		notice, err := s.note(tx, by, in.ConversationID, Notice{Action: "removed", UserIDs: []string{in.ParticipantID}})
		if err != nil {
			return err
		}
		if err := s.announce(tx, by, notice); err != nil {
			return err
		}
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

// Leave takes the caller out of a group. The last admin to leave hands over to the member who has been there longest;
// the last member to leave dissolves it. Codes: CONVERSATION_NOT_FOUND, NOT_GROUP.
func (s *Service) Leave(ctx context.Context, by api.Caller, in *ConversationInput) (Done, error) {
	err := s.db.Write(ctx, "conversation.leave", func(tx *storage.Tx) error { return s.leave(tx, by, in.ConversationID) })
	return Done{err == nil}, err
}

func (s *Service) leave(tx *storage.Tx, by api.Caller, conversationID string) error {
	at, err := memberOf(tx, by, conversationID)
	if err != nil {
		return err
	}
	if at.kind != "group" {
		return api.E("NOT_GROUP")
	}
	if err := s.depart(tx, by, conversationID, by.UserID); err != nil {
		return err
	}
	var others, admins int
	var eldest sql.NullString
	err = tx.QueryRow(`SELECT count(*), coalesce(sum(role = 'admin'), 0),
		(SELECT user_id FROM member WHERE conversation_id = ?1 AND left_seq IS NULL ORDER BY joined_seq, user_id LIMIT 1)
		FROM member WHERE conversation_id = ?1 AND left_seq IS NULL`, conversationID).Scan(&others, &admins, &eldest)
	switch {
	case err != nil:
		return fmt.Errorf("count members: %w", err)
	case others == 0:
		return s.dissolve(tx, by, conversationID)
	}
	notice, err := s.note(tx, by, conversationID, Notice{Action: "left"})
	if err != nil {
		return err
	}
	if err := s.announce(tx, by, notice); err != nil || admins > 0 {
		return err
	}
	return s.setRole(tx, by, conversationID, eldest.String, "admin")
}

// depart ends somebody's stay; the event of it is the last one they get.
func (s *Service) depart(tx *storage.Tx, by api.Caller, conversationID, userID string) error {
	seq, err := event.Next(tx)
	if err != nil {
		return err
	}
	result, err := tx.Exec("UPDATE member SET left_seq = ?, left_at = ? WHERE conversation_id = ? AND user_id = ? AND left_seq IS NULL", seq, tx.Millis(), conversationID, userID)
	if err != nil {
		return fmt.Errorf("end membership: %w", err)
	}
	if n, err := result.RowsAffected(); err != nil {
		return err
	} else if n == 0 {
		return api.E("USER_NOT_FOUND")
	}
	_, err = s.events.Emit(tx, event.Event{
		Kind: ParticipantRemoved, Scope: event.ScopeConversation, ScopeID: conversationID, SubjectID: conversationID, ActorID: by.UserID, Data: packIDs([]string{userID}),
	}, ParticipantsChange{conversationID, []string{userID}, by.UserID, nil})
	return err
}

// Promote makes a member an admin. Codes: CONVERSATION_NOT_FOUND, NOT_GROUP, NOT_ADMIN, USER_NOT_FOUND, ADMINS_FULL.
func (s *Service) Promote(ctx context.Context, by api.Caller, in *ParticipantInput) (*Conversation, error) {
	return s.changeRole(ctx, by, in, "admin")
}

// Demote makes an admin an ordinary member; a group keeps at least one. Codes: as Promote.
func (s *Service) Demote(ctx context.Context, by api.Caller, in *ParticipantInput) (*Conversation, error) {
	return s.changeRole(ctx, by, in, "member")
}

func (s *Service) changeRole(ctx context.Context, by api.Caller, in *ParticipantInput, role string) (*Conversation, error) {
	var c *Conversation
	err := s.db.Write(ctx, "conversation.role", func(tx *storage.Tx) error {
		if err := runs(tx, by, in.ConversationID); err != nil {
			return err
		}
		var admins int
		if err := tx.QueryRow("SELECT count(*) FROM member WHERE conversation_id = ? AND left_seq IS NULL AND role = 'admin' AND user_id <> ?", in.ConversationID, in.ParticipantID).Scan(&admins); err != nil {
			return fmt.Errorf("count admins: %w", err)
		}
		if role == "admin" && admins >= adminsMax {
			return api.E("ADMINS_FULL", "max", adminsMax)
		}
		if role == "member" && admins == 0 {
			return api.Invalid("participantId", "a group needs an admin: promote somebody else first")
		}
		if err := s.setRole(tx, by, in.ConversationID, in.ParticipantID, role); err != nil {
			return err
		}
		var err error
		c, err = mine(tx, by, in.ConversationID)
		return err
	})
	return c, err
}

func (s *Service) setRole(tx *storage.Tx, by api.Caller, conversationID, userID, role string) error {
	var was string
	err := tx.QueryRow("SELECT role FROM member WHERE conversation_id = ? AND user_id = ? AND left_seq IS NULL", conversationID, userID).Scan(&was)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return api.E("USER_NOT_FOUND")
	case err != nil:
		return fmt.Errorf("read role: %w", err)
	case was == role:
		return nil
	}
	if _, err := tx.Exec("UPDATE member SET role = ? WHERE conversation_id = ? AND user_id = ? AND left_seq IS NULL", role, conversationID, userID); err != nil {
		return fmt.Errorf("set role: %w", err)
	}
	action := "promoted"
	if role != "admin" {
		action = "demoted"
	}
	notice, err := s.note(tx, by, conversationID, Notice{Action: action, UserIDs: []string{userID}})
	if err != nil {
		return err
	}
	if err := s.updated(tx, by, conversationID); err != nil {
		return err
	}
	return s.announce(tx, by, notice)
}

// Participants lists who is in a conversation. Codes: CONVERSATION_NOT_FOUND.
func (s *Service) Participants(ctx context.Context, by api.Caller, in *ConversationInput) (list []Participant, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		c, err := mine(v, by, in.ConversationID)
		if err == nil {
			list = c.Participants
		}
		return err
	})
	return list, err
}

// dissolve deletes a group: everybody's stay ends with the event of it, and a job removes what was said.
func (s *Service) dissolve(tx *storage.Tx, by api.Caller, conversationID string) error {
	present, err := members(tx, conversationID)
	if err != nil {
		return err
	}
	seq, err := event.Next(tx)
	if err != nil {
		return err
	}
	now := tx.Millis()
	if _, err := tx.Exec("UPDATE member SET left_seq = ?, left_at = ? WHERE conversation_id = ? AND left_seq IS NULL", seq, now, conversationID); err != nil {
		return fmt.Errorf("end memberships: %w", err)
	}
	if _, err := tx.Exec("UPDATE conversation SET deleted_at = ?, updated_at = ? WHERE id = ?", now, now, conversationID); err != nil {
		return fmt.Errorf("delete conversation: %w", err)
	}
	if _, err := tx.Exec("DELETE FROM pinned_message WHERE conversation_id = ?", conversationID); err != nil {
		return fmt.Errorf("unpin messages: %w", err)
	}
	if _, err := s.events.Emit(tx, event.Event{
		Kind: ConversationDeleted, Scope: event.ScopeConversation, ScopeID: conversationID, SubjectID: conversationID, ActorID: by.UserID, Data: packIDs(present),
	}, ConversationGone{conversationID, by.UserID}); err != nil {
		return err
	}
	return s.jobs.Enqueue(tx, job.Job{Kind: purgeKind, Key: conversationID, Payload: purgePayload{conversationID}})
}

// ConversationGone is the payload of conversation:deleted.
type ConversationGone struct {
	ConversationID string `json:"conversationId"`
	DeletedBy      string `json:"deletedBy"`
}

// runs checks that the caller administers the group.
func runs(q *storage.Tx, by api.Caller, conversationID string) error {
	at, err := memberOf(q, by, conversationID)
	switch {
	case err != nil:
		return err
	case at.kind != "group":
		return api.E("NOT_GROUP")
	case at.role != "admin":
		return api.E("NOT_ADMIN")
	}
	return account.MayAct(q, by, q.Millis())
}

// reachable checks that the caller may bring these people into a conversation: they exist, and nobody blocks the other.
func reachable(q *storage.Tx, by api.Caller, ids []string) error {
	if err := account.MayAct(q, by, q.Millis()); err != nil {
		return err
	}
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		var found, blocked int
		if err := q.QueryRow("SELECT count(*) FROM user u WHERE u.erased_at IS NULL AND u.is_active = 1 AND u.id IN ("+marks+")", args...).Scan(&found); err != nil {
			return fmt.Errorf("find people: %w", err)
		}
		if found != len(chunk) {
			return api.E("USER_NOT_FOUND")
		}
		both := slices.Concat([]any{by.UserID}, args, []any{by.UserID}, args)
		if err := q.QueryRow("SELECT (SELECT count(*) FROM block WHERE user_id = ? AND blocked_id IN ("+marks+")) + (SELECT count(*) FROM block WHERE blocked_id = ? AND user_id IN ("+marks+"))", both...).Scan(&blocked); err != nil {
			return fmt.Errorf("check blocks: %w", err)
		}
		if blocked > 0 {
			return api.E("BLOCKED")
		}
	}
	return nil
}

func join(tx *storage.Tx, conversationID, userID, role string, seq, from int64) error {
	_, err := tx.Exec(`INSERT INTO member (conversation_id, user_id, joined_seq, role, joined_at, history_from_n, read_n)
		VALUES (?, ?, ?, ?, ?, ?, ?)`, conversationID, userID, seq, role, tx.Millis(), from, from)
	if err != nil {
		return fmt.Errorf("add member: %w", err)
	}
	return nil
}

// members returns the ids of who is in a conversation now, the longest there first.
func members(q storage.Querier, conversationID string) ([]string, error) {
	rows, err := q.Query("SELECT user_id FROM member WHERE conversation_id = ? AND left_seq IS NULL ORDER BY joined_seq, user_id", conversationID)
	if err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	return storage.ScanIDs(rows)
}

// distinct removes repetitions and keeps the order.
func distinct(ids []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(ids), func(id string) bool {
		was := seen[id]
		seen[id] = true
		return was
	})
}

func packIDs(ids []string) string { return strings.Join(ids, " ") }

func unpackIDs(data string) []string { return strings.Fields(data) }
