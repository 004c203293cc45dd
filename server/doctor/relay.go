package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/logging"
	pion "github.com/pion/turn/v4"

	"github.com/quckchat/quckchat/turn"
)

// relayTime is how long one door of TURN may take to answer, allocate and carry.
const relayTime = 6 * time.Second

// credential opens a door to the echo peer. Each door has a user of its own to quotas, which may be small.
func (e *examination) credential(d doorway) turn.Credential {
	return e.turn.MintEcho("doctor-" + d.name)
}

// doorway is one way to reach TURN.
type doorway struct {
	name      string // of the check
	transport string // udp, tcp, tls
	at        netip.AddrPort
}

// relays has a TURN client of this process make a relay through every door of its own, and carry packets to the echo peer.
func (e *examination) relays(ctx context.Context) []Finding {
	list := []doorway{{"relay-udp", "udp", e.own(e.turn.Addr())}, {"relay-tcp", "tcp", e.own(e.turn.Addr())}}
	if e.config.TLSCert != "" {
		list = append(list, doorway{"relay-tls", "tls", e.own(e.turn.Addr())})
		if web, err := netip.ParseAddrPort(e.Web().String()); err == nil {
			list = append(list, doorway{"relay-https", "tls", e.own(web)})
		}
	}
	found := make([]Finding, len(list))
	var work sync.WaitGroup
	for i, d := range list {
		work.Go(func() { found[i] = e.relay(ctx, d) })
	}
	work.Wait()
	return found
}

// own is an address of this host to connect to, for one that it listens on.
func (e *examination) own(listen netip.AddrPort) netip.AddrPort {
	a := listen.Addr().Unmap()
	if a.IsUnspecified() {
		if a = e.local[0]; !a.IsValid() {
			a = e.local[1]
		}
	}
	return netip.AddrPortFrom(a, listen.Port())
}

func (e *examination) relay(ctx context.Context, d doorway) Finding {
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	rtt, err := e.through(ctx, d)
	switch {
	case err == nil:
		return finding(d.name, "relay_works", "transport", strings.ToUpper(d.transport), "at", d.at, "rtt", milliseconds(rtt))
	case errors.Is(err, errNoRelay):
		return finding(d.name, "relay_refused", "transport", strings.ToUpper(d.transport), "ports", e.ports())
	case errors.Is(err, errNoEcho):
		return finding(d.name, "relay_carries_none", "transport", strings.ToUpper(d.transport), "ports", e.ports())
	}
	transport := "UDP"
	if d.transport != "udp" {
		transport = "TCP"
	}
	return finding(d.name, "door_closed", "transport", transport, "at", d.at, "port", d.at.Port())
}

// milliseconds rounds to a tenth.
func milliseconds(d time.Duration) float64 {
	return math.Round(float64(d.Microseconds())/100) / 10
}

var (
	errNoRelay = errors.New("no relay")
	errNoEcho  = errors.New("nothing came back through the relay")
)

// allocates reports whether this server, and no other, gives a relay at a door.
func (e *examination) allocates(ctx context.Context, d doorway) bool {
	ctx, cancel := context.WithTimeout(ctx, relayTime/2)
	defer cancel()
	relay, closeAll, err := allocate(ctx, d, e.credential(d))
	if err != nil {
		return false
	}
	_ = relay.Close()
	closeAll()
	return true
}

// through makes a relay at a door and asks the echo peer through it. It returns the time there and back.
func (e *examination) through(ctx context.Context, d doorway) (time.Duration, error) {
	place, leave, err := e.echo.hold()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errNoEcho, err)
	}
	defer leave()
	relay, closeAll, err := allocate(ctx, d, e.credential(d))
	if err != nil {
		return 0, err
	}
	defer closeAll()
	defer relay.Close() // which gives the port back
	best := time.Duration(0)
	for i := range 3 { // the first makes the permission too
		a, err := ask(ctx, relay, place)
		if err != nil {
			return 0, fmt.Errorf("%w: %w", errNoEcho, err)
		}
		if i > 0 && (best == 0 || a.took < best) {
			best = a.took
		}
	}
	return best, nil
}

// allocate makes a relay. errNoRelay is wrapped when the server answers and gives none; any other error is that it does not.
func allocate(ctx context.Context, d doorway, c turn.Credential) (relay net.PacketConn, closeAll func(), err error) {
	conn, err := connect(ctx, d)
	if err != nil {
		return nil, nil, err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // pion knows no context
	closeAll = func() { stop(); conn.Close() }
	client, err := pion.NewClient(&pion.ClientConfig{
		STUNServerAddr: d.at.String(), TURNServerAddr: d.at.String(), Conn: conn, Username: c.Username, Password: c.Password, LoggerFactory: quiet{},
	})
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	done := closeAll
	closeAll = func() { client.Close(); done() }
	if err = client.Listen(); err == nil {
		if _, err = client.SendBindingRequest(); err == nil {
			if relay, err = client.Allocate(); err != nil {
				err = fmt.Errorf("%w: %w", errNoRelay, err)
			}
		}
	}
	if err != nil {
		closeAll()
		return nil, nil, err
	}
	return relay, closeAll, nil
}

// connect opens the way to a door.
func connect(ctx context.Context, d doorway) (net.PacketConn, error) {
	if d.transport == "udp" {
		return new(net.ListenConfig).ListenPacket(ctx, "udp", ":0")
	}
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", d.at.String())
	if err != nil {
		return nil, err
	}
	if d.transport == "tls" {
		// The certificate is looked at by the check of that name.
		secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, err
		}
		conn = secured
	}
	return pion.NewSTUNConn(conn), nil
}

// quiet keeps what pion says to itself: addresses of people stand in it.
type quiet struct{}

// NewLogger is for pion.
func (quiet) NewLogger(string) logging.LeveledLogger {
	return logging.NewDefaultLeveledLoggerForScope("", logging.LogLevelDisabled, io.Discard)
}
