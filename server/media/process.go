package media

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media/picture"
	"github.com/quckchat/quckchat/server/media/sound"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// What becomes of an upload before anybody is served it: the virus scanner sees the bytes as they came; what a camera or phone
// wrote into them goes; small pictures are made of large ones. Pictures are worked on one at a time, for each takes up to 160
// MiB. A job that is interrupted begins again: what it had made has the same name then.

// The kinds of job.
const (
	pictureKind = "media.picture"
	otherKind   = "media.other"
	squareKind  = "media.square"
)

// cleanFile is the rendition that takes the place of the upload in the end.
const cleanFile = "clean"

// squareSide is the size of the picture of a profile, in pixels.
const squareSide = 512

type processPayload struct {
	Upload string `json:"upload"`
	Square bool   `json:"square,omitempty"`
}

// job is what looks at an upload.
func (u *upload) job() job.Job {
	kind := otherKind
	if u.kind.class == classImage {
		kind = pictureKind
	}
	return job.Job{Kind: kind, Key: u.id, Payload: processPayload{u.id, u.avatar}}
}

// squareJob makes the picture of a profile from an upload that is ready.
func (u *upload) squareJob() job.Job {
	return job.Job{Kind: squareKind, Key: u.id, Payload: processPayload{u.id, true}}
}

// OnProcessed sets what is called in the transaction that ends the look at an upload: it is ready, or it was refused and
// its bytes are gone. Call it before the first upload.
func (s *Service) OnProcessed(fn func(tx *storage.Tx, uploadID string) error) { s.processed = fn }

// done says to whoever listens that the look at an upload has ended.
func (s *Service) done(tx *storage.Tx, u *upload) error {
	if s.processed == nil {
		return nil
	}
	return s.processed(tx, u.id)
}

// handleProcessing registers the jobs. Those that wait for a scanner which is away are tried for days, those for a
// transcription for an hour.
func (s *Service) handleProcessing() {
	s.jobs.Handle(pictureKind, job.Handler{Workers: 1, MaxAttempts: 50, Timeout: 5 * time.Minute, Run: s.runProcess})
	s.jobs.Handle(otherKind, job.Handler{Workers: 2, MaxAttempts: 50, Timeout: 30 * time.Minute, Run: s.runProcess})
	s.jobs.Handle(transcribeKind, job.Handler{Workers: 1, MaxAttempts: 12, Timeout: 6*time.Hour + 10*time.Minute, Run: s.runTranscribe})
	s.jobs.Handle(squareKind, job.Handler{Workers: 1, MaxAttempts: 5, Timeout: 5 * time.Minute, Run: s.runSquare})
}

// looksAt reports whether there is something to do about an upload before it is served.
func (s *Service) looksAt(u *upload) bool { return u.kind.class != classFile || s.scan != nil }

// inspect looks at the headers of what has arrived, so that whoever sends a bomb or half a picture is told at once. Where anything
// may be sent, such a picture is kept as a file that is never shown. Codes: IMAGE_TOO_LARGE, IMAGE_DAMAGED.
func (s *Service) inspect(f *arrived, anything bool) error {
	if f.kind.class != classImage {
		return nil
	}
	info, err := picture.Inspect(f.draft.Reader())
	switch {
	case err == nil:
		f.kind = kind{classImage, info.Format.Type(), extensionOf(info.Format.Type(), "")}
		return nil
	case anything && damagedPicture(err):
		f.kind = kind{classFile, "application/octet-stream", fileExtension(f.name)}
		return nil
	}
	return refusal(err)
}

func damagedPicture(err error) bool {
	return errors.Is(err, picture.ErrTooLarge) || errors.Is(err, picture.ErrMalformed) || errors.Is(err, picture.ErrUnsupported)
}

// refusal is what a client is told of a picture that cannot be taken.
func refusal(err error) error {
	switch {
	case errors.Is(err, picture.ErrTooLarge):
		return api.E("IMAGE_TOO_LARGE")
	case damagedPicture(err):
		return api.E("IMAGE_DAMAGED")
	}
	return err
}

func (s *Service) runProcess(ctx context.Context, j job.Job) error {
	var p processPayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	u, err := s.find(ctx, p.Upload)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil
	}
	if err != nil || u.state != stateProcessing {
		return err
	}
	u.avatar = p.Square
	err = s.process(ctx, u)
	var e *api.Error
	if errors.As(err, &e) {
		err = s.refuse(ctx, u, e.Code)
	}
	if err == nil {
		s.waiters.done(u.id)
	}
	return err
}

