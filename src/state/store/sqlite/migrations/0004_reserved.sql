-- Reserved for later versions, and unused. Of a credential: allowed sender addresses, the end of its validity in seconds since 1970
-- UTC, and the networks that it may be used from.
ALTER TABLE principal ADD COLUMN senders TEXT;
ALTER TABLE principal ADD COLUMN expires_at INTEGER;
ALTER TABLE principal ADD COLUMN networks TEXT;

-- Further secrets of a principal, and its TOTP keys.
CREATE TABLE secret (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    principal_id INTEGER NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    kind         TEXT    NOT NULL CONSTRAINT secret_kind_known CHECK (kind IN ('password', 'totp')),
    -- The hash of a password, or the key of a TOTP.
    value        TEXT    NOT NULL CONSTRAINT secret_value_there CHECK (length(value) > 0),
    label        TEXT,
    -- The last time step of a TOTP that was accepted. None is accepted twice.
    last_step    INTEGER,
    -- Seconds since 1970 UTC.
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER
) STRICT;

CREATE INDEX secret_of_principal ON secret (principal_id, id);
