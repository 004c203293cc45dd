package server

import (
	"context"
	"net/netip"
	"slices"

	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/turn/sfu"
)

// openSFU starts the SFU of huddles, which relays may reach. Like the TURN server, it is not what a chat fails for. The
// caller has opened the TURN server.
func (s *Server) openSFU() {
	c := s.config.Get()
	if c.SFU.Listen == "" || c.SFU.Listen == "off" {
		return
	}
	o := sfu.Options{Listen: c.SFU.Listen, Public: c.TURNPublic(), Log: s.log, Limits: sfu.Limits{Uplink: 8 * int64(c.SFU.Uplink)}}
	if s.sfu, s.sfuErr = sfu.New(o); s.sfuErr != nil {
		s.sfu = nil
		s.log.Error("no huddles of more than a few people: the SFU does not start", "error", s.sfuErr, "setting", "sfu.listen")
		return
	}
	s.opened(s.sfu)
	s.permitSFU(c.TURNPublic())
	s.log.Info("SFU", "addresses", s.sfu.Addrs())
}

// permitSFU lets relays reach the SFU. What they send to an address that is the router's goes to where the SFU listens.
func (s *Server) permitSFU(public []netip.Addr) {
	if s.turn == nil {
		return
	}
	all := s.sfu.Addrs()
	for _, a := range all {
		var at netip.AddrPort
		if slices.Contains(public, a.Addr()) {
			for _, local := range all {
				if !slices.Contains(public, local.Addr()) && local.Addr().Is4() == a.Addr().Is4() {
					at = local
					break
				}
			}
		}
		s.turn.Permit(a, at)
	}
}

// moveSFU tells the SFU of the public addresses that were learned.
func (s *Server) moveSFU() {
	if s.sfu == nil {
		return
	}
	var public []netip.Addr
	four, six := s.turn.Public()
	for _, a := range []netip.Addr{four, six} {
		if a.IsValid() {
			public = append(public, a)
		}
	}
	s.sfu.SetPublic(public)
	s.permitSFU(public)
}

// checkSFU is the part "huddles" of health.
func (s *Server) checkSFU(context.Context, api.Caller) (map[string]any, error) {
	if s.sfu == nil {
		return map[string]any{"enabled": s.sfuErr != nil}, s.sfuErr
	}
	st := s.sfu.Stats()
	people := 0
	for _, r := range st.Rooms {
		people += len(r.Peers)
	}
	return map[string]any{"enabled": true, "rooms": len(st.Rooms), "people": people, "packetsPerSecond": st.PacketsPerSec, "bitsPerSecond": st.BitsPerSec}, nil
}
