package media

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// Attachment is a file shown with a message (contract 2.3). Who sends one names it by its address; the rest is what the
// server knows of it, and of a video also what the sender says.
type Attachment struct {
	ID           string   `json:"_id,omitempty"`
	Type         string   `json:"type" enum:"image,video,audio,file,sticker"`
	URL          string   `json:"url" maxLength:"2048"`
	ThumbnailURL *string  `json:"thumbnailUrl,omitempty" maxLength:"2048"`
	PreviewURL   *string  `json:"previewUrl,omitempty" maxLength:"2048"`
	Thumbhash    *string  `json:"thumbhash,omitempty" maxLength:"64" doc:"base64"`
	FileName     *string  `json:"fileName,omitempty" maxLength:"255"`
	FileSize     *int64   `json:"fileSize,omitempty" minimum:"0" doc:"bytes"`
	MimeType     *string  `json:"mimeType,omitempty" maxLength:"255"`
	Duration     *float64 `json:"duration,omitempty" minimum:"0" doc:"seconds"`
	Waveform     []int    `json:"waveform,omitempty" maxItems:"256" doc:"loudness from 0 to 255, of equal parts of the sound"`
	Width        *int64   `json:"width,omitempty" minimum:"0"`
	Height       *int64   `json:"height,omitempty" minimum:"0"`
	State        string   `json:"state,omitempty" doc:"processing while the server looks at it, refused when it is gone; absent when it can be fetched"`
	Refused      string   `json:"refused,omitempty" doc:"the code of why, of one that is refused"`
}

// Ref is an attachment of a message that is being sent.
type Ref struct {
	Name string // of the upload
	said said
}

// said is what a sender said of a file and the server may not be able to find out.
type said struct {
	Type       string `json:"type,omitempty"` // sticker
	FileName   string `json:"fileName,omitempty"`
	DurationMS int64  `json:"durationMs,omitempty"`
	Width      int64  `json:"width,omitempty"`
	Height     int64  `json:"height,omitempty"`
}

// Most that a sender may say of a video: a day, and a side that no screen has.
const (
	durationMax = 24 * 3600.0
	sideMax     = 1 << 16
)

// Refs reads what somebody wants to attach. An address elsewhere is refused: whoever looked at it would tell its owner that
// they do. Codes: ATTACHMENT_FOREIGN.
func Refs(list []Attachment) ([]Ref, error) {
	var refs []Ref
	for _, a := range list {
		name, _, ok := parseName(a.URL)
		if !ok {
			return nil, api.E("ATTACHMENT_FOREIGN")
		}
		r := Ref{Name: name}
		if a.Type == "sticker" {
			r.said.Type = a.Type
		}
		if a.FileName != nil {
			r.said.FileName = plainName(*a.FileName)
		}
		if a.Duration != nil && *a.Duration > 0 && *a.Duration <= durationMax {
			r.said.DurationMS = int64(*a.Duration * 1000)
		}
		if a.Width != nil && a.Height != nil && *a.Width > 0 && *a.Height > 0 && *a.Width < sideMax && *a.Height < sideMax {
			r.said.Width, r.said.Height = *a.Width, *a.Height
		}
		refs = append(refs, r)
	}
	return refs, nil
}

// Attach shows uploads of the caller's with a message, in the transaction that stores it. Codes: ATTACHMENT_NOT_FOUND.
func (s *Service) Attach(tx *storage.Tx, by api.Caller, conversationID, messageID string, refs []Ref) ([]Attachment, error) {
	names := make([]string, len(refs))
	for i, r := range refs {
		names[i] = r.Name
	}
	marks, args := storage.In(names)
	rows, err := tx.Query("SELECT u.id, u.name FROM upload u WHERE (u.user_id = ? OR "+isPacked+") AND u.state IN ('ready', 'processing') AND u.name IN ("+marks+")", append([]any{by.UserID}, args...)...)
	if err != nil {
		return nil, fmt.Errorf("find attachments: %w", err)
	}
	ids, err := scanPairs(rows)
	if err != nil {
		return nil, fmt.Errorf("find attachments: %w", err)
	}
	for i, r := range refs { // at most ten
		id := ids[r.Name]
		if id == "" {
			return nil, api.E("ATTACHMENT_NOT_FOUND")
		}
		hints, err := json.Marshal(r.said)
		if err != nil {
			return nil, err
		}
		if _, err := tx.Exec("INSERT INTO attachment (message_id, position, upload_id, details) VALUES (?, ?, ?, ?)", messageID, i, id, string(hints)); err != nil {
			return nil, fmt.Errorf("attach upload: %w", err)
		}
	}
	return attachmentsOf(tx, conversationID, messageID)
}

