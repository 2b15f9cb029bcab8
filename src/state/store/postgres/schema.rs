//! The schema in PostgreSQL: its migrations, and what a server must be like.
//!
//! Two neighbouring versions of Gatepost run side by side on one database, so migrations only add. Table `oldest_schema` has the number of
//! the lowest schema whose version may still run. A migration that removes something, many versions later, raises it.

use std::sync::LazyLock;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Connection as _, Row as _};
use tokio::time::timeout;

use super::connect::Servers;
use super::faults::{in_words, is_lost};
use crate::config::StoreSettings;
use crate::state::store::StoreError;
use crate::state::store::migrations::{ListedMigration, migrator};

/// The lowest version of PostgreSQL, in the form of `server_version_num`.
const OLDEST_SERVER: u32 = 140_000;
/// The longest time for migrations, with the wait for other processes that migrate.
const MIGRATING: Duration = Duration::from_secs(600);
/// The key of the lock that one process at a time migrates under: `gatemigr` in ASCII.
const MIGRATION_LOCK: i64 = 0x6761_7465_6d69_6772;
/// The longest time for a connection at the start, if `store.busy_timeout` is shorter.
const CONNECTING: Duration = Duration::from_secs(5);

/// Brings the schema of any released version up to date.
static MIGRATIONS: LazyLock<Migrator> = LazyLock::new(|| {
    let mut migrator = migrator(LISTED);
    // Those of the next version.
    migrator.set_ignore_missing(true);
    // Its lock would be one of the session.
    migrator.set_locking(false);
    migrator
});

const LISTED: &[ListedMigration] = &[
    (1, "principal", include_str!("migrations/0001_principal.sql")),
    (2, "oldest schema", include_str!("migrations/0002_oldest_schema.sql")),
    (3, "session", include_str!("migrations/0003_session.sql")),
    (4, "credential list", include_str!("migrations/0004_credential_list.sql")),
];

/// The state of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::state::store) enum SchemaState {
    /// Absence of a schema.
    Missing,
    /// Some migrations are missing.
    Older,
    /// Usable by this version.
    Usable,
}

/// The reason for which a database cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::state::store) enum DatabaseFault {
    /// Absence of a server that answers as a primary, for now.
    Unreachable(String),
    /// The server or the schema is not one that can be used.
    Unfit(String),
}

impl DatabaseFault {
    /// The error of the store at that place.
    pub(in crate::state::store) fn at(self, path: String) -> StoreError {
        let (DatabaseFault::Unreachable(detail) | DatabaseFault::Unfit(detail)) = self;
        StoreError::Open { path, detail }
    }
}

impl From<sqlx::Error> for DatabaseFault {
    fn from(error: sqlx::Error) -> DatabaseFault {
        match is_lost(&error) {
            true => DatabaseFault::Unreachable(in_words(&error)),
            false => DatabaseFault::Unfit(in_words(&error)),
        }
    }
}

/// Examines the server and the schema, and changes nothing.
pub(in crate::state::store) async fn examine(settings: &StoreSettings) -> Result<SchemaState, DatabaseFault> {
    let mut connection = connect(settings).await?;
    let state = state(&mut connection).await;
    let _ = timeout(CONNECTING, connection.close()).await;
    state
}

/// Examines the server and the schema, and migrates it unless it is up to date. Returns true if there was none. Processes that do so
/// at once wait for each other.
pub(in crate::state::store) async fn migrate(
    settings: &StoreSettings,
    may_create: bool,
) -> Result<bool, DatabaseFault> {
    let mut connection = connect(settings).await?;
    let state = state(&mut connection).await?;
    match state {
        SchemaState::Usable => {}
        SchemaState::Missing if !may_create => {
            let text = "the database has no tables of Gatepost yet; `gatepost serve` and `gatepost account add` create them";
            return Err(DatabaseFault::Unfit(text.to_owned()));
        }
        SchemaState::Missing | SchemaState::Older => {
            let migrated = timeout(MIGRATING, run_missing(&mut connection)).await;
            let late =
                |_| DatabaseFault::Unreachable("the migration of the schema takes too long".to_owned());
            migrated.map_err(late)??;
        }
    }
    let _ = timeout(CONNECTING, connection.close()).await;
    Ok(state == SchemaState::Missing)
}

