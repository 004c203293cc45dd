package server

import (
	"crypto/tls"
	"fmt"
	"net"
	"slices"
)

// secured wraps the listener in TLS when a certificate is configured. Reload reads the files again. While there is a TURN
// server, its clients are taken out of the connections.
func (s *Server) secured(l net.Listener) (net.Listener, error) {
	var config *tls.Config
	if s.config.Get().TLSCert != "" {
		if err := s.loadCertificate(); err != nil {
			return nil, err
		}
		config = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: alpnHTTP, GetCertificate: s.currentCertificate}
	}
	switch {
	case s.turn != nil:
		if config != nil {
			config.NextProtos = slices.Concat(alpnHTTP, alpnTURN)
		}
		return split(l, config, s.turn.ServeConn, s.log), nil
	case config != nil:
		return tls.NewListener(l, config), nil
	}
	return l, nil
}

func (s *Server) currentCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return s.certificate.Load(), nil
}

func (s *Server) loadCertificate() error {
	c := s.config.Get()
	pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
	if err != nil {
		return fmt.Errorf("read TLS certificate: %w", err)
	}
	s.certificate.Store(&pair)
	return nil
}