// Copy shows with a message what another one shows: a forward.
func (s *Service) Copy(tx *storage.Tx, conversationID, messageID, originalID string) ([]Attachment, error) {
	if _, err := tx.Exec("INSERT INTO attachment (message_id, position, upload_id, details) SELECT ?, position, upload_id, details FROM attachment WHERE message_id = ?",
		messageID, originalID); err != nil {
		return nil, fmt.Errorf("copy attachments: %w", err)
	}
	return attachmentsOf(tx, conversationID, messageID)
}

func attachmentsOf(q storage.Querier, conversationID, messageID string) ([]Attachment, error) {
	found, err := Attachments(q, map[string]string{messageID: conversationID})
	return found[messageID], err
}

// Attachments reads what messages show, in order, in one query; each message is given with its conversation.
func Attachments(q storage.Querier, conversationOf map[string]string) (map[string][]Attachment, error) {
	found := map[string][]Attachment{}
	ids := make([]string, 0, len(conversationOf))
	for id := range conversationOf {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, chunk := range storage.Chunks(ids) {
		marks, args := storage.In(chunk)
		rows, err := q.Query("SELECT "+uploadColumns+", a.message_id, a.details FROM attachment a JOIN upload u ON u.id = a.upload_id WHERE a.message_id IN ("+marks+") ORDER BY a.message_id, a.position", args...)
		if err != nil {
			return nil, fmt.Errorf("read attachments: %w", err)
		}
		for rows.Next() {
			var u upload
			var messageID, raw string
			var hints said
			err := u.scan(rows, &messageID, &raw)
			if err == nil {
				err = json.Unmarshal([]byte(raw), &hints)
			}
			if err != nil {
				rows.Close()
				return nil, fmt.Errorf("read attachments: %w", err)
			}
			found[messageID] = append(found[messageID], u.attachment(q, ConversationScope(conversationOf[messageID]), hints))
		}
		rows.Close()
		if err := rows.Err(); err != nil {
			return nil, fmt.Errorf("read attachments: %w", err)
		}
	}
	return found, nil
}

// attachment is how an upload is shown as part of scope.
func (u *upload) attachment(q storage.Querier, scope string, hints said) Attachment {
	link := func(rendition string) *string {
		address := q.Link(u.path(rendition), scope)
		return &address
	}
	a := Attachment{ID: u.id, Type: u.kind.class, URL: *link(""), FileSize: &u.size, MimeType: &u.kind.mimeType, Waveform: levels(u.details.Waveform)}
	if hints.Type != "" {
		a.Type = hints.Type
	}
	if u.state != stateReady {
		a.State, a.Refused = u.state, u.details.Refused
	}
	name := u.original
	if hints.FileName != "" {
		name = hints.FileName
	}
	if name != "" {
		a.FileName = &name
	}
	if small := u.small(); small != "" {
		a.ThumbnailURL = link(small)
	}
	if u.has("preview.webp") {
		a.PreviewURL = link("preview.webp")
	}
	if u.details.Thumbhash != "" {
		a.Thumbhash = &u.details.Thumbhash
	}
	width, height, duration := u.details.Width, u.details.Height, u.details.DurationMS
	if width == 0 && u.kind.class == classVideo {
		width, height = hints.Width, hints.Height
	}
	if duration == 0 && (u.kind.class == classVideo || u.kind.class == classAudio) {
		duration = hints.DurationMS
	}
	if width > 0 && height > 0 {
		a.Width, a.Height = &width, &height
	}
	if duration > 0 {
		seconds := float64(duration) / 1000
		a.Duration = &seconds
	}
	return a
}

// Unsigned is the attachment without what its addresses let anybody fetch it by.
func (a Attachment) Unsigned() Attachment {
	a.URL, _, _ = strings.Cut(a.URL, "?")
	a.ThumbnailURL, a.PreviewURL = nil, nil
	return a
}

// NameOf is the name of the upload that an attachment is of, to compare two.
func (a Attachment) NameOf() string {
	name, _, _ := parseName(a.URL)
	return name
}

// Release takes the attachments of messages that are gone. What nothing shows any more is removed by a job, at once.
func (s *Service) Release(tx *storage.Tx, messageIDs []string) error {
	for _, chunk := range storage.Chunks(messageIDs) {
		marks, args := storage.In(chunk)
		rows, err := tx.Query("SELECT DISTINCT upload_id FROM attachment WHERE message_id IN ("+marks+")", args...)
		if err != nil {
			return fmt.Errorf("release attachments: %w", err)
		}
		ids, err := storage.ScanIDs(rows)
		if err != nil {
			return fmt.Errorf("release attachments: %w", err)
		}
		if len(ids) == 0 {
			continue
		}
		if _, err := tx.Exec("DELETE FROM attachment WHERE message_id IN ("+marks+")", args...); err != nil {
			return fmt.Errorf("release attachments: %w", err)
		}
		if err := s.forget(tx, ids); err != nil {
			return err
		}
	}
	return nil
}
