-- owner: server/admin
-- Settings an administrator stored, above the file and below the environment.
CREATE TABLE setting (
    key        TEXT    NOT NULL PRIMARY KEY,
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL
) STRICT;
