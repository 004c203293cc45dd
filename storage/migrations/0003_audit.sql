-- owner: server/audit
-- Who did what, from where, before and after: append-only, each row hashed with the one before it.
CREATE TABLE audit (
    id          INTEGER PRIMARY KEY, -- 1, 2, 3, ...: a gap is a row that somebody removed
    at          INTEGER NOT NULL,
    actor_kind  TEXT    NOT NULL, -- user, local (the operating-system user of the admin socket or the command line), system, anonymous
    actor_id    TEXT    NOT NULL,
    action      TEXT    NOT NULL,
    target_kind TEXT    NOT NULL,
    target_id   TEXT    NOT NULL,
    ip          TEXT    NOT NULL,
    user_agent  TEXT    NOT NULL,
    before      TEXT    NOT NULL, -- JSON, or empty
    after       TEXT    NOT NULL,
    prev_hash   TEXT    NOT NULL,
    hash        TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_action ON audit (action, id);
CREATE INDEX audit_actor ON audit (actor_id, id);
CREATE INDEX audit_target ON audit (target_id, id);
