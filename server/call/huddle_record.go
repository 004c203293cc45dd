package call

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Huddle is a huddle on the wire (contract 2.3), with the names that the list of calls of shipped clients looks for.
type Huddle struct {
	MongoID      string              `json:"_id"`
	ID           string              `json:"id"`
	RoomID       string              `json:"roomId"`
	Initiator    account.Public      `json:"initiatorId"`
	Host         account.Public      `json:"host"`
	ChatID       *string             `json:"chatId,omitempty"`
	Type         string              `json:"type"`
	Status       string              `json:"status"`       // active, ended
	Participants []HuddleParticipant `json:"participants"` // who is there, or was; not who was only invited
	StartedAt    string              `json:"startedAt"`
	StartTime    string              `json:"startTime"`
	EndedAt      string              `json:"endedAt,omitempty"`
	EndTime      string              `json:"endTime,omitempty"`
	Duration     int64               `json:"duration"` // seconds, once it has ended
	Metadata     struct{}            `json:"metadata"`
}

// HuddleParticipant is somebody who is in a huddle, or was.
type HuddleParticipant struct {
	ID             string         `json:"id"`
	User           account.Public `json:"userId"`
	JoinedAt       string         `json:"joinedAt"`
	LeftAt         string         `json:"leftAt,omitempty"`
	IsAudioEnabled bool           `json:"isAudioEnabled"`
	IsVideoEnabled bool           `json:"isVideoEnabled"`
	IsMuted        bool           `json:"isMuted"` // by a moderator
}

func recordHuddle(tx *storage.Tx, r *room) error {
	var conversation *string
	if r.chatID != "" {
		conversation = &r.chatID
	}
	_, err := tx.Exec("INSERT INTO huddle (id, room_id, conversation_id, initiator_id, type, started_at) VALUES (?, ?, ?, ?, ?, ?)",
		r.id, r.roomID, conversation, r.initiator, r.kind, tx.Millis())
	if err != nil {
		return fmt.Errorf("store huddle: %w", err)
	}
	return nil
}

// recordSeat notes that somebody is in a huddle.
func recordSeat(tx *storage.Tx, r *room, p *seat) error {
	now := tx.Millis()
	_, err := tx.Exec(`INSERT INTO huddle_participant (huddle_id, user_id, session_id, is_audio, is_video, is_muted, joined_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (huddle_id, user_id) DO UPDATE SET session_id = excluded.session_id, is_audio = excluded.is_audio, is_video = excluded.is_video,
			is_muted = excluded.is_muted, joined_at = coalesce(huddle_participant.joined_at, excluded.joined_at), left_at = NULL`,
		r.id, p.userID, p.device, p.audio, p.video, p.muted, now)
	if err != nil {
		return fmt.Errorf("store who is in the huddle: %w", err)
	}
	return nil
}

func recordLeft(tx *storage.Tx, huddleID, userID string) error {
	_, err := tx.Exec("UPDATE huddle_participant SET left_at = ? WHERE huddle_id = ? AND user_id = ? AND joined_at IS NOT NULL AND left_at IS NULL",
		tx.Millis(), huddleID, userID)
	if err != nil {
		return fmt.Errorf("note who left the huddle: %w", err)
	}
	return nil
}

// HuddleSaid is the metadata of a message of type huddle (contract 2.3).
type HuddleSaid struct {
	HuddleID         string            `json:"huddleId"`
	RoomID           string            `json:"huddleRoomId"`
	ParticipantCount int               `json:"participantCount"`
	Duration         int64             `json:"duration"` // seconds
	Type             string            `json:"type"`
	Participants     []HuddleAttendant `json:"participants"` // the first fifty
}

// HuddleAttendant says when somebody was in a huddle.
type HuddleAttendant struct {
	UserID   string `json:"userId"`
	JoinedAt string `json:"joinedAt"`
	LeftAt   string `json:"leftAt"`
}

// attendantsSaid is how many people the message about a huddle lists.
const attendantsSaid = 50

