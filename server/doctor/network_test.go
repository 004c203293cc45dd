package doctor_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pion/stun/v3"

	"github.com/quckchat/quckchat/server/control"
	"github.com/quckchat/quckchat/server/servertest"
)

// TestMain has more tests go on side by side than there are cores: they wait for what does not answer.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "3"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// network is a small internet of network namespaces:
//
//	client 20.0.1.2 --- router 20.0.0.1 --- server 192.168.7.10
//	outside 20.0.2.53, 20.0.2.54 ---'
//
// The router masquerades the server's network and forwards ports to it. The addresses look public and lead nowhere else.
type network struct {
	t      *testing.T
	prefix string
}

// The names by which nft and the addresses above are known.
const (
	publicIP = "20.0.0.1"
	hostName = "chat.quck.example"
)

// networks numbers them: several tests may have one at a time.
var networks atomic.Int64

// newNetwork makes the namespaces, or skips the test where that is not possible.
func newNetwork(t *testing.T) *network {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("SKIPPED: network namespaces need root")
	}
	for _, program := range []string{"ip", "nft", "sysctl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("SKIPPED: %s was not found (Debian's iproute2, nftables and procps)", program)
		}
	}
	n := &network{t, fmt.Sprintf("qc%d-%d-", os.Getpid(), networks.Add(1))}
	if out, err := exec.Command("ip", "netns", "add", n.prefix+"router").CombinedOutput(); err != nil {
		t.Skipf("SKIPPED: no network namespaces here: %s", out)
	}
	t.Cleanup(func() { n.run("ip", "netns", "del", n.prefix+"router") })
	n.in("router", "ip", "link", "set", "lo", "up")
	n.in("router", "ip", "address", "add", publicIP+"/32", "dev", "lo")
	n.in("router", "sysctl", "-qw", "net.ipv4.ip_forward=1")
	n.join("client", "20.0.1.1", "20.0.1.2")
	n.join("outside", "20.0.2.1", "20.0.2.53", "20.0.2.54")
	n.join("server", "192.168.7.1", "192.168.7.10")
	for _, host := range []string{"client", "server"} {
		n.hosts(host, publicIP+" "+hostName+" "+hostName+".") // browsers ask for TURN servers with a dot at the end
	}
	return n
}

func (n *network) run(program string, args ...string) {
	n.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		n.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// in runs a program in a namespace.
func (n *network) in(host string, args ...string) {
	n.t.Helper()
	n.run("ip", append([]string{"netns", "exec", n.prefix + host}, args...)...)
}

// join makes a namespace and connects it to the router.
func (n *network) join(host, gateway string, addresses ...string) {
	n.t.Helper()
	name := n.prefix + host
	n.run("ip", "netns", "add", name)
	n.t.Cleanup(func() { n.run("ip", "netns", "del", name) })
	n.run("ip", "link", "add", host, "netns", n.prefix+"router", "type", "veth", "peer", "name", "eth0", "netns", name)
	n.in("router", "ip", "address", "add", gateway+"/24", "dev", host)
	n.in("router", "ip", "link", "set", host, "up")
	n.in(host, "ip", "link", "set", "lo", "up")
	for _, a := range addresses {
		n.in(host, "ip", "address", "add", a+"/24", "dev", "eth0")
	}
	n.in(host, "ip", "link", "set", "eth0", "up")
	n.in(host, "ip", "route", "add", "default", "via", gateway)
	n.in(host, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
}

// hosts writes the names that a namespace knows.
func (n *network) hosts(host, lines string) {
	n.t.Helper()
	dir := "/etc/netns/" + n.prefix + host
	if err := os.MkdirAll(dir, 0o755); err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { os.RemoveAll(dir) })
	// Nobody answers there either, but at once: browsers ask for IPv6 although a name stands in hosts.
	for file, text := range map[string]string{"hosts": "127.0.0.1 localhost\n" + lines + "\n", "resolv.conf": "nameserver 127.0.0.1\n"} {
		if err := os.WriteFile(dir+"/"+file, []byte(text), 0o644); err != nil {
			n.t.Fatal(err)
		}
	}
}

// rules replaces the rules of nftables in a namespace.
func (n *network) rules(host, text string) {
	n.t.Helper()
	cmd := exec.Command("ip", "netns", "exec", n.prefix+host, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader("flush ruleset\n" + text)
	if out, err := cmd.CombinedOutput(); err != nil {
		n.t.Fatalf("nft: %v\n%s", err, out)
	}
}

// wiring is how the router forwards.
type wiring struct {
	tcp, udp string // ports to the server
	inside   bool   // from the server's own network too (hairpin)
	snat     string // how it masquerades; "" keeps ports
	drop     string // a rule of the forward chain
}

// everything is a router as it should be.
var everything = wiring{tcp: "3000, 3478, 443", udp: "3478, 49152-65535", inside: true}

func (n *network) wire(w wiring) {
	n.t.Helper()
	from, back := `iifname != "server"`, ""
	if w.inside {
		from, back = "", `ip saddr 192.168.7.0/24 oifname "server" masquerade`
	}
	forward := func(protocol, ports string) string {
		if ports == "" {
			return ""
		}
		return fmt.Sprintf("%s ip daddr %s %s dport { %s } dnat to 192.168.7.10", from, publicIP, protocol, ports)
	}
	protocol := ""
	if w.snat != "" {
		protocol = "meta l4proto udp"
	}
	n.rules("router", fmt.Sprintf(`table ip nat {
		chain pre {
			type nat hook prerouting priority dstnat
			%s
			%s
		}
		chain post {
			type nat hook postrouting priority srcnat
			ip saddr 192.168.7.0/24 oifname != "server" %s snat to %s%s
			%s
		}
	}
	table ip filter {
		chain forward {
			type filter hook forward priority filter
			%s
		}
	}
	`, forward("tcp", w.tcp), forward("udp", w.udp), protocol, publicIP, w.snat, back, w.drop))
}

// child starts a role in a namespace.
func (n *network) child(host, role string, env ...string) {
	n.t.Helper()
	child(n.t, []string{"ip", "netns", "exec", n.prefix + host}, role, env...)
}

// child starts a role of this test program (TestInAChild) by way of a command, and returns when it is ready. It ends with the test.
func child(t *testing.T, by []string, role string, env ...string) {
	t.Helper()
	by = append(by, os.Args[0], "-test.run=^TestInAChild$", "-test.v=false")
	cmd := exec.Command(by[0], by[1:]...)
	cmd.Env = append(append(os.Environ(), "DOCTOR_ROLE="+role), env...)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_, _ = io.Copy(io.Discard, stdout)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
	})
	for lines := bufio.NewScanner(stdout); ; {
		if !lines.Scan() {
			t.Fatalf("the %s does not start", role)
		}
		if lines.Text() == "ready" {
			return
		}
	}
}

