package virus_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/media/virus"
	"github.com/quckchat/quckchat/server/servertest"
)

var ctx = context.Background()

const eicar = servertest.EICAR

// startDaemon runs a clamd of its own that knows one signature.
func startDaemon(t *testing.T, streamMax string) *virus.Scanner {
	t.Helper()
	return &virus.Scanner{Network: "unix", Address: servertest.StartClamAV(t, streamMax).Socket, Timeout: 20 * time.Second}
}

func TestTheDaemonFindsTheTestVirusWhereverItLies(t *testing.T) {
	s := startDaemon(t, "5M")
	filler := strings.Repeat("harmless ", 200_000)
	for what, content := range map[string]string{"alone": eicar, "behind much": filler + eicar, "amid": filler + eicar + filler} {
		got, err := s.Scan(ctx, strings.NewReader(content))
		if err != nil || got.Clean || got.Signature != "Test.Eicar.UNOFFICIAL" {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	for what, content := range map[string]string{
		"nothing": "", "text": "hello", "much": filler, "a chunk": filler[:64<<10], "a chunk and one": filler[:64<<10+1], "a part of it": eicar[:60],
	} {
		if got, err := s.Scan(ctx, strings.NewReader(content)); err != nil || got != (virus.Verdict{Clean: true}) {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	version, err := s.Version(ctx)
	if err != nil || !strings.HasPrefix(version, "ClamAV 1.") && !strings.HasPrefix(version, "ClamAV 0.") {
		t.Errorf("version %q, %v", version, err)
	}
}

func TestWhatTheDaemonOrTheScannerFindsTooLargeIsNotClean(t *testing.T) {
	s := startDaemon(t, "1M")
	for _, size := range []int{1<<20 + 1, 2 << 20, 40 << 20} {
		got, err := s.Scan(ctx, io.LimitReader(zeros{}, int64(size)))
		if !errors.Is(err, virus.ErrTooLarge) || got.Clean {
			t.Errorf("%d bytes: %+v, %v", size, got, err)
		}
	}
	s.MaxSize = 1000
	if _, err := s.Scan(ctx, strings.NewReader(strings.Repeat("x", 1001))); !errors.Is(err, virus.ErrTooLarge) {
		t.Errorf("error %v", err)
	}
	if got, err := s.Scan(ctx, strings.NewReader(strings.Repeat("x", 1000))); err != nil || !got.Clean {
		t.Errorf("%+v, %v", got, err)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

// fake is a clamd that does what a test says. It hands on what it was sent.
func fake(t *testing.T, serve func(c net.Conn)) *virus.Scanner {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serve(c)
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return &virus.Scanner{Network: "tcp", Address: l.Addr().String(), Timeout: 2 * time.Second}
}

// stream reads a command and the chunks after it.
func stream(c net.Conn) (string, error) {
	head := make([]byte, len("zINSTREAM\x00"))
	if _, err := io.ReadFull(c, head); err != nil {
		return "", err
	}
	var content bytes.Buffer
	for {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return "", err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n == 0 {
			return string(head) + content.String(), nil
		}
		if _, err := io.CopyN(&content, c, int64(n)); err != nil {
			return "", err
		}
	}
}

func TestTheBytesArriveAsTheyAreWithTheirLengths(t *testing.T) {
	got := make(chan string, 1)
	s := fake(t, func(c net.Conn) {
		content, err := stream(c)
		if err != nil {
			t.Error(err)
		}
		got <- content
		_, _ = io.WriteString(c, "stream: OK\x00")
	})
	for _, size := range []int{0, 1, 64<<10 - 4, 64<<10 - 1, 64 << 10, 64<<10 + 1, 200_000} {
		content := strings.Repeat("0123456789", size/10+1)[:size]
		// A reader that gives little at a time.
		verdict, err := s.Scan(ctx, halves{strings.NewReader(content)})
		if err != nil || !verdict.Clean || <-got != "zINSTREAM\x00"+content {
			t.Errorf("%d bytes: %+v, %v", size, verdict, err)
		}
	}
}

type halves struct{ r io.Reader }

func (h halves) Read(b []byte) (int, error) { return h.r.Read(b[:(len(b)+1)/2]) }

func TestOnlyTheExactAnswerIsClean(t *testing.T) {
	long := strings.Repeat("A", 1000)
	for answer, want := range map[string]struct {
		name string
		err  error
	}{
		"stream: OK\x00":                                {},
		"stream: OK\x00 and more":                       {},
		"stream: Win.Test.EICAR_HDB-1 FOUND\x00":        {name: "Win.Test.EICAR_HDB-1"},
		"stream: Odd(0123:68) name FOUND\x00":           {name: "Odd(0123:68) name"},
		"stream: a\nb\x1b[2J\xff FOUND\x00":             {name: "a?b?[2J?"},
		"stream: " + long + " FOUND\x00":                {name: long[:200]},
		"INSTREAM size limit exceeded. ERROR\x00":       {err: virus.ErrTooLarge},
		"stream: Can't allocate memory ERROR\x00":       {err: virus.ErrUnavailable},
		"COMMAND READ TIMED OUT ERROR\x00":              {err: virus.ErrUnavailable},
		"UNKNOWN COMMAND\x00":                           {err: virus.ErrProtocol},
		"":                                              {err: virus.ErrUnavailable},
		"\x00":                                          {err: virus.ErrProtocol},
		"stream: OK":                                    {err: virus.ErrProtocol},
		"stream: OK\n":                                  {err: virus.ErrProtocol},
		"stream: ok\x00":                                {err: virus.ErrProtocol},
		" stream: OK\x00":                               {err: virus.ErrProtocol},
		"stream:  FOUND\x00":                            {err: virus.ErrProtocol},
		"OK\x00":                                        {err: virus.ErrProtocol},
		"1: stream: OK\x00":                             {err: virus.ErrProtocol},
		"stream: Virus FOUND\nstream: OK\x00":           {err: virus.ErrProtocol},
		"stream: OK FOUND\x00":                          {name: "OK"},
		"HTTP/1.1 200 OK\r\n\r\n":                       {err: virus.ErrProtocol},
		strings.Repeat("x", 1<<20):                      {err: virus.ErrProtocol},
		"stream: " + strings.Repeat("x", 4085) + "\x00": {err: virus.ErrProtocol},
	} {
		s := fake(t, func(c net.Conn) {
			_, _ = stream(c)
			_, _ = io.WriteString(c, answer)
		})
		got, err := s.Scan(ctx, strings.NewReader("hello"))
		short := answer[:min(len(answer), 60)]
		if !errors.Is(err, want.err) || got.Signature != want.name || got.Clean != (want.err == nil && want.name == "") {
			t.Errorf("%q: %+v, %v", short, got, err)
		}
		if err != nil && len(err.Error()) > 500 {
			t.Errorf("%q: an error of %d bytes", short, len(err.Error()))
		}
	}
}

// Whoever closes early has not seen the rest, whatever it says.
func TestAnOKBeforeTheEndIsNotClean(t *testing.T) {
	s := fake(t, func(c net.Conn) {
		_, _ = io.CopyN(io.Discard, c, 100)
		_, _ = io.WriteString(c, "stream: OK\x00")
	})
	got, err := s.Scan(ctx, io.LimitReader(zeros{}, 100<<20))
	if !errors.Is(err, virus.ErrUnavailable) || got.Clean {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestTheErrorOfTheSourceIsPassedOn(t *testing.T) {
	s := fake(t, func(c net.Conn) { _, _ = stream(c) })
	no := errors.New("no")
	got, err := s.Scan(ctx, io.MultiReader(strings.NewReader("hello"), failing{no}))
	if !errors.Is(err, no) || errors.Is(err, virus.ErrUnavailable) || got.Clean {
		t.Errorf("%+v, %v", got, err)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestADaemonThatIsAwaySilentOrSlowIsUnavailable(t *testing.T) {
	for _, s := range []*virus.Scanner{
		{Network: "unix", Address: filepath.Join(t.TempDir(), "none")},
		{Network: "tcp", Address: "127.0.0.1:1"},
		{Network: "http", Address: "127.0.0.1:1"},
		{},
	} {
		if _, err := s.Scan(ctx, strings.NewReader("hello")); !errors.Is(err, virus.ErrUnavailable) {
			t.Errorf("%+v: %v", s, err)
		}
		if err := s.Ping(ctx); !errors.Is(err, virus.ErrUnavailable) {
			t.Errorf("%+v: %v", s, err)
		}
	}
	end := make(chan struct{})
	silent := fake(t, func(net.Conn) { <-end })
	slow := fake(t, func(c net.Conn) {
		_, _ = stream(c)
		for i := range 20 {
			if _, err := io.WriteString(c, "stream: OK\x00"[i%10:i%10+1]); err != nil {
				return
			}
			<-time.After(50 * time.Millisecond)
		}
	})
	defer close(end)
	for what, s := range map[string]*virus.Scanner{"silent": silent, "slow": slow} {
		s.Timeout = 200 * time.Millisecond
		if _, err := s.Scan(ctx, io.LimitReader(zeros{}, 10<<20)); !errors.Is(err, virus.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	silent.Timeout = time.Minute
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := silent.Scan(short, strings.NewReader("hello")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if _, err := silent.Scan(short, io.LimitReader(zeros{}, 50<<20)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
}

func TestPingAndVersionTakeNothingElse(t *testing.T) {
	for answer, want := range map[string]error{"PONG\x00": nil, "PING\x00": virus.ErrProtocol, "PONG": virus.ErrProtocol, "": virus.ErrUnavailable} {
		s := fake(t, func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 6))
			_, _ = io.WriteString(c, answer)
		})
		if err := s.Ping(ctx); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%q: %v", answer, err)
		}
	}
	for answer, want := range map[string]string{"ClamAV 1.4.3/27500/Thu\x1b[1m\x00": "ClamAV 1.4.3/27500/Thu?[1m", "nginx\x00": ""} {
		s := fake(t, func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 9))
			_, _ = io.WriteString(c, answer)
		})
		if got, err := s.Version(ctx); got != want || (err == nil) != (want != "") {
			t.Errorf("%q: %q, %v", answer, got, err)
		}
	}
}
