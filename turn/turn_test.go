package turn

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

// certificate is one for any name, made for a test.
func certificate(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pair := &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return pair, nil }}
}

func withTLS(t testing.TB) func(o *Options) {
	return func(o *Options) { o.TLS = certificate(t) }
}

// outsideAllowed lets relays reach 127.0.0.2, where the tests have peers that are no relays.
func outsideAllowed(o *Options) { o.Allow = prefixes("127.0.0.2/32") }

var transports = []string{"udp", "tcp", "tls"}

func TestSTUNTellsTheAddressOfTheClient(t *testing.T) {
	s := start(t, withTLS(t))
	for _, network := range transports {
		c := call(t, s, network, Credential{})
		seen := c.bindingRequest()
		if own, _ := addrPort(c.conn.LocalAddr()); seen != own {
			t.Errorf("%s: it is %s, not %s", network, own, seen)
		}
	}
	if a, err := Mapped(t.Context(), s.Addr().String()); err != nil || a != addr("127.0.0.1") {
		t.Errorf("asked as an outside server it says %s, %v", a, err)
	}
}

func TestALearnedAddressIsToldToClients(t *testing.T) {
	outside, s := start(t), start(t)
	if a, err := s.LearnPublic(t.Context(), outside.Addr().String()); err != nil || a != addr("127.0.0.1") {
		t.Fatalf("%s, %v", a, err)
	}
	s.places.learn(addr("198.51.100.7")) // what a server behind a router is told
	if four, _ := s.Public(); four != addr("198.51.100.7") {
		t.Errorf("the public address is %s", four)
	}
	c, d := call(t, s, "udp", s.Mint("ada", "")), call(t, s, "udp", s.Mint("bob", ""))
	if a := c.allocate(); a.Addr() != addr("198.51.100.7") {
		t.Errorf("the relay is at %s", a)
	}
	d.allocate()
	d.permit(c.relay)
	c.bind(0x4000, d.relay)
	c.say(0x4000, "no router leads it back") // inside all the same
	if h := d.hear(); h != (heard{peer: c.relay, text: "no router leads it back"}) {
		t.Errorf("heard %+v", h)
	}
	closed, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	if _, err := s.LearnPublic(t.Context(), closed.LocalAddr().String()); err == nil {
		t.Error("an address is learned from nobody")
	}
}

func TestTwoRelaysSpeakWhateverTheTransports(t *testing.T) {
	s := start(t, withTLS(t))
	for _, one := range transports {
		for _, other := range transports {
			t.Run(one+" and "+other, func(t *testing.T) {
				a, b := call(t, s, one, s.Mint("ada", "")), call(t, s, other, s.Mint("bob", ""))
				a.allocate()
				b.allocate()
				a.permit(b.relay)
				a.send(b.relay, "nobody wants it")
				a.bindingRequest() // it has been looked at
				b.silent()
				b.permit(a.relay)
				a.send(b.relay, "in an indication")
				if h := b.hear(); h != (heard{peer: a.relay, text: "in an indication"}) {
					t.Errorf("heard %+v", h)
				}
				a.bind(0x4001, b.relay)
				a.say(0x4001, "through a channel")
				if h := b.hear(); h != (heard{peer: a.relay, text: "through a channel"}) {
					t.Errorf("heard %+v", h)
				}
				b.bind(0x7FFE, a.relay)
				for _, text := range []string{"", "1", "22", "333", "4444", strings.Repeat("5", 1400)} {
					a.say(0x4001, text)
					if h := b.hear(); h != (heard{channel: 0x7FFE, text: text}) {
						t.Errorf("heard %+v", h)
					}
					b.say(0x7FFE, text)
					if h := a.hear(); h != (heard{channel: 0x4001, text: text}) {
						t.Errorf("heard %+v", h)
					}
				}
			})
		}
	}
}

