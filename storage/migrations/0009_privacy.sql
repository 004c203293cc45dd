-- owner: server/account
-- What people keep to themselves, in the row of the person because every list of people goes by it; and where pushes go.
ALTER TABLE user ADD COLUMN photo_for TEXT NOT NULL DEFAULT 'everyone'; -- who sees the picture: everyone, contacts, nobody
ALTER TABLE user ADD COLUMN status_for TEXT NOT NULL DEFAULT 'everyone'; -- who sees presence and status, in the same words
ALTER TABLE user ADD COLUMN hides_seen INTEGER NOT NULL DEFAULT 0; -- neither shows when they were here nor sees it of others
ALTER TABLE user ADD COLUMN hides_reads INTEGER NOT NULL DEFAULT 0; -- neither shows what they have read nor sees it of others

-- A device may have several push tokens, and one token belongs to whoever registered it last.
DROP INDEX device_push;
ALTER TABLE device DROP COLUMN push_platform;
ALTER TABLE device DROP COLUMN push_token;

CREATE TABLE push_token (
    token      TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL REFERENCES user (id),
    session_id TEXT    NOT NULL, -- that registered it: when it ends the token goes
    device_id  TEXT    NOT NULL DEFAULT '', -- of a linked device, when it is known
    platform   TEXT    NOT NULL, -- fcm, apns, expo, web
    created_at INTEGER NOT NULL,
    used_at    INTEGER NOT NULL  -- last registered again
) STRICT, WITHOUT ROWID;

CREATE INDEX push_token_user ON push_token (user_id, device_id);

CREATE INDEX push_token_session ON push_token (session_id);
