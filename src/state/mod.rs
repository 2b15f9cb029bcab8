//! Layer 2: the state of Gatepost: the store and the other processes that use it, the cache with its epochs and trust,
//! password hashing, the throttle, the metrics, the audit trail.

mod atomic;
pub mod audit;
pub mod cache;
pub mod clock;
pub mod cluster;
pub mod epoch;
pub mod file_access;
pub mod hashing;
pub mod last_uses;
pub mod metrics;
mod raised;
pub mod session_uses;
pub mod shell_command;
pub mod store;
pub mod throttle;
pub mod trust;
pub mod uses;

pub use cache::Cache;
pub use epoch::Epochs;
pub use hashing::{Hasher, Lane};
pub use metrics::Metrics;
