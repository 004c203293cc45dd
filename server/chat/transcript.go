package chat

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
)

// Whoever can see a message with a recording may ask for what is said in it. It is found by the search of messages then.

// Transcription is what is said in the recording of a message.
type Transcription struct {
	MessageID     string   `json:"messageId"`
	Transcription *string  `json:"transcription"`
	Language      string   `json:"language,omitempty"`
	Duration      *float64 `json:"duration,omitempty"` // seconds
	Message       string   `json:"message,omitempty"`  // why there is none

	status int
}

// StatusCode is 202 while the work goes on.
func (t *Transcription) StatusCode() int { return t.status }

func transcription(messageID string, t *media.Transcript, status int) *Transcription {
	out := &Transcription{MessageID: messageID, status: status}
	if t == nil {
		return out
	}
	out.Transcription, out.Language = &t.Text, t.Language
	if seconds := t.Duration.Seconds(); seconds > 0 {
		out.Duration = &seconds
	}
	return out
}

// Transcribed is the payload of message:transcribed.
type Transcribed struct {
	MessageID      string `json:"messageId"`
	ConversationID string `json:"conversationId"`
	Transcription  string `json:"transcription"`
	Language       string `json:"language,omitempty"`
}

// MessageTranscribed tells the members what is said in a recording.
const MessageTranscribed = "message:transcribed"

// recording finds the upload of the recording of a message that the caller can see. Codes: MESSAGE_NOT_FOUND, NOT_AUDIO.
func (s *Service) recording(ctx context.Context, by api.Caller, messageID string) (uploadID string, t *media.Transcript, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		m, _, err := visible(v, by, messageID)
		if err != nil {
			return err
		}
		if m.IsDeleted {
			return api.E("MESSAGE_NOT_FOUND")
		}
		for _, a := range m.Attachments {
			if a.Type == "audio" {
				uploadID = a.ID
				t, err = media.TranscriptOf(v, uploadID)
				return err
			}
		}
		return api.E("NOT_AUDIO")
	})
	return uploadID, t, err
}

// transcribeWait is how long a request waits for what it asks to be transcribed, however much that is.
const transcribeWait = 25 * time.Second

// Transcribe has the recording of a message transcribed, and waits a while for it; 202 says that the work goes on, and
// message:transcribed follows. Codes: MESSAGE_NOT_FOUND, NOT_AUDIO, TRANSCRIPTION_OFF, TRANSCRIPTION_FAILED.
func (s *Service) Transcribe(ctx context.Context, by api.Caller, in *MessageInput) (*Transcription, error) {
	return s.transcribe(ctx, by, in.MessageID, transcribeWait)
}

func (s *Service) transcribe(ctx context.Context, by api.Caller, messageID string, wait time.Duration) (*Transcription, error) {
	uploadID, _, err := s.recording(ctx, by, messageID)
	if err != nil {
		return nil, err
	}
	t, err := s.media.Transcribe(ctx, uploadID, wait)
	if err != nil {
		return nil, err
	}
	if t == nil {
		out := transcription(messageID, nil, http.StatusAccepted)
		out.Message = "The recording is being transcribed."
		return out, nil
	}
	return transcription(messageID, t, http.StatusCreated), nil
}

// Transcription returns what is said in the recording of a message, as far as it was transcribed. Codes: MESSAGE_NOT_FOUND,
// NOT_AUDIO.
func (s *Service) Transcription(ctx context.Context, by api.Caller, in *MessageInput) (*Transcription, error) {
	_, t, err := s.recording(ctx, by, in.MessageID)
	if err != nil {
		return nil, err
	}
	out := transcription(in.MessageID, t, http.StatusOK)
	if t == nil {
		out.Message = "No transcription available."
	}
	return out, nil
}

// TranscribeBatchInput names messages.
type TranscribeBatchInput struct {
	Body struct {
		MessageIDs []string `json:"messageIds" minItems:"1" maxItems:"20" nullable:"false"`
	}
}

// TranscribeBatch has the recordings of several messages transcribed. What cannot be is said in its place, and so is what takes
// longer than the answer waits: of that message:transcribed tells.
// Codes: VALIDATION, TRANSCRIPTION_OFF.
func (s *Service) TranscribeBatch(ctx context.Context, by api.Caller, in *TranscribeBatchInput) ([]*Transcription, error) {
	if !s.media.CanTranscribe() {
		return nil, api.E("TRANSCRIPTION_OFF")
	}
	list := []*Transcription{}
	until := time.Now().Add(transcribeWait)
	for _, id := range in.Body.MessageIDs {
		t, err := s.transcribe(ctx, by, id, time.Until(until))
		if err != nil {
			var e *api.Error
			if !errors.As(err, &e) {
				return nil, err
			}
			t = &Transcription{MessageID: id, Message: api.Sentence(e, by.Locale)}
		}
		list = append(list, t)
	}
	return list, nil
}

// TranscriptsInput is what to look for in what was said.
type TranscriptsInput struct {
	ConversationID string `query:"conversationId" maxLength:"64"`
	Query          string `query:"query" maxLength:"200"`
	Limit          int    `query:"limit" default:"20" minimum:"1" maximum:"100"`
}

// Transcripts are recordings in which something is said.
type Transcripts struct {
	Results []TranscriptHit `json:"results" nullable:"false"`
	Count   int             `json:"count"`
}

