package media

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// The states of an upload.
const (
	stateReceiving  = "receiving"  // arrives piece by piece
	stateProcessing = "processing" // is looked at; nobody is served it
	stateReady      = "ready"
	stateRefused    = "refused" // a virus, or not what it said it was; its bytes are gone
)

// upload is a row of the table.
type upload struct {
	id, userID string
	sha256     blob.Name // "" until all of it is there
	kind       kind
	name       string // the unguessable part of its address
	original   string
	size       int64 // bytes
	details    details
	state      string
	createdAt  int64
	renditions []string // their names
	avatar     bool     // squares are made of it
	gif        string   // the name of the GIF that it is a copy of; known only while it is stored
	damaged    bool     // its bytes are not what they were
}

// details are what is known of an upload, stored as JSON.
type details struct {
	Width      int64    `json:"width,omitempty"`
	Height     int64    `json:"height,omitempty"`
	DurationMS int64    `json:"durationMs,omitempty"`
	Waveform   []byte   `json:"waveform,omitempty"`
	Thumbhash  string   `json:"thumbhash,omitempty"`
	Refused    string   `json:"refused,omitempty"` // the code of why
	Declared   declared `json:"declared,omitzero"` // while it arrives piece by piece
}

// declared is what the sender of a resumable upload said of it.
type declared struct {
	Size  int64  `json:"size,omitempty"`  // bytes
	Class string `json:"class,omitempty"` // audio, avatar: what the sender means it to be
}

// Media is an upload as the media routes answer it (contract 3.8).
type Media struct {
	MongoID      string     `json:"_id"`
	ID           string     `json:"id"`
	UserID       string     `json:"userId"`
	FileName     string     `json:"filename"`
	OriginalName string     `json:"originalFilename"`
	MimeType     string     `json:"mimeType"`
	Type         string     `json:"type"` // image, video, audio, document
	Size         int64      `json:"size"` // bytes
	URL          string     `json:"url"`
	ThumbnailURL *string    `json:"thumbnailUrl"`
	PreviewURL   *string    `json:"previewUrl,omitempty"`
	Thumbhash    string     `json:"thumbhash,omitempty"` // base64
	Waveform     []int      `json:"waveform,omitempty"`  // loudness from 0 to 255, of equal parts of the sound
	Dimensions   Dimensions `json:"dimensions"`
	State        string     `json:"state"`             // receiving, processing, ready, refused
	Refused      string     `json:"refused,omitempty"` // the code of why
	CreatedAt    string     `json:"createdAt"`
	UpdatedAt    string     `json:"updatedAt"`
}

// Dimensions are how large and how long media are; 0 where that is not known.
type Dimensions struct {
	Width    int64   `json:"width"`
	Height   int64   `json:"height"`
	Duration float64 `json:"duration"` // seconds
}

const uploadColumns = `u.id, u.user_id, coalesce(u.sha256, ''), u.kind, u.mime_type, u.name, u.original_name, u.size, u.details, u.state, u.created_at,
	coalesce((SELECT group_concat(r.name, ' ') FROM rendition r WHERE r.upload_id = u.id), ''),
	coalesce((SELECT b.damaged_at FROM blob b WHERE b.sha256 = u.sha256), 0) > 0`

func (u *upload) scan(row interface{ Scan(...any) error }, more ...any) error {
	var raw, renditions string
	err := row.Scan(append([]any{&u.id, &u.userID, &u.sha256, &u.kind.class, &u.kind.mimeType, &u.name, &u.original, &u.size, &raw, &u.state, &u.createdAt, &renditions, &u.damaged}, more...)...)
	if err != nil {
		return err
	}
	u.kind.extension = extensionOf(u.kind.mimeType, u.original)
	u.renditions = strings.Fields(renditions)
	if err := json.Unmarshal([]byte(raw), &u.details); err != nil {
		return fmt.Errorf("details of upload %s: %w", u.id, err)
	}
	return nil
}

// has reports whether a rendition was made.
func (u *upload) has(rendition string) bool { return slices.Contains(u.renditions, rendition) }

// path is where the upload, or a rendition of it, is served.
func (u *upload) path(rendition string) string {
	return where(u.kind.class, u.name, u.kind.extension, rendition)
}

// small is the rendition that stands for the upload in a list, "" when there is none.
func (u *upload) small() string {
	for _, rendition := range []string{"thumb.webp", posterFile} {
		if u.has(rendition) {
			return rendition
		}
	}
	return ""
}

func (u *upload) uploaded(now time.Time, links *Links, base string) Uploaded {
	link := func(rendition string) string {
		return links.absolute(u.path(rendition), ownerScope+u.userID, now, base)
	}
	out := Uploaded{
		MongoID: u.id, ID: u.id, URL: link(""), Type: u.kind.class, FileName: u.original, FileSize: u.size, MimeType: u.kind.mimeType, State: u.state,
		Thumbhash: u.details.Thumbhash, Width: u.details.Width, Height: u.details.Height, Waveform: levels(u.details.Waveform),
	}
	if out.FileName == "" {
		out.FileName = u.name + u.kind.extension
	}
	if small := u.small(); small != "" {
		out.ThumbnailURL = link(small)
	}
	if u.has("preview.webp") {
		out.PreviewURL = link("preview.webp")
	}
	if u.details.DurationMS > 0 {
		seconds := float64(u.details.DurationMS) / 1000
		out.Duration = &seconds
	}
	return out
}

