package servertest

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
)

// Line is an address that leads to a server, for clients that must find it again after a restart.
type Line struct {
	URL      string
	listener net.Listener

	mu    sync.Mutex
	to    string
	conns map[net.Conn]struct{}
	ended sync.WaitGroup
}

// NewLine makes an address that leads nowhere yet. It ends with the test.
func NewLine(t testing.TB) *Line {
	t.Helper()
	l := &Line{conns: map[net.Conn]struct{}{}}
	var err error
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	l.URL = "http://" + l.listener.Addr().String()
	l.ended.Go(l.accept)
	t.Cleanup(func() {
		l.listener.Close()
		l.Cut()
		l.ended.Wait()
	})
	return l
}

// Lead makes the line lead to a server, for connections that come from now on.
func (l *Line) Lead(s *Server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = strings.TrimPrefix(s.URL, "http://")
}

// Cut ends every connection at once, as a network does that is lost.
func (l *Line) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

func (l *Line) accept() {
	for {
		here, err := l.listener.Accept()
		if err != nil {
			return
		}
		l.mu.Lock()
		there, err := net.Dial("tcp", l.to)
		if err != nil {
			here.Close()
			l.mu.Unlock()
			continue
		}
		l.conns[here], l.conns[there] = struct{}{}, struct{}{}
		l.mu.Unlock()
		l.ended.Go(func() { l.pass(here, there) })
		l.ended.Go(func() { l.pass(there, here) })
	}
}

func (l *Line) pass(from, to net.Conn) {
	_, _ = io.Copy(to, from)
	from.Close()
	to.Close()
	l.mu.Lock()
	delete(l.conns, from)
	l.mu.Unlock()
}
