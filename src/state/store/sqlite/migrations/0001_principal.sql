-- Account holders and their credentials in one table, since they share one name space.
CREATE TABLE principal (
    -- AUTOINCREMENT: a number is never given out twice, also after the row with the highest one is gone.
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- NULL: an account holder.
    account_id  INTEGER REFERENCES principal (id) ON DELETE CASCADE,
    name        TEXT    NOT NULL CONSTRAINT principal_name_length CHECK (length(name) BETWEEN 3 AND 64),
    hash        TEXT    NOT NULL CONSTRAINT principal_hash_there CHECK (length(hash) > 0),
    -- email 1, api 2, web 4; for the account holder: the rights of the account.
    bits        INTEGER NOT NULL CONSTRAINT principal_bits_known CHECK (bits BETWEEN 0 AND 7),
    -- 0: the account is suspended. Means nothing on a credential.
    active      INTEGER NOT NULL DEFAULT 1 CONSTRAINT principal_active_boolean CHECK (active IN (0, 1)),
    -- How many credentials the account has, so that nobody counts rows.
    credentials INTEGER NOT NULL DEFAULT 0 CONSTRAINT principal_credentials_counted CHECK (credentials >= 0),
    -- Seconds since 1970 UTC.
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    CONSTRAINT principal_credential_plain CHECK (account_id IS NULL OR (active = 1 AND credentials = 0))
) STRICT;

CREATE UNIQUE INDEX principal_name_taken ON principal (lower(name));
CREATE INDEX principal_of_account ON principal (account_id, id);

-- Counts the changes that a decision could notice, whoever makes them and by whatever tool. A running gateway watches
-- the number, and so finds out about a change that nobody announced to it.
CREATE TABLE change (
    only   INTEGER PRIMARY KEY CONSTRAINT change_only_row CHECK (only = 1),
    number INTEGER NOT NULL
) STRICT;

INSERT INTO change (only, number) VALUES (1, 0);

CREATE TRIGGER principal_added AFTER INSERT ON principal
BEGIN
    UPDATE change SET number = number + 1 WHERE only = 1;
END;

CREATE TRIGGER principal_changed AFTER UPDATE OF account_id, name, hash, bits, active ON principal
BEGIN
    UPDATE change SET number = number + 1 WHERE only = 1;
END;

CREATE TRIGGER principal_removed AFTER DELETE ON principal
BEGIN
    UPDATE change SET number = number + 1 WHERE only = 1;
END;
