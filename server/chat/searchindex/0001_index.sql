-- owner: server/chat
-- The words of every visible message, and how far in the event log they go. Rebuildable from quckchat.db.
CREATE TABLE doc (
    id              INTEGER PRIMARY KEY, -- rises with time
    message_id      TEXT    NOT NULL UNIQUE,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    type            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT;
CREATE INDEX doc_conversation ON doc (conversation_id);
CREATE VIRTUAL TABLE word USING fts5 (content, content = '', contentless_delete = 1, tokenize = 'unicode61 remove_diacritics 2');
CREATE TABLE progress (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    seq INTEGER NOT NULL
) STRICT;
