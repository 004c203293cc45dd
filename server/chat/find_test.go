package chat_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/server/servertest"
)

// answer is the whole answer of a search.
type answer struct {
	Messages, Items []message
	Matches         []struct {
		MessageID, Snippet string
		Highlights         [][2]int
	}
	Total      int
	HasMore    bool
	NextCursor string
	Current    bool
}

// searched searches and checks what must be true of every answer.
func searched(t *testing.T, u *servertest.User, q, more string) answer {
	t.Helper()
	a := fetch[answer](u, "GET", "/messages/search/query?q="+url.QueryEscape(q)+more, nil)
	if len(a.Items) != len(a.Messages) || len(a.Matches) != len(a.Messages) || a.Total < len(a.Messages) {
		t.Errorf("%q: %d messages, %d items, %d matches, total %d", q, len(a.Messages), len(a.Items), len(a.Matches), a.Total)
	}
	for i, m := range a.Matches {
		if m.MessageID != a.Messages[i].ID || a.Items[i].ID != a.Messages[i].ID {
			t.Errorf("%q: match %d belongs to another message", q, i)
		}
	}
	return a
}

// marked shows the snippet of each hit with its marks in brackets, counting as JavaScript does.
func (a answer) marked() (list []string) {
	for _, m := range a.Matches {
		units := utf16.Encode([]rune(m.Snippet))
		text, at := "", 0
		for _, h := range m.Highlights {
			text += string(utf16.Decode(units[at:h[0]])) + "[" + string(utf16.Decode(units[h[0]:h[1]])) + "]"
			at = h[1]
		}
		list = append(list, text+string(utf16.Decode(units[at:])))
	}
	return list
}

// reindex has the index made from the tables as they are now, for what is changed behind the server's back.
func reindex(t *testing.T, s *servertest.Server) {
	t.Helper()
	s.Stop()
	removeIndex(s)
	s.Boot()
	eventually(t, "the index is made", func() bool { return status(t, s).Current })
}

func removeIndex(s *servertest.Server) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		_ = os.Remove(filepath.Join(s.Dir, "search.db"+suffix))
	}
}

// status asks how the index is.
func status(t *testing.T, s *servertest.Server) search.IndexStatus {
	t.Helper()
	return fetch[search.IndexStatus](admin(t, s), "GET", "/admin/search", nil)
}

// admin is somebody who administers.
func admin(t *testing.T, s *servertest.Server) *servertest.User {
	t.Helper()
	u := s.Register(fmt.Sprint("admin", time.Now().UnixNano()))
	write(t, s, "UPDATE user SET role = 'super_admin' WHERE id = ?", u.ID)
	return u
}

