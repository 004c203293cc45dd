package hub_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
	"github.com/quckchat/quckchat/storage"
)

// asking is what a client says that wants to recover; pid and offset are those of the last time.
func asking(pid, offset string) map[string]any {
	m := map[string]any{"recover": true}
	if pid != "" {
		m["pid"] = pid
	}
	if offset != "" {
		m["offset"] = offset
	}
	return m
}

func TestAClientThatAsksForItIsToldWhatItMissed(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("g", bob)
	for _, name := range []string{"/chat", "/"} {
		steady, plain := s.IO().Connect(name, bob, asking("", "")), bob.IO(name)
		back := s.IO().Connect(name, bob, asking("", ""))
		if steady.PID == "" || back.PID == "" || plain.PID != "" {
			t.Fatalf("%s: connected with %q %q %q", name, steady.PID, back.PID, plain.PID)
		}
		pid, offset, heard := back.PID, "", 0
		for round := range 4 {
			back.Close()
			back.Code()
			var said []string
			for i := range 3 * round {
				said = append(said, fmt.Sprint(name, round, i))
				ada.Send(room, said[i])
			}
			back = s.IO().Connect(name, bob, asking(pid, offset))
			if back.PID != pid {
				t.Fatalf("%s, round %d: not recovered", name, round)
			}
			ada.Send(room, "live")
			for _, text := range append(said, "live") {
				late, live := back.Expect("message:new"), steady.Expect("message:new")
				if late.Raw != live.Raw {
					t.Errorf("live %s\nlate %s", live.Raw, late.Raw)
				}
				if m := in[struct{ Content string }](t, late.Data); m.Content != text {
					t.Errorf("told %q, want %q", m.Content, text)
				}
				if n, err := strconv.Atoi(late.Offset); err != nil || n <= heard {
					t.Errorf("offset %q after %d", late.Offset, heard)
				} else {
					heard = n
				}
				if e := plain.Expect("message:new"); e.Offset != "" || string(e.Data) != string(late.Data) {
					t.Errorf("who did not ask is told %s", e.Raw)
				}
			}
			offset = back.Offset
		}
		ada.IO("/chat").Ask("typing:start", map[string]any{"conversationId": room}).OK()
		if e := back.Expect("typing:start"); e.Offset != "" {
			t.Errorf("what is not in the log has an offset: %s", e.Raw)
		}
		for _, space := range []*servertest.Space{steady, back, plain} {
			space.Close()
		}
	}
}

func TestARestartLosesNothingForWhoRecovers(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	space := s.IO().Connect("/chat", bob, asking("", ""))
	ada.Send(room, "one")
	space.Expect("message:new")
	s.Stop()
	if code := space.Code(); code != 1012 {
		t.Errorf("a restart closes with %d", code)
	}
	s.Boot()
	ada.Send(room, "two")
	again := s.IO().Connect("/chat", bob.Aged(3600e9), asking(space.PID, space.Offset))
	if m := in[message](t, again.Expect("message:new").Data); again.PID != space.PID || *m.Content != "two" {
		t.Errorf("recovered as %q, told %+v", again.PID, m)
	}
	again.Silent()
}

func TestWhatCannotBeRecoveredBeginsAnew(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room := ada.Single(bob)
	other := eve.Single(ada)
	first := s.IO().Connect("/chat", bob, asking("", ""))
	ada.Send(room, "one")
	ada.Send(other, "for eve")
	offset := first.Expect("message:new").Offset
	stranger := s.IO().Connect("/chat", eve, asking("", ""))
	session, begun, _ := strings.Cut(first.PID, ".")
	for what, more := range map[string]map[string]any{
		"nonsense":               asking("nonsense", offset),
		"no seq":                 asking(session+".", offset),
		"a negative seq":         asking(session+".-1", ""),
		"another spelling":       asking(session+".0"+begun, offset),
		"a long pid":             asking(session+"."+strings.Repeat("9", 400), offset),
		"another session":        asking(stranger.PID, offset),
		"an offset to come":      asking(first.PID, "999999"),
		"an offset of no number": asking(first.PID, "x"),
		"a negative offset":      asking(first.PID, "-5"),
	} {
		space := s.IO().Connect("/chat", bob, more)
		if space.PID == "" || space.PID == more["pid"] {
			t.Errorf("%s: recovered as %q", what, space.PID)
		}
		space.Silent()
		space.Close()
	}
	// Somebody else's pid and an offset of one's choice tell nothing that is not one's own.
	mallory := s.IO().Connect("/chat", eve, asking(stranger.PID, "1"))
	for _, e := range mallory.Pending() {
		if strings.Contains(string(e.Data), room) {
			t.Errorf("a stranger is told %s", e.Raw)
		}
	}
	if err := s.Inner.Store().Write(context.Background(), "prune", func(tx *storage.Tx) error {
		_, err := tx.Exec("DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if space := s.IO().Connect("/chat", bob, asking(first.PID, "1")); space.PID == first.PID {
		t.Error("recovered below what is kept")
	}
}

func TestRecoveringHearsOnlyWhatWasOnesOwn(t *testing.T) {
	s := servertest.Start(t)
	ada, carl := s.Register("ada"), s.Register("carl")
	room := ada.Group("g", s.Register("bob"), carl)
	space := s.IO().Connect("/chat", carl, asking("", ""))
	space.Close()
	space.Code()
	ada.Send(room, "while in")
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+carl.ID, nil).OK(nil)
	ada.Send(room, "after")
	again := s.IO().Connect("/chat", carl, asking(space.PID, ""))
	again.Expect("message:new")
	again.Expect("conversation:participant:removed")
	again.Silent()
}
