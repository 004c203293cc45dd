// Command bench is the load generator of QuckChat. It builds the server, starts it as a process of its own on a temporary
// data directory, loads it over real sockets of this machine, and prints what it did and what that cost:
//
//	go run ./bench                          everything, some fifteen minutes
//	go run ./bench -quick                   everything, small: does it still work?
//	go run ./bench -run A,B                 some scenarios
//	go run ./bench -out bench/RESULTS.md    keep the results, with the machine described
//
// Run it on an idle machine. The scenarios, each in a file of its own:
//
//	A  fanout.go     one room, 100 and 1,000 receivers, at fixed rates and at rising ones
//	B  pairs.go      250 rooms of two: durable sends a second, time to the acknowledgement, search catching up
//	C  idle.go       memory of idle sockets, of an empty server, and its time to ready
//	D  history.go    pages of history, small room against large, with readers and a writer together
//	E  reconnect.go  1,000 clients come back at once and fetch what they missed
//	F  mixed.go      one room heard by native sockets alone, and half of it by Socket.IO
//	G  uploads.go    many large files at a time
//	H  turn.go       packets of calls through the TURN server, beside coturn (Debian's package coturn must be installed)
//	I  sfu.go        group calls through the SFU, in a process of its own (sfuserver.go): CPU per forwarded packet
//
// # How it measures
//
// Arrivals are scheduled: message k is due at a time fixed before the run, it is sent then whether or not earlier ones were
// answered, and all latencies count from that time. So a server that stalls pays for everything it kept waiting.
//
// CPU is user and system time of the server's process alone, memory its VmRSS and VmHWM. Generator and server share the
// cores, so the generator is made cheap: one thread reads all sockets (loop.go), frames are searched, not parsed
// (crowd.go), and times are counted in buckets 1.6 % wide (recorder.go).
//
// # What it proves
//
// Every run is audited (ledger.go, audit.go): each acknowledged message reached each member exactly once, a client that was
// dropped and came back included; it is stored once, under the number acknowledged, in a history without gaps; sent again
// under its clientId it is the same message. If not, bench says what is wrong, writes no results and exits with 1. A goal
// that was missed is only shown. Exit code 2 is a wrong flag.
//
// # The floors
//
// A figure means little without what the machine could do at best, so two floors run beside ours, in turn with it: a bare
// gorilla hub that stores nothing (floorhub.go) for the fan-out, bare SQLite inserts with the same group commit
// (floorsql.go) for the sends. "Ratio" is our work per CPU-second divided by theirs.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

