// Package media is files: how they come in, what becomes of them, who may see them, and how they go.
//
// An upload arrives as one part of a form ([Service] Routes, upload.go) or piece by piece by the tus protocol (tus.go).
// Its bytes go to the blob store, its row into the table upload with a name nobody can guess. What it is is sniffed from
// the bytes. A job then looks at it (process.go): the virus scanner if there is one, pictures turned upright and
// stripped of what the camera wrote into them, thumbnails, the length and the shape of sounds. Until then its state is
// "processing" and nobody is served a byte of it.
//
// An upload is shown by what claims it: the attachments of messages (attachment.go) and the pictures of profiles and groups
// (claim.go). One that nothing claims goes after a day, one whose last claim is gone goes at once (sweep.go).
//
// # Addresses
//
// The address of an upload is /uploads/<kind>/<name>.<ext> with a capability in its query (link.go): what it is shown as
// part of, until when, and a signature over both. Every read through the API makes a new one. At a download (download.go)
// the tables must still say that the upload is shown there, so a deleted message takes its files with it at once; somebody
// who was removed keeps what they saw for as long as their last address lives, at most media.link_ttl.
package media

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media/virus"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

// Service holds the operations on media. Its methods may be called from any goroutine.
type Service struct {
	db     *storage.DB
	blobs  *blob.Store
	jobs   *job.Queue
	events *event.Log
	config *config.Live
	links  *Links
	log    *slog.Logger

	kept    atomic.Int64 // bytes of all blobs
	coming  arrivals
	low     atomic.Bool // the disk has no room for uploads
	waiters waiters
	tus     *resumable
	check   checking
	verify  chan struct{} // one token: a check is asked for
	gifs    *gifs

	processed   func(tx *storage.Tx, uploadID string) error // these two: nil where nobody listens
	transcribed func(tx *storage.Tx, uploadID string) error

	scan     *virus.Scanner // nil where nothing is scanned
	scanning pulse
	bucket   pulse
	speech   speech
}

// Options are what New needs.
type Options struct {
	DB     *storage.DB
	Blobs  *blob.Store
	Jobs   *job.Queue
	Events *event.Log
	Config *config.Live
	Cache  *storage.Cache // what a provider of GIFs has answered
	Links  *Links
	Log    *slog.Logger
	Dir    string // where uploads wait that arrive piece by piece
}

// New makes the service and registers its jobs.
func New(o Options) (*Service, error) {
	s := &Service{
		db: o.DB, blobs: o.Blobs, jobs: o.Jobs, events: o.Events, config: o.Config, links: o.Links, log: o.Log,
		waiters: waiters{byID: map[string][]chan struct{}{}}, verify: make(chan struct{}, 1),
		scan: scanner(o.Config.Get().Media.ClamAV, int64(o.Config.Get().Media.ClamAVMax)),
	}
	var err error
	if s.gifs, err = newGIFs(o.Config.Get().GIFs, o.Cache); err != nil {
		return nil, err
	}
	if err := s.count(); err != nil {
		return nil, err
	}
	if s.tus, err = newResumable(s, o.Dir); err != nil {
		return nil, err
	}
	s.handle()
	return s, nil
}

// count adds up what is kept.
func (s *Service) count() error {
	return s.db.Read(context.Background(), func(v storage.View) error {
		var total int64
		if err := v.QueryRow("SELECT coalesce(sum(size), 0) FROM blob").Scan(&total); err != nil {
			return fmt.Errorf("count media: %w", err)
		}
		s.kept.Store(total)
		return nil
	})
}

// Stats is for metrics and health.
type Stats struct {
	Bytes    int64 `json:"bytes"`    // of all that is kept, each content once
	Free     int64 `json:"free"`     // bytes of the disk
	Arriving int   `json:"arriving"` // uploads at this moment
	Low      bool  `json:"low"`      // uploads are refused until there is room
}

// Stats does not touch the database.
func (s *Service) Stats() Stats {
	free, err := s.blobs.Free()
	if err != nil {
		s.log.Warn("look at the free space", "error", err)
	}
	return Stats{Bytes: s.kept.Load(), Free: free, Arriving: s.coming.count(), Low: s.low.Load()}
}

// Routes returns the rows of the table.
func (s *Service) Routes() []api.Row {
	rows := []api.Row{
		api.Raw("POST /upload/image", api.RoleUser, api.TierUpload, s.form(want{class: classImage}), api.Doc("Upload a picture: the part file (or image) of a form.")),
		api.Raw("POST /upload/video", api.RoleUser, api.TierUpload, s.form(want{class: classVideo}), api.Doc("Upload a video: the part file (or video) of a form.")),
		api.Raw("POST /upload/audio", api.RoleUser, api.TierUpload, s.form(want{class: classAudio}), api.Doc("Upload a sound or voice note: the part file (or audio) of a form.")),
		api.Raw("POST /upload/file", api.RoleUser, api.TierUpload, s.form(want{}), api.Doc("Upload any file: the part file of a form.")),
		api.Raw("POST /upload/multiple", api.RoleUser, api.TierUpload, s.form(want{many: true}), api.Doc("Upload up to ten files: the parts files of a form; all are kept or none.")),
		api.Raw("POST /media/upload", api.RoleUser, api.TierUpload, s.form(want{row: true}), api.Doc("Upload any file, answered as a media row.")),
		api.Raw("POST /media/upload/avatar", api.RoleUser, api.TierUpload, s.form(want{class: classImage, avatar: true, row: true}), api.Doc("Upload a picture of a profile or group, cut to a square where it is shown.")),
		api.Raw("POST /media/upload/status", api.RoleUser, api.TierUpload, s.form(want{row: true}), api.Doc("Upload a picture or video for a status.")),
		api.Raw("GET /media/{mediaId}/download", api.RoleUser, api.TierRead, s.downloadByID, api.Doc("The bytes of an upload one may see.")),
		api.Op("GET /media/{mediaId}", "", api.RoleUser, api.TierRead, s.Media, api.Doc("One of my uploads, or one that somebody shows me.")),
		api.Op("GET /media/{mediaId}/url", "", api.RoleUser, api.TierRead, s.Address, api.Doc("The address of an upload, good for a while.")),
		api.Op("DELETE /media/{mediaId}", "", api.RoleUser, api.TierWrite, s.Delete, api.Doc("Delete one of my uploads that nothing shows.")),
		api.Op("GET /media/usage", "", api.RoleUser, api.TierRead, s.Usage, api.Doc("How much I have uploaded, and how much I may.")),
	}
	rows = append(rows, s.downloads()...)
	rows = append(rows, s.tus.routes()...)
	rows = append(rows, s.stickerRoutes()...)
	rows = append(rows, s.gifRoutes()...)
	return append(rows, s.adminRoutes()...)
}

// waiters are those who wait until an upload is looked at.
type waiters struct {
	mu   sync.Mutex
	byID map[string][]chan struct{}
}

// wait returns a channel that is closed when the upload is done with. The caller calls leave.
func (w *waiters) wait(id string) (done <-chan struct{}, leave func()) {
	c := make(chan struct{})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.byID[id] = append(w.byID[id], c)
	return c, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		list := w.byID[id]
		for i, other := range list {
			if other == c {
				list = append(list[:i], list[i+1:]...)
				break
			}
		}
		if w.byID[id] = list; len(list) == 0 {
			delete(w.byID, id)
		}
	}
}

// done wakes all who wait for an upload.
func (w *waiters) done(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.byID[id] {
		close(c)
	}
	delete(w.byID, id)
}
