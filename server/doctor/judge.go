package doctor

import (
	"context"
	"math"
	"net/netip"
	"strings"

	"github.com/quckchat/quckchat/turn"
)

// Measured is what a browser has found.
type Measured struct {
	Host      int                `json:"host" minimum:"0" maximum:"1000" doc:"Candidates of its own addresses"`
	Reflexive int                `json:"reflexive" minimum:"0" maximum:"1000" doc:"Candidates that a STUN server saw"`
	Address   bool               `json:"address" doc:"The public address itself answers"`
	Range     bool               `json:"range" doc:"A port of the relay range answers"`
	Calls     map[string]Measure `json:"calls" doc:"By transport"`
}

// Measure is a call to the echo peer through a relay alone.
type Measure struct {
	Relay     bool    `json:"relay" doc:"TURN gave a relay"`
	Connected bool    `json:"connected" doc:"The data channel opened"`
	Sent      int     `json:"sent" minimum:"0" maximum:"100000" doc:"Messages, unordered and never repeated"`
	Received  int     `json:"received" minimum:"0" maximum:"100000" doc:"Of those, back"`
	RoundTrip float64 `json:"roundTrip" minimum:"0" maximum:"600000" doc:"Median, in milliseconds"`
	Jitter    float64 `json:"jitter" minimum:"0" maximum:"600000" doc:"Of the round trip as RFC 3550 counts it, in milliseconds"`
}

// What people hear: speech breaks at a twentieth of packets lost, and becomes a conversation by turns at 400 ms.
const (
	lossMuch  = 5.0 // percent
	slowTrip  = 400.0
	muchShake = 50.0
)

// judge says what the measurements of a browser mean.
func (e *examination) judge(ctx context.Context, client netip.Addr, m *Measured) []Finding {
	name, doors := e.Doors(e.seenAs)
	calls := map[string]Measure{}
	legs := []string{"udp", "tcp"}
	web := 0
	for _, port := range doors.TLS {
		if port == e.port {
			legs = append(legs, "tls")
		} else {
			legs, web = append(legs, "https"), port
		}
	}
	some := false
	for _, leg := range legs {
		calls[leg] = m.Calls[leg]
		some = some || calls[leg].Relay
	}
	to := []any{"port", e.port, "ports", e.ports(), "local", e.place(e.local), "public", e.place(e.public), "host", name, "web", web}
	list := []Finding{finding("gather", "gathered", "own", m.Host, "seen", m.Reflexive)}
	udp, tcp := calls["udp"].Relay, calls["tcp"].Relay
	switch {
	case !some:
		return append(list, finding("doors", "turn_unreached", to...))
	case !udp && !tcp && !calls["tls"].Relay:
		list = append(list, finding("doors", "only_https", to...))
	}
	for _, leg := range legs {
		list = append(list, e.judgeCall(ctx, leg, calls, to)...)
	}
	if (udp || tcp) && !m.Address {
		code := "address_unreached"
		if e.home(client) {
			code = "hairpin_missing"
		}
		list = append(list, finding("address", code, to...))
	}
	switch {
	case udp && m.Range:
		list = append(list, finding("ports", "ports_open", to...))
	case udp:
		list = append(list, finding("ports", "ports_closed", to...))
	}
	return list
}

// judgeCall says what became of the call over one transport.
func (e *examination) judgeCall(ctx context.Context, leg string, calls map[string]Measure, to []any) []Finding {
	name, c := "call-"+leg, calls[leg]
	with := append([]any{"transport", strings.ToUpper(leg)}, to...)
	switch {
	case c.Connected:
		return []Finding{judgeQuality(name, leg, c)}
	case c.Relay:
		return []Finding{finding(name, "relay_carries_none", with...)}
	case leg == "udp":
		return []Finding{finding(name, "udp_blocked", with...)}
	case leg == "tcp", leg == "tls" && !calls["tcp"].Relay:
		return []Finding{finding(name, "tcp_blocked", with...)}
	}
	for _, f := range e.secured(ctx) {
		if f.State == Fault {
			f.Name = name
			return []Finding{f}
		}
	}
	if leg == "https" {
		return []Finding{finding(name, "https_no_turn", with...)}
	}
	return []Finding{finding(name, "tls_refused", with...)}
}

func judgeQuality(name, leg string, c Measure) Finding {
	loss := 100.0
	if c.Sent > 0 {
		loss = max(0, 100*float64(c.Sent-c.Received)/float64(c.Sent))
	}
	round := func(n float64) float64 { return math.Round(n*10) / 10 }
	params := []any{"transport", strings.ToUpper(leg), "loss", round(loss), "rtt", round(c.RoundTrip), "jitter", round(c.Jitter)}
	switch {
	case loss >= lossMuch:
		return finding(name, "call_lossy", params...)
	case c.RoundTrip >= slowTrip || c.Jitter >= muchShake:
		return finding(name, "call_slow", params...)
	}
	return finding(name, "call_works", params...)
}

// place is the first of two addresses that there is.
func (e *examination) place(of [2]netip.Addr) netip.Addr {
	if of[0].IsValid() {
		return of[0]
	}
	return of[1]
}

// home reports whether a client is on this side of the router: its address is private, or the public one of this place.
func (e *examination) home(client netip.Addr) bool {
	client = client.Unmap()
	return client.IsValid() && (!turn.Global(client) || client == e.public[0] || client == e.public[1])
}
