// Package doctor finds out why calls do not connect, and says in one sentence what to change.
//
// It looks from two places. The server looks at itself (Examine): whether TURN runs, under which address and name, what stands
// between it and the world, its certificate, and whether a relay through each of its doors carries packets to the echo peer.
// A browser looks from where its person is (the page /doctor/calls): what it gathers, and whether a call through a relay alone,
// over each transport, reaches the echo peer, with its loss, jitter and round trip. The browser measures, and what it
// measured is judged here, so that there is one catalogue of faults (fault.go): a stable code, and a sentence in each language
// with the ports and addresses that it is about.
//
// The echo peer (echo.go) is a WebRTC peer of this process that sends every message back. It exists while somebody looks, on
// a port of the relay range, so that a browser can tell whether that range is let through, and restricted credentials
// (turn.MintEcho) reach it and nothing else. Somebody without an account looks by a link that works once (link.go).
//
// Everything is bounded: one look of a person at a time, a few echo peers, a time for each check.
package doctor

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/turn"
)

// Options are what New needs.
type Options struct {
	Config *config.Live
	Cache  *storage.Cache // keeps the links
	Log    *slog.Logger
	Now    func() time.Time
	TURN   func() (*turn.Server, error)                    // nil when it is off; the error is why it could not start
	Doors  func(host string) (name string, d turn.Doors)   // as clients are told; host is the Host header of who asks
	Web    func() net.Addr                                 // where HTTP listens
	Lookup func(context.Context, string) ([]string, error) // of addresses; nil is the system's
}

// Service is the doctor. It keeps the last results in memory.
type Service struct {
	Options
	echo echo
	work sync.WaitGroup // of what lets echo peers go

	mu   sync.Mutex
	busy map[string]bool // whose examination is going on
	last map[string]*Diagnosis
	runs map[string]*run
}

// New makes the doctor. Close ends its echo peers.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupHost
	}
	s := &Service{Options: o, busy: map[string]bool{}, last: map[string]*Diagnosis{}, runs: map[string]*run{}}
	s.echo.turn, s.echo.log, s.echo.ports = func() *turn.Server { t, _ := o.TURN(); return t }, o.Log, o.Config.Get().TURNRange
	return s
}

// Close ends every look that goes on.
func (s *Service) Close() error {
	s.mu.Lock()
	for _, r := range s.runs {
		s.stop(r)
	}
	s.mu.Unlock()
	s.echo.shut()
	s.work.Wait()
	return nil
}

// Routes are the operations of the doctor.
func (s *Service) Routes() []api.Row {
	return []api.Row{
		api.Op("POST /admin/doctor/calls", "", api.RoleAdmin, api.TierAdmin, s.Examine, api.OK, api.Doc("Look from the server for what keeps calls from connecting.")),
		api.Op("GET /admin/doctor/calls", "", api.RoleAdmin, api.TierAdmin, s.Last, api.Doc("What was found last, from the server and by a browser.")),
		api.Op("POST /admin/doctor/link", "", api.RoleAdmin, api.TierAdmin, s.Link, api.Doc("A link to /doctor/calls for somebody without an account: it works once, for 30 minutes.")),
		api.Op("POST /doctor/calls", "", api.RolePublic, tierBegin, s.Begin, api.Doc("Begin a look from a browser, signed in or with the secret of a link.")),
		api.Op("POST /doctor/calls/offer", "", api.RolePublic, api.TierWrite, s.Offer, api.OK, api.Doc("Connect to the echo peer.")),
		api.Op("POST /doctor/calls/report", "", api.RolePublic, api.TierWrite, s.Report, api.OK, api.Doc("Say what was measured, and be told what it means.")),
	}
}

// tierBegin is for people who look again and again while they change their router.
var tierBegin = api.Tier{Name: "doctor", Limit: 20, Window: time.Minute}

// examineTime is how long a look from the server may take. Its checks run side by side, each with a shorter time.
const examineTime = 30 * time.Second

// Examine looks from the server. Codes: DOCTOR_BUSY.
func (s *Service) Examine(ctx context.Context, by api.Caller, _ *struct{}) (*Diagnosis, error) {
	leave, err := s.enter("server:" + by.UserID + by.Local)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, examineTime)
	defer cancel()
	e := s.examination(by.Host)
	r := judged("server", s.Now(), e.checks(ctx))
	s.keep(r)
	return r.in(by.Locale), nil
}

// Last returns the last results by where they were found from; none is a place from which nobody has looked since the start.
func (s *Service) Last(_ context.Context, by api.Caller, _ *struct{}) (map[string]*Diagnosis, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]*Diagnosis{}
	for from, r := range s.last {
		out[from] = r.in(by.Locale)
	}
	return out, nil
}

func (s *Service) keep(r *Diagnosis) {
	s.mu.Lock()
	s.last[r.From] = r
	s.mu.Unlock()
}

// enter begins a look of somebody, who has one at a time.
func (s *Service) enter(who string) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[who] || len(s.busy) >= looksMax {
		return nil, api.E("DOCTOR_BUSY")
	}
	s.busy[who] = true
	return func() {
		s.mu.Lock()
		delete(s.busy, who)
		s.mu.Unlock()
	}, nil
}

// looksMax is how many look at a time, from the server or from browsers each.
const looksMax = 8

// examination is a look from the server, with what all its checks need to know.
type examination struct {
	*Service
	config  *config.Config
	turn    *turn.Server
	turnErr error
	port    int           // of TURN
	public  [2]netip.Addr // that clients are given, IPv4 and IPv6
	local   [2]netip.Addr // of this host
	host    string        // the name that clients know; "" when it is not configured
	outside netip.Addr    // what the outside server sees of this host; zero when there is none, or it does not answer
	seenAs  string        // the Host header of who asks
}

func (s *Service) examination(host string) *examination {
	e := &examination{Service: s, config: s.Config.Get(), seenAs: host}
	if e.turn, e.turnErr = s.TURN(); e.turn == nil {
		return e
	}
	e.port = int(e.turn.Addr().Port())
	e.public[0], e.public[1] = e.turn.Public()
	e.local[0], e.local[1] = e.turn.Local()
	e.host, _ = s.Doors(host)
	if e.config.PublicURL == "" { // the admin socket has a host of its own
		e.host = ""
	}
	return e
}

// checks runs every check, those that wait side by side.
func (e *examination) checks(ctx context.Context) []Finding {
	first := e.running()
	if e.turn == nil {
		return []Finding{first}
	}
	e.learn(ctx)
	parts := []func(context.Context) []Finding{e.address, e.name, e.nat, e.hairpin, e.ipv6, e.secured, e.relays}
	found := make([][]Finding, len(parts))
	var work sync.WaitGroup
	for i, part := range parts {
		work.Go(func() { found[i] = part(ctx) })
	}
	work.Wait()
	list := []Finding{first}
	for _, f := range found {
		list = append(list, f...)
	}
	return list
}

func (e *examination) running() Finding {
	switch {
	case e.turn != nil:
		return finding("turn", "turn_running", "port", e.port)
	case e.turnErr != nil:
		return finding("turn", "turn_failed", "address", e.config.TURN.Listen)
	}
	return finding("turn", "turn_off")
}

// ports is the relay range as the sentences write it.
func (e *examination) ports() string { return e.config.TURN.Ports }
