package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/media/sound"
	"github.com/quckchat/quckchat/server/outbound"
	"github.com/quckchat/quckchat/storage/blob"
)

// errRecording is a failure that says nothing of who was asked: of what was recorded, or of our disk.
var errRecording = errors.New("this recording cannot be transcribed")

// speech is the way to the configured service. It is kept from one recording to the next, and with it what is known of a
// service that fails, until the settings change.
type speech struct {
	pulse pulse

	mu      sync.Mutex
	client  *outbound.Client // nil until it was needed
	place   string
	timeout time.Duration
}

// to returns the client that may ask a place.
func (s *speech) to(place string, timeout time.Duration) (*outbound.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client != nil && s.place == place && s.timeout == timeout {
		return s.client, nil
	}
	client, err := outbound.New(outbound.Options{UserAgent: "QuckChat", Timeout: timeout, MaxBytes: 4 << 20}).Trusted(place)
	if err != nil {
		return nil, fmt.Errorf("transcription.url: %w", err)
	}
	if s.client != nil {
		s.client.Close()
	}
	s.client, s.place, s.timeout = client, place, timeout
	return client, nil
}

// clients are at most one.
func (s *speech) clients() []*outbound.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.client == nil {
		return nil
	}
	return []*outbound.Client{s.client}
}

func (s *speech) close() {
	for _, client := range s.clients() {
		client.Close()
	}
}

// askService sends a sound to the configured service.
func (s *Service) askService(ctx context.Context, c config.Transcription, u *upload, f io.Reader) (t Transcript, err error) {
	target, err := url.Parse(strings.TrimSuffix(c.URL, "/") + "/audio/transcriptions")
	if err != nil {
		return t, fmt.Errorf("transcription.url: %w", err)
	}
	client, err := s.speech.to(hostPort(target), c.Timeout)
	if err != nil {
		return t, err
	}
	var head bytes.Buffer
	form := multipart.NewWriter(&head)
	fields := [][2]string{{"model", c.Model}, {"response_format", "json"}}
	if c.Language != "" {
		fields = append(fields, [2]string{"language", c.Language})
	}
	for _, field := range fields {
		if err := form.WriteField(field[0], field[1]); err != nil {
			return t, err
		}
	}
	if _, err := form.CreatePart(textproto.MIMEHeader{
		"Content-Disposition": {`form-data; name="file"; filename="audio` + u.kind.extension + `"`}, "Content-Type": {u.kind.mimeType},
	}); err != nil {
		return t, err
	}
	tail := "\r\n--" + form.Boundary() + "--\r\n"
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), io.MultiReader(&head, f, strings.NewReader(tail)))
	if err != nil {
		return t, err
	}
	r.ContentLength = int64(head.Len()) + u.size + int64(len(tail))
	r.Header.Set("Content-Type", form.FormDataContentType())
	if c.APIKey != "" {
		r.Header.Set("Authorization", "Bearer "+c.APIKey)
	}
	answer, err := client.Do(r)
	if err != nil {
		return t, err
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(answer.Body)
	if err != nil {
		return t, fmt.Errorf("read transcription: %w", err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return t, fmt.Errorf("%w: the service answers %d", errRecording, answer.StatusCode)
	default:
		return t, fmt.Errorf("the transcription service answers %d", answer.StatusCode)
	}
	var out struct {
		Text     *string `json:"text"`
		Language string  `json:"language"`
		Duration float64 `json:"duration"`
	}
	if err := json.Unmarshal(raw, &out); err != nil || out.Text == nil {
		return t, errors.New("the transcription service answers no transcription")
	}
	if out.Duration > 0 && out.Duration < durationMax {
		t.Duration = time.Duration(out.Duration * float64(time.Second))
	}
	t.Text, t.Language = *out.Text, out.Language
	return t, nil
}

// hostPort is the host and port of a URL, the port said or not.
func hostPort(u *url.URL) string {
	if u.Port() != "" {
		return u.Host
	}
	if u.Scheme == "https" {
		return u.Host + ":443"
	}
	return u.Host + ":80"
}

// runWhisper has the program on the host listen to a sound. It reads WAV, which ffmpeg makes.
func (s *Service) runWhisper(ctx context.Context, c config.Transcription, u *upload, f blob.File) (t Transcript, err error) {
	path, done, err := s.onDisk(f, u.id)
	if err != nil {
		return t, err
	}
	defer done()
	wave, err := sound.Wave(ctx, path, waveMax)
	if errors.Is(err, sound.ErrMalformed) {
		return t, fmt.Errorf("%w: %w", errRecording, err)
	}
	if err != nil {
		return t, fmt.Errorf("make a WAV: %w", err)
	}
	dir, err := os.MkdirTemp("", "quckchat-whisper-")
	if err != nil {
		return t, err
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "in.wav"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, wave, 0o600); err != nil {
		return t, err
	}
	language := c.Language
	if language == "" {
		language = "auto"
	}
	limited, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, c.Command, "-m", c.Model, "-f", in, "-l", language, "-oj", "-of", out, "-np")
	cmd.Env, cmd.WaitDelay = []string{"PATH=" + os.Getenv("PATH")}, 5*time.Second
	if err := cmd.Run(); err != nil {
		return t, fmt.Errorf("run whisper-cli: %w", err)
	}
	raw, err := os.ReadFile(out + ".json")
	if err != nil {
		return t, fmt.Errorf("read transcription: %w", err)
	}
	var said struct {
		Result        struct{ Language string }
		Transcription []struct{ Text string }
	}
	if err := json.Unmarshal(raw, &said); err != nil {
		return t, fmt.Errorf("read transcription: %w", err)
	}
	var text strings.Builder
	for _, part := range said.Transcription {
		text.WriteString(part.Text)
	}
	return Transcript{Text: text.String(), Language: said.Result.Language}, nil
}
