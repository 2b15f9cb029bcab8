//! The atomics of the standard library, which a test replaces by those of loom.

pub(super) use std::sync::atomic::{AtomicU64, Ordering};
