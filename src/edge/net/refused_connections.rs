//! The log of connections that are refused before their first request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::refusal_log::{RefusalLine, RefusalLog};
use super::request_ids::RequestIds;
use crate::domain::{Entry, RefusalReason};

/// The log of an entry's refused connections. The default logs nothing.
#[derive(Clone, Default)]
pub struct RefusedConnections {
    log: Option<(Entry, Arc<RefusalLog>, Arc<RequestIds>)>,
}

impl RefusedConnections {
    /// The log for an entry.
    pub fn new(entry: Entry, log: Arc<RefusalLog>, ids: Arc<RequestIds>) -> RefusedConnections {
        RefusedConnections { log: Some((entry, log, ids)) }
    }

    /// Logs that a connection of `source` is refused.
    pub fn log(&self, reason: RefusalReason, stream: &TcpStream, source: IpAddr, detail: &str) {
        self.log_at(reason, stream.local_addr().ok(), source, detail);
    }

    /// The same for a connection that was accepted at `listener`.
    pub fn log_at(&self, reason: RefusalReason, listener: Option<SocketAddr>, source: IpAddr, detail: &str) {
        let Some((entry, log, ids)) = &self.log else { return };
        let listener = listener.map(|listener| listener.to_string()).unwrap_or_default();
        log.write(&RefusalLine {
            request_id: ids.next().as_str(),
            listener: &listener,
            detail,
            ..RefusalLine::new(*entry, source.to_canonical(), reason.as_str())
        });
    }
}
