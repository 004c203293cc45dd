package media

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
)

// Speech becomes text at a service that speaks OpenAI's /audio/transcriptions, which whisper servers in the house do too, or
// by the program whisper-cli on the host. It is off until one of the two is configured. The work is a job; what was asked
// for once and failed can be asked for again, and nothing of a failure is kept.

// Transcript is what is said in a recording.
type Transcript struct {
	Text     string
	Language string        // as the service names it, "" when it does not
	Duration time.Duration // 0 when it is not known
}

const (
	transcribeKind = "media.transcribe"
	transcriptMax  = 100_000   // characters
	waveMax        = 256 << 20 // bytes: two hours
)

type transcribePayload struct {
	Upload string `json:"upload"`
	Asked  bool   `json:"asked,omitempty"` // somebody waits: a failure is told them, and not tried again
}

// CanTranscribe reports whether a service or a program is configured.
func (s *Service) CanTranscribe() bool {
	c := s.config.Get().Transcription
	return c.URL != "" || c.Command != ""
}

// OnTranscribed sets what is called in the transaction that stores a transcript. Call it before the first upload.
func (s *Service) OnTranscribed(fn func(tx *storage.Tx, uploadID string) error) { s.transcribed = fn }

// TranscriptOf reads a transcript, nil when there is none.
func TranscriptOf(q storage.Querier, uploadID string) (*Transcript, error) {
	var t Transcript
	var ms int64
	err := q.QueryRow("SELECT text, language, duration_ms FROM transcript WHERE upload_id = ?", uploadID).Scan(&t.Text, &t.Language, &ms)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read transcript: %w", err)
	}
	t.Duration = time.Duration(ms) * time.Millisecond
	return &t, nil
}

// Transcribe has an upload transcribed and waits for it, not longer than wait. It returns nil while the work goes on. Codes:
// TRANSCRIPTION_OFF, TRANSCRIPTION_FAILED.
func (s *Service) Transcribe(ctx context.Context, uploadID string, wait time.Duration) (t *Transcript, err error) {
	read := func() error {
		return s.db.Read(ctx, func(v storage.View) error {
			t, err = TranscriptOf(v, uploadID)
			return err
		})
	}
	if err := read(); err != nil || t != nil {
		return t, err
	}
	if !s.CanTranscribe() {
		return nil, api.E("TRANSCRIPTION_OFF")
	}
	done, leave := s.waiters.wait(transcribeKind + uploadID)
	defer leave()
	if err := s.db.Write(ctx, "media.transcribe", func(tx *storage.Tx) error {
		return s.jobs.Enqueue(tx, job.Job{Kind: transcribeKind, Key: "asked " + uploadID, Payload: transcribePayload{uploadID, true}})
	}); err != nil {
		return nil, err
	}
	select {
	case <-done:
	case <-time.After(wait):
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := read(); err != nil || t != nil {
		return t, err
	}
	return nil, api.E("TRANSCRIPTION_FAILED")
}

// transcribeByItself enqueues the transcription of a sound that has just become ready, where that is wanted.
func (s *Service) transcribeByItself(tx *storage.Tx, u *upload) error {
	if u.kind.class != classAudio || !s.config.Get().Transcription.Auto || !s.CanTranscribe() {
		return nil
	}
	return s.jobs.Enqueue(tx, job.Job{Kind: transcribeKind, Key: u.id, Payload: transcribePayload{u.id, false}})
}

func (s *Service) runTranscribe(ctx context.Context, j job.Job) error {
	var p transcribePayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	err := s.transcribe(ctx, p.Upload)
	if err != nil && (p.Asked || errors.Is(err, errRecording)) && ctx.Err() == nil {
		s.log.Warn("transcribe", "upload", p.Upload, "error", err)
		err = nil
	}
	if err == nil {
		s.waiters.done(transcribeKind + p.Upload)
	}
	return err
}

func (s *Service) transcribe(ctx context.Context, uploadID string) error {
	u, err := s.find(ctx, uploadID)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil
	}
	if err != nil || u.state != stateReady || u.damaged {
		return err
	}
	c := s.config.Get().Transcription
	if u.size > int64(c.MaxSize) {
		return fmt.Errorf("%w: %d bytes are more than transcription.max_size", errRecording, u.size)
	}
	f, err := s.blobs.Open(ctx, u.sha256)
	if err != nil {
		return err
	}
	defer f.Close()
	var t Transcript
	if c.URL != "" {
		t, err = s.askService(ctx, c, u, f)
	} else {
		t, err = s.runWhisper(ctx, c, u, f)
	}
	if err == nil {
		s.speech.pulse.beat(s.now(), nil)
	} else if ctx.Err() == nil && !errors.Is(err, errRecording) {
		s.speech.pulse.beat(s.now(), err)
	}
	if err != nil {
		return err
	}
	t.Text = cut(strings.TrimSpace(strings.ToValidUTF8(t.Text, "\uFFFD")), transcriptMax)
	t.Language = cut(strings.ToValidUTF8(t.Language, ""), 32)
	if t.Duration == 0 {
		t.Duration = time.Duration(u.details.DurationMS) * time.Millisecond
	}
	return s.db.Write(ctx, "media.transcript", func(tx *storage.Tx) error {
		result, err := tx.Exec(`INSERT INTO transcript (upload_id, text, language, duration_ms, created_at)
			SELECT id, ?2, ?3, ?4, ?5 FROM upload WHERE id = ?1 ON CONFLICT (upload_id) DO NOTHING`, u.id, t.Text, t.Language, t.Duration.Milliseconds(), tx.Millis())
		if err != nil {
			return fmt.Errorf("store transcript: %w", err)
		}
		if n, err := result.RowsAffected(); err != nil || n == 0 || s.transcribed == nil {
			return err
		}
		return s.transcribed(tx, u.id)
	})
}
