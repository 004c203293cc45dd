package sound

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// alone puts a child into a group of its own, which is killed as a whole, also when this process dies.
func alone(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.Cancel = func() error { return unix.Kill(-c.Process.Pid, unix.SIGKILL) }
}

// limit bounds a child that was just started: it writes no file, dumps no core, comes last for the processor, and first
// when memory is short. It has a moment before that, in which it loads its libraries; ffmpeg starts no children, which
// would keep what they were born with. One that has ended already needs no limits.
func limit(pid int) error {
	for _, l := range []struct {
		resource int
		most     uint64
	}{
		{unix.RLIMIT_AS, childMemory}, {unix.RLIMIT_DATA, childData}, {unix.RLIMIT_CPU, childCPU},
		{unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_CORE, 0}, {unix.RLIMIT_NOFILE, 32},
	} {
		err := unix.Prlimit(pid, l.resource, &unix.Rlimit{Cur: l.most, Max: l.most}, nil)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("prlimit: %w", err)
		}
	}
	// What follows is courtesy; a container may forbid it.
	_ = unix.Setpriority(unix.PRIO_PGRP, pid, 19)
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("1000"), 0)
	return nil
}
