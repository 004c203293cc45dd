package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// Two people at home, each behind a router of their own that translates addresses, and the server outside: each is a network
// namespace. Through the second router no UDP passes.

// sh runs commands, one a line, and fails with the first that does.
func sh(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if out, err := exec.Command("sh", "-c", line).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// homes makes the namespaces qcsrv, and for each person a router and a host: qcr1, qch1, qcr2, qch2. The server is 10.77.0.1.
func homes(t *testing.T) {
	t.Helper()
	for _, name := range []string{"ip", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: no call behind routers is tried, because %s was not found: apt-get install iproute2 nftables", name)
		}
	}
	if os.Getuid() != 0 || exec.Command("ip", "netns", "add", "qcsrv").Run() != nil {
		t.Skip("SKIPPED: no call behind routers is tried, because network namespaces cannot be made: run this as root")
	}
	t.Cleanup(func() {
		for _, name := range []string{"qcsrv", "qcr1", "qch1", "qcr2", "qch2"} {
			_ = exec.Command("ip", "netns", "del", name).Run()
		}
	})
	sh(t, `
		ip -n qcsrv link set lo up
		ip -n qcsrv addr add 10.77.0.1/32 dev lo`)
	for i := 1; i <= 2; i++ {
		sh(t, strings.ReplaceAll(`
			ip netns add qcrN
			ip netns add qchN
			ip -n qchN link set lo up
			ip link add wanN netns qcrN type veth peer name homeN netns qcsrv
			ip -n qcsrv addr add 10.77.N.1/30 dev homeN
			ip -n qcsrv link set homeN up
			ip -n qcrN addr add 10.77.N.2/30 dev wanN
			ip -n qcrN link set wanN up
			ip -n qcrN route add default via 10.77.N.1
			ip link add lanN netns qcrN type veth peer name eth0 netns qchN
			ip -n qcrN addr add 192.168.10.1/24 dev lanN
			ip -n qcrN link set lanN up
			ip -n qchN addr add 192.168.10.2/24 dev eth0
			ip -n qchN link set eth0 up
			ip -n qchN route add default via 192.168.10.1
			ip netns exec qcrN sysctl -qw net.ipv4.ip_forward=1
			ip netns exec qcrN nft add table ip nat
			ip netns exec qcrN nft 'add chain ip nat out { type nat hook postrouting priority 100 ; }'
			ip netns exec qcrN nft add rule ip nat out oifname wanN masquerade`, "N", fmt.Sprint(i)))
	}
	sh(t, `
		ip netns exec qcr2 nft add table ip filter
		ip netns exec qcr2 nft 'add chain ip filter pass { type filter hook forward priority 0 ; }'
		ip netns exec qcr2 nft add rule ip filter pass meta l4proto udp drop`)
}

func TestABrowserWithoutUDPTalksToOneBehindAnotherRouter(t *testing.T) {
	homes(t)
	script, err := os.ReadFile("../../server/call/testdata/call.js")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	server := exec.Command("ip", "netns", "exec", "qcsrv", filepath.Join(binaryDir, "quckchat"), "serve", "--data", dir)
	server.Env = append(append(os.Environ(), servertest.Certificate(t)...), "QUCKCHAT_LISTEN=10.77.0.1:443", "QUCKCHAT_TURN_LISTEN=10.77.0.1:3478", "QUCKCHAT_TURN_PUBLIC_IP=10.77.0.1", "QUCKCHAT_REGISTRATION=open",
		"QUCKCHAT_RATE_LIMITS=off")
	var log output
	server.Stdout, server.Stderr = &log, &log
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Process.Kill(); _ = server.Wait() })
	until(t, "the server is ready", patience, func() bool { return strings.Contains(log.String(), "msg=serving") })

	type account struct {
		User struct {
			ID string `json:"_id"`
		}
		AccessToken string
	}
	people := make([]account, 2)
	pages := make([]*servertest.Page, 2)
	for i, name := range []string{"ada", "bob"} {
		pages[i] = servertest.OpenPage(t, fmt.Sprint("qch", i+1), "https://10.77.0.1/")
		people[i] = servertest.Eval[account](pages[i], fmt.Sprintf(`fetch('/api/v1/auth/register', { method: 'POST', headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify({ phoneNumber: '+1555000000%d', password: 'Correct-horse-9!', username: %q, displayName: %q }) }).then(r => r.json())`, i, name, name))
	}
	room := servertest.Eval[string](pages[0], fmt.Sprintf(`fetch('/api/v1/conversations/single', { method: 'POST', headers: { 'Content-Type': 'application/json', Authorization: 'Bearer %s' },
		body: JSON.stringify({ recipientId: %q }) }).then(r => r.json()).then(c => c._id)`, people[0].AccessToken, people[1].User.ID))
	for i, p := range pages {
		servertest.Eval[any](p, fmt.Sprintf("%s; window.c = client(%q, ''); c.open()", script, people[i].AccessToken))
	}
	servertest.Eval[any](pages[0], fmt.Sprintf("c.call(%q, %q)", room, people[1].User.ID))
	servertest.Eval[any](pages[1], "c.answer()")
	for i, p := range pages {
		f := servertest.Eval[struct {
			Kind, Protocol string
			Frames, Audio  int
			Moved          bool
		}](p, "c.moving(20)")
		t.Logf("%s: %+v", []string{"behind a router", "behind one without UDP"}[i], f)
		if !f.Moved || f.Kind != "relay" || i == 1 && f.Protocol == "udp" {
			t.Errorf("%d: %+v", i, f)
		}
	}
}
