//! Transactions that change something in PostgreSQL, and their place in the log.

use sqlx::Row as _;

use super::faults::{is_lost, unavailable};
use super::pool::{PooledTransaction, PostgresPool, position};
use crate::domain::AccountError;
use crate::domain::fleet::ChangeToken;
use crate::state::store::statement::Statement;
use crate::state::store::{ChangePosition, ChangeScope, MutationError, Row, StoreError};

/// Keeps others from changing a row until the end of the transaction. A new credential of the account may be added to the row's foreign
/// keys meanwhile.
const LOCKED: &str = " FOR NO KEY UPDATE";

/// Tells the triggers that a hash is replaced by another one of the same password.
const RENEWAL: &str = "SET LOCAL gatepost.renewal = 'on'";

/// Tells the trigger that the sessions that are deleted in this transaction have run out long ago, which is no change.
const CLEARING: &str = "SET LOCAL gatepost.clearing = 'on'";

/// Numbers the changes of the transaction, reads its place in the log, and commits, in one round trip: the counter is locked from the first
/// statement to the end of the commit, and waits for no client. If one of them fails, nothing is committed.
const COMMIT: &str =
    "SET CONSTRAINTS ALL IMMEDIATE; SELECT number, token, gatepost_era() AS era FROM counter; COMMIT";

/// Puts the line of a command into the row of the transaction in the log. A transaction that has noted no name gets a row for it.
fn keep_news(json: &str) -> String {
    let hex: String = json.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "WITH line AS (SELECT convert_from(decode('{hex}', 'hex'), 'UTF8') AS news), \
         kept AS (UPDATE log SET news = line.news FROM line WHERE xact = pg_current_xact_id() AND seq IS NULL RETURNING seq) \
         INSERT INTO log (names, news) SELECT '{{}}', news FROM line WHERE NOT EXISTS (SELECT FROM kept)"
    )
}

/// A transaction.
pub(in crate::state::store) struct PostgresMutation {
    transaction: PooledTransaction,
}

impl PostgresMutation {
    pub(in crate::state::store) async fn begin(pool: &PostgresPool) -> Result<PostgresMutation, StoreError> {
        Ok(PostgresMutation { transaction: pool.begin_change().await? })
    }

    pub(in crate::state::store) async fn execute(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        let sql = statement.sql().to_owned();
        self.transaction.execute(statement, sql).await.map_err(refusal)
    }

    pub(in crate::state::store) async fn fetch(
        &mut self,
        statement: Statement,
    ) -> Result<Option<Row>, MutationError> {
        let sql = statement.sql().to_owned();
        let mut rows = self.transaction.fetch_all(statement, sql).await.map_err(refusal)?;
        Ok(rows.pop().map(Row::Postgres))
    }

    pub(in crate::state::store) async fn fetch_locked(
        &mut self,
        statement: Statement,
    ) -> Result<Option<Row>, MutationError> {
        let sql = format!("{}{LOCKED}", statement.sql());
        let mut rows = self.transaction.fetch_all(statement, sql).await.map_err(refusal)?;
        Ok(rows.pop().map(Row::Postgres))
    }

    pub(in crate::state::store) async fn renew(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        self.transaction.run_text(RENEWAL).await.map_err(refusal)?;
        self.execute(statement).await
    }

    pub(in crate::state::store) async fn clear(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        self.transaction.run_text(CLEARING).await.map_err(refusal)?;
        self.execute(statement).await
    }

    /// Commits. After an error it is unknown if that was done. From then on, this process uses no row that was read from an earlier state:
    /// the caller raises epochs afterwards.
    pub(in crate::state::store) async fn commit(mut self) -> Result<ChangePosition, StoreError> {
        let text =
            ChangeScope::news().map_or(COMMIT.to_owned(), |json| format!("{}; {COMMIT}", keep_news(&json)));
        let committed = self.transaction.run_text(&text).await;
        let rows = committed.map_err(|error| match is_lost(&error) {
            true => StoreError::Uncertain(unavailable(error).reason().to_owned()),
            // It was rolled back.
            false => unavailable(error),
        })?;
        let minimum = self.transaction.minimum();
        self.transaction.ended();
        let lost = || StoreError::Unavailable("table counter has lost its row".to_owned());
        let row = rows.iter().find(|row| row.len() == 3).ok_or_else(lost)?;
        let (number, era) = position(row, "number", "era")?;
        let token = ChangeToken(row.try_get("token").map_err(unavailable)?);
        minimum.raise(number, era);
        Ok(ChangePosition::Logged { number, token, era })
    }
}

/// The error of a statement: a constraint by its name, anything else as an error of the store.
fn refusal(error: sqlx::Error) -> MutationError {
    let constraint = error.as_database_error().and_then(|error| error.constraint());
    match constraint {
        Some("principal_name_taken") => AccountError::NameTaken.into(),
        _ => MutationError::Store(unavailable(error)),
    }
}
