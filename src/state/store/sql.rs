//! All statements of the store, in the SQL that SQLite and PostgreSQL have in common. The differences between databases (opening,
//! locking, counting changes, names of constraints) are in the module of the database. Each comment lists the parameters.

/// Canonical name. One indexed read, together with the row of the account.
pub const PRINCIPAL: &str = "SELECT p.id, p.account_id, p.name, p.hash, p.bits, \
     a.id AS holder_id, a.name AS holder_name, a.bits AS rights, a.active \
     FROM principal p JOIN principal a ON a.id = coalesce(p.account_id, p.id) \
     WHERE lower(p.name) = $1";

/// Canonical name, old hash, new hash. Leaves `updated_at` as it is, because the password is the same.
pub const RENEW_HASH: &str = "UPDATE principal SET hash = $3 WHERE lower(name) = $1 AND hash = $2";

/// None. Tests the lookup of a name as a decision does it, with a name that does not exist. A query without a table would
/// be answered without the file.
pub const PING: &str = "SELECT 1 FROM principal WHERE lower(name) = ''";

/// Account ID. Reads the ceiling, and whether the account may be managed.
pub const ACCOUNT_STATE: &str =
    "SELECT name, bits, active, credentials FROM principal WHERE id = $1 AND account_id IS NULL";

/// Canonical name. Reads the rights of an account.
pub const ACCOUNT_RIGHTS: &str = "SELECT bits FROM principal WHERE lower(name) = $1 AND account_id IS NULL";

/// Account ID, name, hash, permissions, time, note or NULL.
pub const ADD_CREDENTIAL: &str = "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at, note) \
     VALUES ($1, $2, $3, $4, $5, $5, $6)";

/// Canonical name, account ID, hash or NULL, permissions named, permissions granted, time. Values that are left out stay as
/// they are in the row at that moment, so simultaneous edits have the result of one of their orders.
pub const EDIT_CREDENTIAL: &str = "UPDATE principal \
     SET hash = coalesce($3, hash), bits = (bits & ~$4) | $5, updated_at = $6 \
     WHERE lower(name) = $1 AND account_id = $2";

/// Canonical name, account ID, note or NULL, time. No decision depends on a note, so it is no change to decisions.
pub const EDIT_NOTE: &str =
    "UPDATE principal SET note = $3, updated_at = $4 WHERE lower(name) = $1 AND account_id = $2";

/// Canonical name, account ID.
pub const CREDENTIAL_VERSION: &str =
    "SELECT id, version FROM principal WHERE lower(name) = $1 AND account_id = $2";

/// Canonical name, account ID.
pub const REMOVE_CREDENTIAL: &str = "DELETE FROM principal WHERE lower(name) = $1 AND account_id = $2";

/// Canonical name, account ID, ID.
pub const REMOVE_CREDENTIAL_OF_ID: &str =
    "DELETE FROM principal WHERE lower(name) = $1 AND account_id = $2 AND id = $3";

/// Account ID, difference. Returns the new count.
pub const COUNT_CREDENTIALS: &str =
    "UPDATE principal SET credentials = credentials + $2 WHERE id = $1 RETURNING credentials";

/// Account ID, canonical name.
pub const CREDENTIAL: &str = "SELECT p.id, p.name, p.bits, p.created_at, p.updated_at, a.bits AS rights, a.active \
     FROM principal p JOIN principal a ON a.id = p.account_id \
     WHERE lower(p.name) = $2 AND p.account_id = $1";

/// Account ID, the ID after which the page begins, the length of the page.
pub const CREDENTIALS: &str = "SELECT p.id, p.name, p.bits, p.created_at, p.updated_at, a.bits AS rights, a.active \
     FROM principal p JOIN principal a ON a.id = p.account_id \
     WHERE p.account_id = $1 AND p.id > $2 ORDER BY p.id LIMIT $3";

/// Name, hash, rights, time. Returns the account ID.
pub const ADD_ACCOUNT: &str = "INSERT INTO principal (account_id, name, hash, bits, created_at, updated_at) \
     VALUES (NULL, $1, $2, $3, $4, $4) RETURNING id";

/// Canonical name.
pub const ACCOUNT: &str = "SELECT id, name, bits, active, credentials, created_at, updated_at \
     FROM principal WHERE lower(name) = $1 AND account_id IS NULL";

/// The ID after which the page begins, the length of the page.
pub const ACCOUNTS: &str = "SELECT id, name, bits, active, credentials, created_at, updated_at \
     FROM principal WHERE account_id IS NULL AND id > $1 ORDER BY id LIMIT $2";

/// Canonical name, hash, time.
pub const SET_PASSWORD: &str =
    "UPDATE principal SET hash = $2, updated_at = $3 WHERE lower(name) = $1 AND account_id IS NULL";

