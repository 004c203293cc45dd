package turn

import (
	"net/netip"
	"testing"
)

func testWorld() *world {
	p := netip.MustParseAddrPort
	return &world{
		own:     map[netip.Addr]bool{addr("8.8.4.4"): true, addr("10.1.1.1"): true, addr("2a00:1450::1"): true, addr("127.0.0.1"): true},
		shown:   [2]netip.Addr{addr("8.8.4.4"), addr("2a00:1450::1")},
		allowed: prefixes("192.168.7.0/24", "fd77::/16"),
		permits: map[netip.AddrPort]permit{p("8.8.4.4:7000"): {at: p("10.1.1.1:7000")}, p("8.8.4.4:7001"): {at: p("8.8.4.4:7001"), echo: true}},
	}
}

var addr = netip.MustParseAddr

func TestRelaysReachNothingOfTheList(t *testing.T) {
	w := testWorld()
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", // this network
		"127.0.0.1", "127.255.255.254", // loopback
		"10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.168.255.255", // private
		"169.254.0.1", "169.254.169.254", "168.63.129.16", // link-local, metadata
		"100.64.0.1", "100.127.255.255", "100.100.100.200", // shared, metadata
		"192.0.0.1", "192.0.0.192", "192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.88.99.1", // kept, examples
		"224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255", // multicast, reserved, broadcast
		"8.8.4.4", "2a00:1450::1", // the host itself
		"::", "::1", "fe80::1", "fe80::1%1", "fc00::1", "fd00::1", "fd00:ec2::254", "ff02::1", "ff0e::1", "fec0::1", // the same of IPv6
		"2001:db8::1", "3fff::1", "100::1", "5f00::1", "4000::1", "2001:2::1", "2001:10::1", "2001:20::1", // kept, examples
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:8.8.4.4", // mapped
		"::127.0.0.1", "::10.0.0.1", "::ffff:0:10.0.0.1", // compatible, translated
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b::8.8.4.4", "64:ff9b:1::8.8.8.8", // NAT64
		"2002:7f00:1::1", "2002:a00:1::1", "2002:a9fe:a9fe::1", "2002:808:404::1", // 6to4
		"2001::1", "2001:0:808:808::f5ff:fffe", // Teredo
		"2a00:1450:4001::5efe:10.0.0.1", "2a00:1450:4001::200:5efe:127.0.0.1", // ISATAP
	} {
		peer := netip.AddrPortFrom(addr(a).Unmap(), 9)
		if how, _ := w.judge(peer, false, Ports{49152, 65535}); how != refused {
			t.Errorf("packets for %s go out", a)
		}
		if peer.Addr() != w.shown[family(peer.Addr())] && w.admits(peer.Addr(), false) {
			t.Errorf("permissions for %s are given", a)
		}
	}
}

func TestRelaysReachThePublicAndWhatIsAllowed(t *testing.T) {
	w := testWorld()
	ports := Ports{50000, 50010}
	for _, c := range []struct {
		peer string
		echo bool
		how  way
		to   string
	}{
		{"8.8.8.8:9", false, outward, "8.8.8.8:9"},
		{"[2606:4700::1]:9", false, outward, "[2606:4700::1]:9"},
		{"[64:ff9b::8.8.8.8]:9", false, outward, "[64:ff9b::8.8.8.8]:9"},
		{"[2002:808:808::1]:9", false, outward, "[2002:808:808::1]:9"},
		{"8.8.8.8:0", false, refused, ""},
		{"192.168.7.1:9", false, outward, "192.168.7.1:9"}, // allowed
		{"192.168.8.1:9", false, refused, ""},
		{"[fd77::1]:9", false, outward, "[fd77::1]:9"},
		{"8.8.4.4:50000", false, inside, "8.8.4.4:50000"}, // own relays
		{"8.8.4.4:50010", false, inside, "8.8.4.4:50010"},
		{"8.8.4.4:50011", false, refused, ""},
		{"8.8.4.4:22", false, refused, ""},
		{"10.1.1.1:50000", false, refused, ""}, // not how relays are shown
		{"[2a00:1450::1]:50000", false, inside, "[2a00:1450::1]:50000"},
		{"8.8.4.4:7000", false, outward, "10.1.1.1:7000"}, // permitted, elsewhere
		{"10.1.1.1:7000", false, refused, ""},
		{"8.8.4.4:7001", false, outward, "8.8.4.4:7001"},
		{"8.8.4.4:7001", true, outward, "8.8.4.4:7001"}, // restricted: the echo peer alone
		{"8.8.4.4:7000", true, refused, ""},
		{"8.8.4.4:50000", true, refused, ""},
		{"8.8.8.8:9", true, refused, ""},
		{"192.168.7.1:9", true, refused, ""},
	} {
		how, to := w.judge(netip.MustParseAddrPort(c.peer), c.echo, ports)
		if how != c.how || how != refused && to != netip.MustParseAddrPort(c.to) {
			t.Errorf("%s (echo only: %t): %d to %s, want %d to %s", c.peer, c.echo, how, to, c.how, c.to)
		}
	}
	if w.admits(addr("8.8.8.8"), true) || !w.admits(addr("8.8.4.4"), true) || w.admits(addr("192.168.7.1"), true) {
		t.Error("permissions of restricted credentials are not those of the echo peer")
	}
}
