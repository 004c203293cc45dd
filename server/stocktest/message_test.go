package stocktest

import (
	"fmt"
	"strings"

	"github.com/quckchat/quckchat/server/servertest"
)

// conversations opens a group from the phone and a single conversation from the browser.
func (c *cast) conversations() {
	everybody, two := byID(c.ada, c.bob, c.carl), byID(c.ada, c.bob)
	// 4.3: members of a conversation created after connect hear of it
	made := c.ask(c.adaPhone, "conversation:group", object{"name": "g", "participantIds": list{c.bob.ID, c.carl.ID}})
	c.group, _ = at(made, "data", "id").(string)
	group := c.conversation(c.group, []*servertest.User{c.ada}, everybody, shape{
		object{"type": "group", "name": "g", "createdBy": c.ada.ID, "lastN": 1},
		with(ownSwitches, object{"type": "group", "name": "g", "createdBy": c.ada.ID}), // 2.1: the web client says direct, and group
	})
	c.hears(
		told{"4.3 conversation:new, 4.6", c.all, "conversation:new", "", group},
		c.notice(c.all, c.ada, "ADA created the group", object{"action": "created"}),
	)
	opened := c.ask(c.bobWeb, "conversation:single", object{"recipientId": c.ada.ID})
	c.single, _ = at(opened, "data", "id").(string)
	single := c.conversation(c.single, nil, two, shape{
		object{"type": "single", "createdBy": c.bob.ID, "lastN": 0},
		with(ownSwitches, object{"type": "direct", "createdBy": c.bob.ID}),
	})
	if diff := differs(single.web, at(opened, "data"), "the conversation"); diff != "" || opened["success"] != true {
		c.Errorf("2.1 map direct<->single in the web dialect: %s", diff)
	}
	c.hears(told{"4.3 conversation:new, 4.6", c.of(c.ada, c.bob), "conversation:new", "", single})
	for _, d := range []*device{c.adaPhone, c.bobWeb, c.bobPhone} {
		for _, event := range []string{"conversation:join", "conversation:leave", "conversation:leave"} {
			c.done("4.3 conversation:join / conversation:leave", d, event, object{"conversationId": c.group})
		}
	}
	c.hears() // 4.3: Broadcast –; and whoever has left goes on to hear, as all that follows shows
}

// send says something from a stock client, checks the acknowledgement and what all members hear, the sender's devices
// among them, and returns the id. Without to the members are those from the start.
func (c *cast) send(line string, from *device, room string, payload object, more shape, to ...*device) string {
	c.Helper()
	ack := c.ask(from, "message:send", with(payload, object{"conversationId": room}))
	id, _ := at(ack, "message", "id").(string)
	c.lastN[room]++
	m := c.message(room, id, c.lastN[room], from.who, more)
	c.answered(line, from, "message:send", ack, object{"success": true, "message": from.sees(m)})
	switch {
	case len(to) > 0:
	case room == c.single:
		to = c.of(c.ada, c.bob)
	default:
		to = c.all
	}
	c.hears(told{line, to, "message:new", "", m})
	return id
}

