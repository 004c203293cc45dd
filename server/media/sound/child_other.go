//go:build !linux

package sound

import "os/exec"

// alone does nothing where there are no groups to kill.
func alone(*exec.Cmd) {}

// limit does nothing where the limits of another process cannot be set; the time still is.
func limit(int) error { return nil }
