-- owner: server/chat
-- What 0008 made room for, before its first use: the place of a reaction in the log, which says what late readers were told
-- of it already; mentions by message and by age; when somebody hid a message, and who else is not told of it.
DROP TABLE reaction;
CREATE TABLE reaction (
    message_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    emoji      TEXT    NOT NULL,
    seq        INTEGER NOT NULL, -- of the event that told of it
    created_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) STRICT, WITHOUT ROWID;

DROP TABLE mention;
CREATE TABLE mention (
    user_id         TEXT    NOT NULL, -- or 'all'
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    message_id      TEXT    NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX mention_message ON mention (message_id);
CREATE INDEX mention_newest ON mention (user_id, message_id);

DROP TABLE message_hidden;
CREATE TABLE message_hidden (
    user_id         TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;
CREATE INDEX message_hidden_message ON message_hidden (conversation_id, n);
