package chat_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

// recalled asks a question and returns what was found, the best first, by name or by the other person.
func recalled(t *testing.T, u *servertest.User, field, question string) (names []string) {
	t.Helper()
	out := fetch[struct {
		Results []struct {
			conversation
			Relevance   float64
			MessageHits int
		}
		Count int
	}](u, "GET", "/conversations/ai-search?"+field+"="+url.QueryEscape(question), nil)
	names = []string{}
	last := 1.0
	for _, r := range out.Results {
		if r.Relevance <= 0 || r.Relevance > last {
			t.Errorf("%q: relevance %v after %v", question, r.Relevance, last)
		}
		last = r.Relevance
		if r.Name != nil {
			names = append(names, *r.Name)
			continue
		}
		names = append(names, "single")
	}
	if out.Count != len(names) || out.Results == nil {
		t.Errorf("%q: count %d of %v", question, out.Count, names)
	}
	return names
}

func TestAQuestionIsAnsweredWithTheConversationsItIsAbout(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, eve := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("eve")
	trip, budget := ada.Group("Lima trip", carl), ada.Group("Office Budget", carl)
	single := ada.Single(bob)
	foreign := eve.Group("Lima secret", bob)
	eve.Send(foreign, "the passport numbers")
	ada.Send(budget, "we need new chairs")
	ada.Send(trip, "do not forget the passport")
	ada.Send(trip, "the flight is at noon")
	for range 3 {
		carl.Send(budget, "the money is gone")
	}
	bob.Send(single, "did you see the flight of the cranes?")
	ada.Do("POST", "/conversations/"+trip+"/archive", nil).OK(nil)
	eventually(t, "the index is there", func() bool { _, n := found(ada, "cranes", ""); return n == 1 })
	for question, want := range map[string]string{
		"lima":                            "Lima trip",
		"LIM":                             "Lima trip",
		"bob":                             "single",
		"chairs":                          "Office Budget",
		"passport":                        "Lima trip",
		"what was it about the passport?": "Lima trip",
		"flight noon":                     "Lima trip",
		"cranes with bob":                 "single",
		"\"))( OR *":                      "",
		"nonesuch":                        "",
		"   ":                             "",
		"secret":                          "",
	} {
		if got := recalled(t, ada, "query", question); len(got) == 0 && want != "" || len(got) > 0 && got[0] != want {
			t.Errorf("%q finds %v, want %q first", question, got, want)
		}
	}
	if got := recalled(t, ada, "q", "carl"); !slices.Equal(got, []string{"Office Budget", "Lima trip"}) { // equals: the liveliest first
		t.Errorf("by a person: %v", got)
	}
	if got := recalled(t, ada, "q", "money"); !slices.Equal(got, []string{"Office Budget"}) {
		t.Errorf("by what was said: %v", got)
	}
	if got := recalled(t, carl, "q", "cranes bob"); len(got) != 0 {
		t.Errorf("carl finds %v", got)
	}
	// What was cleared is not remembered, nor is a conversation that one has left.
	ada.Do("DELETE", "/conversations/"+budget+"/messages", nil).OK(nil)
	if got := recalled(t, ada, "q", "money"); len(got) != 0 {
		t.Errorf("cleared, and found: %v", got)
	}
	carl.Do("POST", "/conversations/"+trip+"/leave", nil).OK(nil)
	if got := recalled(t, carl, "q", "lima passport"); len(got) != 0 {
		t.Errorf("left, and found: %v", got)
	}
	if f := ada.Socket().Ask("conversation:ai-search", map[string]any{"q": "lima"}); !f.OK || !strings.Contains(string(f.Data), trip) {
		t.Errorf("by socket: %s", f.Raw)
	}
	ada.Do("GET", "/conversations/ai-search?q="+strings.Repeat("x", 257), nil).Fails(400, "VALIDATION")
	if got := recalled(t, ada, "x", "y"); len(got) != 0 {
		t.Errorf("no question finds %v", got)
	}
}
