package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/quckchat/quckchat/turn"
)

// relays is scenario H: calls through the TURN server, beside coturn, with the load generator of coturn's authors. Both
// servers run in turn, as processes of their own, under the same load: clients that send 1,000 bytes each millisecond
// through channels, in pairs to each other's relays, or to a peer that is no relay and sends everything back.
func (b *bench) relays(ctx context.Context) error {
	for _, program := range []string{"turnserver", "turnutils_uclient", "turnutils_peer"} {
		if _, err := exec.LookPath(program); err != nil {
			b.say("turn: NOT MEASURED: %s is not installed (Debian's package coturn)", program)
			b.report.table("H. TURN", "not measured").add(program + " is not installed (Debian's package coturn)")
			return nil
		}
	}
	at, err := freeAddress()
	if err != nil {
		return err
	}
	peer, err := b.spawn("turnutils_peer", "turnutils_peer", nil, "-L", at.Addr().String(), "-p", fmt.Sprint(at.Port()))
	if err != nil {
		return err
	}
	defer peer.stop()
	t := b.report.table("H. TURN", "clients", "send to", "server", "messages", "lost", "at its socket", "CPU per message", "messages per CPU second", "peak RSS")
	for _, clients := range b.relayClients {
		for _, load := range []relayLoad{{clients: clients}, {clients: clients, peer: at}} {
			if err := b.relaysBeside(ctx, t, load); err != nil {
				return err
			}
		}
	}
	t.note = "turnutils_uclient -c -l 1000 -n " + fmt.Sprint(b.relayMessages) + " -z 1 over loopback. CPU is that of the server's process alone; \"lost\" is of all rounds, wherever, \"at its socket\" what the server left there until there was no room: the rest is lost by the clients, which share the cores. Medians (and extremes)."
	return nil
}

// relaysBeside is one load on both servers.
func (b *bench) relaysBeside(ctx context.Context, t *table, load relayLoad) error {
	var runs [2][]relayRun // ours and theirs
	var ratio []float64
	for round := range b.rounds {
		ours, err := b.relayOurs(ctx, load)
		if err != nil {
			return err
		}
		theirs, err := b.relayCoturn(ctx, load)
		if err != nil {
			return err
		}
		runs[0], runs[1], ratio = append(runs[0], ours), append(runs[1], theirs), append(ratio, ours.rate()/theirs.rate())
		b.say("turn, %d clients, %s, round %d: %.1f us a message and %d lost, coturn %.1f us and %d lost: %.2f of its messages per CPU second",
			load.clients, load.to(), round+1, ours.each(), ours.lost, theirs.each(), theirs.lost, ratio[round])
	}
	var lost, dropped [2]int64
	for i, name := range []string{"QuckChat", "coturn"} {
		var peak int64
		for _, r := range runs[i] {
			lost[i], dropped[i], peak = lost[i]+r.lost, dropped[i]+r.dropped, max(peak, r.peak)
		}
		each := spreadBy(runs[i], relayRun.each).show(func(v float64) string { return fmt.Sprintf("%.1f us", v) })
		t.add(fmt.Sprint(load.clients), load.to(), name, count(float64(runs[i][0].sent)), fmt.Sprint(lost[i]), fmt.Sprint(dropped[i]), each, spreadBy(runs[i], relayRun.rate).show(count), mib(peak))
	}
	what, median := fmt.Sprintf("TURN, %d clients to %s: ", load.clients, load.to()), spreadOf(ratio...).median
	b.report.goal(what+"messages per CPU second beside coturn", "0.60, better 0.80", fmt.Sprintf("%.2f", median), median >= 0.6)
	if !load.peer.IsValid() { // a peer and clients that lose packets themselves, for want of a core, say nothing of the server
		b.report.goal(what+"lost", "0", fmt.Sprint(lost[0]), lost[0] == 0)
	}
	return nil
}

// relayLoad is so many clients, that send to a peer, or to each other when there is none.
type relayLoad struct {
	clients int
	peer    netip.AddrPort
}

func (l relayLoad) to() string {
	if l.peer.IsValid() {
		return "a peer"
	}
	return "each other"
}

// relayRun is what one run came to.
type relayRun struct {
	sent, received, lost int64
	dropped              int64 // of those lost, at the socket that the server reads
	cpu                  time.Duration
	peak                 int64
}

// each is microseconds of CPU for a message that arrived.
func (r relayRun) each() float64 { return float64(r.cpu.Microseconds()) / float64(max(r.received, 1)) }

// rate is messages that arrived per second of CPU.
func (r relayRun) rate() float64 { return float64(r.received) / r.cpu.Seconds() }

