package media

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	tus "github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
	"golang.org/x/exp/slog"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/storage"
)

// A large file arrives piece by piece by the tus protocol (https://tus.io/protocols/resumable-upload, version 1.0.0 with
// creation, creation-with-upload, expiration by the sweep, and termination). What has come lies in a file named by the
// upload's id; how long that file is is the offset, so that a kill of the server loses nothing that was synced. When the
// last piece is there a job takes it over: it is tried again, and found again at the next start.
//
// Every verb stands behind the guard of its row, and finds only the caller's own uploads.
type resumable struct {
	s       *Service
	dir     string
	handler *tus.UnroutedHandler
}

const (
	tusPath      = "/media/tus"
	arrivingMax  = 100 // unfinished uploads of one person
	pieceChecked = 8 << 20
	finishKind   = "media.finish"
)

func newResumable(s *Service, dir string) (*resumable, error) {
	t := &resumable{s: s, dir: dir}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make directory of resumable uploads: %w", err)
	}
	composer := tus.NewStoreComposer()
	composer.UseCore(t)
	composer.UseTerminater(t)
	composer.UseLocker(memorylocker.New())
	var err error
	t.handler, err = tus.NewUnroutedHandler(tus.Config{
		StoreComposer: composer, BasePath: s.config.Get().PublicURL + "/api/v1" + tusPath + "/", DisableDownload: true, DisableConcatenation: true,
		Cors: &tus.CorsConfig{Disable: true}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), NetworkTimeout: readTime,
	})
	if err != nil {
		return nil, fmt.Errorf("make the tus handler: %w", err)
	}
	s.jobs.Handle(finishKind, job.Handler{Workers: 1, MaxAttempts: 20, Run: t.runFinish})
	return t, nil
}

func (t *resumable) routes() []api.Row {
	one := func(method string, fn http.HandlerFunc, doc string) api.Row {
		return api.Raw(method+" "+tusPath+"/{uploadId}", api.RoleUser, api.TierNone, func(w http.ResponseWriter, r *http.Request, by api.Caller) error {
			if err := t.mine(r.Context(), by, chi.URLParam(r, "uploadId")); err != nil {
				return err
			}
			return t.pass(w, r, by, fn)
		}, api.Doc(doc))
	}
	return []api.Row{
		api.Raw("OPTIONS "+tusPath, api.RolePublic, api.TierRead, func(w http.ResponseWriter, r *http.Request, by api.Caller) error {
			return t.pass(w, r, by, func(http.ResponseWriter, *http.Request) {})
		}, api.Doc("What this server knows of the tus protocol.")),
		api.Raw("POST "+tusPath, api.RoleUser, api.TierUpload, func(w http.ResponseWriter, r *http.Request, by api.Caller) error {
			if err := t.mayBegin(r, by); err != nil {
				return err
			}
			return t.pass(w, r, by, t.handler.PostFile)
		}, api.Doc("Begin a resumable upload (tus 1.0.0); its id is the last part of the Location, and that of the media row afterwards.")),
		one(http.MethodHead, t.handler.HeadFile, "How much of a resumable upload has arrived."),
		one(http.MethodPatch, t.handler.PatchFile, "The next piece of a resumable upload."),
		one(http.MethodDelete, t.handler.DelFile, "Give a resumable upload up."),
	}
}

type uploaderKey struct{}

// uploader is who calls, and on which connection.
type uploader struct {
	by      api.Caller
	control *http.ResponseController
}

// pass has the library answer, which hands back in the context who calls.
func (t *resumable) pass(w http.ResponseWriter, r *http.Request, by api.Caller, fn http.HandlerFunc) error {
	leave, err := t.s.coming.enter(by.UserID)
	if err != nil {
		return err
	}
	defer leave()
	r = r.WithContext(context.WithValue(r.Context(), uploaderKey{}, uploader{by, http.NewResponseController(w)}))
	http.StripPrefix("/api/v1"+tusPath, t.handler.Middleware(fn)).ServeHTTP(w, r) // what is left is the id, as the library expects
	return nil
}

// mine refuses an upload that is not the caller's. Codes: MEDIA_NOT_FOUND.
func (t *resumable) mine(ctx context.Context, by api.Caller, id string) error {
	u, err := t.s.find(ctx, id)
	if err == nil && (u.userID != by.UserID || u.details.Declared.Size == 0) {
		err = api.E("MEDIA_NOT_FOUND")
	}
	return err
}

