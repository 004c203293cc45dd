package doctor

import (
	"context"
	"crypto/rand"
	"errors"
	"net/netip"
	"time"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/turn"
)

const (
	runTime   = 2 * time.Minute // how long a browser may take
	offersMax = 8               // echo peers of one run
)

// run is a look from a browser.
type run struct {
	id     string
	who    string     // has one at a time
	client netip.Addr // as the server sees it
	host   string
	offers int
	timer  *time.Timer
	leave  func() // lets the echo peer go
}

// BeginInput begins a look from a browser.
type BeginInput struct {
	Body struct {
		Link string `json:"link,omitempty" maxLength:"100" doc:"The secret of a link, of somebody who is not signed in"`
	}
}

// DoctorRun is what a browser needs to look.
type DoctorRun struct {
	ID         string            `json:"id" doc:"Whoever has it can go on with this run, for two minutes"`
	Transports []DoctorTransport `json:"transports" doc:"Make a call through each, to the echo peer"`
	Address    turn.ICEServer    `json:"address" doc:"The public address itself, without a name: whether it answers"`
	Range      turn.ICEServer    `json:"range" doc:"A port of the relay range: whether it answers"`
}

// DoctorTransport is one way to TURN.
type DoctorTransport struct {
	Name   string         `json:"name" enum:"udp,tcp,tls,https"`
	Server turn.ICEServer `json:"server"`
}

// Begin begins a look from a browser, and ends the one that the same person had begun. Codes: UNAUTHORIZED, DOCTOR_LINK_INVALID,
// DOCTOR_BUSY, TURN_UNAVAILABLE.
func (s *Service) Begin(_ context.Context, by api.Caller, in *BeginInput) (*DoctorRun, error) {
	e := s.examination(by.Host)
	switch {
	case !by.SignedIn() && in.Body.Link == "":
		return nil, api.E("UNAUTHORIZED")
	case e.turn == nil:
		return nil, api.E("TURN_UNAVAILABLE")
	}
	r := &run{id: rand.Text(), who: by.UserID, host: by.Host}
	r.client, _ = netip.ParseAddr(by.IP)
	if !by.SignedIn() {
		if s.full() { // before the link is used up
			return nil, api.E("DOCTOR_BUSY")
		}
		if err := s.redeem(in.Body.Link); err != nil {
			return nil, err
		}
		r.who = r.id
	}
	place, err := s.start(r)
	if err != nil {
		return nil, err
	}
	name, doors := s.Doors(by.Host)
	// Each transport has a user of its own to quotas, which may be small.
	mint := func(transport string) turn.Credential { return e.turn.MintEcho("doctor-" + r.who + "-" + transport) }
	out := &DoctorRun{ID: r.id, Transports: []DoctorTransport{}}
	add := func(transport string, d turn.Doors) {
		list := turn.ICEServers(name, d, mint(transport))
		out.Transports = append(out.Transports, DoctorTransport{transport, list[len(list)-1]})
	}
	add("udp", turn.Doors{UDP: doors.UDP[:1]})
	add("tcp", turn.Doors{TCP: doors.TCP[:1]})
	for _, port := range doors.TLS {
		kind := "tls"
		if port != e.port {
			kind = "https"
		}
		add(kind, turn.Doors{TLS: []int{port}})
	}
	// STUN at the public address itself, and TURN over TCP for who has no UDP.
	c, address := mint("address"), place.Addr().String()
	stun, tcp := turn.ICEServers(address, turn.Doors{UDP: []int{e.port}}, c)[0], turn.ICEServers(address, turn.Doors{TCP: []int{e.port}}, c)[0]
	out.Address = turn.ICEServer{URLs: append(stun.URLs, tcp.URLs...), Username: c.Username, Credential: c.Password}
	out.Range = turn.ICEServers(name, turn.Doors{UDP: []int{int(place.Port())}}, c)[0]
	return out, nil
}

func (s *Service) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.runs) >= looksMax
}

