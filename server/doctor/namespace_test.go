package doctor_test

import (
	"context"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/quckchat/quckchat/server/control"
	"github.com/quckchat/quckchat/server/doctor"
)

// examine looks from the server, as the command does.
func examine(t *testing.T, client *control.Client) *doctor.Diagnosis {
	t.Helper()
	d := &doctor.Diagnosis{}
	if err := client.Do(context.Background(), "POST", "/admin/doctor/calls", nil, d); err != nil {
		t.Fatal(err)
	}
	return d
}

// holds checks the cause, and the codes of some checks.
func holds(t *testing.T, d *doctor.Diagnosis, cause string, want map[string]string) {
	t.Helper()
	if d.Code != cause || d.OK != (cause == "") || (d.Advice == "") != (cause == "") {
		t.Errorf("the cause is %q: %s", d.Code, d.Advice)
	}
	for _, f := range d.Checks {
		if f.Sentence == "" || strings.ContainsAny(f.Sentence, "{}") || strings.Contains(f.Sentence, "invalid IP") {
			t.Errorf("%s says %q", f.Code, f.Sentence)
		}
	}
	got := codes(d)
	for name, code := range want {
		if code == "call_works" && got[name] == "call_slow" { // on a busy machine
			continue
		}
		if got[name] != code {
			t.Errorf("%s is %q, want %q; all: %v", name, got[name], code, got)
		}
	}
}

func TestTheServerNamesWhatStandsBeforeIt(t *testing.T) {
	outside := "QUCKCHAT_TURN_STUN_SERVER=20.0.2.53:3478"
	noHairpin, symmetric, silent := everything, everything, everything
	noHairpin.inside = false
	symmetric.snat = ":1024-60000 fully-random"
	silent.drop = "ip daddr 20.0.2.0/24 drop"
	for name, c := range map[string]struct {
		wiring   wiring
		own      string // rules of the server's host
		names    string // that its host knows
		six      string // address of its host
		settings []string
		cause    string
		want     map[string]string
	}{
		"all is well": {wiring: everything, settings: []string{outside}, want: map[string]string{
			"address": "address_configured", "name": "name_right", "nat": "nat_same", "hairpin": "hairpin_works", "ipv6": "ipv6_none", "certificate": "certificate_none",
			"relay-udp": "relay_works", "relay-tcp": "relay_works",
		}},
		"the address is learned": {wiring: everything, settings: []string{outside, "QUCKCHAT_TURN_PUBLIC_IP="}, want: map[string]string{
			"address": "address_learned", "hairpin": "hairpin_works",
		}},
		"IPv6": {wiring: everything, six: "2a00:1::10/64", want: map[string]string{"ipv6": "ipv6_works", "nat": "nat_unasked"}},
		"the router does not lead back inside": {wiring: noHairpin, settings: []string{outside}, cause: "hairpin_missing", want: map[string]string{
			"address": "address_configured", "hairpin": "hairpin_missing", "relay-udp": "relay_works",
		}},
		"symmetric NAT": {wiring: symmetric, settings: []string{outside}, want: map[string]string{"nat": "nat_symmetric"}},
		"nobody answers outside": {wiring: silent, settings: []string{outside}, cause: "outside_silent", want: map[string]string{
			"nat": "outside_silent", "address": "address_configured",
		}},
		"a wrong public address": {wiring: everything, settings: []string{outside, "QUCKCHAT_TURN_PUBLIC_IP=20.0.0.99"}, cause: "address_wrong", want: map[string]string{
			"address": "address_wrong", "hairpin": "hairpin_missing",
		}},
		"no public address": {wiring: everything, settings: []string{"QUCKCHAT_TURN_PUBLIC_IP="}, cause: "address_private", want: map[string]string{
			"address": "address_private", "hairpin": "hairpin_unknown",
		}},
		"the name leads elsewhere": {wiring: everything, names: "20.0.9.9 " + hostName, cause: "name_elsewhere", want: map[string]string{"name": "name_elsewhere"}},
		"the host drops TCP": {wiring: everything, own: `iifname "lo" tcp dport 3478 drop`, cause: "door_closed", want: map[string]string{
			"relay-tcp": "door_closed", "relay-udp": "relay_works",
		}},
		"the host drops what relays send": {wiring: everything, own: `iifname "lo" udp dport 65000-65535 drop`, cause: "relay_carries_none", want: map[string]string{
			"relay-udp": "relay_carries_none", "relay-tcp": "relay_carries_none",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t)
			n.child("outside", "outside")
			n.wire(c.wiring)
			own := ""
			if c.own != "" {
				own = "table ip filter {\nchain input {\ntype filter hook input priority filter\n" + c.own + "\n}\n}\n"
			}
			n.rules("server", own)
			names := publicIP + " " + hostName
			if c.names != "" {
				names = c.names
			}
			n.hosts("server", names)
			if c.six != "" {
				n.in("server", "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=0", "net.ipv6.conf.eth0.accept_dad=0")
				n.in("server", "ip", "address", "add", c.six, "dev", "eth0", "nodad")
			}
			holds(t, examine(t, n.serve(c.settings...)), c.cause, c.want)
		})
	}
}

