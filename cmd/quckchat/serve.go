package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/quckchat/quckchat/server"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
)

func newServeCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Start the server",
		Long: `Start the server. With no configuration it keeps its data in ./data, listens on port 3000, and prints a link
that makes the first administrator.

It stops in order on SIGTERM and on Ctrl-C, within five seconds. SIGHUP reads the configuration again.`,
		Example: "  quckchat serve\n  quckchat serve --data /var/lib/quckchat --listen 127.0.0.1:8080",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			slacken()
			src := config.Sources{Env: os.Environ(), Flags: cmd.Flags()}
			return runServe(cmd.Context(), src, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func runServe(ctx context.Context, src config.Sources, out, logTo io.Writer) error {
	snapshot, err := config.Load(src)
	if err != nil {
		return err
	}
	live := config.NewLive(snapshot)
	var level slog.LevelVar
	log := newLog(live.Get(), &level, logTo)
	for _, w := range snapshot.Warnings {
		log.Warn(w)
	}
	s, err := server.New(live, server.Options{Version: version, Log: log, Sources: src})
	if err != nil {
		return err
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	done := make(chan error, 1)
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { done <- s.Run(running) }()
	greetErr := greet(running, s, live.Get(), out)
	if greetErr != nil {
		log.Error("print setup link", "error", greetErr)
	}
	for {
		select {
		case err := <-done:
			return err
		case <-reload:
			if err := s.Reload(); err != nil {
				log.Error("configuration is kept as it was", "error", err)
				continue
			}
			setLevel(&level, live.Get().LogLevel)
		}
	}
}

// greet prints where the server is, and how the first administrator comes to be while there is none.
func greet(ctx context.Context, s *server.Server, c *config.Config, out io.Writer) error {
	base := baseURL(c, s.Addr())
	fmt.Fprintf(out, "\n  QuckChat %s is at %s\n", version, base)
	state, err := s.Account().SetupState(ctx, api.Caller{}, nil)
	if err != nil || !state.Needed {
		return err
	}
	link, err := s.Account().SetupLink(ctx, api.Caller{Local: "serve", Role: api.RoleSuperAdmin}, nil)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(out, `
  Make the first administrator in a browser, within 30 minutes:

      %s

  or here in a terminal:  quckchat user add --admin --username NAME%s

`, base+link.Path, dataHint(c.Data))
	return nil
}

func dataHint(data string) string {
	if data == "./data" {
		return ""
	}
	return " --data " + data
}

// baseURL is the address to show: the public one, or one that works on this machine.
func baseURL(c *config.Config, addr net.Addr) string {
	if c.PublicURL != "" {
		return c.PublicURL
	}
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return scheme + "://" + addr.String()
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost"
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return scheme + "://" + host + ":" + port
}

func newLog(c *config.Config, level *slog.LevelVar, to io.Writer) *slog.Logger {
	setLevel(level, c.LogLevel)
	options := &slog.HandlerOptions{Level: level}
	if c.LogFormat == "json" {
		return slog.New(slog.NewJSONHandler(to, options))
	}
	return slog.New(slog.NewTextHandler(to, options))
}

func setLevel(level *slog.LevelVar, name string) {
	if err := level.UnmarshalText([]byte(name)); err != nil {
		level.Set(slog.LevelInfo)
	}
}
