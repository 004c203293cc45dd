package media

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// Uploaded is the answer to an upload (contract 1.9). While it is looked at, State is processing and what is not known
// yet is absent.
type Uploaded struct {
	MongoID      string   `json:"_id"`
	ID           string   `json:"id"`
	URL          string   `json:"url"` // absolute
	Type         string   `json:"type"`
	FileName     string   `json:"fileName"`
	FileSize     int64    `json:"fileSize"` // bytes, of what is kept
	MimeType     string   `json:"mimeType"`
	State        string   `json:"state"` // ready, processing
	ThumbnailURL string   `json:"thumbnailUrl,omitempty"`
	PreviewURL   string   `json:"previewUrl,omitempty"`
	Thumbhash    string   `json:"thumbhash,omitempty"` // base64, a placeholder while the picture loads
	Width        int64    `json:"width,omitempty"`
	Height       int64    `json:"height,omitempty"`
	Duration     *float64 `json:"duration,omitempty"` // seconds
	Waveform     []int    `json:"waveform,omitempty"` // loudness from 0 to 255, of equal parts of the sound
}

// want is what a route takes.
type want struct {
	class  string // "" takes everything
	many   bool
	avatar bool
	row    bool // answers a media row
	pack   bool // a ZIP of stickers, of which nothing but what is in it is kept
}

// The parts of a form that hold a file, under the names clients use (contract 1.9).
var partNames = []string{"file", "files", "media", "image", "video", "audio"}

const (
	filesMax     = 10
	fieldsMax    = 20
	fieldMax     = 64 << 10        // bytes of a text field
	formSlack    = 1 << 20         // bytes of a form besides its files
	waitTime     = 8 * time.Second // how long an upload is answered later because it is looked at: the phone waits ten
	uploadBuffer = 128 << 10
)

// form takes uploads in the parts of a multipart form, one after the other, never whole in memory. Codes:
// UNSUPPORTED_MEDIA_TYPE, FILE_MISSING, FILES_TOO_MANY, FILE_EMPTY, FILE_TOO_LARGE, INVALID_FILE_TYPE, IMAGE_TOO_LARGE,
// MEDIA_QUOTA, STORAGE_FULL, OVERLOADED, BODY_TIMEOUT.
func (s *Service) form(w want) func(http.ResponseWriter, *http.Request, api.Caller) error {
	return func(rw http.ResponseWriter, r *http.Request, by api.Caller) error {
		files, err := s.receive(rw, r, by, w)
		if err != nil {
			return err
		}
		done, err := s.keep(r.Context(), by, files)
		if err != nil {
			return err
		}
		var answer any
		switch {
		case w.row:
			answer = done[0].row(s.now(), s.links, s.base(r))
		case w.many:
			list := make([]Uploaded, len(done))
			for i, u := range done {
				list[i] = u.uploaded(s.now(), s.links, s.base(r))
			}
			answer = list
		default:
			answer = done[0].uploaded(s.now(), s.links, s.base(r))
		}
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusCreated)
		return json.NewEncoder(rw).Encode(answer)
	}
}

// arrived is a file that has come in and is not kept yet.
type arrived struct {
	draft  *blob.Draft
	kind   kind
	name   string // as the sender calls it
	avatar bool
	gif    string // the name of the GIF that it is a copy of
}

func discard(files []*arrived) {
	for _, f := range files {
		f.draft.Discard()
	}
}

