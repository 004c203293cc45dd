package modeltest

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/quckchat/quckchat/server/event"
	"github.com/quckchat/quckchat/storage"
)

// A storm is several people doing several things at the same moment, while devices go, come back and begin anew. What
// the order was is read from the event log afterwards; the model plays it in that order, and everything must be as if
// it had been done one after another.

// storming are the actions of a storm: those whose event tells where in the order they stand.
var storming = []func(t *trial, d dice, by *person) *action{
	(*trial).send, (*trial).send, (*trial).send, (*trial).send, (*trial).edit, (*trial).erase, (*trial).conceal, (*trial).timer, (*trial).read, (*trial).readMessage,
	(*trial).add, (*trial).remove, (*trial).leave, (*trial).rename, (*trial).promote, (*trial).group, (*trial).single, (*trial).dissolve,
	(*trial).keep, (*trial).pin, (*trial).react, (*trial).react, (*trial).block, (*trial).settings,
}

const stormMost = 28 // deeds

// deed is an action that was done in a storm.
type deed struct {
	*action
	answer json.RawMessage
	code   string
	placed bool            // its event is found
	fits   bool            // there was a moment at which it might have been done without one
	codes  map[string]bool // it might have ended with these
}

// storm plays one.
func (t *trial) storm(d dice) string {
	before := t.server.Inner.Events().Committed()
	deeds := map[*device][]*deed{}
	var all []*deed
	done := map[string]bool{}
	for i := range 3 + d.IntN(stormMost-3) {
		a := t.prepare(d, pick(d, storming))
		if t.without&(1<<i) != 0 || a == nil || a.class != "" && done[a.class] {
			continue
		}
		done[a.class] = true
		one := &deed{action: a, codes: map[string]bool{}}
		deeds[a.on], all = append(deeds[a.on], one), append(all, one)
	}
	var doing, restless sync.WaitGroup
	var quiet atomic.Bool
	for _, x := range t.all() {
		x.calm = false
		if list := deeds[x]; list != nil {
			doing.Go(func() { t.act(x, list) })
		} else if d.oneIn(2) {
			anew := d.oneIn(4)
			restless.Go(func() { // comes and goes as long as something happens
				for again := true; again; again = !quiet.Load() {
					x.close()
					if anew {
						x.forget()
					}
					x.open()
					x.catchUp()
				}
			})
		}
	}
	doing.Wait()
	quiet.Store(true)
	restless.Wait()
	t.tell("a storm")
	for _, one := range all {
		if one.code != "" {
			t.tell("\n      %s: %s -> %s", one.on.name, one.what, one.code)
		}
	}
	t.order(all, t.log(before))
	return ""
}

// act does one thing after another on a device.
func (t *trial) act(x *device, list []*deed) {
	for _, one := range list {
		one.answer, one.code = t.perform(one.action)
		if one.overSocket {
			x.take(x.socket.Taken())
		}
		if one.code == "" && x.warm {
			x.answered(one.verb, one.answer)
		}
	}
}

// log reads the events after seq.
func (t *trial) log(seq int64) (events []event.Event) {
	err := t.server.Inner.Store().Read(context.Background(), func(v storage.View) error {
		rows, err := v.Query("SELECT seq, at, kind, scope, scope_id, subject_id, actor_id, data FROM event WHERE seq > ? ORDER BY seq", seq)
		if err != nil {
			return err
		}
		events, err = event.Scan(rows)
		return err
	})
	if err != nil {
		t.fail("read the log: %v", err)
	}
	return events
}

// order plays what was done in the order of the log.
func (t *trial) order(all []*deed, events []event.Event) {
	consider := func() {
		for _, one := range all {
			want := one.want()
			one.fits = one.fits || want == nil
			for _, code := range want {
				one.codes[code] = true
			}
		}
	}
	consider()
	for at, e := range events {
		i := slices.IndexFunc(all, func(one *deed) bool { return !one.placed && one.code == "" && one.left(e, one.answer) })
		if i < 0 {
			continue // told along with something else
		}
		one := all[i]
		one.placed = true
		t.tell("\n      %d: %s", e.Seq, one.what)
		if want := one.want(); want != nil {
			t.fail("%s is done as event %d, and there it must end with %q", one.what, e.Seq, want)
		}
		t.turns++
		t.events = events[at:]
		one.done(one.answer)
		consider()
	}
	for _, one := range all {
		if one.code == "" && !one.placed && !one.fits || one.code != "" && !one.codes[one.code] {
			t.fail("%s ends with %q %s, and may have ended with %v", one.what, one.code, one.answer, one.codes)
		}
	}
}
