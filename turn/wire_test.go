package turn

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/pion/stun/v3"
)

func TestADataIndicationIsWhatTheLibraryReads(t *testing.T) {
	for _, peer := range []string{"8.8.8.8:53", "[2606:4700::1111]:65535"} {
		for n := range 9 {
			buf := bytes.Repeat([]byte{0xEE}, 100)
			text := []byte("abcdefghi")[:n]
			copy(buf[headRoom:], text)
			from, to := putData(buf, headRoom, n, netip.MustParseAddrPort(peer))
			m := &stun.Message{Raw: buf[from:to]}
			if err := m.Decode(); err != nil {
				t.Fatal(err)
			}
			var a stun.XORMappedAddress
			data, err := m.Get(stun.AttrData)
			if err != nil || !bytes.Equal(data, text) || a.GetFromAs(m, stun.AttrXORPeerAddress) != nil || a.String() != peer {
				t.Errorf("%q of %s, %v; want %q of %s", data, a, err, text, peer)
			}
			if m.Type != stun.NewType(stun.MethodData, stun.ClassIndication) {
				t.Errorf("it is a %s", m.Type)
			}
		}
	}
}

// FuzzWire reads broken messages, and holds what is read against the library.
func FuzzWire(f *testing.F) {
	peer := xorPeer(netip.MustParseAddrPort("[2606:4700::1]:9"))
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodSend, stun.ClassIndication), peer, attribute(stun.AttrData, 1, 2, 3)).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodChannelBind, stun.ClassRequest), channelNumber(0x4000), peer).Raw)
	f.Add(stun.MustBuild(stun.TransactionID, stun.NewType(stun.MethodAllocate, stun.ClassRequest), relayUDP, attribute(stun.AttrRequestedAddressFamily, 2, 0, 0, 0)).Raw)
	f.Add([]byte{0x40, 0, 0, 4, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, b []byte) {
		if isChannel(b) {
			channelOf(b)
		}
		r := readRequest(b)
		at, from, to, ok := parseSend(b)
		if ok && (from < stunHeader || to < from || to > len(b)) {
			t.Fatalf("the data lies from %d to %d of %d", from, to, len(b))
		}
		m := &stun.Message{Raw: append([]byte(nil), b...)}
		if m.Decode() != nil {
			return
		}
		var a stun.XORMappedAddress
		if a.GetFromAs(m, stun.AttrXORPeerAddress) != nil {
			return
		}
		ip, _ := netip.AddrFromSlice(a.IP)
		want := netip.AddrPortFrom(ip.Unmap(), uint16(a.Port))
		if r.peer.IsValid() && r.peer != want {
			t.Errorf("the channel is for %s, the library says %s", r.peer, want)
		}
		if data, err := m.Get(stun.AttrData); ok && (at != want || err != nil || !bytes.Equal(data, b[from:to])) {
			t.Errorf("%q to %s, the library says %q to %s, %v", b[from:to], at, data, want, err)
		}
	})
}
