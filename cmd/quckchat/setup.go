package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
)

type setupLinkOptions struct{ json bool }

func newSetupLinkCommand() *cobra.Command {
	var o setupLinkOptions
	cmd := &cobra.Command{
		Use:   "setup-link",
		Short: "Make a link that creates an administrator in the browser",
		Long: `Make a link that creates an administrator in the browser. It works once, for 30 minutes; earlier links stop
working. Over plain HTTP it is refused from public addresses.`,
		Example: "  quckchat setup-link",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runSetupLink(cmd.Context(), cmd, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the link as JSON")
	return cmd
}

func runSetupLink(ctx context.Context, cmd *cobra.Command, o setupLinkOptions) error {
	link, base, err := administer(ctx, cmd, "POST", "/admin/setup-link", nil, func(s *account.Service, by api.Caller) (account.SetupLinkInfo, error) {
		return s.SetupLink(ctx, by, nil)
	})
	if err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), link)
	}
	fmt.Fprintln(cmd.OutOrStdout(), base+link.Path)
	fmt.Fprintln(cmd.ErrOrStderr(), "Good for one use until "+link.ExpiresAt+".")
	return nil
}
