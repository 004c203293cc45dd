package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// mountSmall puts a file system of so many MiB at dir until the test ends, or skips the test where that is not allowed.
func mountSmall(t *testing.T, dir string, mebibytes int) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0700", mebibytes)); err != nil {
		t.Skipf("NOT TESTED: a full disk needs a file system of its own: mount a tmpfs at %s: %v", dir, err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
}

// ballast fills the file system of path: with so many MiB, or entirely when that is 0.
func ballast(t *testing.T, path string, mebibytes int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for block := make([]byte, 1<<20); len(block) > 0; {
		n, err := f.Write(block)
		if mebibytes > 0 && err != nil || err != nil && !errors.Is(err, unix.ENOSPC) {
			t.Fatal(err)
		}
		if err != nil && n == 0 {
			block = block[:len(block)/2] // the last corners
		}
		if mebibytes--; mebibytes == 0 {
			return
		}
	}
}

// full is two people on a server that cannot write, with the socket of one of them.
type full struct {
	*site
	ada, bob *person
	room     string
	socket   *socket // of bob, who only listens
	stored   map[string]wireMessage
	order    []string // their ids
	count    int
	padding  string
}

func newFull(s *site) *full {
	f := &full{site: s, stored: map[string]wireMessage{}, padding: strings.Repeat("every word takes its place ", 140)}
	f.ada, f.bob = s.register("ada"), s.register("bob")
	f.room = f.ada.pair(f.bob)
	f.socket = f.bob.open()
	return f
}

// send sends over REST, or over a socket, and notes what is acknowledged. The name of a refused one is used again.
func (f *full) send(over *socket) error {
	body := map[string]any{"conversationId": f.room, "content": fmt.Sprintf("number%d %s", f.count, f.padding), "clientId": fmt.Sprint("c-", f.count)}
	var m wireMessage
	var err error
	if over != nil {
		err = over.ask("message:send", body, &m)
	} else {
		err = f.ada.call("POST", "/messages", body, &m)
	}
	if err != nil {
		return err
	}
	if _, twice := f.stored[m.ID]; twice {
		f.t.Errorf("message %s was given to two sends", m.ID)
	}
	f.stored[m.ID] = m
	f.order = append(f.order, m.ID)
	f.count++
	return nil
}

// fill sends until the disk is full and returns the refusal.
func (f *full) fill(over *socket) error {
	f.t.Helper()
	for range 20000 {
		if err := f.send(over); err != nil {
			return err
		}
	}
	f.t.Fatal("the disk does not get full")
	return nil
}

// readable checks that everything but writing goes on.
func (f *full) readable(open ...*socket) {
	f.t.Helper()
	if history := f.bob.history(f.room); len(history) != len(f.stored) {
		f.t.Errorf("%d messages are read, %d are stored", len(history), len(f.stored))
	}
	var list []struct {
		ID string `json:"_id"`
	}
	f.bob.must("GET", "/conversations", nil, &list)
	if len(list) != 1 || list[0].ID != f.room {
		f.t.Errorf("conversations: %+v", list)
	}
	f.bob.must("GET", "/health/live", nil, nil)
	for _, s := range open {
		s.ping(f.t)
	}
}

// complete checks that everything acknowledged is stored once, and nothing else.
func (f *full) complete() {
	f.t.Helper()
	history := f.bob.history(f.room)
	for i, m := range history {
		if e, ok := f.stored[m.ID]; !ok || m.N != int64(i)+1 || m.ClientID != e.ClientID || m.Content != e.Content {
			f.t.Fatalf("message %d of the history is %s with n %d, known %v", i, m.ID, m.N, ok)
		}
	}
	if len(history) != len(f.stored) {
		f.t.Errorf("%d messages are read, %d are stored", len(history), len(f.stored))
	}
}

// searchable checks that the words of the last message are found in the end.
func (f *full) searchable() {
	f.t.Helper()
	untilEvery(f.t, "search finds the last message", 12*time.Second, 500*time.Millisecond, func() bool {
		return f.ada.finds(fmt.Sprint("number", f.count-1), f.order[len(f.order)-1])
	})
}

func TestAFullDiskRefusesAndHeals(t *testing.T) {
	s := newSite(t)
	mountSmall(t, s.dir, 24)
	weight := filepath.Join(s.dir, "ballast")
	ballast(t, weight, 12)
	s.start()
	f := newFull(s)
	sender := f.ada.open()
	if code := refused(f.fill(sender)); code != "STORAGE_FULL" {
		t.Fatalf("refused with %q", code)
	}
	atFull := len(f.stored)
	ballast(t, filepath.Join(s.dir, "rest"), 0) // a checkpoint may have made room
	for range 20 {
		err := f.send(nil)
		if r := new(refusal); !errors.As(err, &r) || r.StatusCode != 507 || r.Code != "STORAGE_FULL" {
			t.Fatalf("sending on a full disk: %v", err)
		}
		if code := refused(f.send(sender)); code != "STORAGE_FULL" {
			t.Fatalf("sending on a full disk over a socket: %q", code)
		}
	}
	// A ticket lies in the cache, which cannot write either.
	if err := f.ada.call("POST", "/ws/ticket", nil, nil); err == nil {
		t.Log("a ticket was given out on a full disk")
	} else if r := new(refusal); !errors.As(err, &r) || r.StatusCode < 500 {
		t.Errorf("a ticket on a full disk: %v", err)
	}
	f.readable(f.socket, sender)
	if err := f.ada.call("GET", "/health/ready", nil, nil); err == nil {
		t.Error("ready on a full disk")
	}

	for _, file := range []string{weight, filepath.Join(s.dir, "rest")} {
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "sends heal", patience, func() bool { return f.send(sender) == nil })
	for range 200 {
		if err := f.send(nil); err != nil {
			t.Fatalf("after healing: %v\n%s", err, s.log.end())
		}
	}
	f.ada.must("GET", "/health/ready", nil, nil)
	f.ada.must("POST", "/ws/ticket", nil, nil)
	f.searchable()
	f.readable(f.socket, sender)
	f.complete()
	s.kill()
	s.start()
	f.complete()
	f.searchable()
	s.stop()
	t.Logf("full after %d messages, %d in the end; ready after %v", atFull, len(f.stored), s.ready)
}

