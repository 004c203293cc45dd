package server

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/doctor"
	"github.com/quckchat/quckchat/turn"
)

// learnEvery is how often an outside server is asked for the public address, which changes at home.
const learnEvery = 5 * time.Minute

// openTURN starts the STUN and TURN server. Without it there is a chat all the same, so that a port that is taken is said
// loudly, here and in health, and nothing else.
func (s *Server) openTURN(secrets account.Secrets) {
	c := s.config.Get()
	if c.TURNOff() {
		return
	}
	o := turn.Options{
		Listen: c.TURN.Listen, Public: c.TURNPublic(), Secret: secrets.TURN, TTL: c.TURN.CredentialTTL, Quota: c.TURN.UserRelays,
		Bandwidth: int(c.TURN.Bandwidth), Allow: c.TURNAllowed(), Log: s.log,
	}
	o.Ports.Min, o.Ports.Max = c.TURNRange()
	if c.TLSCert != "" {
		o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: alpnTURN, GetCertificate: s.currentCertificate}
	}
	if s.turn, s.turnErr = turn.New(o); s.turnErr != nil {
		s.turn = nil
		s.log.Error("calls will fail between people who cannot reach each other: no STUN and TURN server", "error", s.turnErr, "setting", "turn.listen")
		return
	}
	s.opened(s.turn)
	s.log.Info("STUN and TURN", "address", s.turn.Addr())
}

// openDoctor makes what examines calls.
func (s *Server) openDoctor(now func() time.Time) {
	s.doctor = doctor.New(doctor.Options{
		Config: s.config, Cache: s.cache, Log: s.log, Now: now, Doors: s.turnDoors, Web: s.Addr,
		TURN: func() (*turn.Server, error) { return s.turn, s.turnErr },
	})
	s.opened(s.doctor)
}

// TURN is the STUN and TURN server; nil when it is off or could not start.
func (s *Server) TURN() *turn.Server { return s.turn }

// ICEServers is what a client needs for a call of theirs: addresses of this server with a credential for that person, and
// that call unless it is empty. host is the Host header of the client's request, which is used when there is no public_url.
// It is empty without a TURN server.
func (s *Server) ICEServers(host, userID, callID string) []turn.ICEServer {
	if s.turn == nil {
		return []turn.ICEServer{}
	}
	name, doors := s.turnDoors(host)
	return turn.ICEServers(name, doors, s.turn.Mint(userID, callID))
}

// turnDoors is the name under which a client reaches the relay, and its ports.
func (s *Server) turnDoors(host string) (string, turn.Doors) {
	c, doors := s.config.Get(), s.turn.Doors()
	port := strconv.Itoa(portOf(s.Addr()))
	name := hostOnly(host)
	if u, err := url.Parse(c.PublicURL); err == nil && u.Host != "" {
		name, port = u.Hostname(), u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
	}
	if four, six := s.turn.Public(); name == "" && four.IsValid() {
		name = four.String()
	} else if name == "" && six.IsValid() {
		name = six.String()
	}
	if n, err := strconv.Atoi(port); err == nil && c.TLSCert != "" && !slices.Contains(doors.TLS, n) {
		doors.TLS = append([]int{n}, doors.TLS...) // the one port that every network lets through comes first
	}
	return name, doors
}

func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// hostOnly is a Host header without its port, and without the brackets of an IPv6 address.
func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

// learnPublic keeps the public address up to date while an outside server is configured.
func (s *Server) learnPublic(ctx context.Context) {
	outside := s.config.Get().TURN.STUNServer
	if s.turn == nil || outside == "" {
		return
	}
	for {
		if _, err := s.turn.LearnPublic(ctx, outside); err != nil && ctx.Err() == nil {
			s.log.Warn("public address not learned", "error", err)
		} else if err == nil {
			s.moveSFU()
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(learnEvery):
		}
	}
}

// checkCalls is the part "calls" of health: what the doctor found last. A fault there concerns people at some place, so it
// does not make the server unwell.
func (s *Server) checkCalls(context.Context, api.Caller) (map[string]any, error) {
	details := map[string]any{}
	found, err := s.doctor.Last(context.Background(), api.Caller{}, nil)
	for from, result := range found {
		details[from] = result
	}
	return details, err
}

// checkTURN is the part "turn" of health.
func (s *Server) checkTURN(context.Context, api.Caller) (map[string]any, error) {
	if s.turn == nil {
		return map[string]any{"enabled": s.turnErr != nil}, s.turnErr
	}
	st := s.turn.Stats()
	four, six := s.turn.Public()
	details := map[string]any{
		"enabled": true, "address": s.turn.Addr().String(), "allocations": st.Allocations, "connections": st.Connections, "refused": st.Refused,
		"authFailures": st.AuthFailures,
	}
	for name, a := range map[string]netip.Addr{"publicIPv4": four, "publicIPv6": six} {
		if a.IsValid() {
			details[name] = a.String()
		}
	}
	if !four.IsValid() && !six.IsValid() {
		return details, errors.New("this host has no address to relay from")
	}
	return details, nil
}
