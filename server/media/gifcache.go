package media

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/outbound"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// The pictures of the provider are fetched when somebody first looks at them, once for everybody, and go a week after somebody
// last did, or sooner when there are more bytes than gifs.cache_max.

const (
	gifKeep  = 7 * 24 * time.Hour
	gifTouch = time.Hour   // how exactly it is known when somebody looked
	gifShun  = time.Minute // how long an address with no picture is left alone
)

// gifTypes are the types that are passed on, whatever the provider calls them.
var gifTypes = []string{"image/gif", "image/webp", "image/png", "image/jpeg", "video/mp4", "video/webm"}

// errNoGIF is an address at which there is nothing that is passed on.
var errNoGIF = errors.New("no picture at this address")

// gifFile is a row of the table.
type gifFile struct {
	name, address string
	sha256        blob.Name // "" until it is here
	mimeType      string
	size          int64
	fetchedAt     int64
}

func gifBy(q storage.Querier, name string) (*gifFile, error) {
	f := &gifFile{name: name}
	err := q.QueryRow(`SELECT g.address, CASE WHEN b.damaged_at IS NULL THEN coalesce(g.sha256, '') ELSE '' END, g.mime_type, g.size, g.fetched_at
		FROM gif g LEFT JOIN blob b ON b.sha256 = g.sha256 WHERE g.name = ?`, name).Scan(&f.address, &f.sha256, &f.mimeType, &f.size, &f.fetchedAt)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, api.E("MEDIA_NOT_FOUND")
	}
	if err != nil {
		return nil, fmt.Errorf("read gif: %w", err)
	}
	return f, nil
}

// serveGIF serves a picture of the provider's by the capability in its address. Codes: MEDIA_NOT_FOUND, GIF_UNAVAILABLE,
// STORAGE_FULL.
func (s *Service) serveGIF(w http.ResponseWriter, r *http.Request, name string) error {
	now := s.now()
	scope, until, ok := s.links.check(name, r.URL.Query(), now)
	if !ok || scope != gifScope {
		return api.E("MEDIA_NOT_FOUND")
	}
	f, err := s.gifFile(r.Context(), name)
	switch {
	case errors.Is(err, errNoGIF):
		return api.E("MEDIA_NOT_FOUND")
	case err != nil:
		return err
	}
	shown := inline[f.mimeType]
	u := &upload{id: name, name: name, sha256: f.sha256, size: f.size, state: stateReady, kind: kind{shown.class, f.mimeType, shown.extension}}
	return s.serve(w, r, u, "", until.Sub(now))
}

// gifFile finds a picture, and fetches it when it is not here. Errors: errNoGIF, and those with a code.
func (s *Service) gifFile(ctx context.Context, name string) (f *gifFile, err error) {
	read := func() error {
		return s.db.Read(ctx, func(v storage.View) (err error) {
			f, err = gifBy(v, name)
			return err
		})
	}
	if err := read(); err != nil {
		return nil, err
	}
	if f.sha256 == "" {
		if !s.gifs.on() {
			return nil, errNoGIF
		}
		err := together(ctx, &s.gifs.fetching, name, func() error {
			if err := read(); err != nil || f.sha256 != "" {
				return err
			}
			return s.fetchGIF(ctx, f)
		})
		if err == nil {
			err = read()
		}
		if err == nil && f.sha256 == "" {
			err = errNoGIF
		}
		return f, err
	}
	if f.fetchedAt > s.now().Add(-gifTouch).UnixMilli() {
		return f, nil
	}
	return f, s.db.Write(ctx, "gif.touch", func(tx *storage.Tx) error {
		_, err := tx.Exec("UPDATE gif SET fetched_at = ? WHERE name = ?", tx.Millis(), name)
		return err
	})
}

// fetchGIF fetches a picture and keeps it.
func (s *Service) fetchGIF(ctx context.Context, f *gifFile) error {
	if _, ok := s.gifs.canonical(f.address); !ok { // the settings have changed
		return errNoGIF
	}
	shun := "shun:" + f.name
	if known, err := s.gifs.cache.Get(shun); err == nil && known != nil {
		return errNoGIF
	}
	d, err := s.blobs.Draft(gifFileMax)
	if err != nil {
		return s.full(err)
	}
	defer d.Discard()
	k, err := s.gifs.fetch(ctx, f.address, d)
	switch {
	case errors.Is(err, errNoGIF):
		_ = s.gifs.cache.Set(shun, []byte{1}, gifShun) // lost: it is asked for again
		return err
	case isProviderError(err):
		s.gifs.failed(s.log, s.now(), err)
		return api.E("GIF_UNAVAILABLE")
	case err != nil:
		return s.full(err)
	}
	sum := d.Name()
	loose := []string{string(sum)} // unless it is claimed
	err = s.blobs.Keep(ctx, d, func() error {
		return s.db.Write(ctx, "gif.keep", func(tx *storage.Tx) error {
			loose = []string{string(sum)}
			if most := int64(s.config.Get().Media.ServerQuota); most > 0 && s.kept.Load()+d.Size() > most {
				return api.E("STORAGE_FULL")
			}
			if err := s.keepBlob(tx, sum, d.Size()); err != nil {
				return err
			}
			if _, err := tx.Exec("UPDATE gif SET sha256 = ?, mime_type = ?, size = ?, fetched_at = ? WHERE name = ?", sum, k.mimeType, d.Size(), tx.Millis(), f.name); err != nil {
				return fmt.Errorf("keep gif: %w", err)
			}
			old, err := s.thinGIFs(tx)
			loose = append(loose, old...)
			return err
		})
	})
	s.dropBlobs(ctx, loose)
	if err != nil {
		return s.full(err)
	}
	return nil
}

