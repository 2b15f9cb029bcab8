//! The connections for reads and changes. Each is used for a whole transaction, and given back only in a known state.
//!
//! Reads are transactions, too, and no statement is prepared for longer than one of them: behind a pooler of transactions, the next one may
//! be on another connection. `SET LOCAL` is the only kind of setting for the same reason.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::connect::{ServerIndex, Servers};
use super::faults::{is_lost, unavailable};
use super::read_minimum::{ReadMinimum, ReadState};
use crate::config::StoreSettings;
use crate::domain::fleet::Era;
use crate::state::store::fault_log::FaultLog;
use crate::state::store::statement::Statement;
use crate::state::store::{ChangeScope, Row, StoreError};

/// The connections to the primary. Cloning is cheap and shares them.
#[derive(Clone)]
pub(in crate::state::store) struct PostgresPool(Arc<PoolShared>);

struct PoolShared {
    servers: Servers,
    permits: Arc<Semaphore>,
    /// The connections for changes, one less than all: changes that wait for a lock leave one to reads.
    change_permits: Arc<Semaphore>,
    /// Connections outside of a transaction.
    idle: Mutex<Vec<ServerConnection>>,
    /// The longest time for a statement, and for a connection.
    patience: Duration,
    /// The beginning of a read, and that of a change.
    begin_read: String,
    begin_change: String,
    minimum: Arc<ReadMinimum>,
    faults: FaultLog,
}

/// A connection, and the server that it leads to.
struct ServerConnection {
    connection: PgConnection,
    server: ServerIndex,
}

impl PostgresPool {
    /// Connections as these settings want them. None is opened yet.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if the store is not in PostgreSQL.
    pub(in crate::state::store) fn of(settings: &StoreSettings) -> Result<PostgresPool, StoreError> {
        let patience = settings.busy_timeout;
        // Shorter than the client's time, so that it is known that nothing was changed.
        let lock = (patience * 9 / 10).as_millis().max(1);
        // Whoever waits for a statement closes the connection after `patience`, which PostgreSQL does not notice before the end of the
        // statement. This limit does not end the wait of a commit for its standby.
        let limit = format!("SET LOCAL statement_timeout = {}", (patience * 5 / 4).as_millis().max(1));
        let begin_change = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = {lock}; \
             SET LOCAL idle_in_transaction_session_timeout = {}; \
             SELECT set_config('synchronous_commit', 'on', true) \
             WHERE current_setting('synchronous_commit') IN ('off', 'local'); {limit}; SELECT gatepost_era() AS era",
            (patience * 4).as_millis()
        );
        Ok(PostgresPool(Arc::new(PoolShared {
            servers: Servers::pooled(settings)?,
            permits: Arc::new(Semaphore::new(settings.read_connections as usize)),
            change_permits: Arc::new(Semaphore::new((settings.read_connections as usize - 1).max(1))),
            idle: Mutex::default(),
            patience,
            begin_read: format!("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; {limit}"),
            begin_change,
            minimum: Arc::default(),
            faults: FaultLog::of(settings.url.to_string()),
        })))
    }

    /// The state that every read must have seen.
    pub(in crate::state::store) fn minimum(&self) -> Arc<ReadMinimum> {
        self.0.minimum.clone()
    }

    /// Logs faults from now on.
    pub(in crate::state::store) fn log_faults(&self) {
        self.0.faults.turn_on();
    }

    /// Logs a fault of a row that was read.
    pub(in crate::state::store) fn note_fault(&self, fault: &StoreError) {
        self.0.faults.failed(fault);
    }

    /// Reads the only row of a statement, if it has one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also if the row is older than what is known.
    pub(in crate::state::store) async fn fetch(
        &self,
        statement: Statement,
    ) -> Result<Option<Row>, StoreError> {
        Ok(self.read(statement, "").await?.pop())
    }

    /// Reads all rows of a statement by the column `id`.
    ///
    /// # Errors
    /// As [`PostgresPool::fetch`].
    pub(in crate::state::store) async fn fetch_all(
        &self,
        statement: Statement,
    ) -> Result<Vec<Row>, StoreError> {
        self.read(statement, " ORDER BY found.id").await
    }

    /// Begins a transaction for a change.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]. Nothing was changed.
    pub(super) async fn begin_change(&self) -> Result<PooledTransaction, StoreError> {
        let permit = timeout(self.0.patience, self.0.change_permits.clone().acquire_owned()).await;
        let permit =
            permit.map_err(|_| StoreError::Unavailable("too many changes wait for others".to_owned()))?;
        let mut transaction = self.0.begin(&self.0.begin_change).await?;
        transaction.change_permit = permit.ok();
        if let Some(era) = transaction.era {
            ChangeScope::note(era);
        }
        Ok(transaction)
    }

    /// Closes the connections that nobody uses, and refuses all others from now on.
    pub(in crate::state::store) async fn close(&self) {
        self.0.permits.close();
        let idle = std::mem::take(&mut *self.0.idle.lock());
        for pooled in idle {
            let _ = timeout(self.0.patience, sqlx::Connection::close(pooled.connection)).await;
        }
    }

    async fn read(&self, statement: Statement, order: &'static str) -> Result<Vec<Row>, StoreError> {
        // Before the read: a check has noted the epochs before.
        let minimum = self.0.minimum.now();
        let shared = self.0.clone();
        // In a task of its own: if the caller stops waiting, the connection is given back nevertheless.
        let reading = tokio::spawn(async move { shared.read(statement, order, minimum).await });
        let read = reading.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
        match &read {
            Ok((_, era)) => {
                ChangeScope::note(*era);
                self.0.faults.succeeded();
            }
            Err(fault) => self.0.faults.failed(fault),
        }
        read.map(|(rows, _)| rows)
    }
}

