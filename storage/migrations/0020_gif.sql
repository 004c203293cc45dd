-- owner: server/media
-- Pictures at a provider of GIFs that an answer has named, which of them are kept here, and the uploads made of them.
CREATE TABLE gif (
    name       TEXT    NOT NULL PRIMARY KEY, -- in its address here; follows from the address there and a secret
    address    TEXT    NOT NULL,             -- there
    sha256     TEXT    REFERENCES blob (sha256), -- NULL until somebody has looked at it
    mime_type  TEXT    NOT NULL DEFAULT '',
    size       INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    fetched_at INTEGER NOT NULL -- when somebody last looked at it, or was last told of it, to the hour
) STRICT, WITHOUT ROWID;
CREATE INDEX gif_fetched ON gif (fetched_at);
CREATE INDEX gif_kept ON gif (fetched_at, size) WHERE sha256 IS NOT NULL;
CREATE INDEX gif_blob ON gif (sha256) WHERE sha256 IS NOT NULL;

-- The same GIF sent again by the same person is the same upload: a message that is repeated answers the first.
ALTER TABLE upload ADD COLUMN gif TEXT;
CREATE INDEX upload_gif ON upload (user_id, gif) WHERE gif IS NOT NULL;
