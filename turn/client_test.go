package turn

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/stun/v3"
)

const patience = 10 * time.Second

var secret = []byte("a secret of some length")

// start runs a server on loopback.
func start(t testing.TB, change ...func(o *Options)) *Server {
	t.Helper()
	o := Options{Listen: "127.0.0.1:0", Secret: secret, Ports: Ports{61000, 65535}} // above those that the system gives to others
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// caller is a client that can say whatever a test wants.
type caller struct {
	t     testing.TB
	conn  net.PacketConn
	to    net.Addr
	cred  Credential
	realm stun.Realm
	nonce stun.Nonce
	key   stun.MessageIntegrity
	relay netip.AddrPort
	kept  [][]byte // arrived while an answer was awaited
}

// call connects by udp, tcp or tls.
func call(t testing.TB, s *Server, network string, cred Credential) *caller {
	t.Helper()
	at := s.Addr()
	if at.Addr().IsUnspecified() {
		at = netip.AddrPortFrom(addr("127.0.0.1"), at.Port())
	}
	c := &caller{t: t, cred: cred, to: net.UDPAddrFromAddrPort(at)}
	if network == "udp" {
		conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		c.conn = conn
	} else {
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		if network == "tls" {
			conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		}
		c.conn = framed{conn}
	}
	t.Cleanup(func() { c.conn.Close() })
	return c
}

// framed takes the frames of a connection apart, for a client.
type framed struct{ net.Conn }

func (f framed) WriteTo(p []byte, _ net.Addr) (int, error) { return f.Write(p) }

func (f framed) ReadFrom(p []byte) (int, net.Addr, error) {
	if _, err := io.ReadFull(f, p[:channelHeader]); err != nil {
		return 0, nil, err
	}
	_, n := channelOf(p)
	if isChannel(p[:channelHeader]) {
		n = channelHeader + (n+3)&^3
	} else {
		n += stunHeader
	}
	_, err := io.ReadFull(f, p[channelHeader:n])
	return n, nil, err
}

// setter is an attribute made by a function.
type setter func(m *stun.Message) error

func (s setter) AddTo(m *stun.Message) error { return s(m) }

func xorPeer(a netip.AddrPort) stun.Setter {
	return setter(func(m *stun.Message) error {
		return stun.XORMappedAddress{IP: a.Addr().AsSlice(), Port: int(a.Port())}.AddToAs(m, stun.AttrXORPeerAddress)
	})
}

func attribute(kind stun.AttrType, value ...byte) stun.Setter {
	return stun.RawAttribute{Type: kind, Value: value}
}

func lifetime(seconds byte) stun.Setter { return attribute(stun.AttrLifetime, 0, 0, 0, seconds) }

var relayUDP = attribute(stun.AttrRequestedTransport, 17, 0, 0, 0)

// ask sends a request and returns the answer, signing it as the server wants.
func (c *caller) ask(method stun.Method, attrs ...stun.Setter) *stun.Message {
	c.t.Helper()
	for range 3 {
		all := []stun.Setter{stun.TransactionID, stun.NewType(method, stun.ClassRequest)}
		all = append(all, attrs...)
		if c.key != nil {
			all = append(all, stun.NewUsername(c.cred.Username), c.realm, c.nonce, c.key)
		}
		m := stun.MustBuild(all...)
		c.write(m.Raw)
		answer := c.answer(m.TransactionID)
		var code stun.ErrorCodeAttribute
		if code.GetFrom(answer) == nil && (code.Code == stun.CodeUnauthorized && c.key == nil || code.Code == stun.CodeStaleNonce) {
			if err := errors.Join(c.realm.GetFrom(answer), c.nonce.GetFrom(answer)); err != nil {
				c.t.Fatal(err)
			}
			c.key = stun.NewLongTermIntegrity(c.cred.Username, c.realm.String(), c.cred.Password)
			continue
		}
		return answer
	}
	c.t.Fatal("the server wants another nonce each time")
	return nil
}

// granted asks, and wants success.
func (c *caller) granted(method stun.Method, attrs ...stun.Setter) *stun.Message {
	c.t.Helper()
	m := c.ask(method, attrs...)
	if m.Type.Class != stun.ClassSuccessResponse {
		var code stun.ErrorCodeAttribute
		_ = code.GetFrom(m)
		c.t.Fatalf("%v: %v %v", method, m.Type, code)
	}
	return m
}

// denied asks, wants an error, and returns its code; 0 when the server gave none.
func (c *caller) denied(method stun.Method, attrs ...stun.Setter) int {
	c.t.Helper()
	m := c.ask(method, attrs...)
	if m.Type.Class != stun.ClassErrorResponse {
		c.t.Fatalf("%v was granted", method)
	}
	var code stun.ErrorCodeAttribute
	_ = code.GetFrom(m)
	return int(code.Code)
}

func (c *caller) answer(id [stun.TransactionIDSize]byte) *stun.Message {
	c.t.Helper()
	for {
		b := c.read()
		m := &stun.Message{Raw: b}
		if isChannel(b) || m.Decode() != nil || m.TransactionID != id {
			c.kept = append(c.kept, b)
			continue
		}
		return m
	}
}

func (c *caller) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.WriteTo(b, c.to); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) read() []byte {
	c.t.Helper()
	buf := make([]byte, 4096)
	_ = c.conn.SetReadDeadline(time.Now().Add(patience))
	n, _, err := c.conn.ReadFrom(buf)
	if err != nil {
		c.t.Fatalf("nothing comes: %v", err)
	}
	return buf[:n]
}

