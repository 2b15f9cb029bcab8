//! The statements of the cluster on PostgreSQL. They contain their values, which are numbers and texts of this program: a pooler of
//! transactions keeps no prepared statements.
//!
//! Several statements in one text are one transaction. Settings of a transaction end with it, so they reach no other client of a
//! pooler.
//!
//! Tables of one row have a `LIMIT 1`. Without it, PostgreSQL takes a join of them for one of many rows until they are analyzed, and
//! compiles the query (`jit`), which takes half a second.

use std::time::Duration;

use crate::domain::fleet::{Beat, Era, LogPosition, NodeId};

/// The channel of the triggers that announce changes.
pub(super) const CHANNEL: &str = "gatepost";

/// The most rows of the log that one read returns. Beyond that, dropping all cached data is cheaper than dropping each name.
const MOST_ROWS: u32 = 20_000;
/// The most names in them. A read must end within the time for a step, however much was changed meanwhile.
const MOST_NAMES: u32 = 50_000;
/// The most rows whose lines for the audit trail are read. Other nodes write those that a node misses that was cut off for longer.
const MOST_ROWS_OF_NEWS: u32 = 100_000;
/// The same for a node that has applied nothing, and drops everything in any case.
const MOST_FIRST_ROWS: u32 = 500;
/// The most rows that are trimmed at a time, so that no beat is late.
const MOST_TRIMMED: u32 = 50_000;
/// The rows of the log that stay, whatever nodes have applied.
const LONGEST_LOG: u32 = 1_000_000;
/// The key of the lock that lets one node trim at a time: `gatepost` in ASCII.
const TRIM_LOCK: i64 = 0x6761_7465_706f_7374;

/// Lets the transaction wait for the disk, or for the standby if one is synchronous, whatever the role's setting is.
const SYNCHRONOUS: &str = "SELECT set_config('synchronous_commit', 'on', true) \
     WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// Limits the time of each later statement of the transaction, but not the wait of its commit for a standby.
pub(super) fn limit(limit: Duration) -> String {
    format!("SELECT set_config('statement_timeout', '{}', true)", limit.as_millis().max(1))
}

/// The present era.
pub(super) const ERA: &str = "SELECT gatepost_era() AS era";

/// A notification on a channel of one's own.
pub(super) fn notify(channel: &str) -> String {
    format!("NOTIFY {channel}")
}

/// The registration of a node, in this era only. Returns the ID.
pub(super) fn register(id: NodeId, beat: Beat, era: Era) -> String {
    format!(
        "{SYNCHRONOUS}; INSERT INTO node (id, era, beat, applied, settled, version) \
         SELECT {id}, '{era}', {beat}, 0, 0, '{version}' WHERE gatepost_era() = '{era}' RETURNING id",
        id = id.0,
        beat = beat.0,
        version = env!("CARGO_PKG_VERSION"),
    )
}

/// A beat. Returns `acknowledged`, `nodes` and `queue`; no row if the node has none.
pub(super) fn beat(id: NodeId) -> String {
    format!(
        "{SYNCHRONOUS}; UPDATE node SET beat = beat + 1, beat_at = now() WHERE id = {} \
         RETURNING applied AS acknowledged, (SELECT count(*) FROM node) AS nodes, pg_notification_queue_usage() AS queue",
        id.0
    )
}

/// All that a node reads of the log, in one statement: `era`, `number`, `token`, `trimmed_below`, `lease_ms`, `longest_ms`, `version`,
/// `notify`, `token_at_applied`, and the rows above `applied` as a JSON array of arrays, or NULL; `news` is an array of their lines for the
/// audit trails, which are read further than the rows.
pub(super) fn read(applied: u64) -> String {
    let (most, most_news) = match applied {
        0 => (MOST_FIRST_ROWS, MOST_FIRST_ROWS),
        _ => (MOST_ROWS, MOST_ROWS_OF_NEWS),
    };
    format!(
        "SELECT gatepost_era() AS era, counter.number, counter.token, log_trimmed_below.number AS trimmed_below, \
         lease_ms, longest_ms, version, notify, (SELECT token FROM log WHERE seq = {applied}) AS token_at_applied, \
         (SELECT json_agg(news ORDER BY seq)::text FROM log WHERE seq > {applied} AND seq <= {applied} + {most_news} \
         AND news IS NOT NULL) AS news, \
         (SELECT json_agg(json_build_array(seq, token, names) ORDER BY seq)::text FROM \
         (SELECT seq, token, names, sum(coalesce(cardinality(names), 0)) OVER (ORDER BY seq) AS total \
         FROM log WHERE seq > {applied} ORDER BY seq LIMIT {most}) AS above WHERE total <= {MOST_NAMES}) AS log_rows \
         FROM (SELECT number, token FROM counter LIMIT 1) AS counter, \
         (SELECT number FROM log_trimmed_below LIMIT 1) AS log_trimmed_below, \
         (SELECT lease_ms, longest_ms, version, notify FROM lease LIMIT 1) AS lease"
    )
}

