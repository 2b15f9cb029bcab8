-- Functions keep the search path of this moment, as those of the first migration.
SELECT set_config('search_path', quote_ident(current_schema()) || ', pg_temp', true);

-- Pages of the credentials of an account, in the order of their names. Not the expression of principal_name_taken: a planner that
-- expects most rows to be of that account would read the names of all others by that index.
CREATE INDEX principal_by_name ON principal (account_id, lower(name || ''));

-- The version of a row. Each statement that changes what is shown of it raises the number, by whatever tool and version of Gatepost.
ALTER TABLE principal ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

CREATE FUNCTION gatepost_next_version() RETURNS TRIGGER LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    NEW.version := OLD.version + 1;
    RETURN NEW;
END $$;

CREATE TRIGGER principal_versioned BEFORE UPDATE OF name, hash, bits, note, updated_at ON principal
    FOR EACH ROW EXECUTE FUNCTION gatepost_next_version();
ALTER TABLE principal ENABLE ALWAYS TRIGGER principal_versioned;

-- The last use of a principal, written at most once a minute. Unlike its networks, it is kept as long as the principal. Never counted as a
-- change. Rows stay in their page.
CREATE TABLE principal_last_use (
    principal_id BIGINT PRIMARY KEY REFERENCES principal (id) ON DELETE CASCADE,
    -- Seconds since 1970 UTC, the entry, and the client's address.
    used_at      BIGINT NOT NULL,
    entry        TEXT   NOT NULL,
    address      TEXT   NOT NULL
) WITH (fillfactor = 70);

INSERT INTO principal_last_use (principal_id, used_at, entry, address)
    SELECT DISTINCT ON (principal_id) principal_id, used_at, entry, address
    FROM principal_use ORDER BY principal_id, used_at DESC, network DESC;
