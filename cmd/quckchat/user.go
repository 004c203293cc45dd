package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/quckchat/quckchat/server/account"
	"github.com/quckchat/quckchat/server/api"
	"github.com/quckchat/quckchat/server/config"
	"github.com/quckchat/quckchat/server/control"
	"github.com/quckchat/quckchat/storage"
)

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "user", Short: "Manage accounts"}
	cmd.AddCommand(newUserAddCommand())
	return cmd
}

type userAddOptions struct {
	username, displayName, phone, email string
	admin, passwordStdin, json          bool
}

func newUserAddCommand() *cobra.Command {
	var o userAddOptions
	cmd := &cobra.Command{
		Use:   "add --username NAME",
		Short: "Make an account",
		Long: `Make an account, on a running server or in a data directory that no server uses.
The password is asked for on a terminal; otherwise one is made and printed, once.`,
		Example: `  quckchat user add --admin --username ana
  echo "$PASSWORD" | quckchat user add --username bo --phone +34600111222 --password-stdin`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runUserAdd(cmd.Context(), cmd, o) },
	}
	f := cmd.Flags()
	f.StringVar(&o.username, "username", "", "name to sign in with: 3 to 30 letters, digits, or _ . -")
	f.StringVar(&o.displayName, "display-name", "", "name that others see (default: the username)")
	f.StringVar(&o.phone, "phone", "", "phone number with its country code; the phone app signs in with it")
	f.StringVar(&o.email, "email", "", "e-mail address")
	f.BoolVar(&o.admin, "admin", false, "make a super_admin")
	f.BoolVar(&o.passwordStdin, "password-stdin", false, "read the password from the first line of standard input")
	f.BoolVar(&o.json, "json", false, "print the account as JSON")
	_ = cmd.MarkFlagRequired("username")
	return cmd
}

func runUserAdd(ctx context.Context, cmd *cobra.Command, o userAddOptions) error {
	password, made, err := newPassword(cmd.InOrStdin(), cmd.ErrOrStderr(), o.passwordStdin)
	if err != nil {
		return err
	}
	var in account.CreateInput
	in.Body.Username, in.Body.Password = o.username, password
	in.Body.DisplayName, in.Body.PhoneNumber, in.Body.Email = given(o.displayName), given(o.phone), given(o.email)
	if o.admin {
		role := api.RoleSuperAdmin.String()
		in.Body.Role = &role
	}
	self, _, err := administer(ctx, cmd, "POST", "/admin/users", in.Body, func(s *account.Service, by api.Caller) (account.Self, error) {
		return s.Create(ctx, by, &in)
	})
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if o.json {
		answer := struct {
			account.Self
			Password string `json:"password,omitempty"`
		}{Self: self}
		if made {
			answer.Password = password
		}
		return printJSON(out, answer)
	}
	fmt.Fprintf(out, "Made %s %s (id %s).\n", strings.ReplaceAll(self.Role, "_", " "), self.Username, self.ID)
	if made {
		fmt.Fprintf(out, "Password: %s\n", password)
	}
	return nil
}

// newPassword reads the password of a new account, or makes one when there is nobody to ask.
func newPassword(in io.Reader, prompts io.Writer, fromInput bool) (password string, made bool, err error) {
	if fromInput {
		line, err := bufio.NewReader(in).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", false, fmt.Errorf("read password: %w", err)
		}
		return strings.TrimRight(line, "\r\n"), false, nil
	}
	f, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		text := strings.ToLower(rand.Text())
		return strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:20]}, "-"), true, nil
	}
	var typed [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(prompts, prompt)
		raw, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(prompts)
		if err != nil {
			return "", false, fmt.Errorf("read password: %w", err)
		}
		typed[i] = string(raw)
	}
	if typed[0] != typed[1] {
		return "", false, errors.New("the two passwords differ")
	}
	return typed[0], false, nil
}

// printJSON prints v for another program.
func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// administer runs an operation of the accounts on the server that has the data directory open, through its admin
// socket, or, when none has, directly. It also returns the address that links begin with.
func administer[O any](ctx context.Context, cmd *cobra.Command, method, path string, body any, direct func(s *account.Service, by api.Caller) (O, error)) (out O, base string, err error) {
	snapshot, err := config.Load(config.Sources{Env: os.Environ(), Flags: cmd.Flags()})
	if err != nil {
		return out, "", err
	}
	c := &snapshot.Config
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return out, "", fmt.Errorf("make data directory: %w", err)
	}
	lock, err := storage.AcquireLock(c.Data)
	var held *storage.LockedError
	if errors.As(err, &held) {
		client, err := control.Dial(control.SocketPath(c.Data))
		if err != nil {
			return out, "", fmt.Errorf("%w; its admin socket does not answer: %w", held, err)
		}
		defer client.Close()
		err = client.Do(ctx, method, path, body, &out)
		return out, baseURL(c, listenAddress(control.ListenAddress(c.Data))), err
	}
	if err != nil {
		return out, "", err
	}
	defer lock.Close()
	s, closeAll, err := account.Offline(config.NewLive(snapshot))
	if err != nil {
		return out, "", err
	}
	defer func() { err = errors.Join(err, closeAll()) }()
	out, err = direct(s, api.Caller{Local: localName(), Role: api.RoleSuperAdmin, IP: "local"})
	if refused := new(api.Error); errors.As(err, &refused) {
		err = errors.New(api.Sentence(err, os.Getenv("LANG")))
	}
	return out, baseURL(c, listenAddress(c.Listen)), err
}

// listenAddress is an address to listen on as a net.Addr.
type listenAddress string

func (listenAddress) Network() string  { return "tcp" }
func (a listenAddress) String() string { return string(a) }

// localName is the user of this machine who runs the command.
func localName() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return u.Username
}

// given is an optional field of an input: nil when the flag is empty.
func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}
