-- A note of the account holder or of the operator. No decision depends on it, and it is not counted as a change.
ALTER TABLE principal ADD COLUMN note TEXT CONSTRAINT principal_note_length CHECK (length(note) <= 200);

-- The sessions of browsers. A cookie has a random token, and this table has the digest of it.
CREATE TABLE session (
    -- AUTOINCREMENT: a number is never given out twice, and the lowest one of a principal is the oldest.
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    principal_id INTEGER NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    -- A session of one entry is none at the other.
    entry        TEXT    NOT NULL CONSTRAINT session_entry_known CHECK (entry IN ('web', 'console')),
    -- BLAKE3 of the token, in hexadecimal digits.
    digest       TEXT    NOT NULL CONSTRAINT session_digest_unique UNIQUE CHECK (length(digest) = 64),
    -- Seconds since 1970 UTC: the login, and the last time that the password was given.
    created_at   INTEGER NOT NULL,
    confirmed_at INTEGER NOT NULL,
    -- The last use, written at most once a minute, and the time until which that keeps it alive. Their difference stays as it is.
    used_at      INTEGER NOT NULL,
    idle_until   INTEGER NOT NULL CONSTRAINT session_idle CHECK (idle_until > used_at),
    ends_at      INTEGER NOT NULL,
    -- Of the login.
    source       TEXT    NOT NULL,
    browser      TEXT    NOT NULL CONSTRAINT session_browser_length CHECK (length(browser) <= 300)
) STRICT;

CREATE INDEX session_of_principal ON session (principal_id, entry, id);
CREATE INDEX session_idle_until ON session (idle_until);

-- 1 only within the transaction that replaces a hash by another one of the same password.
ALTER TABLE change ADD COLUMN renewing INTEGER NOT NULL DEFAULT 0;

-- 1 only within the transaction that clears away old sessions.
ALTER TABLE change ADD COLUMN clearing INTEGER NOT NULL DEFAULT 0;

-- A session that ends is a change, also if it has run out by the clock: its last uses may not be written yet.
CREATE TRIGGER session_ended AFTER DELETE ON session
WHEN (SELECT clearing FROM change WHERE only = 1) = 0
BEGIN
    UPDATE change SET number = number + 1 WHERE only = 1;
END;

-- Whoever makes the change, and by whatever tool: a new password ends the sessions of its principal, and a suspension those of
-- all principals of the account.
CREATE TRIGGER session_ended_by_password AFTER UPDATE OF hash ON principal
WHEN NEW.hash <> OLD.hash AND (SELECT renewing FROM change WHERE only = 1) = 0
BEGIN
    DELETE FROM session WHERE principal_id = NEW.id;
END;

CREATE TRIGGER session_ended_by_suspension AFTER UPDATE OF active ON principal
WHEN NEW.active = 0
BEGIN
    DELETE FROM session WHERE principal_id = NEW.id;
    DELETE FROM session WHERE principal_id IN (SELECT id FROM principal WHERE account_id = NEW.id);
END;
