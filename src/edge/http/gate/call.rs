//! A request to one of the gate's own pages. Nothing below the prefix is forwarded.

use askama::Template;
use http::Method;

use super::session::SessionGuard;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::pages::views::ProblemView;
use crate::edge::http::proxy::exchange::Exchange;
use crate::edge::http::target::Target;
use crate::wire::{NextAddress, PageForm, RequestHead, belongs_to, unreserved};

/// Returns true if a request is for a page of the gate.
///
/// # Errors
/// The request of a browser for the script of a service worker, which could replace these pages.
pub fn is_for(guard: &SessionGuard<'_>, request: &RequestHead, target: &Target<'_>) -> Result<bool, Refusal> {
    if !guard.gate.service_workers && registers_worker(request) {
        return Err(Refusal::ServiceWorker);
    }
    Ok(belongs_to(&target.path, &guard.gate.prefix))
}

fn registers_worker(request: &RequestHead) -> bool {
    let fields = request.fields();
    let is =
        |name, value: &[u8]| fields.named(name).any(|said| said.trim_ascii().eq_ignore_ascii_case(value));
    is("service-worker", b"script") || is("sec-fetch-dest", b"serviceworker")
}

/// A request to a page of the gate.
pub struct GateCall<'a> {
    /// The entry, its rules, and its pages.
    pub guard: SessionGuard<'a>,
}

impl GateCall<'_> {
    /// Answers the request.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn answer(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
    ) -> Result<Exchange, Refusal> {
        let response = self.respond(session, target).await?;
        let SessionGuard { client, request_id, plan, .. } = self.guard;
        Ok(response.write(session, client, request_id, plan.timeouts.write).await)
    }

    async fn respond(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
    ) -> Result<PageResponse, Refusal> {
        let path = unreserved(&target.path);
        let method = session.head().method().clone();
        let is_read = matches!(method, Method::GET | Method::HEAD);
        match path.strip_prefix(self.guard.gate.prefix.as_str()) {
            Some("/login") if is_read => self.login_page(session, &self.query(target)?).await,
            Some("/login") if method == Method::POST => self.log_in(session).await,
            Some("/logout") if is_read => self.logout_page(session).await,
            Some("/logout") if method == Method::POST => self.log_out(session).await,
            Some("/login" | "/logout") => Ok(self.wrong_method("GET, HEAD, POST")),
            _ => match self.guard.pages.files.find(&path) {
                Some(file) if is_read => Ok(PageResponse::file(file)),
                Some(_) => Ok(self.wrong_method("GET, HEAD")),
                None => Ok(self.problem(ProblemView::not_found(self.view(), "/", self.id()))),
            },
        }
    }

    /// The parameters of a page.
    fn query(&self, target: &Target<'_>) -> Result<PageForm, Refusal> {
        let query = target.query.as_deref().unwrap_or_default();
        PageForm::parse(query).map_err(|error| Refusal::Malformed(format!("Invalid query: {error}").into()))
    }

    fn wrong_method(&self, allowed: &'static str) -> PageResponse {
        self.problem(ProblemView::wrong_method(self.view(), "/", self.id())).with("Allow", allowed)
    }

    /// A page with an explanation.
    pub(super) fn problem(&self, view: ProblemView<'_>) -> PageResponse {
        let status = view.status;
        page(status, &view)
    }

    /// The parts that all pages have.
    pub(super) fn view(&self) -> &crate::edge::http::pages::views::Site {
        &self.guard.pages.view
    }

    /// The request ID, as pages show it.
    pub(super) fn id(&self) -> &str {
        self.guard.request_id.as_str()
    }

    /// The address of the login that leads back to `next`.
    pub(super) fn login_address(&self, next: &NextAddress) -> String {
        login_address(&self.guard.gate.prefix, next)
    }

    /// The address that a query or a form leads on to.
    pub(super) fn next(&self, fields: &PageForm) -> NextAddress {
        NextAddress::parse(fields.get("next").unwrap_or_default().as_bytes(), &self.guard.gate.prefix)
    }
}

/// The address of the login that leads back to `next`.
pub(super) fn login_address(prefix: &str, next: &NextAddress) -> String {
    match next.is_home() {
        true => format!("{prefix}/login"),
        false => format!("{prefix}/login?next={}", next.in_query()),
    }
}

/// A page of that status. Views are filled with text only, so that nothing in them can fail.
pub(super) fn page(status: u16, view: &impl Template) -> PageResponse {
    PageResponse::html(status, view.render().unwrap_or_default())
}
