//! A limit on what each source has open: connections, or requests that a trusted proxy forwards for it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::state::throttle::SourcePrefix;

/// Open connections by source, up to a limit for each source.
#[derive(Debug)]
pub struct SourceLimit {
    open: Mutex<HashMap<SourcePrefix, usize>>,
    limit: usize,
}

/// A counted connection. Dropping it ends the count.
#[derive(Debug)]
pub struct CountedConnection {
    /// None for a connection that no limit applies to.
    counted: Option<(Arc<SourceLimit>, SourcePrefix)>,
}

impl CountedConnection {
    /// A connection of a peer that may have any number of them.
    pub fn exempt() -> CountedConnection {
        CountedConnection { counted: None }
    }
}

/// Counts nothing, for a listener without a limit for each source.
pub fn unlimited(_source: IpAddr) -> Option<CountedConnection> {
    Some(CountedConnection::exempt())
}

impl SourceLimit {
    /// Allows `limit` open connections for each source.
    pub fn new(limit: usize) -> Arc<SourceLimit> {
        Arc::new(SourceLimit { open: Mutex::default(), limit })
    }

    /// Counts one more connection; `None` if the source has reached the limit.
    pub fn enter(self: &Arc<SourceLimit>, address: IpAddr) -> Option<CountedConnection> {
        let source = SourcePrefix::of(address);
        let mut open = self.open.lock();
        let count = open.entry(source).or_default();
        if *count >= self.limit {
            return None;
        }
        *count += 1;
        Some(CountedConnection { counted: Some((self.clone(), source)) })
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        let Some((sources, source)) = &self.counted else { return };
        if let Entry::Occupied(mut count) = sources.open.lock().entry(*source) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_source_has_its_own_limit() {
        let sources = SourceLimit::new(2);
        let enter = |address: &str| sources.enter(address.parse().unwrap());
        let (one, _two) = (enter("192.0.2.1").unwrap(), enter("192.0.2.1").unwrap());
        assert!(enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(one);
        assert!(enter("192.0.2.1").is_some());
        let _net = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::3").is_some());
        assert_eq!(sources.open.lock().len(), 2);
    }
}
