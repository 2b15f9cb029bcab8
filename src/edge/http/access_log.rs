//! The access log: one line for each request, when its response has ended.

use std::net::IpAddr;
use std::time::Duration;

use tracing::{Level, debug, enabled};

use super::error::Refusal;
use super::masking::LoggedPath;
use super::peer::HttpPeer;
use super::proxy::exchange::Side;
use super::refused::log_refusal;
use super::service::{HttpService, Plan};
use crate::domain::{LONGEST_NAME, RequestId, shown};
use crate::wire::RequestHead;

/// The target of these lines, for `log.level`.
const TARGET: &str = "access";

/// The most bytes of a method in a line. Those of IANA's registry are shorter.
const METHOD_LIMIT: usize = 32;

/// A request as its line names it.
pub struct AccessLine {
    method: String,
    path: String,
    source: IpAddr,
}

impl AccessLine {
    /// The line of a request; `None` while the access log is off, where it costs nothing.
    pub fn of(request: &RequestHead, client: &HttpPeer, plan: &Plan) -> Option<AccessLine> {
        enabled!(target: TARGET, Level::DEBUG).then(|| AccessLine {
            method: shown(request.method().as_str().as_bytes(), METHOD_LIMIT),
            path: LoggedPath(request.target()).to_string(),
            source: client.source(request.fields(), &plan.trusted_proxies),
        })
    }

    /// Logs the request at the end of its response.
    pub fn log(&self, site: &HttpService, ended: &EndedRequest<'_>) {
        let EndedRequest { status, user, upstream, broken_off, took, request_id } = *ended;
        debug!(
            target: TARGET,
            entry = site.entry.as_str(),
            source = %self.source,
            user = user.map(|user| shown(user.as_bytes(), LONGEST_NAME)),
            method = self.method,
            path = self.path,
            status,
            upstream,
            broken_off_by = broken_off.map(Side::as_str),
            ms = took.as_secs_f64() * 1e3,
            request_id = request_id.as_str(),
        );
    }
}

/// The end of a request, for its line.
#[derive(Clone, Copy, Debug)]
pub struct EndedRequest<'a> {
    /// The status of the response.
    pub status: u16,
    /// The username, if the credential was accepted.
    pub user: Option<&'a str>,
    /// The URL of the backend that was asked last.
    pub upstream: Option<&'a str>,
    /// The side that broke the response off, if one did.
    pub broken_off: Option<Side>,
    /// The time from the request to the end of its response.
    pub took: Duration,
    /// The request ID.
    pub request_id: &'a RequestId,
}

/// Logs what never became a request. `source` is that of the fields, if they could be read.
pub fn log_unread(site: &HttpService, source: IpAddr, refusal: &Refusal, request_id: &RequestId) {
    log_refusal(site, source, request_id, "", refusal);
    debug!(
        target: TARGET,
        entry = site.entry.as_str(),
        source = %source,
        status = refusal.status(),
        reason = %refusal.reason(),
        request_id = request_id.as_str(),
    );
}