func TestSearchFiltersByPersonPlaceAndContent(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, cem := s.Register("ada"), s.Register("bob"), s.Register("cem")
	ada.Do("PUT", "/users/me", map[string]any{"displayName": "Ada Lovelace"}).OK(nil)
	cem.Do("PUT", "/users/me", map[string]any{"displayName": "Çem Öztürk"}).OK(nil)
	family, work, pair := ada.Group("Family Reünion", bob, cem), ada.Group("work", bob), ada.Single(bob)
	first := ada.Send(family, "apple from ada")
	bob.Send(family, "apple from bob, see https://example.org/apple")
	cem.Send(family, "apple from cem www.example.org")
	ada.Send(work, "apple at work")
	bob.Send(pair, "apple for two, not a link: http:// or awww.")
	send(bob, family, "apple reply", map[string]any{"replyTo": first})
	picture := bob.Send(family, "apple picture")
	write(t, s, "UPDATE message SET type = 'image' WHERE id = ?", picture)
	named := ada.Send(family, "apple for @[Çem]("+cem.ID+")")
	write(t, s, "INSERT INTO mention (user_id, conversation_id, n, message_id) SELECT ?, conversation_id, n, id FROM message WHERE id = ? ON CONFLICT DO NOTHING", cem.ID, named)
	reindex(t, s)
	all := []string{"apple from ada", "apple from bob, see https://example.org/apple", "apple from cem www.example.org", "apple at work",
		"apple for two, not a link: http:// or awww.", "apple reply", "apple picture", "apple for @[Çem](" + cem.ID + ")"}
	for q, want := range map[string][]int{
		"apple": {0, 1, 2, 3, 4, 5, 6, 7}, "apple from:bob": {1, 4, 5, 6}, "apple from:@bob": {1, 4, 5, 6}, "apple FROM:BOB": {1, 4, 5, 6}, "apple from:" + bob.ID: {1, 4, 5, 6},
		`apple from:"ada lovelace"`: {0, 3, 7}, "apple from:lovelace": {0, 3, 7}, "from:me apple": {1, 4, 5, 6}, "apple from:ozturk": {2}, "apple from:nobody": {},
		"apple from:ada from:cem": {0, 2, 3, 7}, "apple -from:bob": {0, 2, 3, 7}, "apple in:work": {3}, "apple in:" + work: {3}, `apple in:"family reunion"`: {0, 1, 2, 5, 6, 7},
		"apple in:family": {0, 1, 2, 5, 6, 7}, "apple in:@ada": {4}, "apple in:ada in:work": {3, 4}, "apple -in:family": {3, 4}, "apple in:elsewhere": {}, "in:work": {3}, "from:me": {1, 4, 5, 6},
		"apple has:link": {1, 2}, "apple -has:link": {0, 3, 4, 5, 6, 7}, "apple has:image": {6}, "apple type:image": {6}, "apple type:text": {0, 1, 2, 3, 4, 5, 7}, "has:reply": {5},
		"apple has:mention": {7}, "mentions:cem": {7}, "mentions:me": {}, "has:link from:bob": {1}, "has:link has:reply": {}, "apple -type:image": {0, 1, 2, 3, 4, 5, 7},
		"apple after:yesterday": {0, 1, 2, 3, 4, 5, 6, 7}, "apple before:today": {}, "apple on:today": {0, 1, 2, 3, 4, 5, 6, 7}, "on:today in:work": {3}, "before:2020 apple": {}, "after:2020-05 apple before:2100-01-01": {0, 1, 2, 3, 4, 5, 6, 7},
		"apple " + cem.ID: {},
	} {
		wanted := []string{}
		for _, i := range want {
			wanted = append(wanted, all[i])
		}
		if got := texts(searched(t, bob, q, "").Messages); !slices.Equal(got, wanted) {
			t.Errorf("%q finds %q, want %q", q, got, wanted)
		}
	}
	if got := texts(searched(t, cem, "apple in:work", "").Messages); len(got) != 0 {
		t.Errorf("in a conversation of others: %q", got)
	}
	if got := texts(searched(t, cem, "apple", "&type=image").Messages); !slices.Equal(got, []string{"apple picture"}) {
		t.Errorf("with the old parameter for a type: %q", got)
	}
}

func TestDatesOfASearchAreOfTheTimeZoneOfWhoAsks(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for _, sent := range [][2]string{{"may begins in tokyo", "2026-04-30T15:30:00Z"}, {"may begins in london", "2026-04-30T23:30:00Z"}, {"june begins in tokyo", "2026-05-31T15:00:00Z"}} {
		id := ada.Send(room, sent[0])
		when, err := time.Parse(time.RFC3339, sent[1])
		must(t, err)
		write(t, s, "UPDATE message SET created_at = ? WHERE id = ?", when.UnixMilli(), id)
	}
	write(t, s, "UPDATE user SET time_zone = 'Asia/Tokyo' WHERE id = ?", ada.ID)
	write(t, s, "UPDATE user SET time_zone = 'Europe/London' WHERE id = ?", bob.ID)
	reindex(t, s)
	for _, test := range []struct {
		who  *servertest.User
		q    string
		want []string
	}{
		{ada, "begins on:2026-05", []string{"london", "may begins in tokyo"}}, {bob, "begins on:2026-05", []string{"london", "june"}},
		{ada, "begins on:2026-05-01", []string{"london", "may begins in tokyo"}}, {bob, "begins on:2026-05-01", []string{"london"}},
		{ada, "begins before:2026-05-01", nil}, {bob, "begins before:2026-05-01", []string{"may begins in tokyo"}}, {ada, "begins after:2026-05", []string{"june"}},
		{bob, "begins after:2026-05-31", nil}, {ada, "begins during:2026", []string{"june", "london", "may begins in tokyo"}}, {ada, "begins on:2025", nil},
		{ada, "begins on:2026-02-30", nil}, // no date, but words
	} {
		got := texts(searched(t, test.who, test.q, "").Messages)
		ok := len(got) == len(test.want)
		for _, part := range test.want {
			ok = ok && slices.ContainsFunc(got, func(text string) bool { return strings.Contains(text, part) })
		}
		if !ok {
			t.Errorf("%s of %s finds %q, want %q", test.q, test.who.Name, got, test.want)
		}
	}
}

