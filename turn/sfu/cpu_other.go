//go:build !unix

package sfu

import "time"

// cpuTime is not known here: Limits.CPU has no effect.
func cpuTime() time.Duration { return 0 }