func TestARelayAndAPeerOutsideSpeak(t *testing.T) {
	s := start(t, withTLS(t), outsideAllowed)
	for _, network := range transports {
		t.Run(network, func(t *testing.T) {
			o := outside(t, "udp4", "127.0.0.2:0")
			c := call(t, s, network, s.Mint("ada", ""))
			c.allocate()
			before := s.Stats().Unasked
			o.send(c.relay, "unasked")
			until(t, "a packet without a permission is dropped", func() bool { return s.Stats().Unasked == before+1 })
			c.permit(o.addr())
			c.send(o.addr(), "hello")
			text, from := o.hear()
			if text != "hello" || from != c.relay {
				t.Fatalf("%q from %s", text, from)
			}
			o.send(c.relay, "welcome")
			if h := c.hear(); h != (heard{peer: o.addr(), text: "welcome"}) {
				t.Errorf("heard %+v", h)
			}
			c.bind(0x4000, o.addr())
			c.say(0x4000, "shorter")
			if text, _ := o.hear(); text != "shorter" {
				t.Errorf("%q", text)
			}
			for i := range 3 * batchSize { // more than one batch
				o.send(c.relay, fmt.Sprint(i))
			}
			for i := range 3 * batchSize {
				if h := c.hear(); h != (heard{channel: 0x4000, text: fmt.Sprint(i)}) {
					t.Fatalf("heard %+v as number %d", h, i)
				}
			}
		})
	}
}

func TestIPv6RelaysAreGivenToWhoAsks(t *testing.T) {
	s := start(t, func(o *Options) { o.Listen = "[::1]:0"; o.Allow = prefixes("::1/128") })
	o := outside(t, "udp6", "[::1]:0")
	c := call(t, s, "tcp", s.Mint("ada", ""))
	c.allocate(attribute(stun.AttrRequestedAddressFamily, 2, 0, 0, 0))
	if !c.relay.Addr().Is6() {
		t.Fatalf("the relay is %s", c.relay)
	}
	c.permit(o.addr())
	c.send(o.addr(), "hello")
	if text, from := o.hear(); text != "hello" || from != c.relay {
		t.Fatalf("%q from %s", text, from)
	}
	o.send(c.relay, "welcome")
	if h := c.hear(); h != (heard{peer: o.addr(), text: "welcome"}) {
		t.Errorf("heard %+v", h)
	}
	c.bind(0x4000, o.addr())
	o.send(c.relay, "shorter")
	if h := c.hear(); h != (heard{channel: 0x4000, text: "shorter"}) {
		t.Errorf("heard %+v", h)
	}
}

func TestAnAnswerComesFromTheAddressThatWasAsked(t *testing.T) {
	for _, listen := range []string{":0", "0.0.0.0:0"} {
		s := start(t, func(o *Options) { o.Listen = listen; o.Public = []netip.Addr{addr("127.0.0.1")} })
		for _, own := range []string{"127.0.0.1", "127.0.0.3"} {
			c := call(t, s, "udp", s.Mint("ada", ""))
			c.to = net.UDPAddrFromAddrPort(netip.AddrPortFrom(addr(own), s.Addr().Port()))
			m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
			c.write(m.Raw)
			buf := make([]byte, 1500)
			_ = c.conn.SetReadDeadline(time.Now().Add(patience))
			_, from, err := c.conn.ReadFrom(buf)
			if err != nil || from.String() != c.to.String() {
				t.Errorf("asked %s, answered by %v, %v", c.to, from, err)
			}
			c.allocate()
			b := call(t, s, "udp", s.Mint("bob", ""))
			b.allocate()
			b.permit(c.relay)
			c.bind(0x4000, b.relay)
			b.send(c.relay, "relayed")
			_ = c.conn.SetReadDeadline(time.Now().Add(patience))
			if _, from, err = c.conn.ReadFrom(buf); err != nil || from.String() != c.to.String() {
				t.Errorf("asked %s, relayed by %v, %v", c.to, from, err)
			}
		}
	}
}

