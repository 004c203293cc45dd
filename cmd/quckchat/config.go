package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server/config"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Write the configuration file, and see what is set and by what",
		Args:  cobra.NoArgs,
	}
	cmd.AddCommand(newConfigInitCommand(), newConfigExplainCommand())
	return cmd
}

func newConfigInitCommand() *cobra.Command {
	out := ""
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Write a configuration file in which every setting is explained",
		Long: `Write a configuration file in which every setting is explained and commented out. Without --out it is written
where the server will look for it. An existing file is never overwritten.`,
		Example: "  quckchat config init\n  quckchat config init --out - | less",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				out, _ = config.Sources{Env: os.Environ(), Flags: cmd.Flags()}.Path()
			}
			return runConfigInit(cmd, out)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "the file to write, - for standard output; otherwise quckchat.toml in the data directory, or --config")
	return cmd
}

func runConfigInit(cmd *cobra.Command, out string) error {
	if out == "-" {
		_, err := io.WriteString(cmd.OutOrStdout(), config.Commented())
		return err
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
		return fmt.Errorf("make the directory of the configuration file: %w", err)
	}
	f, err := os.OpenFile(out, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return fmt.Errorf("%s exists already: move it away, or name another file with --out", out)
	}
	if err != nil {
		return fmt.Errorf("write the configuration file: %w", err)
	}
	_, err = io.WriteString(f, config.Commented())
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write the configuration file: %w", err)
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "wrote", out)
	return nil
}

func newConfigExplainCommand() *cobra.Command {
	asJSON := false
	cmd := &cobra.Command{
		Use:   "explain [KEY]",
		Short: "Show settings, and which layer set each",
		Long: `Show one setting or all of them, and which layer set each: default, file, env or flag. Give it the flags and
variables that the server gets. Values stored in the database by the console are not looked up: they win over
default and file, and lose to env and flag. Secrets are redacted.`,
		Example: "  quckchat config explain\n  quckchat config explain socket.max_per_user --config /etc/quckchat/quckchat.toml",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runConfigExplain(cmd, args, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func runConfigExplain(cmd *cobra.Command, keys []string, asJSON bool) error {
	snapshot, err := config.Load(config.Sources{Env: os.Environ(), Flags: cmd.Flags()})
	if err != nil {
		return err
	}
	for _, warning := range snapshot.Warnings {
		fmt.Fprintln(cmd.ErrOrStderr(), "warning:", warning)
	}
	out := cmd.OutOrStdout()
	encode := json.NewEncoder(out)
	encode.SetIndent("", "  ")
	encode.SetEscapeHTML(false)
	if len(keys) == 1 {
		s, err := config.Lookup(keys[0])
		if err != nil {
			return err
		}
		origin := snapshot.Explain(s.Key)
		if asJSON {
			return encode.Encode(origin)
		}
		_, err = fmt.Fprintf(out, "%s = %s\nset by %s\n\n%s.\nDefault: %s\nVariable: %s\nFlag: --%s\n",
			s.Key, origin.Value, origin.Layer, s.Help, s.Default, s.Env, s.Flag)
		return err
	}
	var origins []config.Origin
	for _, s := range config.Settings() {
		origins = append(origins, snapshot.Explain(s.Key))
	}
	if asJSON {
		return encode.Encode(origins)
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "KEY\tVALUE\tSET BY")
	for _, o := range origins {
		fmt.Fprintf(w, "%s\t%s\t%s\n", o.Key, o.Value, o.Layer)
	}
	return w.Flush()
}
