//! The log of connections that are refused before their first request.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use super::refusal_log::{RefusalLine, RefusalLog};
use super::request_ids::RequestIds;
use crate::domain::{Entry, RefusalReason};
use crate::state::metrics::{ConnectionLimit, Metrics};

/// The log of an entry's refused connections. The default logs nothing.
#[derive(Clone, Default)]
pub struct RefusedConnections {
    of: Option<RefusingEntry>,
}

/// An entry that refuses connections.
#[derive(Clone)]
struct RefusingEntry {
    entry: Entry,
    metrics: Arc<Metrics>,
    log: Arc<RefusalLog>,
    ids: Arc<RequestIds>,
}

impl RefusedConnections {
    /// The log for an entry.
    pub fn new(
        entry: Entry,
        metrics: &Arc<Metrics>,
        log: &Arc<RefusalLog>,
        ids: &Arc<RequestIds>,
    ) -> RefusedConnections {
        let (metrics, log, ids) = (metrics.clone(), log.clone(), ids.clone());
        RefusedConnections { of: Some(RefusingEntry { entry, metrics, log, ids }) }
    }

    /// Counts and logs that a connection of `source` is refused at `limit`.
    pub fn refuse(&self, limit: ConnectionLimit, stream: &TcpStream, source: IpAddr) {
        if let Some(of) = &self.of {
            of.metrics.connection_refused(of.entry, limit);
        }
        let detail = if limit == ConnectionLimit::Descriptors { "descriptors" } else { "" };
        self.log(RefusalReason::Connections, stream, source, detail);
    }

    /// Logs that a connection of `source` is refused.
    pub fn log(&self, reason: RefusalReason, stream: &TcpStream, source: IpAddr, detail: &str) {
        self.log_at(reason, stream.local_addr().ok(), source, detail);
    }

    /// The same for a connection that was accepted at `listener`.
    pub fn log_at(&self, reason: RefusalReason, listener: Option<SocketAddr>, source: IpAddr, detail: &str) {
        let Some(RefusingEntry { entry, log, ids, .. }) = &self.of else { return };
        let listener = listener.map(|listener| listener.to_string()).unwrap_or_default();
        log.write(&RefusalLine {
            request_id: ids.next().as_str(),
            listener: &listener,
            detail,
            ..RefusalLine::new(*entry, source.to_canonical(), reason.as_str())
        });
    }
}
