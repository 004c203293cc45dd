package server_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	pion "github.com/pion/turn/v4"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/turn"
)

// certificateFiles makes a certificate for localhost and returns the settings that name it.
func certificateFiles(t *testing.T) []string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, form, form, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, kind string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	return []string{"QUCKCHAT_TLS_CERT=" + write("cert.pem", "CERTIFICATE", der), "QUCKCHAT_TLS_KEY=" + write("key.pem", "PRIVATE KEY", private)}
}

// allocate makes a relay at one address of an ICE server, as a browser does.
func allocate(t *testing.T, address string, servers []turn.ICEServer) net.Addr {
	t.Helper()
	scheme, rest, _ := strings.Cut(address, ":")
	hostPort, transport, _ := strings.Cut(rest, "?transport=")
	var conn net.PacketConn
	if transport == "udp" {
		udp, err := net.ListenPacket("udp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		conn = udp
	} else {
		tcp, err := net.Dial("tcp", hostPort)
		if err != nil {
			t.Fatal(err)
		}
		if scheme == "turns" {
			tcp = tls.Client(tcp, &tls.Config{InsecureSkipVerify: true})
		}
		conn = pion.NewSTUNConn(tcp)
	}
	t.Cleanup(func() { conn.Close() })
	login := servers[len(servers)-1]
	client, err := pion.NewClient(&pion.ClientConfig{STUNServerAddr: hostPort, TURNServerAddr: hostPort, Conn: conn, Username: login.Username, Password: login.Credential})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if err := client.Listen(); err != nil {
		t.Fatal(err)
	}
	relay, err := client.Allocate()
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	return relay.LocalAddr()
}

func TestTheServerRelaysAtEveryAddressThatItGives(t *testing.T) {
	s := servertest.Start(t, append(certificateFiles(t), "QUCKCHAT_TURN_LISTEN=127.0.0.1:0")...)
	servers := s.Inner.ICEServers(s.Inner.Addr().String(), "507f1f77bcf86cd799439011", "call")
	var seen []string
	for _, address := range servers[len(servers)-1].URLs {
		relay := allocate(t, address, servers)
		if !strings.HasPrefix(relay.String(), "127.0.0.1:") {
			t.Errorf("%s relays at %s", address, relay)
		}
		scheme, _, _ := strings.Cut(address, ":")
		seen = append(seen, scheme+address[strings.Index(address, "?"):])
	}
	if got := strings.Join(seen, " "); got != "turn?transport=udp turn?transport=tcp turns?transport=tcp turns?transport=tcp" {
		t.Errorf("the addresses are of %s", got)
	}
	web := ":" + strconv.Itoa(s.Inner.Addr().(*net.TCPAddr).Port) + "?"
	if last := servers[len(servers)-1].URLs; !strings.Contains(last[2], web) {
		t.Errorf("%s is not the port of HTTPS, %s", last[2], web)
	}
	if a := s.Inner.TURN().Allocations(); len(a) != 4 || a[0].User != "507f1f77bcf86cd799439011" || a[0].Call != "call" {
		t.Errorf("%+v", a)
	}
}

func TestAPortThatIsTakenKeepsNoChatFromStarting(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for listen, want := range map[string]string{taken.Addr().String(): "down", "off": "up", "127.0.0.1:0": "up"} {
		s := servertest.Start(t, "QUCKCHAT_TURN_LISTEN="+listen)
		ada := s.Register("ada")
		var health struct {
			Details map[string]struct {
				Status  string `json:"status"`
				Enabled bool   `json:"enabled"`
				Message string `json:"message"`
			} `json:"details"`
		}
		reply := ada.Do(http.MethodGet, "/health", nil)
		if err := json.Unmarshal(reply.Body, &health); err != nil {
			t.Fatal(err)
		}
		part := health.Details["turn"]
		if part.Status != want || part.Enabled != (listen != "off") || (part.Message == "") != (want == "up") {
			t.Errorf("%s: %d %+v", listen, reply.Status, part)
		}
		if (reply.Status == http.StatusOK) != (want == "up") {
			t.Errorf("%s: the status is %d", listen, reply.Status)
		}
		if n := len(s.Inner.ICEServers("", ada.ID, "")); (n > 0) != (want == "up" && listen != "off") {
			t.Errorf("%s: %d ICE servers", listen, n)
		}
		ready := s.Nobody().Do(http.MethodGet, "/health/ready", nil)
		if ready.Status != http.StatusOK {
			t.Errorf("%s: not ready, %d", listen, ready.Status)
		}
	}
}

func TestClientsAreToldTheNameThatTheyKnow(t *testing.T) {
	for _, c := range []struct{ public, host, want string }{
		{"https://chat.example.org", "else.example.org:99", "stun:chat.example.org:"},
		{"", "chat.lan:3000", "stun:chat.lan:"},
		{"", "chat.lan", "stun:chat.lan:"},
		{"", "[2001:db8::1]:3000", "stun:[2001:db8::1]:"},
		{"", "", "stun:127.0.0.1:"},
	} {
		s := servertest.Start(t, "QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_PUBLIC_URL="+c.public)
		servers := s.Inner.ICEServers(c.host, "ada", "")
		if got := servers[0].URLs[0]; !strings.HasPrefix(got, c.want) {
			t.Errorf("%q asked as %q: %s", c.public, c.host, got)
		}
		s.Stop()
	}
}
