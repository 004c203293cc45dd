-- owner: server/chat/search
-- What can be searched: every visible message with its folded words, and how far in the event log they go. Rebuildable from
-- quckchat.db: instead of a migration, a change of these tables raises formVersion (file.go), and the index is made anew.
CREATE TABLE doc (
    id              INTEGER PRIMARY KEY, -- rises with time
    message_id      TEXT    NOT NULL UNIQUE,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    sender_id       TEXT    NOT NULL,
    type            TEXT    NOT NULL,
    created_at      INTEGER NOT NULL,
    kinds           TEXT    NOT NULL, -- what has: and mentions: find
    text            TEXT    NOT NULL  -- the tokens, folded: what word holds, so that it can be taken out again
) STRICT;

-- The tokens of a document and its tags: conversation, sender, type, kinds. Nothing that was taken out stays in the file.
CREATE VIRTUAL TABLE word USING fts5 (text, content = '', columnsize = 0, tokenize = 'ascii');
INSERT INTO word (word, rank) VALUES ('secure-delete', 1);

-- Every token once, in the order of first use, which is about that of frequency; and its parts of three characters.
CREATE TABLE term (
    id   INTEGER PRIMARY KEY,
    text TEXT    NOT NULL UNIQUE
) STRICT;
CREATE VIRTUAL TABLE gram USING fts5 (text, content = '', columnsize = 0, detail = none, tokenize = 'trigram case_sensitive 1');
INSERT INTO gram (gram, rank) VALUES ('secure-delete', 1);

CREATE TABLE progress (
    one       INTEGER PRIMARY KEY CHECK (one = 1),
    version   INTEGER NOT NULL,
    seq       INTEGER NOT NULL, -- the index stands for the log up to here, once it is filled
    filled    TEXT,             -- while it is being filled from the tables: the last message that is in it; NULL afterwards
    compacted INTEGER NOT NULL  -- the newest document when its pieces were merged last
) STRICT;
INSERT INTO progress (one, version, seq, filled, compacted) VALUES (1, 3, 0, '', 0);
