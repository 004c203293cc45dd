// Package virus asks ClamAV's daemon, clamd, whether it knows a virus in some bytes, by the command INSTREAM of clamd(8).
//
// What clamd calls OK is what it has looked at: of a file beyond its own MaxFileSize or MaxScanSize it says OK without,
// unless AlertExceedsMax is set in clamd.conf. Whoever sets [Scanner.MaxSize] keeps it below those.
package virus

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// What can keep clamd from a verdict, for errors.Is.
var (
	ErrUnavailable = errors.New("the virus scanner cannot be reached, or cannot scan")
	ErrTooLarge    = errors.New("too large for the virus scanner")
	ErrProtocol    = errors.New("the virus scanner answers what is no answer")
)

// DefaultTimeout is that of a Scanner which has none. By its own defaults clamd gives up a file after two minutes.
const DefaultTimeout = 150 * time.Second

const (
	chunk     = 64 << 10 // bytes sent at a time
	maxAnswer = 4 << 10  // bytes; those of clamd have some dozens
	maxName   = 200      // bytes of a signature's name that are passed on
)

// Scanner is where clamd listens. The methods may be called from any goroutine; each call makes a connection.
type Scanner struct {
	Network string        // unix or tcp
	Address string        // a path, or host:port
	Timeout time.Duration // for clamd to be reached, to take the next bytes, and to answer: each
	MaxSize int64         // bytes that are sent; 0 leaves it to clamd's StreamMaxLength
}

// Verdict is what clamd says of a content.
type Verdict struct {
	Clean     bool
	Signature string // of the virus, in printable characters
}

// Scan has clamd look at what r gives. Errors: ErrTooLarge, ErrUnavailable, ErrProtocol, those of r and of ctx. With an
// error nothing is known of the content.
func (s *Scanner) Scan(ctx context.Context, r io.Reader) (Verdict, error) {
	var unsent error // why clamd has not been given everything
	answer, err := s.ask(ctx, "INSTREAM", func(c *conn) error {
		unsent = s.send(c, r)
		if errors.Is(unsent, errRefused) {
			return nil // it may have said why
		}
		return unsent
	})
	if err != nil {
		if errors.Is(unsent, errRefused) && ctx.Err() == nil {
			err = unsent
		}
		return Verdict{}, fmt.Errorf("scan for viruses: %w", err)
	}
	name, found := strings.CutSuffix(answer, " FOUND")
	name, stream := strings.CutPrefix(name, "stream: ")
	switch {
	case stream && found && name != "":
		return Verdict{Signature: printable(name)}, nil
	case strings.HasPrefix(answer, "INSTREAM size limit exceeded"):
		return Verdict{}, fmt.Errorf("scan for viruses: %w: more than its StreamMaxLength", ErrTooLarge)
	case unsent != nil:
		return Verdict{}, fmt.Errorf("scan for viruses: %w", unsent)
	case answer == "stream: OK":
		return Verdict{Clean: true}, nil
	case strings.HasSuffix(answer, " ERROR"):
		return Verdict{}, fmt.Errorf("scan for viruses: %w: %s", ErrUnavailable, printable(answer))
	}
	return Verdict{}, fmt.Errorf("scan for viruses: %w: %q", ErrProtocol, printable(answer))
}

// Ping reports whether clamd is there. Errors: ErrUnavailable, ErrProtocol.
func (s *Scanner) Ping(ctx context.Context) error {
	answer, err := s.ask(ctx, "PING", nil)
	if err == nil && answer != "PONG" {
		err = fmt.Errorf("%w: %q", ErrProtocol, printable(answer))
	}
	if err != nil {
		return fmt.Errorf("ping the virus scanner: %w", err)
	}
	return nil
}

// Version is what clamd says of itself and of the age of its signatures, "ClamAV 1.4.3/27500/Mon Jan 1 ..." say. Errors:
// ErrUnavailable, ErrProtocol.
func (s *Scanner) Version(ctx context.Context) (string, error) {
	answer, err := s.ask(ctx, "VERSION", nil)
	if err == nil && !strings.HasPrefix(answer, "ClamAV ") {
		err = fmt.Errorf("%w: %q", ErrProtocol, printable(answer))
	}
	if err != nil {
		return "", fmt.Errorf("ask the virus scanner for its version: %w", err)
	}
	return printable(answer), nil
}

// conn is a connection on which each read and write has its own deadline, and which ends with a context.
type conn struct {
	net.Conn
	timeout time.Duration
}

func (c *conn) write(b []byte) error {
	if err := c.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// answer is up to its zero byte. One deadline is for all of it.
func (c *conn) answer() (string, error) {
	if err := c.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return "", err
	}
	b := make([]byte, maxAnswer)
	for n := 0; n < len(b); {
		more, err := c.Read(b[n:])
		n += more
		if text, _, ended := strings.Cut(string(b[:n]), "\x00"); ended {
			return text, nil
		}
		if errors.Is(err, io.EOF) && n > 0 {
			return "", fmt.Errorf("%w: it broke off after %q", ErrProtocol, printable(string(b[:n])))
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: more than %d bytes", ErrProtocol, maxAnswer)
}

// ask gives a command, what body writes, and returns the answer.
func (s *Scanner) ask(ctx context.Context, command string, body func(*conn) error) (string, error) {
	if s.Network != "unix" && s.Network != "tcp" {
		return "", fmt.Errorf("%w: network %q, neither unix nor tcp", ErrUnavailable, s.Network)
	}
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	d := net.Dialer{Timeout: timeout}
	plain, err := d.DialContext(ctx, s.Network, s.Address)
	if err != nil {
		return "", mapError(ctx, err)
	}
	defer plain.Close()
	defer context.AfterFunc(ctx, func() { _ = plain.Close() })()
	c := &conn{plain, timeout}
	if err := c.write([]byte("z" + command + "\x00")); err != nil {
		return "", mapError(ctx, err)
	}
	if body != nil {
		if err := body(c); err != nil {
			return "", mapError(ctx, err)
		}
	}
	answer, err := c.answer()
	return answer, mapError(ctx, err)
}

// errRefused is that of a connection which takes no more.
var errRefused = fmt.Errorf("%w: it stopped taking bytes", ErrUnavailable)

// errSource keeps the errors of what is read apart from those of the connection.
type errSource struct{ error }

func (e errSource) Unwrap() error { return e.error }

// send writes the chunks, each after its length, and the empty one that ends them.
func (s *Scanner) send(c *conn, r io.Reader) error {
	b := make([]byte, 4+chunk)
	for sent := int64(0); ; {
		n, err := io.ReadFull(r, b[4:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return errSource{err}
		}
		last := err != nil
		if sent += int64(n); s.MaxSize > 0 && sent > s.MaxSize {
			return ErrTooLarge
		}
		binary.BigEndian.PutUint32(b, uint32(n))
		message := b[:4+n]
		if last && n > 0 {
			message = append(message, 0, 0, 0, 0)
		}
		if err := c.write(message); err != nil {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		if last {
			return nil
		}
	}
}

// mapError leaves our errors and those of the source as they are; everything else is a clamd that is not there.
func mapError(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, new(errSource)), errors.Is(err, ErrTooLarge), errors.Is(err, ErrProtocol), errors.Is(err, ErrUnavailable):
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// printable is a text as it may stand in a log.
func printable(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, text)
	return text[:min(len(text), maxName)]
}
