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

CREATE TABLE role (
    name    TEXT    NOT NULL PRIMARY KEY,
    builtin INTEGER NOT NULL DEFAULT 0,
    rank    INTEGER NOT NULL -- a person may act only on people of a lower rank
) STRICT;

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
, photo_for TEXT NOT NULL DEFAULT 'everyone', status_for TEXT NOT NULL DEFAULT 'everyone', hides_seen INTEGER NOT NULL DEFAULT 0, hides_reads INTEGER NOT NULL DEFAULT 0) STRICT;

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
    last_seq       INTEGER NOT NULL DEFAULT 0,
    linked_at      INTEGER NOT NULL,
    last_active_at INTEGER NOT NULL,
    PRIMARY KEY (user_id, device_id)
) STRICT;

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

CREATE TABLE conversation (
    id                    TEXT    NOT NULL PRIMARY KEY,
    type                  TEXT    NOT NULL, -- single, group
    pair                  TEXT    UNIQUE,   -- single: both user ids, the smaller first
    name                  TEXT,
    description           TEXT,
    avatar                TEXT,
    created_by            TEXT    NOT NULL,
    last_n                INTEGER NOT NULL DEFAULT 0, -- the number of the newest message; dense, never given twice
    last_message_at       INTEGER NOT NULL,
    is_locked             INTEGER NOT NULL DEFAULT 0,
    disappearing_seconds  INTEGER NOT NULL DEFAULT 0,
    disappearing_at       INTEGER,
    disappearing_by       TEXT,
    retention_days        INTEGER,
    legal_hold            INTEGER NOT NULL DEFAULT 0,
    created_at            INTEGER NOT NULL,
    updated_at            INTEGER NOT NULL,
    deleted_at            INTEGER
, pins_changed_at INTEGER) STRICT, WITHOUT ROWID;

CREATE TABLE member (
    conversation_id TEXT    NOT NULL REFERENCES conversation (id),
    user_id         TEXT    NOT NULL REFERENCES user (id),
    joined_seq      INTEGER NOT NULL, -- an event is delivered iff joined_seq <= seq <= left_seq
    left_seq        INTEGER,
    role            TEXT    NOT NULL DEFAULT 'member', -- member, admin
    joined_at       INTEGER NOT NULL,
    left_at         INTEGER,
    history_from_n  INTEGER NOT NULL DEFAULT 0, -- messages up to this number are not for this member
    clear_n         INTEGER NOT NULL DEFAULT 0, -- cleared for me up to this number
    hidden_n        INTEGER NOT NULL DEFAULT -1, -- hidden from my list while last_n is at most this
    read_n          INTEGER NOT NULL DEFAULT 0,
    is_muted        INTEGER NOT NULL DEFAULT 0,
    muted_until     INTEGER,
    is_pinned       INTEGER NOT NULL DEFAULT 0,
    is_archived     INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, user_id, joined_seq)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX member_current ON member (user_id, conversation_id) WHERE left_seq IS NULL;

CREATE INDEX member_user ON member (user_id, conversation_id, joined_seq);

CREATE TABLE message (
    conversation_id TEXT    NOT NULL REFERENCES conversation (id),
    n               INTEGER NOT NULL,
    id              TEXT    NOT NULL UNIQUE,
    sender_id       TEXT    NOT NULL,
    client_id       TEXT,
    type            TEXT    NOT NULL,
    format          TEXT    NOT NULL DEFAULT 'plain',
    content         TEXT,
    state           TEXT    NOT NULL DEFAULT 'visible', -- visible, held
    reply_to_id     TEXT,
    thread_id       TEXT,
    forwarded_from  TEXT,
    metadata        TEXT,
    legal_hold      INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    updated_at      INTEGER NOT NULL,
    edited_at       INTEGER,
    edited_by       TEXT,
    expires_at      INTEGER,
    deleted_at      INTEGER,
    deleted_by      TEXT, reacted INTEGER NOT NULL DEFAULT 0, attached INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (conversation_id, n)
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX message_client ON message (conversation_id, sender_id, client_id) WHERE client_id IS NOT NULL;

CREATE INDEX message_expiry ON message (expires_at) WHERE expires_at IS NOT NULL;

CREATE TABLE read_mark (
    conversation_id TEXT    NOT NULL,
    user_id         TEXT    NOT NULL,
    n               INTEGER NOT NULL, -- everything up to n was read at this time, unless an earlier mark covers it
    at              INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, user_id, n)
) STRICT, WITHOUT ROWID;

