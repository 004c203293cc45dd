package call_test

import (
	_ "embed"
	"fmt"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

//go:embed testdata/call.js
var clientScript string

// tab is somebody in a browser.
type tab struct {
	*servertest.Page
	user      *servertest.User
	transport string
}

// at opens the pages of a server as somebody.
func at(t *testing.T, namespace, url string, u *servertest.User, transport string) *tab {
	t.Helper()
	p := &tab{servertest.OpenPage(t, namespace, url), u, transport}
	p.sign()
	return p
}

// sign runs the client in the page, which is new or was reloaded.
func (p *tab) sign() {
	servertest.Eval[any](p.Page, fmt.Sprintf("%s; window.c = client(%q, %q); c.open()", clientScript, p.user.Token, p.transport))
}

type flow struct {
	State, Kind, Protocol, Theirs string
	Frames, Audio, Width          int
	Moved                         bool
}

// sees checks that pictures and sounds arrive, through relays alone.
func (p *tab) sees(t *testing.T, what string) {
	t.Helper()
	f := servertest.Eval[flow](p.Page, "c.moving(20)")
	if !f.Moved || f.Kind != "relay" || f.Theirs != "relay" || f.Protocol != p.transport {
		t.Fatalf("%s, %s by %s: %+v", what, p.user.Name, p.transport, f)
	}
	t.Logf("%s, %s by %s: %d frames decoded, %d packets of sound", what, p.user.Name, p.transport, f.Frames, f.Audio)
}

func TestTwoBrowsersTalkThroughRelaysAlone(t *testing.T) {
	for _, transport := range []string{"udp", "tcp", "tls"} {
		t.Run(transport, func(t *testing.T) {
			env := []string{"QUCKCHAT_TURN_LISTEN=127.0.0.1:0", "QUCKCHAT_TURN_PUBLIC_IP=127.0.0.1"}
			if transport == "tls" {
				env = append(env, servertest.Certificate(t)...)
			}
			s := servertest.Start(t, env...)
			ada, bob := s.Register("ada"), s.Register("bob")
			room := ada.Single(bob)
			a, b := at(t, "", s.URL, ada, transport), at(t, "", s.URL, bob, transport)
			servertest.Eval[any](a.Page, fmt.Sprintf("c.call(%q, %q)", room, bob.ID))
			servertest.Eval[any](b.Page, "c.heard('call:incoming')")
			b.Reload() // it rings while the page is loaded anew
			b.sign()
			servertest.Eval[any](b.Page, "c.answer()")
			a.sees(t, "answered")
			b.sees(t, "answered")
			if transport == "udp" {
				servertest.Eval[any](a.Page, "c.screen()")
				b.sees(t, "a screen instead of the camera")
				b.Reload() // in the middle of the call
				b.sign()
				servertest.Eval[any](b.Page, "c.heard('call:resume')")
				b.sees(t, "after a reload")
				a.sees(t, "after a reload")
			}
			servertest.Eval[any](b.Page, "c.end()")
			servertest.Eval[any](a.Page, "c.heard('call:ended')")
			if _, status, _ := posted(ada, room); status != "completed" {
				t.Errorf("posted %s", status)
			}
		})
	}
}
