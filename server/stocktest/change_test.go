package stocktest

import (
	"github.com/quckchat/quckchat/server/servertest"
)

// changes is what becomes of conversations: who is in them, what they are called, what is pinned in them.
func (c *cast) changes() {
	admin := []*servertest.User{c.ada}
	three, two := byID(c.ada, c.bob, c.carl), byID(c.ada, c.bob)
	called := func(name string, people []*servertest.User, more object) shape {
		o := object{"type": "group", "name": name, "createdBy": c.ada.ID}
		return c.conversation(c.group, admin, people, shape{with(with(o, object{"lastN": c.lastN[c.group] + 1}), more), o})
	}
	const updated = "4.3 conversation:updated; 4.6 conversation:update, with what is nobody's own"
	c.ask(c.adaPhone, "conversation:update", object{"conversationId": c.group, "name": "club"})
	c.hears(
		told{updated, c.all, "conversation:updated", "conversation:update", called("club", three, nil)},
		c.notice(c.all, c.ada, "ADA named the group “club”", object{"action": "renamed", "name": "club"}),
	)

	pinned := c.ada.Send(c.group, "read this")
	c.lastN[c.group]++
	says := c.message(c.group, pinned, c.lastN[c.group], c.ada, both(object{"content": "read this"}))
	c.hears(told{"4.3 message:new", c.all, "message:new", "", says})
	for _, kind := range []string{"message:pinned", "message:unpinned"} { // 3.4 pin/:messageId
		verb := map[string]string{"message:pinned": "message:pin", "message:unpinned": "message:unpin"}[kind]
		for range 2 {
			if ack := c.ask(c.adaPhone, verb, object{"conversationId": c.group, "messageId": pinned}); ack["success"] != true {
				c.Errorf("%s: %v", verb, ack)
			}
		}
		c.hears(told{"additive " + kind, c.all, kind, "", both(object{"messageId": pinned, "conversationId": c.group, "by": c.ada.ID, "at": aTime})})
	}
	pins := object{"pinnedMessagesUpdatedAt": aTime}

	people := object{"conversationId": c.group, "userIds": list{c.carl.ID}, "by": c.ada.ID}
	c.ask(c.adaPhone, "conversation:participants:remove", object{"conversationId": c.group, "participantId": c.carl.ID})
	c.hears(
		told{"additive conversation:participant:removed; the web client has no event for it", c.all, "conversation:participant:removed", "", shape{people, nil}},
		c.notice(c.of(c.ada, c.bob), c.ada, "ADA removed CARL", object{"action": "removed", "userIds": list{c.carl.ID}, "count": 1}),
	)
	c.send("4.3 fan out by membership", c.bobWeb, c.group, object{"content": "carl has gone"}, both(object{"content": "carl has gone"}), c.of(c.ada, c.bob)...)

	c.ask(c.adaPhone, "conversation:participants:add", object{"conversationId": c.group, "participantIds": list{c.carl.ID}})
	back := append(two, c.carl) // the longest there first
	came := called("club", back, pins)
	c.hears(
		told{"additive conversation:participant:added; 4.6 conversation:new", c.all, "conversation:participant:added", "conversation:new",
			shape{people, with(came.web.(object), ownSwitches)}},
		told{updated, c.all, "conversation:updated", "conversation:update", came},
		c.notice(c.all, c.ada, "ADA added CARL", object{"action": "added", "userIds": list{c.carl.ID}, "count": 1}),
	)
	// what was before is not told of to who came later
	if ack := c.ask(c.adaPhone, "message:edit", object{"messageId": pinned, "content": "read that"}); ack["success"] != true {
		c.Errorf("edit: %v", ack)
	}
	edited := with(says.chat.(object), object{"content": "read that", "isEdited": true, "editedAt": aTime, "messageId": pinned, "editedBy": c.ada.ID})
	c.hears(told{"4.3 message:edited", c.of(c.ada, c.bob), "message:edited", "message:update",
		shape{edited, with(says.web.(object), object{"content": "read that", "isEdited": true})}})
}

// ownDevices is what goes to one's own devices and to nobody else.
func (c *cast) ownDevices() {
	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		me, own := from.who, c.of(from.who)
		state := object{
			"conversationId": c.group, "isMuted": false, "mutedUntil": nil, "isPinned": false, "isArchived": false, "isHidden": false, "clearedN": 0,
		}
		c.ask(from, "conversation:pin", object{"conversationId": c.group})
		c.hears(told{"3.4 pin, to one's own devices", own, "conversation:state", "", both(with(state, object{"isPinned": true}))})
		c.ask(from, "conversation:mute", object{"conversationId": c.group, "isMuted": true, "duration": 3600})
		c.hears(told{"3.4 mute, to one's own devices", own, "conversation:state", "", both(with(state, object{"isPinned": true, "isMuted": true, "mutedUntil": aTime}))})

		settings := object{ // 2.3 Settings, every field
			"_id": me.ID, "id": me.ID, "userId": me.ID, "darkMode": true, "autoDownloadMedia": true, "saveToGallery": false, "pushNotifications": true,
			"messageNotifications": true, "groupNotifications": true, "callNotifications": true, "soundEnabled": true, "vibrationEnabled": true,
			"showPreview": true, "inAppNotifications": true, "notificationLight": true, "fingerprintLock": false, "readReceipts": true, "lastSeen": true,
			"profilePhotoVisibility": "everyone", "statusVisibility": "everyone", "twoFactorAuth": false, "blockedUsers": list{},
		}
		c.ask(from, "settings:update", object{"darkMode": true})
		c.hears(told{"2.3 Settings, to one's own devices", own, "user:settings", "", both(settings)})

		carl := with(person(c.carl).chat.(object), object{"contactName": "Carlos", "addedAt": aTime})
		c.ask(from, "contact:add", object{"userId": c.carl.ID, "name": "Carlos"})
		c.hears(told{"contacts, to one's own devices", own, "contact:updated", "", both(carl)})
		c.ask(from, "contact:remove", object{"userId": c.carl.ID})
		c.hears(told{"contacts, to one's own devices", own, "contact:removed", "", both(object{"userId": c.carl.ID})})

		me.Do("PUT", "/users/me", object{"bio": "here"}).OK(nil)
		c.hears(told{"2.3 User (self), to one's own devices", own, "user:updated", "", both(c.self(me, "online"))})
	}
}

