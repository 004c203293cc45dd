package doctor

import (
	"context"
	"net"
	"net/netip"
	"strconv"

	"github.com/quckchat/quckchat/turn"
)

// nat tells how the router maps this host to the internet, by asking an outside STUN server at two of its addresses from one
// socket (RFC 5780, section 4.3). Without such a server nobody is asked.
func (e *examination) nat(ctx context.Context) []Finding {
	const name = "nat"
	server, local := e.config.TURN.STUNServer, e.local[0]
	switch {
	case server == "" && local.IsValid() && turn.Global(local):
		return []Finding{finding(name, "nat_none", "public", local)}
	case server == "":
		return []Finding{finding(name, "nat_unasked")}
	}
	ctx, cancel := context.WithTimeout(ctx, outsideTime)
	defer cancel()
	silent := finding(name, "outside_silent", "server", server, "local", e.place(e.local))
	targets := e.resolve(ctx, server)
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: local.AsSlice()})
	if err != nil || len(targets) == 0 {
		return []Finding{silent}
	}
	defer conn.Close()
	first, err := ask(ctx, conn, targets[0])
	if err != nil {
		return []Finding{silent}
	}
	if first.mapped.Addr() == local {
		return []Finding{finding(name, "nat_none", "public", local)}
	}
	second := first.other
	if !second.IsValid() || second.Addr() == targets[0].Addr() {
		if second = (netip.AddrPort{}); len(targets) > 1 {
			second = targets[1]
		}
	}
	if !second.IsValid() {
		return []Finding{finding(name, "nat_unsure", "server", server)}
	}
	again, err := ask(ctx, conn, second)
	switch {
	case err != nil:
		return []Finding{finding(name, "nat_unsure", "server", server)}
	case again.mapped == first.mapped:
		return []Finding{finding(name, "nat_same")}
	}
	return []Finding{finding(name, "nat_symmetric", "ports", e.ports(), "local", local)}
}

// resolve looks up the IPv4 addresses of "host:port".
func (e *examination) resolve(ctx context.Context, server string) (list []netip.AddrPort) {
	host, text, err := net.SplitHostPort(server)
	port, err2 := strconv.ParseUint(text, 10, 16)
	if err != nil || err2 != nil {
		return nil
	}
	found, _ := e.Lookup(ctx, host) // none is said as silence
	for _, text := range found {
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap().Is4() {
			list = append(list, netip.AddrPortFrom(a.Unmap(), uint16(port)))
		}
	}
	return list
}

// hairpin checks that the public address leads back to this server from inside its network. That it is this server is shown
// by the credential that it takes.
func (e *examination) hairpin(ctx context.Context) []Finding {
	const name = "hairpin"
	public, local := e.public[0], e.local[0]
	switch {
	case public.IsValid() && public == local && (turn.Global(public) || !publicHost(e.host)):
		return []Finding{finding(name, "hairpin_unneeded", "public", public)}
	case !public.IsValid() || public == local:
		return []Finding{finding(name, "hairpin_unknown")}
	}
	at := netip.AddrPortFrom(public, uint16(e.port))
	if e.allocates(ctx, doorway{name, "udp", at}) && e.allocates(ctx, doorway{name, "tcp", at}) {
		return []Finding{finding(name, "hairpin_works", "public", public)}
	}
	return []Finding{finding(name, "hairpin_missing", "public", public, "local", local, "port", e.port)}
}

// ipv6 tells whether there is any.
func (e *examination) ipv6(context.Context) []Finding {
	const name = "ipv6"
	switch a := e.public[1]; {
	case !a.IsValid() || !e.local[1].IsValid():
		return []Finding{finding(name, "ipv6_none")}
	case !turn.Global(a):
		return []Finding{finding(name, "ipv6_private", "public", a)}
	default:
		return []Finding{finding(name, "ipv6_works", "public", a)}
	}
}
