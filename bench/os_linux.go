package main

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// poller waits for many sockets with one thread.
type poller struct {
	ep     int
	events [512]unix.EpollEvent
}

// ready says what a socket can do now.
type ready struct {
	fd             int
	read, writable bool
}

func newPoller() (*poller, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create epoll: %w", err)
	}
	return &poller{ep: ep}, nil
}

func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wantWrite asks, or no longer asks, to hear when fd takes bytes again.
func (p *poller) wantWrite(fd int, want bool) error {
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if want {
		e.Events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_MOD, fd, &e)
}

func (p *poller) wait(list []ready, timeout time.Duration) ([]ready, error) {
	n, err := unix.EpollWait(p.ep, p.events[:], int(timeout.Milliseconds()))
	if err != nil && err != unix.EINTR {
		return nil, fmt.Errorf("wait for sockets: %w", err)
	}
	for _, e := range p.events[:max(n, 0)] {
		list = append(list, ready{
			fd: int(e.Fd), writable: e.Events&unix.EPOLLOUT != 0,
			read: e.Events&(unix.EPOLLIN|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLRDHUP) != 0,
		})
	}
	return list, nil
}

func (p *poller) close() { unix.Close(p.ep) }

// connect opens a socket to a listener of this machine, which the kernel answers at once, and leaves it non-blocking.
func connect(to netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open socket: %w", err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	if err = unix.Connect(fd, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}); err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("connect to %s: %w", to, err)
	}
	return fd, nil
}

// readFD reads what is there; again is true when that is nothing, n 0 when the other side has ended.
func readFD(fd int, b []byte) (n int, again bool, err error) {
	n, err = unix.Read(fd, b)
	if err == unix.EAGAIN || err == unix.EINTR {
		return 0, true, nil
	}
	return max(n, 0), false, err
}

// writeFD writes what fits and returns the rest.
func writeFD(fd int, b []byte) ([]byte, error) {
	for len(b) > 0 {
		n, err := unix.Write(fd, b)
		if err == unix.EAGAIN {
			return b, nil
		}
		if err != nil && err != unix.EINTR {
			return b, err
		}
		b = b[max(n, 0):]
	}
	return nil, nil
}

func hangUp(fd int)  { _ = unix.Shutdown(fd, unix.SHUT_RDWR) }
func closeFD(fd int) { _ = unix.Close(fd) }

// maxFiles raises the limit of open files as far as it may go, and returns it.
func maxFiles() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil {
		return 1024
	}
	l.Cur = l.Max
	_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return int(min(l.Cur, 1<<20))
}

// sleepUntil waits until now() is t, more exactly than the runtime's timers: to some 60 microseconds on an idle core.
func sleepUntil(t int64) {
	for {
		left := t - now()
		if left <= 0 {
			return
		}
		ts := unix.NsecToTimespec(left)
		_ = unix.Nanosleep(&ts, nil)
	}
}

// cpuTime is the user and system time a process has used: utime+stime of /proc/PID/stat, read from the process's CPU
// clock because the file counts in hundredths of a second.
func cpuTime(pid int) time.Duration {
	const cpuclockSched = 2 // linux/posix-timers.h: the clock of process p is ^p<<3 | CPUCLOCK_SCHED
	var ts unix.Timespec
	if unix.ClockGettime(int32(^pid)<<3|cpuclockSched, &ts) != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}

// resetPeak makes VmHWM of a process start again from its present size.
func resetPeak(pid int) { _ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0) }

// filesystem names the kind of file system that holds path.
func filesystem(path string) string {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) != nil {
		return "unknown"
	}
	switch s.Type {
	case unix.EXT4_SUPER_MAGIC:
		return "ext4"
	case unix.XFS_SUPER_MAGIC:
		return "xfs"
	case unix.BTRFS_SUPER_MAGIC:
		return "btrfs"
	case unix.TMPFS_MAGIC:
		return "tmpfs (no disk: syncs cost nothing)"
	case unix.OVERLAYFS_SUPER_MAGIC:
		return "overlayfs"
	}
	return fmt.Sprintf("type %#x", s.Type)
}

// kernel is the release of the running kernel.
func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}
