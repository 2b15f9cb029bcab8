//! A row of either database, and the readers of its columns.

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;

use super::{StoreError, postgres, sqlite};
use crate::domain::{Permissions, Username};

/// A row.
pub(super) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

impl Row {
    /// A number.
    pub(super) fn number(&self, column: &'static str) -> Result<i64, StoreError> {
        match self {
            Row::Sqlite(row) => row.try_get(column).map_err(sqlite::unavailable),
            Row::Postgres(row) => row.try_get(column).map_err(postgres::unavailable),
        }
    }

    /// A number or NULL.
    pub(super) fn optional_number(&self, column: &'static str) -> Result<Option<i64>, StoreError> {
        match self {
            Row::Sqlite(row) => row.try_get(column).map_err(sqlite::unavailable),
            Row::Postgres(row) => row.try_get(column).map_err(postgres::unavailable),
        }
    }

    /// A text.
    pub(super) fn text(&self, column: &'static str) -> Result<String, StoreError> {
        match self {
            Row::Sqlite(row) => row.try_get(column).map_err(sqlite::unavailable),
            Row::Postgres(row) => row.try_get(column).map_err(postgres::unavailable),
        }
    }

    /// A text or NULL.
    pub(super) fn optional_text(&self, column: &'static str) -> Result<Option<String>, StoreError> {
        match self {
            Row::Sqlite(row) => row.try_get(column).map_err(sqlite::unavailable),
            Row::Postgres(row) => row.try_get(column).map_err(postgres::unavailable),
        }
    }

    /// A number that is true unless it is 0.
    pub(super) fn flag(&self, column: &'static str) -> Result<bool, StoreError> {
        self.number(column).map(|number| number != 0)
    }

    /// A username.
    pub(super) fn username(&self, column: &'static str) -> Result<Username, StoreError> {
        let text = self.text(column)?;
        Username::parse(&text).map_err(|e| StoreError::Unavailable(format!("column {column}: {e}")))
    }

    /// Permissions.
    pub(super) fn permissions(&self, column: &'static str) -> Result<Permissions, StoreError> {
        let bits = u8::try_from(self.number(column)?).ok().and_then(Permissions::from_bits);
        bits.ok_or_else(|| StoreError::Unavailable(format!("column {column}: unknown permission bits")))
    }
}
