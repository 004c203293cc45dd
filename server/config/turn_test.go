package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestTheSettingsOfTURNKeepTheirVariables(t *testing.T) {
	c := load(t, Sources{Env: []string{
		"QUCKCHAT_TURN_LISTEN=127.0.0.1:4000", "QUCKCHAT_TURN_PUBLIC_IP=203.0.113.7,2001:db8::7", "QUCKCHAT_TURN_PORTS=50000-50010",
		"QUCKCHAT_TURN_ALLOW_PEERS=192.168.1.0/24,10.0.0.5",
	}}).Config
	least, most := c.TURNRange()
	if c.TURN.Listen != "127.0.0.1:4000" || c.TURNOff() || least != 50000 || most != 50010 {
		t.Errorf("%+v", c.TURN)
	}
	if got := c.TURNPublic(); !slices.Equal(got, []netip.Addr{netip.MustParseAddr("203.0.113.7"), netip.MustParseAddr("2001:db8::7")}) {
		t.Errorf("public addresses: %v", got)
	}
	if got := c.TURNAllowed(); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("192.168.1.0/24"), netip.MustParsePrefix("10.0.0.5/32")}) {
		t.Errorf("allowed peers: %v", got)
	}
	defaults := Default()
	if least, most := defaults.TURNRange(); defaults.TURN.Listen != ":3478" || least != 49152 || most != 65535 {
		t.Errorf("defaults: %+v", defaults.TURN)
	}
}

func TestTURNIsSwitchedOffByEveryLayer(t *testing.T) {
	for what, src := range map[string]Sources{
		"env":        {Env: []string{"QUCKCHAT_TURN_LISTEN=off"}},
		"flag":       {Flags: flags(t, "--turn-listen", "off")},
		"empty flag": {Flags: flags(t, "--turn-listen", "")},
		"file":       {File: file(t, "[turn]\nlisten = \"\"\n")},
	} {
		if !load(t, src).Config.TURNOff() {
			t.Errorf("%s: it is on", what)
		}
	}
}

func TestWhatIsWrongWithTURNIsSaid(t *testing.T) {
	for env, want := range map[string]string{
		"QUCKCHAT_TURN_LISTEN=3478":            "or off",
		"QUCKCHAT_TURN_PUBLIC_IP=example.org":  "an address, such as 203.0.113.7",
		"QUCKCHAT_TURN_PORTS=50000":            "the lower one first",
		"QUCKCHAT_TURN_PORTS=50010-50000":      "the lower one first",
		"QUCKCHAT_TURN_PORTS=0-10":             "the lower one first",
		"QUCKCHAT_TURN_PORTS=60000-70000":      "the lower one first",
		"QUCKCHAT_TURN_ALLOW_PEERS=10.0.0.1/8": "10.0.0.0/8",
	} {
		if _, err := Load(Sources{Env: []string{env}}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", env, err)
		}
	}
	if _, err := Load(Sources{File: file(t, "turn_listen = \":3478\"\n")}); err == nil || !strings.Contains(err.Error(), "turn.listen") {
		t.Errorf("the old key: %v", err)
	}
}
