-- owner: server/call
-- A room that people come to and leave as they like. Who is there now is in memory; after a restart these rows bring it back.
CREATE TABLE huddle (
    id              TEXT    NOT NULL PRIMARY KEY,
    room_id         TEXT    NOT NULL UNIQUE, -- huddle-<uuid>: who knows it may knock
    conversation_id TEXT,
    initiator_id    TEXT    NOT NULL REFERENCES user (id),
    type            TEXT    NOT NULL, -- audio, video
    started_at      INTEGER NOT NULL,
    ended_at        INTEGER           -- NULL while it is active
) STRICT;

CREATE INDEX huddle_active ON huddle (conversation_id) WHERE ended_at IS NULL;

CREATE TABLE huddle_participant (
    huddle_id  TEXT    NOT NULL REFERENCES huddle (id),
    user_id    TEXT    NOT NULL REFERENCES user (id),
    session_id TEXT    NOT NULL DEFAULT '', -- the device that takes part
    is_audio   INTEGER NOT NULL DEFAULT 1,
    is_video   INTEGER NOT NULL DEFAULT 0,
    is_muted   INTEGER NOT NULL DEFAULT 0,  -- by a moderator
    joined_at  INTEGER,                     -- NULL of one who was invited and has not come
    left_at    INTEGER,
    PRIMARY KEY (huddle_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX huddle_participant_user ON huddle_participant (user_id, huddle_id);
