//! Floor 2: what Gatepost remembers: the store and its other users, the cache and its epochs, the password pool, the
//! throttle, the metrics.

pub mod epoch;
pub mod fleet;
pub mod store;

pub use epoch::Epochs;
