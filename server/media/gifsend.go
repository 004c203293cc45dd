package media

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/storage"
)

// ImportGIFs makes uploads of the caller's of those attachments that are GIFs, at the provider or at our address of one, and
// returns the list with their addresses. The same GIF is the same upload while that is kept, so that a message sent again is
// the same message. Without a provider the list is returned as it is. It takes time, five times gifs.timeout at most: never call it in a transaction. Codes:
// GIF_UNUSABLE, GIF_UNAVAILABLE, and those of an upload.
func (s *Service) ImportGIFs(ctx context.Context, by api.Caller, list []Attachment) ([]Attachment, error) {
	if !s.gifs.on() {
		return list, nil
	}
	limited, cancel := context.WithTimeout(ctx, 5*s.gifs.timeout)
	defer cancel()
	for i := range list {
		name, address := s.gifNamed(list[i].URL)
		if name == "" {
			continue
		}
		path, err := s.importGIF(limited, by, name, address)
		switch {
		case errors.Is(err, errNoGIF) || api.HasCode(err, "MEDIA_NOT_FOUND"):
			return nil, api.E("GIF_UNUSABLE")
		case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
			return nil, api.E("GIF_UNAVAILABLE")
		case err != nil:
			return nil, err
		}
		list = slices.Clone(list) // it is the caller's
		list[i].URL = path
	}
	return list, nil
}

// gifNamed is the name of the GIF that an address stands for, "" when it stands for none; the address there is "" when it is
// ours, which the table knows more of.
func (s *Service) gifNamed(address string) (name, there string) {
	if there, ok := s.gifs.canonical(address); ok {
		return s.gifName(there), there
	}
	if u, err := url.Parse(address); err == nil && strings.HasPrefix(u.Path, "/uploads/"+gifFolder+"/") {
		if name, _, ok := parseName(address); ok {
			return name, ""
		}
	}
	return "", ""
}

// importGIF returns the path of the caller's upload of a GIF, made when there is none.
func (s *Service) importGIF(ctx context.Context, by api.Caller, name, address string) (string, error) {
	var have string
	err := together(ctx, &s.gifs.fetching, by.UserID+" "+name, func() (err error) {
		if have, err = s.gifUpload(ctx, by, name); err != nil || have != "" {
			return err
		}
		if address != "" {
			if err := s.nameGIFs(ctx, []string{address}); err != nil {
				return err
			}
		}
		f, err := s.gifFile(ctx, name)
		if err != nil {
			return err
		}
		return s.copyGIF(ctx, by, f)
	})
	if err != nil || have != "" {
		return have, err
	}
	if have, err = s.gifUpload(ctx, by, name); err == nil && have == "" {
		err = errNoGIF
	}
	return have, err
}

// gifUpload finds the caller's upload of a GIF, and keeps it from the sweep until it is shown. It returns "" when there is none.
func (s *Service) gifUpload(ctx context.Context, by api.Caller, name string) (address string, err error) {
	var u *upload
	err = s.db.Read(ctx, func(v storage.View) error {
		u, err = uploadBy(v, "u.user_id = ? AND u.gif = ? AND u.state IN ('ready', 'processing') ORDER BY u.id LIMIT 1", by.UserID, name)
		return err
	})
	if api.HasCode(err, "MEDIA_NOT_FOUND") {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return u.path(""), s.touch(ctx, u.id)
}

// copyGIF makes an upload of a picture that is here, in the way of all uploads.
func (s *Service) copyGIF(ctx context.Context, by api.Caller, f *gifFile) error {
	leave, err := s.coming.enter(by.UserID)
	if err != nil {
		return err
	}
	defer leave()
	if err := s.allowance(ctx, by, f.size); err != nil {
		return err
	}
	content, err := s.blobs.Open(ctx, f.sha256)
	if err != nil {
		return s.full(fmt.Errorf("open gif: %w", err))
	}
	defer content.Close()
	fileName := "image.gif"
	if u, err := url.Parse(f.address); err == nil {
		fileName = path.Base(u.Path)
	}
	one, err := s.arrive(content, fileName, want{class: inline[f.mimeType].class})
	if err != nil {
		return err
	}
	one.gif = f.name
	_, err = s.keep(ctx, by, []*arrived{one})
	return err
}

// gifAddress is the address at the provider of a picture that is there or that we have named; "" otherwise.
func (s *Service) gifAddress(q storage.Querier, address string) (string, error) {
	if there, ok := s.gifs.canonical(address); ok {
		return there, nil
	}
	name, _ := s.gifNamed(address)
	if name == "" {
		return "", nil
	}
	var there string
	err := q.QueryRow("SELECT address FROM gif WHERE name = ?", name).Scan(&there)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return there, err
}

// stickersHere replaces the addresses of stickers at a provider by ours, when there is a provider.
func (s *Service) stickersHere(ctx context.Context, list []Sticker) error {
	if !s.gifs.on() {
		return nil
	}
	var addresses []string
	here := func(address string) string {
		there, ok := s.gifs.canonical(address)
		if !ok {
			return address
		}
		addresses = append(addresses, there)
		return s.links.Link(s.gifPath(there), gifScope, s.now())
	}
	for i := range list {
		list[i].URL = here(list[i].URL)
		if list[i].ThumbnailURL != nil {
			thumbnail := here(*list[i].ThumbnailURL)
			list[i].ThumbnailURL = &thumbnail
		}
	}
	return s.nameGIFs(ctx, addresses)
}