func main() {
	if len(os.Args) > 1 { // the floors and the SFU: this program, started by itself
		floors := map[string]func([]string) error{"-floor-hub": runFloorHub, "-floor-sql": runFloorSQL, "-sfu": runSFU}
		if floor := floors[os.Args[1]]; floor != nil {
			if err := floor(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			return
		}
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	switch err := run(ctx, os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench: FAILED:", err)
		os.Exit(1)
	}
}

var errUsage = errors.New("wrong usage")

// bench is one invocation.
type bench struct {
	scale
	floorOnly bool
	million   bool

	sfuProfile string

	root, self, tmp, binary string
	load                    string // when it began

	loop     *loop
	running  []*process
	spawned  int
	server   *process
	api      *api
	accounts []*account
	report   report

	runs                       int
	audited, auditedDeliveries int64
}

// scenario is a letter with what it runs.
type scenario struct {
	letter, name string
	run          func(ctx context.Context) error
}

func run(ctx context.Context, args []string) (err error) {
	b := &bench{scale: fullScale, load: loadAverage()}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	which := flags.String("run", "A,B,C,D,E,F,G,H,I", "scenarios to run")
	quick := flags.Bool("quick", false, "run small and short: a smoke test, not a measurement")
	out := flags.String("out", "", "write the results as markdown to this file")
	binary := flags.String("server", "", "use this quckchat instead of building ./cmd/quckchat")
	dir := flags.String("dir", "", "make the data directories here instead of in the system's temporary directory; use a real disk")
	rounds := flags.Int("rounds", 0, "repeat what has a fixed rate so often (default 3, 1 with -quick)")
	flags.BoolVar(&b.floorOnly, "floor", false, "measure the floors only, in A and B, without a server")
	flags.StringVar(&b.sfuProfile, "sfu-profile", "", "in H, write a CPU profile of the SFU to this file")
	flags.BoolVar(&b.million, "million", false, "in D, also fill a room with a million messages and time the start (minutes more)")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if *quick {
		b.scale, b.report.smoke = quickScale, true
	}
	if *rounds > 0 {
		b.rounds = *rounds
	}
	chosen, err := b.choose(*which)
	if err != nil {
		return err
	}
	if err := b.open(ctx, *dir, *binary); err != nil {
		return err
	}
	defer b.close()
	began := time.Now()
	for _, s := range chosen {
		b.say("%s: %s", s.letter, s.name)
		tables := len(b.report.tables)
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", s.letter, err)
		}
		for _, t := range b.report.tables[tables:] {
			t.text(os.Stdout)
		}
	}
	if goals := b.report.all(); len(b.report.goals) > 0 {
		goals[len(goals)-1].text(os.Stdout)
	}
	footer := fmt.Sprintf("Audited: %s acknowledged messages, stored once and delivered exactly once to every member, %s deliveries. Took %s.",
		count(float64(b.audited)), count(float64(b.auditedDeliveries)), time.Since(began).Round(time.Second))
	if *quick {
		footer += " Made with -quick: a smoke test, not a measurement."
	}
	fmt.Println("\n" + footer)
	if *out == "" {
		return nil
	}
	file, err := os.Create(*out)
	if err != nil {
		return err
	}
	b.report.markdown(file, b.machine(), footer)
	return file.Close()
}

func (b *bench) choose(which string) ([]scenario, error) {
	all := []scenario{
		{"A", "fan-out", b.fanout}, {"B", "rooms of two", b.pairs}, {"C", "idle", b.idle}, {"D", "history", b.history}, {"E", "reconnect", b.reconnect},
		{"F", "native and Socket.IO", b.mixed}, {"G", "uploads", b.uploads}, {"H", "TURN", b.relays},
		{"I", "huddles", b.huddle},
	}
	if b.floorOnly {
		all = all[:2]
	}
	wanted := "," + strings.ToUpper(strings.ReplaceAll(which, " ", "")) + ","
	var chosen []scenario
	for _, s := range all {
		if strings.Contains(wanted, ","+s.letter+",") {
			chosen = append(chosen, s)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("%w: -run %s names no scenario", errUsage, which)
	}
	return chosen, nil
}

// open makes what all scenarios share: a directory, the built server, the loop.
func (b *bench) open(ctx context.Context, dir, binary string) (err error) {
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	if b.self, err = os.Executable(); err != nil {
		return err
	}
	module, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return fmt.Errorf("find the module: %w", err)
	}
	b.root = filepath.Dir(strings.TrimSpace(string(module)))
	if b.tmp, err = os.MkdirTemp(dir, "quckchat-bench-"); err != nil {
		return err
	}
	if b.tmp, err = filepath.Abs(b.tmp); err != nil {
		return err
	}
	runtime.GOMAXPROCS(max(4, runtime.NumCPU())) // the reader and the sender block in system calls
	if b.loop, err = newLoop(); err != nil {
		return err
	}
	if b.floorOnly {
		return nil
	}
	if binary != "" {
		b.binary, err = filepath.Abs(binary)
		return err
	}
	return b.build(ctx)
}

// close stops what was started and removes what was written.
func (b *bench) close() {
	for _, p := range b.running {
		p.stop()
	}
	if b.loop != nil {
		b.loop.close()
	}
	if b.tmp != "" {
		_ = os.RemoveAll(b.tmp)
	}
}

// say tells on the terminal how far it is.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%s  %s\n", time.Now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// restart gives a scenario the shared server with fresh memory, and at least so many accounts on it.
func (b *bench) restart(ctx context.Context, accounts int) error {
	if b.server != nil {
		b.server.stop()
	}
	data := filepath.Join(b.tmp, "data")
	var err error
	if b.server, err = b.serve(ctx, data); err != nil {
		return err
	}
	b.api = newAPI(b.server)
	for _, a := range b.accounts {
		a.api = b.api
	}
	if len(b.accounts) >= accounts {
		return nil
	}
	if len(b.accounts) > 0 {
		return fmt.Errorf("%d accounts wanted, %d were made", accounts, len(b.accounts))
	}
	b.say("registering %d accounts", b.people)
	if b.accounts, err = register(ctx, b.api, b.people); err != nil {
		return err
	}
	return b.restart(ctx, accounts) // hashing passwords takes memory that is not the scenario's
}
