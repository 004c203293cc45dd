package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
)

func newMediaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "media",
		Short: "Look after the files that people send",
		Long: `Look after the files that people send. They lie in the directory media of the data directory (media.dir), each content
once, under its SHA-256. All of this but move needs the running server.`,
	}
	cmd.AddCommand(newMediaStatusCommand(), newMediaVerifyCommand(), newMediaSweepCommand(), newMediaMoveCommand())
	return cmd
}

// mediaStatus is what the server says of its files.
type mediaStatus struct {
	Bytes    int64      `json:"bytes"`
	Free     int64      `json:"free"`
	Arriving int        `json:"arriving"`
	Low      bool       `json:"low"`
	Uploads  int64      `json:"uploads"`
	Blobs    int64      `json:"blobs"`
	Check    mediaCheck `json:"check"`
}

// mediaCheck is how a check goes or went.
type mediaCheck struct {
	State    string        `json:"state"`
	Done     int64         `json:"done"`
	Total    int64         `json:"total"`
	Bytes    int64         `json:"bytes"`
	Damaged  []mediaDamage `json:"damaged"`
	Missing  []mediaDamage `json:"missing"`
	Problem  string        `json:"problem,omitempty"`
	Started  time.Time     `json:"startedAt,omitzero"`
	Finished time.Time     `json:"finishedAt,omitzero"`
}

type mediaDamage struct {
	SHA256  string   `json:"sha256"`
	Uploads []string `json:"uploads"`
}

type mediaOptions struct{ json bool }

func (o *mediaOptions) flag(cmd *cobra.Command, help string) *cobra.Command {
	cmd.Flags().BoolVar(&o.json, "json", false, help)
	return cmd
}

func newMediaStatusCommand() *cobra.Command {
	var o mediaOptions
	return o.flag(&cobra.Command{
		Use:     "status",
		Short:   "Show how much is kept, and how the last check went",
		Example: "  quckchat media status --json",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMediaStatus(cmd.Context(), cmd, o) },
	}, "print the status as JSON")
}

func runMediaStatus(ctx context.Context, cmd *cobra.Command, o mediaOptions) error {
	client, _, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	var status mediaStatus
	if err := client.Do(ctx, "GET", "/admin/media", nil, &status); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), status)
	}
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "%d uploads, %d contents, %.1f MiB; %.1f GiB of the disk are free.\n", status.Uploads, status.Blobs, mib(status.Bytes), mib(status.Free)/1024)
	if status.Low {
		fmt.Fprintln(out, "The disk is nearly full: uploads are refused (media.reserve).")
	}
	status.Check.print(out)
	return nil
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func (c mediaCheck) print(out io.Writer) {
	switch c.State {
	case "never":
		fmt.Fprintln(out, "Not checked since the server was started.")
		return
	case "running":
		fmt.Fprintf(out, "A check is running: %d of %d.\n", c.Done, c.Total)
		return
	}
	fmt.Fprintf(out, "Checked at %s: %d contents, %.1f MiB, %d damaged, %d missing.\n", c.Finished.Local().Format(time.DateTime), c.Done, mib(c.Bytes), len(c.Damaged), len(c.Missing))
	for what, list := range map[string][]mediaDamage{"damaged": c.Damaged, "missing": c.Missing} {
		for _, d := range list {
			fmt.Fprintf(out, "  %s %s, of uploads %v\n", what, d.SHA256, d.Uploads)
		}
	}
	if c.Problem != "" {
		fmt.Fprintf(out, "The check failed: %s\n", c.Problem)
	}
}

func newMediaVerifyCommand() *cobra.Command {
	var o mediaOptions
	return o.flag(&cobra.Command{
		Use:   "verify",
		Short: "Read every file and compare it with its hash",
		Long: `Read every file and compare it with its hash. What is not what it was is no longer served, and is healed when the same
file is uploaded again. The exit code is 1 when anything is damaged or missing.`,
		Example: "  quckchat media verify",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMediaVerify(cmd.Context(), cmd, o) },
	}, "print the result as JSON")
}

func runMediaVerify(ctx context.Context, cmd *cobra.Command, o mediaOptions) error {
	client, _, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	status := mediaStatus{}
	if err := client.Do(ctx, "POST", "/admin/media/verify", nil, &status.Check); err != nil {
		return err
	}
	show, shown := progressLine(cmd.ErrOrStderr()), false
	for status.Check.State == "running" {
		if show {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d, %.0f MiB  ", status.Check.Done, status.Check.Total, mib(status.Check.Bytes))
			shown = true
		}
		select {
		case <-time.After(rebuildPoll):
		case <-ctx.Done():
			return ctx.Err()
		}
		if err := client.Do(ctx, "GET", "/admin/media", nil, &status); err != nil {
			return err
		}
	}
	if shown {
		fmt.Fprintln(cmd.ErrOrStderr())
	}
	if o.json {
		err = printJSON(cmd.OutOrStdout(), status.Check)
	} else {
		status.Check.print(cmd.OutOrStdout())
	}
	switch bad := len(status.Check.Damaged) + len(status.Check.Missing); {
	case err != nil:
		return err
	case status.Check.Problem != "":
		return fmt.Errorf("check the files: %s", status.Check.Problem)
	case bad > 0:
		return errors.New("files are damaged or missing")
	}
	return nil
}

func newMediaSweepCommand() *cobra.Command {
	var o mediaOptions
	return o.flag(&cobra.Command{
		Use:   "sweep",
		Short: "Remove now what nothing shows any more",
		Long: `Remove now what nothing shows any more: uploads that no message has shown for media.unclaimed, and what a kill has left on the
disk. The server does it by itself every night.`,
		Example: "  quckchat media sweep",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMediaSweep(cmd.Context(), cmd, o) },
	}, "print the result as JSON")
}

func runMediaSweep(ctx context.Context, cmd *cobra.Command, o mediaOptions) error {
	client, _, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	var swept struct {
		Uploads int `json:"uploads"`
		Blobs   int `json:"blobs"`
	}
	if err := client.Do(ctx, "POST", "/admin/media/sweep", nil, &swept); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), swept)
	}
	fmt.Fprintf(cmd.OutOrStdout(), "Removed %d uploads and %d contents that nothing needed.\n", swept.Uploads, swept.Blobs)
	return nil
}