// mayBegin refuses what would not be kept in the end. Codes: FILE_EMPTY, FILE_TOO_LARGE, MEDIA_QUOTA, STORAGE_FULL,
// FILES_TOO_MANY.
func (t *resumable) mayBegin(r *http.Request, by api.Caller) error {
	size, err := strconv.ParseInt(r.Header.Get("Upload-Length"), 10, 64)
	most := int64(t.s.config.Get().Media.UploadMax)
	switch {
	case err != nil || size < 0:
		return api.Invalid("Upload-Length", "expected the size of the file in bytes")
	case size == 0:
		return api.E("FILE_EMPTY")
	case size > most:
		return api.E("FILE_TOO_LARGE", "max", most>>20)
	}
	if err := t.room(size); err != nil {
		return err
	}
	return t.s.db.Read(r.Context(), func(v storage.View) error {
		var arriving int
		if err := v.QueryRow("SELECT count(*) FROM upload WHERE user_id = ? AND state = 'receiving'", by.UserID).Scan(&arriving); err != nil {
			return fmt.Errorf("count resumable uploads: %w", err)
		}
		if arriving >= arrivingMax {
			return api.E("FILES_TOO_MANY", "max", arrivingMax)
		}
		return t.s.quota(v, by, size)
	})
}

// room refuses what the disk has no room for.
func (t *resumable) room(size int64) error {
	free, err := t.s.blobs.Free()
	if err == nil && free-size <= int64(t.s.config.Get().Media.Reserve) {
		if size <= pieceChecked {
			t.s.setLow(true)
		}
		return api.E("STORAGE_FULL")
	}
	return err
}

func (t *resumable) path(id string) string { return filepath.Join(t.dir, id) }

// drop removes what has come of an upload.
func (t *resumable) drop(id string) {
	if strings.ContainsAny(id, "/.") {
		return
	}
	if err := os.Remove(t.path(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.s.log.Warn("remove a resumable upload", "upload", id, "error", err)
	}
}

// NewUpload begins an upload: an empty file, and a row.
func (t *resumable) NewUpload(ctx context.Context, info tus.FileInfo) (tus.Upload, error) {
	from, _ := ctx.Value(uploaderKey{}).(uploader)
	by := from.by
	u := &upload{
		id: storage.NewID(), userID: by.UserID, kind: kind{class: classFile, mimeType: "application/octet-stream"}, name: newName(),
		original: plainName(info.MetaData["filename"]), size: info.Size, state: stateReceiving,
		details: details{Declared: declared{Size: info.Size, Class: info.MetaData["type"]}},
	}
	f, err := os.OpenFile(t.path(u.id), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, tusError(t.s.full(err))
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	if err := t.s.db.Write(ctx, "media.begin", func(tx *storage.Tx) error {
		if err := t.s.quota(tx, by, u.size); err != nil {
			return err
		}
		return t.s.begin(tx, u)
	}); err != nil {
		t.drop(u.id)
		return nil, tusError(err)
	}
	return &piece{t, u, 0}, nil
}

// begin stores an upload of which nothing has come yet.
func (s *Service) begin(tx *storage.Tx, u *upload) error {
	raw, err := json.Marshal(u.details)
	if err != nil {
		return err
	}
	if _, err := tx.Exec(`INSERT INTO upload (id, user_id, kind, name, original_name, mime_type, size, details, state, created_at, touched_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)`,
		u.id, u.userID, u.kind.class, u.name, u.original, u.kind.mimeType, u.size, string(raw), u.state, tx.Millis()); err != nil {
		return fmt.Errorf("begin upload: %w", err)
	}
	return nil
}

// GetUpload finds an upload and how much of it is there.
func (t *resumable) GetUpload(ctx context.Context, id string) (tus.Upload, error) {
	u, err := t.s.find(ctx, id)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil, tus.ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	if u.state != stateReceiving { // all of it, and taken over
		return &piece{t, u, u.details.Declared.Size}, nil
	}
	info, err := os.Stat(t.path(id))
	if err != nil {
		return nil, tus.ErrNotFound
	}
	return &piece{t, u, info.Size()}, nil
}

// AsTerminatableUpload is called by the library.
func (t *resumable) AsTerminatableUpload(u tus.Upload) tus.TerminatableUpload { return u.(*piece) }

// piece is an upload on its way.
type piece struct {
	t      *resumable
	u      *upload
	offset int64
}

// GetInfo says how much has come.
func (p *piece) GetInfo(context.Context) (tus.FileInfo, error) {
	return tus.FileInfo{ID: p.u.id, Size: p.u.details.Declared.Size, Offset: p.offset, MetaData: tus.MetaData{"filename": p.u.original}}, nil
}

// GetReader is not needed: downloads go by the address of the upload.
func (p *piece) GetReader(context.Context) (io.ReadCloser, error) { return nil, tus.ErrNotFound }

// WriteChunk adds bytes and syncs them, also when they end too early: what the client is told is there is there.
func (p *piece) WriteChunk(ctx context.Context, offset int64, from io.Reader) (n int64, err error) {
	if p.u.state != stateReceiving {
		return 0, nil
	}
	f, err := os.OpenFile(p.t.path(p.u.id), os.O_WRONLY, 0)
	if err != nil {
		return 0, fmt.Errorf("continue upload: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return 0, fmt.Errorf("continue upload: %w", err)
	}
	buffer := make([]byte, uploadBuffer)
	by, _ := ctx.Value(uploaderKey{}).(uploader)
	from = p.t.s.paced(from, by.control)
	for err == nil {
		if err = p.t.room(pieceChecked); err != nil {
			break
		}
		var copied int64
		copied, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(from, pieceChecked), buffer)
		if n += copied; copied < pieceChecked {
			break
		}
	}
	if errors.Is(err, errSlow) {
		err = api.E("BODY_TIMEOUT")
	}
	if syncErr := f.Sync(); err == nil {
		err = syncErr
	}
	p.offset = offset + n
	if touchErr := p.t.s.touch(ctx, p.u.id); err == nil {
		err = touchErr
	}
	return n, tusError(p.t.s.full(err))
}

// touch notes that an upload is alive.
func (s *Service) touch(ctx context.Context, id string) error {
	return s.db.Write(context.WithoutCancel(ctx), "media.touch", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE upload SET touched_at = ? WHERE id = ?", tx.Millis(), id)
		return err
	})
}

// Terminate gives an upload up.
func (p *piece) Terminate(ctx context.Context) error {
	if p.u.state != stateReceiving {
		return tus.NewError("ERR_FINISHED", "the upload is complete: delete its media", http.StatusConflict)
	}
	return p.t.s.remove(ctx, []string{p.u.id})
}

// FinishUpload has a job take over what has come, and waits a little for it.
func (p *piece) FinishUpload(ctx context.Context) error {
	done, leave := p.t.s.waiters.wait(p.u.id)
	defer leave()
	if err := p.t.s.db.Write(context.WithoutCancel(ctx), "media.finish", func(tx *storage.Tx) error { return p.t.enqueue(tx, p.u.id) }); err != nil {
		return err
	}
	select {
	case <-done:
	case <-time.After(waitTime):
	case <-ctx.Done():
	}
	u, err := p.t.s.find(context.WithoutCancel(ctx), p.u.id)
	if err == nil && u.state == stateRefused {
		err = api.E(u.details.Refused)
	}
	return tusError(err)
}

type finishPayload struct {
	Upload string `json:"upload"`
}

func (t *resumable) enqueue(tx *storage.Tx, id string) error {
	return t.s.jobs.Enqueue(tx, job.Job{Kind: finishKind, Key: id, Payload: finishPayload{id}})
}

// runFinish takes over an upload of which everything has come.
func (t *resumable) runFinish(ctx context.Context, j job.Job) error {
	var p finishPayload
	if err := j.Decode(&p); err != nil {
		return err
	}
	u, err := t.s.find(ctx, p.Upload)
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return nil
	}
	if err != nil {
		return err
	}
	if u.state != stateReceiving {
		t.drop(u.id)
		return nil
	}
	if err := t.s.adopt(ctx, u, t.path(u.id)); err != nil {
		return err
	}
	t.drop(u.id)
	return nil
}

