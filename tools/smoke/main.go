// Command smoke starts a built quckchat on an empty data directory and a free port, waits until it says that it is ready, sends it
// SIGTERM, and fails unless it then exits with 0 in time. What the server printed is shown only when something went wrong.
//
//	smoke /path/to/quckchat [more flags for serve]
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	readyWithin = 30 * time.Second
	stopWithin  = 5 * time.Second
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: smoke /path/to/quckchat [more flags for serve]")
		os.Exit(2)
	}
	var output bytes.Buffer
	if err := smoke(&output, os.Args[1], os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "smoke: %v\nThe server printed:\n%s", err, output.String())
		os.Exit(1)
	}
}

func smoke(output *bytes.Buffer, binary string, flags []string) error {
	data, err := os.MkdirTemp("", "quckchat-smoke-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	address, err := freeAddress()
	if err != nil {
		return err
	}

	server := exec.Command(binary, append([]string{"serve", "--data", data, "--listen", address}, flags...)...)
	server.Stdout, server.Stderr = output, output
	began := time.Now()
	if err := server.Start(); err != nil {
		return err
	}
	exited := make(chan error, 1)
	go func() { exited <- server.Wait() }()

	if err := waitReady("http://"+address+"/api/v1/health/ready", exited); err != nil {
		kill(server, exited)
		return err
	}
	ready := time.Since(began)

	stopping := time.Now()
	if err := server.Process.Signal(syscall.SIGTERM); err != nil {
		kill(server, exited)
		return fmt.Errorf("send SIGTERM: %w", err)
	}
	select {
	case err := <-exited:
		if err != nil {
			return fmt.Errorf("after SIGTERM: %w, wanted exit status 0", err)
		}
	case <-time.After(stopWithin):
		kill(server, exited)
		return fmt.Errorf("still running %s after SIGTERM", stopWithin)
	}
	fmt.Printf("ready after %s, stopped after %s\n", ready.Round(time.Millisecond), time.Since(stopping).Round(time.Millisecond))
	return nil
}

// freeAddress returns a loopback address that nobody listens on. Another process could take it before the server does; then the
// server says so and the run is repeated by hand.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

// waitReady asks url until it answers 200, the server has exited, or the time is over. An exit that it sees is put back for kill.
func waitReady(url string, exited chan error) error {
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	answer := errors.New("no answer")
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
			answer = errors.New(response.Status)
		}
		select {
		case err := <-exited:
			exited <- err
			if err == nil {
				return errors.New("the server exited before it was ready")
			}
			return fmt.Errorf("the server exited before it was ready: %w", err)
		case <-ctx.Done():
			return fmt.Errorf("not ready within %s: the last answer of %s was: %w", readyWithin, url, answer)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// kill ends the server and waits for it, so that its output is complete.
func kill(server *exec.Cmd, exited <-chan error) {
	_ = server.Process.Kill()
	<-exited
}
