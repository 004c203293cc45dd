package account_test

import (
	"bytes"
	"fmt"
	"reflect"
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
	look("on again", [3]string{"[bob]", "[bob]", "[bob]"}, [3][]string{{first, first, ""}, {"", first, ""}, {"", first, ""}})
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
	if got := marks(ada, room, all); got[1] != "" {
		t.Errorf("ada sees that bob has read up to %s", got[1])
	}
	if got := marks(bob, room, all); got[1] == "" {
		t.Error("bob does not see how far he has read himself")
	}
}

func TestPresenceIsShownAsTheSettingsSay(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, carl := s.Register("ada"), s.Register("bob"), s.Register("carl")
	all := []*servertest.User{ada, bob, carl}
	ada.Group("all", bob, carl)
	ada.Do("POST", "/users/me/contacts", map[string]any{"userId": bob.ID}).OK(nil)
	phone, his, hers := ada.Socket(), bob.Socket(), carl.Socket()
	for _, socket := range []*servertest.Socket{phone, his, hers} {
		socket.Pending()
	}
	mine := func(name string) bool {
		return name == "user:settings" || name == "user:updated" || name == "contact:updated" || name == "contact:removed"
	}
	step := func(what string, toAda, toBob, toCarl []string) {
		t.Helper()
		for i, socket := range []*servertest.Socket{phone, his, hers} {
			got := slices.DeleteFunc(heard(t, socket, all...), mine)
			slices.Sort(got)
			if want := [][]string{toAda, toBob, toCarl}[i]; !slices.Equal(got, want) {
				t.Errorf("%s: %s hears %q, want %q", what, all[i].Name, got, want)
			}
		}
	}
	// look holds what each sees of ada, and what ada sees of bob: who is in the list, and the status in the profile.
	look := func(what string, bobs, carls, adas string) {
		t.Helper()
		for _, l := range []struct {
			viewer, of *servertest.User
			want       string
		}{{bob, ada, bobs}, {carl, ada, carls}, {ada, bob, adas}} {
			status := get[profile](l.viewer, "/users/"+l.of.ID).Status
			list := get[struct {
				Online   []string
				Statuses map[string]string
			}](l.viewer, "/presence")
			listed := "offline"
			if slices.Contains(list.Online, l.of.ID) {
				if listed = list.Statuses[l.of.ID]; listed == "" {
					listed = "online"
				}
			}
			if status != l.want || listed != l.want {
				t.Errorf("%s: %s sees %s as %s, and in the list as %s, want %s", what, l.viewer.Name, l.of.Name, status, listed, l.want)
			}
		}
	}
	gone, here := []string{"offline ada"}, []string{"online ada online"}

	look("everyone", "online", "online", "online")
	set(ada, "statusVisibility", "contacts")
	step("for contacts", nil, nil, gone)
	look("for contacts", "online", "offline", "online")
	ada.Do("POST", "/users/me/contacts", map[string]any{"userId": carl.ID}).OK(nil)
	step("a new contact", nil, nil, here)
	ada.Do("DELETE", "/users/me/contacts/"+bob.ID, nil).OK(nil)
	step("no contact any more", nil, gone, nil)
	look("no contact any more", "offline", "online", "online")
	set(ada, "statusVisibility", "nobody")
	step("for nobody", nil, nil, gone)
	look("for nobody", "offline", "offline", "online")
	set(ada, "statusVisibility", "everyone")
	step("for everyone", nil, here, here)

	set(ada, "lastSeen", false) // like this both ways
	step("hidden", []string{"offline bob", "offline carl"}, gone, gone)
	look("hidden", "offline", "offline", "offline")
	set(bob, "lastSeen", false)
	step("both hidden", nil, []string{"offline carl"}, []string{"offline bob"})
	set(ada, "lastSeen", true)
	step("one is back", []string{"online carl online"}, nil, here)
	look("one is back", "offline", "online", "offline")
	set(bob, "lastSeen", true)
	step("both are back", []string{"online bob online"}, []string{"online ada online", "online carl online"}, []string{"online bob online"})

	status := func(value string) profile {
		t.Helper()
		var self profile
		ada.Do("PUT", "/users/me/status", map[string]any{"status": value}).OK(&self)
		return self
	}
	if got := status("away").Status; got != "away" {
		t.Errorf("ada is %s", got)
	}
	step("away", nil, []string{"online ada away"}, []string{"online ada away"})
	status("away")
	step("still away", nil, nil, nil)
	look("away", "away", "away", "online")
	if self := status("offline"); self.Status != "offline" || self.LastSeen == nil {
		t.Errorf("ada sees herself as %v", self)
	}
	step("invisible", nil, gone, gone)
	look("invisible", "offline", "offline", "online")
	since := get[profile](bob, "/users/"+ada.ID).LastSeen
	if since == nil {
		t.Error("who appears offline was not seen last at any time")
	}
	s.Stop()
	s.Boot()
	phone, his, hers = ada.Socket(), bob.Socket(), carl.Socket()
	step("after a restart", []string{"online bob online", "online carl online"}, []string{"online carl online"}, nil)
	look("after a restart", "offline", "offline", "online")
	if now := get[profile](bob, "/users/"+ada.ID).LastSeen; now == nil || *now != *since {
		t.Errorf("seen last at %v, after appearing offline at %v", now, since)
	}
	status("online")
	step("visible", nil, here, here)
	ada.Do("PUT", "/users/me/status", map[string]any{"status": "sleeping"}).Fails(400, "VALIDATION")
	ada.Do("PUT", "/users/me/status", map[string]any{}).Fails(400, "VALIDATION")
}

