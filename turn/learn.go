package turn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/pion/stun/v3"
)

// Mapped asks a STUN server, "host:port", for the address from which this host reaches it. It repeats the question until ctx
// ends, at most for ten seconds.
func Mapped(ctx context.Context, server string) (netip.Addr, error) {
	var none netip.Addr
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", server)
	if err != nil {
		return none, fmt.Errorf("ask %s for the public address: %w", server, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	question := stun.MustBuild(stun.TransactionID, stun.BindingRequest)
	buf := make([]byte, 1500)
	for wait := 500 * time.Millisecond; ; wait *= 2 { // RFC 8489, section 6.2.1
		if _, err := conn.Write(question.Raw); err != nil {
			return none, fmt.Errorf("ask %s for the public address: %w", server, errors.Join(ctx.Err(), err))
		}
		_ = conn.SetReadDeadline(time.Now().Add(wait))
		for {
			n, err := conn.Read(buf)
			if ctx.Err() != nil {
				return none, fmt.Errorf("ask %s for the public address: %w", server, ctx.Err())
			}
			if err != nil { // too late, or refused for now
				if ne, ok := errors.AsType[net.Error](err); !ok || !ne.Timeout() {
					return none, fmt.Errorf("ask %s for the public address: %w", server, err)
				}
				break
			}
			answer := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
			var mapped stun.XORMappedAddress
			if answer.Decode() != nil || answer.TransactionID != question.TransactionID || mapped.GetFrom(answer) != nil {
				continue // not the answer
			}
			a, _ := netip.AddrFromSlice(mapped.IP)
			return a.Unmap(), nil
		}
	}
}
