package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
)

func newInviteCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "invite", Short: "Invite people"}
	cmd.AddCommand(newInviteCreateCommand())
	return cmd
}

type inviteCreateOptions struct {
	phone       string
	uses        int
	expires     time.Duration
	admin, json bool
}

func newInviteCreateCommand() *cobra.Command {
	var o inviteCreateOptions
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an invite",
		Long: `Make an invite: a link to a page where an account is made, or, with --phone, leave for that number to register
in an app that knows nothing of invites.`,
		Example: `  quckchat invite create --uses 5 --expires 24h
  quckchat invite create --phone +34600111222`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runInviteCreate(cmd.Context(), cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.phone, "phone", "", "admit this phone number, once, without a link")
	f.IntVar(&o.uses, "uses", 1, "how many people may use the link, 1 to 1000")
	f.DurationVar(&o.expires, "expires", 7*24*time.Hour, "how long it is good for, 1m to 8760h")
	f.BoolVar(&o.admin, "admin", false, "make whoever uses it a super_admin")
	f.BoolVar(&o.json, "json", false, "print the invite as JSON")
	return cmd
}

func runInviteCreate(ctx context.Context, cmd *cobra.Command, o inviteCreateOptions) error {
	if o.uses < 1 || o.uses > 1000 {
		return errors.New("--uses must be 1 to 1000")
	}
	if o.expires < time.Minute || o.expires > 365*24*time.Hour {
		return errors.New("--expires must be 1m to 8760h")
	}
	var in account.InviteInput
	seconds := int(o.expires / time.Second)
	in.Body.PhoneNumber, in.Body.Uses, in.Body.ExpiresIn = given(o.phone), &o.uses, &seconds
	if o.admin {
		role := api.RoleSuperAdmin.String()
		in.Body.Role = &role
	}
	invite, base, err := administer(ctx, cmd, "POST", "/invites", in.Body, func(s *account.Service, by api.Caller) (account.InviteInfo, error) {
		return s.Invite(ctx, by, &in)
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	switch {
	case o.json:
		return printJSON(out, invite)
	case invite.PhoneNumber != nil:
		fmt.Fprintf(out, "%s may register until %s.\n", *invite.PhoneNumber, invite.ExpiresAt)
	default:
		fmt.Fprintln(out, base+invite.Path)
		fmt.Fprintf(cmd.ErrOrStderr(), "Good for %d until %s.\n", invite.UsesMax, invite.ExpiresAt)
	}
	return nil
}