// receive reads the files of a form.
func (s *Service) receive(rw http.ResponseWriter, r *http.Request, by api.Caller, w want) (files []*arrived, err error) {
	leave, err := s.coming.enter(by.UserID)
	if err != nil {
		return nil, err
	}
	defer leave()
	defer func() {
		if err != nil {
			discard(files)
		}
	}()
	count := 1
	if w.many {
		count = filesMax
	}
	if r.ContentLength > int64(count)*s.greatest(w)+formSlack {
		return nil, api.E("FILE_TOO_LARGE", "max", s.greatest(w)>>20)
	}
	if err := s.allowance(r.Context(), by, max(0, r.ContentLength-formSlack)); err != nil {
		return nil, err
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" || params["boundary"] == "" {
		return nil, api.E("UNSUPPORTED_MEDIA_TYPE")
	}
	body := s.paced(r.Body, http.NewResponseController(rw))
	form := multipart.NewReader(bufio.NewReaderSize(body, uploadBuffer), params["boundary"]) // its own reader asks for 4 KiB at a time
	for fields := 0; ; {
		body.head()
		part, err := form.NextRawPart()
		body.content()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return files, broken(err)
		}
		if !slices.Contains(partNames, part.FormName()) || part.FileName() == "" && part.Header.Get("Content-Type") == "" {
			if fields++; fields > fieldsMax {
				return files, api.E("BAD_REQUEST")
			}
			if n, err := io.Copy(io.Discard, io.LimitReader(part, fieldMax+1)); err != nil || n > fieldMax {
				return files, broken(err)
			}
			continue
		}
		if len(files) == count {
			return files, api.E("FILES_TOO_MANY", "max", count)
		}
		f, err := s.arrive(part, part.FileName(), w)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	if len(files) == 0 {
		return nil, api.E("FILE_MISSING")
	}
	return files, nil
}

// greatest is how large a file of the route may be, in bytes.
func (s *Service) greatest(w want) int64 {
	c := s.config.Get()
	switch {
	case w.pack:
		return packSizeMax
	case w.avatar:
		return int64(c.Media.AvatarMax)
	case w.class != "":
		return limit(c, w.class)
	}
	most := int64(0)
	for class := range folders {
		most = max(most, limit(c, class))
	}
	return most
}

// arrive reads one file.
func (s *Service) arrive(from io.Reader, fileName string, w want) (*arrived, error) {
	head := make([]byte, headSize)
	n, err := io.ReadFull(from, head)
	switch {
	case err == io.EOF:
		return nil, api.E("FILE_EMPTY")
	case err != nil && err != io.ErrUnexpectedEOF:
		return nil, broken(err)
	}
	f := &arrived{kind: sniff(head[:n], fileName), name: plainName(fileName), avatar: w.avatar}
	if w.class == classAudio && f.kind.class == classVideo {
		f.kind = f.kind.asAudio()
	}
	if w.class != "" && f.kind.class != w.class {
		return nil, api.E("INVALID_FILE_TYPE")
	}
	most := limit(s.config.Get(), f.kind.class)
	if w.avatar || w.pack {
		most = s.greatest(w)
	}
	if f.draft, err = s.blobs.Draft(most); err != nil {
		return nil, s.full(err)
	}
	buffered := bufio.NewWriterSize(f.draft, uploadBuffer)
	if _, err = buffered.Write(head[:n]); err == nil {
		_, err = io.Copy(struct{ io.Writer }{buffered}, from)
	}
	if err == nil {
		err = buffered.Flush()
	}
	switch {
	case errors.Is(err, blob.ErrTooLarge):
		err = api.E("FILE_TOO_LARGE", "max", most>>20)
	case errors.Is(err, blob.ErrFull):
		err = s.full(err)
	case err != nil:
		err = broken(err)
	case !w.pack:
		err = s.inspect(f, w.class == "")
	}
	if err != nil {
		f.draft.Discard()
		return nil, err
	}
	return f, nil
}

// broken is a body that ended, stood still or made no sense.
func broken(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return api.E("BODY_TIMEOUT")
	}
	return api.E("BAD_REQUEST")
}

// full says that there is no room, and has the administrators told.
func (s *Service) full(err error) error {
	switch {
	case errors.Is(err, blob.ErrFull):
		s.setLow(true)
		return api.E("STORAGE_FULL")
	case away(err):
		s.log.Warn("the store of media", "error", err)
		s.bucket.beat(s.now(), err)
		return api.E("MEDIA_UNAVAILABLE")
	}
	return err
}

// away reports whether a store elsewhere cannot be reached, or refuses us.
func away(err error) bool {
	return errors.Is(err, blob.ErrUnavailable) || errors.Is(err, blob.ErrRefused)
}

