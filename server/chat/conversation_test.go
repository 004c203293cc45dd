package chat_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/quckchat/quckchat/server/servertest"
)

func TestASingleConversationIsOneForThePairEvenWhenBothOpenItAtOnce(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	socket := ada.Socket()
	ids := make([]string, 16)
	together(len(ids), func(i int) {
		by, other := ada, bob
		if i%2 == 1 {
			by, other = bob, ada
		}
		ids[i] = by.Single(other)
	})
	for _, id := range ids {
		if id != ids[0] {
			t.Fatalf("several conversations for one pair: %v", ids)
		}
	}
	socket.Expect("conversation:new")
	socket.Silent()
	ada.Do("POST", "/conversations/single", map[string]any{"recipientId": ada.ID}).Fails(400, "SELF_CONVERSATION")
	ada.Do("POST", "/conversations/single", map[string]any{"recipientId": "ffffffffffffffffffffffff"}).Fails(404, "USER_NOT_FOUND")
	ada.Do("POST", "/conversations/single", map[string]any{"recipientId": ""}).Fails(404, "USER_NOT_FOUND")
	ada.Do("POST", "/conversations/single", map[string]any{}).Fails(400, "VALIDATION")
	if c := fetch[conversation](ada, "POST", "/conversations/single", map[string]any{"participantId": bob.ID}); c.ID != ids[0] || c.Type != "single" || len(c.Participants) != 2 || len(c.Admins) != 0 {
		t.Errorf("by its old spelling: %+v", c)
	}
	for _, call := range [][2]string{{"PUT", ""}, {"PUT", "/participants"}, {"PUT", "/admins/" + bob.ID}, {"DELETE", "/admins/" + bob.ID}, {"POST", "/leave"}, {"DELETE", "/participants/" + bob.ID}, {"DELETE", "/participants/" + ada.ID}} {
		ada.Do(call[0], "/conversations/"+ids[0]+call[1], map[string]any{"participantIds": []string{bob.ID}}).Fails(403, "NOT_GROUP")
	}
}

