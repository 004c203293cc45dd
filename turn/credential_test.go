package turn

import (
	"encoding/json"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

func TestCredentialsOpenRelaysUntilTheyExpire(t *testing.T) {
	var ahead atomic.Int64
	s := start(t, func(o *Options) {
		o.TTL = time.Hour
		o.Now = func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	})
	cred := s.Mint("ada", "call1")
	if left := time.Until(cred.Expires); left > time.Hour || left < time.Hour-2*time.Second {
		t.Errorf("it is good for %s", left)
	}
	if want := strconv.FormatInt(cred.Expires.Unix(), 10) + ":ada:call1"; cred.Username != want {
		t.Errorf("the username is %s", cred.Username)
	}
	c := call(t, s, "udp", cred)
	c.allocate()
	if a := s.Allocations(); len(a) != 1 || a[0].User != "ada" || a[0].Call != "call1" || a[0].Relay != c.relay || a[0].Transport != "udp" {
		t.Errorf("%+v", a)
	}
	ahead.Store(int64(time.Hour + time.Second))
	c.denied(stun.MethodRefresh, lifetime(60))
	call(t, s, "udp", cred).denied(stun.MethodAllocate, relayUDP)
	call(t, s, "udp", s.Mint("ada", "call1")).allocate()
	if n := s.Stats().AuthFailures; n < 2 {
		t.Errorf("%d failures are counted", n)
	}
}

func TestForgedCredentialsOpenNothing(t *testing.T) {
	s := start(t)
	good := s.Mint("ada", "")
	later := strconv.FormatInt(good.Expires.Unix()+1000, 10)
	for what, cred := range map[string]Credential{
		"a longer life":       {Username: later + ":ada", Password: good.Password},
		"another person":      {Username: good.Username[:len(good.Username)-3] + "eve", Password: good.Password},
		"another call":        {Username: good.Username + ":call", Password: good.Password},
		"another secret":      {Username: good.Username, Password: password([]byte("not the server's secret"), good.Username)},
		"no password":         {Username: good.Username},
		"nobody":              {Username: later + ":", Password: password(secret, later+":")},
		"no expiry":           {Username: "ada", Password: password(secret, "ada")},
		"an expiry in words":  {Username: "soon:ada", Password: password(secret, "soon:ada")},
		"four parts":          {Username: later + ":a:b:c", Password: password(secret, later+":a:b:c")},
		"a mark nobody knows": {Username: later + ":ada:!all", Password: password(secret, later+":ada:!all")},
	} {
		call(t, s, "udp", cred).denied(stun.MethodAllocate, relayUDP)
		if s.Stats().Allocations != 0 {
			t.Fatalf("%s opens a relay", what)
		}
	}
	unmarked := s.MintEcho("ada") // the mark is signed too
	unmarked.Username = unmarked.Username[:len(unmarked.Username)-len(":"+echoMark)]
	call(t, s, "udp", unmarked).denied(stun.MethodAllocate, relayUDP)
	call(t, s, "udp", good).allocate()
	if n := s.Stats().AuthFailures; n < 11 {
		t.Errorf("%d failures are counted", n)
	}
}

func TestAnAllocationIsInTheHandsOfWhoMadeIt(t *testing.T) {
	s := start(t)
	c := call(t, s, "udp", s.Mint("ada", ""))
	c.allocate()
	eve := call(t, s, "udp", s.Mint("eve", ""))
	eve.conn = c.conn // as if she could forge the address
	eve.denied(stun.MethodRefresh, lifetime(0))
	eve.denied(stun.MethodCreatePermission, xorPeer(c.relay))
	if s.Stats().Allocations != 1 {
		t.Error("somebody else ended it")
	}
	c.granted(stun.MethodRefresh, lifetime(60))
}

func TestICEServersAreWhatBrowsersTake(t *testing.T) {
	c := Credential{Username: "u", Password: "p"}
	for _, x := range []struct {
		host  string
		doors Doors
		want  string
	}{
		{"chat.example.org", Doors{UDP: []int{3478}, TCP: []int{3478}, TLS: []int{443}}, `[{"urls":["stun:chat.example.org:3478"]},{"urls":["turn:chat.example.org:3478?transport=udp","turn:chat.example.org:3478?transport=tcp","turns:chat.example.org:443?transport=tcp"],"username":"u","credential":"p"}]`},
		{"2001:db8::1", Doors{UDP: []int{1}}, `[{"urls":["stun:[2001:db8::1]:1"]},{"urls":["turn:[2001:db8::1]:1?transport=udp"],"username":"u","credential":"p"}]`},
		{"h", Doors{}, `[]`},
	} {
		got, err := json.Marshal(ICEServers(x.host, x.doors, c))
		if err != nil || string(got) != x.want {
			t.Errorf("%s\nwant %s", got, x.want)
		}
	}
}
