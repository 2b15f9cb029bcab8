//! A statement with its values, for either database.

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::sqlite::SqliteArguments;

/// A statement and the values of its parameters, in their order.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    sql: &'static str,
    values: Vec<StatementValue>,
}

/// The value of a parameter. Its debug text withholds a text, which may be a hash.
#[derive(Clone)]
enum StatementValue {
    Number(i64),
    Text(Option<String>),
}

impl std::fmt::Debug for StatementValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StatementValue::Number(number) => write!(f, "{number}"),
            StatementValue::Text(_) => f.write_str("…"),
        }
    }
}

impl Statement {
    /// A statement whose parameters follow.
    pub(super) fn new(sql: &'static str) -> Statement {
        Statement { sql, values: Vec::new() }
    }

    /// The next parameter: a number.
    pub(super) fn number(mut self, number: i64) -> Statement {
        self.values.push(StatementValue::Number(number));
        self
    }

    /// The next parameter: a text.
    pub(super) fn text(self, text: &str) -> Statement {
        self.optional(Some(text))
    }

    /// The next parameter: a text or NULL.
    pub(super) fn optional(mut self, text: Option<&str>) -> Statement {
        self.values.push(StatementValue::Text(text.map(str::to_owned)));
        self
    }

    /// The text, without the values.
    pub(super) fn sql(&self) -> &'static str {
        self.sql
    }

    /// The query for SQLite.
    pub(super) fn for_sqlite(self) -> Query<'static, sqlx::Sqlite, SqliteArguments> {
        self.values.into_iter().fold(sqlx::query(self.sql), |query, value| match value {
            StatementValue::Number(number) => query.bind(number),
            StatementValue::Text(text) => query.bind(text),
        })
    }

    /// The query for PostgreSQL, with `sql` around or after its text. It is not kept as a prepared statement: a pooler of transactions
    /// gives the next transaction another connection.
    pub(super) fn for_postgres(self, sql: String) -> Query<'static, sqlx::Postgres, PgArguments> {
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(false);
        self.values.into_iter().fold(query, |query, value| match value {
            StatementValue::Number(number) => query.bind(number),
            StatementValue::Text(text) => query.bind(text),
        })
    }
}
