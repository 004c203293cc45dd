-- owner: server/chat
-- Conversations, who was in them when, and what was said.
CREATE TABLE conversation (
    id                    TEXT    NOT NULL PRIMARY KEY,
    type                  TEXT    NOT NULL, -- single, group
    pair                  TEXT    UNIQUE,   -- single: both user ids, the smaller first
    name                  TEXT,
    description           TEXT,
    avatar                TEXT,
    created_by            TEXT    NOT NULL,
    last_n                INTEGER NOT NULL DEFAULT 0, -- the number of the newest message; dense, never given twice
    last_message_at       INTEGER NOT NULL,
    is_locked             INTEGER NOT NULL DEFAULT 0,
    disappearing_seconds  INTEGER NOT NULL DEFAULT 0,
    disappearing_at       INTEGER,
    disappearing_by       TEXT,
    retention_days        INTEGER,
    legal_hold            INTEGER NOT NULL DEFAULT 0,
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    deleted_at            INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    conversation_id TEXT    NOT NULL REFERENCES conversation (id),
    user_id         TEXT    NOT NULL REFERENCES user (id),
    joined_seq      INTEGER NOT NULL, -- an event is delivered iff joined_seq <= seq <= left_seq
    left_seq        INTEGER,
    role            TEXT    NOT NULL DEFAULT 'member', -- member, admin
    joined_at       INTEGER NOT NULL,
    left_at         INTEGER,
    history_from_n  INTEGER NOT NULL DEFAULT 0, -- messages up to this number are not for this member
    clear_n         INTEGER NOT NULL DEFAULT 0, -- cleared for me up to this number
    hidden_n        INTEGER NOT NULL DEFAULT -1, -- hidden from my list while last_n is at most this
    read_n          INTEGER NOT NULL DEFAULT 0,
    is_muted        INTEGER NOT NULL DEFAULT 0,
    muted_until     INTEGER,
    is_pinned       INTEGER NOT NULL DEFAULT 0,
    is_archived     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, user_id, joined_seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX member_current ON member (user_id, conversation_id) WHERE left_seq IS NULL;
CREATE INDEX member_user ON member (user_id, conversation_id, joined_seq);

CREATE TABLE message (
    conversation_id TEXT    NOT NULL REFERENCES conversation (id),
    n               INTEGER NOT NULL,
    id              TEXT    NOT NULL UNIQUE,
    sender_id       TEXT    NOT NULL,
    client_id       TEXT,
    type            TEXT    NOT NULL,
    format          TEXT    NOT NULL DEFAULT 'plain',
    content         TEXT,
    state           TEXT    NOT NULL DEFAULT 'visible', -- visible, held
    reply_to_id     TEXT,
    thread_id       TEXT,
    forwarded_from  TEXT,
    metadata        TEXT,
    legal_hold      INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    edited_at       INTEGER,
    edited_by       TEXT,
    expires_at      INTEGER,
    deleted_at      INTEGER,
    deleted_by      TEXT,
    PRIMARY KEY (conversation_id, n)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX message_client ON message (conversation_id, sender_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX message_expiry ON message (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE read_mark (
    conversation_id TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    n               INTEGER NOT NULL, -- everything up to n was read at this time, unless an earlier mark covers it
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id, n)
) STRICT, WITHOUT ROWID;
