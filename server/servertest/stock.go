package servertest

import (
	"bufio"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/socketio-client
var stockFiles embed.FS

const stockDir = "testdata/socketio-client"

// Stock is socket.io-client from npm in a process of node, driven line by line.
//
//	stock := servertest.StartStock(t)
//	conn := stock.Connect(s.URL, nil)
//	chat := conn.Space("/chat", map[string]any{"token": ada.Token})
//	chat.Expect("connect")
//	chat.Ask("message:send", map[string]any{"conversationId": room, "content": "hello"}).OK()
type Stock struct {
	t     testing.TB
	stdin io.Writer

	mu      sync.Mutex
	next    int
	answers map[int]chan stockLine
	spaces  map[string]chan stockLine
}

// stockLine is a line of the driver: an answer, which has an ID, or what a space hears.
type stockLine struct {
	ID    int               `json:"id"`
	Error string            `json:"error"`
	Space string            `json:"space"`
	Event string            `json:"event"`
	Args  []json.RawMessage `json:"args"`
}

// StockConn is a connection of the stock client, with what it holds by itself: it comes back when it is lost.
type StockConn struct {
	stock *Stock
	name  string
}

// StockSpace is a namespace of one. One goroutine uses it.
type StockSpace struct {
	*StockConn
	Name string
	id   string
	said chan stockLine
}

// StockHome installs the stock client, once for all tests, and returns the directory that has its node_modules. Without
// node and npm, or without a way to the registry, the test is skipped and says so.
func StockHome(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"node", "npm"} {
		if _, err := exec.LookPath(name); err != nil {
			t.Skipf("SKIPPED: the stock Socket.IO client is not tried, because %s was not found: install Node.js 18 or newer", name)
		}
	}
	lock, err := stockFiles.ReadFile(stockDir + "/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	sum := sha256.Sum256(lock)
	home := filepath.Join(cache, "quckchat-test", "socketio-client-"+hex.EncodeToString(sum[:6]))
	if _, err := os.Stat(filepath.Join(home, "node_modules")); err == nil {
		return home
	}
	if err := os.MkdirAll(filepath.Dir(home), 0o700); err != nil {
		t.Fatal(err)
	}
	made, err := os.MkdirTemp(filepath.Dir(home), "installing-") // others may be installing too: the first one is used
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(made)
	for _, name := range []string{"package.json", "package-lock.json"} {
		raw, err := stockFiles.ReadFile(path.Join(stockDir, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(made, name), raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = made
	if out, err := install.CombinedOutput(); err != nil {
		if unreachable.Match(out) {
			t.Skipf("SKIPPED: the stock Socket.IO client is not tried, because the npm registry cannot be reached:\n%s", out)
		}
		t.Fatalf("npm ci: %v\n%s", err, out)
	}
	if err := os.Rename(made, home); err != nil {
		if _, other := os.Stat(filepath.Join(home, "node_modules")); other != nil {
			t.Fatal(err)
		}
	}
	return home
}

var unreachable = regexp.MustCompile(`ENOTFOUND|ECONNREFUSED|ECONNRESET|ETIMEDOUT|EAI_AGAIN|ENETUNREACH|ERR_SOCKET_TIMEOUT`)

// StartStock starts the client. It ends with the test.
func StartStock(t testing.TB) *Stock {
	t.Helper()
	home := StockHome(t)
	driver, err := stockFiles.ReadFile(stockDir + "/driver.mjs")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "driver.mjs")
	if err := os.WriteFile(file, driver, 0o600); err != nil {
		t.Fatal(err)
	}
	node := exec.Command("node", file)
	node.Dir, node.Stderr = home, os.Stderr
	stdin, err := node.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	s := &Stock{t: t, stdin: stdin, answers: map[int]chan stockLine{}, spaces: map[string]chan stockLine{}}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.read(stdout)
	}()
	t.Cleanup(func() {
		stdin.Close()
		<-ended
		if err := node.Wait(); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	return s
}

func (s *Stock) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var l stockLine
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			s.t.Errorf("node says %s", lines.Text())
			continue
		}
		s.mu.Lock()
		out := s.spaces[l.Space]
		if l.ID > 0 {
			out = s.answers[l.ID]
			delete(s.answers, l.ID)
		}
		s.mu.Unlock()
		if out != nil {
			out <- l
		}
	}
}

// do sends a command; its answer comes by the channel.
func (s *Stock) do(what string, command map[string]any) <-chan stockLine {
	s.t.Helper()
	answer := make(chan stockLine, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	command["id"], command["do"] = s.next, what
	s.answers[s.next] = answer
	raw, err := json.Marshal(command)
	if err == nil {
		_, err = s.stdin.Write(append(raw, '\n'))
	}
	if err != nil {
		s.t.Fatalf("%s: %v", what, err)
	}
	return answer
}

// done waits for the answer of a command.
func (s *Stock) done(what string, answer <-chan stockLine) []json.RawMessage {
	s.t.Helper()
	select {
	case l := <-answer:
		if l.Error != "" {
			s.t.Fatalf("%s: %s", what, l.Error)
		}
		return l.Args
	case <-time.After(Patience):
		s.t.Fatalf("%s is not answered", what)
		return nil
	}
}

// Connect makes a connection to a server; options are those of the client's Manager. It is opened with its first
// namespace.
func (s *Stock) Connect(url string, options map[string]any) *StockConn {
	s.t.Helper()
	s.mu.Lock()
	c := &StockConn{s, "connection " + strconv.Itoa(s.next)}
	s.mu.Unlock()
	s.done("connection", s.do("connection", map[string]any{"connection": c.name, "url": url, "options": options}))
	return c
}

// Space connects a namespace; connect or connect_error is the first event. auth is the client's option.
func (c *StockConn) Space(namespace string, auth map[string]any) *StockSpace {
	c.stock.t.Helper()
	s := &StockSpace{StockConn: c, Name: namespace, id: c.name + namespace, said: make(chan stockLine, 10000)}
	c.stock.mu.Lock()
	c.stock.spaces[s.id] = s.said
	c.stock.mu.Unlock()
	c.stock.done("space", c.stock.do("space", map[string]any{"space": s.id, "connection": c.name, "namespace": namespace, "auth": auth}))
	return s
}

// Cut loses the transport of the connection. The client comes back by itself.
func (c *StockConn) Cut() {
	c.stock.t.Helper()
	c.stock.done("cut", c.stock.do("cut", map[string]any{"connection": c.name}))
}

// Disconnect leaves the namespace.
func (s *StockSpace) Disconnect() {
	s.stock.t.Helper()
	s.stock.done("disconnect", s.stock.do("disconnect", map[string]any{"space": s.id}))
}

// Emit sends an event and asks for no acknowledgement.
func (s *StockSpace) Emit(event string, args ...any) {
	s.stock.t.Helper()
	s.stock.done("emit", s.stock.do("emit", map[string]any{"space": s.id, "event": event, "args": args}))
}

// Ask sends an event and waits for its acknowledgement.
func (s *StockSpace) Ask(event string, args ...any) Acked {
	s.stock.t.Helper()
	answer := s.stock.done(event, s.stock.do("ask", map[string]any{"space": s.id, "event": event, "args": args}))
	a := Acked{t: s.stock.t, Raw: fmt.Sprintf("%s", answer)}
	if len(answer) != 1 || json.Unmarshal(answer[0], &a) != nil {
		s.stock.t.Fatalf("%s is acknowledged with %s", event, a.Raw)
	}
	return a
}

// Next waits for the next event that is not presence. In the root namespace the data is the payload.
func (s *StockSpace) Next() Told {
	s.stock.t.Helper()
	for {
		select {
		case l := <-s.said:
			if strings.HasPrefix(l.Event, "user:o") || l.Event == settled {
				continue
			}
			return s.told(l)
		case <-time.After(Patience):
			s.stock.t.Fatalf("%s hears nothing", s.id)
		}
	}
}

func (s *StockSpace) told(l stockLine) Told {
	s.stock.t.Helper()
	e := Told{Event: l.Event, Raw: fmt.Sprintf("%s %s", l.Event, l.Args)}
	if len(l.Args) > 0 {
		e.Data = l.Args[0]
	}
	if len(l.Args) > 1 {
		if err := json.Unmarshal(l.Args[1], &e.Offset); err != nil {
			s.stock.t.Fatalf("arguments: %s", e.Raw)
		}
	}
	if s.Name == "/" && l.Event != "connect" && l.Event != "disconnect" && l.Event != "connect_error" { // which the library tells itself
		e.Data = unwrap(s.stock.t, l.Event, e.Data)
	}
	return e
}

// Pending returns what has arrived and was not read yet, and all that was committed before the call; u is who connected.
func (s *StockSpace) Pending(u *User) (list []Told) {
	s.stock.t.Helper()
	s.Ask("test:ask", nil) // acknowledged, though unknown, after what the namespace catches up on
	mark := "stock-" + strconv.FormatInt(marks.Add(1), 10)
	u.Server.mark(u.ID, mark)
	for {
		select {
		case l := <-s.said:
			e := s.told(l)
			switch {
			case e.Event != settled:
				list = append(list, e)
			case string(e.Data) == strconv.Quote(mark):
				return list
			}
		case <-time.After(Patience):
			s.stock.t.Fatalf("%s does not hear what was said", s.id)
		}
	}
}

// Expect waits for the next event that is not presence, and fails when it has another name.
func (s *StockSpace) Expect(event string) Told {
	s.stock.t.Helper()
	e := s.Next()
	if e.Event != event {
		s.stock.t.Fatalf("%s: got %s, want %q", s.id, e.Raw, event)
	}
	return e
}

// Until waits for an event of this name, whatever comes before it.
func (s *StockSpace) Until(event string) Told {
	s.stock.t.Helper()
	for {
		select {
		case l := <-s.said:
			if l.Event == event {
				return s.told(l)
			}
		case <-time.After(Patience):
			s.stock.t.Fatalf("%s does not hear %s", s.id, event)
		}
	}
}
