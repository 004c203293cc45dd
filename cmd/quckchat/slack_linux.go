package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// timerSlack is how much later than asked the kernel may wake our threads. The monitor of the Go runtime asks to be
// woken every 20 microseconds while any thread is in a system call, as one always is that waits for a disk. With the
// 50 microseconds that Linux adds to that, it took 6 to 14 percent of the CPU of a busy server (perf, two cores); the
// last figures are in bench/RESULTS.md. Nothing here is to the millisecond.
const timerSlack = 500 * time.Microsecond

// slackened tells the program that it has been started anew, so that it never is twice.
const slackened = "_QUCKCHAT_SLACKENED"

// slacken sets the slack. Threads have it from the one that started them, and the monitor is there before anything of
// ours: so the program replaces itself by itself, in the same process. Where that cannot be it goes on as it is.
func slacken() {
	again := os.Getenv(slackened) != ""
	os.Unsetenv(slackened)
	now, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0)
	if again || err != nil || time.Duration(now) >= timerSlack {
		return
	}
	path, err := os.Executable()
	if err != nil {
		return
	}
	runtime.LockOSThread() // the slack is of the thread, and the one that calls exec stays
	defer runtime.UnlockOSThread()
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) == nil {
		_ = syscall.Exec(path, os.Args, append(os.Environ(), slackened+"=1"))
	}
}
