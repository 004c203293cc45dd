package hub_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// TestEveryDeviceSeesOneOrderWhateverItSpeaks has four devices talk at once into one conversation: the stock client in
// both namespaces, a native socket, another Socket.IO client. All that hear it, those that are cut off in the middle and
// come back among them, hear the same in the same order: every number, once.
func TestEveryDeviceSeesOneOrderWhateverItSpeaks(t *testing.T) {
	t.Parallel()
	stock := servertest.StartStock(t)
	s := servertest.Start(t)
	line := servertest.NewLine(t)
	line.Lead(s)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	room := ada.Group("g", bob, carl) // its first message is the notice
	on := func(url, namespace string, u *servertest.User, recovers bool) *servertest.StockSpace {
		space := stock.Connect(url, quickly).Space(namespace, map[string]any{"token": u.Token, "recover": recovers})
		space.Expect("connect")
		return space
	}
	adaPhone, bobWeb, carlPhone, adaDesk := on(s.URL, "/chat", ada, false), on(s.URL, "/", bob, false), carl.IO("/chat"), ada.Socket()
	cutPhone, cutWeb := on(line.URL, "/chat", bob, true), on(line.URL, "/", carl, true)
	carlWeb, cutDesk := carl.IO("/"), bob.Socket()

	const each, edits = 40, 10
	var speakers, cutters sync.WaitGroup
	middle := make(chan struct{}) // closed when all that are to be cut off have been
	say := func(who string, send func(text string)) {
		speakers.Go(func() {
			for i := range each {
				if i == each/2 {
					<-middle
				}
				send(fmt.Sprint(who, " ", i))
			}
		})
	}
	said := func(text string) map[string]any { return map[string]any{"conversationId": room, "content": text} }
	say("ada's phone", func(text string) { adaPhone.Ask("message:send", said(text)).OK() })
	say("bob's web", func(text string) { bobWeb.Emit("message:send", said(text)) })
	say("carl's phone", func(text string) { carlPhone.Emit("message:send", said(text)) })
	count := 0
	say("ada's desk", func(text string) {
		f := adaDesk.Ask("message:send", said(text))
		if count++; f.OK && count%(each/edits) == 0 { // and events of another kind between them
			f = adaDesk.Ask("message:edit", map[string]any{"messageId": decode[message](t, f).ID, "content": text + "!"})
		}
		if !f.OK {
			t.Errorf("%s", f.Raw)
		}
	})

	type next func() (name string, data json.RawMessage)
	const total = 4*each + edits
	native := func(socket *servertest.Socket) next {
		return func() (string, json.RawMessage) { f := socket.Next(); return f.Event, f.Data }
	}
	told := func(next func() servertest.Told) next {
		return func() (string, json.RawMessage) { e := next(); return e.Event, e.Data }
	}
	var cuts sync.WaitGroup
	orders := make([][]string, 3)
	for i, d := range []struct {
		who   string
		next  next
		after int // events of the first half, which are 85
		cut   func()
	}{
		{"the phone that is cut off", told(cutPhone.Next), 30, func() { cutPhone.Cut() }},
		{"the browser that is cut off", told(cutWeb.Next), 60, line.Cut}, // and the phone a second time
		{"the native socket that is cut off", func() (string, json.RawMessage) { return native(cutDesk)() }, 80, func() {
			cutDesk.Close()
			cutDesk = bob.Resume(cutDesk.Seq)
		}},
	} {
		cuts.Add(1)
		cutters.Go(func() {
			heard, done := 0, sync.OnceFunc(cuts.Done)
			defer done() // though it fails
			orders[i] = hear(t, d.who, total, func() (string, json.RawMessage) {
				for {
					name, data := d.next()
					if name == "connect" && !in[connected](t, data).Recovered {
						t.Errorf("%s has not recovered", d.who)
					}
					if !strings.HasPrefix(name, "message:") {
						continue
					}
					if heard++; heard == d.after {
						d.cut()
						done()
					}
					return name, data
				}
			})
		})
	}
	cuts.Wait()
	close(middle)
	cutters.Wait()
	speakers.Wait()
	for who, next := range map[string]next{
		"ada's phone": told(adaPhone.Next), "bob's web": told(bobWeb.Next), "carl's phone": told(carlPhone.Next), "carl's web": told(carlWeb.Next),
		"ada's desk": native(adaDesk),
	} {
		orders = append(orders, hear(t, who, total, next))
	}
	for _, order := range orders {
		if !slices.Equal(order, orders[0]) {
			t.Errorf("two orders:\n%s\n%s", order, orders[0])
		}
	}
	for _, space := range []*servertest.Space{carlPhone, carlWeb} {
		space.Silent()
	}
	for _, socket := range []*servertest.Socket{adaDesk, cutDesk} {
		socket.Silent()
	}
	for space, u := range map[*servertest.StockSpace]*servertest.User{adaPhone: ada, bobWeb: bob, cutPhone: bob, cutWeb: carl} {
		for _, e := range space.Pending(u) {
			if strings.HasPrefix(e.Event, "message:") {
				t.Errorf("heard twice: %s", e.Raw)
			}
		}
	}
}

// hear takes so many events of messages and returns what they are about. New ones are numbered without gaps.
func hear(t *testing.T, who string, count int, next func() (string, json.RawMessage)) (heard []string) {
	t.Helper()
	n := int64(1) // the notice
	for range count {
		name, data := next()
		m := in[struct {
			ID string
			N  int64
		}](t, data)
		switch name {
		case "message:new":
			if n++; m.N != n {
				t.Fatalf("%s hears number %d, want %d", who, m.N, n)
			}
		case "message:edited", "message:update":
			name = "message:edited"
		default:
			t.Fatalf("%s hears %s %s", who, name, data)
		}
		heard = append(heard, name+" "+m.ID)
	}
	return heard
}
