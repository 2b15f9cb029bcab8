//! The access log: one line for each request, when its response has ended.

use std::time::Duration;

use http::Method;
use tracing::{Level, debug, enabled};

use super::error::Refusal;
use super::masking::LoggedPath;
use super::peer::HttpPeer;
use super::proxy::exchange::Side;
use super::service::HttpService;
use crate::domain::RequestId;
use crate::wire::RequestHead;

/// The target of these lines, for `log.level`.
const TARGET: &str = "access";

/// A request as its line names it.
pub struct AccessLine {
    method: Method,
    path: String,
}

impl AccessLine {
    /// The line of a request; `None` while the access log is off, where it costs nothing.
    pub fn of(request: &RequestHead) -> Option<AccessLine> {
        enabled!(target: TARGET, Level::DEBUG).then(|| AccessLine {
            method: request.method().clone(),
            path: LoggedPath(request.target()).to_string(),
        })
    }

    /// Logs the request at the end of its response, and the side that broke the response off, if one did.
    pub fn log(
        &self,
        site: &HttpService,
        status: u16,
        broken_off: Option<Side>,
        took: Duration,
        request_id: &RequestId,
    ) {
        debug!(
            target: TARGET,
            entry = site.entry.as_str(),
            method = self.method.as_str(),
            path = self.path,
            status,
            broken_off_by = broken_off.map(Side::as_str),
            ms = took.as_secs_f64() * 1e3,
            request_id = request_id.as_str(),
        );
    }
}

/// Logs what never became a request.
pub fn log_unread(site: &HttpService, client: &HttpPeer, refusal: &Refusal, request_id: &RequestId) {
    debug!(
        target: TARGET,
        entry = site.entry.as_str(),
        source = client.shown(),
        status = refusal.status(),
        reason = %refusal.reason(),
        request_id = request_id.as_str(),
    );
}
