package config

import (
	"net/netip"
	"strconv"
	"strings"
)

// off is how a listener is switched off by a layer in which an empty value counts as not set.
const off = "off"

// TURNOff reports whether there shall be no STUN and TURN server.
func (c *Config) TURNOff() bool { return c.TURN.Listen == "" || c.TURN.Listen == off }

// TURNRange is the ports for relaying, both ends included.
func (c *Config) TURNRange() (least, most uint16) {
	least, most, _ = portRange(c.TURN.Ports)
	return least, most
}

// TURNPublic is the public addresses of this host that are configured.
func (c *Config) TURNPublic() (list []netip.Addr) {
	for _, text := range c.TURN.PublicIP {
		if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, a)
		}
	}
	return list
}

// TURNAllowed is the private networks that relays may send to.
func (c *Config) TURNAllowed() (list []netip.Prefix) {
	for _, text := range c.TURN.AllowPeers {
		if a, err := netip.ParseAddr(text); err == nil {
			list = append(list, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(text); err == nil {
			list = append(list, p)
		}
	}
	return list
}

// portRange reads two ports with a dash between them.
func portRange(text string) (least, most uint16, ok bool) {
	from, to, found := strings.Cut(text, "-")
	low, err := strconv.ParseUint(from, 10, 16)
	high, err2 := strconv.ParseUint(to, 10, 16)
	return uint16(low), uint16(high), found && err == nil && err2 == nil && low > 0 && low <= high
}
