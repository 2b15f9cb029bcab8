//! Floor 2: what Gatepost remembers: the store and its other users, the cache and its epochs, the password pool, the
//! throttle, the metrics, the audit trail.

pub mod audit;
pub mod cache;
pub mod cluster;
pub mod epoch;
pub mod hashing;
pub mod metrics;
pub mod store;
pub mod throttle;

pub use cache::Cache;
pub use epoch::Epochs;
pub use hashing::{Hasher, Lane};
pub use metrics::Metrics;