/// Canonical name, rights, time.
pub const SET_RIGHTS: &str =
    "UPDATE principal SET bits = $2, updated_at = $3 WHERE lower(name) = $1 AND account_id IS NULL";

/// Canonical name, 0 or 1, time.
pub const SET_ACTIVE: &str =
    "UPDATE principal SET active = $2, updated_at = $3 WHERE lower(name) = $1 AND account_id IS NULL";

/// Canonical name. The credentials are removed with the account.
pub const REMOVE_ACCOUNT: &str = "DELETE FROM principal WHERE lower(name) = $1 AND account_id IS NULL";

/// Principal ID, network, time, entry, address, the shortest interval between two uses that are written. Without a principal of
/// that number, nothing is written.
pub const WRITE_USE: &str = "INSERT INTO principal_use (principal_id, network, used_at, entry, address) \
     SELECT id, $2, $3, $4, $5 FROM principal WHERE id = $1 \
     ON CONFLICT (principal_id, network) \
     DO UPDATE SET used_at = excluded.used_at, entry = excluded.entry, address = excluded.address \
     WHERE excluded.used_at >= principal_use.used_at + $6";

/// Principal ID, the number of networks that stay: those of the latest uses.
pub const DROP_EXCESS_USES: &str = "DELETE FROM principal_use WHERE principal_id = $1 AND network NOT IN \
     (SELECT network FROM principal_use WHERE principal_id = $1 ORDER BY used_at DESC, network DESC LIMIT $2)";

/// The time before which uses are dropped.
pub const DROP_OLD_USES: &str = "DELETE FROM principal_use WHERE used_at < $1";

/// Principal ID, network, the earliest time that counts.
pub const USED_FROM: &str =
    "SELECT 1 FROM principal_use WHERE principal_id = $1 AND network = $2 AND used_at >= $3";

/// Principal ID, time, entry, address. Without a principal of that number, nothing is written.
pub const WRITE_LAST_USE: &str = "INSERT INTO principal_last_use (principal_id, used_at, entry, address) \
     SELECT id, $2, $3, $4 FROM principal WHERE id = $1 \
     ON CONFLICT (principal_id) \
     DO UPDATE SET used_at = excluded.used_at, entry = excluded.entry, address = excluded.address \
     WHERE excluded.used_at > principal_last_use.used_at";

/// A statement that reads credentials of an account with all that is shown of them. A join with the last uses could be done by reading
/// the whole table.
macro_rules! details {
    ($($rest:literal)*) => {
        concat!(
            "SELECT p.id, p.name, p.bits, p.created_at, p.updated_at, p.note, p.version, \
             a.bits AS rights, a.active, \
             (SELECT used_at FROM principal_last_use WHERE principal_id = p.id) AS used_at, \
             (SELECT entry FROM principal_last_use WHERE principal_id = p.id) AS entry, \
             (SELECT address FROM principal_last_use WHERE principal_id = p.id) AS address \
             FROM principal p JOIN principal a ON a.id = p.account_id WHERE p.account_id = $1 ",
            $($rest),*
        )
    };
}

/// A page of them, in either order. By the expression that only the index `principal_by_name` has.
macro_rules! page {
    ($order:literal) => {
        details!(
            "AND lower(p.name || '') >= $2 AND lower(p.name || '') < $3 \
             AND ($4 = 0 OR p.bits & $4 <> 0) AND ($5 = 0 OR p.note <> '') AND ($6 = 0 OR $6 = \
             coalesce((SELECT CASE WHEN used_at >= $7 THEN 1 ELSE 2 END FROM principal_last_use WHERE principal_id = p.id), 3)) \
             ORDER BY lower(p.name || '') " $order " LIMIT $8"
        )
    };
}

/// The name at a place in the index, so that a page reads only so far, whatever its filter finds.
macro_rules! bound {
    ($order:literal) => {
        concat!(
            "SELECT lower(name || '') AS bound FROM principal WHERE account_id = $1 \
             AND lower(name || '') >= $2 AND lower(name || '') < $3 ORDER BY lower(name || '') ",
            $order,
            " LIMIT 1 OFFSET $4"
        )
    };
}

/// Account ID, lower bound, upper bound (excluded), permissions of which one is held or 0, 1 for those with a note or 0, the state of
/// use (1 active, 2 unused, 3 never used) or 0, the time since which a use is active, the length of the page.
pub const PAGE_FORWARDS: &str = page!("ASC");

/// As [`PAGE_FORWARDS`], from the end.
pub const PAGE_BACKWARDS: &str = page!("DESC");

/// Account ID, lower bound, upper bound (excluded), the number of names that are skipped.
pub const BOUND_FORWARDS: &str = bound!("ASC");

/// As [`BOUND_FORWARDS`], from the end.
pub const BOUND_BACKWARDS: &str = bound!("DESC");

