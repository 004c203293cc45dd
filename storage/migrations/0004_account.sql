-- owner: server/account
-- People, what they may do, where they are signed in, and whom they know.
CREATE TABLE role (
    name    TEXT    NOT NULL PRIMARY KEY,
    builtin INTEGER NOT NULL DEFAULT 0,
    rank    INTEGER NOT NULL -- a person may act only on people of a lower rank
) STRICT;
INSERT INTO role (name, builtin, rank) VALUES ('user', 1, 0), ('moderator', 1, 10), ('admin', 1, 20), ('super_admin', 1, 30);

CREATE TABLE role_permission (
    role       TEXT NOT NULL REFERENCES role (name),
    permission TEXT NOT NULL,
    PRIMARY KEY (role, permission)
) STRICT;

CREATE TABLE user (
    id            TEXT    NOT NULL PRIMARY KEY,
    username      TEXT    NOT NULL,
    username_key  TEXT    NOT NULL UNIQUE, -- folded for comparison
    display_name  TEXT    NOT NULL,
    search_key    TEXT    NOT NULL DEFAULT '', -- both names, folded: what a search for people looks at
    phone         TEXT    UNIQUE,
    email         TEXT    UNIQUE,          -- folded to lower case
    password_hash TEXT,
    password_at   INTEGER NOT NULL DEFAULT 0,
    credential    INTEGER NOT NULL DEFAULT 1, -- raised by every credential change: older access tokens die at the socket
    totp_secret   TEXT,                    -- encrypted
    role          TEXT    NOT NULL DEFAULT 'user' REFERENCES role (name),
    avatar        TEXT,
    bio           TEXT,
    public_key    TEXT,
    status        TEXT    NOT NULL DEFAULT 'offline',
    last_seen_at  INTEGER,
    locale        TEXT    NOT NULL DEFAULT '',
    time_zone     TEXT    NOT NULL DEFAULT '',
    is_active     INTEGER NOT NULL DEFAULT 1,
    is_verified   INTEGER NOT NULL DEFAULT 0,
    banned_at     INTEGER,
    banned_until  INTEGER,
    banned_by     TEXT,
    ban_reason    TEXT,
    legal_hold    INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    erased_at     INTEGER
) STRICT;
CREATE INDEX user_role ON user (role);
CREATE INDEX user_display ON user (display_name COLLATE NOCASE);

CREATE TABLE user_permission (
    user_id    TEXT NOT NULL REFERENCES user (id),
    permission TEXT NOT NULL,
    PRIMARY KEY (user_id, permission)
) STRICT;

CREATE TABLE session (
    id             TEXT    NOT NULL PRIMARY KEY,
    user_id        TEXT    NOT NULL REFERENCES user (id),
    generation     INTEGER NOT NULL DEFAULT 1, -- of the refresh token; the one before it is answered for a minute
    rotated_at     INTEGER NOT NULL,
    credential     INTEGER NOT NULL,
    device_id      TEXT    NOT NULL DEFAULT '',
    device_name    TEXT    NOT NULL DEFAULT '',
    device_type    TEXT    NOT NULL DEFAULT '',
    ip             TEXT    NOT NULL DEFAULT '',
    user_agent     TEXT    NOT NULL DEFAULT '',
    created_at     INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL,
    revoked_at     INTEGER,
    revoked_why    TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX session_user ON session (user_id) WHERE revoked_at IS NULL;
CREATE INDEX session_expiry ON session (expires_at);

CREATE TABLE device (
    user_id        TEXT    NOT NULL REFERENCES user (id),
    device_id      TEXT    NOT NULL,
    name           TEXT    NOT NULL DEFAULT '',
    type           TEXT    NOT NULL DEFAULT 'mobile',
    push_platform  TEXT    NOT NULL DEFAULT '',
    push_token     TEXT,
    last_seq       INTEGER NOT NULL DEFAULT 0,
    linked_at      INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) STRICT;
CREATE UNIQUE INDEX device_push ON device (push_token) WHERE push_token IS NOT NULL;

CREATE TABLE contact (
    user_id    TEXT    NOT NULL REFERENCES user (id),
    contact_id TEXT    NOT NULL REFERENCES user (id),
    name       TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, contact_id)
) STRICT;

CREATE TABLE block (
    user_id    TEXT    NOT NULL REFERENCES user (id),
    blocked_id TEXT    NOT NULL REFERENCES user (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, blocked_id)
) STRICT;
CREATE INDEX block_blocked ON block (blocked_id, user_id);

CREATE TABLE user_setting (
    user_id    TEXT    NOT NULL PRIMARY KEY REFERENCES user (id),
    data       TEXT    NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE invite (
    id         TEXT    NOT NULL PRIMARY KEY,
    kind       TEXT    NOT NULL, -- setup (makes the first super_admin), link, phone
    code_hash  TEXT    UNIQUE,   -- SHA-256 of the code; the code itself is shown once
    phone      TEXT,
    role       TEXT    NOT NULL DEFAULT 'user' REFERENCES role (name),
    uses_max   INTEGER NOT NULL DEFAULT 1,
    uses       INTEGER NOT NULL DEFAULT 0,
    created_by TEXT    NOT NULL DEFAULT '',
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX invite_phone ON invite (phone) WHERE phone IS NOT NULL;