func TestAServerStartsOnAFullDiskAndIsReadable(t *testing.T) {
	s := newSite(t)
	mountSmall(t, s.dir, 24)
	weight := filepath.Join(s.dir, "ballast")
	ballast(t, weight, 17)
	s.start()
	f := newFull(s)
	if code := refused(f.fill(f.ada.open())); code != "STORAGE_FULL" {
		t.Fatalf("refused with %q", code)
	}
	ballast(t, filepath.Join(s.dir, "rest"), 0)
	s.kill()
	s.launch()
	until(t, "it is alive", patience, func() bool { return f.ada.call("GET", "/health/live", nil, nil) == nil })
	f.readable(f.bob.open())
	if code := refused(f.send(nil)); code != "STORAGE_FULL" {
		t.Errorf("sending: %q", code)
	}
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	until(t, "sends heal", patience, func() bool { return f.send(nil) == nil })
	f.complete()
	f.searchable()
	s.stop()
}

// TestAFileThatMayNotGrowRefusesAndHeals is the other way in which writes fail: not "full" but an I/O error.
func TestAFileThatMayNotGrowRefusesAndHeals(t *testing.T) {
	s := newSite(t)
	s.shell = "ulimit -S -f 12288; " // blocks of 512 bytes: 6 MiB
	s.start()
	f := newFull(s)
	sender := f.ada.open()
	if code := refused(f.fill(sender)); code != "STORAGE_FAILED" && code != "STORAGE_FULL" {
		t.Fatalf("refused with %q", code)
	}
	atLimit := len(f.stored)
	for range 20 {
		err := f.send(nil)
		if err == nil {
			continue // the log was started anew meanwhile
		}
		if r := new(refusal); !errors.As(err, &r) || !(r.StatusCode == 503 && r.Code == "STORAGE_FAILED" || r.StatusCode == 507 && r.Code == "STORAGE_FULL") {
			t.Fatalf("sending beyond the limit: %v", err)
		}
	}
	f.readable(f.socket, sender)
	f.complete()

	var limit unix.Rlimit
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(s.cmd.Process.Pid, unix.RLIMIT_FSIZE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	until(t, "sends heal", patience, func() bool { return f.send(sender) == nil })
	for range 200 {
		if err := f.send(nil); err != nil {
			t.Fatalf("after healing: %v\n%s", err, s.log.end())
		}
	}
	f.ada.must("POST", "/ws/ticket", nil, nil)
	f.searchable()
	f.readable(f.socket, sender)
	f.complete()
	s.shell = ""
	s.kill()
	s.start()
	f.complete()
	f.searchable()
	s.stop()
	t.Logf("refused after %d messages, %d in the end; ready after %v", atLimit, len(f.stored), s.ready)
}

// TestSendsNeedNeitherSearchNorCache gives the two stores that may be lost a disk of their own, and fills it.
func TestSendsNeedNeitherSearchNorCache(t *testing.T) {
	s := newSite(t, "QUCKCHAT_RATE_LIMITS=on")
	small := filepath.Join(filepath.Dir(s.dir), "small")
	mountSmall(t, small, 8)
	for _, dir := range []string{s.dir, filepath.Join(small, "cache")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cache", "search.db"} {
		if err := os.Symlink(filepath.Join(small, name), filepath.Join(s.dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s.start()
	f := newFull(s)
	sender := f.ada.open()
	weight := filepath.Join(small, "ballast")
	ballast(t, weight, 0)
	signIn := func() error {
		return (&person{site: s}).call("POST", "/auth/login", map[string]string{"username": "ada", "password": "Correct7!horse"}, nil)
	}
	for range 25 { // more than the index has room for, and within the limit for messages
		until(t, "a send", patience, func() bool {
			err := f.send(sender)
			if err != nil && refused(err) != "RATE_LIMIT_EXCEEDED" {
				t.Fatalf("sending while search and cache cannot write: %v\n%s", err, s.log.end())
			}
			return err == nil
		})
	}
	if err := signIn(); err != nil {
		t.Errorf("signing in while the cache cannot write: %v", err)
	}
	var err error
	for range 40 { // the last page of the cache has room for some
		if err = f.ada.call("POST", "/ws/ticket", nil, nil); err != nil {
			break
		}
	}
	if r := new(refusal); !errors.As(err, &r) || r.StatusCode < 500 {
		t.Errorf("a ticket that the cache cannot hold: %v", err)
	}
	f.readable(f.socket, sender)
	if err := os.Remove(weight); err != nil {
		t.Fatal(err)
	}
	f.searchable()
	if err := signIn(); err != nil {
		t.Errorf("signing in after healing: %v", err)
	}
	f.ada.must("POST", "/ws/ticket", nil, nil)
	s.kill()
	s.start()
	f.complete()
	f.searchable()
	f.ada.must("POST", "/ws/ticket", nil, nil)
	s.stop()
}