// serve starts a server in its namespace and returns a client of its admin socket.
func (n *network) serve(settings ...string) *control.Client {
	n.t.Helper()
	settings = append([]string{"QUCKCHAT_LISTEN=:3000", "QUCKCHAT_TURN_LISTEN=:3478", "QUCKCHAT_PUBLIC_URL=http://" + hostName + ":3000", "QUCKCHAT_TURN_PUBLIC_IP=" + publicIP}, settings...)
	client, _ := serve(n.t, []string{"ip", "netns", "exec", n.prefix + "server"}, nil, settings...)
	return client
}

// serve starts a server by way of a command, with more in its environment, and returns a client of its admin socket, and
// where it listens.
func serve(t *testing.T, by, env []string, settings ...string) (client *control.Client, address string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	child(t, by, "server", append(env, "DOCTOR_DIR="+dir, "DOCTOR_SETTINGS="+strings.Join(settings, "\n"))...)
	client, err := control.Dial(control.SocketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client, control.ListenAddress(dir)
}

// TestInAChild is what the children run: a server, or a STUN server outside. By itself it does nothing.
func TestInAChild(t *testing.T) {
	switch os.Getenv("DOCTOR_ROLE") {
	case "server":
		servertest.StartIn(t, os.Getenv("DOCTOR_DIR"), strings.Split(os.Getenv("DOCTOR_SETTINGS"), "\n")...)
	case "outside":
		answerOutside(t)
	default:
		t.Skip("for the tests with children")
	}
	fmt.Println("\nready")
	_, _ = io.Copy(io.Discard, os.Stdin) // until the test is over
}

// answerOutside is a STUN server with two addresses, which names the other in every answer (RFC 5780).
func answerOutside(t *testing.T) {
	addresses := []*net.UDPAddr{{IP: net.IPv4(20, 0, 2, 53), Port: 3478}, {IP: net.IPv4(20, 0, 2, 54), Port: 3478}}
	for i, a := range addresses {
		conn, err := net.ListenUDP("udp4", a)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		other := addresses[1-i]
		go func() {
			buf := make([]byte, 1500)
			for {
				k, from, err := conn.ReadFromUDP(buf)
				if err != nil {
					return
				}
				m := &stun.Message{Raw: append([]byte(nil), buf[:k]...)}
				if m.Decode() != nil {
					continue
				}
				reply := stun.MustBuild(m, stun.BindingSuccess, &stun.XORMappedAddress{IP: from.IP, Port: from.Port}, &stun.OtherAddress{IP: other.IP, Port: other.Port})
				_, _ = conn.WriteToUDP(reply.Raw, from)
			}
		}()
	}
}
