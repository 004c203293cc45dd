// Package stocktest is contract 4.3 and 4.6 with socket.io-client 4 from npm, on /chat and on /, among three people on
// five devices, two of them with native sockets. After each thing that is done every device must have heard exactly
// what is said, field by field, and nothing else. Each step names the line of the contract it stands for.
package stocktest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// TestTheStockClientHearsEveryEventAndIsAnsweredEveryVerb goes through the tables of contract 4.3. In the end every kind
// of event that the server knows must have been heard in every form.
func TestTheStockClientHearsEveryEventAndIsAnsweredEveryVerb(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.conversations()
	c.messages()
	c.files()
	c.refusals()
	c.changes()
	c.ownDevices()
	c.presence()
	c.goodbyes()
	c.complete()
}

// cast is who takes part, and a ledger of what has been tried.
type cast struct {
	*testing.T
	s                                             *servertest.Server
	scanner                                       *servertest.Clamd
	ada, bob, carl                                *servertest.User
	adaPhone, adaDesk, bobWeb, bobPhone, carlDesk *device
	bobAbroad                                     *servertest.User // bob's session on the phone
	all                                           []*device
	group, single                                 string
	heard                                         map[string]map[string]bool // kind, form: an event of the kind was heard there, or said not to be told there
	acked, refusedTo                              map[string]map[string]bool // event of the contract, form
	lastN                                         map[string]int
}

// The forms that a device may speak.
const (
	native = "native"
	chat   = "/chat"
	web    = "/"
)

// device is one of somebody's, with whatever it speaks.
type device struct {
	name, form string
	who        *servertest.User
	stock      *servertest.StockSpace // unless it is native
	socket     *servertest.Socket
}

// shape is an object in the two dialects: natively and on /chat, and on /. A nil one is not told there.
type shape struct{ chat, web any }

func (d *device) sees(s shape) any {
	if d.form == web {
		return s.web
	}
	return s.chat
}

func newCast(t *testing.T) *cast {
	stock := servertest.StartStock(t)
	scanner := servertest.StartClamd(t)
	s := servertest.Start(t, scanner.Setting())
	c := &cast{
		T: t, s: s, scanner: scanner, ada: s.Register("ada"), bob: s.Register("bob"), carl: s.Register("carl"),
		heard: map[string]map[string]bool{}, acked: map[string]map[string]bool{}, refusedTo: map[string]map[string]bool{}, lastN: map[string]int{},
	}
	c.bobAbroad = c.bob.Again()
	on := func(name, namespace string, u *servertest.User) *device {
		space := stock.Connect(s.URL, object{"reconnectionDelay": 20, "reconnectionDelayMax": 100}).Space(namespace, object{"token": u.Token})
		space.Expect("connect")
		return &device{name, namespace, u, space, nil}
	}
	desk := func(name string, u *servertest.User) *device { return &device{name, native, u, nil, u.Socket()} }
	c.adaPhone, c.bobWeb, c.bobPhone = on("ada's phone", chat, c.ada), on("bob's browser", web, c.bob), on("bob's phone", chat, c.bobAbroad)
	c.adaDesk, c.carlDesk = desk("ada's desk", c.ada), desk("carl's desk", c.carl)
	c.all = []*device{c.adaPhone, c.adaDesk, c.bobWeb, c.bobPhone, c.carlDesk}
	return c
}

// of are the devices of people.
func (c *cast) of(people ...*servertest.User) (list []*device) {
	for _, d := range c.all {
		if slices.ContainsFunc(people, func(u *servertest.User) bool { return u.ID == d.who.ID }) {
			list = append(list, d)
		}
	}
	return list
}

// told is an event that must be heard: by whom, what it is called natively and on /chat, and on /, and what it says.
type told struct {
	line string // of the contract
	to   []*device
	kind string
	web  string // its name there; empty when it is the same
	says shape
}

// toThePhone are the kinds that have another name on /chat: the phone app knows them as that.
var toThePhone = map[string]string{"message:media": "message:edited"}

// hears checks that since the last time every device has heard just this, in this order.
func (c *cast) hears(want ...told) {
	c.Helper()
	for _, d := range c.all {
		got := d.pending(c.T)
		for _, w := range want {
			if !slices.Contains(w.to, d) {
				continue
			}
			name, says := w.kind, d.sees(w.says)
			mark(c.heard, w.kind, d.form)
			if d.form == web && says == nil {
				continue
			}
			if d.form == web && w.web != "" {
				name = w.web
			}
			if called, otherwise := toThePhone[w.kind]; otherwise && d.form == chat {
				name = called
			}
			if len(got) == 0 || got[0].name != name {
				c.Fatalf("%s, %s: %s has heard %s, want %s", w.line, w.kind, d.name, names(got), name)
			}
			if diff := differs(says, got[0].says, name); diff != "" {
				c.Errorf("%s, %s, to %s: %s", w.line, w.kind, d.name, diff)
			}
			got = got[1:]
		}
		if len(got) > 0 {
			c.Fatalf("%s hears what it must not: %s %v", d.name, names(got), got[0].says)
		}
	}
}

