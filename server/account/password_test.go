package account

import (
	"context"
	"strings"
	"testing"
)

// CheapHashes makes the service hash passwords at a small fraction of the cost, so that tests can have many people.
func (s *Service) CheapHashes() { s.cost = cost{memory: 64, passes: 1} }

func TestAHashIsOfFullCostAndMatchesItsPasswordOnly(t *testing.T) {
	s := New(Options{})
	hash, err := s.hashPassword(t.Context(), "one")
	if err != nil || !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Fatalf("%s %v", hash, err)
	}
	for password, want := range map[string]bool{"one": true, "two": false} {
		if ok, err := s.passwordMatches(t.Context(), hash, password); ok != want || err != nil {
			t.Errorf("%s: %v %v", password, ok, err)
		}
	}
	if ok, err := s.passwordMatches(t.Context(), "", "one"); ok || err != nil {
		t.Errorf("no hash: %v %v", ok, err)
	}
	if _, err := s.passwordMatches(t.Context(), "$2a$10$bcrypt", "one"); err == nil {
		t.Error("a hash of another form is not an error")
	}
	for range hashesAtOnce {
		s.hashing <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.hashPassword(ctx, "one"); err != context.Canceled {
		t.Errorf("no place and nobody waiting: %v", err)
	}
}

func TestStandingsStayBoundedAndForgetWhatChangedWhileItWasRead(t *testing.T) {
	m := standings{new: map[string]standing{}}
	_, seen, _ := m.get("a")
	m.forget("a")
	m.put("a", standing{userID: "u"}, seen)
	if _, _, ok := m.get("a"); ok {
		t.Error("a state read before a change is remembered after it")
	}
	for i := range 3 * standingsMax {
		_, seen, _ := m.get("hot")
		m.put("hot", standing{userID: "u"}, seen)
		m.put(strings.Repeat("x", i%7)+string(rune(i)), standing{userID: "u"}, seen)
	}
	if n := len(m.new) + len(m.old); n > 2*standingsMax {
		t.Errorf("%d are remembered", n)
	}
	if _, _, ok := m.get("hot"); !ok {
		t.Error("one in use is dropped")
	}
	m.forget("hot")
	if _, _, ok := m.get("hot"); ok {
		t.Error("one that is forgotten is found")
	}
}