// messages sends, edits, marks and deletes from both namespaces.
func (c *cast) messages() {
	const line = "4.3 message:send -> message:new to all members incl. sender"
	text := func(s string) shape { return both(object{"content": s}) }
	first := c.send(line, c.adaPhone, c.group, object{"type": "text", "content": "hello <b> & \u2028 ñ 👩"}, text("hello <b> & \u2028 ñ 👩"))
	second := c.send(line, c.bobWeb, c.group, object{"content": "temp-1"}, text("temp-1")) // 4.6: echo the content unchanged
	c.send("4.3 clientId echoed", c.bobPhone, c.single, object{"type": "text", "content": "just you", "clientId": "c-1"}, both(object{"content": "just you", "clientId": "c-1"}))

	again := c.ask(c.bobPhone, "message:send", object{"conversationId": c.single, "type": "text", "content": "just you", "clientId": "c-1"})
	if at(again, "message", "n") != 1.0 || again["success"] != true {
		c.Errorf("4.3 clientId, repeated: %v", again)
	}
	c.hears()

	replied := c.message(c.group, first, 2, c.ada, text("hello <b> & \u2028 ñ 👩"))
	reply := object{"content": "yes", "replyToId": first}
	c.send("4.3 replyTo populated", c.bobWeb, c.group, object{"content": "yes", "replyTo": first}, shape{
		with(reply, object{"replyTo": replied.chat}), with(reply, object{"replyTo": replied.web}),
	})

	// 2.1 Message.type: location and contact; the web client knows neither (4.6) and shows them as text.
	place := object{"latitude": 41.5, "longitude": -2, "name": "here"}
	card := object{"name": "Dora", "phoneNumber": "+34600111222"}
	c.send("2.1 location", c.adaPhone, c.group, object{"type": "location", "metadata": place, "attachments": list{}, "replyTo": nil, "clientId": nil},
		shape{object{"type": "location", "content": nil, "metadata": place}, object{"content": "", "metadata": place}})
	c.send("2.1 contact", c.bobWeb, c.single, object{"type": "contact", "content": "call her", "metadata": card},
		shape{object{"type": "contact", "content": "call her", "metadata": card}, object{"content": "call her", "metadata": card}})

	for i, from := range []*device{c.adaPhone, c.bobWeb} {
		source := []string{first, second}[i]
		ack := c.ask(from, "message:send", object{"conversationId": c.single, "content": "other words", "isForwarded": true, "forwardedFrom": source})
		c.lastN[c.single]++
		id, _ := at(ack, "message", "id").(string)
		copied := c.message(c.single, id, c.lastN[c.single], from.who, both(object{
			"content": []string{"hello <b> & \u2028 ñ 👩", "temp-1"}[i], "isForwarded": true,
		}))
		c.answered("4.3 isForwarded, forwardedFrom", from, "message:send", ack, object{"success": true, "message": with(from.sees(copied).(object), object{"forwardedFrom": source})})
		c.hears(told{"4.3 message:new, isForwarded", c.of(c.ada, c.bob), "message:new", "", copied})
		c.send("4.3 isForwarded, of nothing", from, c.single, object{"content": "no source", "isForwarded": true, "forwardedFrom": nil}, both(object{"content": "no source"}))
		calls := fmt.Sprintf("@[Carl](%s) or @CARL", c.carl.ID)
		c.send("mentions", from, c.group, object{"content": calls}, both(object{"content": calls, "mentions": list{c.carl.ID}}))
	}

	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		id, n := first, 2
		if from == c.bobWeb {
			id, n = second, 3
		}
		ack := c.ask(from, "message:edit", object{"messageId": id, "content": "changed"})
		edited := c.message(c.group, id, n, from.who, shape{object{"content": "changed", "isEdited": true, "editedAt": aTime}, object{"content": "changed", "isEdited": true}})
		c.answered("4.3 message:edit", from, "message:edit", ack, object{"success": true, "message": from.sees(edited)})
		says := shape{with(edited.chat.(object), object{"messageId": id, "editedBy": from.who.ID}), edited.web}
		c.hears(told{"4.3 message:edited: Message + messageId, editedBy, editedAt; 4.6 message:update", c.all, "message:edited", "message:update", says})
	}

	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		// 4.3: never echo twice per user+emoji
		for range 2 {
			c.done("4.3 message:reaction:add", from, "message:reaction:add", object{"messageId": first, "emoji": "👍", "conversationId": c.group})
		}
		says := both(object{"messageId": first, "userId": from.who.ID, "emoji": "👍", "conversationId": c.group})
		c.hears(told{"4.3 message:reaction:added", c.all, "message:reaction:added", "", says})
		for range 2 {
			c.done("4.3 message:reaction:remove: same", from, "message:reaction:remove", object{"messageId": first, "emoji": "👍", "conversationId": c.group})
		}
		c.hears(told{"4.3 message:reaction:removed", c.all, "message:reaction:removed", "", says})
	}

	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		for range 2 {
			c.done("4.3 message:read", from, "message:read", object{"messageId": second, "conversationId": c.group})
		}
		read := object{"messageId": second, "userId": from.who.ID, "conversationId": c.group, "readAt": aTime}
		c.hears(told{"4.3 message:read: + conversationId, readAt; 4.6 read:receipt", c.all, "message:read", "read:receipt", shape{with(read, object{"n": 3}), read}})
	}

	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		others := c.of(c.bob, c.carl)
		if from == c.bobWeb {
			others = c.of(c.ada, c.carl)
		}
		for _, event := range []string{"typing:start", "typing:stop"} {
			c.done("4.3 typing:start / typing:stop", from, event, object{"conversationId": c.group})
			typing := object{"conversationId": c.group, "userId": from.who.ID}
			c.hears(told{"4.3 same name to others, + userName, timestamp; 4.6 {conversationId,userId,isTyping}", others, event, "", shape{
				with(typing, object{"userName": strings.ToUpper(from.who.Name), "timestamp": aTime}), with(typing, object{"isTyping": event == "typing:start"}),
			}})
		}
	}
	typing := object{"conversationId": c.single, "userId": c.ada.ID}
	for _, event := range []string{"typing:start", "typing:stop"} { // as the app does: it asks for no acknowledgement
		c.adaPhone.stock.Emit(event, object{"conversationId": c.single})
		c.done("4.3 conversation:join", c.adaPhone, "conversation:join", object{"conversationId": c.single}) // answered behind it
		c.hears(told{"4.3 typing:start / typing:stop, ack none", c.of(c.bob), event, "", shape{
			with(typing, object{"userName": "ADA", "timestamp": aTime}), with(typing, object{"isTyping": event == "typing:start"}),
		}})
	}

	for _, from := range []*device{c.bobPhone, c.bobWeb, c.adaPhone} {
		id := first
		if from == c.bobWeb {
			id = second
		}
		c.done("3.5 DELETE: for_me", from, "message:delete", object{"messageId": id, "forEveryone": false})
		c.hears(told{"3.5 DELETE: for_me; 4.6 message:delete", c.of(from.who), "message:hidden", "message:delete", both(object{"messageId": id, "conversationId": c.group})})
	}

	for _, from := range []*device{c.adaPhone, c.bobWeb} {
		id := c.send(line, from, c.group, object{"content": "a mistake"}, text("a mistake"))
		for range 2 {
			c.done("4.3 message:delete", from, "message:delete", object{"messageId": id})
		}
		gone := object{"messageId": id, "conversationId": c.group}
		c.hears(told{"4.3 message:deleted: + deletedBy, deletedAt; 4.6 message:delete", c.all, "message:deleted", "message:delete",
			shape{with(gone, object{"deletedBy": from.who.ID, "deletedAt": aTime}), gone}})
	}
}

