package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/control"
)

func newDoctorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Find out what does not work, and what to change",
		Long:  `Find out what does not work, and what to change. All of this needs the running server.`,
	}
	cmd.AddCommand(newDoctorCallsCommand())
	return cmd
}

// doctorResult is what the server found.
type doctorResult struct {
	At     string        `json:"at"`
	From   string        `json:"from"`
	OK     bool          `json:"ok"`
	Advice string        `json:"advice,omitempty"`
	Code   string        `json:"code,omitempty"`
	Checks []doctorCheck `json:"checks"`
}

type doctorCheck struct {
	Name     string         `json:"name"`
	State    string         `json:"state"`
	Code     string         `json:"code"`
	Sentence string         `json:"sentence"`
	Params   map[string]any `json:"params,omitempty"`
}

type doctorCallsOptions struct{ json, link bool }

func newDoctorCallsCommand() *cobra.Command {
	var o doctorCallsOptions
	cmd := &cobra.Command{
		Use:   "calls",
		Short: "Find out why calls do not connect",
		Long: `Find out why calls do not connect: looks from the server at its TURN server, public address, NAT, IPv6 and certificate, and
sends packets through a relay over every transport. What somebody's own network lets through is seen from there: --link
prints an address for their browser that works once, for 30 minutes, without an account.

The exit code is 1 when a fault was found.`,
		Example: "  quckchat doctor calls\n  quckchat doctor calls --json\n  quckchat doctor calls --link",
		Args:    cobra.NoArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return runDoctorCalls(cmd.Context(), cmd, o) },
	}
	cmd.Flags().BoolVar(&o.json, "json", false, "print the result as JSON")
	cmd.Flags().BoolVar(&o.link, "link", false, "print a link to look from somebody's browser instead")
	return cmd
}

func runDoctorCalls(ctx context.Context, cmd *cobra.Command, o doctorCallsOptions) error {
	client, dir, err := dialServer(cmd)
	if err != nil {
		return err
	}
	defer client.Close()
	if o.link {
		return printDoctorLink(ctx, cmd, client, dir, o)
	}
	var found doctorResult
	if err := client.Do(ctx, "POST", "/admin/doctor/calls", nil, &found); err != nil {
		return err
	}
	if o.json {
		err = printJSON(cmd.OutOrStdout(), found)
	} else {
		found.print(cmd.OutOrStdout())
	}
	if err == nil && !found.OK {
		err = errors.New("calls do not connect for everybody: " + found.Code)
	}
	return err
}

func (r doctorResult) print(out io.Writer) {
	for _, c := range r.Checks {
		fmt.Fprintf(out, "%-8s %-13s %s\n", c.State, c.Name, c.Sentence)
	}
	if r.OK {
		fmt.Fprintln(out, "\nNo fault was found from here.")
	} else {
		fmt.Fprintf(out, "\n%s (%s)\n", r.Advice, r.Code)
	}
}

// printDoctorLink prints a link to the page for somebody without an account.
func printDoctorLink(ctx context.Context, cmd *cobra.Command, client *control.Client, dir string, o doctorCallsOptions) error {
	var link struct {
		Path      string `json:"path"`
		URL       string `json:"url,omitempty"`
		ExpiresAt string `json:"expiresAt"`
	}
	if err := client.Do(ctx, "POST", "/admin/doctor/link", nil, &link); err != nil {
		return err
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), link)
	}
	address := link.URL
	if address == "" {
		snapshot, err := config.Load(config.Sources{Env: os.Environ(), Flags: cmd.Flags()})
		if err != nil {
			return err
		}
		address = baseURL(&snapshot.Config, listenAddress(control.ListenAddress(dir))) + link.Path
	}
	fmt.Fprintln(cmd.OutOrStdout(), address)
	fmt.Fprintln(cmd.ErrOrStderr(), "Good for one use until "+link.ExpiresAt+".")
	return nil
}
