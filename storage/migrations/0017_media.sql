-- owner: server/media
-- What was made of an upload (thumbnail, preview, poster), what else than a message shows it, and how large all is.
CREATE TABLE rendition (
    upload_id TEXT    NOT NULL REFERENCES upload (id),
    name      TEXT    NOT NULL, -- thumb.webp, thumb.jpg, preview.webp, ...; clean while the upload itself is being replaced
    sha256    TEXT    NOT NULL REFERENCES blob (sha256),
    mime_type TEXT    NOT NULL,
    size      INTEGER NOT NULL,
    PRIMARY KEY (upload_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX rendition_blob ON rendition (sha256);

-- One picture of a profile or a group; scope is what it is shown as part of, as in its capability.
CREATE TABLE claim (
    scope     TEXT NOT NULL PRIMARY KEY,
    upload_id TEXT NOT NULL REFERENCES upload (id)
) STRICT, WITHOUT ROWID;
CREATE INDEX claim_upload ON claim (upload_id);

-- Quotas add up sizes.
CREATE INDEX upload_usage ON upload (user_id, size);

-- When the bytes were found to be others than they were: they are not served any more.
ALTER TABLE blob ADD COLUMN damaged_at INTEGER;

-- Uploads that still arrive are found at the start, and swept when nothing has come for long.
ALTER TABLE upload ADD COLUMN touched_at INTEGER NOT NULL DEFAULT 0;
CREATE INDEX upload_state ON upload (state, touched_at) WHERE state <> 'ready';

-- Whether something shows an upload is asked of those who do.
DROP INDEX upload_unclaimed;
ALTER TABLE upload DROP COLUMN claimed_at;