impl PoolShared {
    /// Reads rows, and the era of their server. If they come from a primary that the others have left, the other servers are asked, too.
    async fn read(
        self: Arc<PoolShared>,
        statement: Statement,
        order: &str,
        minimum: Option<ReadState>,
    ) -> Result<(Vec<Row>, Era), StoreError> {
        let sql = format!(
            "WITH seen AS MATERIALIZED (SELECT number AS seen_number, gatepost_era() AS seen_era FROM counter LIMIT 1) \
             SELECT seen_number, seen_era, found.* FROM seen LEFT JOIN \
             (SELECT CAST(1 AS BIGINT) AS is_found, wanted.* FROM ({}) AS wanted) AS found ON true{order}",
            statement.sql()
        );
        let mut attempts = self.servers.count();
        loop {
            let mut transaction = self.begin(&self.begin_read).await?;
            let server = transaction.connection.as_ref().map(|pooled| pooled.server);
            let rows = transaction.fetch_all(statement.clone(), sql.clone()).await.map_err(unavailable)?;
            transaction.ending = "COMMIT";
            let lost = || StoreError::Unavailable("table counter has lost its row".to_owned());
            let first = rows.first().ok_or_else(lost)?;
            let seen = seen(first)?;
            if let Some(Err(stale)) = minimum.map(|minimum| minimum.check(&seen)) {
                // Closes the connection.
                transaction.connection = None;
                if let Some(server) = server {
                    self.idle.lock().retain(|pooled| pooled.server != server);
                    self.servers.leave(server);
                }
                attempts = attempts.saturating_sub(1);
                if attempts == 0 {
                    return Err(stale);
                }
                continue;
            }
            let is_found: Option<i64> = first.try_get("is_found").map_err(unavailable)?;
            let rows = match is_found {
                Some(_) => rows.into_iter().map(Row::Postgres).collect(),
                None => Vec::new(),
            };
            return Ok((rows, seen.era));
        }
    }

    /// Takes a connection, and begins a transaction on it. A connection that was lost while nobody used it is replaced.
    async fn begin(self: &Arc<PoolShared>, opening: &str) -> Result<PooledTransaction, StoreError> {
        let permit = timeout(self.patience, self.permits.clone().acquire_owned()).await;
        let permit = permit.map_err(|_| {
            StoreError::Unavailable("no connection was free in time: raise store.read_connections".to_owned())
        })?;
        let permit = permit
            .map_err(|_| StoreError::Unavailable("it is closed: the process is stopping".to_owned()))?;
        let mut transaction = PooledTransaction {
            shared: self.clone(),
            connection: None,
            is_ready: false,
            ending: "ROLLBACK",
            era: None,
            permit: Some(permit),
            change_permit: None,
        };
        let kept = self.idle.lock().pop();
        if kept.is_some() {
            transaction.connection = kept;
            match transaction.run(opening, self.patience / 2).await {
                Ok(rows) => return transaction.begun(&rows),
                Err(error) if is_lost(&error) => self.idle.lock().clear(),
                Err(error) => return Err(unavailable(error)),
            }
        }
        let hosts = u32::try_from(self.servers.count()).unwrap_or(u32::MAX).max(1);
        let (connection, server) = self.servers.connect_to(self.patience / hosts).await?;
        transaction.connection = Some(ServerConnection { connection, server });
        let rows = transaction.run(opening, self.patience).await.map_err(unavailable)?;
        transaction.begun(&rows)
    }
}

/// The state that a row was read from.
fn seen(row: &PgRow) -> Result<ReadState, StoreError> {
    let (number, era) = position(row, "seen_number", "seen_era")?;
    Ok(ReadState { number, era })
}

