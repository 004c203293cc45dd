package doctor

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"

	"github.com/quckchat/quckchat/turn"
)

const (
	peersMax     = 4 * looksMax     // echo peers at a time: one for each transport
	peerTime     = 30 * time.Second // how long one lives; a measurement takes a few seconds
	echoMessage  = 1200             // longest message that is sent back, in bytes
	echoMessages = 1000             // most messages that one peer sends back
	echoBuffered = 64 << 10         // bytes that may wait to be sent
	answerTime   = 5 * time.Second
)

// echo is a socket that sends back what comes to it: plain STUN questions, which are answered, and messages on the data channels
// of WebRTC peers. It is open while somebody holds it.
type echo struct {
	turn  func() *turn.Server
	ports func() (least, most uint16) // of relays
	log   *slog.Logger

	mu      sync.Mutex
	holders int
	mux     *ice.UDPMuxDefault
	at      netip.AddrPort // where the socket is
	shown   netip.AddrPort // how clients know it
	peers   map[*webrtc.PeerConnection]bool
	closed  bool
	work    sync.WaitGroup // of what closes peers
}

var errNoTURN = errors.New("the TURN server does not run")

// hold opens the echo peer unless it is open, and keeps it until leave is called, which may be called again. place is where
// relays reach it.
func (e *echo) hold() (place netip.AddrPort, leave func(), err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	server := e.turn()
	if server == nil || e.closed {
		return place, nil, errNoTURN
	}
	if e.mux == nil {
		if err := e.open(server); err != nil {
			return place, nil, err
		}
	}
	if four, six := server.Public(); e.at.Addr().Is4() && four != e.shown.Addr() || !e.at.Addr().Is4() && six != e.shown.Addr() {
		server.Forbid(e.shown) // it was learned meanwhile
		e.show(server)
	}
	e.holders++
	return e.shown, sync.OnceFunc(e.leave), nil
}

// open takes a port of the relay range, so that a client can try whether those are let through.
func (e *echo) open(server *turn.Server) error {
	local, six := server.Local()
	if !local.IsValid() {
		local = six
	}
	if !local.IsValid() {
		return errors.New("this host has no address")
	}
	least, most := e.ports()
	conn, err := (*net.UDPConn)(nil), errors.New("no port is free")
	if most-least >= 16 { // of a short range none is taken away from calls
		for port := int(most); err != nil && port > int(most)-64 && port >= int(least); port-- {
			conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, uint16(port))))
		}
	} else {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, 0)))
	}
	if err != nil {
		return fmt.Errorf("open the echo peer: %w", err)
	}
	e.at = netip.AddrPortFrom(local, conn.LocalAddr().(*net.UDPAddr).AddrPort().Port())
	e.mux = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: answering{conn}, Logger: quiet{}.NewLogger("")})
	e.peers = map[*webrtc.PeerConnection]bool{}
	e.show(server)
	return nil
}

// answering answers plain STUN questions, and passes on what else arrives.
type answering struct{ net.PacketConn }

// ReadFrom returns the next datagram that is no plain question.
func (a answering) ReadFrom(p []byte) (int, net.Addr, error) {
	for {
		n, from, err := a.PacketConn.ReadFrom(p)
		if err != nil {
			return n, from, err
		}
		reply := answerQuestion(p[:n], from.(*net.UDPAddr).AddrPort())
		if reply == nil {
			return n, from, nil
		}
		_, _ = a.WriteTo(reply, from) // who asked asks again
	}
}

// show has relays reach the socket under the public address, as they reach each other.
func (e *echo) show(server *turn.Server) {
	four, six := server.Public()
	if !e.at.Addr().Is4() {
		four = six
	}
	e.shown = netip.AddrPortFrom(four, e.at.Port())
	server.PermitEcho(e.shown, e.at)
}

func (e *echo) leave() {
	e.mu.Lock()
	e.holders--
	e.finish(e.holders > 0)
}

