-- owner: server/event
-- The durable event log and the cursors of its readers: everything that tells somebody something starts here.
CREATE TABLE event (
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    kind       TEXT    NOT NULL,
    scope      TEXT    NOT NULL, -- conversation, user, session, community, admin
    scope_id   TEXT    NOT NULL,
    subject_id TEXT    NOT NULL DEFAULT '',
    actor_id   TEXT    NOT NULL DEFAULT '',
    data       TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX event_scope ON event (scope, scope_id, seq);

CREATE TABLE cursor (
    name TEXT    NOT NULL PRIMARY KEY,
    seq  INTEGER NOT NULL,
    at   INTEGER NOT NULL
) STRICT;
