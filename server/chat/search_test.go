package chat_test

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quckchat/quckchat/server/chat/search"
	"github.com/quckchat/quckchat/server/servertest"
)

// indexed waits until a word that is sent last is found.
func indexed(t *testing.T, u *servertest.User, room string) {
	t.Helper()
	// A word that nothing else looks for finds: no digits, and letters that seldom stand together.
	word := strings.NewReplacer("0", "j", "1", "v", "2", "w", "3", "x", "4", "y", "5", "z", "6", "h", "7", "m", "8", "k", "9", "p").Replace(fmt.Sprint("zjq", time.Now().UnixNano()))
	u.Send(room, word)
	eventually(t, "the index has caught up", func() bool { _, n := found(u, word, ""); return n == 1 })
}

func TestSearchFindsWordsBeginningsAndParts(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, eve := s.Register("ada"), s.Register("bob"), s.Register("eve")
	room, other := ada.Single(bob), ada.Single(eve)
	for _, text := range []string{
		"the quick brown fox", "quick silver", "Crème BRÛLÉE", "привет мир, ёлка", "नमस्ते दुनिया", "NEAR the AND gate", "a.b@example.org", "1234-5678",
		"Die Straße nach Köln ist GROSS", "İstanbul'da ılık bir IŞIK", "السَّلَامُ عَلَيْكُم يا أحمد", "我们今天去公园散步", "日本語の文章です", "ｶﾀｶﾅ と カタカナ",
		"안녕하세요 여러분", "สวัสดีครับทุกคน", "party tonight 🎉🎊", "Dampfschifffahrt", "ab abc",
	} {
		ada.Send(room, text)
	}
	ada.Send(other, "quick for eve")
	indexed(t, ada, room)
	for _, test := range []struct {
		q    string
		want []string
	}{
		// Words, and beginnings of them.
		{"quick", []string{"the quick brown fox", "quick silver"}}, {"QUICK brown", []string{"the quick brown fox"}}, {"brown quick", []string{"the quick brown fox"}},
		{"quick si", []string{"quick silver"}}, {"qu brown", nil}, {"q", nil}, {"q*", []string{"the quick brown fox", "quick silver"}}, {"qu* brown", []string{"the quick brown fox"}},
		{"ab", []string{"ab abc"}}, {"NEAR", []string{"NEAR the AND gate"}}, {"and", []string{"NEAR the AND gate"}}, {"a.b@example.org", []string{"a.b@example.org"}},
		{"1234 5678", []string{"1234-5678"}}, {"nothing", nil},
		// Parts of three characters and more, anywhere in a word and in every word of the search.
		{"uick", []string{"the quick brown fox", "quick silver"}}, {"uic row", []string{"the quick brown fox"}}, {"schiff", []string{"Dampfschifffahrt"}}, {"ui", nil}, {"xampl", []string{"a.b@example.org"}},
		{"ick*", nil}, {"дра", nil}, {"иве", []string{"привет мир, ёлка"}}, {"345", nil}, {"234", []string{"1234-5678"}},
		// Accents and case.
		{"creme brulee", []string{"Crème BRÛLÉE"}}, {"brûl", []string{"Crème BRÛLÉE"}}, {"ПРИВЕТ", []string{"привет мир, ёлка"}}, {"елка", []string{"привет мир, ёлка"}},
		{"strasse koln", []string{"Die Straße nach Köln ist GROSS"}}, {"STRAßE", []string{"Die Straße nach Köln ist GROSS"}}, {"groß", []string{"Die Straße nach Köln ist GROSS"}},
		{"istanbul", []string{"İstanbul'da ılık bir IŞIK"}}, {"ISTANBUL", []string{"İstanbul'da ılık bir IŞIK"}}, {"ışık", []string{"İstanbul'da ılık bir IŞIK"}}, {"isik ilik", []string{"İstanbul'da ılık bir IŞIK"}},
		{"السلام", []string{"السَّلَامُ عَلَيْكُم يا أحمد"}}, {"احمد", []string{"السَّلَامُ عَلَيْكُم يا أحمد"}}, {"नमस्ते", []string{"नमस्ते दुनिया"}},
		// Scripts without spaces.
		{"公园", []string{"我们今天去公园散步"}}, {"今天 散步", []string{"我们今天去公园散步"}}, {"今天去公园", []string{"我们今天去公园散步"}}, {"天公", nil}, {"步", []string{"我们今天去公园散步"}}, {"园", []string{"我们今天去公园散步"}},
		{"日本", []string{"日本語の文章です"}}, {"文章", []string{"日本語の文章です"}}, {"カタカナ", []string{"ｶﾀｶﾅ と カタカナ"}}, {"ｶﾀ", []string{"ｶﾀｶﾅ と カタカナ"}},
		{"하세", []string{"안녕하세요 여러분"}}, {"여러", []string{"안녕하세요 여러분"}}, {"\u110b\u1167\u1105\u1165", []string{"안녕하세요 여러분"}}, {"요여", nil},
		{"ครับ", []string{"สวัสดีครับทุกคน"}}, {"ทุก", []string{"สวัสดีครับทุกคน"}}, {"🎉", []string{"party tonight 🎉🎊"}}, {"🎊🎉", nil}, {"🎉🎊 party", []string{"party tonight 🎉🎊"}},
		// Phrases and exclusion.
		{`"quick brown"`, []string{"the quick brown fox"}}, {`"brown quick"`, nil}, {`"uick brown"`, nil}, {`"uick"`, nil}, {`"quick bro`, []string{"the quick brown fox"}}, {`"quick bro"`, nil},
		{"“quick brown” fox", []string{"the quick brown fox"}}, {"quick -silver", []string{"the quick brown fox"}}, {"quick -sil", []string{"the quick brown fox", "quick silver"}}, {"quick -sil*", []string{"the quick brown fox"}},
		{`quick -"brown fox"`, []string{"quick silver"}}, {"quick -quick", nil}, {"日本 -文章", nil}, {`"日本語の"`, []string{"日本語の文章です"}},
		// What is no filter is words.
		{"foo:quick", nil}, {"quick:silver", []string{"quick silver"}}, {"has:nonsense quick", nil}, {"before:soon", nil},
	} {
		list, total := found(bob, test.q, "")
		if got := texts(list); !slices.Equal(got, test.want) && len(got)+len(test.want) > 0 || total != len(test.want) {
			t.Errorf("%q finds %d: %q, want %q", test.q, total, got, test.want)
		}
	}
	if _, total := found(bob, "-quick", ""); total != 18 {
		t.Errorf("what lacks a word: %d", total)
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
		{"missing, with the events pruned", func() { removeIndex(s) }},
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

// ask reports whether a statement gives something that is true, or, without rows, runs.
func ask(path, statement string) bool {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return false
	}
	defer db.Close()
	yes := sql.NullBool{}
	err = db.QueryRow(statement).Scan(&yes)
	return yes.Bool || errors.Is(err, sql.ErrNoRows)
}

// TestTheIndexMayBeHarmedWhileTheServerRuns does to the files what a restart must not be needed for.
func TestTheIndexMayBeHarmedWhileTheServerRuns(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room, root := ada.Single(bob), admin(t, s)
	ada.Send(room, "walnut of old")
	for i := range 30 {
		ada.Send(room, strings.Repeat(fmt.Sprint("filler", i, " "), 100))
	}
	indexed(t, ada, room)
	path := filepath.Join(s.Dir, "search.db")
	overwrite := func(from, to int64) {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		must(t, err)
		defer f.Close()
		info, err := f.Stat()
		must(t, err)
		_, err = f.WriteAt([]byte(strings.Repeat("harm", int(min(to, info.Size())-from)/4)), from)
		must(t, err)
	}
	for i, test := range []struct {
		what    string
		harm    func()
		noticed bool // by the file itself: it is made anew for sure
	}{
		{"removed", func() { removeIndex(s) }, true},
		{"removed alone", func() { must(t, os.Remove(path)) }, true},
		{"emptied", func() { must(t, os.Truncate(path, 0)) }, true},
		{"cut short", func() { must(t, os.Truncate(path, 5000)) }, true},
		{"replaced", func() {
			must(t, os.WriteFile(path+".other", []byte("something else"), 0o600))
			must(t, os.Rename(path+".other", path))
		}, true},
		{"overwritten", func() { overwrite(0, 1<<30) }, false},
		{"overwritten inside", func() { overwrite(4096, 1<<30) }, false},
	} {
		s.Stop() // so that everything is in the file, and nothing in memory
		ask(path, "CREATE TABLE IF NOT EXISTS marker (x)")
		s.Boot()
		test.harm()
		word := fmt.Sprint("after", i)
		ada.Send(room, "walnut "+word) // is never held up
		eventually(t, "search works after the index was "+test.what, func() bool {
			old, _ := found(bob, "walnut old", "")
			fresh, _ := found(bob, word, "")
			return len(old) == 1 && len(fresh) == 1
		})
		if test.noticed {
			eventually(t, "there is a new file after the index was "+test.what, func() bool {
				return fetch[search.IndexStatus](root, "GET", "/admin/search", nil).State == "ready" && ask(path, "SELECT NOT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'marker') FROM progress")
			})
		}
	}
	s.Stop()
	s.Boot()
	eventually(t, "search works after a restart", func() bool { list, _ := found(bob, "walnut", ""); return len(list) == 8 })
}

func TestAnIndexOfAnotherVersionIsMadeAnew(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	ada.Send(room, "walnut")
	indexed(t, ada, room)
	for _, version := range []string{
		"UPDATE progress SET version = version - 1", "UPDATE progress SET version = version + 1", "DROP TABLE progress; CREATE TABLE progress (one INTEGER, seq INTEGER)", "PRAGMA user_version = 7",
	} {
		s.Stop()
		db, err := sql.Open("sqlite", filepath.Join(s.Dir, "search.db"))
		must(t, err)
		_, err = db.Exec("DELETE FROM doc; " + version)
		must(t, err)
		must(t, db.Close())
		s.Boot()
		eventually(t, "search works again", func() bool { list, _ := found(bob, "walnut", ""); return len(list) == 1 })
	}
}

func TestTheIndexIsMadeAnewOnCommandWhileItServes(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Single(bob)
	for i := range 1200 {
		write(t, s, `INSERT INTO message (conversation_id, n, id, sender_id, type, content, created_at, updated_at) VALUES (?, ?, ?, ?, 'text', 'walnut', 0, 0)`,
			room, i+1, fmt.Sprintf("%024x", i), ada.ID)
	}
	write(t, s, "UPDATE conversation SET last_n = 1200 WHERE id = ?", room)
	reindex(t, s)
	if _, total := found(bob, "walnut", ""); total != 1000 {
		t.Errorf("before: %d", total)
	}
	write(t, s, "UPDATE message SET content = 'hazelnut' WHERE n <= 100") // which the index is not told
	root := admin(t, s)
	before := fetch[search.IndexStatus](root, "POST", "/admin/search/rebuild", nil)
	if before.State != "rebuilding" && before.State != "ready" || before.Messages != 1200 {
		t.Errorf("asked: %+v", before)
	}
	root.Do("POST", "/admin/search/rebuild", nil).OK(nil) // again is no more
	eventually(t, "it is made, and answers all the while", func() bool {
		a := searched(t, bob, "walnut", "")
		if len(a.Messages) != 20 || !a.Current {
			t.Errorf("meanwhile: %d messages, current %v", len(a.Messages), a.Current)
		}
		st := fetch[search.IndexStatus](root, "GET", "/admin/search", nil)
		return st.State == "ready" && st.Total == 0
	})
	if _, total := found(bob, "hazelnut", ""); total != 100 {
		t.Errorf("afterwards: %d", total)
	}
	if st := status(t, s); st.Messages != 1200 || !st.Current || st.Problem != "" || st.Bytes == 0 || st.Words != 2 {
		t.Errorf("status: %+v", st)
	}
	ada.Send(room, "hazelnut again")
	indexed(t, ada, room)
	for _, u := range []*servertest.User{ada, s.Nobody()} {
		if r := u.Do("POST", "/admin/search/rebuild", nil); r.Status != 401 && r.Status != 403 {
			t.Errorf("rebuild by %q: %d", u.Name, r.Status)
		}
		if r := u.Do("GET", "/admin/search", nil); r.Status != 401 && r.Status != 403 {
			t.Errorf("status for %q: %d", u.Name, r.Status)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