func TestHitsComeWithTheWordsMarked(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	long := strings.Repeat("filler words ", 40) + "the needle is here " + strings.Repeat("and more words ", 40)
	for _, text := range []string{"The QUICK brown fox, quickly!", "😀😀 Crème für Dich", "今天去公园散步", "a quick <b>brown</b> fox\nbrown", long, "ask @[Ada L](" + ada.ID + ") about needles", strings.Repeat("散", 300) + "针"} {
		ada.Send(room, text)
	}
	indexed(t, ada, room)
	for q, want := range map[string][]string{
		"quick": {"a [quick] <b>brown</b> fox brown", "The [QUICK] brown fox, [quickly]!"}, `"quick brown"`: {"The [QUICK brown] fox, quickly!"},
		`"brown fox"`: {"The QUICK [brown fox], quickly!"}, "creme fur": {"😀😀 [Crème] [für] Dich"}, "去公": {"今天[去公]园散步"}, "步": {"今天去公园散[步]"}, "😀": {"[😀][😀] Crème für Dich"},
		"ada about": {"ask @[Ada] L [about] needles"}, "in:bob creme": {},
		"针": {"…" + strings.Repeat("散", 20) + "[针]"},
	} {
		if got := searched(t, ada, q, "").marked(); q != "in:bob creme" && !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", q, got, want)
		}
	}
	got := searched(t, bob, "needle is", "").marked()
	if len(got) != 1 || !strings.HasPrefix(got[0], "…") || !strings.HasSuffix(got[0], "…") || !strings.Contains(got[0], "words the [needle] [is] here and") || len(got[0]) > 300 {
		t.Errorf("of a long message: %q", got)
	}
	if got := searched(t, bob, "from:ada", "").marked(); len(got) != 8 || strings.Contains(strings.Join(got[1:], ""), "[") {
		t.Errorf("without words: %q", got)
	}
}

