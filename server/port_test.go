package server

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

const testPatience = 10 * time.Second

// stunHello is how a STUN message begins; those who take it say so.
const stunHello = "\x00\x01\x00\x00\x21\x12\xa4\x42abcdefghijkl"

// onePort serves HTTP and "TURN" on one port: HTTP says whether it came by TLS, the other side repeats what it read.
func onePort(t *testing.T, config *tls.Config) (address string, p *splitter) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p = split(l, config, func(c net.Conn) {
		go func() {
			defer c.Close()
			buf := make([]byte, len(stunHello))
			if _, err := io.ReadFull(c, buf); err == nil {
				fmt.Fprintf(c, "relay %s", buf)
			}
		}()
	}, slog.New(slog.DiscardHandler))
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "web %t", r.TLS != nil) })}
	served := make(chan struct{})
	go func() {
		_ = web.Serve(p)
		close(served)
	}()
	t.Cleanup(func() {
		p.Close()
		web.Close()
		<-served
	})
	return l.Addr().String(), p
}

func testTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, NextProtos: append(append([]string{}, alpnHTTP...), alpnTURN...)}
}

// talk dials, says something, and returns what is answered, up to the end or to what a reader of HTTP would read.
func talk(t *testing.T, address string, config *tls.Config, say string) string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(testPatience))
	if config != nil {
		c = tls.Client(c, config)
	}
	if _, err := c.Write([]byte(say)); err != nil {
		return "error: " + err.Error()
	}
	if strings.HasPrefix(say, "GET") {
		r, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return "error: " + err.Error()
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return string(b)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(b)
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

func TestOnePortTellsHTTPAndTURNApart(t *testing.T) {
	plain, _ := onePort(t, nil)
	secure, _ := onePort(t, testTLS(t))
	offer := func(protocols ...string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}
	}
	for _, c := range []struct {
		what, address string
		config        *tls.Config
		say, want     string
	}{
		{"HTTP", plain, nil, get, "web false"},
		{"STUN", plain, nil, stunHello, "relay " + stunHello},
		{"HTTPS by ALPN", secure, offer("http/1.1"), get, "web true"},
		{"HTTPS of who offers HTTP/2 too", secure, offer("h2", "http/1.1"), get, "web true"},
		{"HTTPS without ALPN", secure, offer(), get, "web true"},
		{"TURN by ALPN", secure, offer("stun.turn"), stunHello, "relay " + stunHello},
		{"STUN by ALPN", secure, offer("stun.nat-discovery"), stunHello, "relay " + stunHello},
		{"TURN without ALPN, as browsers do", secure, offer(), stunHello, "relay " + stunHello},
	} {
		if got := talk(t, c.address, c.config, c.say); got != c.want {
			t.Errorf("%s: %q, want %q", c.what, got, c.want)
		}
	}
	if got := talk(t, secure, offer("h2"), get); !strings.HasPrefix(got, "error") {
		t.Errorf("HTTP/2 is spoken: %q", got)
	}
}

func TestPlainHTTPKeepsTheConnectionOfTheKernel(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := split(l, nil, func(c net.Conn) { c.Close() }, slog.New(slog.DiscardHandler))
	defer p.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte(get)); err != nil {
		t.Fatal(err)
	}
	got, err := p.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer got.Close()
	if _, ok := got.(*net.TCPConn); !ok {
		t.Fatalf("it is a %T", got)
	}
	buf := make([]byte, len(get))
	if _, err := io.ReadFull(got, buf); err != nil || string(buf) != get {
		t.Errorf("%q, %v", buf, err)
	}
}

func TestSilentClientsKeepNobodyAndAreBounded(t *testing.T) {
	for _, config := range []*tls.Config{nil, testTLS(t)} {
		address, p := onePort(t, config)
		client := (*tls.Config)(nil)
		if config != nil {
			client = &tls.Config{InsecureSkipVerify: true}
		}
		var silent []net.Conn
		for range undecidedMax + 20 {
			c, err := net.Dial("tcp", address)
			if err != nil {
				t.Skipf("this machine does not give as many connections: %v", err)
			}
			defer c.Close()
			silent = append(silent, c)
		}
		want := fmt.Sprintf("web %t", config != nil)
		if got := talk(t, address, client, get); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		_ = silent[0].SetReadDeadline(time.Now().Add(testPatience))
		if _, err := silent[0].Read(make([]byte, 1)); err == nil {
			t.Error("the oldest silent client is answered")
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Error("the oldest silent client is waited for although there are too many")
		}
		p.mu.Lock()
		n := p.undecided.Len()
		p.mu.Unlock()
		if n > undecidedMax {
			t.Errorf("%d are undecided", n)
		}
	}
}

func TestClosingThePortEndsWhoIsUndecided(t *testing.T) {
	before := runtime.NumGoroutine()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := split(l, testTLS(t), func(c net.Conn) { c.Close() }, slog.New(slog.DiscardHandler))
	var conns []net.Conn
	for range 20 {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range conns {
		_ = c.SetReadDeadline(time.Now().Add(testPatience))
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("it speaks")
		} else if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Error("a connection stays open")
		}
	}
	if _, err := p.Accept(); err == nil {
		t.Error("a closed port accepts")
	}
	for deadline := time.Now().Add(testPatience); runtime.NumGoroutine() > before; {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
		runtime.Gosched()
	}
}
