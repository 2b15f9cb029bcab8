//! Everything specific to SQLite: opening, the single writer, the counting of changes, and its files.

mod faults;
mod migrations;
mod mutation;
mod open_files;
pub(super) mod untouched;

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection as _, SqlitePool};

use self::migrations::MIGRATIONS;
use self::open_files::OpenFiles;
use super::fault_log::FaultLog;
use super::statement::Statement;
use super::{Row, StoreError};
use crate::config::StoreSettings;
use crate::state::file_access::{self, FileUse};
use crate::state::shell_command::to_type;

pub use open_files::FileId;

pub(super) use mutation::SqliteMutation;

/// The longest wait for a connection, in addition to the time that SQLite itself may wait for a lock.
const ACQUIRE_MARGIN: Duration = Duration::from_millis(500);

/// The longest time for a read, in addition to the wait for a connection. A read that hangs in the system reports no error.
const READ_MARGIN: Duration = Duration::from_millis(500);

/// The longest time for opening, in addition to the wait for locks.
const OPENING: Duration = Duration::from_secs(10);

/// The number of changes so far.
pub(super) const CHANGES: &str = "SELECT number FROM change WHERE only = 1";

/// The highest bcrypt cost up to a limit, by the index `principal_cost` and therefore with its expression.
pub(super) const HIGHEST_COST: &str = "SELECT max(CAST(substr(hash, -56, 2) AS INTEGER)) AS cost FROM principal \
     WHERE CAST(substr(hash, -56, 2) AS INTEGER) <= $1";

/// Tells the triggers that a hash is replaced by another one of the same password, which ends no session.
pub(in crate::state::store) const RENEWAL: &str = "UPDATE change SET renewing = 1 WHERE only = 1";

/// Takes a renewed hash out of the count of changes, because the password is the same, and ends what [`RENEWAL`] began.
pub(in crate::state::store) const UNCOUNT: &str =
    "UPDATE change SET number = number - 1, renewing = 0 WHERE only = 1";

/// Tells the trigger that the sessions that are deleted now have run out long ago, which is no change.
pub(in crate::state::store) const CLEARING: &str = "UPDATE change SET clearing = 1 WHERE only = 1";

/// Ends what [`CLEARING`] began.
pub(in crate::state::store) const CLEARED: &str = "UPDATE change SET clearing = 0 WHERE only = 1";

/// Moves the whole write-ahead log into the file and empties it. The first column of the answer is 0 if that was done.
const SETTLE: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// The tables of the file.
const TABLES: &str = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";

/// The number of the last migration.
const SCHEMA: &str = "SELECT max(version) FROM _sqlx_migrations";

/// Waits for the write lock at the beginning of a transaction. In its middle, SQLite cannot wait any more.
pub(super) const BEGIN: &str = "BEGIN IMMEDIATE";

/// The connections: one that writes, some that read.
#[derive(Clone)]
pub(super) struct Pools {
    pub(super) writer: SqlitePool,
    /// The connections for [`Pools::read`].
    pub(super) readers: SqlitePool,
    patience: Duration,
    path: Arc<Path>,
    files: Arc<OpenFiles>,
    faults: Arc<FaultLog>,
    /// True if opening has created the file.
    pub(super) made: bool,
}

/// The reaction to a missing file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    Make,
    Refuse,
}

impl Pools {
    /// Opens the file and migrates the schema. A missing file may be created (mode 0600), with its directory.
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
        let refuse_file = |e: std::io::Error| refuse(file_access::explain(path, FileUse::Own, &e));
        let before = open_files::id(path).map_err(refuse_file)?;
        let writer = pool(options.clone(), 1, settings.busy_timeout).await.map_err(&refuse)?;
        let mut connection = writer.acquire().await.map_err(|error| refuse(faults::in_words(&error)))?;
        check_schema(&mut connection).await.map_err(|fault| refuse(fault.text))?;
        drop(connection);
        MIGRATIONS.run(&writer).await.map_err(|e| refuse(faults::in_words(&e.into())))?;
        drop(lock);

