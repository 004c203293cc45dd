package doctor

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/quckchat/quckchat/turn"
)

// address checks what clients are given as the address of relays.
func (e *examination) address(context.Context) []Finding {
	const name = "address"
	public, local := e.public[0], e.local[0]
	if !public.IsValid() {
		public, local = e.public[1], e.local[1]
	}
	given := slices.Contains(e.config.TURNPublic(), public)
	if seen := e.outside; given && seen.IsValid() && seen != public && seen.Is4() == public.Is4() {
		return []Finding{finding(name, "address_wrong", "public", public, "seen", seen)}
	}
	switch {
	case given && public != local && turn.Global(local): // a host on the internet, whose address somebody has mistyped
		return []Finding{finding(name, "address_wrong", "public", public, "seen", local)}
	case !turn.Global(public) && publicHost(e.host):
		return []Finding{finding(name, "address_private", "public", public, "host", e.host)}
	case !turn.Global(public):
		return []Finding{finding(name, "address_home", "public", public)}
	case given:
		return []Finding{finding(name, "address_configured", "public", public)}
	case public != local:
		return []Finding{finding(name, "address_learned", "public", public, "server", e.config.TURN.STUNServer)}
	}
	return []Finding{finding(name, "address_interface", "public", public)}
}

// outsideTime is how long something outside is waited for.
const outsideTime = 5 * time.Second

// learn has the outside server say what it sees, when there is one, so that clients are given that from now on. Silence is
// said by the check of NAT.
func (e *examination) learn(ctx context.Context) {
	if e.config.TURN.STUNServer == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTime)
	defer cancel()
	if a, err := e.turn.LearnPublic(ctx, e.config.TURN.STUNServer); err == nil {
		e.outside = a
		e.public[0], e.public[1] = e.turn.Public()
	}
}

// name checks that the name of public_url leads to the address of relays: clients look for TURN under it.
func (e *examination) name(ctx context.Context) []Finding {
	const name = "name"
	public := e.public[0]
	if _, err := netip.ParseAddr(e.host); err == nil || !public.IsValid() || !publicHost(e.host) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTime)
	defer cancel()
	texts, err := e.Lookup(ctx, e.host)
	found, inside := netip.Addr{}, false
	for _, text := range texts {
		a, err := netip.ParseAddr(text)
		if a = a.Unmap(); err != nil || !a.Is4() {
			continue
		}
		if a == public {
			return []Finding{finding(name, "name_right", "host", e.host, "public", public)}
		}
		if found = a; !turn.Global(a) { // the name is another inside this network, which says nothing of outside
			inside = true
		}
	}
	switch {
	case err != nil || !found.IsValid() || inside || !turn.Global(public):
		return []Finding{finding(name, "name_unknown", "host", e.host)}
	}
	return []Finding{finding(name, "name_elsewhere", "host", e.host, "public", public, "seen", found)}
}

// publicHost reports whether clients outside can know a host by this name or address.
func publicHost(host string) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return turn.Global(a)
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	for _, end := range []string{".local", ".lan", ".home", ".internal", ".home.arpa", ".localhost", ".test", ".invalid"} {
		if strings.HasSuffix(host, end) {
			return false
		}
	}
	return strings.Contains(host, ".")
}
