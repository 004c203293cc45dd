package sound

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"
)

// What a child may use. It is killed when it takes more.
const (
	childTime   = 30 * time.Second // by the clock
	childCPU    = 20               // seconds
	childData   = 320 << 20        // bytes it may write to: a film of 4K takes 180 MiB
	childMemory = 1 << 30          // bytes of address space: the libraries of ffmpeg alone are a quarter of it
)

// inputArg and inputFile name the input: the file that is open already, so that its name is on no command line.
const (
	inputArg  = "-i"
	inputFile = "file:/dev/fd/3"
)

// child runs ffmpeg or ffprobe on a file and returns what it writes. There is no shell, no environment and no input. It
// opens no network and follows no playlist because the caller names the one protocol and the format. Errors:
// ErrUnsupported when the host does not have it, ErrMalformed when it fails or reaches a limit.
func child(ctx context.Context, name string, f *os.File, most int64, args ...string) ([]byte, error) {
	tool, err := exec.LookPath(name)
	if err != nil {
		return nil, fmt.Errorf("%w: the host has no %s", ErrUnsupported, name)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	limited, cancel := context.WithTimeout(ctx, childTime)
	defer cancel()
	runtime.LockOSThread() // the child dies with the thread that started it
	defer runtime.UnlockOSThread()
	c := exec.CommandContext(limited, tool, args...)
	c.Env = []string{"LC_ALL=C"}
	c.Dir = "/"
	c.ExtraFiles = []*os.File{f}
	c.WaitDelay = time.Second
	out := &capped{left: most, full: cancel}
	c.Stdout = out
	alone(c)
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", name, err)
	}
	limitErr := limit(c.Process.Pid)
	if limitErr != nil {
		cancel() // without limits it does not run
	}
	err = c.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case limitErr != nil:
		return nil, fmt.Errorf("limit %s: %w", name, limitErr)
	case out.left < 0:
		return nil, malformed(name + " wrote too much")
	case err != nil:
		return nil, fmt.Errorf("%w: %s: %w", ErrMalformed, name, err)
	}
	return out.b.Bytes(), nil
}

// capped keeps what is written to it, up to a number of bytes; then it calls full.
type capped struct {
	b    bytes.Buffer
	left int64
	full func()
}

func (c *capped) Write(b []byte) (int, error) {
	if c.left -= int64(len(b)); c.left < 0 {
		c.full()
		return 0, errors.New("too much output")
	}
	return c.b.Write(b)
}
