-- Pages of the credentials of an account, in the order of their names. Not the expression of principal_name_taken: a planner that
-- expects most rows to be of that account would read the names of all others by that index.
CREATE INDEX principal_by_name ON principal (account_id, lower(name || ''));

-- The version of a row. Each statement that changes what is shown of it raises the number, by whatever tool.
ALTER TABLE principal ADD COLUMN version INTEGER NOT NULL DEFAULT 1;

CREATE TRIGGER principal_versioned AFTER UPDATE OF name, hash, bits, note, updated_at ON principal
BEGIN
    UPDATE principal SET version = version + 1 WHERE id = NEW.id;
END;

-- The last use of a principal, written at most once a minute. Unlike its networks, it is kept as long as the principal. Never counted as a
-- change.
CREATE TABLE principal_last_use (
    principal_id INTEGER PRIMARY KEY REFERENCES principal (id) ON DELETE CASCADE,
    -- Seconds since 1970 UTC, the entry, and the client's address.
    used_at      INTEGER NOT NULL,
    entry        TEXT    NOT NULL,
    address      TEXT    NOT NULL
) STRICT;

-- The other columns are those of the row with the highest time.
INSERT INTO principal_last_use (principal_id, used_at, entry, address)
    SELECT principal_id, max(used_at), entry, address FROM principal_use GROUP BY principal_id;
