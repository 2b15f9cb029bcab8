//! Everything specific to PostgreSQL: connecting, its pool, reads that must have seen what is known, changes and their place in the log,
//! the schema, and its errors in words.

mod connect;
mod faults;
mod mutation;
mod pool;
mod read_minimum;
mod schema;

pub(in crate::state) use connect::Servers;
pub use connect::check_password;
pub(in crate::state) use faults::unavailable;
pub(super) use mutation::PostgresMutation;
pub(super) use pool::PostgresPool;
pub use read_minimum::ReadMinimum;
pub(super) use schema::{DatabaseFault, SchemaState, examine, migrate};

/// The number of changes so far.
pub(super) const CHANGES: &str = "SELECT number FROM counter";

/// The highest bcrypt cost up to a limit, by the index `principal_cost` and therefore with its expression.
pub(super) const HIGHEST_COST: &str = "SELECT \
     max(CAST(substring(hash FROM '([0-9]{2})[$].{53}$') AS BIGINT)) AS cost FROM principal \
     WHERE CAST(substring(hash FROM '([0-9]{2})[$].{53}$') AS BIGINT) <= $1";
