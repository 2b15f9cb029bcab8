//! Transactions that change something in SQLite, and their effect on the number of changes.

use sqlx::{Sqlite, Transaction};

use super::{BEGIN, CHANGES, CLEARED, CLEARING, Pools, RENEWAL, UNCOUNT, unavailable};
use crate::domain::AccountError;
use crate::state::store::statement::Statement;
use crate::state::store::{ChangePosition, MutationError, Row, StoreError};

/// A transaction of the only connection that writes.
pub(in crate::state::store) struct SqliteMutation {
    pools: Pools,
    transaction: Transaction<'static, Sqlite>,
    /// The number of changes before it.
    before: i64,
}

impl SqliteMutation {
    pub(in crate::state::store) async fn begin(pools: &Pools) -> Result<SqliteMutation, StoreError> {
        pools.verify_files()?;
        let mut transaction = pools.writer.begin_with(BEGIN).await.map_err(unavailable)?;
        let before = sqlx::query_scalar(CHANGES).fetch_one(&mut *transaction).await.map_err(unavailable)?;
        Ok(SqliteMutation { pools: pools.clone(), transaction, before })
    }

    pub(in crate::state::store) async fn execute(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        let done = statement.for_sqlite().execute(&mut *self.transaction).await;
        done.map(|done| done.rows_affected()).map_err(refusal)
    }

    pub(in crate::state::store) async fn fetch(
        &mut self,
        statement: Statement,
    ) -> Result<Option<Row>, MutationError> {
        let row = statement.for_sqlite().fetch_optional(&mut *self.transaction).await;
        row.map(|row| row.map(Row::Sqlite)).map_err(refusal)
    }

    pub(in crate::state::store) async fn renew(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        self.execute(Statement::new(RENEWAL)).await?;
        let rows = self.execute(statement).await?;
        // Without a row, the caller does not commit.
        if rows > 0 {
            self.execute(Statement::new(UNCOUNT)).await?;
        }
        Ok(rows)
    }

    pub(in crate::state::store) async fn clear(
        &mut self,
        statement: Statement,
    ) -> Result<u64, MutationError> {
        self.execute(Statement::new(CLEARING)).await?;
        let rows = self.execute(statement).await?;
        self.execute(Statement::new(CLEARED)).await?;
        Ok(rows)
    }

    /// Commits: the change is on disk then, in the file that the path leads to. After an error that is unknown.
    pub(in crate::state::store) async fn commit(mut self) -> Result<ChangePosition, StoreError> {
        let upto =
            sqlx::query_scalar(CHANGES).fetch_one(&mut *self.transaction).await.map_err(unavailable)?;
        self.transaction.commit().await.map_err(unavailable)?;
        self.pools.verify_files()?;
        Ok(ChangePosition::Counted { after: self.before, upto })
    }
}

/// The error of a statement: a constraint by its name, anything else as an error of the store.
fn refusal(error: sqlx::Error) -> MutationError {
    let constraint = error.as_database_error().map(|e| e.message()).unwrap_or_default();
    if constraint.contains("'principal_name_taken'") {
        AccountError::NameTaken.into()
    } else {
        MutationError::Store(unavailable(error))
    }
}