func TestTheBestHitsHaveTheVeryWords(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 30 {
		ada.Send(room, fmt.Sprint("something else ", i))
	}
	best := ada.Send(room, "art art")
	ada.Send(room, "a message that has the word art somewhere among many other words that are of no interest to anybody")
	ada.Send(room, "party")
	for i := range 10 {
		ada.Send(room, fmt.Sprint("the party starts ", i))
	}
	indexed(t, ada, room)
	list := searched(t, bob, "art", "&sort=best&limit=3")
	if got := list.Messages; len(got) != 3 || got[0].ID != best || !strings.Contains(got[1].text(), "the word art") || list.Total != 13 || !list.HasMore {
		t.Errorf("best first: %q of %d", texts(got), list.Total)
	}
	if got := searched(t, bob, "art", "&limit=3").Messages; got[0].text() != "the party starts 9" {
		t.Errorf("newest first: %q", texts(got))
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page := searched(t, bob, "art", "&sort=best&limit=4"+cursor)
		for _, m := range page.Messages {
			if seen[m.ID] {
				t.Errorf("%s comes twice", m.text())
			}
			seen[m.ID] = true
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	if len(seen) != 13 {
		t.Errorf("all pages have %d", len(seen))
	}
	bob.Do("GET", "/messages/search/query?q=art&sort=worst", nil).Fails(400, "VALIDATION")
	bob.Do("GET", "/messages/search/query?q=art&sort=best&cursor=x", nil).Fails(400, "VALIDATION")
}

func TestPagesByCursorStandStillWhileOthersWrite(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 20 {
		ada.Send(room, fmt.Sprint("item ", i))
	}
	indexed(t, ada, room)
	got := []string{}
	var last answer
	for cursor := ""; ; cursor = "&cursor=" + last.NextCursor {
		last = searched(t, bob, "item", "&limit=6"+cursor)
		for _, m := range last.Messages {
			got = append(got, m.text())
		}
		if last.HasMore != (last.NextCursor != "") {
			t.Errorf("more %v, cursor %q", last.HasMore, last.NextCursor)
		}
		if last.NextCursor == "" {
			break
		}
		ada.Send(room, "item in between")
		ada.Do("DELETE", "/messages/"+last.Messages[len(last.Messages)-1].ID, nil).OK(nil) // the very message of the cursor
		indexed(t, ada, room)
	}
	want := []string{}
	for i := 19; i >= 0; i-- {
		want = append(want, fmt.Sprint("item ", i))
	}
	if !slices.Equal(got, want) {
		t.Errorf("pages: %q", got)
	}
	searched(t, bob, "item", "&cursor=nonsense")
}

func TestSearchShowsOnlyWhatSomebodyMaySee(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, cem, dan := s.Register("ada"), s.Register("bob"), s.Register("cem"), s.Register("dan")
	room := ada.Group("g", bob, dan)
	before := ada.Send(room, "plum before")
	ada.Do("PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{cem.ID}}).OK(nil)
	send(ada, room, "plum reply", map[string]any{"replyTo": before})
	hidden, expired := ada.Send(room, "plum hidden"), ada.Send(room, "plum expired")
	ada.Do("DELETE", "/conversations/"+room+"/participants/"+dan.ID, nil).OK(nil)
	ada.Send(room, "plum after")
	indexed(t, ada, room)
	write(t, s, "INSERT INTO message_hidden (user_id, conversation_id, n, at) SELECT ?, conversation_id, n, 0 FROM message WHERE id = ?", bob.ID, hidden)
	write(t, s, "UPDATE message SET expires_at = 1 WHERE id = ?", expired)
	for who, want := range map[*servertest.User][]string{
		ada: {"plum before", "plum reply", "plum hidden", "plum after"}, bob: {"plum before", "plum reply", "plum after"}, cem: {"plum reply", "plum hidden", "plum after"}, dan: {},
	} {
		for _, more := range []string{"", "&sort=best"} {
			a := searched(t, who, "plum", more)
			got := texts(a.Messages)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) || a.Total != len(want) {
				t.Errorf("%s finds %d: %q, want %q", who.Name, a.Total, got, want)
			}
		}
	}
	if m := searched(t, cem, "reply", "").Messages; len(m) != 1 || m[0].ReplyTo != nil {
		t.Errorf("what was before they joined: %+v", m)
	}
	dan.Do("GET", "/messages/search/query?q=plum&conversationId="+room, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	bob.Do("DELETE", "/conversations/"+room+"/messages", nil).OK(nil)
	ada.Send(room, "plum later")
	indexed(t, ada, room)
	if got := texts(searched(t, bob, "plum", "").Messages); !slices.Equal(got, []string{"plum later"}) {
		t.Errorf("after clearing: %q", got)
	}
}

func TestABlockHidesFromASearchWhatItHidesFromTheHistoryWhichIsNothing(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	pair, group, others := ada.Single(bob), ada.Group("g", bob), ada.Single(eve)
	bob.Send(pair, "pear in private")
	bob.Send(group, "pear in a group")
	ada.Send(others, "pear of others")
	indexed(t, ada, others)
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(nil)
	bob.Send(group, "pear after the block")
	indexed(t, ada, others)
	for _, u := range []*servertest.User{ada, bob} {
		var want []string
		for _, room := range []string{pair, group} {
			for _, m := range fetch[[]message](u, "GET", "/messages/conversation/"+room, nil) {
				if strings.Contains(m.text(), "pear") {
					want = append(want, m.text())
				}
			}
		}
		got := texts(searched(t, u, "pear from:bob", "").Messages)
		slices.Sort(got)
		slices.Sort(want)
		if len(want) != 3 || !slices.Equal(got, want) {
			t.Errorf("%s finds %q, and reads %q", u.Name, got, want)
		}
	}
	for _, q := range []string{"pear in:" + others, "pear from:eve", "in:eve", "pear mentions:eve", "pear others"} {
		if a := searched(t, bob, q, ""); a.Total != 0 {
			t.Errorf("%q finds what is of others: %q", q, texts(a.Messages))
		}
	}
}

func TestTheTotalLeavesOutWhatOneMayNotSee(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 400 {
		ada.Send(room, fmt.Sprint("grain ", i))
	}
	indexed(t, ada, room)
	write(t, s, "INSERT INTO message_hidden (user_id, conversation_id, n, at) SELECT ?, conversation_id, n, 0 FROM message WHERE content LIKE 'grain %' AND n <= 50", bob.ID)
	for who, want := range map[*servertest.User]int{ada: 400, bob: 350} {
		for _, more := range []string{"", "&limit=1", "&skip=300", "&sort=best"} {
			if a := searched(t, who, "grain", more); a.Total != want {
				t.Errorf("%s%s: total %d, want %d", who.Name, more, a.Total, want)
			}
		}
	}
}

// TestAnythingMayBeSearchedFor puts pieces of the language and of other things together.
func TestAnythingMayBeSearchedFor(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	ada.Send(room, "the quick brown fox 日本語 "+strings.Repeat("wide ", 100))
	indexed(t, ada, room)
	pieces := []string{
		"quick", "-", `"`, "*", ":", " ", "from:", "in:", "has:link", "before:2026", "after:9999-12-31", "on:0000-01-01", "type:", "mentions:me", "日", "本", "\x00", "\xff", "\u0301", "🎉", "@", "(", ")", "NEAR(", " OR ",
		" AND ", " NOT ", "^", "{text}:", "+", "\u0080c" + room, "\u0080", "'", ";", "\n", "%", "_", strings.Repeat("a", 80), "ﷺ", "\u202e", "fo", "me", room, ada.ID,
	}
	dice := rand.New(rand.NewPCG(1, 2))
	for range 600 {
		q := ""
		for range 1 + dice.IntN(7) {
			q += pieces[dice.IntN(len(pieces))]
		}
		if dice.IntN(10) == 0 && len(q) > 2 {
			q = q[:len(q)-1] // perhaps in the middle of a character
		}
		for _, more := range []string{"", "&sort=best", "&cursor=" + room + "&skip=3&limit=1"} {
			r := bob.Do("GET", "/messages/search/query?q="+url.QueryEscape(q)+more, nil)
			if r.Status != 200 && r.Status != 400 {
				t.Fatalf("%q%s: %d %s", q, more, r.Status, r.Body)
			}
		}
	}
}

func TestPagesAreFullAlthoughTheIndexIsBehind(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 30 {
		ada.Send(room, fmt.Sprint("item ", i))
	}
	indexed(t, ada, room)
	write(t, s, "UPDATE message SET deleted_at = 1, content = NULL WHERE content LIKE 'item %' AND n % 2 = 0") // the index is not told
	got := []string{}
	for skip := 0; skip < 15; skip += 4 {
		a := searched(t, bob, "item", fmt.Sprint("&limit=4&skip=", skip))
		if a.Total != 15 {
			t.Errorf("total %d", a.Total)
		}
		for _, m := range a.Messages {
			got = append(got, m.text())
		}
	}
	if len(got) != 15 || got[0] != "item 28" || got[14] != "item 0" {
		t.Errorf("pages: %q", got)
	}
}

// TestWhatIsDeletedLeavesTheIndex looks for the bytes in every file of the index.
func TestWhatIsDeletedLeavesTheIndex(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, group := ada.Single(bob), ada.Group("g", bob)
	var ids []string
	for i := range 40 {
		ids = append(ids, ada.Send(room, fmt.Sprintf("xylograph%d secretive common", i)))
		ada.Send(room, fmt.Sprintf("common words %d", i))
	}
	edited, expiring := ada.Send(room, "zymurgical"), ada.Send(room, "floccinauci")
	ada.Send(group, "quixotical")
	indexed(t, ada, room)
	has := func(word string) bool {
		for _, suffix := range []string{"", "-wal"} {
			raw, err := os.ReadFile(filepath.Join(s.Dir, "search.db"+suffix))
			if err == nil && bytes.Contains(bytes.ToLower(raw), []byte(word)) {
				return true
			}
		}
		return false
	}
	for _, word := range []string{"xylograph", "secretive", "zymurgical", "quixotical", "floccinauci"} {
		if !has(word) {
			t.Fatalf("%s is not in the index: this test looks in the wrong place", word)
		}
	}
	for _, id := range ids {
		ada.Do("DELETE", "/messages/"+id, nil).OK(nil)
	}
	ada.Do("PUT", "/messages/"+edited, map[string]any{"content": "something else"}).OK(nil)
	ada.Do("DELETE", "/conversations/"+group, nil).OK(nil)
	write(t, s, "UPDATE message SET expires_at = ? WHERE id = ?", s.Now().Add(30*time.Second).UnixMilli(), expiring)
	s.Advance(time.Minute)
	if _, total := found(bob, "floccinauci", ""); total != 0 { // whether it is swept or not
		t.Errorf("an expired message is found %d times", total)
	}
	for _, word := range []string{"ylograp", "ecretiv", "zymur", "quixo", "xyl", "zym", "flocc", "nauci"} {
		eventually(t, word+" leaves the index", func() bool { return !has(word) })
	}
	if _, total := found(bob, "common", ""); total != 40 {
		t.Errorf("what is left: %d", total)
	}
}

func TestHistoryAroundAHit(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, cem := s.Register("ada"), s.Register("bob"), s.Register("cem")
	room, other := ada.Group("g", bob), ada.Single(cem)
	var ids []string
	for i := range 5 {
		ids = append(ids, ada.Send(room, fmt.Sprint("m", i)))
	}
	ada.Do("PUT", "/conversations/"+room+"/participants", map[string]any{"participantIds": []string{cem.ID}}).OK(nil)
	for i := range 15 {
		ids = append(ids, ada.Send(room, fmt.Sprint("m", i+5)))
	}
	elsewhere := ada.Send(other, "elsewhere")
	ada.Do("DELETE", "/messages/"+ids[11], nil).OK(nil)
	page := func(u *servertest.User, query string) string {
		said := strings.Join(texts(fetch[[]message](u, "GET", "/messages/conversation/"+room+query, nil)), " ")
		return strings.NewReplacer("ADA created the group", "created", "ADA added CEM", "added").Replace(said) // notices have places like other messages
	}
	for query, want := range map[string]string{
		"?limit=5&around=" + ids[8]: "m6 m7 m8 m9 m10", "?limit=4&around=" + ids[8]: "m7 m8 m9 m10", "?limit=1&around=" + ids[8]: "m8", "?limit=6&around=" + ids[19]: "m14 m15 m16 m17 m18 m19",
		"?limit=6&around=" + ids[1]: "created m0 m1 m2 m3 m4", "?limit=5&around=" + ids[11]: "m8 m9 m10 m12 m13", "?limit=100&around=" + ids[3]: "created m0 m1 m2 m3 m4 added m5 m6 m7 m8 m9 m10 m12 m13 m14 m15 m16 m17 m18 m19",
		"?limit=3&after=" + ids[10]: "m12 m13 m14", "?limit=3&after=" + ids[17]: "m18 m19", "?after=" + ids[19]: "", "?limit=9&after=" + ids[4] + "&before=" + ids[8]: "added m5 m6 m7",
	} {
		if got := page(bob, query); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	if got := page(cem, "?limit=6&around="+ids[6]); got != "added m5 m6 m7 m8 m9" {
		t.Errorf("of somebody who joined later: %s", got)
	}
	cem.Do("GET", "/messages/conversation/"+room+"?around="+ids[2], nil).Fails(404, "MESSAGE_NOT_FOUND")
	if got := page(cem, "?limit=3&after="+ids[2]); got != "added m5 m6" {
		t.Errorf("after what one may not see: %s", got)
	}
	for _, query := range []string{"?around=" + elsewhere, "?after=" + elsewhere, "?around=nonsense"} {
		ada.Do("GET", "/messages/conversation/"+room+query, nil).Fails(404, "MESSAGE_NOT_FOUND")
	}
	indexed(t, ada, other)
	hit := searched(t, bob, "m17", "").Messages
	if len(hit) != 1 || hit[0].N != 20 || page(bob, "?limit=3&around="+hit[0].ID) != "m16 m17 m18" {
		t.Errorf("from a hit to its place: %+v", hit)
	}
}
