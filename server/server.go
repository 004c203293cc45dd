// Package server puts QuckChat together: it opens the data directory, makes the services, collects their rows in one
// table, and serves the table over HTTP, over WebSockets, and over the admin socket.
//
// Nothing is decided here; each decision lives in the package of its domain. docs/architecture.md is the map.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/call"
	"github.com/quckchat/quckchat/server/chat"
	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/doctor"
	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/server/hub"
	"github.com/quckchat/quckchat/server/job"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/server/web"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
	"github.com/quckchat/quckchat/turn"
	"github.com/quckchat/quckchat/turn/sfu"
)

// Options are what New needs beside the configuration.
type Options struct {
	Version string
	Log     *slog.Logger
	Sources config.Sources   // where the configuration came from, to read it again
	Now     func() time.Time // nil is the system clock
}

// Server is a running QuckChat.
type Server struct {
	config   *config.Live
	sources  config.Sources
	log      *slog.Logger
	version  string
	started  time.Time
	stopping atomic.Bool

	lock        *storage.Lock
	db          *storage.DB
	cache       *storage.Cache
	events      *event.Log
	jobs        *job.Queue
	account     *account.Service
	search      *search.Index
	media       *media.Service
	chat        *chat.Service
	call        *call.Service
	hub         *hub.Hub
	limit       *limiter     // nil when rate limits are off
	turn        *turn.Server // nil when it is off or could not start
	turnErr     error        // why it could not
	sfu         *sfu.Server  // nil when it is off or could not start
	sfuErr      error        // why it could not
	doctor      *doctor.Service
	certificate atomic.Pointer[tls.Certificate]
	table       *api.Table

	listener net.Listener
	admin    net.Listener
	closers  []io.Closer // opened so far, closed in reverse
}

// stopTime is how long an orderly stop may take.
const stopTime = 4 * time.Second

// New opens the data directory and everything in it, and begins to listen, without serving yet. It fails with a
// *storage.LockedError when another process holds the directory.
func New(cfg *config.Live, o Options) (_ *Server, err error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: cfg, sources: o.Sources, log: o.Log, version: o.Version, started: time.Now()}
	defer func() {
		if err != nil {
			s.closeAll()
		}
	}()
	dir := cfg.Get().Data
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data directory: %w", err)
	}
	if s.lock, err = storage.AcquireLock(dir); err != nil {
		return nil, err
	}
	s.opened(s.lock)
	if err := s.open(dir, o); err != nil {
		return nil, err
	}
	return s, s.listen(dir)
}

// open makes the stores and the services, the lower ones first.
func (s *Server) open(dir string, o Options) (err error) {
	secrets, err := account.LoadSecrets(dir)
	if err != nil {
		return err
	}
	links := media.NewLinks(secrets.Media, func() time.Duration { return s.config.Get().Media.LinkTTL }, func() string { return s.config.Get().PublicURL })
	s.events = event.New(s.log)
	if s.db, err = storage.Open(storage.Options{Path: filepath.Join(dir, storage.FileName), Log: s.log, Now: o.Now, AfterBatch: s.events.Flush, Link: links.Link}); err != nil {
		return err
	}
	s.opened(s.db)
	if err := s.stored(); err != nil {
		return err
	}
	if err := s.events.Attach(s.db); err != nil {
		return fmt.Errorf("read event log: %w", err)
	}
	if s.cache, _, err = storage.OpenCache(filepath.Join(dir, "cache"), s.log); err != nil {
		return err
	}
	s.opened(s.cache)
	s.jobs = job.New(s.db, s.log)
	if err := s.openMedia(links); err != nil {
		return err
	}
	s.account = account.New(account.Options{
		DB: s.db, Events: s.events, Cache: s.cache, Config: s.config, Secrets: secrets, Log: s.log,
		Online:  func(userID string) bool { return s.hub.Online(userID) },
		Privacy: func(userID string, p account.Privacy) { s.hub.SetPrivacy(userID, hub.Privacy(p)) },
		Claim:   s.media.ClaimPicture,
	})
	s.events.Register(s.account.Events()...)
	if s.search, err = search.Open(filepath.Join(dir, "search.db"), s.db, s.events, s.log); err != nil {
		return err
	}
	s.opened(s.search)
	s.chat = chat.New(chat.Options{DB: s.db, Events: s.events, Jobs: s.jobs, Config: s.config, Log: s.log, Search: s.search, Media: s.media, Presence: s.account.Presence})
	c := s.config.Get()
	options := hub.Options{
		DB: s.db, Events: s.events, Cache: s.cache, Authenticate: s.account, Handshake: s.account.Handshake, Alive: s.account.Alive,
		Describe: s.describe, Origin: s.allowedOrigin, Offline: s.offline, Privacy: privacyOf, Log: s.log,
		Came: s.came, Gone: s.gone,
		Heartbeat: c.Socket.Heartbeat, Queue: c.Socket.Queue, MaxPerUser: c.Socket.MaxPerUser, MaxFrame: int64(c.BodyLimit),
	}
	if c.RateLimits {
		s.limit = newLimiter(s.cache, s.log)
		options.Strike, options.Barred = s.limit.strike, s.limit.barred
	} else {
		s.log.Warn("rate limits are off: only for load tests")
	}
	s.hub = hub.New(options)
	s.events.Register(s.hub.Events()...)
	s.openTURN(secrets)
	s.openSFU()
	s.call = call.New(call.Options{
		SFU: s.sfu,
		DB:  s.db, Events: s.events, Jobs: s.jobs, Config: s.config, Log: s.log, Chat: s.chat, Hears: s.hub.Hears, ICE: s.iceServers,
	})
	s.openDoctor(o.Now)
	return s.calendar()
}