// adopt makes an upload of a file.
func (s *Service) adopt(ctx context.Context, u *upload, path string) error {
	d, err := s.blobs.Adopt(ctx, path)
	if err != nil {
		return err
	}
	defer d.Discard()
	head := make([]byte, headSize)
	n, err := d.Reader().ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("read upload: %w", err)
	}
	f := &arrived{draft: d, kind: sniff(head[:n], u.original), name: u.original, avatar: u.details.Declared.Class == "avatar"}
	if u.details.Declared.Class == classAudio && f.kind.class == classVideo {
		f.kind = f.kind.asAudio()
	}
	if f.kind.class == classImage && d.Size() > int64(s.config.Get().Media.ImageMax) {
		f.kind = kind{classFile, "application/octet-stream", fileExtension(u.original)}
	}
	if err := s.inspect(f, true); err != nil {
		return err
	}
	u.kind, u.size, u.avatar = f.kind, d.Size(), f.avatar
	if err := s.claimDraft(ctx, api.Caller{UserID: u.userID}, d, u); err != nil {
		return err
	}
	if u.state == stateReady {
		s.waiters.done(u.id)
	}
	return nil
}

// finishAll finds what is complete and was not taken over when the process ended, and files that no row knows.
func (t *resumable) finishAll(ctx context.Context) error {
	entries, err := os.ReadDir(t.dir)
	if err != nil {
		return fmt.Errorf("list resumable uploads: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if err != nil {
			continue // removed meanwhile
		}
		u, err := t.s.find(ctx, entry.Name())
		switch {
		case api.HasCode(err, "MEDIA_NOT_FOUND"):
			if time.Since(info.ModTime()) > time.Minute { // one that begins now has no row yet
				t.drop(entry.Name())
			}
		case err != nil:
			return err
		case u.state != stateReceiving || info.Size() == u.details.Declared.Size:
			if err := t.s.db.Write(ctx, "media.finish", func(tx *storage.Tx) error { return t.enqueue(tx, u.id) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// tusError is one of our errors as the library sends it: with its status, and its code as the text.
func tusError(err error) error {
	var e *api.Error
	if !errors.As(err, &e) {
		return err
	}
	return tus.NewError("ERR_"+e.Code, e.Code, api.StatusOf(e.Code))
}
