package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a child of ours: the server under test or a floor.
type process struct {
	cmd    *exec.Cmd
	stdin  io.Closer // a floor ends when this is closed, also when we are killed
	log    string
	to     netip.AddrPort
	exited chan struct{}
	ready  time.Duration // from the start to the first 200 of health
}

const (
	readyWithin = 60 * time.Second
	stopWithin  = 10 * time.Second
)

// spawn starts a program with its output in a log file of the bench's directory; the bench stops it when nobody else does.
func (b *bench) spawn(name, program string, env []string, args ...string) (*process, error) {
	b.spawned++
	p := &process{log: filepath.Join(b.tmp, fmt.Sprintf("%s-%d.log", name, b.spawned)), exited: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(program, args...)
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stderr = log
	p.cmd.Stdout = log
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		_ = p.cmd.Wait()
		close(p.exited)
	}()
	b.running = append(b.running, p)
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stop ends the process politely, and then not.
func (p *process) stop() {
	p.stdin.Close()
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopWithin):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// died explains an early end with the last lines of the log.
func (p *process) died(err error) error {
	log, _ := os.ReadFile(p.log)
	return fmt.Errorf("%w; it printed last:\n%s", err, bytes.TrimSpace(log[max(0, len(log)-2000):]))
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress() (netip.AddrPort, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return netip.AddrPort{}, err
	}
	defer l.Close()
	return netip.ParseAddrPort(l.Addr().String())
}

// serve starts QuckChat on a data directory and waits until it is ready.
func (b *bench) serve(ctx context.Context, data string) (*process, error) {
	to, err := freeAddress()
	if err != nil {
		return nil, err
	}
	began := time.Now()
	p, err := b.spawn("quckchat", b.binary, []string{"QUCKCHAT_REGISTRATION=open", "QUCKCHAT_RATE_LIMITS=off", "QUCKCHAT_GROUP_MEMBERS_MAX=2000"},
		"serve", "--data", data, "--listen", to.String(), "--turn-listen", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p.to = to
	if err := p.waitReady(ctx, "http://"+to.String()+"/api/v1/health/ready"); err != nil {
		p.stop()
		return nil, p.died(err)
	}
	p.ready = time.Since(began)
	return p, nil
}

func (p *process) waitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-p.exited:
			return errors.New("the server ended before it was ready")
		case <-ctx.Done():
			return fmt.Errorf("wait until the server is ready: %w", ctx.Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// memory reads a line of /proc/PID/status in bytes: VmRSS, what the process holds now, or VmHWM, the most it held since
// resetPeak.
func memory(pid int, key string) int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) == 3 && string(fields[0]) == key+":" {
			kib, _ := strconv.ParseInt(string(fields[1]), 10, 64)
			return kib << 10
		}
	}
	return 0
}

// build compiles the server as the Makefile does, and finds the module.
func (b *bench) build(ctx context.Context) error {
	b.binary = filepath.Join(b.tmp, "quckchat")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", b.binary, "./cmd/quckchat")
	cmd.Dir, cmd.Env = b.root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build the server: %w\n%s", err, out)
	}
	return nil
}
