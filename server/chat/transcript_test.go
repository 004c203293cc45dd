package chat_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// speech is a stand-in for a transcription service, as strict as OpenAI's is said to be.
type speech struct {
	*httptest.Server
	asked  atomic.Int64
	answer atomic.Value // of the next requests: a JSON text; "" is a 500
}

const zanzibar = `{"text":" Zanzibar is lovely in spring. ","language":"en","duration":3}`

func startSpeech(t *testing.T) *speech {
	t.Helper()
	s := &speech{}
	s.answer.Store(zanzibar)
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked.Add(1)
		file, header, err := r.FormFile("file")
		if err != nil {
			t.Errorf("the service gets no file: %v", err)
			return
		}
		raw, err := io.ReadAll(file)
		if err != nil || !strings.HasPrefix(string(raw), "RIFF") || header.Filename != "audio.wav" || r.URL.Path != "/v1/audio/transcriptions" ||
			r.FormValue("model") != "whisper-1" || r.FormValue("response_format") != "json" || r.Header.Get("Authorization") != "Bearer sesame" {
			t.Errorf("the service gets %s %v, %d bytes, %v", r.URL.Path, r.Form, len(raw), err)
		}
		for _, name := range []string{"X-Forwarded-For", "Cookie", "X-Device-Id"} {
			if r.Header.Get(name) != "" {
				t.Errorf("the service learns %s", name)
			}
		}
		answer := s.answer.Load().(string)
		if answer == "" {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

// note sends a recording and returns the id of the message.
func note(t *testing.T, u *servertest.User, room string) string {
	t.Helper()
	wav := "RIFF\x24\x3e\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data\x00\x3e\x00\x00" + strings.Repeat("\x00\x10\x00\xf0", 0x3e00/4)
	url := u.Uploaded("/upload/audio", "note.wav", []byte(wav))
	return fetch[message](u, "POST", "/messages", map[string]any{"conversationId": room, "type": "audio", "attachments": []map[string]any{{"type": "audio", "url": url}}}).ID
}

type transcription struct {
	MessageID     string
	Transcription *string
	Language      string
	Duration      float64
	Message       string
}

// soon waits until something holds that happens in the background.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestSpeechIsTranscribedWhenAskedFoundAndToldToTheMembersAlone(t *testing.T) {
	service := startSpeech(t)
	s := servertest.Start(t, "QUCKCHAT_TRANSCRIPTION_URL="+service.URL+"/v1", "QUCKCHAT_TRANSCRIPTION_API_KEY=sesame")
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	id := note(t, ada, room)
	text := ada.Send(room, "no recording")
	path := "/transcription/message/" + id
	if got := fetch[transcription](bob, "GET", path, nil); got.Transcription != nil || got.Message == "" {
		t.Errorf("before: %+v", got)
	}
	eve.Do("POST", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
	eve.Do("GET", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
	ada.Do("POST", "/transcription/message/"+text, nil).Fails(400, "NOT_AUDIO")

	for _, wrong := range []string{"", "<html>sorry</html>", `{"error":"quota"}`} {
		service.answer.Store(wrong)
		bob.Do("POST", path, nil).Fails(503, "TRANSCRIPTION_FAILED")
	}
	if got := fetch[transcription](bob, "GET", path, nil); got.Transcription != nil {
		t.Errorf("a failure is kept: %+v", got)
	}
	service.answer.Store(zanzibar)
	socket := ada.Socket()
	since := socket.Seq
	r := bob.Do("POST", path, nil)
	var got transcription
	if r.OK(&got); r.Status != 201 || got.Transcription == nil || *got.Transcription != "Zanzibar is lovely in spring." || got.Language != "en" || got.Duration != 3 {
		t.Errorf("%d %+v", r.Status, got)
	}
	asked := service.asked.Load()
	if bob.Do("POST", path, nil).OK(&got); service.asked.Load() != asked {
		t.Error("what is known was asked again")
	}
	live := socket.Until("message:transcribed")
	var told struct{ MessageID, ConversationID, Transcription string }
	if err := json.Unmarshal(live.Data, &told); err != nil || told.MessageID != id || told.ConversationID != room || told.Transcription != *got.Transcription {
		t.Errorf("told %s", live.Data)
	}
	if late := ada.Resume(since).Until("message:transcribed"); string(late.Raw) != string(live.Raw) {
		t.Errorf("live %s\nlate %s", live.Raw, late.Raw)
	}

	hits := fetch[struct {
		Results []transcription
		Count   int
	}](bob, "GET", "/transcription/search?conversationId="+room+"&query=ZANZI", nil)
	if hits.Count != 1 || hits.Results[0].MessageID != id {
		t.Errorf("found %+v", hits)
	}
	eve.Do("GET", "/transcription/search?conversationId="+room+"&query=zanzi", nil).Fails(404, "CONVERSATION_NOT_FOUND")
	for _, q := range []string{"zanzibar+has:audio", "anziba", `%22lovely+in+spring%22`} {
		soon(t, "search finds what was said by "+q, func() bool {
			found := fetch[struct{ Messages []message }](bob, "GET", "/messages/search/query?q="+q, nil)
			return len(found.Messages) == 1 && found.Messages[0].ID == id
		})
	}
	if found := fetch[struct{ Messages []message }](eve, "GET", "/messages/search/query?q=zanzibar", nil); len(found.Messages) != 0 {
		t.Errorf("eve finds %+v", found)
	}
	list := fetch[[]transcription](bob, "POST", "/transcription/batch", map[string]any{"messageIds": []string{id, text, "nonsense"}})
	if len(list) != 3 || list[0].Transcription == nil || list[1].Transcription != nil || list[1].Message == "" || list[2].Message == "" {
		t.Errorf("batch %+v", list)
	}
	ada.Do("DELETE", "/messages/"+id, nil).OK(nil)
	bob.Do("GET", path, nil).Fails(404, "MESSAGE_NOT_FOUND")
	soon(t, "what was said goes with its recording", func() bool { return count(t, s, "SELECT count(*) FROM transcript") == 0 })
}

func TestTranscriptionIsOffUntilItIsSetUpAndByItselfWhenWanted(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	ada.Do("POST", "/transcription/message/"+note(t, ada, ada.Single(bob)), nil).Fails(501, "TRANSCRIPTION_OFF")
	ada.Do("POST", "/transcription/batch", map[string]any{"messageIds": []string{"x"}}).Fails(501, "TRANSCRIPTION_OFF")

	service := startSpeech(t)
	s = servertest.Start(t, "QUCKCHAT_TRANSCRIPTION_URL="+service.URL+"/v1", "QUCKCHAT_TRANSCRIPTION_API_KEY=sesame", "QUCKCHAT_TRANSCRIPTION_AUTO=on")
	ada, bob = s.Register("ada"), s.Register("bob")
	id := note(t, ada, ada.Single(bob))
	soon(t, "it is transcribed by itself", func() bool {
		return fetch[transcription](bob, "GET", "/transcription/message/"+id, nil).Transcription != nil
	})
}

func TestABatchOfTranscriptionsWaitsOnceForAll(t *testing.T) {
	t.Parallel() // it waits as long as people do
	service := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or nobody notices that the other side has gone
		<-r.Context().Done()
	}))
	t.Cleanup(service.Close)
	s := servertest.Start(t, "QUCKCHAT_TRANSCRIPTION_URL="+service.URL+"/v1")
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	ids := []string{note(t, ada, room), note(t, ada, room), note(t, ada, room)}
	answer := make(chan []transcription, 1)
	go func() {
		answer <- fetch[[]transcription](bob, "POST", "/transcription/batch", map[string]any{"messageIds": ids})
	}()
	select {
	case list := <-answer:
		for i, got := range list {
			if len(list) != 3 || got.MessageID != ids[i] || got.Transcription != nil || got.Message != "The recording is being transcribed." {
				t.Errorf("batch %+v", list)
			}
		}
	case <-time.After(60 * time.Second): // 25 for all; for each they were 75
		t.Error("each recording is waited for")
	}
}

func TestAProgramOnTheHostTranscribes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("SKIPPED: there is no ffmpeg to make a WAV with: apt-get install ffmpeg")
	}
	// A stand-in for whisper-cli, with its options.
	program := filepath.Join(t.TempDir(), "whisper-cli")
	script := `#!/bin/sh
[ "$1" = -m ] && [ "$2" = /models/small.bin ] && [ "$3" = -f ] && [ "$5 $6 $7 $8" = "-l auto -oj -of" ] && [ "${10}" = -np ] || exit 2
[ "$(head -c 4 "$4")" = RIFF ] || exit 3
echo '{"result":{"language":"de"},"transcription":[{"text":" Guten"},{"text":" Tag"}]}' > "$9.json"
`
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	s := servertest.Start(t, "QUCKCHAT_TRANSCRIPTION_COMMAND="+program, "QUCKCHAT_TRANSCRIPTION_MODEL=/models/small.bin")
	ada, bob := s.Register("ada"), s.Register("bob")
	got := fetch[transcription](bob, "POST", "/transcription/message/"+note(t, ada, ada.Single(bob)), nil)
	if got.Transcription == nil || *got.Transcription != "Guten Tag" || got.Language != "de" {
		t.Errorf("%+v", got)
	}
}
