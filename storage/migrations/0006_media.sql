-- owner: server/media
-- Bytes by their content, the uploads that name them, and where an upload is shown.
CREATE TABLE blob (
    sha256     TEXT    NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE upload (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES user (id),
    sha256        TEXT    REFERENCES blob (sha256),
    kind          TEXT    NOT NULL, -- image, video, audio, file
    name          TEXT    NOT NULL UNIQUE, -- the unguessable name in its URL
    original_name TEXT    NOT NULL DEFAULT '',
    mime_type     TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    details       TEXT    NOT NULL DEFAULT '{}',
    state         TEXT    NOT NULL DEFAULT 'ready',
    legal_hold    INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    claimed_at    INTEGER
) STRICT;
CREATE INDEX upload_user ON upload (user_id, created_at);
CREATE INDEX upload_unclaimed ON upload (created_at) WHERE claimed_at IS NULL;
CREATE INDEX upload_blob ON upload (sha256);

CREATE TABLE attachment (
    message_id TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    upload_id  TEXT    NOT NULL REFERENCES upload (id),
    details    TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX attachment_upload ON attachment (upload_id);
