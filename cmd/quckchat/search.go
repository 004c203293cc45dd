package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/control"
	"github.com/quckchat/quckchat/storage"
)

func newSearchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "search",
		Short: "Look after the search index",
		Long: `Look after the search index, search.db in the data directory. It holds nothing that is not in the database too: it
is repaired by itself, needs no backup, and may be removed at any time.`,
	}
	cmd.AddCommand(newSearchStatusCommand(), newSearchRebuildCommand())
	return cmd
}

// searchStatus is what the server says of its index.
type searchStatus struct {
	State    string `json:"state"`
	Current  bool   `json:"current"`
	Messages int64  `json:"messages"`
	Words    int64  `json:"words"`
	Bytes    int64  `json:"bytes"`
	Behind   int64  `json:"behind"`
	Done     int64  `json:"done"`
	Total    int64  `json:"total"`
	Version  int    `json:"version"`
	Problem  string `json:"problem,omitempty"`
}

type searchOptions struct{ json bool }

func newSearchStatusCommand() *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:     "status",
		Short:   "Show how the search index is",
		Example: "  quckchat search status --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSearchStatus(cmd.Context(), cmd, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the status as JSON")
	return cmd
}

func runSearchStatus(ctx context.Context, cmd *cobra.Command, o searchOptions) error {
	client, _, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	var status searchStatus
	if err := client.Do(ctx, "GET", "/admin/search", nil, &status); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), status)
	}
	status.print(cmd.OutOrStdout())
	return nil
}

func (s searchStatus) print(out io.Writer) {
	fmt.Fprintf(out, "%s: %d messages, %d words, %.1f MiB, ", s.State, s.Messages, s.Words, float64(s.Bytes)/(1<<20))
	if s.Current {
		fmt.Fprintln(out, "current.")
	} else {
		fmt.Fprintf(out, "%d events behind.\n", s.Behind)
	}
	if s.Total > 0 {
		fmt.Fprintf(out, "A new index is being made: %s.\n", s.progress())
	}
	if s.Problem != "" {
		fmt.Fprintf(out, "The last attempt failed: %s\n", s.Problem)
	}
}

// progress says how far the new index is. The total counts deleted messages too.
func (s searchStatus) progress() string {
	return fmt.Sprintf("%d messages, %d %%", s.Done, min(100, 100*s.Done/max(1, s.Total)))
}

func newSearchRebuildCommand() *cobra.Command {
	var o searchOptions
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make the search index anew",
		Long: `Make the search index anew. A running server does it in the background: searches are answered from the old index until
the new one is ready, and nothing else is held up. Where no server runs the index is removed, and made again by the
next start.`,
		Example: "  quckchat search rebuild",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSearchRebuild(cmd.Context(), cmd, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the status afterwards as JSON")
	return cmd
}

// rebuildPoll is how often a rebuild is asked how far it is.
const rebuildPoll = 200 * time.Millisecond

func runSearchRebuild(ctx context.Context, cmd *cobra.Command, o searchOptions) error {
	client, dir, err := dialServer(cmd)
	if errors.Is(err, control.ErrNotRunning) {
		return removeSearchIndex(cmd, dir, o)
	}
	if err != nil {
		return err
	}
	defer client.Close()
	var status searchStatus
	if err := client.Do(ctx, "POST", "/admin/search/rebuild", nil, &status); err != nil {
		return err
	}
	show, shown := progressLine(cmd.ErrOrStderr()), false
	for status.State != "ready" && status.Problem == "" {
		if show && status.Total > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r%s  ", status.progress())
			shown = true
		}
		select {
		case <-time.After(rebuildPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := client.Do(ctx, "GET", "/admin/search", nil, &status); err != nil {
			return err
		}
	}
	if shown {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	if status.Problem != "" {
		return fmt.Errorf("make the search index: %s", status.Problem)
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), status)
	}
	status.print(cmd.OutOrStdout())
	return nil
}

// progressLine reports whether somebody watches: progress is for a terminal, not for a pipe.
func progressLine(out io.Writer) bool {
	f, ok := out.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// dialServer connects to the server that has the data directory open; control.ErrNotRunning when none has.
func dialServer(cmd *cobra.Command) (client *control.Client, dir string, err error) {
	snapshot, err := config.Load(config.Sources{Env: os.Environ(), Flags: cmd.Flags()})
	if err != nil {
		return nil, "", err
	}
	dir = snapshot.Config.Data
	client, err = control.Dial(control.SocketPath(dir))
	return client, dir, err
}

// removeSearchIndex removes the index of a data directory that no server uses.
func removeSearchIndex(cmd *cobra.Command, dir string, o searchOptions) error {
	if _, err := os.Stat(filepath.Join(dir, storage.FileName)); err != nil {
		return fmt.Errorf("%w, and there is no data in it", control.ErrNotRunning)
	}
	lock, err := storage.AcquireLock(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := storage.RemoveFiles(filepath.Join(dir, "search.db")); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), searchStatus{State: "removed"})
	}
	fmt.Fprintln(cmd.OutOrStdout(), "No server is running. The index is removed; the next start makes it anew.")
	return nil
}