// TranscriptHit is one of them.
type TranscriptHit struct {
	MessageID      string `json:"messageId"`
	ConversationID string `json:"conversationId"`
	Transcription  string `json:"transcription"`
	Language       string `json:"language,omitempty"`
	CreatedAt      string `json:"createdAt"`
}

// Transcripts finds recordings of a conversation by what is said in them, the newest first. Codes: VALIDATION, CONVERSATION_NOT_FOUND.
func (s *Service) Transcripts(ctx context.Context, by api.Caller, in *TranscriptsInput) (out Transcripts, err error) {
	wanted := strings.TrimSpace(in.Query)
	switch {
	case wanted == "":
		return out, api.Invalid("query", "is required")
	case in.ConversationID == "":
		return out, api.Invalid("conversationId", "is required")
	}
	pattern := "%" + strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`).Replace(wanted) + "%"
	err = s.db.Read(ctx, func(v storage.View) error {
		out.Results = []TranscriptHit{}
		at, err := memberOf(v, by, in.ConversationID)
		if err != nil {
			return err
		}
		rows, err := v.Query(`SELECT x.id, x.conversation_id, t.text, t.language, x.created_at FROM message x
			CROSS JOIN attachment a ON a.message_id = x.id CROSS JOIN transcript t ON t.upload_id = a.upload_id JOIN member m ON m.conversation_id = x.conversation_id
			WHERE x.conversation_id = ? AND x.attached > 0 AND x.n > ? AND m.user_id = ? AND m.left_seq IS NULL AND t.text LIKE ? ESCAPE '\' AND `+there+` AND `+unhidden+`
			ORDER BY x.n DESC LIMIT ?`, in.ConversationID, at.floor, by.UserID, pattern, v.Millis(), in.Limit)
		if err != nil {
			return fmt.Errorf("search transcripts: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var hit TranscriptHit
			var created int64
			if err := rows.Scan(&hit.MessageID, &hit.ConversationID, &hit.Transcription, &hit.Language, &created); err != nil {
				return fmt.Errorf("search transcripts: %w", err)
			}
			hit.CreatedAt = api.Millis(created)
			out.Results = append(out.Results, hit)
		}
		return rows.Err()
	})
	out.Count = len(out.Results)
	return out, err
}

const transcribedKind = "message.transcribed"

// transcribed has the members of every message that shows a recording told what is said in it.
func (s *Service) transcribed(tx *storage.Tx, uploadID string) error {
	return s.jobs.Enqueue(tx, job.Job{Kind: transcribedKind, Key: uploadID, Payload: showingPayload{uploadID}})
}

func (s *Service) tellTranscribed(ctx context.Context, j job.Job) error {
	return s.eachShowing(ctx, j, "", func(tx *storage.Tx, uploadID string, list []*Message) error {
		t, err := media.TranscriptOf(tx, uploadID)
		if err != nil || t == nil {
			return err
		}
		for _, m := range list {
			late, err := newcomers(tx, m)
			if err != nil {
				return err
			}
			if _, err := s.events.Emit(tx, event.Event{Kind: MessageTranscribed, Scope: event.ScopeConversation, ScopeID: m.ConversationID, SubjectID: m.ID},
				Transcribed{m.ID, m.ConversationID, t.Text, t.Language}, late...); err != nil {
				return err
			}
		}
		return nil
	})
}

func transcriptEvents() []event.Kind {
	return []event.Kind{{
		Name: MessageTranscribed, Doc: "What is said in the recording of a message is known.", Value: Transcribed{},
		Render: func(q storage.Querier, events []event.Event) ([]any, error) {
			ids := make([]string, len(events))
			for i, e := range events {
				ids[i] = e.SubjectID
			}
			found := map[string]*Transcribed{}
			for _, chunk := range storage.Chunks(distinct(ids)) {
				marks, args := storage.In(chunk)
				rows, err := q.Query("SELECT x.id, x.conversation_id, t.text, t.language FROM message x JOIN attachment a ON a.message_id = x.id JOIN transcript t ON t.upload_id = a.upload_id WHERE x.id IN ("+marks+") AND "+there, append(args, q.Millis())...)
				if err != nil {
					return nil, fmt.Errorf("read transcripts: %w", err)
				}
				for rows.Next() {
					var t Transcribed
					if err := rows.Scan(&t.MessageID, &t.ConversationID, &t.Transcription, &t.Language); err != nil {
						rows.Close()
						return nil, fmt.Errorf("read transcripts: %w", err)
					}
					found[t.MessageID] = &t
				}
				rows.Close()
				if err := rows.Err(); err != nil {
					return nil, fmt.Errorf("read transcripts: %w", err)
				}
			}
			return each(events, func(e event.Event) any {
				if t := found[e.SubjectID]; t != nil {
					return *t
				}
				return nil
			}), nil
		},
	}}
}

func (s *Service) transcriptRoutes() []api.Row {
	return []api.Row{
		api.Op("POST /transcription/message/{messageId}", "", api.RoleUser, api.TierSearch, s.Transcribe, api.Doc("What is said in the recording of a message, transcribed now if it was not yet.")),
		api.Op("GET /transcription/message/{messageId}", "", api.RoleUser, api.TierRead, s.Transcription, api.Doc("What is said in the recording of a message, when it was transcribed.")),
		api.Op("POST /transcription/batch", "", api.RoleUser, api.TierSearch, s.TranscribeBatch, api.Doc("The recordings of several messages, one after the other.")),
		api.Op("GET /transcription/search", "", api.RoleUser, api.TierSearch, s.Transcripts, api.Doc("Recordings of a conversation in which something is said.")),
	}
}