/// Account ID, credential ID.
pub const CREDENTIAL_BY_ID: &str = details!("AND p.id = $2");

/// Account ID, canonical name.
pub const CREDENTIAL_BY_NAME: &str = details!("AND lower(p.name) = $2");

/// Digest of the token. One indexed read, together with the rows of the principal and of the account.
pub const SESSION: &str = "SELECT s.id AS session_id, s.entry, s.created_at, s.confirmed_at, s.used_at, s.idle_until, s.ends_at, \
     p.id, p.account_id, p.name, p.hash, p.bits, a.id AS holder_id, a.name AS holder_name, a.bits AS rights, a.active \
     FROM session s JOIN principal p ON p.id = s.principal_id JOIN principal a ON a.id = coalesce(p.account_id, p.id) \
     WHERE s.digest = $1";

/// Principal ID. Reads the login of which a session is to begin or to end.
pub const SESSION_PRINCIPAL: &str = "SELECT name, hash FROM principal WHERE id = $1";

/// Principal ID, entry, digest, time, the end without use, the end, source, browser. Returns the session's ID.
pub const BEGIN_SESSION: &str = "INSERT INTO session \
     (principal_id, entry, digest, created_at, confirmed_at, used_at, idle_until, ends_at, source, browser) \
     VALUES ($1, $2, $3, $4, $4, $4, $5, $6, $7, $8) RETURNING id";

/// Principal ID, entry, the number of sessions that stay: the newest ones.
pub const END_EXCESS_SESSIONS: &str = "DELETE FROM session WHERE principal_id = $1 AND entry = $2 AND id NOT IN \
     (SELECT id FROM session WHERE principal_id = $1 AND entry = $2 ORDER BY id DESC LIMIT $3)";

/// Principal ID, session ID.
pub const END_SESSION: &str = "DELETE FROM session WHERE principal_id = $1 AND id = $2";

/// Principal ID, the ID of the session that stays; 0 for none.
pub const END_OTHER_SESSIONS: &str = "DELETE FROM session WHERE principal_id = $1 AND id <> $2";

/// Principal ID, time. Those that have not ended by then.
pub const SESSIONS: &str = "SELECT id, entry, created_at, used_at, ends_at, source, browser FROM session \
     WHERE principal_id = $1 AND idle_until > $2 AND ends_at > $2";

/// Principal ID, session ID, time.
pub const CONFIRM_SESSION: &str =
    "UPDATE session SET confirmed_at = $3 WHERE principal_id = $1 AND id = $2 AND confirmed_at <= $3";

/// Principal ID, session ID.
pub const CONFIRMED_AT: &str = "SELECT confirmed_at FROM session WHERE principal_id = $1 AND id = $2";

/// Session ID, the time of its last use.
pub const WRITE_SESSION_USE: &str =
    "UPDATE session SET used_at = $2, idle_until = idle_until - used_at + $2 WHERE id = $1 AND used_at < $2";

/// Time, the most that are deleted. Those that were over by then.
pub const CLEAR_SESSIONS: &str =
    "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE idle_until < $1 LIMIT $2)";

/// Time.
pub const OVER_SESSION: &str = "SELECT 1 FROM session WHERE idle_until < $1 LIMIT 1";

#[cfg(test)]
pub const ALL: [&str; 44] = [
    PRINCIPAL,
    RENEW_HASH,
    PING,
    ACCOUNT_STATE,
    ACCOUNT_RIGHTS,
    ADD_CREDENTIAL,
    EDIT_CREDENTIAL,
    EDIT_NOTE,
    CREDENTIAL_VERSION,
    REMOVE_CREDENTIAL,
    REMOVE_CREDENTIAL_OF_ID,
    COUNT_CREDENTIALS,
    CREDENTIAL,
    CREDENTIALS,
    ADD_ACCOUNT,
    ACCOUNT,
    ACCOUNTS,
    SET_PASSWORD,
    SET_RIGHTS,
    SET_ACTIVE,
    REMOVE_ACCOUNT,
    WRITE_USE,
    DROP_EXCESS_USES,
    DROP_OLD_USES,
    USED_FROM,
    WRITE_LAST_USE,
    PAGE_FORWARDS,
    PAGE_BACKWARDS,
    BOUND_FORWARDS,
    BOUND_BACKWARDS,
    CREDENTIAL_BY_ID,
    CREDENTIAL_BY_NAME,
    SESSION,
    SESSION_PRINCIPAL,
    BEGIN_SESSION,
    END_EXCESS_SESSIONS,
    END_SESSION,
    END_OTHER_SESSIONS,
    SESSIONS,
    CONFIRM_SESSION,
    CONFIRMED_AT,
    WRITE_SESSION_USE,
    CLEAR_SESSIONS,
    OVER_SESSION,
];
