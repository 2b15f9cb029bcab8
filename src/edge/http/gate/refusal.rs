//! The answers of the gate to what is refused: a person gets a page or the way to the login, and a part of a page gets a 401 that opens
//! no password box of the browser.

use super::call::{login_address, page};
use super::requester::{Requester, is_of_browser};
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::views::ProblemView;
use crate::edge::http::service::Plan;
use crate::edge::http::target::Target;
use crate::wire::NextAddress;

/// The answer to a refused request.
pub enum GateRefusal {
    /// A page, or the way to one.
    Page(PageResponse),
    /// The refusal in the format of the API.
    Plain(Refusal),
}

/// Returns true if a request without a credential is led to the login, and nothing is refused.
pub fn leads_to_login(plan: &Plan, session: &ClientSession) -> bool {
    plan.gate.is_some() && Requester::of(session.head()) == Requester::Navigation
}

/// The answer of the gate to a refused request of `user`; `None` on an entry without a gate.
pub fn answer(
    plan: &Plan,
    session: &ClientSession,
    refusal: &Refusal,
    user: &str,
    request_id: &RequestId,
) -> Option<GateRefusal> {
    let (gate, pages) = plan.gate.as_ref().zip(plan.pages.as_ref())?;
    let requester = Requester::of(session.head());
    let is_unauthenticated =
        matches!(refusal, Refusal::NoCredential | Refusal::BadCredential | Refusal::Unauthenticated(_));
    // A program that accepts HTML learns that its login is wrong.
    let is_wrong_login = *refusal == Refusal::BadCredential && !is_of_browser(session.head());
    if !requester.sees_pages() || is_wrong_login {
        let is_quiet = is_unauthenticated && requester == Requester::PagePart;
        return Some(GateRefusal::Plain(match is_quiet {
            true => Refusal::Unauthenticated(refusal.reason()),
            false => refusal.clone(),
        }));
    }
    let (site, id) = (&pages.view, request_id.as_str());
    let has_no_session = is_unauthenticated || *refusal == Refusal::SessionEnded;
    if has_no_session && requester == Requester::Navigation {
        let target = Target::parse(session.head().target()).ok();
        let next = target.map_or(NextAddress::home(), |target| {
            NextAddress::of(&target.path, target.query.as_deref(), &gate.prefix)
        });
        return Some(GateRefusal::Page(PageResponse::see_other(login_address(&gate.prefix, &next))));
    }
    let status = refusal.status();
    let view = match refusal {
        _ if is_unauthenticated => {
            ProblemView::not_sent(site, &login_address(&gate.prefix, &NextAddress::home()), id)
        }
        Refusal::Forbidden(permission) => {
            let logout = format!("{}/logout", gate.prefix);
            ProblemView::forbidden(site, user, permission.as_str(), &logout, id)
        }
        Refusal::Throttled(_) => ProblemView::throttled(site, refusal.retry_after().unwrap_or(1), id),
        Refusal::Unavailable(_) => ProblemView::unavailable(site, refusal.retry_after().unwrap_or(1), id),
        Refusal::BadGateway | Refusal::GatewayTimeout => ProblemView::no_backend(site, status, id),
        Refusal::NotFound(_) => ProblemView::not_found(site, "/", id),
        _ => ProblemView::refused(site, status, &refusal.reason(), id),
    };
    let mut response = page(status, &view);
    if let Some(seconds) = refusal.retry_after() {
        response = response.with_retry_after(seconds);
    }
    if let Refusal::Method(allowed) = refusal {
        response = response.with("Allow", *allowed);
    }
    Some(GateRefusal::Page(response))
}
