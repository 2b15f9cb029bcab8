//! The parts that are specific to SQLite: opening, the single writer, the number of changes, and the names of its errors.

mod migrations;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, SqlitePool, Transaction};

use self::migrations::MIGRATIONS;
use super::{Change, MutationError, StoreError};
use crate::config::StoreSettings;
use crate::domain::{AccountError, Canonical};

pub(super) use sqlx::Sqlite as Database;
pub(super) use sqlx::sqlite::{SqliteConnection as Connection, SqliteRow as Row};

/// A statement with its values.
pub(super) type Query<'q> = sqlx::query::Query<'q, Database, SqliteArguments>;

/// The time to wait for a connection, in addition to the time for which SQLite itself may wait for a lock.
const ACQUIRE_MARGIN: Duration = Duration::from_millis(500);

/// The time for a read, in addition to the wait for a connection: a read that hangs in the system reports nothing.
const READ_MARGIN: Duration = Duration::from_millis(500);

/// The time for opening, in addition to the wait for locks.
const OPENING: Duration = Duration::from_secs(10);

/// Reads the number of changes so far.
pub(super) const CHANGES: &str = "SELECT number FROM change WHERE only = 1";

/// The highest bcrypt cost up to a limit, by the index `principal_cost` and so in its words.
pub(super) const HIGHEST_COST: &str = "SELECT max(CAST(substr(hash, -56, 2) AS INTEGER)) FROM principal \
     WHERE CAST(substr(hash, -56, 2) AS INTEGER) <= $1";

/// A renewed hash is no change: the password that opens it is the same.
pub(super) const UNCOUNT: &str = "UPDATE change SET number = number - 1 WHERE only = 1";

/// Writing waits for the write lock when it begins, not in its middle, where waiting is no longer possible.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The connections: one that writes, some that read.
#[derive(Clone)]
pub(super) struct Pools {
    pub(super) writer: SqlitePool,
    /// To be asked with [`Pools::read`].
    pub(super) readers: SqlitePool,
    patience: Duration,
    /// True if opening has created the file.
    pub(super) made: bool,
}

/// The action for a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

impl Pools {
    /// Opens the file and brings the schema up to date. Where it isn't there, it may be made (mode 0600), with its folder.
    pub(super) async fn open(
        path: &Path,
        settings: &StoreSettings,
        missing: Missing,
    ) -> Result<Pools, StoreError> {
        let refuse = |detail: String| StoreError::Open { path: path.display().to_string(), detail };

        let (file, patience) = (path.to_path_buf(), settings.busy_timeout + OPENING);
        let (lock, made) = tokio::task::spawn_blocking(move || prepare(&file, patience, missing))
            .await
            .map_err(|e| refuse(e.to_string()))?
            .map_err(&refuse)?;

        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(settings.busy_timeout)
            .pragma("journal_size_limit", "67108864")
            .disable_statement_logging();
        let writer = pool(options.clone(), 1, settings.busy_timeout).await.map_err(&refuse)?;
        MIGRATIONS.run(&writer).await.map_err(|e| refuse(e.to_string()))?;
        drop(lock);

        let options = options.pragma("query_only", "on");
        let readers =
            pool(options, settings.read_connections, settings.busy_timeout).await.map_err(&refuse)?;
        let patience = settings.busy_timeout + ACQUIRE_MARGIN + READ_MARGIN;
        Ok(Pools { writer, readers, patience, made })
    }

    /// Waits for a read within a bounded time: SQLite waits for locks only as long as configured, but for a disk without limit.
    pub(super) async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        match tokio::time::timeout(self.patience, reading).await {
            Ok(read) => read.map_err(unavailable),
            Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.patience))),
        }
    }

    /// Once what is under way has ended.
    pub(super) async fn close(&self) {
        self.readers.close().await;
        // The last one puts the log back into the file, and those that only read can't.
        self.writer.close().await;
    }
}

/// A pool with all its connections open from the start: opening one takes file handles, and a busy gateway may have run
/// out of them.
async fn pool(
    options: SqliteConnectOptions,
    connections: u32,
    busy_timeout: Duration,
) -> Result<SqlitePool, String> {
    let connections = connections.max(1);
    let pool = SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(busy_timeout + ACQUIRE_MARGIN)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_release(|connection, _| Box::pin(is_out_of_transaction(connection)))
        .connect_lazy_with(options);
    let deadline = Instant::now() + busy_timeout + OPENING;
    let mut opened = Vec::new();
    while opened.len() < connections as usize {
        match pool.acquire().await {
            Ok(connection) => opened.push(connection),
            // A slow disk or a busy machine may take longer to open a file than a request may wait for a connection.
            Err(sqlx::Error::PoolTimedOut) if Instant::now() < deadline => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(pool)
}

/// Checks that a connection can begin a transaction. On a full disk, SQLite may roll a transaction back by itself. The driver's own
/// rollback then fails, and the driver assumes from then on that it is within that transaction.
async fn is_out_of_transaction(connection: &mut Connection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // What was given up is rolled back by the thread of the connection, before it answers this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// One transaction that changes something, and what it was for the others.
pub(super) struct Mutation {
    transaction: Transaction<'static, Database>,
    before: i64,
}

impl Mutation {
    pub(super) async fn begin(pools: &Pools) -> Result<Mutation, StoreError> {
        let mut transaction = pools.writer.begin_with(BEGIN).await.map_err(unavailable)?;
        let before = sqlx::query_scalar(CHANGES).fetch_one(&mut *transaction).await.map_err(unavailable)?;
        Ok(Mutation { transaction, before })
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        &mut self.transaction
    }

    /// Ends with the change on disk. An error leaves it open whether it is.
    pub(super) async fn commit(mut self, name: Canonical) -> Result<Change, StoreError> {
        let upto =
            sqlx::query_scalar(CHANGES).fetch_one(&mut *self.transaction).await.map_err(unavailable)?;
        self.transaction.commit().await.map_err(unavailable)?;
        Ok(Change { after: self.before, upto, name, ends_login: false })
    }
}

/// An error of the database that says nothing about the request.
pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

/// Constraints by their names; everything else is the store's own trouble.
pub(super) fn refusal(error: sqlx::Error) -> MutationError {
    let constraint = error.as_database_error().map(|e| e.message()).unwrap_or_default();
    if constraint.contains("'principal_name_taken'") {
        AccountError::NameTaken.into()
    } else {
        MutationError::Store(unavailable(error))
    }
}

/// Sees to the folder and the file (with whether it made it), and holds off other processes that would migrate the same file at the same time.
fn prepare(file: &Path, patience: Duration, missing: Missing) -> Result<(File, bool), String> {
    if missing == Missing::Refuse && !file.try_exists().map_err(|e| e.to_string())? {
        return Err("there is no such file; `gatepost serve` and `gatepost account add` make one".to_owned());
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let place = |e: std::io::Error| format!("{}: {e}", folder.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(place)?;
    let lock = File::open(&folder).map_err(place)?;
    let deadline = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(place(e)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(format!("{} is locked by another process", folder.display()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    // SQLite gives its side files the mode of this one: password hashes are for nobody else to read.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => Ok((lock, true)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok((lock, false)),
        Err(e) => Err(e.to_string()),
    }
}
