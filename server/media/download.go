package media

import (
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

func (s *Service) downloads() []api.Row {
	rows := []api.Row{}
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		rows = append(rows, api.Raw(method+" /uploads/{folder}/{file}", api.RolePublic, api.TierNone, s.download, api.AtRoot,
			api.Doc("A file, by the capability in its address, or by the token of somebody it is shown to.")))
	}
	return rows
}

// download serves an upload or a rendition of it. Without a capability that is good, and without the token of somebody who
// may see it, there is nothing at any address. Codes: MEDIA_NOT_FOUND, MEDIA_PROCESSING, MEDIA_DAMAGED, STORAGE_UNAVAILABLE, and of a GIF those of serveGIF.
func (s *Service) download(w http.ResponseWriter, r *http.Request, by api.Caller) error {
	name, rendition, ok := parseFile(chi.URLParam(r, "file"))
	if !ok {
		return api.E("MEDIA_NOT_FOUND")
	}
	if chi.URLParam(r, "folder") == gifFolder {
		return s.serveGIF(w, r, name)
	}
	now := s.now()
	scope, until, signed := s.links.check(name, r.URL.Query(), now)
	if !signed {
		if !by.SignedIn() {
			return api.E("MEDIA_NOT_FOUND")
		}
		until = now.Add(s.config.Get().Media.LinkTTL / 2)
	}
	var u *upload
	err := s.db.Read(r.Context(), func(v storage.View) (err error) {
		if u, err = uploadBy(v, "u.name = ?", name); err != nil {
			return err
		}
		var seen bool
		if signed {
			seen, err = shownIn(v, u, scope)
		} else if seen = u.userID == by.UserID; !seen {
			seen, err = shownTo(v, u.id, by.UserID)
		}
		if err == nil && (!seen || chi.URLParam(r, "folder") != folders[u.kind.class]) {
			err = api.E("MEDIA_NOT_FOUND")
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.serve(w, r, u, rendition, until.Sub(now))
}

func (s *Service) downloadByID(w http.ResponseWriter, r *http.Request, by api.Caller) error {
	u, err := s.mayFetch(r.Context(), by, chi.URLParam(r, "mediaId"))
	if err != nil {
		return err
	}
	return s.serve(w, r, u, "", 0)
}

// alternatives are what is served in place of a rendition that was not made: a small picture is not made smaller.
func (u *upload) alternative(rendition string) string {
	switch {
	case rendition == "" || u.has(rendition):
		return rendition
	case strings.HasPrefix(rendition, "square."), strings.HasPrefix(rendition, "preview."), strings.HasPrefix(rendition, "thumb."):
		return ""
	}
	return rendition
}

// slowest is how many bytes a second somebody must take at least, over a whole download: it holds a file open.
const slowest = 8 << 10

// serve sends bytes, or a part of them, with everything that keeps a browser from taking them for more than they are.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, u *upload, rendition string, fresh time.Duration) error {
	switch u.state {
	case stateReady:
	case stateProcessing:
		return api.E("MEDIA_PROCESSING")
	default:
		return api.E("MEDIA_NOT_FOUND")
	}
	h := w.Header()
	if strings.HasSuffix(rendition, ".webp") && !takesWebP(r) {
		if jpeg := strings.TrimSuffix(rendition, ".webp") + ".jpg"; u.has(jpeg) {
			rendition = jpeg
		}
	}
	content, mimeType := u.sha256, u.kind.mimeType
	if rendition = u.alternative(rendition); rendition != "" {
		h.Add("Vary", "Accept")
		var damaged bool
		err := s.db.Read(r.Context(), func(v storage.View) error {
			return v.QueryRow("SELECT r.sha256, r.mime_type, b.damaged_at IS NOT NULL FROM rendition r JOIN blob b ON b.sha256 = r.sha256 WHERE r.upload_id = ? AND r.name = ?", u.id, rendition).
				Scan(&content, &mimeType, &damaged)
		})
		if err != nil || damaged {
			return api.E("MEDIA_NOT_FOUND")
		}
	} else if u.damaged {
		return api.E("MEDIA_DAMAGED")
	}
	f, err := s.blobs.Open(r.Context(), content)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		s.log.Error("media are missing: run quckchat media verify", "upload", u.id)
		return api.E("MEDIA_DAMAGED")
	case away(err):
		return s.full(err)
	case err != nil:
		return fmt.Errorf("serve upload %s: %w", u.id, err)
	}
	defer f.Close()
	_, shows := inline[mimeType]
	disposition := "inline"
	if !shows || r.URL.Query().Has("download") {
		disposition = "attachment"
	}
	if !shows {
		mimeType = "application/octet-stream"
	}
	h.Set("Content-Type", mimeType)
	h.Set("Content-Disposition", dispose(disposition, u, rendition))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("ETag", `"`+string(content[:32])+`"`)
	h.Set("Cache-Control", fmt.Sprintf("private, max-age=%d, immutable", max(0, int(fresh.Seconds()))))
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(time.Minute + time.Duration(u.size/slowest)*time.Second)); err != nil {
		return fmt.Errorf("serve upload %s: %w", u.id, err)
	}
	http.ServeContent(w, r, "", time.Time{}, f)
	return control.SetWriteDeadline(time.Time{}) // the next request on the connection has a time of its own
}

// takesWebP reports whether a client shows WebP: all do that do not name other pictures alone.
func takesWebP(r *http.Request) bool {
	accept := strings.Join(r.Header.Values("Accept"), ",")
	return !strings.Contains(accept, "image/") || slices.ContainsFunc([]string{"image/webp", "image/*", "*/*"}, func(t string) bool { return strings.Contains(accept, t) })
}

// dispose says under which name to save a file, in the form of RFC 6266 that every browser reads.
func dispose(disposition string, u *upload, rendition string) string {
	name := u.original
	if name == "" || rendition != "" {
		name = u.name[:8] + u.kind.extension
		if rendition != "" {
			name = u.name[:8] + "-" + rendition
		}
	}
	if value := mime.FormatMediaType(disposition, map[string]string{"filename": name}); value != "" {
		return value
	}
	return disposition + "; filename*=UTF-8''" + url.PathEscape(name)
}
