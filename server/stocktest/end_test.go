package stocktest

import (
	"testing"
	"time"
)

// TestTheStockClientIsToldWhatEndsByItself is what nobody asks for: somebody goes away while they type, and a message
// disappears.
func TestTheStockClientIsToldWhatEndsByItself(t *testing.T) {
	t.Parallel()
	c := newCast(t)
	c.conversations()
	watch := c.ada.Socket() // hears of the end of each, so that the others need not be waited for

	if f := c.carlDesk.socket.Ask("typing:start", object{"conversationId": c.group}); !f.OK {
		t.Fatalf("%s", f.Raw)
	}
	typing := object{"conversationId": c.group, "userId": c.carl.ID}
	says := func(on bool) shape {
		return shape{with(typing, object{"userName": "CARL", "timestamp": aTime}), with(typing, object{"isTyping": on})}
	}
	c.hears(told{"4.3 typing:start", c.of(c.ada, c.bob), "typing:start", "", says(true)})
	c.carlDesk.socket.Close()
	c.all = c.of(c.ada, c.bob)
	watch.Until("typing:stop")
	c.hears(
		told{"4.3 user:offline only when the set becomes empty, with ~5 s grace; + lastSeen; 4.6 ChatUser", c.all, "user:offline", "", shape{
			object{"userId": c.carl.ID, "lastSeen": aTime},
			object{"_id": c.carl.ID, "id": c.carl.ID, "userId": c.carl.ID, "email": "", "status": "offline", "lastSeenAt": aTime},
		}},
		told{"4.3 typing: auto-stop on disconnect", c.all, "typing:stop", "", says(false)},
	)
	c.carlDesk.socket = c.carl.Socket()
	c.all = append(c.all, c.carlDesk)
	c.hears(told{"4.3 user:online; 4.6 ChatUser", c.of(c.ada, c.bob), "user:online", "", shape{
		object{"userId": c.carl.ID, "status": "online"},
		object{"_id": c.carl.ID, "id": c.carl.ID, "userId": c.carl.ID, "email": "", "status": "online"},
	}})

	const line = "3.4 disappearing-messages"
	people := byID(c.ada, c.bob)
	set := object{"disappearingMessagesTimer": 86400}
	c.ask(c.bobWeb, "conversation:disappear", object{"conversationId": c.single, "timer": 86400})
	c.hears(told{line, c.of(c.ada, c.bob), "conversation:updated", "conversation:update", c.conversation(c.single, nil, people, shape{
		with(set, object{"type": "single", "createdBy": c.bob.ID, "lastN": 0, "disappearingMessagesUpdatedAt": aTime, "disappearingMessagesUpdatedBy": c.bob.ID}),
		with(set, object{"type": "direct", "createdBy": c.bob.ID}),
	})})
	id := c.send(line, c.bobWeb, c.single, object{"content": "for a day"}, shape{object{"content": "for a day", "expiresAt": aTime}, object{"content": "for a day"}})
	c.s.Advance(25 * time.Hour)
	watch.Until("message:deleted")
	gone := object{"messageId": id, "conversationId": c.single}
	c.hears(told{"4.3 message:deleted; 4.6 message:delete", c.of(c.ada, c.bob), "message:deleted", "message:delete", shape{
		with(gone, object{"deletedBy": "", "deletedAt": aTime, "expired": true}), gone,
	}})
}
