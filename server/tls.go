package server

import (
	"crypto/tls"
	"fmt"
	"net"
)

// secured wraps the listener in TLS when a certificate is configured. Reload reads the files again.
func (s *Server) secured(l net.Listener) (net.Listener, error) {
	if s.config.Get().TLSCert == "" {
		return l, nil
	}
	if err := s.loadCertificate(); err != nil {
		return nil, err
	}
	return tls.NewListener(l, &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"http/1.1"}, // sockets need it; a chat gains little from HTTP/2
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.certificate.Load(), nil
		},
	}), nil
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