// openMedia opens the store of what people send.
func (s *Server) openMedia(links *media.Links) error {
	where := MediaDir(s.config.Get())
	blobs, err := OpenBlobs(context.Background(), s.config.Get(), where)
	if err != nil {
		return err
	}
	s.media, err = media.New(media.Options{
		DB: s.db, Blobs: blobs, Jobs: s.jobs, Events: s.events, Config: s.config, Cache: s.cache, Links: links, Log: s.log, Dir: filepath.Join(where, "arriving"),
	})
	if err != nil {
		return err
	}
	s.events.Register(s.media.Events()...)
	return nil
}

// OpenBlobs opens the store that the settings name: the bucket when there is one, otherwise the directory.
func OpenBlobs(ctx context.Context, c *config.Config, dir string) (*blob.Store, error) {
	if c.S3.Endpoint == "" {
		return blob.Open(dir, int64(c.Media.Reserve))
	}
	return blob.OpenS3(ctx, dir, int64(c.Media.Reserve), blob.S3{
		Endpoint: c.S3.Endpoint, Region: c.S3.Region, Bucket: c.S3.Bucket, Prefix: c.S3.Prefix, AccessKey: c.S3.AccessKey, SecretKey: c.S3.SecretKey,
		PathStyle: c.S3.PathStyle,
	})
}

// MediaDir is the directory of media: that of the settings, or the one in the data directory.
func MediaDir(c *config.Config) string {
	if c.Media.Dir != "" {
		return c.Media.Dir
	}
	return filepath.Join(c.Data, "media")
}

// calendar is what runs by itself.
func (s *Server) calendar() error {
	return errors.Join(
		s.jobs.Every("event-prune", "17 * * * *", "UTC", func(ctx context.Context) error {
			return s.events.Prune(ctx, s.config.Get().EventRetention)
		}),
		s.jobs.Every("snapshot-prune", "27 * * * *", "UTC", func(context.Context) error {
			return s.db.PruneSnapshots(s.config.Get().SnapshotRetention)
		}),
		s.jobs.Every("session-cleanup", "42 * * * *", "UTC", s.account.Sweep),
		s.media.Calendar(),
		s.call.Calendar(),
	)
}

// rows is the whole table.
func (s *Server) rows() []api.Row {
	var rows []api.Row
	for _, part := range [][]api.Row{s.account.Routes(), s.chat.Routes(), s.media.Routes(), s.call.Routes(), s.doctor.Routes(), s.hub.Routes(), s.healthRoutes()} {
		rows = append(rows, part...)
	}
	return append(rows, aliases(rows)...)
}

// routes mounts the table and the pages.
func (s *Server) routes() (http.Handler, error) {
	r := chi.NewRouter()
	c := api.Config{
		Prefix: prefix, Version: s.version, MaxBody: int64(s.config.Get().BodyLimit), Authenticate: s.account, Log: s.log, Describe: s.describe,
	}
	if s.limit != nil {
		c.Limit = s.limit
	}
	var err error
	if s.table, err = api.NewTable(c, r, s.rows()); err != nil {
		return nil, err
	}
	r.NotFound(s.table.NotFound)
	r.MethodNotAllowed(s.table.MethodNotAllowed)
	r.Get("/api/docs", s.docs)
	r.Get("/debug/pprof/{name}", s.profile)
	pages := web.Handler()
	for _, path := range web.Paths() {
		r.Method(http.MethodGet, path, pages)
	}
	s.hub.SetTable(s.table)
	return s.handler(r), nil
}

