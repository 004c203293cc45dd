package config

import "net/netip"

// Trusts reports whether an address is that of a configured proxy, whose X-Forwarded headers are believed.
func (c *Config) Trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	addr = addr.Unmap()
	for _, text := range c.TrustedProxies {
		if p, err := netip.ParsePrefix(text); err == nil && p.Contains(addr) {
			return true
		}
		if a, err := netip.ParseAddr(text); err == nil && a.Unmap() == addr {
			return true
		}
	}
	return false
}