// thinGIFs lets go of those that nobody has looked at for the longest, while there are more bytes than gifs.cache_max.
func (s *Service) thinGIFs(tx *storage.Tx) ([]string, error) {
	over := -int64(s.config.Get().GIFs.CacheMax)
	var total int64
	if err := tx.QueryRow("SELECT coalesce(sum(size), 0) FROM gif WHERE sha256 IS NOT NULL").Scan(&total); err != nil {
		return nil, fmt.Errorf("count gifs: %w", err)
	}
	if over += total; over <= 0 {
		return nil, nil
	}
	const oldest = `SELECT name FROM (SELECT name, sum(size) OVER (ORDER BY fetched_at, name) - size AS before FROM gif WHERE sha256 IS NOT NULL) WHERE before < ?`
	rows, err := tx.Query("SELECT DISTINCT sha256 FROM gif WHERE name IN ("+oldest+")", over)
	if err != nil {
		return nil, fmt.Errorf("find what to let go of: %w", err)
	}
	names, err := storage.ScanIDs(rows)
	if err != nil {
		return nil, fmt.Errorf("find what to let go of: %w", err)
	}
	if _, err := tx.Exec("UPDATE gif SET sha256 = NULL, size = 0 WHERE name IN ("+oldest+")", over); err != nil {
		return nil, fmt.Errorf("let go of gifs: %w", err)
	}
	return names, nil
}

// dropBlobs removes what nothing needs.
func (s *Service) dropBlobs(ctx context.Context, names []string) {
	for _, name := range names {
		if _, err := s.removeBlob(context.WithoutCancel(ctx), blob.Name(name)); err != nil {
			s.log.Warn("remove a gif: the sweep will", "error", err)
		}
	}
}

// sweepGIFs forgets what nobody has looked at for a week, or for as long as addresses live.
func (s *Service) sweepGIFs(ctx context.Context, done *Swept) error {
	before := s.now().Add(-max(gifKeep, s.config.Get().Media.LinkTTL+2*gifTouch)).UnixMilli()
	for {
		var names []string
		var gone int64
		err := s.db.Write(ctx, "gif.sweep", func(tx *storage.Tx) error {
			const old = "name IN (SELECT name FROM gif WHERE fetched_at < ?1 ORDER BY fetched_at, name LIMIT ?2)"
			rows, err := tx.Query("SELECT DISTINCT sha256 FROM gif WHERE sha256 IS NOT NULL AND "+old, before, 10*forgetBatch)
			if err != nil {
				return fmt.Errorf("find old gifs: %w", err)
			}
			if names, err = storage.ScanIDs(rows); err != nil {
				return fmt.Errorf("find old gifs: %w", err)
			}
			result, err := tx.Exec("DELETE FROM gif WHERE "+old, before, 10*forgetBatch)
			if err != nil {
				return fmt.Errorf("forget old gifs: %w", err)
			}
			gone, err = result.RowsAffected()
			return err
		})
		if err != nil || gone == 0 {
			return err
		}
		for _, name := range names {
			removed, err := s.removeBlob(ctx, blob.Name(name))
			if err != nil {
				return err
			}
			if removed {
				done.Blobs++
			}
		}
	}
}

// fetch reads a picture from the provider. Errors: errNoGIF, those of isProviderError, and those of w.
func (g *gifs) fetch(ctx context.Context, address string, w io.Writer) (kind, error) {
	leave, err := g.enter(ctx, g.pictures)
	if err != nil {
		return kind{}, err
	}
	defer leave()
	resp, err := g.files.Get(ctx, address)
	if errors.Is(err, outbound.ErrForbidden) {
		return kind{}, errNoGIF
	}
	if err != nil {
		return kind{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		return kind{}, providerError{fmt.Sprintf("status %d of a picture", resp.StatusCode)}
	case resp.StatusCode != http.StatusOK || resp.ContentLength > gifFileMax:
		return kind{}, errNoGIF
	}
	head := make([]byte, headSize)
	n, err := io.ReadFull(resp.Body, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return kind{}, err
	}
	k := sniff(head[:n], "")
	if !slices.Contains(gifTypes, k.mimeType) {
		return k, errNoGIF
	}
	if _, err := w.Write(head[:n]); err != nil {
		return k, err
	}
	_, err = io.Copy(w, resp.Body)
	if errors.Is(err, outbound.ErrTooLarge) || errors.Is(err, blob.ErrTooLarge) {
		err = errNoGIF
	}
	return k, err
}

// together has one of those who want the same thing at the same time get it for all of them. When that one has gone away,
// another takes its place.
func together(ctx context.Context, group *singleflight.Group, key string, fn func() error) error {
	for {
		_, err, shared := group.Do(key, func() (any, error) { return nil, fn() })
		if !shared || ctx.Err() != nil || !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}