// recordHuddleEnd writes down that a huddle is over, and says so in its conversation.
func (s *Service) recordHuddleEnd(tx *storage.Tx, id string) error {
	now := tx.Millis()
	said := HuddleSaid{HuddleID: id, Participants: []HuddleAttendant{}}
	var conversation sql.NullString
	var initiator string
	var began int64
	err := tx.QueryRow("UPDATE huddle SET ended_at = ? WHERE id = ? AND ended_at IS NULL RETURNING room_id, conversation_id, initiator_id, type, started_at", now, id).
		Scan(&said.RoomID, &conversation, &initiator, &said.Type, &began)
	if errors.Is(err, sql.ErrNoRows) {
		return nil // it was over before
	}
	if err != nil {
		return fmt.Errorf("end huddle: %w", err)
	}
	if _, err := tx.Exec("UPDATE huddle_participant SET left_at = ? WHERE huddle_id = ? AND joined_at IS NOT NULL AND left_at IS NULL", now, id); err != nil {
		return fmt.Errorf("end huddle: %w", err)
	}
	if !conversation.Valid {
		return nil
	}
	said.Duration = max(now-began, 0) / 1000
	rows, err := tx.Query("SELECT user_id, joined_at, left_at FROM huddle_participant WHERE huddle_id = ? AND joined_at IS NOT NULL ORDER BY joined_at, user_id", id)
	if err != nil {
		return fmt.Errorf("read who was in the huddle: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var userID string
		var in, out int64
		if err := rows.Scan(&userID, &in, &out); err != nil {
			return err
		}
		if said.ParticipantCount++; said.ParticipantCount <= attendantsSaid {
			said.Participants = append(said.Participants, HuddleAttendant{userID, api.Millis(in), api.Millis(out)})
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	metadata, err := json.Marshal(said)
	if err != nil {
		return err
	}
	return s.chat.Post(tx, initiator, conversation.String, "huddle", metadata)
}

// huddlesOf reads huddles for a viewer; which is a condition on huddle h, and the order.
func huddlesOf(q storage.Querier, viewer, which string, args ...any) ([]*Huddle, error) {
	rows, err := q.Query("SELECT h.id, h.room_id, h.conversation_id, h.initiator_id, h.type, h.started_at, h.ended_at FROM huddle h WHERE "+which, args...)
	if err != nil {
		return nil, fmt.Errorf("read huddles: %w", err)
	}
	defer rows.Close()
	list, byID, ids := []*Huddle{}, map[string]*Huddle{}, []string{}
	for rows.Next() {
		h := &Huddle{Status: "active", Participants: []HuddleParticipant{}}
		var began int64
		var ended sql.NullInt64
		if err := rows.Scan(&h.ID, &h.RoomID, &h.ChatID, &h.Initiator.ID, &h.Type, &began, &ended); err != nil {
			return nil, err
		}
		h.MongoID, h.StartedAt, h.StartTime = h.ID, api.Millis(began), api.Millis(began)
		if ended.Valid {
			h.Status, h.EndedAt, h.EndTime, h.Duration = "ended", api.Millis(ended.Int64), api.Millis(ended.Int64), max(ended.Int64-began, 0)/1000
		}
		list, byID[h.ID], ids = append(list, h), h, append(ids, h.ID)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return list, attendants(q, viewer, ids, byID)
}

// attendants fills in who was in huddles.
func attendants(q storage.Querier, viewer string, ids []string, byID map[string]*Huddle) error {
	var people []string
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query(`SELECT huddle_id, user_id, joined_at, left_at, is_audio, is_video, is_muted FROM huddle_participant
			WHERE huddle_id IN (`+marks+") AND joined_at IS NOT NULL ORDER BY huddle_id, joined_at, user_id", args...)
		if err != nil {
			return fmt.Errorf("read who was in huddles: %w", err)
		}
		for rows.Next() {
			var id string
			var p HuddleParticipant
			var in int64
			var out sql.NullInt64
			if err := rows.Scan(&id, &p.ID, &in, &out, &p.IsAudioEnabled, &p.IsVideoEnabled, &p.IsMuted); err != nil {
				rows.Close()
				return err
			}
			p.JoinedAt = api.Millis(in)
			if out.Valid {
				p.LeftAt = api.Millis(out.Int64)
			}
			byID[id].Participants = append(byID[id].Participants, p)
			people = append(people, p.ID)
		}
		if err := rows.Close(); err != nil {
			return err
		}
	}
	for _, h := range byID {
		people = append(people, h.Initiator.ID)
	}
	known, err := account.PublicsFor(q, viewer, people)
	if err != nil {
		return err
	}
	for _, h := range byID {
		h.Initiator = known[h.Initiator.ID]
		h.Host = h.Initiator
		for i := range h.Participants {
			h.Participants[i].User = known[h.Participants[i].ID]
		}
	}
	return nil
}

// oneHuddle reads a huddle. Code: HUDDLE_NOT_FOUND.
func oneHuddle(q storage.Querier, viewer, roomID string) (*Huddle, error) {
	list, err := huddlesOf(q, viewer, "h.room_id = ?", roomID)
	if err == nil && len(list) == 0 {
		err = api.E("HUDDLE_NOT_FOUND")
	}
	if err != nil {
		return nil, err
	}
	return list[0], nil
}

// huddle reads a huddle that the caller may know of. Code: HUDDLE_NOT_FOUND.
func (s *Service) huddle(ctx context.Context, by api.Caller, roomID string) (h *Huddle, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if err := s.mayEnter(v, by.UserID, roomID); err != nil {
			return err
		}
		h, err = oneHuddle(v, by.UserID, roomID)
		return err
	})
	return h, err
}
