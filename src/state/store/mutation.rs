//! A transaction that changes something, in either database.

use super::change::ChangeEffect;
use super::postgres::PostgresMutation;
use super::sqlite::SqliteMutation;
use super::statement::Statement;
use super::{Change, Database, MutationError, Row, Store, StoreError};
use crate::domain::Canonical;

/// A transaction that changes something. Dropped without a commit, it changes nothing.
pub(super) enum Mutation {
    Sqlite(SqliteMutation),
    Postgres(PostgresMutation),
}

impl Mutation {
    /// Begins one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`]. Nothing was changed.
    pub(super) async fn begin(store: &Store) -> Result<Mutation, StoreError> {
        match &store.database {
            Database::Sqlite(pools) => SqliteMutation::begin(pools).await.map(Mutation::Sqlite),
            Database::Postgres(pool) => PostgresMutation::begin(pool).await.map(Mutation::Postgres),
        }
    }

    /// Runs a statement. Returns the number of its rows.
    ///
    /// # Errors
    /// What a constraint refuses, and [`MutationError::Store`].
    pub(super) async fn execute(&mut self, statement: Statement) -> Result<u64, MutationError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.execute(statement).await,
            Mutation::Postgres(mutation) => mutation.execute(statement).await,
        }
    }

    /// Runs a statement that returns one row, or none.
    ///
    /// # Errors
    /// As [`Mutation::execute`].
    pub(super) async fn fetch(&mut self, statement: Statement) -> Result<Option<Row>, MutationError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.fetch(statement).await,
            Mutation::Postgres(mutation) => mutation.fetch(statement).await,
        }
    }

    /// Reads a row of an account, which no other mutation changes from here to the end of this one: SQLite has one writer, and PostgreSQL
    /// locks the row. Counts and ceilings stay right therefore.
    ///
    /// # Errors
    /// As [`Mutation::execute`].
    pub(super) async fn fetch_locked(&mut self, statement: Statement) -> Result<Option<Row>, MutationError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.fetch(statement).await,
            Mutation::Postgres(mutation) => mutation.fetch_locked(statement).await,
        }
    }

    /// Runs the statement that replaces a hash by another one of the same password, which does not count as a change.
    ///
    /// # Errors
    /// As [`Mutation::execute`].
    pub(super) async fn renew(&mut self, statement: Statement) -> Result<u64, MutationError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.renew(statement).await,
            Mutation::Postgres(mutation) => mutation.renew(statement).await,
        }
    }

    /// Runs the statement that clears away old sessions, which does not count as a change. No other statement may delete sessions in the
    /// same transaction.
    ///
    /// # Errors
    /// As [`Mutation::execute`].
    pub(super) async fn clear(&mut self, statement: Statement) -> Result<u64, MutationError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.clear(statement).await,
            Mutation::Postgres(mutation) => mutation.clear(statement).await,
        }
    }

    /// Commits: the change is on disk then. After an error that is unknown.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::Replaced`].
    pub(super) async fn commit(self, name: Canonical, effect: ChangeEffect) -> Result<Change, StoreError> {
        let position = self.finish().await?;
        Ok(effect.change(name, position))
    }

    /// Commits what is no change of a name, as [`Mutation::commit`] does.
    pub(super) async fn finish(self) -> Result<super::ChangePosition, StoreError> {
        match self {
            Mutation::Sqlite(mutation) => mutation.commit().await,
            Mutation::Postgres(mutation) => mutation.commit().await,
        }
    }
}
