//! A request to the console, from its header to its response.

use std::sync::OnceLock;

use super::api::{self, ApiCall};
use super::services::Console;
use crate::domain::RequestId;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::response::PageResponse;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::proxy::exchange::Exchange;
use crate::edge::http::service::{HttpService, Plan};
use crate::edge::http::target::Target;
use crate::wire::unreserved;

/// A request to the console.
pub struct ConsoleCall<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The services.
    pub console: &'a Console,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits, and the pages as they are configured.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username that is logged in, or that logs in.
    pub user: &'a OnceLock<String>,
}

impl ConsoleCall<'_> {
    /// Answers the request.
    ///
    /// # Errors
    /// The refusal that the client gets, in the format of the API.
    pub async fn answer(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
    ) -> Result<Exchange, Refusal> {
        if api::is_for(&unreserved(&target.path)) {
            let ConsoleCall { site, console, client, plan, request_id, user } = *self;
            let credentials = &console.credentials;
            let call = ApiCall { site, credentials, client, plan, request_id, user };
            return Ok(call.answer(session, target).await);
        }
        let file = self.plan.pages.as_ref().and_then(|pages| pages.files.find(&target.path));
        let Some(file) = file else { return Err(Refusal::NotFound("Nothing has this address".into())) };
        let within = self.plan.timeouts.write;
        Ok(PageResponse::file(file).write(session, self.client, self.request_id, within).await)
    }
}
