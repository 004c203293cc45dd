package server

import (
	"context"
	"net/netip"

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
	if s.turn != nil {
		for _, a := range s.sfu.Addrs() {
			s.turn.Permit(a, netip.AddrPort{})
		}
	}
	s.log.Info("SFU", "addresses", s.sfu.Addrs())
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