// refusals has every event fail, on both namespaces; nobody hears of any of it.
func (c *cast) refusals() {
	const nowhere = "ffffffffffffffffffffffff"
	theirs := c.ada.Send(c.single, "ada's own")
	c.lastN[c.single]++
	says := c.message(c.single, theirs, c.lastN[c.single], c.ada, both(object{"content": "ada's own"}))
	c.hears(told{"4.3 message:new", c.of(c.ada, c.bob), "message:new", "", says})
	file := object{ // 2.3 Attachment, every field
		"type": "image", "url": c.s.URL + "/uploads/images/x.png", "thumbnailUrl": c.s.URL + "/uploads/images/t.png", "fileName": "x.png", "fileSize": 12,
		"mimeType": "image/png", "duration": 1.5, "width": 3, "height": 4,
	}
	for _, from := range []*device{c.bobPhone, c.bobWeb} {
		say := func(more object) object {
			return with(object{"conversationId": c.group, "type": "text", "content": "x"}, more)
		}
		for _, id := range []any{nowhere, "x", "", "../../etc"} { // 1.6: invalid ids are not found
			c.refused(from, "message:send", say(object{"conversationId": id}), "CONVERSATION_NOT_FOUND", "Conversation not found.")
			for _, event := range []string{"typing:start", "typing:stop", "conversation:join", "conversation:leave"} {
				c.refused(from, event, object{"conversationId": id}, "CONVERSATION_NOT_FOUND", "Conversation not found.")
			}
			c.refused(from, "message:edit", object{"messageId": id, "content": "x"}, "MESSAGE_NOT_FOUND", "Message not found.")
			for _, event := range []string{"message:delete", "message:read", "message:reaction:add", "message:reaction:remove"} {
				c.refused(from, event, object{"messageId": id, "emoji": "👍", "conversationId": c.group}, "MESSAGE_NOT_FOUND", "Message not found.")
			}
		}
		c.refused(from, "message:send", say(object{"content": " \n"}), "MESSAGE_EMPTY", "The message is empty.")
		c.refused(from, "message:send", say(object{"content": strings.Repeat("x", 4001)}), "MESSAGE_TOO_LONG", "A message has at most 4000 characters.")
		c.refused(from, "message:send", say(object{"replyTo": nowhere}), "REPLY_NOT_FOUND", "The message this replies to is not in this conversation.")
		c.refused(from, "message:send", say(object{"type": "image", "attachments": list{}}), "ATTACHMENT_MISSING", "A message of this type needs an attachment.")
		c.refused(from, "message:send", say(object{"type": "image", "attachments": list{file, file}}), "ATTACHMENT_FOREIGN", "An attachment must be an upload of this server.")
		c.refused(from, "message:send", say(object{"attachments": list{file, file, file, file, file, file, file, file, file, file, file}}), "ATTACHMENTS_TOO_MANY", "A message has at most 10 attachments.")
		c.refused(from, "message:send", say(object{"type": "location", "metadata": object{"latitude": 91, "longitude": 0}}), "VALIDATION", "Request validation failed",
			object{"field": "metadata.latitude", "constraints": list{"expected a number from -90 to 90"}})
		c.refused(from, "message:send", say(object{"type": "system"}), "VALIDATION", "Request validation failed",
			object{"field": "type", "constraints": test(isList)})
		c.refused(from, "message:edit", object{"messageId": theirs, "content": "mine"}, "MESSAGE_NOT_EDITABLE", "This message can no longer be edited.")
		c.refused(from, "message:delete", object{"messageId": theirs}, "MESSAGE_NOT_DELETABLE", "Only its sender may delete this message.")
		c.refused(from, "message:reaction:add", object{"messageId": theirs, "emoji": "no emoji"}, "VALIDATION", "Request validation failed",
			object{"field": "emoji", "constraints": list{"expected one emoji, or the :name: of one"}})
		for _, event := range asked { // nothing is said at all
			for _, payload := range []any{nil, object{}, list{}, "x", 7} {
				mark(c.refusedTo, event, from.form)
				if ack := c.ask(from, event, payload); ack["success"] != false || ack["error"] == "" || ack["code"] == "INTERNAL" {
					c.Errorf("%s with %v: %v", event, payload, ack)
				}
			}
		}
		c.refused(from, "message:shout", object{}, "UNKNOWN_OPERATION", "There is no such operation.")
	}
	c.hears()
}

func isList(got any) bool { l, ok := got.([]any); return ok && len(l) > 0 }
