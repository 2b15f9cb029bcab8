//! The last look before a backend is given anything of a transaction.

use std::sync::Arc;

use crate::service::access::Access;

/// The question if what was decided may still be forwarded. It is asked after each wait for a connection to a backend, which may have
/// outlasted the trust that the decision was made in.
#[derive(Clone)]
pub struct LastLook(Arc<dyn Fn() -> bool + Send + Sync>);

impl LastLook {
    /// The last look of that decision.
    pub fn of(access: &Arc<Access>) -> LastLook {
        let access = Arc::clone(access);
        LastLook(Arc::new(move || access.has_trust()))
    }

    /// A last look that always permits, or never.
    #[cfg(test)]
    pub fn always(permits: bool) -> LastLook {
        LastLook(Arc::new(move || permits))
    }

    /// Returns true if the transaction may be forwarded.
    pub fn permits(&self) -> bool {
        (self.0)()
    }
}