CREATE TABLE blob (
    sha256     TEXT    NOT NULL PRIMARY KEY,
    size       INTEGER NOT NULL,
    created_at INTEGER NOT NULL
, damaged_at INTEGER) STRICT;

CREATE TABLE upload (
    id            TEXT    NOT NULL PRIMARY KEY,
    user_id       TEXT    NOT NULL REFERENCES user (id),
    sha256        TEXT    REFERENCES blob (sha256),
    kind          TEXT    NOT NULL, -- image, video, audio, file
    name          TEXT    NOT NULL UNIQUE, -- the unguessable name in its URL
    original_name TEXT    NOT NULL DEFAULT '',
    mime_type     TEXT    NOT NULL,
    size          INTEGER NOT NULL,
    details       TEXT    NOT NULL DEFAULT '{}',
    state         TEXT    NOT NULL DEFAULT 'ready',
    legal_hold    INTEGER NOT NULL DEFAULT 0,
    created_at    INTEGER NOT NULL,
    touched_at INTEGER NOT NULL DEFAULT 0, gif TEXT) STRICT;

CREATE INDEX upload_user ON upload (user_id, created_at);

CREATE INDEX upload_blob ON upload (sha256);

CREATE TABLE attachment (
    message_id TEXT    NOT NULL,
    position   INTEGER NOT NULL,
    upload_id  TEXT    NOT NULL REFERENCES upload (id),
    details    TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (message_id, position)
) STRICT, WITHOUT ROWID;

CREATE INDEX attachment_upload ON attachment (upload_id);

CREATE TABLE setting (
    key        TEXT    NOT NULL PRIMARY KEY,
    value      TEXT    NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT    NOT NULL
) STRICT;

CREATE TABLE message_edit (
    message_id TEXT    NOT NULL,
    at         INTEGER NOT NULL,
    content    TEXT    NOT NULL, -- before this edit
    by         TEXT    NOT NULL,
    PRIMARY KEY (message_id, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE pinned_message (
    conversation_id TEXT    NOT NULL,
    message_id      TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    pinned_by       TEXT    NOT NULL,
    pinned_at       INTEGER NOT NULL,
    PRIMARY KEY (conversation_id, message_id)
) STRICT, WITHOUT ROWID;

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

CREATE TABLE reaction (
    message_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    emoji      TEXT    NOT NULL,
    seq        INTEGER NOT NULL, -- of the event that told of it
    created_at INTEGER NOT NULL,
    PRIMARY KEY (message_id, user_id, emoji)
) STRICT, WITHOUT ROWID;

CREATE TABLE mention (
    user_id         TEXT    NOT NULL, -- or 'all'
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    message_id      TEXT    NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX mention_message ON mention (message_id);

CREATE INDEX mention_newest ON mention (user_id, message_id);

CREATE TABLE message_hidden (
    user_id         TEXT    NOT NULL,
    conversation_id TEXT    NOT NULL,
    n               INTEGER NOT NULL,
    at              INTEGER NOT NULL,
    PRIMARY KEY (user_id, conversation_id, n)
) STRICT, WITHOUT ROWID;

CREATE INDEX message_hidden_message ON message_hidden (conversation_id, n);

CREATE INDEX pinned_message_message ON pinned_message (message_id);

CREATE TABLE rendition (
    upload_id TEXT    NOT NULL REFERENCES upload (id),
    name      TEXT    NOT NULL, -- thumb.webp, thumb.jpg, preview.webp, ...; clean while the upload itself is being replaced
    sha256    TEXT    NOT NULL REFERENCES blob (sha256),
    mime_type TEXT    NOT NULL,
    size      INTEGER NOT NULL,
    PRIMARY KEY (upload_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX rendition_blob ON rendition (sha256);

CREATE TABLE claim (
    scope     TEXT NOT NULL PRIMARY KEY,
    upload_id TEXT NOT NULL REFERENCES upload (id)
) STRICT, WITHOUT ROWID;

CREATE INDEX claim_upload ON claim (upload_id);

CREATE INDEX upload_usage ON upload (user_id, size);

CREATE INDEX upload_state ON upload (state, touched_at) WHERE state <> 'ready';

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

CREATE INDEX upload_gif ON upload (user_id, gif) WHERE gif IS NOT NULL;

CREATE TABLE transcript (
    upload_id   TEXT    NOT NULL PRIMARY KEY REFERENCES upload (id),
    text        TEXT    NOT NULL,
    language    TEXT    NOT NULL DEFAULT '',
    duration_ms INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL
) STRICT;

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