/// Runs the migrations that are missing, all of them in one transaction. Behind a pooler of transactions, a lock of the session would stay on
/// a connection that others get next, and a statement that is prepared outside of a transaction may be unknown where it is executed.
async fn run_missing(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    // Who waits for the lock has to see what was committed meanwhile, whatever isolation the role has by default.
    let mut transaction = connection.begin_with("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
    let limits = format!(
        "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {}; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})",
        MIGRATING.as_millis()
    );
    sqlx::raw_sql(AssertSqlSafe(limits)).execute(&mut *transaction).await?;
    MIGRATIONS.run_direct(None, &mut *transaction, false).await?;
    transaction.commit().await
}

async fn connect(settings: &StoreSettings) -> Result<PgConnection, DatabaseFault> {
    let unreachable = |error: StoreError| DatabaseFault::Unreachable(error.reason().to_owned());
    let servers = Servers::direct(settings).map_err(unreachable)?;
    servers.connect(settings.busy_timeout.max(CONNECTING)).await.map_err(|error| match error {
        StoreError::Open { detail, .. } => DatabaseFault::Unfit(detail),
        error => unreachable(error),
    })
}

async fn state(connection: &mut PgConnection) -> Result<SchemaState, DatabaseFault> {
    let unfit = |text: String| Err(DatabaseFault::Unfit(text));
    if let Some(version) = connection.server_version_num().filter(|version| *version < OLDEST_SERVER) {
        let (found, oldest) = (version / 10_000, OLDEST_SERVER / 10_000);
        return unfit(format!("it is PostgreSQL {found}: version {oldest} or later is required"));
    }
    let facts = "SELECT current_setting('fsync') AS fsync, to_regclass('_sqlx_migrations') IS NOT NULL AS has_schema, \
                 to_regclass('principal') IS NOT NULL AS has_table";
    let facts = only(connection, facts).await?;
    if facts.try_get::<String, _>("fsync")? != "on" {
        return unfit(
            "its setting fsync is off, so what was committed could be lost at a power failure: \
             set fsync = on in postgresql.conf and restart the server"
                .to_owned(),
        );
    }
    if !facts.try_get::<bool, _>("has_schema")? {
        return match facts.try_get::<bool, _>("has_table")? {
            true => unfit(
                "it is a database of another program, with a table principal: check store.url".to_owned(),
            ),
            false => Ok(SchemaState::Missing),
        };
    }
    let found = "SELECT coalesce(max(version), 0) AS version, to_regclass('oldest_schema') IS NOT NULL AS has_oldest \
                 FROM _sqlx_migrations WHERE success";
    let row = only(connection, found).await?;
    let (found, known): (i64, i64) = (row.try_get("version")?, known_schema());
    if found > known {
        let oldest = match row.try_get::<bool, _>("has_oldest")? {
            true => only(connection, "SELECT number FROM oldest_schema").await?.try_get("number")?,
            false => i64::MAX,
        };
        if known < oldest {
            return unfit(format!(
                "this database was made by a newer version of Gatepost (schema {found}; this one knows {known}, and {oldest} \
                 is the oldest that may still run): install that version, or restore a backup from before the update"
            ));
        }
    }
    Ok(match found {
        0 => SchemaState::Missing,
        found if found < known => SchemaState::Older,
        _ => SchemaState::Usable,
    })
}

/// Runs a statement that returns one row, without preparing it.
async fn only(connection: &mut PgConnection, sql: &'static str) -> Result<PgRow, DatabaseFault> {
    let row = timeout(CONNECTING, sqlx::raw_sql(sql).fetch_one(connection)).await;
    let late = |_| DatabaseFault::Unreachable(format!("no answer within {CONNECTING:?}"));
    Ok(row.map_err(late)??)
}

/// The number of the last migration that this version knows.
fn known_schema() -> i64 {
    LISTED.iter().map(|(version, ..)| *version).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed_and_released_ones_stay_as_they_are() {
        let checksums = ["e6cea9bd", "d4b6b3fc"];
        crate::state::store::migrations::expect_listed("postgres", LISTED, &checksums);
    }
}
