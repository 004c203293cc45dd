package sound

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// script stands in for ffmpeg, on a PATH of its own.
func script(t *testing.T, text string) *os.File {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ffmpeg"), []byte("#!/bin/sh\nPATH=/usr/bin:/bin\n"+text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Setenv("FFREPORT", "file=report")
	f, err := os.Open(filepath.Join(dir, "ffmpeg"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// limited waits for what is set last.
const limited = "until grep -qx 1000 /proc/self/oom_score_adj; do :; done\n"

func TestAChildHasItsLimits(t *testing.T) {
	f := script(t, limited+`
ulimit -v; ulimit -d; ulimit -t; ulimit -f; ulimit -c; ulimit -n
nice
cat /proc/self/oom_score_adj
env | grep -c FFREPORT
readlink /proc/self/cwd
ps -o pgid= -p $$ | tr -d ' ' | grep -qx $$ && echo alone
head -c 9 <&3 | tail -c 7; echo
ls /proc/$$/fd | wc -l
`)
	out, err := child(context.Background(), "ffmpeg", f, 1000)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		strconv.Itoa(childMemory >> 10), strconv.Itoa(childData >> 10), strconv.Itoa(childCPU), "0", "0", "32",
		"19", "1000", "0", "/", "alone", "/bin/sh"}
	got := strings.Split(string(out), "\n")
	for i, v := range want {
		if i >= len(got) || got[i] != v {
			t.Fatalf("line %d is not %s:\n%s", i, v, out)
		}
	}
}

func TestAChildAndItsChildrenDieWithTheContext(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(pids, 0o600); err != nil {
		t.Fatal(err)
	}
	f := script(t, "sleep 300 &\necho $$ $! > "+pids+"\nwait\n")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := child(ctx, "ffmpeg", f, 1000)
		ended <- err
	}()
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for _, s := range strings.Fields(string(b)) {
		pid, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(5 * time.Second); unix.Kill(pid, 0) == nil && !zombie(s); {
			if time.Now().After(deadline) {
				t.Fatalf("process %s still runs", s)
			}
		}
	}
}

// zombie reports whether a process is dead, but not waited for: its parent is gone, and whether somebody adopts it is not
// ours to say.
func zombie(pid string) bool {
	b, err := os.ReadFile("/proc/" + pid + "/stat")
	return err == nil && bytes.Contains(b, []byte(") Z "))
}

func TestAChildThatWritesTooMuchIsMalformed(t *testing.T) {
	f := script(t, "exec yes\n")
	if _, err := child(context.Background(), "ffmpeg", f, 1<<20); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}

func TestAChildThatTakesTooMuchMemoryIsMalformed(t *testing.T) {
	f := script(t, limited+"head -c 700000000 /dev/zero | tail -n 1 | wc -c\n")
	out, err := child(context.Background(), "ffmpeg", f, 1000)
	if err == nil && strings.TrimSpace(string(out)) == "700000000" {
		t.Error("it had 700 MB")
	}
}

func TestAChildThatFailsIsMalformed(t *testing.T) {
	f := script(t, "exit 3\n")
	if _, err := child(context.Background(), "ffmpeg", f, 1000); !errors.Is(err, ErrMalformed) {
		t.Error(err)
	}
}