// shut closes the echo peer whoever holds it.
func (e *echo) shut() {
	e.mu.Lock()
	e.closed = true
	e.finish(false)
	e.work.Wait()
}

// finish unlocks, and closes everything unless somebody needs it.
func (e *echo) finish(needed bool) {
	mux, peers := e.mux, e.peers
	if needed || mux == nil {
		e.mu.Unlock()
		return
	}
	e.mux, e.peers = nil, nil
	if server := e.turn(); server != nil {
		server.Forbid(e.shown)
	}
	e.mu.Unlock()
	var closing sync.WaitGroup // each waits a while for its other side
	for p := range peers {
		closing.Go(func() { _ = p.Close() })
	}
	closing.Wait()
	_ = mux.Close() // its connections, and with them the socket
}

// answer makes a peer for an offer and returns its answer, with the one candidate that relays reach. The peer ends by itself.
// The echo peer must be held.
func (e *echo) answer(offer string) (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.mux == nil {
		return "", errNoTURN
	}
	if len(e.peers) >= peersMax {
		return "", errTooMany
	}
	pc, err := e.peer()
	if err != nil {
		return "", err
	}
	local, err := negotiate(pc, offer)
	if err != nil {
		_ = pc.Close()
		return "", err
	}
	e.peers[pc] = true
	timer := time.AfterFunc(peerTime, func() { e.end(pc) })
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateFailed || state == webrtc.PeerConnectionStateClosed {
			timer.Stop()
			e.ended(pc)
		}
	})
	return reachable(local, e.shown), nil
}

var (
	errTooMany  = errors.New("too many echo peers")
	errBadOffer = errors.New("the offer cannot be answered")
)

// ended closes a peer that says so itself, which must not wait for its own closing.
func (e *echo) ended(pc *webrtc.PeerConnection) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.closed {
		e.work.Go(func() { e.end(pc) })
	}
}

func (e *echo) end(pc *webrtc.PeerConnection) {
	e.mu.Lock()
	delete(e.peers, pc)
	e.mu.Unlock()
	_ = pc.Close()
}

// peer makes a connection that is reached at the socket and asks nobody anything (ICE lite).
func (e *echo) peer() (*webrtc.PeerConnection, error) {
	s := webrtc.SettingEngine{LoggerFactory: quiet{}}
	s.SetLite(true)
	s.SetICEUDPMux(e.mux)
	s.SetIncludeLoopbackCandidate(true)
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6})
	s.SetICETimeouts(5*time.Second, 10*time.Second, 2*time.Second)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(s)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, fmt.Errorf("make the echo peer: %w", err)
	}
	pc.OnDataChannel(func(d *webrtc.DataChannel) {
		left := echoMessages
		d.OnMessage(func(m webrtc.DataChannelMessage) {
			if left--; left >= 0 && len(m.Data) <= echoMessage && d.BufferedAmount() < echoBuffered {
				_ = d.SendText(string(m.Data)) // lost like any other
			}
		})
	})
	return pc, nil
}

func negotiate(pc *webrtc.PeerConnection, offer string) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", fmt.Errorf("%w: %w", errBadOffer, err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", fmt.Errorf("%w: %w", errBadOffer, err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", fmt.Errorf("%w: %w", errBadOffer, err)
	}
	select {
	case <-gathered:
	case <-time.After(answerTime):
		return "", errors.New("the echo peer found no address")
	}
	return pc.LocalDescription().SDP, nil
}

// reachable is an answer with the address at which relays reach the socket in place of all others.
func reachable(sdp string, at netip.AddrPort) string {
	lines := []string{}
	for line := range strings.SplitSeq(strings.TrimRight(sdp, "\r\n"), "\r\n") {
		if !strings.HasPrefix(line, "a=candidate:") && line != "a=end-of-candidates" {
			lines = append(lines, line)
		}
	}
	lines = append(lines, fmt.Sprintf("a=candidate:1 1 udp 2130706431 %s %d typ host", at.Addr(), at.Port()), "a=end-of-candidates")
	return strings.Join(lines, "\r\n") + "\r\n"
}
