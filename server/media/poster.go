package media

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/quckchat/quckchat/server/media/picture"
	"github.com/quckchat/quckchat/server/media/sound"
	"github.com/quckchat/quckchat/storage/blob"
)

// posterFile is the rendition of a video that is shown until it plays.
const posterFile = "poster.jpg"

// poster makes a picture of a video, and a small one of that, where the host has ffmpeg. Without it, or when ffmpeg makes
// nothing of the video, it has none.
func (s *Service) poster(ctx context.Context, u *upload, f blob.File) error {
	if !s.config.Get().Media.FFmpeg {
		return nil
	}
	path, done, err := s.onDisk(f, u.id)
	if err != nil {
		return err
	}
	defer done()
	if u.details.Width == 0 || u.details.DurationMS == 0 {
		if v, err := sound.Probe(ctx, path); err == nil {
			u.details.Width, u.details.Height, u.details.DurationMS = int64(v.Width), int64(v.Height), v.Duration.Milliseconds()
		}
	}
	shot, err := sound.Poster(ctx, path, time.Second, 1280)
	switch {
	case errors.Is(err, sound.ErrUnsupported), errors.Is(err, sound.ErrMalformed):
		return nil
	case err != nil:
		return fmt.Errorf("poster of upload %s: %w", u.id, err)
	}
	list, hash, err := picture.Render(ctx, bytes.NewReader(shot), picture.Thumbnail)
	if err != nil {
		return fmt.Errorf("poster of upload %s: %w", u.id, err)
	}
	u.details.Thumbhash = string(hash)
	for _, r := range list {
		if err := s.rendition(ctx, u, r.Name+extensionOf(r.Format.Type(), ""), r.Format.Type(), r.Data); err != nil {
			return err
		}
	}
	return s.rendition(ctx, u, posterFile, picture.JPEG.Type(), shot)
}

// onDisk returns the path of a file for programs that need one. One that lies elsewhere is copied; done removes the copy.
func (s *Service) onDisk(f blob.File, id string) (path string, done func(), err error) {
	if named, ok := f.(interface{ Name() string }); ok {
		return named.Name(), func() {}, nil
	}
	here, err := os.CreateTemp(s.tus.dir, "poster-"+id+"-")
	if err != nil {
		return "", nil, fmt.Errorf("copy upload: %w", err)
	}
	done = func() { _ = os.Remove(here.Name()) } // what stays goes with the next start
	if _, err = f.Seek(0, io.SeekStart); err == nil {
		_, err = io.Copy(here, f)
	}
	if closeErr := here.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		done()
		return "", nil, fmt.Errorf("copy upload: %w", err)
	}
	return here.Name(), done, nil
}