/// An acknowledgement. It writes nothing if the number stands for another change by now. Losing it in a crash does no harm.
pub(super) fn acknowledge(id: NodeId, position: LogPosition) -> String {
    format!(
        "SELECT set_config('synchronous_commit', 'off', true); UPDATE node SET applied = {number} WHERE id = {id} \
         AND EXISTS (SELECT FROM log WHERE seq = {number} AND token = {token})",
        number = position.number,
        token = position.token.0,
        id = id.0,
    )
}

/// The note in the node's row that it has known the era for the longest lease.
pub(super) fn mark_settled(id: NodeId, era: Era) -> String {
    format!(
        "{SYNCHRONOUS}; UPDATE node SET settled = 1 WHERE id = {} AND era = '{era}' AND gatepost_era() = '{era}'",
        id.0
    )
}

/// The removal of log rows that every node has applied and that are older than ten minutes, and of all but the last million. The last
/// row always stays. Does nothing while another node does the same.
pub(super) fn trim() -> String {
    format!(
        "SELECT set_config('synchronous_commit', 'off', true); \
         WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock({TRIM_LOCK}) AS is_mine), \
         gone AS (DELETE FROM log USING turn, (SELECT number FROM counter LIMIT 1) AS counter \
         WHERE turn.is_mine AND log.seq < counter.number \
         AND log.seq < (SELECT min(seq) FROM log) + {MOST_TRIMMED} \
         AND (log.seq <= counter.number - {LONGEST_LOG} OR log.logged_at < now() - interval '10 minutes' \
         AND log.seq < (SELECT min(applied) FROM node)) RETURNING log.seq) \
         UPDATE log_trimmed_below SET number = greatest(number, (SELECT max(seq) + 1 FROM gone)) \
         WHERE EXISTS (SELECT FROM gone)"
    )
}

/// The removal of the node's own row.
pub(super) fn leave(id: NodeId) -> String {
    format!("DELETE FROM node WHERE id = {}", id.0)
}

/// All that a wait for a revocation depends on, in one statement: `era`, `lease_ms`, `longest_ms`, `version`, and the rows of all nodes as
/// a JSON array of arrays, or NULL.
pub(super) const LOOK: &str = "SELECT gatepost_era() AS era, lease_ms, longest_ms, version, \
     (SELECT json_agg(json_build_array(id, era, beat, applied, settled))::text FROM node) AS nodes FROM lease LIMIT 1";

/// The removal of the row of a node that was silent for this many milliseconds, if that is as long as the longest lease.
pub(super) fn delete(id: NodeId, beat: Beat, silence_ms: u128) -> String {
    format!(
        "DELETE FROM node WHERE id = {} AND beat = {} AND (SELECT longest_ms FROM lease) <= {silence_ms}",
        id.0, beat.0
    )
}

/// A write after which everything that was seen before is on disk, and on the standby. Returns `era` and `number` of now.
pub(super) fn settle() -> String {
    format!(
        "{SYNCHRONOUS}; SELECT gatepost_era() AS era, number, \
         pg_logical_emit_message(true, 'gatepost', 'settle')::text AS written FROM counter LIMIT 1"
    )
}

/// The first step of a change of the lease. Returns `lease_ms`, `longest_ms` and `version`.
pub(super) fn begin_lease(lease_ms: u128) -> String {
    format!(
        "{SYNCHRONOUS}; UPDATE lease SET lease_ms = least(lease_ms, {lease_ms}), longest_ms = greatest(longest_ms, {lease_ms}), \
         version = version + 1 WHERE one RETURNING lease_ms, longest_ms, version"
    )
}

/// The last step of a change of the lease. Returns `version` if it is still that of the first step.
pub(super) fn finish_lease(lease_ms: u128, version: i64) -> String {
    format!(
        "{SYNCHRONOUS}; UPDATE lease SET lease_ms = {lease_ms}, longest_ms = {lease_ms} WHERE version = {version} \
         RETURNING version"
    )
}

/// All nodes, for the operator: `id`, `version`, `era`, `age` of the last beat in seconds, `applied`, `lag` and `settled`.
pub(super) const NODES: &str = "SELECT id, version, era, greatest(0, extract(epoch FROM clock_timestamp() - beat_at))::float8 AS age, \
     applied, greatest(0, counter.number - applied) AS lag, settled FROM node, (SELECT number FROM counter LIMIT 1) AS counter ORDER BY id";
