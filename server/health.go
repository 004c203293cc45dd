package server

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/media"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
)

// Health is the state of the server in the form of contract 3.26. Callers who are not signed in get the status of
// each part and nothing more.
type Health struct {
	Status  string                    `json:"status"` // ok, error, shutting_down
	Info    map[string]map[string]any `json:"info"`
	Error   map[string]map[string]any `json:"error"`
	Details map[string]map[string]any `json:"details"`
}

// StatusCode is 503 unless all is well.
func (h *Health) StatusCode() int {
	if h.Status != "ok" {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// part is one thing that is looked at.
type part struct {
	name  string
	admin bool // only administrators are told more than the status
	check func(ctx context.Context, by api.Caller) (details map[string]any, err error)
}

// lowDisk is the part of the disk that must be free, in percent.
const lowDisk = 2

func (s *Server) healthRoutes() []api.Row {
	row := func(path, doc string, parts ...part) api.Row {
		return api.Op("GET /health"+path, "", api.RolePublic, api.TierNone, func(ctx context.Context, by api.Caller, _ *struct{}) (*Health, error) {
			return s.health(ctx, by, parts), nil
		}, api.Doc(doc))
	}
	database, memory := part{name: "database", check: s.checkDatabase}, part{name: "memory", check: s.checkMemory}
	disk, application := part{name: "disk", check: s.checkDisk}, part{name: "application", check: s.checkApplication}
	integrations, relay := part{name: "integrations", check: s.checkIntegrations}, part{name: "turn", check: s.checkTURN}
	huddles, calls := part{name: "huddles", check: s.checkSFU}, part{name: "calls", admin: true, check: s.checkCalls}
	return []api.Row{
		row("", "The state of everything.", database, memory, disk, relay, huddles, calls, application, integrations),
		row("/integrations", "Whether the virus scanner, the bucket, the provider of GIFs and the transcription work, those that are configured.", integrations),
		row("/live", "Whether the process answers.", application),
		row("/ready", "Whether the server takes work.", database, disk),
		row("/db", "Whether the database answers.", database),
		row("/memory", "How much memory is used.", memory),
		api.Op("GET /health/metrics", "", api.RoleAdmin, api.TierRead, s.metrics, api.Doc("Uptime, memory and counters.")),
	}
}

func (s *Server) health(ctx context.Context, by api.Caller, parts []part) *Health {
	h := &Health{Status: "ok", Info: map[string]map[string]any{}, Error: map[string]map[string]any{}, Details: map[string]map[string]any{}}
	for _, p := range parts {
		details, err := p.check(ctx, by)
		if details == nil || !by.SignedIn() && by.Local == "" || p.admin && by.Role < api.RoleAdmin {
			details = map[string]any{}
		}
		details["status"] = "up"
		if err != nil {
			details["status"], h.Status = "down", "error"
			if by.SignedIn() || by.Local != "" {
				details["message"] = err.Error()
			}
			h.Error[p.name] = details
		} else {
			h.Info[p.name] = details
		}
		h.Details[p.name] = details
	}
	if s.stopping.Load() {
		h.Status = "shutting_down"
	}
	return h
}

func (s *Server) checkDatabase(ctx context.Context, _ api.Caller) (map[string]any, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	err := s.db.Read(ctx, func(v storage.View) error {
		var one int
		return v.QueryRow("SELECT 1").Scan(&one)
	})
	st := s.db.Stats()
	return map[string]any{"walBytes": st.WALBytes, "queued": st.Queued}, err
}

func (s *Server) checkMemory(context.Context, api.Caller) (map[string]any, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return map[string]any{"heapUsed": m.HeapAlloc, "heapTotal": m.HeapSys, "sys": m.Sys}, nil
}

func (s *Server) checkDisk(context.Context, api.Caller) (map[string]any, error) {
	var fs unix.Statfs_t
	if err := unix.Statfs(s.config.Get().Data, &fs); err != nil {
		return nil, fmt.Errorf("look at the disk: %w", err)
	}
	total, free := fs.Blocks*uint64(fs.Bsize), fs.Bavail*uint64(fs.Bsize)
	details := map[string]any{"total": total, "free": free}
	if total > 0 && free*100 < total*lowDisk && free < 64<<20 {
		return details, fmt.Errorf("only %d MiB are free", free>>20)
	}
	return details, nil
}

func (s *Server) checkApplication(context.Context, api.Caller) (map[string]any, error) {
	return map[string]any{
		"version": s.version, "uptime": time.Since(s.started).Seconds(), "startTime": api.Time(s.started), "processId": os.Getpid(),
		"goroutines": runtime.NumGoroutine(),
	}, nil
}

// integration is the state of something outside, as it is shown to those who are signed in.
type integration struct {
	Status      string   `json:"status"` // up, down, open, unknown
	Needed      bool     `json:"needed"` // without it no upload can be fetched
	Since       string   `json:"since,omitempty"`
	Until       string   `json:"until,omitempty"`     // of open: the next request after it is a trial
	LastError   string   `json:"lastError,omitempty"` // no answer, refused, error; also when it works again
	LastErrorAt string   `json:"lastErrorAt,omitempty"`
	Detail      string   `json:"detail,omitempty"`    // of the last error, for administrators: it may name hosts
	LeftAlone   []string `json:"leftAlone,omitempty"` // host:port, for administrators
}

// checkIntegrations asks nobody: what the integrations last did is known. The part is down when one of them is without which
// uploads do not work.
func (s *Server) checkIntegrations(_ context.Context, by api.Caller) (map[string]any, error) {
	details := map[string]any{}
	var down []string
	for _, i := range s.media.Integrations() {
		shown := integration{Status: i.Status, Needed: i.Needed, LastError: i.Kind}
		for _, at := range []struct {
			to *string
			at time.Time
		}{{&shown.Since, i.Since}, {&shown.Until, i.Until}, {&shown.LastErrorAt, i.ProblemAt}} {
			if !at.at.IsZero() {
				*at.to = api.Time(at.at)
			}
		}
		if by.Local != "" || by.Role >= api.RoleAdmin {
			shown.Detail, shown.LeftAlone = i.Problem, i.Places
		}
		if i.Needed && i.Status == media.IntegrationDown {
			down = append(down, i.Name)
		}
		details[i.Name] = shown
	}
	if len(down) > 0 {
		return details, fmt.Errorf("uploads do not work without %s", strings.Join(down, " and "))
	}
	return details, nil
}

// Metrics is the answer of /health/metrics, with the keys the shipped clients know.
type Metrics struct {
	Status    string         `json:"status"`
	Timestamp string         `json:"timestamp"`
	Uptime    map[string]any `json:"uptime"`
	Memory    map[string]any `json:"memory"`
	Node      map[string]any `json:"node"`
	Sockets   map[string]any `json:"sockets"`
	Database  map[string]any `json:"database"`
	TURN      *turn.Stats    `json:"turn,omitempty"`
}

func (s *Server) metrics(context.Context, api.Caller, *struct{}) (*Metrics, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	up := time.Since(s.started)
	hub, db := s.hub.Stats(), s.db.Stats()
	mib := func(n uint64) string { return fmt.Sprintf("%.1f MB", float64(n)/(1<<20)) }
	var relays *turn.Stats
	if s.turn != nil {
		st := s.turn.Stats()
		relays = &st
	}
	return &Metrics{
		TURN: relays, Status: "ok", Timestamp: api.Time(time.Now()),
		Uptime: map[string]any{"seconds": up.Seconds(), "formatted": up.Round(time.Second).String()},
		Memory: map[string]any{"heapUsed": mib(m.HeapAlloc), "heapTotal": mib(m.HeapSys), "rss": mib(m.Sys)},
		Node:   map[string]any{"version": runtime.Version(), "platform": runtime.GOOS, "arch": runtime.GOARCH},
		Sockets: map[string]any{
			"open": hub.Sockets, "people": hub.People, "dropped": hub.Dropped, "eventsBehind": s.events.Committed() - hub.Seq,
		},
		Database: map[string]any{"commits": db.Commits, "writes": db.Writes, "failures": db.Failures, "queued": db.Queued, "walBytes": db.WALBytes},
	}, nil
}
