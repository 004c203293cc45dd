package sfu

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
)

// Options says where a Server listens and what it bears.
type Options struct {
	// Listen is the address of the one UDP port and the one TCP port, such as ":3479"; an empty host is every address of both
	// families, port 0 any port that is free for both. Empty opens nothing: then UDP or TCP must give a socket.
	Listen string
	// UDP and TCP are sockets to use besides, each of one address family. Close closes them.
	UDP []net.PacketConn
	TCP []net.Listener
	// Public are the addresses that clients outside reach this machine by, when they are not those of its interfaces. The ports
	// must be the same there.
	Public []netip.Addr
	// Limits bound what is admitted.
	Limits Limits
	// GoneAfter is how long a peer whose transport was interrupted is waited for; 20 s. An interruption is noticed after 5 s of
	// silence.
	GoneAfter time.Duration
	// Log takes what an operator should know; nil discards it.
	Log *slog.Logger
}

// Server forwards the media of all rooms through one UDP port and one TCP port.
type Server struct {
	log       *slog.Logger
	goneAfter time.Duration
	load      load
	cert      webrtc.Certificate
	sockets   sockets
	public    atomic.Pointer[[]netip.Addr]
	udpMux    *ice.MultiUDPMuxDefault
	tcpMux    *ice.MultiTCPMuxDefault

	mu     sync.Mutex // before Room.mu
	rooms  map[string]*Room
	closed bool
	done   chan struct{}
	wg     sync.WaitGroup
}

// New opens the sockets and begins to serve.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.GoneAfter == 0 {
		o.GoneAfter = 20 * time.Second
	}
	o.Limits.defaults()
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	s := &Server{log: o.Log, goneAfter: o.GoneAfter, load: load{limits: o.Limits}, cert: *cert,
		rooms: map[string]*Room{}, done: make(chan struct{})}
	s.SetPublic(o.Public)
	if s.sockets, err = open(o.Listen, o.UDP, o.TCP); err != nil {
		return nil, err
	}
	s.udpMux, s.tcpMux = s.sockets.mux(logger{o.Log})
	s.wg.Go(s.measure)
	return s, nil
}

// SetPublic replaces Options.Public for peers that join from now on, for addresses that are learned or change.
func (s *Server) SetPublic(public []netip.Addr) {
	public = slices.Clone(public)
	s.public.Store(&public)
}

// Addrs are the UDP addresses that clients are told to send to, public ones first. A TURN server must permit relaying to them.
func (s *Server) Addrs() []netip.AddrPort {
	var addrs []netip.AddrPort
	for _, c := range s.sockets.candidates(*s.public.Load()) {
		if !c.tcp {
			addrs = append(addrs, c.at)
		}
	}
	return addrs
}

// measure feeds the admission once a second.
func (s *Server) measure() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			s.load.measure(now, cpuTime())
		case <-s.done:
			return
		}
	}
}

// Room opens a room. Its name is any string; ErrExists says that there is one already.
func (s *Server) Room(id string, o RoomOptions) (*Room, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	if s.rooms[id] != nil {
		return nil, fmt.Errorf("room %s: %w", id, ErrExists)
	}
	r := newRoom(s, id, o)
	s.rooms[id] = r
	return r, nil
}

// Close closes all rooms and sockets, and waits until nothing of them is left. It must not be called from a callback.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	rooms := make([]*Room, 0, len(s.rooms))
	for _, r := range s.rooms {
		rooms = append(rooms, r)
	}
	s.mu.Unlock()
	for _, r := range rooms {
		r.Close()
		r.wg.Wait()
	}
	close(s.done)
	s.wg.Wait()
	return errors.Join(s.udpMux.Close(), s.tcpMux.Close(), s.sockets.close())
}

// peerConnection makes the server's end of a peer.
func (s *Server) peerConnection() (*webrtc.PeerConnection, *webrtc.API, *estimate, error) {
	engine, err := codecs()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("register codecs: %w", err)
	}
	estimate, err := newEstimate()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("estimate bandwidth: %w", err)
	}
	registry, err := interceptors(estimate)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("register interceptors: %w", err)
	}
	settings := webrtc.SettingEngine{LoggerFactory: logger{s.log}}
	if err := transport(&settings, s.goneAfter); err != nil {
		return nil, nil, nil, err
	}
	settings.SetICEUDPMux(s.udpMux)
	settings.SetICETCPMux(s.tcpMux)
	settings.SetIPFilter(isStandIn)
	settings.SetICEBindingRequestHandler(new(roam).request)
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.cert}})
	if err != nil {
		return nil, nil, nil, fmt.Errorf("make a peer connection: %w", err)
	}
	return pc, api, estimate, nil
}
