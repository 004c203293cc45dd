package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

// TestScripts runs testdata/script, which reads like a manual of the commands. Every script has a data directory of its
// own in $QUCKCHAT_DATA and an address of its own in $ADDR; other settings of the machine do not get in.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("testdata", "script", "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	data, err := os.MkdirTemp("", "qc-") // everybody may come as far as here: what protects the data is its own directory
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(data) })
	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: filepath.Join(data, "data"), address: freePort(t), env: []string{"QUCKCHAT_REGISTRATION=invite", "QUCKCHAT_RATE_LIMITS=on"}}
	testscript.Run(t, testscript.Params{
		Files:               []string{file},
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(e *testscript.Env) error {
			e.Setenv("PATH", binaryDir+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("QUCKCHAT_DATA", s.dir)
			e.Setenv("ADDR", s.address)
			return nil
		},
		Condition: func(name string) (bool, error) { return name == "root" && os.Getuid() == 0, nil },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			// serve [FLAG...] starts a server and waits until it is ready.
			"serve": func(_ *testscript.TestScript, _ bool, args []string) {
				s.flags = args
				s.start()
			},
			// halt stops it in order.
			"halt": func(*testscript.TestScript, bool, []string) { s.stop() },
			// code N COMMAND... runs a command that must end with this exit code.
			"code": exitsWith,
			// as UID COMMAND... runs a command as somebody else on this machine; it must fail.
			"as": func(ts *testscript.TestScript, _ bool, args []string) {
				cmd := exec.Command(filepath.Join(binaryDir, args[1]), args[2:]...)
				cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.Env = "/", ts.Stdout(), ts.Stderr(), []string{"QUCKCHAT_DATA=" + s.dir}
				cmd.SysProcAttr = &syscall.SysProcAttr{Credential: somebody(ts, args[0])}
				if cmd.Run() == nil {
					ts.Fatalf("somebody else was let in")
				}
			},
			// knock UID connects to the admin socket as somebody else, who must be turned away by the kernel.
			"knock": func(ts *testscript.TestScript, _ bool, args []string) {
				if err := knock(somebody(ts, args[0]).Uid, filepath.Join(s.dir, "quckchat.sock")); !errors.Is(err, unix.EACCES) {
					ts.Fatalf("connect to the admin socket: %v", err)
				}
			},
			// http METHOD PATH [BODY] prints the status and the body of a request without a token.
			"http": func(ts *testscript.TestScript, _ bool, args []string) { request(ts, s.address, args) },
			// mode FILE OCTAL checks who may touch a file.
			"mode": func(ts *testscript.TestScript, _ bool, args []string) {
				info, err := os.Stat(ts.MkAbs(args[0]))
				ts.Check(err)
				if got := strconv.FormatInt(int64(info.Mode().Perm()), 8); got != args[1] {
					ts.Fatalf("%s has mode %s, want %s", args[0], got, args[1])
				}
			},
		},
	})
}

func exitsWith(ts *testscript.TestScript, _ bool, args []string) {
	got, exit := 0, new(exec.ExitError)
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func request(ts *testscript.TestScript, address string, args []string) {
	r, err := http.NewRequest(args[0], "http://"+address+args[1], strings.NewReader(strings.Join(args[2:], " ")))
	ts.Check(err)
	r.Header.Set("Content-Type", "application/json")
	answer, err := web.Do(r)
	ts.Check(err)
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	ts.Check(err)
	_, err = fmt.Fprintln(ts.Stdout(), answer.StatusCode, string(body))
	ts.Check(err)
}

// somebody is a user of this machine without a name, a group or a right.
func somebody(ts *testscript.TestScript, uid string) *syscall.Credential {
	id, err := strconv.ParseUint(uid, 10, 32)
	ts.Check(err)
	return &syscall.Credential{Uid: uint32(id), Gid: uint32(id)}
}

// knock connects to a unix socket with the rights of a user.
func knock(uid uint32, path string) error {
	answer := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its rights
		answer <- func() error {
			if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
				return errno
			}
			fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
			if err != nil {
				return err
			}
			defer unix.Close(fd)
			return unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		}()
	}()
	return <-answer
}
