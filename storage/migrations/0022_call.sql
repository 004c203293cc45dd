-- owner: server/call
-- A call of two people or a few, from its first ring. What goes on is in memory; after a restart these rows bring it back.
CREATE TABLE call (
    id              TEXT    NOT NULL PRIMARY KEY,
    conversation_id TEXT,             -- NULL when the people have no conversation
    initiator_id    TEXT    NOT NULL REFERENCES user (id),
    type            TEXT    NOT NULL, -- audio, video
    status          TEXT    NOT NULL DEFAULT 'ongoing', -- ongoing, completed, missed, rejected, failed
    is_group        INTEGER NOT NULL DEFAULT 0,
    started_at      INTEGER NOT NULL,
    answered_at     INTEGER,
    ended_at        INTEGER,
    ended_by        TEXT    NOT NULL DEFAULT ''
) STRICT;

CREATE INDEX call_ongoing ON call (id) WHERE status = 'ongoing';

CREATE INDEX call_conversation ON call (conversation_id, id);

CREATE TABLE call_participant (
    call_id    TEXT    NOT NULL REFERENCES call (id),
    user_id    TEXT    NOT NULL REFERENCES user (id),
    position   INTEGER NOT NULL, -- in the order of the invitations, the initiator first
    state      TEXT    NOT NULL, -- ringing, joined, declined, missed, left
    session_id TEXT    NOT NULL DEFAULT '', -- the device that takes part
    joined_at  INTEGER,
    left_at    INTEGER,
    is_hidden  INTEGER NOT NULL DEFAULT 0,  -- cleared from this person's history
    PRIMARY KEY (call_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX call_participant_user ON call_participant (user_id, call_id);