func TestForbiddenPeersAreRefusedEverywhere(t *testing.T) {
	s := start(t)
	private := outside(t, "udp4", "127.0.0.2:0")
	own := outside(t, "udp4", "127.0.0.1:0") // a service of the host, at the address that relays are shown under
	c, other := call(t, s, "udp", s.Mint("ada", "")), call(t, s, "udp", s.Mint("bob", ""))
	c.allocate()
	other.allocate()
	peers := []netip.AddrPort{private.addr()}
	for _, a := range []string{"10.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "255.255.255.255", "0.0.0.0", "127.0.0.3", "203.0.113.9"} {
		peers = append(peers, netip.AddrPortFrom(addr(a), 53))
	}
	for i, peer := range peers {
		c.denied(stun.MethodCreatePermission, xorPeer(peer))
		c.denied(stun.MethodChannelBind, channelNumber(0x4100+uint16(i)), xorPeer(peer))
		c.send(peer, "smuggled")
		c.say(0x4100+uint16(i), "smuggled")
	}
	// The address of the relays may be permitted, the port counts.
	c.permit(other.relay)
	c.denied(stun.MethodChannelBind, channelNumber(0x4200), xorPeer(own.addr()))
	c.send(own.addr(), "smuggled")
	c.bindingRequest() // it has been looked at
	before := s.Stats().Refused
	own.send(c.relay, "from inside")
	until(t, "a packet of the host itself is refused", func() bool { return s.Stats().Refused == before+1 })
	c.silent()
	for _, o := range []*outsider{private, own} {
		o.send(o.addr(), "last") // to itself: whatever was smuggled came before
		if text, _ := o.hear(); text != "last" {
			t.Errorf("%s heard %q", o.addr(), text)
		}
	}
	if st := s.Stats(); st.Refused < uint64(2*len(peers)+2) {
		t.Errorf("%d refusals are counted", st.Refused)
	}
	s.Permit(own.addr(), netip.AddrPort{})
	c.bind(0x4200, own.addr())
	c.say(0x4200, "permitted")
	if text, from := own.hear(); text != "permitted" || from != c.relay {
		t.Errorf("%q from %s", text, from)
	}
	own.send(c.relay, "answer")
	if h := c.hear(); h.text != "answer" {
		t.Errorf("heard %+v", h)
	}
	s.Forbid(own.addr())
	c.say(0x4200, "no longer")
	own.send(own.addr(), "last")
	if text, _ := own.hear(); text != "last" {
		t.Errorf("heard %q", text)
	}
}

func TestAMappedPeerIsThePeerThatItStandsFor(t *testing.T) {
	s := start(t, func(o *Options) { o.Listen = "[::1]:0" })
	c := call(t, s, "tcp", s.Mint("ada", ""))
	c.allocate(attribute(stun.AttrRequestedAddressFamily, 2, 0, 0, 0))
	mapped := setter(func(m *stun.Message) error { // by hand: the library writes mapped addresses as IPv4
		v := append([]byte{0, 2, 0x12 ^ 0x21, 0x34 ^ 0x12}, net.ParseIP("::ffff:10.0.0.1").To16()...)
		for i := range 4 {
			v[4+i] ^= byte(uint32(cookie) >> (24 - 8*i))
		}
		for i := range 12 {
			v[8+i] ^= m.TransactionID[i]
		}
		m.Add(stun.AttrXORPeerAddress, v)
		return nil
	})
	c.denied(stun.MethodCreatePermission, mapped)
	c.denied(stun.MethodChannelBind, channelNumber(0x4000), mapped)
	for _, a := range []string{"64:ff9b::a00:1", "2002:a00:1::1", "2001:0:808:808::1", "fe80::1", "fd00::1", "ff02::1", "::", "2001:db8::1"} {
		c.denied(stun.MethodCreatePermission, xorPeer(netip.AddrPortFrom(addr(a), 53)))
		c.denied(stun.MethodChannelBind, channelNumber(0x4001), xorPeer(netip.AddrPortFrom(addr(a), 53)))
	}
}