// keep stores what has arrived, all or nothing, and waits a little until it is looked at.
func (s *Service) keep(ctx context.Context, by api.Caller, files []*arrived) ([]*upload, error) {
	defer discard(files)
	kept := make([]*upload, len(files))
	waits := make([]<-chan struct{}, len(files))
	for i, f := range files {
		kept[i] = &upload{
			id: storage.NewID(), userID: by.UserID, kind: f.kind, name: newName(), original: f.name, size: f.draft.Size(), avatar: f.avatar, gif: f.gif,
		}
		done, leave := s.waiters.wait(kept[i].id)
		defer leave()
		waits[i] = done
		if err := s.claimDraft(ctx, by, f.draft, kept[i]); err != nil {
			for _, u := range kept[:i] { // all or nothing
				s.forgetLater(u.id)
			}
			return nil, err
		}
	}
	timer := time.NewTimer(waitTime)
	defer timer.Stop()
	for i, u := range kept {
		if u.state == stateReady {
			continue
		}
		select {
		case <-waits[i]:
		case <-timer.C:
			timer.Reset(0)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		now, err := s.find(ctx, u.id)
		if err != nil {
			return nil, err
		}
		if now.state == stateRefused {
			return nil, api.E(now.details.Refused)
		}
		kept[i] = now
	}
	return kept, nil
}

// claimDraft puts a draft on the disk and its upload into the tables.
func (s *Service) claimDraft(ctx context.Context, by api.Caller, d *blob.Draft, u *upload) error {
	u.sha256, u.state = d.Name(), stateReady
	if s.looksAt(u) {
		u.state = stateProcessing
	}
	counted := u.createdAt > 0 // one that arrived piece by piece, when it began
	err := s.blobs.Keep(ctx, d, func() error {
		return s.db.Write(ctx, "media.keep", func(tx *storage.Tx) error {
			if !counted {
				u.createdAt = tx.Millis()
				if err := s.quota(tx, by, u.size); err != nil {
					return err
				}
			}
			return s.insert(tx, u)
		})
	})
	if err != nil {
		if _, removeErr := s.removeBlob(context.WithoutCancel(ctx), u.sha256); removeErr != nil {
			s.log.Warn("remove what was not claimed: the sweep will", "error", removeErr)
		}
		return s.full(err)
	}
	return nil
}

func (s *Service) insert(tx *storage.Tx, u *upload) error {
	if err := s.keepBlob(tx, u.sha256, u.size); err != nil {
		return err
	}
	details, err := json.Marshal(u.details)
	if err != nil {
		return fmt.Errorf("store upload: %w", err)
	}
	now := tx.Millis()
	if _, err := tx.Exec(`INSERT INTO upload (id, user_id, sha256, kind, name, original_name, mime_type, size, details, state, created_at, touched_at, gif)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?11, nullif(?12, ''))
		ON CONFLICT (id) DO UPDATE SET sha256 = ?3, kind = ?4, mime_type = ?7, size = ?8, details = ?9, state = ?10, touched_at = ?11`,
		u.id, u.userID, u.sha256, u.kind.class, u.name, u.original, u.kind.mimeType, u.size, string(details), u.state, now, u.gif); err != nil {
		return fmt.Errorf("store upload: %w", err)
	}
	if u.state == stateProcessing {
		return s.jobs.Enqueue(tx, u.job())
	}
	return nil
}

// keepBlob notes that the bytes are there. Whole ones take the place of damaged ones.
func (s *Service) keepBlob(tx *storage.Tx, name blob.Name, size int64) error {
	result, err := tx.Exec("INSERT INTO blob (sha256, size, created_at) VALUES (?, ?, ?) ON CONFLICT (sha256) DO NOTHING", name, size, tx.Millis())
	if err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return err
	}
	if n > 0 {
		tx.OnCommit(func() { s.kept.Add(size) })
		return nil
	}
	if _, err := tx.Exec("UPDATE blob SET damaged_at = NULL WHERE sha256 = ? AND damaged_at IS NOT NULL", name); err != nil {
		return fmt.Errorf("store blob: %w", err)
	}
	return nil
}

// base is where the server was reached, for the absolute addresses that uploads are answered with.
func (s *Service) base(r *http.Request) string {
	u := url.URL{Scheme: "http", Host: r.Host}
	if r.TLS != nil {
		u.Scheme = "https"
	}
	return u.String()
}

func (s *Service) now() time.Time { return s.db.Now() }
