package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"strings"
	"time"
)

// renewBefore is how long before its end a certificate is worth a word.
const renewBefore = 14 * 24 * time.Hour

// secured looks at the certificate that the TURN port shows: name, time and chain, as browsers do. Browsers give no reason
// when they refuse it, and have no way to go on, so this is the place to find out.
func (e *examination) secured(ctx context.Context) []Finding {
	const name = "certificate"
	if e.config.TLSCert == "" {
		return []Finding{finding(name, "certificate_none")}
	}
	ctx, cancel := context.WithTimeout(ctx, relayTime)
	defer cancel()
	// Whether it is to be trusted is judged here, one by one, so that the reason is known.
	d := tls.Dialer{Config: &tls.Config{ServerName: e.host, InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}}
	at := e.own(e.turn.Addr()).String()
	conn, err := d.DialContext(ctx, "tcp", at)
	if err != nil {
		return nil // the relay over TLS says so
	}
	defer conn.Close()
	return []Finding{e.judgeCertificate(conn.(*tls.Conn).ConnectionState().PeerCertificates)}
}

func (e *examination) judgeCertificate(chain []*x509.Certificate) Finding {
	const name = "certificate"
	leaf, now, file := chain[0], time.Now(), e.config.TLSCert
	day := func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }
	switch {
	case now.After(leaf.NotAfter):
		return finding(name, "certificate_expired", "file", file, "until", day(leaf.NotAfter))
	case now.Before(leaf.NotBefore):
		return finding(name, "certificate_early", "file", file, "from", day(leaf.NotBefore))
	case e.host == "":
		return finding(name, "certificate_unchecked", "until", day(leaf.NotAfter))
	case leaf.VerifyHostname(e.host) != nil:
		return finding(name, "certificate_name", "file", file, "host", e.host, "names", namesOf(leaf))
	}
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Intermediates: between}); err != nil {
		return finding(name, "certificate_chain", "file", file)
	}
	if now.Add(renewBefore).After(leaf.NotAfter) {
		return finding(name, "certificate_ends", "file", file, "host", e.host, "until", day(leaf.NotAfter))
	}
	return finding(name, "certificate_valid", "host", e.host, "until", day(leaf.NotAfter))
}

// namesOf is what a certificate is for, the first few.
func namesOf(c *x509.Certificate) string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, net.IP.String(ip))
	}
	if len(names) == 0 {
		return "-"
	}
	return strings.Join(names[:min(len(names), 5)], ", ")
}
