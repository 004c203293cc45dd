// Command quckchat is a chat server in one file: it serves, and it administers what it serves.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	_ "time/tzdata" // the binary must know the zones of the calendar on a machine without them

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/storage"
)

// version is stamped by the build.
var version = "dev"

// The exit codes.
const (
	exitFailed = 1
	exitLocked = 3 // another process holds the data directory
)

func main() {
	syscall.Umask(0o077)           // what lies in the data directory is nobody else's to read
	signal.Ignore(syscall.SIGXFSZ) // a file-size limit is a failed write, not the end of the process
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(200) // half the collections; what is held and not used is given back soon (server/memory.go)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRootCommand().ExecuteContext(ctx)
	stop()
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, "quckchat:", err)
	var locked *storage.LockedError
	if errors.As(err, &locked) {
		os.Exit(exitLocked)
	}
	os.Exit(exitFailed)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "quckchat",
		Short: "A complete chat server in one file",
		Long: `QuckChat is a chat server for a home or a small organisation.

  quckchat serve            start it here, with its data in ./data
  quckchat user add         make an account
  quckchat invite create    invite somebody

Exit codes: 0 all is well, 1 it failed, 3 another process holds the data directory.`,
		SilenceUsage: true, SilenceErrors: true, Version: version,
	}
	config.RegisterFlags(root.PersistentFlags())
	root.AddCommand(newServeCommand(), newConfigCommand(), newUserCommand(), newSetupLinkCommand(), newInviteCommand(), newSearchCommand(), newMediaCommand(), newDoctorCommand())
	return root
}
