-- owner: server/chat
-- Whether anybody has ever reacted to a message: a page of history looks for the reactions of those alone.
ALTER TABLE message ADD COLUMN reacted INTEGER NOT NULL DEFAULT 0;

UPDATE message SET reacted = 1 WHERE id IN (SELECT message_id FROM reaction);