        let options = options.pragma("query_only", "on");
        let readers =
            pool(options, settings.read_connections, settings.busy_timeout).await.map_err(&refuse)?;
        let files = OpenFiles::of(path).map_err(refuse_file)?;
        if files.id() != before {
            return Err(refuse("it was replaced while it was opened: try again".to_owned()));
        }
        let patience = settings.busy_timeout + ACQUIRE_MARGIN + READ_MARGIN;
        let faults = Arc::new(FaultLog::of(path.display().to_string()));
        let (path, files) = (path.into(), Arc::new(files));
        Ok(Pools { writer, readers, patience, path, files, faults, made })
    }

    /// The device and inode of the database file.
    pub(super) fn file_id(&self) -> FileId {
        self.files.id()
    }

    /// Checks that the path still leads to the open files.
    pub(super) fn verify_files(&self) -> Result<(), StoreError> {
        self.files.verify().map_err(StoreError::Replaced)
    }

    /// Calls `hook` whenever the files are found replaced.
    pub(super) fn on_replaced(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.files.on_replaced(hook);
    }

    /// The path of the database file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the only row of a statement, if it has one.
    pub(super) async fn fetch(&self, statement: Statement) -> Result<Option<Row>, StoreError> {
        let row = self.read(statement.for_sqlite().fetch_optional(&self.readers)).await?;
        Ok(row.map(Row::Sqlite))
    }

    /// Reads all rows of a statement.
    pub(super) async fn fetch_all(&self, statement: Statement) -> Result<Vec<Row>, StoreError> {
        let rows = self.read(statement.for_sqlite().fetch_all(&self.readers)).await?;
        Ok(rows.into_iter().map(Row::Sqlite).collect())
    }

    /// Logs a fault of a row that was read.
    pub(super) fn note_fault(&self, fault: &StoreError) {
        self.faults.failed(fault);
    }

    /// Logs faults from now on.
    pub(super) fn log_faults(&self) {
        self.faults.turn_on();
    }

    /// The result of a read within bounded time. SQLite limits its wait for locks, but not its wait for a disk.
    pub(super) async fn read<T>(
        &self,
        reading: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, StoreError> {
        let read = match self.verify_files() {
            Ok(()) => match tokio::time::timeout(self.patience, reading).await {
                Ok(read) => read.map_err(unavailable),
                Err(_) => Err(StoreError::Unavailable(format!("no answer within {:?}", self.patience))),
            },
            Err(replaced) => Err(replaced),
        };
        match &read {
            Ok(_) => self.faults.succeeded(),
            Err(fault) => self.faults.failed(fault),
        }
        read
    }

    /// Moves the write-ahead log into the open file, wherever that is now, so that nothing of it is left for another file at its
    /// path. Returns true if it is empty then.
    pub(super) async fn settle(&self) -> bool {
        if self.files.successor().is_none() || self.files.has_lost_companion() {
            return true;
        }
        let settled = sqlx::query_scalar(SETTLE).fetch_one(&self.writer);
        matches!(tokio::time::timeout(self.patience, settled).await, Ok(Ok(0_i64)))
    }

    /// Closes the connections after all running statements have ended. Leaves nothing beside a file that has replaced the open one.
    pub(super) async fn close(&self) {
        if self.files.has_lost_companion() {
            return;
        }
        self.settle().await;
        self.readers.close().await;
        // The last connection moves the write-ahead log into the file. Connections that only read cannot do that. If the file is
        // no longer at its path, SQLite writes nothing, and leaves the log where it is.
        self.writer.close().await;
        if let Some(Some(_)) = self.files.successor() {
            self.files.remove_companions();
        }
    }
}

/// A pool with all its connections open from the start. Opening one later takes file handles, which a busy gateway may not have.
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
            Err(error) => return Err(faults::in_words(&error)),
        }
    }
    Ok(pool)
}

/// The number of the last migration that this version knows.
pub(super) fn known_schema() -> i64 {
    MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or_default()
}

/// The reason for which the schema cannot be used.
struct SchemaFault {
    text: String,
    /// True if another process is in the way, which says nothing about the file.
    is_busy: bool,
}

impl From<sqlx::Error> for SchemaFault {
    fn from(error: sqlx::Error) -> SchemaFault {
        let is_busy = faults::is_busy(&error);
        SchemaFault { text: faults::in_words(&error), is_busy }
    }
}

/// Checks that the schema is none of a later version or of another program. Returns true if it is that of an earlier version.
async fn check_schema(connection: &mut SqliteConnection) -> Result<bool, SchemaFault> {
    let fault = |text| Err(SchemaFault { text, is_busy: false });
    let tables: Vec<String> = sqlx::query_scalar(TABLES).fetch_all(&mut *connection).await?;
    if !tables.iter().any(|table| table == "_sqlx_migrations") {
        return if tables.is_empty() { Ok(false) } else { fault(faults::FOREIGN.to_owned()) };
    }
    let found: Option<i64> = sqlx::query_scalar(SCHEMA).fetch_one(connection).await?;
    let known = known_schema();
    match found {
        Some(found) if found > known => fault(faults::newer(found, known)),
        found => Ok(found.is_some_and(|found| found < known)),
    }
}

