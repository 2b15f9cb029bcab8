//! Errors of PostgreSQL in the words of an operator.

use sqlx::migrate::MigrateError;

use crate::state::store::StoreError;

/// The text for an error: what is wrong, and what to do.
pub(super) fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            of_code(&code).map_or_else(
                || format!("PostgreSQL reports: {} (SQLSTATE {code})", error.message()),
                |advice| format!("PostgreSQL reports: {}: {advice}", error.message()),
            )
        }
        sqlx::Error::PoolTimedOut => "no connection in time".to_owned(),
        sqlx::Error::PoolClosed => "it is closed: the process is stopping".to_owned(),
        sqlx::Error::Io(error) => without_number(error),
        sqlx::Error::Tls(error) => format!("TLS failed: {error}; check sslmode and sslrootcert in store.url"),
        sqlx::Error::ColumnDecode { index, source } => {
            format!("unexpected value in column {index}: {source}")
        }
        sqlx::Error::Migrate(error) => of_migration(error),
        other => other.to_string(),
    }
}

/// An error of the database that says nothing about the request.
pub(in crate::state) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(in_words(&error))
}

/// The advice for an error code (PostgreSQL's appendix A).
fn of_code(code: &str) -> Option<&'static str> {
    Some(match code {
        "28P01" | "28000" => "check user and password, and pg_hba.conf of the server",
        "3D000" => "create the database: createdb -O USER DATABASE",
        "42501" => "the role needs that privilege: let it own the database or its schema",
        "42P01" => "the schema is missing or older: it is migrated when the gateway starts",
        "53100" => "make room on the server",
        "53300" => "raise max_connections of the server, or lower store.read_connections of the gateways",
        "25006" | "55000" => "this is not the primary, or it is set to read-only",
        "40001" | "40P01" => "another session was in the way; nothing was changed",
        "55P03" => {
            "another session holds its lock: end that session, or raise store.busy_timeout; nothing was changed"
        }
        "57P01" | "57P02" | "57P03" => "the server is stopping or starting",
        _ => return None,
    })
}

/// Returns true if a server takes a connection for one that it cannot serve with such settings, as a connection pooler does.
pub(super) fn is_unsupported_setting(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "08P01")
}

/// Returns true if a server has refused the login: the user, the password, or the database is wrong.
pub(super) fn is_refused_login(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()).unwrap_or_default();
    matches!(&*code, "28P01" | "28000" | "3D000" | "42501")
}

/// Returns true if the connection is of no more use: it is lost, or the server is ending it.
pub(super) fn is_lost(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            code.starts_with("08") || code.starts_with("57P")
        }
        sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_) => true,
        _ => false,
    }
}

fn of_migration(error: &MigrateError) -> String {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => in_words(error),
        MigrateError::VersionMismatch(number) => {
            format!("its schema {number} is not the one of a released version of Gatepost")
        }
        MigrateError::Dirty(number) => {
            format!("the change to schema {number} was interrupted: restore a backup")
        }
        other => other.to_string(),
    }
}

fn without_number(error: &std::io::Error) -> String {
    let text = error.to_string();
    text[..text.find(" (os error").unwrap_or(text.len())].to_lowercase()
}
