// Package modeltest plays random operations by ten people on many devices against a real server, and holds after every
// one of them: what each device shows, by the events it heard and the answers it got, is what the server's lists say,
// and both are what a simple model in Go says they must be; unread counters are what a recount gives; and no frame and
// no answer ever held a text that was not for those ears, or was no more.
//
// Every text holds a word of its own, and the model knows who may ever hear it: that is how leaks are found wherever
// they hide. When an attempt fails, operations are left out one after another while it still does, and what remains
// is told with the seed:
//
//	go test ./server/modeltest -model.seed=42 -model.steps=500
//	QUCKCHAT_TORTURE=1 go test ./server/modeltest -v    # minutes, fresh seeds
//
// world is the model, screen what is compared, device a client, act what people do, storm what they do at once.
package modeltest

import (
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

var (
	seedFlag  = flag.Uint64("model.seed", 0, "play this seed alone")
	stepsFlag = flag.Int("model.steps", 80, "operations of one attempt")
	tellFlag  = flag.Bool("model.tell", false, "tell every story")
)

const (
	crowd       = 10 // people
	devicesMost = 3  // of one person
)

func TestEverybodySeesWhatTheyMustAndNothingElse(t *testing.T) {
	home := template(t)
	play := func(seed uint64, steps int) {
		a := attempt{home: home, seed: seed, ops: deal(seed, steps)}
		if failure := a.play(t); failure != "" {
			least, failure := a.shrink(t, failure)
			t.Fatalf("seed %d, %d of %d operations are enough:\n%s", seed, least, steps, failure)
		}
	}
	switch {
	case *seedFlag != 0:
		play(*seedFlag, *stepsFlag)
	case os.Getenv("QUCKCHAT_TORTURE") != "":
		for end := time.Now().Add(5 * time.Minute); time.Now().Before(end); {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			play(seed, 3*(*stepsFlag))
		}
	default:
		for seed := range uint64(8) {
			play(seed+1, *stepsFlag)
		}
	}
}

// op is one decision: what, and the dice for the rest. It is played among what is there then, so it means something
// whatever was left out before it.
type op struct {
	name    string
	dice    uint64
	without uint64 // of a storm: the deeds left out, as bits
}

// deal makes the operations of a seed. Each seed has its own taste: some things it does often, some hardly ever. What
// only shows when one thing happens many times in a row shows in this way.
func deal(seed uint64, steps int) []op {
	d := roll(seed)
	var names []string
	add := func(name string, weight int) {
		weight *= []int{0, 1, 2, 2, 2, 6}[d.IntN(6)]
		for range max(weight, 1) {
			names = append(names, name)
		}
	}
	for _, a := range actions {
		add(a.name, a.weight)
	}
	for _, e := range exploits {
		add(e.name, e.weight)
	}
	ops := make([]op, steps)
	for i := range ops {
		ops[i] = op{name: pick(d, names), dice: d.Uint64()}
	}
	return ops
}

// attempt is one run of operations on a fresh copy of the server.
type attempt struct {
	home *servertest.Server // with the accounts, stopped
	seed uint64
	ops  []op
}

// play returns what went wrong, with the story up to there.
func (a attempt) play(t *testing.T) string {
	s := &stage{TB: t}
	s.run(func() {
		dir := s.TempDir()
		if err := os.CopyFS(dir, os.DirFS(a.home.Dir)); err != nil {
			s.Fatal(err)
		}
		tr := newTrial(s, servertest.StartIn(s, dir, settings...), a.seed)
		s.story = func() string { return tr.names(tr.story) }
		for i, o := range a.ops {
			tr.step(i, o)
		}
		tr.epilogue()
		if *tellFlag {
			t.Logf("seed %d%s", a.seed, s.story())
		}
	})
	return s.failure
}

// shrink leaves out operations while the attempt still fails.
func (a attempt) shrink(t *testing.T, failure string) (least int, _ string) {
	fails := func(ops []op) bool {
		b := a
		b.ops = ops
		f := b.play(t)
		if f != "" {
			a.ops, failure = ops, f
		}
		return f != ""
	}
	deadline := time.Now().Add(time.Minute)
	for size := len(a.ops) / 2; size > 0; size /= 2 {
		for at := 0; at+size <= len(a.ops) && time.Now().Before(deadline); {
			if !fails(slices.Concat(a.ops[:at], a.ops[at+size:])) {
				at += size
			}
		}
	}
	for i, o := range a.ops {
		for bit := range stormMost {
			if o.name == "storm" && time.Now().Before(deadline) {
				ops := slices.Clone(a.ops)
				ops[i].without |= 1 << bit
				fails(ops)
			}
		}
	}
	return len(a.ops), failure
}

var settings = []string{"QUCKCHAT_ACCESS_TOKEN_TTL=24h", "QUCKCHAT_SOCKET_HEARTBEAT=5s"}

var accounts []*servertest.User

// template is a server with the accounts, stopped, to be copied: making them takes longer than an attempt.
func template(t *testing.T) *servertest.Server {
	home := servertest.Start(t, settings...)
	accounts = nil
	for _, name := range []string{"ada", "bob", "carl", "dora", "eve", "finn", "gus", "hana", "ivo", "june"}[:crowd] {
		accounts = append(accounts, home.Register(name))
	}
	home.Stop()
	return home
}

// stage stands in for testing.TB: what fails on it ends the attempt, not the test.
type stage struct {
	testing.TB
	story    func() string
	mu       sync.Mutex
	failure  string
	cleanups []func()
}

func (s *stage) run(fn func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for _, c := range slices.Backward(s.cleanups) {
				c()
			}
		}()
		defer func() {
			if r := recover(); r != nil {
				s.note(fmt.Sprintf("%v\n%s", r, debug.Stack()))
			}
		}()
		fn()
	}()
	<-done
}

