package outbound

import (
	"net/netip"
	"slices"
)

func prefixes(texts ...string) (list []netip.Prefix) {
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

// The special registries of IANA, of RFC 6890 and those after it, and one address of a provider.
var (
	shared   = netip.MustParsePrefix("100.64.0.0/10") // within the networks of providers (RFC 6598)
	special4 = append(prefixes(
		"0.0.0.0/8", "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", // here, private, link-local
		"192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", // protocols, examples, benchmarks
		"224.0.0.0/4", "240.0.0.0/4", // multicast, reserved, broadcast
		"168.63.129.16/32", // metadata of one provider, at an address that looks public
	), shared)
	// Of IPv6 only what is given out is public, less what carries an IPv4 address (Teredo, 6to4) and examples.
	global6  = netip.MustParsePrefix("2000::/3")
	special6 = prefixes("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20")
	// nat64 is how a network of IPv6 alone reaches IPv4 (RFC 6052): it is what it carries.
	nat64 = netip.MustParsePrefix("64:ff9b::/96")
)

// plain is the IPv4 address that an IPv6 one stands for, or the address itself.
func plain(a netip.Addr) netip.Addr {
	a = a.Unmap()
	if nat64.Contains(a) {
		b := a.As16()
		return netip.AddrFrom4([4]byte(b[12:]))
	}
	return a
}

// public reports whether an address is out there, as opposed to within a house, a machine, or a provider.
func public(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = plain(a)
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if a.Is4() {
		return !slices.ContainsFunc(special4, in)
	}
	return global6.Contains(a) && !slices.ContainsFunc(special6, in)
}