type saying struct {
	name string
	says any
}

func names(list []saying) string {
	text := make([]string, 0, len(list))
	for _, s := range list {
		text = append(text, s.name)
	}
	return "[" + strings.Join(text, " ") + "]"
}

// pending is what a device has heard since it was asked the last time.
func (d *device) pending(t *testing.T) (list []saying) {
	t.Helper()
	add := func(name string, data []byte) {
		var says any
		if err := json.Unmarshal(data, &says); err != nil {
			t.Fatalf("%s hears %s %s: %v", d.name, name, data, err)
		}
		list = append(list, saying{name, says})
	}
	if d.form == native {
		for _, f := range d.socket.Pending() {
			if f.Event != "heartbeat" {
				add(f.Event, f.Data)
			}
		}
		return list
	}
	for _, e := range d.stock.Pending(d.who) {
		if e.Offset != "" {
			t.Fatalf("%s did not ask for offsets: %s", d.name, e.Raw)
		}
		add(e.Event, e.Data)
	}
	return list
}

// ask sends an event from a stock client and returns the acknowledgement.
func (c *cast) ask(from *device, event string, payload any) object {
	c.Helper()
	ack := from.stock.Ask(event, payload)
	var list []object
	if err := json.Unmarshal([]byte(ack.Raw), &list); err != nil || len(list) != 1 {
		c.Fatalf("%s is acknowledged with %s", event, ack.Raw)
	}
	return list[0]
}

// done sends an event that must be acknowledged with {success: true} alone.
func (c *cast) done(line string, from *device, event string, payload any) {
	c.Helper()
	c.answered(line, from, event, c.ask(from, event, payload), object{"success": true})
}

// answered checks the acknowledgement of an event that has been done.
func (c *cast) answered(line string, from *device, event string, got, want object) {
	c.Helper()
	mark(c.acked, event, from.form)
	if diff := differs(want, got, "the acknowledgement"); diff != "" {
		c.Errorf("%s, %s, from %s: %s", line, event, from.name, diff)
	}
}

// refused sends an event that must fail: {success: false, error: string} of the contract, and the code.
func (c *cast) refused(from *device, event string, payload any, code, sentence string, fields ...any) {
	c.Helper()
	mark(c.refusedTo, event, from.form)
	want := object{"success": false, "error": sentence, "code": code}
	if len(fields) > 0 {
		want["errors"] = fields
	}
	if diff := differs(want, c.ask(from, event, payload), "the acknowledgement"); diff != "" {
		c.Errorf("4.3 on error {success:false, error:string}: %s %v from %s: %s", event, payload, from.name, diff)
	}
}

func mark(ledger map[string]map[string]bool, name, form string) {
	if ledger[name] == nil {
		ledger[name] = map[string]bool{}
	}
	ledger[name][form] = true
}

// asked are the events of the first table of contract 4.3.
var asked = []string{
	"message:send", "message:edit", "message:delete", "message:reaction:add", "message:reaction:remove", "message:read",
	"typing:start", "typing:stop", "conversation:join", "conversation:leave",
}

// ofTheSocket are the kinds that no stock client is told: Engine.IO and recovery say the same.
var ofTheSocket = []string{"hello", "heartbeat", "resumed", "resync"}

// ofAdministrators are the kinds that nobody here is told: only administrators, or only where a service is configured. The
// tests of their packages hear them.
var ofAdministrators = []string{"storage:low", "message:transcribed"}

// ofCalls reports whether a kind is told on the namespaces of calls and huddles, where server/call hears it.
func ofCalls(kind string) bool {
	return strings.HasPrefix(kind, "call:") || strings.HasPrefix(kind, "webrtc:") || strings.HasPrefix(kind, "huddle:")
}

// complete fails for whatever there is and has not been tried. An event that is new needs a step of its own above.
func (c *cast) complete() {
	for kind := range maps.Keys(c.s.Inner.Events().Kinds()) {
		for _, form := range []string{native, chat, web} {
			if tried := c.heard[kind][form]; !tried && !strings.HasPrefix(kind, "test:") && !ofCalls(kind) && !slices.Contains(ofTheSocket, kind) && !slices.Contains(ofAdministrators, kind) {
				c.Errorf("nobody has heard %s in the form %s", kind, form)
			}
		}
	}
	for _, event := range asked {
		for _, form := range []string{chat, web} {
			if !c.acked[event][form] || !c.refusedTo[event][form] {
				c.Errorf("%s was not both done and refused on %s", event, form)
			}
		}
	}
}