// allocate makes an allocation.
func (c *caller) allocate(attrs ...stun.Setter) netip.AddrPort {
	c.t.Helper()
	m := c.granted(stun.MethodAllocate, append([]stun.Setter{relayUDP}, attrs...)...)
	var a stun.XORMappedAddress
	if err := a.GetFromAs(m, stun.AttrXORRelayedAddress); err != nil {
		c.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	c.relay = netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
	return c.relay
}

func (c *caller) permit(peer netip.AddrPort) {
	c.t.Helper()
	c.granted(stun.MethodCreatePermission, xorPeer(peer))
}

func channelNumber(n uint16) stun.Setter {
	return attribute(stun.AttrChannelNumber, byte(n>>8), byte(n), 0, 0)
}

func (c *caller) bind(n uint16, peer netip.AddrPort) {
	c.t.Helper()
	c.granted(stun.MethodChannelBind, channelNumber(n), xorPeer(peer))
}

// say sends through a channel.
func (c *caller) say(n uint16, text string) {
	c.t.Helper()
	buf := make([]byte, channelHeader+len(text), channelHeader+len(text)+3)
	copy(buf[channelHeader:], text)
	putChannel(buf, channelHeader, len(text), n)
	for len(buf)%4 != 0 {
		buf = append(buf, 0)
	}
	c.write(buf)
}

// send sends in an indication.
func (c *caller) send(peer netip.AddrPort, text string) {
	c.t.Helper()
	c.write(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), xorPeer(peer), attribute(stun.AttrData, []byte(text)...)).Raw)
}

// heard is what arrives: through a channel, or as a Data indication from a peer.
type heard struct {
	channel uint16
	peer    netip.AddrPort
	text    string
}

func (c *caller) hear() heard {
	c.t.Helper()
	var b []byte
	if len(c.kept) > 0 {
		b, c.kept = c.kept[0], c.kept[1:]
	} else {
		b = c.read()
	}
	if isChannel(b) {
		number, n := channelOf(b)
		return heard{channel: number, text: string(b[channelHeader : channelHeader+n])}
	}
	m := &stun.Message{Raw: b}
	if err := m.Decode(); err != nil {
		c.t.Fatal(err)
	}
	var a stun.XORMappedAddress
	data, err := m.Get(stun.AttrData)
	if err = errors.Join(err, a.GetFromAs(m, stun.AttrXORPeerAddress)); err != nil {
		c.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return heard{peer: netip.AddrPortFrom(ip.Unmap(), uint16(a.Port)), text: string(data)}
}

// silent wants nothing relayed to have arrived: a Binding request is answered first.
func (c *caller) silent() {
	c.t.Helper()
	c.bindingRequest()
	if len(c.kept) > 0 {
		c.t.Fatalf("%q arrived", c.kept)
	}
}

func (c *caller) bindingRequest() netip.AddrPort {
	c.t.Helper()
	m := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	c.write(m.Raw)
	var a stun.XORMappedAddress
	if err := a.GetFrom(c.answer(m.TransactionID)); err != nil {
		c.t.Fatal(err)
	}
	ip, _ := netip.AddrFromSlice(a.IP)
	return netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
}

// outsider is a UDP socket that is no relay.
type outsider struct {
	t    testing.TB
	conn *net.UDPConn
}

func outside(t testing.TB, network, address string) *outsider {
	t.Helper()
	a, err := net.ResolveUDPAddr(network, address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUDP(network, a)
	if err != nil {
		t.Skipf("%s is not to be had here: %v", address, err)
	}
	t.Cleanup(func() { conn.Close() })
	return &outsider{t: t, conn: conn}
}

func (o *outsider) addr() netip.AddrPort {
	a, _ := addrPort(o.conn.LocalAddr())
	return a
}

func (o *outsider) hear() (string, netip.AddrPort) {
	o.t.Helper()
	buf := make([]byte, 2048)
	_ = o.conn.SetReadDeadline(time.Now().Add(patience))
	n, from, err := o.conn.ReadFromUDPAddrPort(buf)
	if err != nil {
		o.t.Fatal(err)
	}
	return string(buf[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

func (o *outsider) send(to netip.AddrPort, text string) {
	o.t.Helper()
	if _, err := o.conn.WriteToUDPAddrPort([]byte(text), to); err != nil {
		o.t.Fatal(err)
	}
}

// until waits for what must happen.
func until(t testing.TB, what string, happened func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !happened(); {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(time.Millisecond)
	}
}