func (u *upload) row(now time.Time, links *Links, base string) Media {
	link := func(rendition string) string {
		return links.absolute(u.path(rendition), ownerScope+u.userID, now, base)
	}
	out := Media{
		MongoID: u.id, ID: u.id, UserID: u.userID, FileName: u.name + u.kind.extension, OriginalName: u.original, MimeType: u.kind.mimeType, Type: u.kind.class,
		Size: u.size, URL: link(""), Dimensions: Dimensions{u.details.Width, u.details.Height, float64(u.details.DurationMS) / 1000}, State: u.state, Refused: u.details.Refused,
		CreatedAt: api.Millis(u.createdAt), UpdatedAt: api.Millis(u.createdAt),
	}
	if out.Type == classFile {
		out.Type = "document"
	}
	out.Thumbhash, out.Waveform = u.details.Thumbhash, levels(u.details.Waveform)
	if small := u.small(); small != "" {
		address := link(small)
		out.ThumbnailURL = &address
	}
	if u.has("preview.webp") {
		address := link("preview.webp")
		out.PreviewURL = &address
	}
	return out
}

// levels are a waveform as JSON numbers; bytes would be a text in base64.
func levels(waveform []byte) []int {
	var list []int
	for _, level := range waveform {
		list = append(list, int(level))
	}
	return list
}

// find reads an upload. Codes: MEDIA_NOT_FOUND.
func (s *Service) find(ctx context.Context, id string) (u *upload, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		u, err = uploadBy(v, "u.id = ?", id)
		return err
	})
	return u, err
}

func uploadBy(q storage.Querier, where string, args ...any) (*upload, error) {
	u := &upload{}
	err := u.scan(q.QueryRow("SELECT "+uploadColumns+" FROM upload u WHERE "+where, args...))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.E("MEDIA_NOT_FOUND")
	}
	if err != nil {
		return nil, fmt.Errorf("read upload: %w", err)
	}
	return u, nil
}

// Input names an upload.
type Input struct {
	MediaID string `path:"mediaId" maxLength:"64"`
}

// mayFetch finds an upload that the caller uploaded, or that is shown to them. Codes: MEDIA_NOT_FOUND.
func (s *Service) mayFetch(ctx context.Context, by api.Caller, id string) (u *upload, err error) {
	err = s.db.Read(ctx, func(v storage.View) error {
		if u, err = uploadBy(v, "u.id = ?", id); err != nil {
			return err
		}
		if u.userID == by.UserID {
			return nil
		}
		seen, err := shownTo(v, u.id, by.UserID)
		if err == nil && !seen {
			err = api.E("MEDIA_NOT_FOUND")
		}
		return err
	})
	return u, err
}

// Media returns an upload. Codes: MEDIA_NOT_FOUND.
func (s *Service) Media(ctx context.Context, by api.Caller, in *Input) (Media, error) {
	u, err := s.mayFetch(ctx, by, in.MediaID)
	if err != nil {
		return Media{}, err
	}
	return u.rowFor(by, s.now(), s.links), nil
}

// rowFor is a row with addresses that are the viewer's own: signed for the one who uploaded it, others fetch with their token.
func (u *upload) rowFor(by api.Caller, now time.Time, links *Links) Media {
	row := u.row(now, links, "")
	if u.userID != by.UserID {
		row.URL, row.ThumbnailURL, row.PreviewURL = u.path(""), nil, nil
	}
	return row
}

// Address is where an upload can be fetched.
type Address struct {
	URL string `json:"url"`
}

// Address returns the address of an upload. Codes: MEDIA_NOT_FOUND.
func (s *Service) Address(ctx context.Context, by api.Caller, in *Input) (Address, error) {
	m, err := s.Media(ctx, by, in)
	return Address{m.URL}, err
}

// Deleted is the answer to a deletion.
type Deleted struct {
	Success bool `json:"success"`
}

// Delete removes one of the caller's uploads. One that a message or a profile shows goes with that. Codes:
// MEDIA_NOT_FOUND, MEDIA_IN_USE.
func (s *Service) Delete(ctx context.Context, by api.Caller, in *Input) (Deleted, error) {
	err := s.db.Write(ctx, "media.delete", func(tx *storage.Tx) error {
		u, err := uploadBy(tx, "u.id = ? AND u.user_id = ?", in.MediaID, by.UserID)
		if err != nil {
			return err
		}
		claimed, err := claimed(tx, u.id)
		if err != nil {
			return err
		}
		if claimed {
			return api.E("MEDIA_IN_USE")
		}
		return s.forget(tx, []string{u.id})
	})
	return Deleted{err == nil}, err
}
