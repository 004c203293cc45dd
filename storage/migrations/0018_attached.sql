-- owner: server/chat
-- How many attachments a message has: a page of history looks for those of the messages that have any.
ALTER TABLE message ADD COLUMN attached INTEGER NOT NULL DEFAULT 0;
