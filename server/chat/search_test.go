package chat_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

// indexed waits until a word that is sent last is found.
func indexed(t *testing.T, u *servertest.User, room string) {
	t.Helper()
	word := fmt.Sprint("marker", time.Now().UnixNano())
	u.Send(room, word)
	eventually(t, "the index has caught up", func() bool { _, n := found(u, word, ""); return n == 1 })
}

func TestSearchFindsWordsAndTheBeginningOfTheLast(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room, other := ada.Single(bob), ada.Single(eve)
	for _, text := range []string{
		"the quick brown fox", "quick silver", "Crème BRÛLÉE", "привет мир", "नमस्ते दुनिया", "NEAR the AND gate", "a.b@example.org", "日本語の文章", "1234-5678",
	} {
		ada.Send(room, text)
	}
	ada.Send(other, "quick for eve")
	indexed(t, ada, room)
	for _, test := range []struct {
		q    string
		want []string
	}{
		{"quick", []string{"the quick brown fox", "quick silver"}}, {"QUICK brown", []string{"the quick brown fox"}}, {"brown quick", []string{"the quick brown fox"}},
		{"qui", []string{"the quick brown fox", "quick silver"}}, {"quick si", []string{"quick silver"}}, {"qui silver", nil}, {"uick", nil},
		{"creme brulee", []string{"Crème BRÛLÉE"}}, {"brûl", []string{"Crème BRÛLÉE"}}, {"ПРИВЕТ", []string{"привет мир"}}, {"नमस्ते", []string{"नमस्ते दुनिया"}},
		{"NEAR", []string{"NEAR the AND gate"}}, {"and", []string{"NEAR the AND gate"}}, {"a.b@example.org", []string{"a.b@example.org"}}, {"日本", []string{"日本語の文章"}},
		{"1234 5678", []string{"1234-5678"}}, {"-quick", []string{"the quick brown fox", "quick silver"}},
	} {
		list, total := found(bob, test.q, "")
		if got := texts(list); !slices.Equal(got, test.want) && len(got)+len(test.want) > 0 || total != len(test.want) {
			t.Errorf("%q finds %d: %q, want %q", test.q, total, got, test.want)
		}
	}
	if list, _ := found(ada, "quick", "&conversationId="+other); len(list) != 1 || list[0].ConversationID != other {
		t.Errorf("within one conversation: %v", texts(list))
	}
	bob.Do("GET", "/messages/search/query?q=quick&conversationId="+other, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	bob.Do("GET", "/messages/search/query", nil).Fails(400, "VALIDATION")
	bob.Do("GET", "/messages/search/query?q="+strings.Repeat("x", 257), nil).Fails(400, "VALIDATION")
}

func TestHostileSearchesFindNothingAndBreakNothing(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	ada.Send(room, "content")
	indexed(t, ada, room)
	for _, q := range []string{
		`"`, `""`, `"*`, `*`, `content:x`, `{content}:`, `content OR x`, `NOT content`, `content AND`, `NEAR(content x, 2)`, `^`, `(`, `)`, `a"b`, `x" OR "content`, `'; DROP TABLE doc; --`,
		"\x00", "x\x00y", "\u0301", "x \u0301", "\u200d", "👩‍👩‍👧", " ", "%", strings.Repeat("a ", 128), strings.Repeat("\"", 256), "ﷺ", "\xff\xfe", "x:y*", "+x -y",
	} {
		r := ada.Do("GET", "/messages/search/query?q="+url.QueryEscape(q), nil)
		if r.Status >= 500 {
			t.Errorf("%q: %d %s", q, r.Status, r.Body)
		}
		if strings.TrimSpace(q) != "" && !strings.Contains(q, "content") && strings.Contains(string(r.Body), `"content":"content"`) {
			t.Errorf("%q finds %s", q, r.Body)
		}
	}
}

func TestSearchFollowsEditsAndDeletions(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, group := ada.Single(bob), ada.Group("g", bob)
	edited, deleted := ada.Send(room, "apple"), ada.Send(room, "banana")
	ada.Send(group, "cherry")
	indexed(t, ada, room)
	ada.Do("PUT", "/messages/"+edited, map[string]any{"content": "apricot"}).OK(nil)
	ada.Do("DELETE", "/messages/"+deleted, nil).OK(nil)
	ada.Do("DELETE", "/conversations/"+group, nil).OK(nil)
	quick := send(ada, room, "damson") // edited and deleted before the index looks
	ada.Do("PUT", "/messages/"+quick.ID, map[string]any{"content": "elder"}).OK(nil)
	gone := ada.Send(room, "fig")
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	indexed(t, ada, room)
	for word, want := range map[string]int{"apple": 0, "apricot": 1, "banana": 0, "cherry": 0, "damson": 0, "elder": 1, "fig": 0} {
		if list, total := found(bob, word, ""); len(list) != want || total != want {
			t.Errorf("%s: %v, total %d, want %d", word, texts(list), total, want)
		}
	}
}

func TestSearchPagesAndFilters(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 25 {
		ada.Send(room, fmt.Sprint("item ", i))
	}
	indexed(t, ada, room)
	all := []string{}
	for skip := 0; skip < 30; skip += 7 {
		list, total := found(bob, "item", fmt.Sprint("&limit=7&skip=", skip))
		if total != 25 {
			t.Errorf("total %d after %d", total, skip)
		}
		slices.Reverse(list)
		all = append(all, texts(list)...)
	}
	for i, text := range all {
		if text != fmt.Sprint("item ", 24-i) {
			t.Fatalf("pages: %v", all)
		}
	}
	if len(all) != 25 {
		t.Errorf("pages have %d", len(all))
	}
	if list, _ := found(bob, "item", ""); len(list) != 20 {
		t.Errorf("without a limit: %d", len(list))
	}
	today, tomorrow := time.Now().UTC(), time.Now().UTC().Add(24*time.Hour)
	for filter, want := range map[string]int{
		"&type=text": 25, "&type=image": 0, "&startDate=" + today.Add(-24*time.Hour).Format(time.DateOnly): 25, "&startDate=" + tomorrow.Format(time.DateOnly): 0,
		"&endDate=" + tomorrow.Format(time.DateOnly): 25, "&endDate=" + today.Add(-24*time.Hour).Format(time.DateOnly): 0,
		"&startDate=" + today.Add(-time.Hour).Format(time.RFC3339) + "&endDate=" + today.Add(time.Hour).Format(time.RFC3339): 25,
		"&endDate=" + today.Add(-time.Hour).Format(time.RFC3339):                                                             0,
	} {
		if _, total := found(bob, "item", filter); total != want {
			t.Errorf("%s: %d, want %d", filter, total, want)
		}
	}
	for _, wrong := range []string{"&limit=0", "&limit=101", "&skip=-1", "&startDate=yesterday", "&endDate=2026-13-01"} {
		bob.Do("GET", "/messages/search/query?q=item"+wrong, nil).Fails(400, "VALIDATION")
	}
}

func TestTheIndexIsMadeAnewWhenItIsDamagedMissingOrOfAnotherLog(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	edited := ada.Send(room, "walnut raw")
	ada.Do("PUT", "/messages/"+edited, map[string]any{"content": "walnut roasted"}).OK(nil)
	gone := ada.Send(room, "walnut gone")
	ada.Do("DELETE", "/messages/"+gone, nil).OK(nil)
	for i := range 30 {
		ada.Send(room, strings.Repeat(fmt.Sprint("filler", i, " "), 100))
	}
	indexed(t, ada, room)
	path := filepath.Join(s.Dir, "search.db")
	remove := func() {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			_ = os.Remove(path + suffix)
		}
	}
	for _, test := range []struct {
		what string
		harm func()
	}{
		{"overwritten", func() { must(t, os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600)) }},
		{"emptied", func() { must(t, os.WriteFile(path, nil, 0o600)) }},
		{"cut short", func() { must(t, os.Truncate(path, 5000)) }},
		{"damaged inside", func() {
			raw, err := os.ReadFile(path)
			must(t, err)
			for i := 4096; i < len(raw); i++ {
				raw[i] ^= 0x5a
			}
			must(t, os.WriteFile(path, raw, 0o600))
		}},
		{"missing, with the events pruned", remove},
	} {
		if strings.HasSuffix(test.what, "pruned") {
			write(t, s, "DELETE FROM event WHERE seq < (SELECT max(seq) FROM event)")
		}
		s.Stop()
		test.harm()
		s.Boot()
		ada.Send(room, "walnut "+strings.ReplaceAll(test.what, " ", ""))
		eventually(t, "search works again after the index was "+test.what, func() bool {
			r := bob.Do("GET", "/messages/search/query?q=walnut", nil)
			return r.Status == 200 && strings.Contains(string(r.Body), "roasted") && strings.Contains(string(r.Body), "walnut "+strings.ReplaceAll(test.what, " ", "")) && !strings.Contains(string(r.Body), "gone")
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
