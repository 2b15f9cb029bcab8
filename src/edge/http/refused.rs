//! The log of refused requests: a line for each that is not in the audit trail.

use std::net::IpAddr;

use super::error::Refusal;
use super::service::HttpService;
use crate::domain::{Denial, RefusalReason, RequestId, Unavailable};
use crate::edge::net::refusal_log::RefusalLine;
use crate::service::access::DenialKind;

/// Logs the refusal of a request of `source`, unless that is in the audit trail, or the client just disconnected. `user` is the username, or empty if it is not known.
pub fn log_refusal(
    site: &HttpService,
    source: IpAddr,
    request_id: &RequestId,
    user: &str,
    refusal: &Refusal,
) {
    if refusal.is_audited() || *refusal == Refusal::ClientGone {
        return;
    }
    let (reason, detail) = (reason(refusal), refusal.reason());
    log(site, source, request_id, user, (reason, &refusal.status().to_string(), &detail));
}

/// Logs a refusal for that reason, with the status and more about it.
pub fn log(
    site: &HttpService,
    source: IpAddr,
    request_id: &RequestId,
    user: &str,
    (reason, code, detail): (RefusalReason, &str, &str),
) {
    site.refusals.write(&RefusalLine {
        request_id: request_id.as_str(),
        user,
        code,
        detail,
        ..RefusalLine::new(site.entry, source, reason.as_str())
    });
}

/// The reason in the log.
fn reason(refusal: &Refusal) -> RefusalReason {
    match refusal {
        Refusal::Malformed(_) => RefusalReason::InvalidRequest,
        Refusal::NotFound(_) => RefusalReason::NotFound,
        Refusal::Method(_) => RefusalReason::MethodNotAllowed,
        Refusal::Timeout => RefusalReason::SlowRequest,
        Refusal::Conflict(_) => RefusalReason::NameTaken,
        Refusal::SessionEnded => RefusalReason::SessionEnded,
        Refusal::ServiceWorker => RefusalReason::ServiceWorker,
        Refusal::Misdirected => RefusalReason::OtherHost,
        Refusal::TooLarge => RefusalReason::BodyTooLarge,
        Refusal::HeaderTooLarge => RefusalReason::HeaderTooLarge,
        Refusal::Unavailable(Unavailable::Store) => RefusalReason::StoreUnavailable,
        Refusal::Unavailable(Unavailable::CutOff) => RefusalReason::CutOff,
        Refusal::Unavailable(Unavailable::Busy) => RefusalReason::PasswordQueueFull,
        Refusal::Overloaded(_) => RefusalReason::NoRoom,
        Refusal::BadGateway => RefusalReason::NoAnswer,
        Refusal::GatewayTimeout => RefusalReason::SlowBackend,
        // In the audit trail, or of no interest.
        Refusal::ClientGone
        | Refusal::NoCredential
        | Refusal::BadCredential
        | Refusal::Unauthenticated(_)
        | Refusal::Forbidden(_)
        | Refusal::NotHolder
        | Refusal::CrossSite(_)
        | Refusal::OtherOrigin
        | Refusal::Throttled(_) => RefusalReason::InvalidRequest,
    }
}

/// The status of a denial, for the audit trail.
pub fn status_of(kind: DenialKind) -> &'static str {
    match kind {
        DenialKind::Denied(Denial::Lacks(_)) | DenialKind::NotHolder | DenialKind::CrossSite => "403",
        DenialKind::Denied(Denial::Throttled(_)) => "429",
        DenialKind::Denied(Denial::Unknown | Denial::Wrong | Denial::Suspended)
        | DenialKind::NoCredential => "401",
    }
}