func TestAPictureIsShownAsTheSettingsSay(t *testing.T) {
	t.Parallel()
	s := servertest.Start(t)
	ada, bob, carl, eve := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("eve")
	room := ada.Group("all", bob, carl)
	uploaded := ada.Picture()
	ada.Do("PUT", "/users/me", map[string]any{"avatar": uploaded}).OK(nil)
	picture := servertest.Shown(uploaded)
	ada.Do("POST", "/users/me/contacts", map[string]any{"userId": bob.ID}).OK(nil)
	ada.Do("POST", "/users/me/contacts", map[string]any{"userId": eve.ID}).OK(nil)
	first := ada.Send(room, "first")
	// shown is whether somebody sees the picture everywhere (yes), nowhere (no), or here and there.
	shown := func(u *servertest.User, member bool) string {
		t.Helper()
		sights := map[string]*string{}
		sights["profile"] = get[profile](u, "/users/"+ada.ID).Avatar
		if u != ada {
			for _, p := range get[[]profile](u, "/users/search?q=ada") {
				sights["search"] = p.Avatar
			}
		}
		if member {
			type message struct {
				ID     string  `json:"_id"`
				Sender profile `json:"senderId"`
			}
			for _, c := range get[[]struct {
				Participants []struct {
					User profile `json:"userId"`
				}
				LastMessage message
			}](u, "/conversations") {
				for _, p := range c.Participants {
					if p.User.ID == ada.ID {
						sights["participant"] = p.User.Avatar
					}
				}
				sights["last message"] = c.LastMessage.Sender.Avatar
			}
			sights["history"] = get[[]message](u, "/messages/conversation/"+room)[0].Sender.Avatar
			sights["message"] = get[message](u, "/messages/"+first).Sender.Avatar
		}
		seen := 0
		for what, avatar := range sights {
			if avatar != nil && servertest.Shown(*avatar) != picture {
				t.Errorf("%s: %s", what, *avatar)
			}
			if avatar != nil {
				seen++
			}
		}
		switch seen {
		case 0:
			return "no"
		case len(sights):
			return "yes"
		}
		return fmt.Sprint(sights)
	}
	// frames is whether the frames that all members share show it, live and late.
	frames := func() string {
		t.Helper()
		socket := bob.Socket()
		since := socket.Seq
		ada.Send(room, "again")
		ada.Do("PUT", "/conversations/"+room, map[string]any{"description": fmt.Sprint(since)}).OK(nil)
		live, late := socket.Pending(), bob.Resume(since).Pending()
		said := map[bool]int{}
		for _, f := range append(live, late...) {
			if f.Seq > 0 {
				said[bytes.Contains(f.Raw, []byte(picture))]++
			}
		}
		switch {
		case said[false] == 0:
			return "yes"
		case said[true] == 0:
			return "no"
		}
		return fmt.Sprint(said)
	}
	for _, c := range []struct{ setting, self, contact, member, stranger, shared string }{
		{"everyone", "yes", "yes", "yes", "yes", "yes"},
		{"contacts", "yes", "yes", "no", "yes", "no"}, // the stranger is on ada's list too
		{"nobody", "yes", "no", "no", "no", "no"},
	} {
		set(ada, "profilePhotoVisibility", c.setting)
		got := []string{shown(ada, true), shown(bob, true), shown(carl, true), shown(eve, false), frames()}
		if want := []string{c.self, c.contact, c.member, c.stranger, c.shared}; !slices.Equal(got, want) {
			t.Errorf("for %s: %q, want %q", c.setting, got, want)
		}
	}
	set(ada, "profilePhotoVisibility", "contacts")
	ada.Do("POST", "/users/me/blocked-users", map[string]any{"userId": bob.ID}).OK(nil)
	if got := shown(bob, true); got != "no" {
		t.Errorf("a contact who is blocked sees it: %s", got)
	}
}