// process makes an upload ready. An *api.Error means that it is refused for good, any other that it is tried again.
func (s *Service) process(ctx context.Context, u *upload) error {
	f, err := s.blobs.Open(ctx, u.sha256)
	if err != nil {
		return fmt.Errorf("process upload: %w", err)
	}
	defer f.Close()
	if s.scan != nil {
		signature, err := s.scanFile(ctx, f)
		if err != nil {
			return fmt.Errorf("scan upload: %w", err)
		}
		if signature != "" {
			s.log.Warn("the virus scanner refuses an upload", "upload", u.id, "user", u.userID, "signature", signature)
			return api.E("FILE_INFECTED")
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return fmt.Errorf("process upload: %w", err)
		}
	}
	was := u.sha256
	switch u.kind.class {
	case classImage:
		err = s.processPicture(ctx, u, f)
	case classAudio, classVideo:
		err = s.processSound(ctx, u, f)
	}
	if err != nil {
		return err
	}
	if err := s.finish(ctx, u); err != nil {
		return err
	}
	if was != u.sha256 {
		_, err = s.removeBlob(ctx, was)
	}
	return err
}

// processPicture turns a picture upright, takes out what its camera wrote, and makes the small ones.
func (s *Service) processPicture(ctx context.Context, u *upload, f io.ReadSeeker) error {
	d, err := s.blobs.Draft(4*u.size + 1<<20) // one that is turned is encoded anew
	if err != nil {
		return err
	}
	defer d.Discard()
	info, err := picture.Clean(ctx, d, f)
	if err != nil {
		return refusal(err)
	}
	u.details.Width, u.details.Height = int64(info.Width), int64(info.Height)
	list, hash, err := picture.Render(ctx, d.Reader(), picture.Thumbnail, picture.Preview)
	if err != nil && !(errors.Is(err, picture.ErrUnsupported) && (info.Format == picture.HEIC || info.Format == picture.AVIF)) {
		return refusal(err)
	}
	u.details.Thumbhash = string(hash)
	for _, r := range list {
		if err := s.rendition(ctx, u, r.Name+extensionOf(r.Format.Type(), ""), r.Format.Type(), r.Data); err != nil {
			return err
		}
	}
	if u.avatar {
		if err := s.squares(ctx, u, d.Reader()); err != nil {
			return err
		}
	}
	return s.replace(ctx, u, d)
}

// squares makes the picture of a profile.
func (s *Service) squares(ctx context.Context, u *upload, f io.ReadSeeker) error {
	list, err := picture.Square(ctx, f, squareSide)
	if errors.Is(err, picture.ErrUnsupported) { // it is shown as it is
		return nil
	}
	if err != nil {
		return refusal(err)
	}
	for _, r := range list {
		if err := s.rendition(ctx, u, "square"+extensionOf(r.Format.Type(), ""), r.Format.Type(), r.Data); err != nil {
			return err
		}
	}
	return nil
}

// runSquare makes the picture of a profile from an upload that was not sent as one.
func (s *Service) runSquare(ctx context.Context, j job.Job) error {
	var p processPayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	u, err := s.find(ctx, p.Upload)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil
	}
	if err != nil || u.state != stateReady || u.has(squareFile) {
		return err
	}
	f, err := s.blobs.Open(ctx, u.sha256)
	if err != nil {
		return fmt.Errorf("make the picture of a profile: %w", err)
	}
	defer f.Close()
	err = s.squares(ctx, u, f)
	if errors.Is(err, errGone) {
		return nil
	}
	return err
}

// processSound finds out how long something lasts, how loud it is and what a film shows, and takes out where it was recorded.
func (s *Service) processSound(ctx context.Context, u *upload, f blob.File) error {
	info, err := sound.Inspect(ctx, f)
	unknown := errors.Is(err, sound.ErrUnsupported) || errors.Is(err, sound.ErrMalformed) // it is kept, and what it is stays unknown
	if err != nil && !unknown {
		return err
	}
	u.details.DurationMS = info.Duration.Milliseconds()
	if u.kind.class == classAudio {
		u.details.Waveform = info.Waveform
	} else {
		u.details.Width, u.details.Height = int64(info.Width), int64(info.Height)
		if err := s.poster(ctx, u, f); err != nil {
			return err
		}
	}
	if unknown {
		return nil
	}
	located, err := sound.Located(ctx, f, info.Format)
	if err != nil || !located {
		return refusedSound(err)
	}
	d, err := s.blobs.Draft(u.size)
	if err != nil {
		return err
	}
	defer d.Discard()
	if err := sound.Strip(ctx, d, f, info.Format); err != nil {
		return refusedSound(err)
	}
	return s.replace(ctx, u, d)
}

// refusedSound refuses a file from which a place cannot be taken out.
func refusedSound(err error) error {
	if errors.Is(err, sound.ErrMalformed) {
		return api.E("MEDIA_MALFORMED")
	}
	if errors.Is(err, sound.ErrUnsupported) {
		return nil
	}
	return err
}

