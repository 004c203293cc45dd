package turn

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
)

// What of STUN (RFC 8489) and TURN (RFC 8656) is read and written here rather than in pion, because every packet
// of a call passes by it.
const (
	stunHeader    = 20
	channelHeader = 4
	cookie        = 0x2112A442

	typeAllocate       = 0x0003
	typeChannelBind    = 0x0009
	typeSendIndication = 0x0016
	typeDataIndication = 0x0017

	attrPeer   = 0x0012 // XOR-PEER-ADDRESS
	attrData   = 0x0013
	attrFamily = 0x0017 // REQUESTED-ADDRESS-FAMILY
)

func isSTUN(b []byte) bool {
	return len(b) >= stunHeader && b[0] < 4 && binary.BigEndian.Uint32(b[4:]) == cookie
}

// isChannel reports whether b begins as ChannelData: channel numbers are 0x4000 to 0x7FFF in RFC 5766, which clients still
// go by, and a quarter of that since RFC 8656.
func isChannel(b []byte) bool { return len(b) >= channelHeader && b[0]&0xC0 == 0x40 }

// attributes calls fn with each attribute of a STUN message, where its value begins and ends in b. It ends early when
// the message does, or when fn returns false.
func attributes(b []byte, fn func(kind uint16, from, to int) bool) {
	end := min(len(b), stunHeader+int(binary.BigEndian.Uint16(b[2:])))
	for at := stunHeader; at+4 <= end; {
		kind, n := binary.BigEndian.Uint16(b[at:]), int(binary.BigEndian.Uint16(b[at+2:]))
		at += 4
		if at+n > end || !fn(kind, at, at+n) {
			return
		}
		at += (n + 3) &^ 3
	}
}

// peerAddress reads the value of an XOR-PEER-ADDRESS of the message b; zero when it is none.
func peerAddress(b, value []byte) netip.AddrPort {
	if len(value) < 8 {
		return netip.AddrPort{}
	}
	port := binary.BigEndian.Uint16(value[2:]) ^ cookie>>16
	switch {
	case value[1] == 1 && len(value) == 8:
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], binary.BigEndian.Uint32(value[4:])^cookie)
		return netip.AddrPortFrom(netip.AddrFrom4(a), port)
	case value[1] == 2 && len(value) == 20:
		var a [16]byte
		for i := range a {
			a[i] = value[4+i] ^ b[4+i] // the cookie and the transaction id
		}
		return netip.AddrPortFrom(netip.AddrFrom16(a).Unmap(), port)
	}
	return netip.AddrPort{}
}

// request is what of a request that is given to pion the relays must know, and pion does not tell.
type request struct {
	peer   netip.AddrPort // the peer that a ChannelBind names; zero otherwise
	family byte           // the address family that an Allocate wants: 0 when it does not say, 1 IPv4, 2 IPv6 (RFC 8656, section 18.7)
}

func readRequest(b []byte) (r request) {
	if !isSTUN(b) {
		return r
	}
	wanted := map[uint16]uint16{typeChannelBind: attrPeer, typeAllocate: attrFamily}[binary.BigEndian.Uint16(b)]
	if wanted == 0 {
		return r
	}
	attributes(b, func(kind uint16, from, to int) bool {
		switch {
		case kind != wanted || from == to:
			return true
		case kind == attrPeer:
			r.peer = peerAddress(b, b[from:to])
		default:
			r.family = b[from]
		}
		return false // the first one counts, as for pion
	})
	return r
}

// parseSend takes a Send indication apart: its peer, and where its data begins and ends in b. It is false of every
// other message, and of an indication without both.
func parseSend(b []byte) (peer netip.AddrPort, from, to int, ok bool) {
	if !isSTUN(b) || binary.BigEndian.Uint16(b) != typeSendIndication {
		return peer, 0, 0, false
	}
	found := false
	attributes(b, func(kind uint16, start, end int) bool {
		switch kind {
		case attrPeer:
			if !peer.IsValid() {
				peer = peerAddress(b, b[start:end])
			}
		case attrData:
			if !found {
				from, to, found = start, end, true
			}
		}
		return !found || !peer.IsValid()
	})
	return peer, from, to, found && peer.IsValid()
}

// putChannel writes the header of ChannelData before buf[off:], and returns where it begins.
func putChannel(buf []byte, off, n int, number uint16) int {
	binary.BigEndian.PutUint16(buf[off-4:], number)
	binary.BigEndian.PutUint16(buf[off-2:], uint16(n))
	return off - channelHeader
}

// dataHeader is how long the header of a Data indication from peer is.
func dataHeader(peer netip.AddrPort) int {
	if peer.Addr().Is4() {
		return stunHeader + 12 + 4
	}
	return stunHeader + 24 + 4
}

// putData makes a Data indication of buf[off:off+n]: the header before it, the padding behind it, for which there must
// be room. It returns where the indication begins and ends.
func putData(buf []byte, off, n int, peer netip.AddrPort) (from, to int) {
	head := dataHeader(peer)
	from, to = off-head, off+(n+3)&^3
	b := buf[from:to]
	binary.BigEndian.PutUint16(b, typeDataIndication)
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	binary.BigEndian.PutUint32(b[4:], cookie)
	binary.BigEndian.PutUint64(b[8:], rand.Uint64()) // nobody answers it, so that it is no secret
	binary.BigEndian.PutUint32(b[16:], rand.Uint32())
	at := stunHeader
	binary.BigEndian.PutUint16(b[at:], attrPeer)
	binary.BigEndian.PutUint16(b[at+2:], uint16(head-stunHeader-8))
	b[at+4], b[at+5] = 0, 1
	binary.BigEndian.PutUint16(b[at+6:], peer.Port()^cookie>>16)
	if peer.Addr().Is4() {
		a := peer.Addr().As4()
		binary.BigEndian.PutUint32(b[at+8:], binary.BigEndian.Uint32(a[:])^cookie)
	} else {
		b[at+5] = 2
		a := peer.Addr().As16()
		for i := range a {
			b[at+8+i] = a[i] ^ b[4+i]
		}
	}
	binary.BigEndian.PutUint16(b[head-4:], attrData)
	binary.BigEndian.PutUint16(b[head-2:], uint16(n))
	clear(buf[off+n : to])
	return from, to
}

// channelOf reads the header of ChannelData: its channel, and the length of the data that follows.
func channelOf(b []byte) (number uint16, length int) {
	return binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
}