func TestSettingsAreDefaultsUntilChangedAndAgreeOnAllDevices(t *testing.T) {
	w := newWorld(t)
	me, other := w.join("ada"), w.join("bob")
	want := map[string]any{
		"_id": me.id, "id": me.id, "userId": me.id, "darkMode": false, "autoDownloadMedia": true, "saveToGallery": false, "pushNotifications": true, "messageNotifications": true,
		"groupNotifications": true, "callNotifications": true, "soundEnabled": true, "vibrationEnabled": true, "showPreview": true, "inAppNotifications": true,
		"notificationLight": true, "readReceipts": true, "lastSeen": true, "profilePhotoVisibility": "everyone", "statusVisibility": "everyone", "twoFactorAuth": false,
		"fingerprintLock": false, "blockedUsers": []any{},
	}
	check := func(what string, r reply) {
		t.Helper()
		if !reflect.DeepEqual(r.body, want) {
			t.Errorf("%s: %s", what, r.raw)
		}
	}
	check("at first", w.ok(200, me, "GET", "/users/me/settings"))
	w.told()
	want["darkMode"], want["showPreview"], want["lastSeen"], want["statusVisibility"] = true, false, false, "contacts"
	check("changed", w.ok(200, me, "PUT", "/users/me/settings", "darkMode", true, "showPreview", false, "lastSeen", false, "statusVisibility", "contacts",
		"twoFactorAuth", true, "_id", other.id, "userId", other.id, "blockedUsers", []string{other.id}, "someday", 1))
	want["fingerprintLock"], want["darkMode"] = true, false
	check("changed again", w.ok(200, me, "PATCH", "/users/me/settings", "fingerprintLock", true, "darkMode", false))
	check("read", w.ok(200, me, "GET", "/users/me/settings"))
	names, live := w.told()
	if !slices.Equal(names, []string{"user:settings user " + me.id, "user:settings user " + me.id}) {
		t.Fatalf("told %v", names)
	}
	if late := w.late(live[1:]); !reflect.DeepEqual(late[0], live[1].Value) {
		t.Errorf("late %+v, live %+v", late[0], live[1].Value)
	}
	for _, wrong := range [][]any{{"darkMode", "yes"}, {"lastSeen", "everyone"}, {"profilePhotoVisibility", "friends"}, {"statusVisibility", 1}, {"PROFILEPHOTOVISIBILITY", "friends"}} {
		w.fails("VALIDATION", me, "PUT", "/users/me/settings", wrong...)
	}
	check("after nonsense", w.ok(200, me, "GET", "/users/me/settings"))
	if r := w.ok(200, other, "GET", "/users/me/settings"); r.body["darkMode"] != false || r.body["_id"] != other.id {
		t.Errorf("somebody else's: %s", r.raw)
	}
	w.fails("UNAUTHORIZED", local, "GET", "/users/me/settings")
	w.fails("UNAUTHORIZED", local, "PUT", "/users/me/settings", "darkMode", true)
}
