package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/security"
	"github.com/chromedp/chromedp"
)

// authority signs the certificates of a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a root"}, NotBefore: time.Now().Add(-2000 * time.Hour), NotAfter: time.Now().Add(2000 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.issue("root", a.cert)
	return a
}

// issue writes NAME.pem and NAME.key.
func (a *authority) issue(name string, form *x509.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if a.key == nil {
		a.key = key // the root signs itself
	}
	der, err := x509.CreateCertificate(rand.Reader, form, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(filepath.Join(a.dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			a.t.Fatal(err)
		}
	}
}

// host issues a certificate for a name, good from and to so many hours from now, and returns the settings that name it.
func (a *authority) host(name string, from, to time.Duration) []string {
	a.t.Helper()
	a.issue("host", &x509.Certificate{
		SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(from), NotAfter: time.Now().Add(to), DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	})
	return []string{"QUCKCHAT_TLS_CERT=" + filepath.Join(a.dir, "host.pem"), "QUCKCHAT_TLS_KEY=" + filepath.Join(a.dir, "host.key")}
}

func TestTheServerNamesWhatIsWrongWithItsCertificate(t *testing.T) {
	const hour, name = time.Hour, "localhost"
	for code, c := range map[string]struct {
		name     string
		from, to time.Duration
		stranger bool // the host does not know the root
		fault    bool
	}{
		"certificate_valid":   {name, -hour, 1000 * hour, false, false},
		"certificate_ends":    {name, -hour, 100 * hour, false, false},
		"certificate_expired": {name, -200 * hour, -100 * hour, false, true},
		"certificate_early":   {name, hour, 1000 * hour, false, true},
		"certificate_name":    {"other.quck.example", -hour, 1000 * hour, false, true},
		"certificate_chain":   {name, -hour, 1000 * hour, true, true},
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			roots := "SSL_CERT_FILE=" + filepath.Join(a.dir, "root.pem")
			if c.stranger {
				roots = "SSL_CERT_FILE=/dev/null"
			}
			settings := append(a.host(c.name, c.from, c.to), "QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_PUBLIC_URL=https://localhost:3000")
			client, _ := serve(t, nil, []string{roots, "SSL_CERT_DIR=/dev/null"}, settings...)
			cause := ""
			if c.fault {
				cause = code
			}
			holds(t, examine(t, client), cause, map[string]string{"certificate": code, "relay-tls": "relay_works", "relay-https": "relay_works"})
		})
	}
}

func TestTheServerNamesWhatKeepsItsRelaysFromBeing(t *testing.T) {
	taken, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	_, port, _ := net.SplitHostPort(taken.LocalAddr().String())
	for code, settings := range map[string][]string{
		"turn_off":      {"QUCKCHAT_TURN_LISTEN=off"},
		"turn_failed":   {"QUCKCHAT_TURN_LISTEN=" + busy.Addr().String()},
		"relay_refused": {"QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_TURN_PORTS=" + port + "-" + port},
	} {
		t.Run(code, func(t *testing.T) {
			client, _ := serve(t, nil, nil, settings...)
			holds(t, examine(t, client), code, nil)
		})
	}
}

func TestABrowserWithOneOpenPortCallsThroughThatOfHTTPS(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	settings := append(newAuthority(t).host(hostName, -time.Hour, 1000*time.Hour), "QUCKCHAT_LISTEN=:443", "QUCKCHAT_PUBLIC_URL=https://"+hostName)
	n.wire(wiring{tcp: "443", inside: true})
	admin := n.serve(settings...)
	got := look(t, admin, window{namespace: n.prefix + "client", page: "https://" + hostName, picture: "only_https", trusting: true})
	holds(t, got, "only_https", map[string]string{"doors": "only_https", "call-udp": "udp_blocked", "call-tcp": "tcp_blocked", "call-tls": "tcp_blocked", "call-https": "call_works"})
	if !strings.Contains(got.Advice, "3478") || !strings.Contains(got.Advice, "192.168.7.10") || !strings.Contains(got.Advice, "443") {
		t.Error(got.Advice)
	}
}

func TestABrowserNamesAFirewallThatKnowsTLS(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	a := newAuthority(t)
	settings := append(a.host(hostName, -time.Hour, 1000*time.Hour), "QUCKCHAT_LISTEN=:443", "QUCKCHAT_PUBLIC_URL=https://"+hostName, "QUCKCHAT_TURN_LISTEN=:3478", "QUCKCHAT_TURN_PUBLIC_IP="+publicIP)
	w := everything
	w.drop = "tcp dport 3478 @ih,0,8 0x16 drop" // what begins with a handshake of TLS, as a firewall does that wants it on its own ports
	n.wire(w)
	admin, _ := serve(t, []string{"ip", "netns", "exec", n.prefix + "server"}, []string{"SSL_CERT_FILE=" + filepath.Join(a.dir, "root.pem")}, settings...)
	got := look(t, admin, window{namespace: n.prefix + "client", page: "https://" + hostName, picture: "tls_refused", trusting: true})
	holds(t, got, "tls_refused", map[string]string{"call-udp": "call_works", "call-tcp": "call_works", "call-tls": "tls_refused", "call-https": "call_works"})
}

func TestABrowserNamesAProxyThatOpensTLS(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	settings := a.host("localhost", -time.Hour, 1000*time.Hour)
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "host.pem"), filepath.Join(a.dir, "host.key"))
	if err != nil {
		t.Fatal(err)
	}
	inner := make(chan string, 1)
	proxy := httptest.NewUnstartedServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			address := <-inner
			inner <- address
			r.SetURL(&url.URL{Scheme: "https", Host: address})
		},
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	})
	proxy.Config.ErrorLog = log.New(io.Discard, "", 0) // it does not know what TURN is
	proxy.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	proxy.StartTLS()
	defer proxy.Close()
	_, port, _ := net.SplitHostPort(proxy.Listener.Addr().String())
	page := "https://localhost:" + port
	env := []string{"SSL_CERT_FILE=" + filepath.Join(a.dir, "root.pem")}
	admin, address := serve(t, nil, env, append(settings, "QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_PUBLIC_URL="+page)...)
	inner <- address
	got := look(t, admin, window{page: page, picture: "https_no_turn", trusting: true})
	holds(t, got, "https_no_turn", map[string]string{"call-udp": "call_works", "call-tls": "call_works", "call-https": "https_no_turn"})
}

// TestABrowserNamesACertificateThatHasEnded lets the page through as people do who click on: TURN asks nobody, and refuses.
func TestABrowserNamesACertificateThatHasEnded(t *testing.T) {
	t.Parallel()
	settings := append(newAuthority(t).host("localhost", -200*time.Hour, -100*time.Hour), "QUCKCHAT_TURN_LISTEN=127.0.0.1:0")
	admin, address := serve(t, nil, nil, settings...)
	_, port, _ := net.SplitHostPort(address)
	anyway := func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, target, security.SetIgnoreCertificateErrors, security.SetIgnoreCertificateErrorsParams{Ignore: true})
		return chromedp.Void{}, err
	}
	got := look(t, admin, window{page: "https://localhost:" + port, picture: "certificate_expired", before: anyway})
	holds(t, got, "certificate_expired", map[string]string{"call-udp": "call_works", "call-tcp": "call_works", "call-tls": "certificate_expired", "call-https": "certificate_expired"})
}
