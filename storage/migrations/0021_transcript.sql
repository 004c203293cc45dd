-- owner: server/media
-- What is said in a recording, once for all messages that show it. Only successes are kept.
CREATE TABLE transcript (
    upload_id   TEXT    NOT NULL PRIMARY KEY REFERENCES upload (id),
    text        TEXT    NOT NULL,
    language    TEXT    NOT NULL DEFAULT '',
    duration_ms INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
) STRICT;