// self is contract 2.3, user (self).
func (c *cast) self(u *servertest.User, status string) object {
	return with(person(u).chat.(object), object{
		"phoneNumber": test(func(got any) bool { text, _ := got.(string); return len(text) == 12 }), "email": nil, "bio": "here", "status": status,
		"lastSeen": test(func(got any) bool { return got == nil || aTime(got) }), "publicKey": nil, "isActive": true, "role": "user", "permissions": list{},
		"isBanned": false, "linkedDevices": list{}, "createdAt": aTime, "updatedAt": aTime,
	})
}

// presence is user:online and user:offline, to those who share a conversation, and not to oneself.
func (c *cast) presence() {
	for _, step := range []struct{ status, kind, shown, onWeb string }{
		{"busy", "user:online", "busy", "away"}, // 2.1: the web client knows online, away, offline
		{"away", "user:online", "away", "away"},
		{"offline", "user:offline", "", "offline"},
		{"online", "user:online", "online", "online"},
	} {
		c.ask(c.adaPhone, "status:set", object{"status": step.status})
		says := object{"userId": c.ada.ID, "status": step.shown}
		chatUser := object{"_id": c.ada.ID, "id": c.ada.ID, "userId": c.ada.ID, "email": "", "status": step.onWeb}
		if step.kind == "user:offline" { // 4.3: + lastSeen on offline
			says = object{"userId": c.ada.ID, "lastSeen": aTime}
			chatUser["lastSeenAt"] = aTime
		}
		c.hears(
			told{"4.3 user:online / user:offline, to people who share a conversation; 4.6 ChatUser", c.of(c.bob, c.carl), step.kind, "", shape{says, chatUser}},
			told{"2.3 User (self), to one's own devices", c.of(c.ada), "user:updated", "", both(c.self(c.ada, step.status))},
		)
	}
}

// goodbyes ends a group, and then sessions.
func (c *cast) goodbyes() {
	c.ask(c.adaPhone, "conversation:delete", object{"conversationId": c.group})
	c.hears(told{"4.3 conversation:deleted; the web client has no event for it", c.all, "conversation:deleted", "",
		shape{object{"conversationId": c.group, "deletedBy": c.ada.ID}, nil}})

	for _, d := range []*device{c.bobWeb, c.carlDesk} { // 4.2: on logout close sockets (emit auth:revoked first)
		d.who.Do("POST", "/auth/logout", nil).OK(nil)
		c.revoked(d, "logout")
	}
	var sessions []struct {
		ID        string `json:"id"`
		IsCurrent bool   `json:"isCurrent"`
	}
	c.bobAbroad.Do("GET", "/auth/sessions", nil).OK(&sessions)
	if len(sessions) != 1 || !sessions[0].IsCurrent {
		c.Fatalf("bob's sessions: %+v", sessions)
	}
	c.bobAbroad.Do("DELETE", "/auth/sessions/"+sessions[0].ID, nil).OK(nil)
	c.revoked(c.bobPhone, "revoked")
	c.all = c.of(c.ada)
	c.hears()
}

// revoked checks how the session of a device ends: it is told, and the connection is closed; the stock client comes
// back by itself, is told why not, and stays away.
func (c *cast) revoked(d *device, reason string) {
	c.Helper()
	mark(c.heard, "auth:revoked", d.form)
	want := object{"sessionId": test(isID), "reason": reason}
	if d.form == native {
		if diff := differs(want, decoded(c, d.socket.Expect("auth:revoked").Data), "auth:revoked"); diff != "" {
			c.Errorf("4.2 auth:revoked to %s: %s", d.name, diff)
		}
		if code := d.socket.Code(); code != 4401 {
			c.Errorf("%s is closed with %d", d.name, code)
		}
		return
	}
	if diff := differs(want, decoded(c, d.stock.Expect("auth:revoked").Data), "auth:revoked"); diff != "" {
		c.Errorf("4.2 auth:revoked to %s: %s", d.name, diff)
	}
	if e := decoded(c, d.stock.Expect("disconnect").Data); at(e, "reason") != "transport close" {
		c.Errorf("%s is closed with %v", d.name, e)
	}
	if e := decoded(c, d.stock.Expect("connect_error").Data); at(e, "data", "code") != "INVALID_TOKEN" || at(e, "active") != false {
		c.Errorf("4.2 prefer 44 connect-error so no storm arises: %v", e)
	}
}
