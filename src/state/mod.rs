//! Floor 2: what Gatepost remembers: the cache and its epochs, the password pool, the throttle, the metrics.

pub mod epoch;
pub mod metrics;

pub use epoch::Epochs;
pub use metrics::Metrics;