func (b *bench) relayOurs(ctx context.Context, load relayLoad) (run relayRun, err error) {
	at, err := freeAddress()
	if err != nil {
		return run, err
	}
	data := filepath.Join(b.tmp, "relay")
	p, err := b.spawn("quckchat", b.binary, []string{"QUCKCHAT_TURN_USER_RELAYS=1000", "QUCKCHAT_TURN_ALLOW_PEERS=127.0.0.1"}, "serve", "--data", data, "--listen", "127.0.0.1:0", "--turn-listen", at.String())
	if err != nil {
		return run, err
	}
	defer p.stop()
	if err := p.answers(ctx, at); err != nil {
		return run, err
	}
	secrets, err := os.ReadFile(filepath.Join(data, "secrets.json"))
	if err != nil {
		return run, err
	}
	var keys struct {
		TURN []byte `json:"turnSecret"`
	}
	if err := json.Unmarshal(secrets, &keys); err != nil {
		return run, fmt.Errorf("read secrets: %w", err)
	}
	minter := turn.Minter{Secret: keys.TURN, TTL: time.Hour}
	cred := minter.Mint("bench", "")
	return b.relayRun(ctx, p, at, load, cred.Username, cred.Password)
}

func (b *bench) relayCoturn(ctx context.Context, load relayLoad) (run relayRun, err error) {
	at, err := freeAddress()
	if err != nil {
		return run, err
	}
	p, err := b.spawn("turnserver", "turnserver", nil, "-n", "--listening-ip", "127.0.0.1", "--relay-ip", "127.0.0.1", "--listening-port", fmt.Sprint(at.Port()),
		"--lt-cred-mech", "--user", "bench:bench", "--realm", "bench", "--allow-loopback-peers", "--no-cli", "--no-tls", "--no-dtls", "--no-software-attribute",
		"--pidfile", filepath.Join(b.tmp, "turnserver.pid"), "--userdb", filepath.Join(b.tmp, "turndb"), "--log-file", "stdout", "--simple-log")
	if err != nil {
		return run, err
	}
	defer p.stop()
	if err := p.answers(ctx, at); err != nil {
		return run, err
	}
	return b.relayRun(ctx, p, at, load, "bench", "bench")
}

// answers waits until a STUN server answers.
func (p *process) answers(ctx context.Context, at netip.AddrPort) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		if _, err := turn.Mapped(ctx, at.String()); err == nil {
			return nil
		}
		select {
		case <-p.exited:
			return p.died(errors.New("the TURN server ended before it was ready"))
		case <-ctx.Done():
			return p.died(fmt.Errorf("wait for the TURN server: %w", ctx.Err()))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

var (
	relayTotals = regexp.MustCompile(`tot_send_msgs=(\d+), tot_recv_msgs=(\d+)`)
	relayLost   = regexp.MustCompile(`Total lost packets (\d+)`)
)

// relayRun runs the generator against a server.
func (b *bench) relayRun(ctx context.Context, p *process, at netip.AddrPort, load relayLoad, user, password string) (run relayRun, err error) {
	args := []string{"-c", "-l", "1000", "-n", fmt.Sprint(b.relayMessages), "-z", "1", "-m", fmt.Sprint(load.clients), "-u", user, "-w", password, "-p", fmt.Sprint(at.Port())}
	if load.peer.IsValid() {
		args = append(args, "-e", load.peer.Addr().String(), "-r", fmt.Sprint(load.peer.Port()))
	} else {
		args = append(args, "-y")
	}
	resetPeak(p.pid())
	before := cpuTime(p.pid())
	cmd := exec.CommandContext(ctx, "turnutils_uclient", append(args, at.Addr().String())...)
	out, err := cmd.CombinedOutput()
	run.dropped = udpDrops(at)
	run.cpu, run.peak = cpuTime(p.pid())-before, memory(p.pid(), "VmHWM")
	text := string(out)
	totals, lost := relayTotals.FindAllStringSubmatch(text, -1), relayLost.FindStringSubmatch(text)
	if err != nil || len(totals) == 0 || lost == nil {
		return run, p.died(fmt.Errorf("turnutils_uclient: %w; it printed last: %s", errors.Join(err, ctx.Err()), strings.TrimSpace(text[max(0, len(text)-500):])))
	}
	last := totals[len(totals)-1]
	run.sent, _ = strconv.ParseInt(last[1], 10, 64)
	run.received, _ = strconv.ParseInt(last[2], 10, 64)
	run.lost, _ = strconv.ParseInt(lost[1], 10, 64)
	return run, nil
}

// udpDrops is how many datagrams the kernel dropped at an IPv4 socket of this machine because nobody read them in time.
func udpDrops(at netip.AddrPort) (drops int64) {
	a := at.Addr().As4()
	local := fmt.Sprintf("%02X%02X%02X%02X:%04X", a[3], a[2], a[1], a[0], at.Port())
	text, _ := os.ReadFile("/proc/net/udp")
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 12 && fields[1] == local {
			n, _ := strconv.ParseInt(fields[12], 10, 64)
			drops += n
		}
	}
	return drops
}
