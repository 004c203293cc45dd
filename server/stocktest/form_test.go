package stocktest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/quckchat/quckchat/server/servertest"
)

type (
	object = map[string]any
	list   = []any
)

// at follows names and numbers into decoded JSON.
func at(v any, path ...any) any {
	for _, p := range path {
		switch key := p.(type) {
		case string:
			o, _ := v.(object)
			v = o[key]
		case int:
			list, _ := v.([]any)
			if key >= len(list) {
				return nil
			}
			v = list[key]
		}
	}
	return v
}

// test is a condition in the place of a value.
type test func(got any) bool

// aTime is contract 1.6: ISO 8601 in UTC with milliseconds and Z.
var aTime = test(func(got any) bool {
	text, _ := got.(string)
	_, err := time.Parse("2006-01-02T15:04:05.000Z", text)
	return err == nil
})

// differs says where got is not as wanted, and "" when it is. An object has the fields that are wanted and no others.
func differs(want, got any, path string) string {
	switch w := want.(type) {
	case test:
		if w(got) {
			return ""
		}
	case object:
		g, ok := got.(object)
		if !ok {
			break
		}
		for _, name := range slices.Sorted(maps.Keys(w)) {
			if _, there := g[name]; !there {
				return path + " has no " + name
			}
			if diff := differs(w[name], g[name], path+"."+name); diff != "" {
				return diff
			}
		}
		for name := range g {
			if _, wanted := w[name]; !wanted {
				return fmt.Sprintf("%s has %s too: %v", path, name, g[name])
			}
		}
		return ""
	case list:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			break
		}
		for i := range w {
			if diff := differs(w[i], g[i], fmt.Sprintf("%s[%d]", path, i)); diff != "" {
				return diff
			}
		}
		return ""
	case int:
		if got == float64(w) {
			return ""
		}
	default:
		if got == want {
			return ""
		}
	}
	return fmt.Sprintf("%s is %v, want %v", path, got, want)
}

// with is an object with some fields more, or others.
func with(o object, more object) object {
	o = maps.Clone(o)
	maps.Copy(o, more)
	return o
}

// both is the same object in both dialects.
func both(o object) shape { return shape{o, o} }

// person is contract 2.3, user (public / populated ref), and 4.6 ChatUser.
func person(u *servertest.User) shape {
	o := object{"_id": u.ID, "id": u.ID, "username": u.Name, "displayName": strings.ToUpper(u.Name), "avatar": nil, "isVerified": false}
	return shape{o, with(o, object{"email": "", "status": "offline"})}
}

// message is contract 2.3 Message, senderId populated, and 4.6 Web Message. Each number of a conversation comes once.
func (c *cast) message(room string, id any, n int, from *servertest.User, more shape) shape {
	sender := person(from)
	o := object{
		"_id": id, "id": id, "conversationId": room, "n": n, "type": "text", "attachments": list{}, "reactions": list{}, "mentions": list{},
		"isEdited": false, "isDeleted": false, "isForwarded": false, "createdAt": aTime, "updatedAt": aTime,
	}
	m := with(o, object{"senderId": sender.chat, "readReceipts": list{}, "isExpired": false})
	w := with(o, object{"senderId": from.ID, "sender": sender.web, "readBy": list{from.ID}})
	return shape{with(m, more.chat.(object)), with(w, more.web.(object))}
}

// notice is a message of type system, the next of a group (contract 2.1, 4.3).
func (c *cast) notice(to []*device, by *servertest.User, sentence string, metadata object) told {
	c.lastN[c.group]++
	o := object{"type": "system", "content": sentence, "metadata": with(metadata, object{"by": by.ID})}
	return told{"4.3 message:new", to, "message:new", "", c.message(c.group, test(isID), c.lastN[c.group], by, both(o))}
}

func isID(got any) bool { id, _ := got.(string); return len(id) == 24 }

// conversation is contract 2.3 Conversation, and 4.6 Web Conversation, as everybody may see it.
func (c *cast) conversation(id string, admins []*servertest.User, people []*servertest.User, more shape) shape {
	people = slices.Clone(people)
	m, w := list{}, list{}
	ids := list{}
	for _, u := range admins {
		ids = append(ids, u.ID)
	}
	for _, u := range people {
		who := person(u)
		role := "member"
		if slices.Contains(ids, any(u.ID)) {
			role = "admin"
		}
		o := object{"role": role, "joinedAt": aTime, "unreadCount": 0, "isMuted": false, "isPinned": false}
		m = append(m, with(o, object{"userId": who.chat, "lastReadMessageId": nil}))
		w = append(w, with(with(o, who.web.(object)), object{"userId": u.ID, "avatarUrl": nil}))
	}
	o := object{
		"_id": id, "id": id, "name": nil, "description": nil, "avatar": nil, "admins": ids, "disappearingMessagesTimer": 0,
		"createdAt": aTime, "updatedAt": aTime,
	}
	return shape{
		with(with(o, object{
			"participants": m, "lastMessageAt": aTime, "unreadCount": 0, "unreadMentions": 0, "isArchived": false, "isLocked": false, "pinnedMessages": list{},
		}), more.chat.(object)),
		with(with(o, object{"participants": w, "avatarUrl": nil}), more.web.(object)),
	}
}

// ownSwitches are the fields of a web conversation that are the viewer's own.
var ownSwitches = object{"unreadCount": 0, "unreadMentions": 0, "isMuted": false, "isPinned": false, "isArchived": false}

// byID puts people who came at once in the order in which they are listed.
func byID(people ...*servertest.User) []*servertest.User {
	slices.SortFunc(people, func(a, b *servertest.User) int { return strings.Compare(a.ID, b.ID) })
	return people
}

func decoded(c *cast, data json.RawMessage) (v any) {
	c.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		c.Fatal(err)
	}
	return v
}
