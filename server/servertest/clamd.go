package servertest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/virus"
)

// Clamd is a stand-in for ClamAV's daemon. It speaks its protocol strictly, finds a virus in what says "plague", and can be
// told to wait with its answers, or to be away.
type Clamd struct {
	listener net.Listener
	work     sync.WaitGroup

	mu   sync.Mutex
	away bool
	held chan struct{} // nil when it answers at once
}

// StartClamd starts one that goes with the test. Start it before the server that asks it.
func StartClamd(t testing.TB) *Clamd {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &Clamd{listener: l}
	t.Cleanup(func() { l.Close(); c.Release(); c.work.Wait() })
	c.work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c.work.Go(func() { c.serve(conn) })
		}
	})
	return c
}

// Setting has a server ask it.
func (c *Clamd) Setting() string { return "QUCKCHAT_MEDIA_CLAMAV=" + c.listener.Addr().String() }

// Away has it hang up on everybody, or no longer.
func (c *Clamd) Away(away bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away = away
}

// Hold has it wait with its answers.
func (c *Clamd) Hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held == nil {
		c.held = make(chan struct{})
	}
}

// Release gives the answers that it has held, and those to come.
func (c *Clamd) Release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held != nil {
		close(c.held)
		c.held = nil
	}
}

func (c *Clamd) now() (away bool, held chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away, c.held
}

func (c *Clamd) serve(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	command, err := r.ReadString(0)
	away, held := c.now()
	switch {
	case err != nil || away:
		return
	case command == "zPING\x00":
		_, _ = conn.Write([]byte("PONG\x00"))
		return
	case command != "zINSTREAM\x00":
		_, _ = conn.Write([]byte("UNKNOWN COMMAND\x00"))
		return
	}
	var content strings.Builder
	for size := uint32(1); size > 0; {
		if binary.Read(r, binary.BigEndian, &size) != nil {
			return
		}
		if _, err := io.CopyN(&content, r, int64(size)); err != nil {
			return
		}
	}
	if held != nil {
		<-held
	}
	answer := "stream: OK\x00"
	if strings.Contains(content.String(), "plague") {
		answer = "stream: Plague-Test FOUND\x00"
	}
	_, _ = conn.Write([]byte(answer))
}

// EICAR is the test file on which all scanners have agreed, in two pieces, so that none finds it here.
const EICAR = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR-STANDARD-` + `ANTIVIRUS-TEST-FILE!$H+H*`

// ClamAV is a real clamd that knows one signature, Test.Eicar.UNOFFICIAL, that of EICAR.
type ClamAV struct {
	Socket string // its path

	t       testing.TB
	program string
	config  string
	daemon  *exec.Cmd
	log     bytes.Buffer
}

// StartClamAV runs a clamd that takes streams of at most streamMax, "5M" say. It skips the test where there is none.
func StartClamAV(t testing.TB, streamMax string) *ClamAV {
	t.Helper()
	c := &ClamAV{t: t}
	for _, name := range []string{"clamd", "/usr/sbin/clamd"} {
		if path, err := exec.LookPath(name); err == nil {
			c.program = path
		}
	}
	if c.program == "" {
		t.Skip("SKIPPED: clamd was not found, viruses are only tried with a stand-in: apt-get install clamav-daemon")
	}
	dir, err := os.MkdirTemp("", "clamd") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	c.Socket, c.config = filepath.Join(dir, "clamd.sock"), filepath.Join(dir, "clamd.conf")
	db := filepath.Join(dir, "db")
	if err := errors.Join(
		os.Mkdir(db, 0o700),
		os.WriteFile(filepath.Join(db, "test.ndb"), []byte("Test.Eicar:0:*:"+hex.EncodeToString([]byte(EICAR))+"\n"), 0o600),
		os.WriteFile(c.config, fmt.Appendf(nil, "Foreground yes\nLocalSocket %s\nDatabaseDirectory %s\nStreamMaxLength %s\n", c.Socket, db, streamMax), 0o600),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	c.Start()
	return c
}

// Start runs it, again after a Stop, and waits until it answers.
func (c *ClamAV) Start() {
	c.t.Helper()
	c.daemon = exec.Command(c.program, "--config-file", c.config)
	c.daemon.Stdout, c.daemon.Stderr = &c.log, &c.log
	c.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when a test panics
	if err := c.daemon.Start(); err != nil {
		c.t.Fatal(err)
	}
	s := &virus.Scanner{Network: "unix", Address: c.Socket, Timeout: Patience}
	for range 600 {
		if s.Ping(context.Background()) == nil {
			return
		}
		<-time.After(50 * time.Millisecond)
	}
	c.Stop()
	c.t.Fatalf("clamd does not answer: %s", c.log.String())
}

// Stop kills it.
func (c *ClamAV) Stop() {
	if c.daemon == nil {
		return
	}
	_ = c.daemon.Process.Kill()
	_ = c.daemon.Wait()
	c.daemon = nil
}