func TestAGroupIsRunByItsAdminsAndHiddenFromStrangers(t *testing.T) {
	s := servertest.Start(t, "QUCKCHAT_GROUP_MEMBERS_MAX=4")
	ada, bob, carl, dora, eve := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora"), s.Register("eve")
	for _, wrong := range []map[string]any{
		{"name": "", "participantIds": []string{bob.ID}}, {"name": "  ", "participantIds": []string{bob.ID}},
		{"name": strings.Repeat("ñ", 101), "participantIds": []string{bob.ID}}, {"participantIds": []string{bob.ID}}, {"name": "x"},
		{"name": "x", "participantIds": []any{1}}, {"name": "x", "participantIds": []string{bob.ID}, "description": strings.Repeat("é", 1001)},
	} {
		ada.Do("POST", "/conversations/group", wrong).Fails(400, "VALIDATION")
	}
	ada.Do("POST", "/conversations/group", map[string]any{"name": "x", "participantIds": []string{"nobody"}}).Fails(404, "USER_NOT_FOUND")
	ada.Do("POST", "/conversations/group", map[string]any{"name": "x", "participantIds": []string{bob.ID, carl.ID, dora.ID, eve.ID}}).Fails(400, "GROUP_FULL")

	alone := fetch[conversation](ada, "POST", "/conversations/group", map[string]any{"name": "alone", "participantIds": nil})
	if len(alone.Participants) != 1 {
		t.Errorf("a group with nobody else: %+v", alone)
	}
	c := fetch[conversation](ada, "POST", "/conversations/group", map[string]any{"name": " " + strings.Repeat("ñ", 100), "participants": []string{bob.ID, bob.ID, ada.ID}})
	if len(c.Participants) != 2 || !slices.Equal(c.Admins, []string{ada.ID}) || *c.Name != strings.Repeat("ñ", 100) {
		t.Fatalf("new group: %+v", c)
	}
	path := "/conversations/" + c.ID
	add := func(by *servertest.User, who ...string) servertest.Reply {
		return by.Do("PUT", path+"/participants", map[string]any{"participantIds": who})
	}
	for _, u := range []*servertest.User{eve} {
		u.Do("GET", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("PUT", path, map[string]any{"name": "y"}).Fails(404, "CONVERSATION_NOT_FOUND")
		add(u, eve.ID).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("POST", path+"/leave", nil).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("DELETE", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("GET", path+"/participants", nil).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("DELETE", path+"/participants/"+bob.ID, nil).Fails(404, "CONVERSATION_NOT_FOUND")
		u.Do("PUT", path+"/admins/"+eve.ID, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	}
	bob.Do("PUT", path, map[string]any{"name": "y"}).Fails(403, "NOT_ADMIN")
	add(bob, carl.ID).Fails(403, "NOT_ADMIN")
	bob.Do("DELETE", path+"/participants/"+ada.ID, nil).Fails(403, "NOT_ADMIN")
	bob.Do("DELETE", path, nil).Fails(403, "NOT_ADMIN")
	bob.Do("PUT", path+"/admins/"+bob.ID, nil).Fails(403, "NOT_ADMIN")
	add(ada, "nobody").Fails(404, "USER_NOT_FOUND")
	add(ada, carl.ID, dora.ID, eve.ID).Fails(400, "GROUP_FULL")
	add(ada, bob.ID, carl.ID, carl.ID).OK(&c)
	ada.Do("PUT", path+"/participants", map[string]any{"userId": dora.ID}).OK(&c) // one id instead of a list
	if len(c.Participants) != 4 {
		t.Fatalf("after adding: %+v", c)
	}
	ada.Do("DELETE", path+"/participants/"+eve.ID, nil).Fails(404, "USER_NOT_FOUND")
	ada.Do("PUT", path+"/admins/"+eve.ID, nil).Fails(404, "USER_NOT_FOUND")
	ada.Do("DELETE", path+"/admins/"+ada.ID, nil).Fails(400, "VALIDATION")
	ada.Do("PUT", path+"/admins/"+bob.ID, nil).OK(&c)
	if !slices.Contains(c.Admins, bob.ID) {
		t.Errorf("after promoting: %v", c.Admins)
	}
	bob.Do("DELETE", path+"/admins/"+ada.ID, nil).OK(&c)
	ada.Do("PUT", path, map[string]any{"name": "y"}).Fails(403, "NOT_ADMIN")
	bob.Do("DELETE", path+"/participants/"+carl.ID, nil).OK(&c)
	carl.Do("GET", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	carl.Do("POST", "/messages", draft(c.ID, "x")).Fails(404, "CONVERSATION_NOT_FOUND")
	if len(c.Participants) != 3 || !slices.Equal(c.Admins, []string{bob.ID}) {
		t.Errorf("in the end: %+v", c)
	}
}

func TestAnUpdateChangesWhatIsGivenAndNullClears(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	room := ada.Group("old", bob)
	listener := bob.Socket()
	path := "/conversations/" + room
	show := func(c conversation) string {
		text := *c.Name
		for _, p := range []*string{c.Description, c.Avatar} {
			if p == nil {
				text += "|null"
				continue
			}
			path, _, _ := strings.Cut(*p, "?")
			text += "|" + path
		}
		return text
	}
	picture := ada.Picture()
	shown := servertest.Shown(picture)
	for _, step := range []struct{ body, want string }{
		{`{"name":" new "}`, "new|null|null"}, {`{"description":"d","avatar":"https://chat.example.org` + picture + `"}`, "new|d|" + shown}, {`{"description":null}`, "new|null|" + shown},
		{`{"name":null,"avatar":null,"description":"e"}`, "new|e|null"}, {`{}`, "new|e|null"}, {`{"description":""}`, "new|null|null"},
	} {
		got := fetch[conversation](ada, "PATCH", path, step.body)
		if show(got) != step.want {
			t.Errorf("%s gives %s, want %s", step.body, show(got), step.want)
		}
		listener.Until("conversation:updated")
	}
	ada.Do("PUT", path, `{"name":""}`).Fails(400, "VALIDATION")
	ada.Do("PUT", path, `{"description":42}`).Fails(400, "VALIDATION")
	for _, avatar := range []string{"/uploads/" + strings.Repeat("x", 2049), "a", "https://elsewhere.example.org/a.png", "/uploads/../a", "/uploads/", bob.Picture()} {
		ada.Do("PUT", path, map[string]any{"avatar": avatar}).Fails(400, "VALIDATION")
		ada.Do("POST", "/conversations/group", map[string]any{"name": "g", "participantIds": []string{bob.ID}, "avatar": avatar}).Fails(400, "VALIDATION")
	}
}

func TestTheLastAdminToLeaveHandsOverToTheOldestMember(t *testing.T) {
	s := servertest.Start(t)
	ada, bob, carl, dora := s.Register("ada"), s.Register("bob"), s.Register("carl"), s.Register("dora")
	room := ada.Group("g", dora)
	path := "/conversations/" + room
	for _, u := range []*servertest.User{carl, bob} {
		ada.Do("PUT", path+"/participants", map[string]any{"participantIds": []string{u.ID}}).OK(nil)
	}
	listener := bob.Socket()
	ada.Do("POST", path+"/leave", nil).OK(nil)
	listener.Expect("conversation:participant:removed")
	listener.Expect("message:new")
	listener.Expect("conversation:updated")
	listener.Expect("message:new")
	if c := fetch[conversation](bob, "GET", path, nil); !slices.Equal(c.Admins, []string{dora.ID}) {
		t.Fatalf("admins %v, want dora, who was there first", c.Admins)
	}
	dora.Do("DELETE", path+"/participants/"+dora.ID, nil).OK(nil) // leaving by another name
	carl.Do("POST", path+"/leave", nil).OK(nil)
	for range 2 {
		listener.Expect("conversation:participant:removed")
		listener.Expect("message:new")
		listener.Expect("conversation:updated")
		listener.Expect("message:new")
	}
	bob.Send(room, "alone")
	listener.Expect("message:new")
	bob.Do("POST", path+"/leave", nil).OK(nil)
	listener.Expect("conversation:participant:removed")
	listener.Silent()
	bob.Do("GET", path, nil).Fails(404, "CONVERSATION_NOT_FOUND")
	if n := count(t, s, "SELECT count(*) FROM conversation WHERE id = ? AND deleted_at IS NOT NULL", room); n != 1 {
		t.Error("a group without members is not dissolved")
	}
	eventually(t, "the messages of a dissolved group are purged", func() bool {
		return count(t, s, "SELECT count(*) FROM message WHERE conversation_id = ?", room) == 0
	})
}

func TestADeletedGroupIsGoneForEverybodyAndASingleOneOnlyForOneself(t *testing.T) {
	s := servertest.Start(t)
	ada, bob := s.Register("ada"), s.Register("bob")
	group, single := ada.Group("g", bob), ada.Single(bob)
	kept := ada.Send(group, "held")
	write(t, s, "UPDATE message SET legal_hold = 1 WHERE id = ?", kept)
	ada.Send(group, "free")
	listener := bob.Socket()
	ada.Do("DELETE", "/conversations/"+group, nil).OK(nil)
	listener.Expect("conversation:deleted")
	bob.Do("GET", "/messages/"+kept, nil).Fails(404, "MESSAGE_NOT_FOUND")
	eventually(t, "all but the message on hold is purged", func() bool {
		return count(t, s, "SELECT count(*) FROM message WHERE conversation_id = ?", group) == 1
	})

	bob.Send(single, "one")
	ada.Do("DELETE", "/conversations/"+single, nil).OK(nil)
	if list := fetch[[]conversation](ada, "GET", "/conversations", nil); len(list) != 0 {
		t.Errorf("a hidden conversation is listed: %+v", list)
	}
	if got := history(t, bob, single, 10); len(got) != 1 {
		t.Errorf("the other one's history: %v", texts(got))
	}
	reply := fetch[message](bob, "POST", "/messages", draft(single, "two", map[string]any{"replyTo": history(t, bob, single, 1)[0].ID}))
	list := fetch[[]conversation](ada, "GET", "/conversations", nil)
	if len(list) != 1 || list[0].UnreadCount != 1 || list[0].LastMessage.text() != "two" || list[0].LastMessage.ReplyTo != nil {
		t.Errorf("after a new message: %+v", list)
	}
	if got := history(t, ada, single, 10); len(got) != 1 || got[0].ID != reply.ID || got[0].ReplyTo != nil || *got[0].ReplyToID != *reply.ReplyToID {
		t.Errorf("cleared history comes back: %+v", got)
	}
	if ada.Single(bob) != single {
		t.Error("a new conversation for the same pair")
	}
}

func TestAGroupHasAtMostTenAdmins(t *testing.T) {
	s := servertest.Start(t)
	ada := s.Register("ada")
	others := []*servertest.User{}
	for i := range 10 {
		others = append(others, s.Register("member"+string(rune('a'+i))))
	}
	path := "/conversations/" + ada.Group("g", others...) + "/admins/"
	for _, u := range others[:9] {
		ada.Do("PUT", path+u.ID, nil).OK(nil)
	}
	ada.Do("PUT", path+others[9].ID, nil).Fails(400, "ADMINS_FULL")
	ada.Do("PUT", path+others[0].ID, nil).OK(nil)
}