func (s *stage) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure == "" {
		if s.story != nil {
			text = s.story() + "\n" + text
		}
		s.failure = text
	}
}

func (s *stage) Helper()                   {}
func (s *stage) Error(args ...any)         { s.note(fmt.Sprint(args...)) }
func (s *stage) Errorf(f string, a ...any) { s.note(fmt.Sprintf(f, a...)) }
func (s *stage) Fatal(args ...any)         { s.Error(args...); runtime.Goexit() }
func (s *stage) Fatalf(f string, a ...any) { s.Errorf(f, a...); runtime.Goexit() }
func (s *stage) Cleanup(fn func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, fn)
}

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "quckchat-model-")
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// trial is an attempt being played.
type trial struct {
	*world
	stage   *stage
	server  *servertest.Server
	devices map[*person][]*device
	story   string
	focus   focus
	keys    int
	at      int    // the operation being played
	without uint64 // of a storm: the deeds left out
}

func newTrial(s *stage, server *servertest.Server, seed uint64) *trial {
	t := &trial{world: &world{tokens: map[string]*token{}}, stage: s, server: server, devices: map[*person][]*device{}}
	d := roll(seed)
	for _, u := range accounts {
		p := &person{id: u.ID, name: u.Name, blocked: map[*person]bool{}}
		t.people = append(t.people, p)
		for i := range 1 + d.IntN(devicesMost) {
			mine := *u
			mine.Server = server
			speaks := pick(d, []tongue{native, native, socketIO, recovered})
			t.devices[p] = append(t.devices[p], &device{name: fmt.Sprintf("%s/%d%s", u.Name, i+1, speaks), user: &mine, speaks: speaks, rooms: map[string]*kept{}})
		}
	}
	for _, d := range t.all() {
		d.open()
	}
	t.rest()
	return t
}

// all are the devices, in a fixed order.
func (t *trial) all() (list []*device) {
	for _, p := range t.people {
		list = append(list, t.devices[p]...)
	}
	return list
}

func (t *trial) fail(format string, args ...any) {
	t.stage.Fatal(t.names(fmt.Sprintf(format, args...)))
}

// tell adds a line to the story.
func (t *trial) tell(format string, args ...any) { t.story += fmt.Sprintf(format, args...) }

var hexID = regexp.MustCompile(`[0-9a-f]{24}`)

// names puts short names in place of ids: ada, room2, room2#7.
func (t *trial) names(text string) string {
	short := map[string]string{}
	for _, p := range t.people {
		short[p.id] = p.name
	}
	for i, r := range t.rooms {
		short[r.id] = fmt.Sprint("room", i+1)
		for _, m := range r.log {
			short[m.id] = fmt.Sprintf("room%d#%d", i+1, m.n)
		}
	}
	return hexID.ReplaceAllStringFunc(text, func(id string) string {
		if name := short[id]; name != "" {
			return name
		}
		return id
	})
}

// step plays one operation and compares.
func (t *trial) step(i int, o op) {
	d := roll(o.dice)
	t.at = i + 1
	for _, e := range exploits {
		if e.name == o.name {
			t.tell("\n  step %d: ", t.at)
			t.without = o.without
			t.tell("%s", e.play(t, d))
		}
	}
	for _, kind := range actions {
		if kind.name == o.name {
			if a := t.prepare(d, kind.make); a != nil {
				t.tell("\n  step %d: ", t.at)
				t.do(a)
			}
		}
	}
	t.focus.steps--
	t.rest()
	t.compare(d)
}

// prepare chooses who does something, and on which device.
func (t *trial) prepare(d dice, make func(t *trial, d dice, by *person) *action) (a *action) {
	for range 4 {
		if a = t.choose(d, make); a != nil {
			break
		}
	}
	return a
}

func (t *trial) choose(d dice, make func(t *trial, d dice, by *person) *action) *action {
	by := pick(d, t.people)
	if t.focus.steps > 0 && d.oneIn(2) { // somebody who can
		for _, s := range t.focus.room.present() {
			if s.admin || d.oneIn(3) {
				by = s.who
			}
		}
	}
	a := make(t, d, by)
	if a != nil {
		a.on = pick(d, t.devices[by])
		a.overSocket = a.verb != "" && a.on.socket != nil && d.oneIn(2)
	}
	return a
}

