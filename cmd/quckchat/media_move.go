package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/storage"
	"github.com/quckchat/quckchat/storage/blob"
)

type mediaMoveOptions struct{ to string }

func newMediaMoveCommand() *cobra.Command {
	var o mediaMoveOptions
	cmd := &cobra.Command{
		Use:   "move",
		Short: "Copy every file between the local disk and a bucket",
		Long: `Copy every file between the local disk and the bucket of the settings s3.*, comparing each with its hash before and after.
The server must be stopped. Nothing is removed where it was, and one that was interrupted goes on where it ended.
Afterwards the server uses the bucket when s3.endpoint is set, and the local disk when it is not.`,
		Example: "  quckchat media move --to s3\n  quckchat media move --to disk",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runMediaMove(cmd.Context(), cmd, o) },
	}
	cmd.Flags().StringVar(&o.to, "to", "", "where to: s3 or disk")
	return cmd
}

func runMediaMove(ctx context.Context, cmd *cobra.Command, o mediaMoveOptions) error {
	snapshot, err := config.Load(config.Sources{Env: os.Environ(), Flags: cmd.Flags()})
	if err != nil {
		return err
	}
	c := &snapshot.Config
	switch {
	case o.to != "s3" && o.to != "disk":
		return errors.New("say where to: --to s3 or --to disk")
	case c.S3.Endpoint == "":
		return errors.New("s3.endpoint is empty: set it, and the other settings of the bucket, for this command")
	}
	if _, err := os.Stat(c.Data); err != nil {
		return fmt.Errorf("there is no data: %w", err)
	}
	lock, err := storage.AcquireLock(c.Data)
	if err != nil {
		return err
	}
	defer lock.Close()
	dir := server.MediaDir(c)
	local, err := blob.Open(dir, int64(c.Media.Reserve))
	if err != nil {
		return err
	}
	bucket, err := server.OpenBlobs(ctx, c, dir)
	if err != nil {
		return err
	}
	if err := bucket.Check(ctx); err != nil {
		return err
	}
	from, to := local, bucket
	if o.to == "disk" {
		from, to = bucket, local
	}
	show := progressLine(cmd.ErrOrStderr())
	if show {
		defer fmt.Fprintln(cmd.ErrOrStderr())
	}
	var last blob.Progress
	err = blob.Move(ctx, from, to, func(p blob.Progress) {
		last = p
		if show {
			fmt.Fprintf(cmd.ErrOrStderr(), "\r%d of %d, %.0f of %.0f MiB  ", p.Done, p.Total, mib(p.DoneBytes), mib(p.TotalBytes))
		}
	})
	fmt.Fprintf(cmd.OutOrStdout(), "%d of %d files, %.1f MiB, are at %s now, %d of them already before.\n", last.Done, last.Total, mib(last.DoneBytes), o.to, last.Skipped)
	return err
}