/// Checks the content of a database file without a change to it or beside it. Returns true if it has to be migrated, and can be. A missing
/// file is good.
pub(super) async fn inspect(path: &Path) -> Result<bool, String> {
    if !path.exists() {
        return Ok(false);
    }
    let mut log = path.canonicalize().unwrap_or_else(|_| path.to_path_buf()).into_os_string();
    log.push("-wal");
    // Without a log, nobody has the file open, and nothing has to be created to read it.
    let has_log = PathBuf::from(log).metadata().is_ok_and(|metadata| metadata.len() > 0);
    let options = SqliteConnectOptions::new().filename(path).read_only(true).immutable(!has_log);
    let checked = async {
        let mut connection = options.disable_statement_logging().connect().await?;
        let checked = check_schema(&mut connection).await;
        connection.close().await?;
        checked
    };
    match checked.await {
        Err(fault) if !fault.is_busy => Err(fault.text),
        Ok(true) => file_access::check_writable(path).map(|()| true).map_err(|reason| {
            format!("it was made by an older version of Gatepost and has to be migrated, and cannot be written: {reason}")
        }),
        _ => Ok(false),
    }
}

/// Checks that a connection can begin a transaction. If a disk is full, SQLite may roll back a transaction by itself. The
/// rollback of the driver fails then, and from there on the driver assumes that it is within that transaction.
async fn is_out_of_transaction(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    if connection.is_in_transaction() {
        // The thread of the connection rolls back an abandoned transaction before it answers this.
        connection.ping().await?;
    }
    Ok(!connection.is_in_transaction())
}

/// An error of the database that says nothing about the request.
pub(super) fn unavailable(error: sqlx::Error) -> StoreError {
    StoreError::Unavailable(faults::in_words(&error))
}

/// Creates directory and file as needed; true if it created the file. The lock keeps other processes from migrating the
/// same file at the same time.
fn prepare(file: &Path, patience: Duration, missing: Missing) -> Result<(File, bool), String> {
    let refuse_file = |e: std::io::Error| file_access::explain(file, FileUse::Own, &e);
    if missing == Missing::Refuse && !file.try_exists().map_err(refuse_file)? {
        let reason = refuse_file(std::io::ErrorKind::NotFound.into());
        return Err(format!("{reason}; `gatepost serve` and `gatepost account add` make one"));
    }
    let folder = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    };
    let place = |e: std::io::Error| {
        format!("its directory {}: {}", folder.display(), file_access::explain(&folder, FileUse::Fill, &e))
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(place)?;
    let lock = File::open(&folder).map_err(place)?;
    let deadline = Instant::now() + patience;
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(e)) => return Err(place(e)),
            Err(TryLockError::WouldBlock) if Instant::now() >= deadline => {
                return Err(format!("its directory {} is locked by another process", folder.display()));
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    // SQLite gives its other files the mode of this one. Nobody else may read password hashes.
    let made = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(_) => true,
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => false,
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => return Err(place(e)),
        Err(e) => return Err(refuse_file(e)),
    };
    check_access(file)?;
    Ok((lock, made))
}

/// Checks the files of a database and its directory, without opening them.
///
/// # Errors
/// The text for the operator.
pub fn check_access(file: &Path) -> Result<(), String> {
    file_access::check_file(file, FileUse::Own)?;
    for end in ["-wal", "-shm"] {
        let mut beside = file.canonicalize().unwrap_or_else(|_| file.to_path_buf()).into_os_string();
        beside.push(end);
        let beside = PathBuf::from(beside);
        if beside.exists() {
            let reason = |reason| format!("its file {}: {reason}", beside.display());
            file_access::check_file(&beside, FileUse::Own).map_err(reason)?;
            if file_access::check_writable(file).is_ok() && file_access::check_writable(&beside).is_err() {
                let shown = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
                let help = to_type(&shown, |shown| format!("chmod 0600 {shown}-wal {shown}-shm"));
                return Err(format!(
                    "its file {} cannot be written, and the database can{help}",
                    beside.display()
                ));
            }
        }
    }
    let real = file.canonicalize().unwrap_or_else(|_| file.to_path_buf());
    let folder = real.parent().unwrap_or(&real);
    let reason = |reason| format!("its directory {}: {reason}", folder.display());
    file_access::check_directory(folder).map(drop).map_err(reason)
}
