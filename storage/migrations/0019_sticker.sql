-- owner: server/media
-- What somebody uses often, and the packs that an administrator has brought.
CREATE TABLE sticker (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES user (id),
    giphy_id      TEXT    NOT NULL, -- the client's name for it, whoever made it
    type          TEXT    NOT NULL, -- gif, sticker
    url           TEXT    NOT NULL, -- a path of ours, or the address at a provider of GIFs
    thumbnail_url TEXT,
    title         TEXT,
    use_count     INTEGER NOT NULL,
    last_used_at  INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX sticker_giphy ON sticker (user_id, giphy_id);
CREATE INDEX sticker_use ON sticker (user_id, use_count DESC, last_used_at DESC);
CREATE INDEX sticker_recent ON sticker (user_id, last_used_at DESC);

CREATE TABLE sticker_pack (
    id         TEXT    NOT NULL PRIMARY KEY,
    title      TEXT    NOT NULL,
    author     TEXT    NOT NULL DEFAULT '',
    created_by TEXT    NOT NULL REFERENCES user (id),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE pack_sticker (
    pack_id   TEXT    NOT NULL REFERENCES sticker_pack (id),
    position  INTEGER NOT NULL,
    id        TEXT    NOT NULL UNIQUE,
    upload_id TEXT    NOT NULL REFERENCES upload (id),
    emoji     TEXT    NOT NULL DEFAULT '',
    title     TEXT    NOT NULL DEFAULT '',
    PRIMARY KEY (pack_id, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX pack_sticker_upload ON pack_sticker (upload_id);
