package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// answer is what a STUN server said.
type answer struct {
	mapped netip.AddrPort // the address that it saw
	other  netip.AddrPort // where it can be asked too (RFC 5780); zero when it does not say
	took   time.Duration
}

// errSilent says that a STUN question had no answer.
var errSilent = errors.New("no answer")

// ask puts a STUN question to a server, on a socket or through a relay, and repeats it until ctx ends.
func ask(ctx context.Context, conn net.PacketConn, to netip.AddrPort) (answer, error) {
	question, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.Fingerprint)
	if err != nil {
		return answer{}, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	buf := make([]byte, 1500)
	for wait := 250 * time.Millisecond; ctx.Err() == nil; wait *= 2 { // RFC 8489, section 6.2.1, a little faster
		sent := time.Now()
		if _, err := conn.WriteTo(question.Raw, net.UDPAddrFromAddrPort(to)); err != nil {
			return answer{}, err
		}
		_ = conn.SetReadDeadline(sent.Add(wait))
		for ctx.Err() == nil {
			n, _, err := conn.ReadFrom(buf)
			if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() {
				break
			}
			if err != nil {
				return answer{}, err
			}
			if a, ok := readAnswer(buf[:n], question.TransactionID); ok {
				a.took = time.Since(sent)
				return a, nil
			}
		}
	}
	return answer{}, errSilent
}

func readAnswer(data []byte, id [stun.TransactionIDSize]byte) (a answer, ok bool) {
	m := &stun.Message{Raw: append([]byte(nil), data...)}
	var mapped stun.XORMappedAddress
	if m.Decode() != nil || m.TransactionID != id || mapped.GetFrom(m) != nil {
		return a, false
	}
	place := func(ip net.IP, port int) netip.AddrPort {
		addr, _ := netip.AddrFromSlice(ip)
		return netip.AddrPortFrom(addr.Unmap(), uint16(port))
	}
	a.mapped = place(mapped.IP, mapped.Port)
	var other stun.OtherAddress
	if other.GetFrom(m) == nil {
		a.other = place(other.IP, other.Port)
	}
	return a, true
}

// answerQuestion returns the answer to a plain STUN question from somebody, or nil when data is none.
func answerQuestion(data []byte, from netip.AddrPort) []byte {
	m := &stun.Message{Raw: append([]byte(nil), data...)}
	if !stun.IsMessage(data) || m.Decode() != nil || m.Type != stun.BindingRequest || m.Contains(stun.AttrUsername) {
		return nil
	}
	from = netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
	reply, err := stun.Build(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.Addr().AsSlice(), Port: int(from.Port())}, stun.Fingerprint)
	if err != nil {
		return nil
	}
	return reply.Raw
}