// errGone says that the upload was removed while it was worked on.
var errGone = errors.New("the upload was removed meanwhile")

// rendition keeps a small picture.
func (s *Service) rendition(ctx context.Context, u *upload, name, mimeType string, data []byte) error {
	d, err := s.blobs.Draft(int64(len(data)))
	if err != nil {
		return err
	}
	defer d.Discard()
	if _, err := io.Copy(d, bytes.NewReader(data)); err != nil {
		return err
	}
	return s.keepRendition(ctx, u, d, name, mimeType)
}

// replace keeps what is to be served in place of the upload, unless it is the same.
func (s *Service) replace(ctx context.Context, u *upload, d *blob.Draft) error {
	if d.Name() == u.sha256 {
		return nil
	}
	name, size := d.Name(), d.Size()
	if err := s.keepRendition(ctx, u, d, cleanFile, u.kind.mimeType); err != nil {
		return err
	}
	u.sha256, u.size = name, size
	return nil
}

func (s *Service) keepRendition(ctx context.Context, u *upload, d *blob.Draft, file, mimeType string) error {
	name, size := d.Name(), d.Size()
	err := s.blobs.Keep(ctx, d, func() error {
		return s.db.Write(ctx, "media.rendition", func(tx *storage.Tx) error {
			var there bool
			if err := tx.QueryRow("SELECT EXISTS (SELECT 1 FROM upload WHERE id = ?)", u.id).Scan(&there); err != nil {
				return fmt.Errorf("store rendition: %w", err)
			}
			if !there {
				return errGone
			}
			if err := s.keepBlob(tx, name, size); err != nil {
				return err
			}
			if _, err := tx.Exec(`INSERT INTO rendition (upload_id, name, sha256, mime_type, size) VALUES (?1, ?2, ?3, ?4, ?5)
				ON CONFLICT (upload_id, name) DO UPDATE SET sha256 = ?3, mime_type = ?4, size = ?5`, u.id, file, name, mimeType, size); err != nil {
				return fmt.Errorf("store rendition: %w", err)
			}
			return nil
		})
	})
	if err != nil {
		if _, removeErr := s.removeBlob(context.WithoutCancel(ctx), name); removeErr != nil {
			s.log.Warn("remove what was not claimed: the sweep will", "error", removeErr)
		}
	}
	return err
}

// finish says that an upload is ready, with what is known of it by now.
func (s *Service) finish(ctx context.Context, u *upload) error {
	raw, err := json.Marshal(u.details)
	if err != nil {
		return err
	}
	return s.db.Write(ctx, "media.ready", func(tx *storage.Tx) error {
		if _, err := tx.Exec("UPDATE upload SET state = ?, sha256 = ?, size = ?, details = ? WHERE id = ?", stateReady, u.sha256, u.size, string(raw), u.id); err != nil {
			return fmt.Errorf("finish upload: %w", err)
		}
		if _, err := tx.Exec("DELETE FROM rendition WHERE upload_id = ? AND name = ?", u.id, cleanFile); err != nil {
			return fmt.Errorf("finish upload: %w", err)
		}
		if err := s.done(tx, u); err != nil {
			return err
		}
		return s.transcribeByItself(tx, u)
	})
}

// refuse takes an upload's bytes away and keeps why.
func (s *Service) refuse(ctx context.Context, u *upload, code string) error {
	u.details = details{Refused: code, Declared: u.details.Declared}
	raw, err := json.Marshal(u.details)
	if err != nil {
		return err
	}
	var loose []string
	err = s.db.Write(ctx, "media.refuse", func(tx *storage.Tx) error {
		rows, err := tx.Query("SELECT sha256 FROM upload WHERE id = ?1 AND sha256 IS NOT NULL UNION SELECT sha256 FROM rendition WHERE upload_id = ?1", u.id)
		if err != nil {
			return fmt.Errorf("refuse upload: %w", err)
		}
		if loose, err = storage.ScanIDs(rows); err != nil {
			return fmt.Errorf("refuse upload: %w", err)
		}
		if _, err := tx.Exec("UPDATE upload SET state = ?, sha256 = NULL, size = 0, details = ? WHERE id = ?", stateRefused, string(raw), u.id); err != nil {
			return fmt.Errorf("refuse upload: %w", err)
		}
		if _, err := tx.Exec("DELETE FROM rendition WHERE upload_id = ?", u.id); err != nil {
			return fmt.Errorf("refuse upload: %w", err)
		}
		return s.done(tx, u)
	})
	for _, name := range loose {
		if err != nil {
			break
		}
		_, err = s.removeBlob(ctx, blob.Name(name))
	}
	return err
}
