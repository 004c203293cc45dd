package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"
)

// machine describes where and when the figures were made.
func (b *bench) machine() []string {
	revision := b.git("rev-parse", "--short=12", "HEAD")
	if revision == "" {
		revision = "none"
	} else if b.git("status", "--porcelain") != "" {
		revision += " with local changes"
	}
	return []string{
		"CPU: " + procField("/proc/cpuinfo", "model name") + fmt.Sprintf(", %d cores", runtime.NumCPU()),
		"Memory: " + procField("/proc/meminfo", "MemTotal"),
		"Kernel: " + kernel() + ", " + runtime.GOARCH + "; data on " + filesystem(b.tmp),
		"Go: " + strings.TrimPrefix(runtime.Version(), "go"),
		"Date: " + time.Now().UTC().Format("2006-01-02 15:04 UTC") + "; revision " + revision,
		"Server, floors and generator share all cores, none is pinned; loopback; load average at the start " + b.load,
	}
}

func (b *bench) git(args ...string) string {
	out, err := exec.Command("git", append([]string{"-C", b.root}, args...)...).Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

func procField(path, key string) string {
	text, _ := os.ReadFile(path)
	for line := range bytes.Lines(text) {
		if name, value, ok := strings.Cut(string(line), ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

func loadAverage() string {
	text, _ := os.ReadFile("/proc/loadavg")
	first, _, _ := strings.Cut(string(text), " ")
	return first
}
