//! The pages that say why there is no other page.

use super::answer::ConsoleAnswer;
use super::form_fault::FormFault;
use super::page_request::PageRefusal;
use super::route::ConsoleRoute;
use crate::domain::{AccountError, RequestId};
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::views::{ProblemView, Site};
use crate::service::ManagementError;

/// The address of the first page.
const HOME: &str = "/";

/// A request that gets such a page.
pub struct ProblemPage<'a> {
    /// The title and the files of the pages.
    pub site: &'a Site,
    /// The route that was asked for; `None` for an unknown address.
    pub route: Option<ConsoleRoute>,
    /// The username that is logged in; empty if none is known.
    pub username: &'a str,
    /// True if a form was sent.
    pub is_sent: bool,
    /// The request ID.
    pub request_id: &'a RequestId,
}

impl ProblemPage<'_> {
    /// Answers with the page.
    pub fn answer(&self, refusal: &PageRefusal) -> ConsoleAnswer {
        let (site, id) = (self.site, self.request_id.as_str());
        let back = self.route.map_or_else(|| HOME.to_owned(), |route| route.page().path());
        match refusal {
            PageRefusal::Request(refusal) => self.of_request(refusal, &back),
            PageRefusal::OtherSite => page(&ProblemView::not_accepted(site, &back, id)),
            PageRefusal::NotHolder => page(&ProblemView::for_holders(site, self.username, id)),
            PageRefusal::Service(ManagementError::NotAllowed(AccountError::NoSuchCredential)) => {
                let list = ConsoleRoute::Credentials.path();
                page(&match self.is_sent {
                    true => ProblemView::removed(site, &list, id),
                    false => ProblemView::not_found(site, &list, id),
                })
            }
            PageRefusal::Service(error) => {
                let fault = FormFault::from(error);
                let answer = page(&ProblemView::refused(site, fault.status, &fault.text, id));
                ConsoleAnswer { retry_after: fault.retry_after, ..answer }
            }
        }
    }

    fn of_request(&self, refusal: &Refusal, back: &str) -> ConsoleAnswer {
        let (site, id, status) = (self.site, self.request_id.as_str(), refusal.status());
        let retry_after = refusal.retry_after();
        let seconds = retry_after.unwrap_or(1);
        let view = match refusal {
            Refusal::NotFound(_) => ProblemView::not_found(site, HOME, id),
            Refusal::Method(_) => ProblemView::wrong_method(site, back, id),
            Refusal::Malformed(_) | Refusal::TooLarge | Refusal::Timeout => {
                ProblemView::unreadable_form(site, status, back, id)
            }
            Refusal::Unavailable(_) | Refusal::Overloaded(_) => ProblemView::unavailable(site, seconds, id),
            Refusal::Throttled(_) => ProblemView::throttled(site, seconds, id),
            Refusal::NoCredential
            | Refusal::BadCredential
            | Refusal::Unauthenticated(_)
            | Refusal::Forbidden(_)
            | Refusal::NotHolder
            | Refusal::CrossSite(_)
            | Refusal::ClientGone
            | Refusal::Conflict(_)
            | Refusal::Misdirected
            | Refusal::OtherOrigin
            | Refusal::ServiceWorker
            | Refusal::SessionEnded
            | Refusal::HeaderTooLarge
            | Refusal::BadGateway
            | Refusal::GatewayTimeout => ProblemView::refused(site, status, &refusal.reason(), id),
        };
        let allow = match refusal {
            Refusal::Method(methods) => Some(*methods),
            _ => None,
        };
        ConsoleAnswer { retry_after, allow, ..page(&view) }
    }
}

fn page(view: &ProblemView<'_>) -> ConsoleAnswer {
    ConsoleAnswer::page(view.status, view)
}