// listen opens the ports and the admin socket.
func (s *Server) listen(dir string) (err error) {
	if s.listener, err = net.Listen("tcp", s.config.Get().Listen); err != nil {
		return fmt.Errorf("listen on %s: %w (is something else using the port? choose another with --listen)", s.config.Get().Listen, err)
	}
	s.opened(s.listener)
	path := s.config.Get().Admin.Socket
	if path == "" {
		path = filepath.Join(dir, "quckchat.sock")
	}
	if len(path) > 100 { // a socket's path must fit 108 bytes
		short, err := os.MkdirTemp("", "quckchat-")
		if err != nil {
			return fmt.Errorf("make directory for the admin socket: %w", err)
		}
		s.opened(closer(func() error { return os.RemoveAll(short) }))
		path = filepath.Join(short, "quckchat.sock")
	}
	_ = os.Remove(path) // ours: we hold the lock
	if s.admin, err = net.Listen("unix", path); err != nil {
		return fmt.Errorf("listen on the admin socket: %w", err)
	}
	s.opened(s.admin)
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("protect the admin socket: %w", err)
	}
	return s.lock.Describe("socket "+path, "listen "+s.listener.Addr().String())
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Account is the accounts, for the command that starts the server and prints its setup link.
func (s *Server) Account() *account.Service { return s.account }

// Hub is the open sockets.
func (s *Server) Hub() *hub.Hub { return s.hub }

// Events is the event log.
func (s *Server) Events() *event.Log { return s.events }

// Store is the database.
func (s *Server) Store() *storage.DB { return s.db }

// Wake has everything that sleeps by the clock look at it again. Nobody needs to call it but who moves the clock.
func (s *Server) Wake() {
	s.jobs.Wake()
	s.chat.Wake()
	s.call.Wake()
}

// Run serves until ctx ends, and then stops in order: no new work, sockets told to come back, what is being written
// finished. It closes everything before it returns.
func (s *Server) Run(ctx context.Context) error {
	defer s.closeAll()
	handler, err := s.routes()
	if err != nil {
		return err
	}
	if err := s.call.Load(ctx); err != nil {
		return err
	}
	work, stopWork := context.WithCancel(context.Background())
	defer stopWork()
	var workers sync.WaitGroup
	workers.Go(func() { s.hub.Run(work) })
	workers.Go(func() { s.search.Run(work) })
	workers.Go(func() { s.jobs.Run(work) })
	workers.Go(func() { s.chat.Run(work) })
	workers.Go(func() { s.media.Run(work) })
	workers.Go(func() { s.call.Run(work) })
	workers.Go(func() { trimMemory(work, s.log) })
	workers.Go(func() { s.learnPublic(work) })

	quiet := stdlog.New(io.Discard, "", 0) // net/http reports every broken handshake
	web := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 32 << 10, ErrorLog: quiet}
	admin := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: quiet, ConnContext: adminContext(s.log)}
	failed := make(chan error, 2)
	serve := func(server *http.Server, l net.Listener) {
		workers.Go(func() {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("serve: %w", err)
			}
		})
	}
	l, err := s.secured(s.listener)
	if err != nil {
		return err
	}
	serve(web, l)
	serve(admin, s.admin)
	s.log.Info("serving", "address", s.Addr().String(), "ready", time.Since(s.started).Round(time.Millisecond))

	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.stopping.Store(true)
	deadline, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	s.hub.Close(deadline)
	if web.Shutdown(deadline) != nil {
		web.Close()
	}
	admin.Close()
	stopWork()
	workers.Wait()
	s.log.Info("stopped")
	return err
}

// offline ends what somebody was typing and notes when they were last seen.
func (s *Server) offline(userID string, at time.Time) {
	s.chat.StopTyping(userID)
	if err := s.account.Seen(context.Background(), userID, at); err != nil && !s.stopping.Load() {
		s.log.Warn("note last seen", "error", err)
	}
}

// came lets a device that has opened a socket hear of calls.
func (s *Server) came(ctx context.Context, by api.Caller, stream hub.Stream) {
	if stream.Hears("call:incoming") {
		s.call.Came(ctx, by)
	}
	if stream.Hears("huddle:ended") {
		s.call.CameToHuddle(by)
	}
}

func (s *Server) gone(by api.Caller, stream hub.Stream) {
	if stream.Hears("call:incoming") {
		s.call.Gone(by)
	}
	if stream.Hears("huddle:ended") {
		s.call.GoneFromHuddle(by)
	}
}

// iceServers are the STUN and TURN servers for a device.
func (s *Server) iceServers(by api.Caller, callID string) []turn.ICEServer {
	return s.ICEServers(by.Host, by.UserID, callID)
}

func privacyOf(q storage.Querier, userID string) (hub.Privacy, error) {
	p, err := account.PrivacyOf(q, userID)
	return hub.Privacy(p), err
}

type closer func() error

func (c closer) Close() error { return c() }

func (s *Server) opened(c io.Closer) { s.closers = append(s.closers, c) }

func (s *Server) closeAll() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		if err := s.closers[i].Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.log.Warn("close", "error", err)
		}
	}
	s.closers = nil
}

// Table is every operation of the server; it is there once Run has begun to serve.
func (s *Server) Table() *api.Table { return s.table }
