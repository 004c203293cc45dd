-- owner: server/chat
-- What hangs on a message: who reacted, who is named in it, what it said before, who hid it, what is pinned.
CREATE TABLE reaction (
    message_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    emoji      TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) STRICT, WITHOUT ROWID;

CREATE TABLE mention (
    user_id         TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX mention_message ON mention (conversation_id, n);

-- What a message said before each of its edits.
CREATE TABLE message_edit (
    message_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    content    TEXT    NOT NULL, -- before this edit
    by         TEXT    NOT NULL,
    PRIMARY KEY (message_id, at)
) STRICT, WITHOUT ROWID;

-- Messages that somebody deleted for themselves alone.
CREATE TABLE message_hidden (
    user_id         TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE pinned_message (
    conversation_id TEXT    NOT NULL,
    message_id      TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    pinned_by       TEXT    NOT NULL,
    pinned_at       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, message_id)
) STRICT, WITHOUT ROWID;