func TestAPermittedPortMayBeShownElsewhere(t *testing.T) {
	shown := netip.MustParseAddrPort("127.0.0.9:7000")
	s := start(t, func(o *Options) { o.Public = []netip.Addr{addr("127.0.0.9")} })
	sfu := outside(t, "udp4", "127.0.0.1:0")
	s.Permit(shown, sfu.addr())
	c := call(t, s, "udp", s.Mint("ada", ""))
	c.allocate()
	c.bind(0x4000, shown)
	c.say(0x4000, "hello")
	text, from := sfu.hear()
	if text != "hello" {
		t.Fatalf("%q", text)
	}
	sfu.send(from, "welcome")
	if h := c.hear(); h != (heard{channel: 0x4000, text: "welcome"}) {
		t.Errorf("heard %+v", h)
	}
}

func TestRestrictedCredentialsReachTheEchoPeerAlone(t *testing.T) {
	s := start(t, outsideAllowed)
	echo, sfu, public := outside(t, "udp4", "127.0.0.1:0"), outside(t, "udp4", "127.0.0.1:0"), outside(t, "udp4", "127.0.0.2:0")
	s.PermitEcho(echo.addr(), netip.AddrPort{})
	s.Permit(sfu.addr(), netip.AddrPort{})
	c, friend := call(t, s, "udp", s.MintEcho("doctor")), call(t, s, "udp", s.Mint("ada", ""))
	c.allocate()
	friend.allocate()
	c.bind(0x4000, echo.addr())
	c.say(0x4000, "echo")
	if text, _ := echo.hear(); text != "echo" {
		t.Errorf("%q", text)
	}
	c.denied(stun.MethodChannelBind, channelNumber(0x4001), xorPeer(sfu.addr()))
	c.denied(stun.MethodChannelBind, channelNumber(0x4002), xorPeer(friend.relay))
	c.denied(stun.MethodCreatePermission, xorPeer(public.addr()))
	c.send(sfu.addr(), "smuggled") // its address has a permission, by the channel to the echo peer
	c.send(friend.relay, "smuggled")
	friend.permit(c.relay)
	friend.send(c.relay, "smuggled")
	friend.bindingRequest()
	c.silent()
	friend.silent()
	sfu.send(sfu.addr(), "last")
	if text, _ := sfu.hear(); text != "last" {
		t.Errorf("the SFU heard %q", text)
	}
	if a := s.Allocations(); len(a) != 2 || !a[0].Echo || a[0].User != "doctor" || a[1].Echo {
		t.Errorf("the allocations are %+v", a)
	}
}

func TestQuotasAreGivenBack(t *testing.T) {
	s := start(t, func(o *Options) { o.Quota = 2 })
	one, two := call(t, s, "udp", s.Mint("ada", "x")), call(t, s, "tcp", s.Mint("ada", "y"))
	one.allocate()
	two.allocate()
	three := call(t, s, "udp", s.Mint("ada", ""))
	if code := three.denied(stun.MethodAllocate, relayUDP); code != 486 {
		t.Errorf("the code is %d", code)
	}
	call(t, s, "udp", s.Mint("bob", "")).allocate()
	one.granted(stun.MethodRefresh, lifetime(0))
	three.allocate()
	two.conn.Close()
	until(t, "the relay of a closed connection ends", func() bool { return s.Stats().Allocations == 2 })
	call(t, s, "udp", s.Mint("ada", "")).allocate()
	if st := s.Stats(); st.QuotaRefusals != 1 || st.Created != 5 {
		t.Errorf("%+v", st)
	}
}

func TestPermissionsAndChannelsAreBounded(t *testing.T) {
	s := start(t)
	c := call(t, s, "udp", s.Mint("ada", ""))
	c.allocate()
	peer := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{8, 8, byte(i >> 8), byte(i)}), 9)
	}
	for i := range bindingsMax {
		c.permit(peer(i))
	}
	c.denied(stun.MethodCreatePermission, xorPeer(peer(bindingsMax)))
	c.permit(peer(0))
	for i := range bindingsMax {
		c.bind(0x4000+uint16(i), netip.AddrPortFrom(peer(0).Addr(), uint16(1+i)))
	}
	c.denied(stun.MethodChannelBind, channelNumber(0x4FFF), xorPeer(netip.AddrPortFrom(peer(0).Addr(), 999)))
	c.bind(0x4000, netip.AddrPortFrom(peer(0).Addr(), 1))
}

