//! Errors of SQLite in the words of an operator.

use sqlx::migrate::MigrateError;

/// The text for an error: what is wrong, and what to do.
pub(super) fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<i32>().ok());
            code.and_then(of_code).unwrap_or_else(|| format!("SQLite reports: {}", error.message()))
        }
        sqlx::Error::PoolTimedOut => {
            "no connection was free in time: the disk is slow, or too many requests need the database"
                .to_owned()
        }
        sqlx::Error::PoolClosed => "it is closed: the process is stopping".to_owned(),
        sqlx::Error::WorkerCrashed => "a connection to it ended unexpectedly".to_owned(),
        sqlx::Error::Io(error) => error.to_string(),
        sqlx::Error::ColumnDecode { index, source } => {
            format!("unexpected value in column {index}: {source}")
        }
        sqlx::Error::Migrate(error) => of_migration(error),
        other => other.to_string(),
    }
}

/// Returns true if another process has locked the database, or has it open in a way that only lets it read.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
    code.is_some_and(|code| matches!(code & 0xff, 5 | 6 | 14))
}

/// The text for a result code (<https://www.sqlite.org/rescode.html>). The lower 8 bits are the primary code.
fn of_code(code: i32) -> Option<String> {
    let words = match (code & 0xff, code) {
        (_, 1032) => "its file was moved or deleted: move it back, or restart the gateway",
        (5 | 6, _) => {
            "it is locked by another process: end that process (see it by `fuser`), or raise store.busy_timeout"
        }
        (8, _) => {
            "it is read-only: check owner and mode of the file and its directory, and that its disk is mounted for writing"
        }
        // The index of the write-ahead log cannot grow.
        (10, 4874) => "its disk is full: make room",
        (10, _) => "input/output error: check the disk and its file system (see `dmesg`)",
        (11, _) => "it is damaged: stop the gateway and restore a backup",
        (13, _) => "its disk is full: make room",
        (14, _) => {
            "SQLite cannot open it: check owner and mode of the file, its directory, and the files -wal and -shm"
        }
        (23, _) | (3, _) => "access is denied: check owner and mode of the file",
        (26, _) => "it is not a SQLite database: check store.url, or restore a backup",
        _ => return None,
    };
    Some(words.to_owned())
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

/// The text for a database of a later version.
pub(super) fn newer(found: i64, known: i64) -> String {
    format!(
        "this database was made by a newer version of Gatepost (schema {found}; this one knows {known}): \
         install that version, or restore a backup from before the update"
    )
}

/// The text for a database of another program.
pub(super) const FOREIGN: &str = "it is a database of another program: check store.url";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_have_the_words_of_their_primary_code() {
        assert_eq!(of_code(5), of_code(5 | (2 << 8)));
        assert_eq!(of_code(10), of_code(778));
        assert_ne!(of_code(8), of_code(1032));
        assert_eq!(of_code(1), None);
    }
}
