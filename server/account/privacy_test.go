package account_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func set(u *servertest.User, pairs ...any) (now settings) {
	body := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		body[pairs[i].(string)] = pairs[i+1]
	}
	u.Do("PUT", "/users/me/settings", body).OK(&now)
	return now
}

// readers are the people who have read the newest message of a conversation, as somebody sees it.
func readers(u *servertest.User, room string, all []*servertest.User) (names []string) {
	for _, r := range get[[]struct{ ReadReceipts []struct{ UserID string } }](u, "/messages/conversation/"+room+"?limit=1")[0].ReadReceipts {
		for _, who := range all {
			if who.ID == r.UserID {
				names = append(names, who.Name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// marks are how far the people of a conversation have read, as somebody sees it: "" for those who do not tell.
func marks(u *servertest.User, room string, all []*servertest.User) (list []string) {
	c := get[struct {
		Participants []struct {
			User              profile `json:"userId"`
			LastReadMessageID string
		}
	}](u, "/conversations/"+room)
	for _, who := range all {
		for _, p := range c.Participants {
			if p.User.ID == who.ID {
				list = append(list, p.LastReadMessageID)
			}
		}
	}
	return list
}

func TestWhoHidesWhatTheyReadSeesItOfNobody(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	all := []*servertest.User{ada, bob, carl}
	room := ada.Group("all", bob, carl)
	if set(ada, "readReceipts", false).ReadReceipts {
		t.Error("the setting stays on")
	}
	desktop := ada.Again()
	first := carl.Send(room, "first")
	phone, other, his, hers := ada.Socket(), desktop.Socket(), bob.Socket(), carl.Socket()
	since := his.Seq
	for _, socket := range []*servertest.Socket{phone, other, his, hers} {
		socket.Pending()
	}
	ada.Do("PUT", "/conversations/"+room+"/read", nil).OK(nil)
	bob.Do("POST", "/messages/"+first+"/read", nil).OK(nil)

	told := func(who string, socket *servertest.Socket, want ...string) {
		t.Helper()
		got := heard(t, socket, all...)
		got = slices.DeleteFunc(got, func(name string) bool { return name != "message:read ada" && name != "message:read bob" })
		if !slices.Equal(got, want) {
			t.Errorf("%s hears %q, want %q", who, got, want)
		}
	}
	told("ada's phone", phone, "message:read ada")
	told("ada's desktop", other, "message:read ada")
	told("bob", his, "message:read bob")
	told("carl", hers, "message:read bob")
	told("ada, late", desktop.Resume(since), "message:read ada")
	told("bob, late", bob.Resume(since), "message:read bob")
	told("carl, late", carl.Resume(since), "message:read bob")

	look := func(what string, bySight [3]string, byMark [3][]string) {
		t.Helper()
		for i, u := range all {
			if got := fmt.Sprint(readers(u, room, all)); got != bySight[i] {
				t.Errorf("%s: %s sees read by %s, want %s", what, u.Name, got, bySight[i])
			}
			if got := marks(u, room, all); !slices.Equal(got, byMark[i]) {
				t.Errorf("%s: %s sees marks %q, want %q", what, u.Name, got, byMark[i])
			}
		}
	}
	look("hidden", [3]string{"[]", "[bob]", "[bob]"}, [3][]string{{first, "", ""}, {"", first, ""}, {"", first, ""}})
	s.Stop()
	s.Boot()
	look("after a restart", [3]string{"[]", "[bob]", "[bob]"}, [3][]string{{first, "", ""}, {"", first, ""}, {"", first, ""}})

	// What was read in secret stays so; what is read from now on is told.
	set(ada, "readReceipts", true)
	look("on again", [3]string{"[bob]", "[bob]", "[bob]"}, [3][]string{{first, first, ""}, {first, first, ""}, {first, first, ""}})
	second := carl.Send(room, "second")
	his = bob.Socket()
	ada.Do("PUT", "/conversations/read-all", nil).OK(nil)
	told("bob", his, "message:read ada")
	look("told", [3]string{"[ada]", "[ada]", "[ada]"}, [3][]string{{second, first, ""}, {second, first, ""}, {second, first, ""}})
}

func TestNobodyBlockedIsToldWhatIsRead(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	all := []*servertest.User{ada, bob}
	room := ada.Single(bob)
	ada.Send(room, "x")
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(nil)
	hers, his := ada.Socket(), bob.Socket()
	bob.Do("PUT", "/conversations/"+room+"/read", nil).OK(nil)
	hears(t, "ada", hers, all)
	hears(t, "bob", his, all, "message:read bob")
	if got := readers(ada, room, all); len(got) != 0 {
		t.Errorf("read by %v", got)
	}
}