func TestWhatIsAboveTheBandwidthIsDroppedAndCounted(t *testing.T) {
	s := start(t, func(o *Options) { o.Bandwidth = 4000 })
	a, b := call(t, s, "udp", s.Mint("ada", "")), call(t, s, "udp", s.Mint("bob", ""))
	a.allocate()
	b.allocate()
	b.permit(a.relay)
	a.bind(0x4000, b.relay)
	for range 50 {
		a.say(0x4000, strings.Repeat("x", 1000))
	}
	a.bindingRequest() // all of them have been looked at
	st := s.Allocations()[0]
	if st.Sent.Packets+st.Capped != 50 || st.Capped < 30 || st.Sent.Bytes != st.Sent.Packets*1000 {
		t.Errorf("%+v", st)
	}
	if heard := b.hear(); len(heard.text) != 1000 {
		t.Errorf("heard %d bytes", len(heard.text))
	}
}

func TestARangeOfPortsIsUsedUpAndGivenBack(t *testing.T) {
	s := start(t, func(o *Options) { o.Ports = Ports{61500, 61502} })
	var callers []*caller
	for range 3 {
		c := call(t, s, "udp", s.Mint("ada", ""))
		if m := c.ask(stun.MethodAllocate, relayUDP); m.Type.Class != stun.ClassSuccessResponse {
			t.Skip("somebody else has a port of the range")
		}
		callers = append(callers, c)
	}
	for _, a := range s.Allocations() {
		if !s.opts.Ports.contain(a.Relay.Port()) {
			t.Errorf("%s is outside of the range", a.Relay)
		}
	}
	fourth := call(t, s, "udp", s.Mint("bob", ""))
	if code := fourth.denied(stun.MethodAllocate, relayUDP); code != 508 {
		t.Errorf("the code is %d", code)
	}
	callers[1].granted(stun.MethodRefresh, lifetime(0))
	fourth.allocate()
}

func TestATakenPortIsAnError(t *testing.T) {
	s := start(t)
	if again, err := New(Options{Listen: s.Addr().String(), Secret: secret}); err == nil {
		again.Close()
		t.Fatal("two servers have the same port")
	}
	udp := outside(t, "udp4", "127.0.0.1:0")
	if again, err := New(Options{Listen: udp.addr().String(), Secret: secret}); err == nil {
		again.Close()
		t.Fatal("a server has a UDP port that is taken")
	}
}

func TestRubbishHarmsNobody(t *testing.T) {
	s := start(t, withTLS(t))
	c := call(t, s, "udp", s.Mint("ada", ""))
	c.allocate()
	b := make([]byte, 1999)
	for n := range len(b) {
		_, _ = rand.Read(b[:n])
		if n > 20 {
			b[0] &= byte(n) & 0x43 // STUN, channels, neither
			copy(b[4:], []byte{0x21, 0x12, 0xA4, 0x42})
		}
		c.write(b[:n])
	}
	c.bindingRequest()
	for _, text := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\x00\x01\xff\xff\x21\x12\xa4\x42", "\x40\x00\xff\xff" + strings.Repeat("x", 20000), "\x00\x01\x00\x00aaaabbbbccccdddd"} {
		conn, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(text))
		_ = conn.SetReadDeadline(time.Now().Add(patience))
		buf := make([]byte, 100)
		for err == nil {
			_, err = conn.Read(buf)
		}
		if ne, ok := err.(net.Error); ok && ne.Timeout() && text[0] != 0 {
			t.Errorf("the server listens on to %q", text[:4])
		}
		conn.Close()
	}
	until(t, "broken connections are gone", func() bool { return s.Stats().Connections == 0 })
}

