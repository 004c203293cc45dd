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
// servers run in turn, as processes of their own, under the same load: pairs of clients that send 1,000 bytes each
// millisecond to each other's relays, through channels.
func (b *bench) relays(ctx context.Context) error {
	for _, program := range []string{"turnserver", "turnutils_uclient"} {
		if _, err := exec.LookPath(program); err != nil {
			b.say("turn: NOT MEASURED: %s is not installed (Debian's package coturn)", program)
			b.report.table("H. TURN", "not measured").add(program + " is not installed (Debian's package coturn)")
			return nil
		}
	}
	t := b.report.table("H. TURN", "clients", "server", "messages", "lost", "CPU per message", "messages per CPU second", "peak RSS")
	for _, clients := range b.relayClients {
		var ours, theirs []relayRun
		var ratio []float64
		for round := range b.rounds {
			one, err := b.relayOurs(ctx, clients)
			if err != nil {
				return err
			}
			other, err := b.relayCoturn(ctx, clients)
			if err != nil {
				return err
			}
			ours, theirs, ratio = append(ours, one), append(theirs, other), append(ratio, one.rate()/other.rate())
			b.say("turn, %d clients, round %d: %.1f us a message and %d lost, coturn %.1f us and %d lost: %.2f of its messages per CPU second",
				clients, round+1, one.each(), one.lost, other.each(), other.lost, ratio[round])
		}
		for name, runs := range map[string][]relayRun{"QuckChat": ours, "coturn": theirs} {
			lost, peak := int64(0), int64(0)
			for _, r := range runs {
				lost, peak = lost+r.lost, max(peak, r.peak)
			}
			t.add(fmt.Sprint(clients), name, count(float64(runs[0].sent)), fmt.Sprint(lost), spreadBy(runs, relayRun.each).show(func(v float64) string { return fmt.Sprintf("%.1f us", v) }),
				spreadBy(runs, relayRun.rate).show(count), mib(peak))
		}
		var lost int64
		for _, r := range ours {
			lost += r.lost
		}
		median := spreadOf(ratio...)
		b.report.goal(fmt.Sprintf("TURN, %d clients: messages per CPU second beside coturn", clients), "0.60, better 0.80", fmt.Sprintf("%.2f", median.median), median.median >= 0.6)
		b.report.goal(fmt.Sprintf("TURN, %d clients: lost", clients), "0", fmt.Sprint(lost), lost == 0)
	}
	t.note = "turnutils_uclient -y -c -l 1000 -n " + fmt.Sprint(b.relayMessages) + " -z 1 over loopback. CPU is that of the server's process alone; \"lost\" is of all rounds. Medians (and extremes)."
	return nil
}

// relayRun is what one run came to.
type relayRun struct {
	sent, received, lost int64
	cpu                  time.Duration
	peak                 int64
}

// each is microseconds of CPU for a message that arrived.
func (r relayRun) each() float64 { return float64(r.cpu.Microseconds()) / float64(max(r.received, 1)) }

// rate is messages that arrived per second of CPU.
func (r relayRun) rate() float64 { return float64(r.received) / r.cpu.Seconds() }

func (b *bench) relayOurs(ctx context.Context, clients int) (run relayRun, err error) {
	at, err := freeAddress()
	if err != nil {
		return run, err
	}
	data := filepath.Join(b.tmp, "relay")
	p, err := b.spawn("quckchat", b.binary, []string{"QUCKCHAT_TURN_USER_RELAYS=1000"}, "serve", "--data", data, "--listen", "127.0.0.1:0", "--turn-listen", at.String())
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
	return b.relayLoad(ctx, p, at, clients, cred.Username, cred.Password)
}

func (b *bench) relayCoturn(ctx context.Context, clients int) (run relayRun, err error) {
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
	return b.relayLoad(ctx, p, at, clients, "bench", "bench")
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

// relayLoad runs the generator against a server.
func (b *bench) relayLoad(ctx context.Context, p *process, at netip.AddrPort, clients int, user, password string) (run relayRun, err error) {
	resetPeak(p.pid())
	before := cpuTime(p.pid())
	cmd := exec.CommandContext(ctx, "turnutils_uclient", "-y", "-c", "-l", "1000", "-n", fmt.Sprint(b.relayMessages), "-z", "1", "-m", fmt.Sprint(clients),
		"-u", user, "-w", password, "-p", fmt.Sprint(at.Port()), at.Addr().String())
	out, err := cmd.CombinedOutput()
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
