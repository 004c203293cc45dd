//go:build !linux

package main

import (
	"errors"
	"net/netip"
	"time"
)

var errLinux = errors.New("the load generator needs Linux: epoll, /proc and the CPU clocks of processes")

type poller struct{}

type ready struct {
	fd             int
	read, writable bool
}

func newPoller() (*poller, error)                                   { return nil, errLinux }
func (*poller) add(int) error                                       { return errLinux }
func (*poller) wantWrite(int, bool) error                           { return errLinux }
func (*poller) wait(list []ready, _ time.Duration) ([]ready, error) { return list, errLinux }
func (*poller) close()                                              {}

func connect(netip.AddrPort) (int, error)     { return -1, errLinux }
func readFD(int, []byte) (int, bool, error)   { return 0, false, errLinux }
func writeFD(_ int, b []byte) ([]byte, error) { return b, errLinux }
func hangUp(int)                              {}
func closeFD(int)                             {}
func maxFiles() int                           { return 0 }
func sleepUntil(t int64)                      { time.Sleep(time.Duration(t - now())) }
func cpuTime(int) time.Duration               { return 0 }
func resetPeak(int)                           {}
func filesystem(string) string                { return "unknown" }
func kernel() string                          { return "unknown" }