func TestABrowserNamesWhatStandsBetweenItAndTheServer(t *testing.T) {
	noUDP, noTCP, nothing, noRange, lossy, noHairpin := everything, everything, everything, everything, everything, everything
	noUDP.drop = "udp dport 3478 drop"
	noTCP.drop = "tcp dport 3478 drop"
	nothing.tcp, nothing.udp = "3000", ""
	noRange.udp = "3478"
	lossy.drop = "udp dport 3478 numgen random mod 100 < 15 drop"
	noHairpin.inside = false
	for name, c := range map[string]struct {
		wiring   wiring
		from     string // namespace; "" is the client's
		page     string // address; "" is the public one
		settings []string
		cause    string
		want     map[string]string
	}{
		"all is well": {wiring: everything, want: map[string]string{"call-udp": "call_works", "call-tcp": "call_works", "ports": "ports_open"}},
		"UDP to TURN is blocked": {wiring: noUDP, cause: "udp_blocked", want: map[string]string{
			"call-udp": "udp_blocked", "call-tcp": "call_works", "address": "",
		}},
		"TCP to TURN is blocked": {wiring: noTCP, cause: "tcp_blocked", want: map[string]string{
			"call-udp": "call_works", "call-tcp": "tcp_blocked", "ports": "ports_open", "address": "",
		}},
		"nothing is forwarded": {wiring: nothing, cause: "turn_unreached", want: map[string]string{"doors": "turn_unreached"}},
		"a wrong public address": {wiring: everything, settings: []string{"QUCKCHAT_TURN_PUBLIC_IP=20.0.0.99"}, cause: "address_unreached", want: map[string]string{
			"address": "address_unreached", "call-udp": "call_works",
		}},
		"the relay range is closed": {wiring: noRange, cause: "ports_closed", want: map[string]string{
			"ports": "ports_closed", "call-udp": "call_works", "call-tcp": "call_works", "address": "",
		}},
		"packets are lost": {wiring: lossy, cause: "call_lossy", want: map[string]string{"call-udp": "call_lossy", "call-tcp": "call_works"}},
		"at home, and the router does not lead back inside": {
			wiring: noHairpin, from: "server", page: "http://192.168.7.10:3000", settings: []string{"QUCKCHAT_PUBLIC_URL="}, cause: "hairpin_missing",
			want: map[string]string{"address": "hairpin_missing", "call-udp": "call_works", "ports": "ports_open"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // most of it is waiting for what does not answer
			n := newNetwork(t)
			n.wire(c.wiring)
			admin := n.serve(c.settings...)
			if c.from == "" {
				c.from = "client"
			}
			if c.page == "" {
				c.page = "http://" + hostName + ":3000"
			}
			got := look(t, admin, window{namespace: n.prefix + c.from, page: c.page, picture: c.cause})
			holds(t, got, c.cause, c.want)
		})
	}
}

// window is a browser, and what it opens.
type window struct {
	namespace string // "" is this machine's
	page      string // address of the server
	picture   string
	trusting  bool // it takes every certificate, for TURN too
	before    chromedp.Action[chromedp.Void]
}

// look opens the page by a link.
func look(t *testing.T, admin *control.Client, w window) *doctor.Diagnosis {
	t.Helper()
	var link doctor.DoctorLink
	if err := admin.Do(context.Background(), "POST", "/admin/doctor/link", nil, &link); err != nil {
		t.Fatal(err)
	}
	ctx := browse(t, w.namespace, chromedp.Flag("ignore-certificate-errors", w.trusting))
	steps := []chromedp.Action[chromedp.Void]{chromedp.Navigate(w.page + link.Path)}
	if w.before != nil {
		steps = append([]chromedp.Action[chromedp.Void]{w.before}, steps...)
	}
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatal(err)
	}
	got := findings(t, ctx)
	if err := chromedp.Do(ctx, chromedp.Click(`#copy`)); err != nil {
		t.Fatal(err)
	}
	copied := `document.querySelector('#copy').textContent === 'Copied'` // by the old way over plain HTTP
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool](copied, chromedp.WithPollingTimeout(patience))); err != nil {
		t.Errorf("the button copies nothing: %v", err)
	}
	picture(t, ctx, "at-"+w.picture)
	return &got.Browser
}