/// The number of the last change and the era, from two columns.
pub(super) fn position(row: &PgRow, number: &str, era_column: &str) -> Result<(u64, Era), StoreError> {
    let number: i64 = row.try_get(number).map_err(unavailable)?;
    Ok((u64::try_from(number).unwrap_or_default(), era(row, era_column)?))
}

fn era(row: &PgRow, column: &str) -> Result<Era, StoreError> {
    let era: String = row.try_get(column).map_err(unavailable)?;
    era.parse().map_err(|_| StoreError::Unavailable(format!("the era '{era}' is invalid")))
}

/// A transaction on a connection of the pool. Dropped between two statements, it is ended in the background, and its connection is given
/// back; dropped in the middle of one, the connection is closed.
pub(super) struct PooledTransaction {
    shared: Arc<PoolShared>,
    connection: Option<ServerConnection>,
    /// True between two statements.
    is_ready: bool,
    /// The statement that ends it.
    ending: &'static str,
    /// The server, if it begins a change.
    era: Option<Era>,
    permit: Option<OwnedSemaphorePermit>,
    /// The permit of a change.
    change_permit: Option<OwnedSemaphorePermit>,
}

impl PooledTransaction {
    /// Takes the rows of its beginning.
    fn begun(mut self, rows: &[PgRow]) -> Result<PooledTransaction, StoreError> {
        if let Some(row) = rows.iter().find(|row| row.try_column("era").is_ok()) {
            self.era = Some(era(row, "era")?);
        }
        Ok(self)
    }

    /// Runs a statement with its values, whose whole text is `sql`. Returns the number of its rows.
    pub(super) async fn execute(&mut self, statement: Statement, sql: String) -> Result<u64, sqlx::Error> {
        let patience = self.shared.patience;
        let connection = self.begin_statement()?;
        let done = timeout(patience, statement.for_postgres(sql).execute(connection)).await;
        self.end_statement(done, patience).map(|done| done.rows_affected())
    }

    /// Runs a statement with its values, whose whole text is `sql`. Returns its rows.
    pub(super) async fn fetch_all(
        &mut self,
        statement: Statement,
        sql: String,
    ) -> Result<Vec<PgRow>, sqlx::Error> {
        let patience = self.shared.patience;
        let connection = self.begin_statement()?;
        let done = timeout(patience, statement.for_postgres(sql).fetch_all(connection)).await;
        self.end_statement(done, patience)
    }

    /// Runs a text of statements without values, in one round trip.
    pub(super) async fn run_text(&mut self, sql: &str) -> Result<Vec<PgRow>, sqlx::Error> {
        self.run(sql, self.shared.patience).await
    }

    /// The state that every read must have seen.
    pub(super) fn minimum(&self) -> Arc<ReadMinimum> {
        self.shared.minimum.clone()
    }

    /// Ends it after a commit: its connection is outside of a transaction.
    pub(super) fn ended(mut self) {
        if let Some(connection) = self.connection.take()
            && !self.shared.permits.is_closed()
        {
            self.shared.idle.lock().push(connection);
        }
    }

    async fn run(&mut self, sql: &str, patience: Duration) -> Result<Vec<PgRow>, sqlx::Error> {
        let connection = self.begin_statement()?;
        let text = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        let done = timeout(patience, text.fetch_all(connection)).await;
        self.end_statement(done, patience)
    }

    fn begin_statement(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.is_ready = false;
        self.connection.as_mut().map(|pooled| &mut pooled.connection).ok_or(sqlx::Error::PoolClosed)
    }

    /// Closes the connection if its state is unknown.
    fn end_statement<T>(
        &mut self,
        done: Result<Result<T, sqlx::Error>, Elapsed>,
        patience: Duration,
    ) -> Result<T, sqlx::Error> {
        let done = done.unwrap_or_else(|_| {
            let late = format!("no answer within {patience:?}");
            Err(sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, late)))
        });
        match &done {
            Err(error) if is_lost(error) => self.connection = None,
            _ => self.is_ready = true,
        }
        done
    }
}

impl Drop for PooledTransaction {
    fn drop(&mut self) {
        let (true, Some(connection)) = (self.is_ready, self.connection.take()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (shared, ending, permit) = (self.shared.clone(), self.ending, self.permit.take());
        runtime.spawn(async move {
            let mut connection = connection;
            let ended =
                timeout(shared.patience, sqlx::raw_sql(ending).execute(&mut connection.connection)).await;
            if matches!(ended, Ok(Ok(_))) && !shared.permits.is_closed() {
                shared.idle.lock().push(connection);
            }
            drop(permit);
        });
    }
}
