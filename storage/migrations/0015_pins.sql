-- owner: server/chat
-- When the pinned messages of a conversation last changed, which no row of pinned_message tells after an unpinning; and the way
-- from a message that goes to its pin.
ALTER TABLE conversation ADD COLUMN pins_changed_at INTEGER;
CREATE INDEX pinned_message_message ON pinned_message (message_id);