// start notes a run and holds the echo peer for it.
func (s *Service) start(r *run) (place netip.AddrPort, err error) {
	s.mu.Lock()
	for _, other := range s.runs {
		if other.who == r.who {
			s.stop(other)
		}
	}
	full := len(s.runs) >= looksMax
	if !full {
		s.runs[r.id] = r
	}
	s.mu.Unlock()
	if full {
		return place, api.E("DOCTOR_BUSY")
	}
	place, leave, err := s.echo.hold()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		delete(s.runs, r.id)
		s.Log.Warn("call doctor: no echo peer", "error", err)
		return place, api.E("TURN_UNAVAILABLE")
	}
	if s.runs[r.id] != r { // another has begun meanwhile
		s.work.Go(leave)
		return place, api.E("DOCTOR_BUSY")
	}
	r.leave = leave
	r.timer = time.AfterFunc(runTime, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.stop(r)
	})
	return place, nil
}

// stop ends a run. s.mu is held.
func (s *Service) stop(r *run) {
	if s.runs[r.id] != r {
		return
	}
	delete(s.runs, r.id)
	if r.timer != nil {
		r.timer.Stop()
		s.work.Go(r.leave) // it waits for connections to close
	}
}

// OfferInput is a browser's offer of a data channel.
type OfferInput struct {
	Body struct {
		Run string `json:"run" maxLength:"64" doc:"The id of the run"`
		SDP string `json:"sdp" maxLength:"20000" doc:"With all its candidates"`
	}
}

// DoctorAnswer is the echo peer's answer.
type DoctorAnswer struct {
	SDP string `json:"sdp"`
}

// Offer connects the browser to the echo peer, which sends back every message of its data channels: at most 1000, of at most
// 1200 bytes, for 30 seconds. Codes: DOCTOR_RUN_NOT_FOUND, DOCTOR_BUSY, DOCTOR_OFFER_INVALID.
func (s *Service) Offer(_ context.Context, _ api.Caller, in *OfferInput) (DoctorAnswer, error) {
	s.mu.Lock()
	r, n := s.runs[in.Body.Run], 0
	if r != nil {
		r.offers++
		n = r.offers
	}
	s.mu.Unlock()
	switch {
	case r == nil:
		return DoctorAnswer{}, api.E("DOCTOR_RUN_NOT_FOUND")
	case n > offersMax:
		return DoctorAnswer{}, api.E("DOCTOR_BUSY")
	}
	sdp, err := s.echo.answer(in.Body.SDP)
	switch {
	case errors.Is(err, errBadOffer):
		return DoctorAnswer{}, api.E("DOCTOR_OFFER_INVALID")
	case errors.Is(err, errTooMany):
		return DoctorAnswer{}, api.E("DOCTOR_BUSY")
	case errors.Is(err, errNoTURN):
		return DoctorAnswer{}, api.E("DOCTOR_RUN_NOT_FOUND")
	}
	return DoctorAnswer{sdp}, err
}

// ReportInput is what a browser has measured.
type ReportInput struct {
	Body struct {
		Run string `json:"run" maxLength:"64" doc:"The id of the run"`
		Measured
	}
}

// Report judges what a browser has measured, and ends the run. Codes: DOCTOR_RUN_NOT_FOUND.
func (s *Service) Report(ctx context.Context, by api.Caller, in *ReportInput) (*Diagnosis, error) {
	s.mu.Lock()
	r := s.runs[in.Body.Run]
	if r != nil {
		s.stop(r)
	}
	s.mu.Unlock()
	if r == nil {
		return nil, api.E("DOCTOR_RUN_NOT_FOUND")
	}
	e := s.examination(r.host)
	if e.turn == nil {
		return nil, api.E("TURN_UNAVAILABLE")
	}
	d := judged("browser", s.Now(), e.judge(ctx, r.client, &in.Body.Measured))
	s.keep(d)
	return d.in(by.Locale), nil
}
