-- owner: server/job
-- Work that must happen later and survive a restart, and the calendar of what runs by itself.
CREATE TABLE job (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL,
    key        TEXT,             -- at most one unfinished job for a kind and key
    payload    TEXT    NOT NULL,
    state      TEXT    NOT NULL DEFAULT 'ready', -- ready, running, parked; a job that succeeded is deleted
    run_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL DEFAULT 0, -- counted when one begins, so that a job which kills the process counts too
    last_error TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX job_key ON job (kind, key) WHERE key IS NOT NULL;
CREATE INDEX job_due ON job (kind, run_at, id) WHERE state = 'ready';
CREATE INDEX job_state ON job (state, id);

CREATE TABLE periodic (
    name        TEXT    NOT NULL PRIMARY KEY,
    schedule    TEXT    NOT NULL,
    time_zone   TEXT    NOT NULL,
    next_at     INTEGER NOT NULL,
    last_start  INTEGER,
    last_end    INTEGER,
    last_result TEXT    NOT NULL DEFAULT '' -- running, interrupted, ok, or the error
) STRICT;
