//! The end of what a credential or a session was granted: tunnels and long responses end with it.

use std::time::Duration;

use tokio::time::timeout;

use super::error::Refusal;
use super::proxy::exchange::{BrokenOff, Exchange, Side};
use super::proxy::tunnel::{TunnelEnd, UNDECIDED};
use super::service::HttpService;
use crate::domain::{Permissions, Unavailable};
use crate::service::access::Granted;

/// The time after which a response counts as a long one. Most have ended before, and cost nothing.
const LONG: Duration = Duration::from_millis(500);

/// The pause between two questions while a store is unavailable, or a session may have been used by way of another node.
const PAUSE: Duration = Duration::from_millis(150);

/// The grounds on which a request was forwarded.
pub struct ForwardedBy {
    /// The index of the group of backends.
    pub group: usize,
    /// The identity; none on a public route.
    pub granted: Option<Granted>,
    /// The permissions that the route needs.
    pub needed: Permissions,
    /// The index of the backend that was asked last.
    pub server: Option<usize>,
    /// The status of the response, once it has begun.
    pub begun: Option<u16>,
}

/// Resolves once a tunnel has to end. One that nothing permitted ends at once; one on a public route stays open.
pub async fn of_tunnel(site: &HttpService, by: Option<&ForwardedBy>) -> TunnelEnd {
    match by {
        None => TunnelEnd::Undecided,
        Some(ForwardedBy { granted: None, .. }) => std::future::pending().await,
        Some(ForwardedBy { granted: Some(granted), needed, .. }) => {
            until_revoked(site, granted, *needed).await
        }
    }
}

/// Resolves once a credential or session no longer has the permissions that something open needs. Without trust, or while the store is
/// unavailable, it is asked again for nearly a second. Then the tunnel ends, since nothing proves that it may stay open.
async fn until_revoked(site: &HttpService, granted: &Granted, needed: Permissions) -> TunnelEnd {
    let mut changes = site.access.subscribe();
    loop {
        changes.borrow_and_update();
        let asked = async {
            loop {
                match site.access.permissions_now(granted).await {
                    Ok(now) => return now.is_some_and(|now| needed.minus(now).is_empty()),
                    Err(_) => tokio::time::sleep(PAUSE).await,
                }
            }
        };
        // One limit for all attempts: a store that answers too late is as good as unavailable.
        match timeout(UNDECIDED, asked).await {
            Ok(true) => {}
            Ok(false) => return TunnelEnd::Revoked,
            Err(_) => return TunnelEnd::Undecided,
        }
        let ran_out = async {
            site.access.until_session_runs_out(granted).await;
            tokio::time::sleep(PAUSE).await;
        };
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return TunnelEnd::Revoked },
            () = ran_out => {}
        }
    }
}

/// The same for a response, once it is a long one.
pub async fn of_long_response(site: &HttpService, granted: &Granted, needed: Permissions) -> TunnelEnd {
    pingora_timeout::sleep(LONG).await;
    // On the heap, since it is rare.
    Box::pin(until_revoked(site, granted, needed)).await
}

/// The outcome of an exchange that ended so, whose response has `begun` with that status, or not.
pub fn cut_off(site: &HttpService, end: TunnelEnd, begun: Option<u16>) -> Result<Exchange, Refusal> {
    let detail = match end {
        TunnelEnd::Undecided => "the session could not be checked",
        _ => "the session has ended",
    };
    match (begun, end) {
        (Some(status), _) => {
            site.metrics.session_cut(site.entry);
            Ok(Exchange::BrokenOff(BrokenOff { status, by: Side::Gatepost, detail: detail.to_owned() }))
        }
        (None, TunnelEnd::Undecided) => Err(Refusal::Unavailable(Unavailable::Store)),
        (None, _) => Err(Refusal::SessionEnded),
    }
}
