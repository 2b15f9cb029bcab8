//! Reading a database file without any effect on it, for who only looks.

use std::path::Path;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::SqliteConnectOptions;

/// Returns true if `query` finds a row for `value`. Changes no file and creates none, whoever asks. What is only in the write-ahead log
/// is not seen, and a file that cannot be read has no rows.
pub async fn finds(path: &Path, query: &'static str, value: &str) -> bool {
    let options = SqliteConnectOptions::new().filename(path).immutable(true).read_only(true);
    let Ok(mut connection) = options.connect().await else { return false };
    let found = sqlx::query(query).bind(value).fetch_optional(&mut connection).await;
    found.is_ok_and(|row| row.is_some())
}