// do performs an action, and checks that it ends as it must.
func (t *trial) do(a *action) {
	t.tell("%s: %s", a.on.name, a.what)
	want := a.want()
	before := t.server.Inner.Events().Committed()
	answer, code := t.perform(a)
	t.turns++
	t.events = t.log(before)
	t.conclude(a, want, answer, code)
}

// perform asks the server; code is "" when it did it.
func (t *trial) perform(a *action) (answer json.RawMessage, code string) {
	if a.overSocket {
		data := map[string]any{}
		for _, part := range []map[string]any{a.ids, a.body} {
			for k, v := range part {
				data[k] = v
			}
		}
		f := a.on.socket.Ask(a.verb, data)
		a.on.heard = append(a.on.heard, f.Raw)
		if f.OK {
			return f.Data, ""
		}
		return f.Raw, f.Error.Code
	}
	var body any
	if a.body != nil {
		body = a.body
	}
	r := a.on.user.Do(a.method, fill(a.path, a.ids), body)
	a.on.heard = append(a.on.heard, r.Body)
	if r.Status/100 == 2 {
		return r.Body, ""
	}
	var e struct{ Code string }
	if json.Unmarshal(r.Body, &e) != nil || e.Code == "" || r.Status >= 500 {
		e.Code = fmt.Sprint(r.Status, " ", string(r.Body))
	}
	return r.Body, e.Code
}

// conclude compares how an action ended with how it must, and lets model and device follow.
func (t *trial) conclude(a *action, want verdict, answer json.RawMessage, code string) {
	if code != "" {
		t.tell(" -> %s", code)
	}
	if code == "" && want != nil || code != "" && !slices.Contains(want, code) {
		t.fail("%s ends with %q %s, but must end with %q", a.what, code, answer, want)
	}
	if code != "" {
		return
	}
	a.done(answer)
	switch {
	case !a.on.warm:
	case a.mine != nil:
		a.mine(answer)
	default:
		a.on.answered(a.verb, answer)
	}
}

// rest waits until every device has dealt with all that happened.
func (t *trial) rest() {
	for _, d := range t.all() {
		d.calm = true
		d.catchUp()
	}
	for _, d := range t.all() {
		if heard := d.overhears(t.world); len(heard) > 0 {
			t.fail("%s", strings.Join(heard, "\n"))
		}
		if len(d.wrong) > 0 {
			t.fail("%s", strings.Join(d.wrong, "\n"))
		}
	}
	t.settle()
}

// compare holds every device that is there, and the server's lists for one person, against the model.
func (t *trial) compare(d dice) {
	for _, p := range t.people {
		var must []string
		for _, d := range t.devices[p] {
			if d.socket == nil {
				continue
			}
			if must == nil {
				must = t.blur(p, t.show(p, false)).lines()
			}
			if diff := differ(must, t.blur(p, d.show(false)).lines()); diff != "" {
				t.fail("%s\n%swhat it met with:\n  %s", d.name, diff, strings.Join(d.diary, "\n  "))
			}
		}
	}
	t.compareLists(pick(d, t.people))
}

// compareLists holds what the server says to somebody against the model.
func (t *trial) compareLists(p *person) {
	fresh := &device{name: p.name + "'s lists", user: t.devices[p][0].user, calm: true}
	fresh.load()
	if diff := differ(t.show(p, true).lines(), fresh.show(true).lines()); diff != "" {
		t.fail("%s\n%s", fresh.name, diff)
	}
	raw, _ := fresh.get("/conversations/unread/count")
	unread := 0
	for _, r := range t.rooms {
		if s := r.of(p); s != nil && !s.archived {
			unread += r.unread(p)
		}
	}
	if got := read[struct{ Count int }](fresh, raw).Count; got != unread {
		t.fail("%s has %d unread in all, the server says %d", p.name, unread, got)
	}
	t.compareMentions(p, fresh)
	if heard := append(fresh.overhears(t.world), fresh.wrong...); len(heard) > 0 {
		t.fail("%s", strings.Join(heard, "\n"))
	}
}

// compareMentions holds the list of where somebody was mentioned against the model.
func (t *trial) compareMentions(p *person, fresh *device) {
	var want, got []string
	for _, r := range t.rooms {
		for _, m := range r.log {
			if m.callsOn(p) {
				want = append(want, m.id)
			}
		}
	}
	slices.Sort(want)
	slices.Reverse(want)
	raw, _ := fresh.get("/messages/mentions?limit=100")
	for _, m := range read[[]wireMessage](fresh, raw) {
		got = append(got, m.ID)
	}
	if want = want[:min(len(want), 100)]; !slices.Equal(got, want) {
		t.fail("%s is mentioned in %v, the server says %v", p.name, want, got)
	}
}

// epilogue compares everybody once more.
func (t *trial) epilogue() {
	t.tell("\n  at the end")
	for _, p := range t.people {
		t.compareLists(p)
		t.compareSearch(p)
	}
}
