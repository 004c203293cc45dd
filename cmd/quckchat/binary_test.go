package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// The tests of this package that do not call functions drive the program as it is shipped: a process of its own, built
// once without the race detector, reached by its ports, its admin socket, its signals and its files.

// patience is how long a test waits for what must happen.
const patience = 15 * time.Second

// binaryDir is where the program lies, under its own name.
var binaryDir string

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	dir, err := os.MkdirTemp("", "quckchat-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	// Everybody may run it: one of the scripts is somebody without rights.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	build := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", filepath.Join(dir, "quckchat"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build quckchat: %v\n%s", err, out)
		return 1
	}
	binaryDir = dir
	return m.Run()
}

// freePort is a port that nobody uses, below those that the kernel gives to clients: one of those could be taken by a
// client while the server is down.
func freePort(t *testing.T) string {
	t.Helper()
	for range 100 {
		address := fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(12000))
		if l, err := net.Listen("tcp", address); err == nil {
			l.Close()
			return address
		}
	}
	t.Fatal("no port is free")
	return ""
}

// output is what a process writes, readable meanwhile.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// end is the last of the output, for failures.
func (o *output) end() string {
	s := o.String()
	return s[max(0, len(s)-3000):]
}

// site is a data directory with the address of the server that uses it, over all its starts.
type site struct {
	t       *testing.T
	dir     string
	address string
	env     []string
	flags   []string
	shell   string // runs before the server in its process, such as "ulimit -S -f 100; "
	phones  int

	*process // the server that runs, or ran last
}

// process is one run of the program.
type process struct {
	cmd    *exec.Cmd
	log    *output
	ready  time.Duration // from exec until it said so
	ended  chan struct{} // closed when it has ended
	status error         // of Wait; read after ended
}

// newSite makes a site with open registration and without rate limits; env adds or overrides settings.
func newSite(t *testing.T, env ...string) *site {
	t.Helper()
	return &site{t: t, dir: filepath.Join(t.TempDir(), "data"), address: freePort(t), env: env}
}

// environ is the environment of the server and of commands for it.
func (s *site) environ() []string {
	clean := []string{}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "QUCKCHAT_") {
			clean = append(clean, v)
		}
	}
	return append(append(clean, "QUCKCHAT_REGISTRATION=open", "QUCKCHAT_RATE_LIMITS=off"), s.env...)
}

// launch starts the server without waiting for it.
func (s *site) launch() {
	s.t.Helper()
	p := &process{log: &output{}, ended: make(chan struct{})}
	args := []string{"-c", s.shell + `exec "$@"`, "sh", filepath.Join(binaryDir, "quckchat"), "serve", "--data", s.dir, "--listen", s.address}
	p.cmd = exec.Command("sh", append(args, s.flags...)...)
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = s.environ(), p.log, p.log
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.status = p.cmd.Wait(); close(p.ended) }()
	s.process = p
	s.t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // an error says that it has ended
		<-p.ended
	})
}

// start starts the server and waits until it is ready.
func (s *site) start() {
	s.t.Helper()
	began := time.Now()
	s.launch()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	for {
		if r, err := client.Get("http://" + s.address + "/api/v1/health/ready"); err == nil {
			r.Body.Close()
			if r.StatusCode == http.StatusOK {
				s.ready = time.Since(began)
				return
			}
		}
		select {
		case <-s.ended:
			s.t.Fatalf("the server ended at its start: %v\n%s", s.status, s.log)
		case <-time.After(time.Millisecond):
		}
		if time.Since(began) > patience {
			s.t.Fatalf("the server does not become ready\n%s", s.log.end())
		}
	}
}

// kill ends the server as a power cut does, and waits.
func (s *site) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	s.awaitEnd()
}

// stop ends the server in order; it must agree, within five seconds.
func (s *site) stop() {
	s.t.Helper()
	began := time.Now()
	s.signal(syscall.SIGTERM)
	s.awaitEnd()
	if took := time.Since(began); s.status != nil || took > 5*time.Second {
		s.t.Errorf("SIGTERM: %v after %v\n%s", s.status, took, s.log.end())
	}
}

func (s *site) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) awaitEnd() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Fatalf("the server does not end\n%s", s.log.end())
	}
}

// command runs another command of the program on the site and returns what it printed and its exit code.
func (s *site) command(args ...string) (out string, code int) {
	s.t.Helper()
	cmd := exec.Command(filepath.Join(binaryDir, "quckchat"), append(args, "--data", s.dir)...)
	cmd.Env = s.environ()
	raw, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return string(raw), cmd.ProcessState.ExitCode()
}

// until asks again and again until ok says yes, and fails when that takes too long.
func until(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	untilEvery(t, what, within, 5*time.Millisecond, ok)
}

// untilEvery is until for questions that cost something.
func untilEvery(t *testing.T, what string, within, pause time.Duration, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !ok(); time.Sleep(pause) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, within)
		}
	}
}