func TestConnectionsAreBounded(t *testing.T) {
	s := start(t, func(o *Options) { o.PerHost = 2 })
	one, two := call(t, s, "tcp", Credential{}), call(t, s, "tcp", Credential{})
	one.bindingRequest()
	two.bindingRequest()
	three, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer three.Close()
	_ = three.SetReadDeadline(time.Now().Add(patience))
	if _, err := three.Read(make([]byte, 1)); err == nil {
		t.Error("it speaks")
	} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
		t.Error("a third connection stays open")
	}
	one.conn.Close()
	until(t, "a closed connection makes room", func() bool { return s.Stats().Connections == 1 })
	call(t, s, "tcp", Credential{}).bindingRequest()
	if n := s.Stats().TurnedAway; n != 1 {
		t.Errorf("%d were turned away", n)
	}
}

func TestASlowClientKeepsNobodyElse(t *testing.T) {
	s := start(t)
	slow, fast, third := call(t, s, "tcp", s.Mint("ada", "")), call(t, s, "udp", s.Mint("bob", "")), call(t, s, "udp", s.Mint("eve", ""))
	for _, c := range []*caller{slow, fast, third} {
		c.allocate()
	}
	slow.bind(0x4000, fast.relay)
	fast.bind(0x4000, slow.relay)
	fast.bind(0x4001, third.relay)
	third.permit(fast.relay)
	text := strings.Repeat("x", 1400)
	for s.Stats().Overflow == 0 { // until what the kernel and the queue hold is full
		for range 20 {
			fast.say(0x4000, text)
		}
		fast.bindingRequest()
	}
	fast.say(0x4001, "through")
	if h := third.hear(); h.text != "through" {
		t.Errorf("heard %+v", h)
	}
}

func TestAThousandAllocationsAreCheapAndLeaveNothing(t *testing.T) {
	const many = 1000
	s := start(t, func(o *Options) { o.Quota = many })
	var callers []*caller
	for range many {
		callers = append(callers, call(t, s, "udp", s.Mint("ada", "")))
	}
	callers[0].allocate()
	callers[0].granted(stun.MethodRefresh, lifetime(0)) // what is made once is made
	goroutines, before := runtime.NumGoroutine(), footprint()
	for i, c := range callers {
		c.allocate(lifetime(byte(60 + i%2)))
		c.permit(c.relay)
	}
	cost := footprint() - before
	t.Logf("%d allocations cost %.1f MiB, %d goroutines", many, float64(cost)/(1<<20), runtime.NumGoroutine()-goroutines)
	if cost > 40<<20 {
		t.Errorf("%d allocations cost %d bytes", many, cost)
	}
	for i, c := range callers { // half are deleted, half expire
		if i%2 == 0 {
			c.granted(stun.MethodRefresh, lifetime(0))
		} else {
			c.granted(stun.MethodRefresh, lifetime(1))
		}
	}
	until(t, "all have ended", func() bool { return s.Stats().Allocations == 0 })
	until(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= goroutines })
	for f := range s.relays {
		for i := range s.relays[f] {
			if s.relays[f][i].Load() != nil {
				t.Fatalf("port %d is still taken", int(s.opts.Ports.Min)+i)
			}
		}
	}
	for _, c := range callers[:50] {
		conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(c.relay))
		if err != nil {
			t.Fatalf("the port of a relay is not free: %v", err)
		}
		conn.Close()
	}
	if n := len(s.quota.now) + len(s.quota.asked) + len(s.front.clients); n != 0 {
		t.Errorf("%d entries are left", n)
	}
}

// footprint is the memory of live objects and stacks.
func footprint() int64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func TestCloseGivesEverythingBack(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 3 {
		s, err := New(Options{Listen: "127.0.0.1:0", Secret: secret, TLS: certificate(t)})
		if err != nil {
			t.Fatal(err)
		}
		var relays []netip.AddrPort
		for _, network := range transports {
			c := call(t, s, network, s.Mint("ada", ""))
			relays = append(relays, c.allocate())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		for _, a := range append(relays, s.Addr()) {
			conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(a))
			if err != nil {
				t.Errorf("%s is not free: %v", a, err)
				continue
			}
			conn.Close()
		}
		if st := s.Stats(); st.Allocations != 0 || st.Connections != 0 {
			t.Errorf("%+v", st)
		}
	}
	until(t, "the goroutines are gone", func() bool { return runtime.NumGoroutine() <= before })
}
