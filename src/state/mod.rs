//! Floor 2: what is remembered, on disk and in memory.

pub mod store;
