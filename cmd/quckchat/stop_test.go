package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// TestStopInOrderKeepsWhatWasAcknowledged stops the server under load: at once, politely, without loss.
func TestStopInOrderKeepsWhatWasAcknowledged(t *testing.T) {
	s := newSite(t)
	s.start()
	w := newWorld(s)
	idle := w.people[0].open()
	stopping := make(chan struct{})
	working := w.run(stopping, func() bool {
		select {
		case <-stopping:
			return false
		default:
			return true
		}
	})
	busy := make([]chan int, 4)
	for i, p := range w.people {
		busy[i] = make(chan int, 1)
		socket, room := p.open(), w.workers[2*i].rooms[0]
		go func() { busy[i] <- socket.pipeline("message:history", map[string]any{"conversationId": room}, 50) }()
	}
	until(t, "the workers are at work", patience, func() bool {
		var list []struct {
			LastN int `json:"lastN"`
		}
		w.people[0].must("GET", "/conversations", nil, &list)
		return len(list) > 0 && list[0].LastN > 200
	})
	close(stopping)
	began := time.Now()
	s.stop()
	t.Logf("stopped after %v", time.Since(began).Round(time.Millisecond))
	working.Wait()
	if code := idle.closedWith(); code != websocket.CloseServiceRestart {
		t.Errorf("an idle socket is closed with %d", code)
	}
	for i, closed := range busy {
		if code := <-closed; code != websocket.CloseServiceRestart && code != 4001 {
			t.Errorf("the busy socket of %s is closed with %d", w.people[i].name, code)
		}
	}
	for _, suffix := range []string{"-wal", ".sock"} {
		if info, err := os.Stat(filepath.Join(s.dir, "quckchat.db"+suffix)); err == nil && info.Size() > 0 {
			t.Errorf("%s is left", info.Name())
		}
	}
	s.start()
	w.settle()
	w.checkHistory()
	s.stop()
}

func TestASecondServerOnTheSameDirectoryIsRefused(t *testing.T) {
	s := newSite(t)
	s.start()
	ada := s.register("ada")
	socket := ada.open()
	out, code := s.command("serve", "--listen", freePort(t))
	if code != exitLocked || !strings.Contains(out, fmt.Sprintf("(pid %d)", s.cmd.Process.Pid)) || !strings.Contains(out, "stop it first") || strings.Count(out, "\n") != 1 {
		t.Errorf("exit code %d: %s", code, out)
	}
	socket.ping(t) // the first one has not noticed
	s.kill()
	s.start() // a lock ends with its process
	ada.must("GET", "/users/me", nil, nil)
	s.stop()
}

func TestAPortInUseIsExplained(t *testing.T) {
	s := newSite(t)
	s.start()
	other := newSite(t)
	out, code := other.command("serve", "--listen", s.address)
	if code != exitFailed || !strings.Contains(out, "choose another with --listen") {
		t.Errorf("exit code %d: %s", code, out)
	}
	s.stop()
}

func TestHangUpReadsTheConfigurationAndKeepsSockets(t *testing.T) {
	s := newSite(t)
	s.start()
	ada, bob := s.register("ada"), s.register("bob")
	room := ada.pair(bob)
	socket := ada.open()
	send := func(text string) error {
		return socket.ask("message:send", map[string]any{"conversationId": room, "content": text}, nil)
	}
	if err := send("a text of 26 characters..."); err != nil {
		t.Fatal(err)
	}
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(s.dir, "quckchat.toml"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.signal(syscall.SIGHUP)
	}
	write("message_max_length = 10\n")
	until(t, "the limit is in force", patience, func() bool { return refused(send("a text of 26 characters...")) == "MESSAGE_TOO_LONG" })
	write("message_max_length = \"many\"\n")
	until(t, "the mistake is named", patience, func() bool { return strings.Contains(s.log.String(), "configuration is kept as it was") })
	if code := refused(send("a text of 26 characters...")); code != "MESSAGE_TOO_LONG" {
		t.Errorf("after a mistake: %q", code)
	}
	if err := send("short"); err != nil && !errors.Is(err, errGone) {
		t.Error(err)
	}
	socket.ping(t)
	s.stop()
	if code := socket.closedWith(); code != websocket.CloseServiceRestart {
		t.Errorf("closed with %d", code)
	}
}
