//! The results of the statements as values of the protocol.

use sqlx::postgres::PgRow;
use sqlx::{Decode, PgExecutor, Postgres, Row, Type};

use std::time::Duration;

use super::statements;
use crate::domain::Canonical;
use crate::domain::fleet::{
    Beat, BeatReply, ChangeToken, Era, LeaseTerms, LogPosition, LogRead, LogRow, NodeId, NodeRow, NodesRead,
};
use crate::state::audit::News;
use crate::state::store::StoreError;
use crate::state::store::postgres::unavailable;

/// A row of the log as JSON: number, token and names.
type LogArray = (u64, i64, Option<Vec<String>>);
/// A row of table `node` as JSON: ID, era, beat, applied, settled.
type NodeArray = (i64, String, i64, u64, i64);

/// Runs a text of statements. Returns the rows of all of them. The caller waits for `limit`, and closes the connection then. PostgreSQL does
/// not notice that while a statement waits for a lock, so it gets a limit of its own: connections that nobody uses would pile up.
pub(super) async fn run(
    executor: impl PgExecutor<'_>,
    sql: String,
    limit: Duration,
) -> Result<Vec<PgRow>, StoreError> {
    let limit = statements::limit(limit * 5 / 4);
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("{limit}; {sql}")))
        .fetch_all(executor)
        .await
        .map_err(unavailable)
}

/// The first row that has this column: others are of statements that set something.
pub(super) fn with_column<'r>(rows: &'r [PgRow], column: &str) -> Option<&'r PgRow> {
    rows.iter().find(|row| has(row, column))
}

/// Returns true if the row has this column.
pub(super) fn has(row: &PgRow, column: &str) -> bool {
    row.try_column(column).is_ok()
}

/// The row of a statement that always returns one.
pub(super) fn only<'r>(rows: &'r [PgRow], column: &str) -> Result<&'r PgRow, StoreError> {
    with_column(rows, column).ok_or_else(|| {
        StoreError::Unavailable(format!(
            "a table of the cluster has lost its row (no {column}): restore a backup"
        ))
    })
}

/// The value of a column.
pub(super) fn value<'r, T>(row: &'r PgRow, column: &str) -> Result<T, StoreError>
where
    T: Decode<'r, Postgres> + Type<Postgres>,
{
    row.try_get(column).map_err(unavailable)
}

/// The number in a column, which is not negative.
pub(super) fn number(row: &PgRow, column: &str) -> Result<u64, StoreError> {
    let number: i64 = value(row, column)?;
    u64::try_from(number)
        .map_err(|_| StoreError::Unavailable(format!("column {column}: {number} is negative")))
}

/// The era in column `era`.
pub(super) fn era(row: &PgRow) -> Result<Era, StoreError> {
    let text: String = value(row, "era")?;
    text.parse().map_err(|error| StoreError::Unavailable(format!("column era: {error}")))
}

/// The columns of table `lease`.
pub(super) fn terms(row: &PgRow) -> Result<LeaseTerms, StoreError> {
    let duration = |column| number(row, column).map(Duration::from_millis);
    Ok(LeaseTerms {
        lease: duration("lease_ms")?,
        longest: duration("longest_ms")?,
        version: value(row, "version")?,
    })
}

/// The reply to a beat, and the used part of the notify queue; `None` if the node has no row.
pub(super) fn beat(rows: &[PgRow]) -> Result<Option<(BeatReply, f64)>, StoreError> {
    let Some(row) = with_column(rows, "acknowledged") else { return Ok(None) };
    let nodes = u32::try_from(number(row, "nodes")?).unwrap_or(u32::MAX);
    let reply = BeatReply { acknowledged: number(row, "acknowledged")?, nodes };
    Ok(Some((reply, value(row, "queue")?)))
}

/// A read of the log, with what only the driver needs of it.
pub(super) struct NodeRead {
    /// The read.
    pub(super) log: LogRead,
    /// The lines for the audit trail in its rows.
    pub(super) news: Vec<News>,
    /// True if changes are announced by NOTIFY.
    pub(super) is_announced: bool,
}

/// The result of a read of the log.
pub(super) fn log(rows: &[PgRow]) -> Result<NodeRead, StoreError> {
    let row = only(rows, "trimmed_below")?;
    let items: Vec<LogArray> = json(row, "log_rows")?;
    let news: Vec<String> = json(row, "news")?;
    let news = news.iter().filter_map(|news| serde_json::from_str(news).ok()).collect();
    let rows = items.into_iter().map(|(seq, token, names)| LogRow {
        seq,
        token: ChangeToken(token),
        names: names.and_then(|names| names.iter().map(|name| Canonical::of(name.as_bytes())).collect()),
    });
    let log = LogRead {
        era: era(row)?,
        last: LogPosition { number: number(row, "number")?, token: ChangeToken(value(row, "token")?) },
        token_at_applied: value::<Option<i64>>(row, "token_at_applied")?.map(ChangeToken),
        rows: rows.collect(),
        trimmed_below: number(row, "trimmed_below")?,
        terms: terms(row)?,
    };
    Ok(NodeRead { log, news, is_announced: value::<i64>(row, "notify")? != 0 })
}

/// A look at all nodes.
pub(super) fn nodes(rows: &[PgRow]) -> Result<NodesRead, StoreError> {
    let row = only(rows, "nodes")?;
    let items: Vec<NodeArray> = json(row, "nodes")?;
    let nodes = items.into_iter().map(|(id, era, beat, applied, settled)| NodeRow {
        id: NodeId(id),
        era: era.parse().ok(),
        beat: Beat(beat),
        applied,
        settled: settled != 0,
    });
    Ok(NodesRead { era: era(row)?, terms: terms(row)?, nodes: nodes.collect() })
}

/// The JSON array in a column; NULL is an empty one.
fn json<T: serde::de::DeserializeOwned>(row: &PgRow, column: &str) -> Result<Vec<T>, StoreError> {
    let Some(text) = value::<Option<String>>(row, column)? else { return Ok(Vec::new()) };
    serde_json::from_str(&text).map_err(|error| StoreError::Unavailable(format!("column {column}: {error}")))
}
