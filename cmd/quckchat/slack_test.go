//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheKernelMayWakeAllThreadsOfTheServerLate(t *testing.T) {
	s := newSite(t)
	s.start()
	pid := s.cmd.Process.Pid // of the process that was started, which is still the one that serves
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil || len(threads) == 0 {
		t.Fatalf("%d threads, %v", len(threads), err)
	}
	for _, thread := range threads {
		slack, err := os.ReadFile("/proc/" + filepath.Base(thread) + "/timerslack_ns")
		if os.IsPermission(err) {
			t.Skipf("SKIPPED: the timer slack of another process is not for this user to read: %v", err)
		}
		if got, want := strings.TrimSpace(string(slack)), fmt.Sprint(timerSlack.Nanoseconds()); err == nil && got != want { // a thread may have ended
			t.Errorf("a thread has a slack of %s ns, want %s", got, want)
		}
	}
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil || !strings.Contains(string(environ), slackened+"=1") {
		t.Errorf("it was not started anew: %v", err)
	}
	s.stop()
}
