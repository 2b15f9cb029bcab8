//! The account holder who makes a request to API v1: Basic authorization, and nothing else.

use std::net::IpAddr;
use std::sync::OnceLock;

use tracing::{Instrument, info_span};

use super::refused::ApiRefusal;
use crate::config::CredentialPlaces;
use crate::domain::{RefusalReason, RequestId};
use crate::edge::http::authorize;
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::cross_site;
use crate::edge::http::error::Refusal;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::quota::Use;
use crate::edge::http::refused::status_of;
use crate::edge::http::request_quota;
use crate::edge::http::service::{HttpService, Plan};
use crate::service::Origin;
use crate::service::access::{HolderDecision, Peer};
use crate::service::credentials::Manager;
use crate::wire::BasicBuffer;

/// The places that are told to a page of another origin: none is of use to it.
const PLACES: CredentialPlaces = CredentialPlaces { basic: true, query: false, form: false };

/// The authentication of one request.
pub struct HolderCheck<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username.
    pub user: &'a OnceLock<String>,
}

impl HolderCheck<'_> {
    /// Authenticates the account holder, who alone manages credentials.
    ///
    /// # Errors
    /// 401 without a valid login, 403 for a credential or a page of another origin, 429, and 503.
    pub async fn run(&self, session: &mut ClientSession) -> Result<Manager, ApiRefusal> {
        let (site, client) = (self.site, self.client);
        let room = request_quota::take(site, self.plan, client, session.head(), Use::Login)?;
        let mut buffer = BasicBuffer::default();
        let source = client.source(session.head().fields(), &self.plan.trusted_proxies);
        let basic = authorize::authorization(session.head(), &mut buffer);
        if basic.as_ref().is_err_and(|refusal| *refusal == Refusal::BadCredential) {
            let reason = RefusalReason::MalformedCredential.as_str();
            site.access.note_no_credential(site.entry, self.peer(source), reason);
        }
        let Some(presented) = basic? else {
            let reason = RefusalReason::NoCredential.as_str();
            site.access.note_no_credential(site.entry, self.peer(source), reason);
            return Err(Refusal::NoCredential.into());
        };
        // A login that a browser may have added by itself.
        let is_trusted = client.is_trusted(&self.plan.trusted_proxies);
        if let Some(reason) = cross_site::reason(session.head(), client, is_trusted, &[]) {
            site.access.note_unchecked(presented.username, site.entry, self.peer(source), reason);
            return Err(Refusal::CrossSite(PLACES).into());
        }
        let span = info_span!("request", id = self.request_id.as_str());
        let decided = site.access.authenticate_holder(presented, site.entry, self.peer(source));
        match decided.instrument(span).await {
            HolderDecision::Holder(granted) => {
                self.user.get_or_init(|| granted.name().as_str().to_owned());
                client.note_accepted();
                session.note_accepted();
                drop(room);
                let request_id = self.request_id.as_str().to_owned();
                let origin = Origin::Remote { entry: site.entry, source, request_id };
                let manager = Manager::holder(&granted, origin).ok_or(Refusal::NotHolder)?;
                Ok(manager.with_rules_for_people())
            }
            HolderDecision::NotHolder => Err(Refusal::NotHolder.into()),
            HolderDecision::Denied(denial) => Err(Refusal::from(denial).into()),
            HolderDecision::Unavailable(unavailable) => {
                self.user.get_or_init(|| String::from_utf8_lossy(presented.username).into_owned());
                Err(unavailable.into())
            }
        }
    }

    fn peer(&self, source: IpAddr) -> Peer<'_> {
        Peer { source, request_id: self.request_id.as_str(), code: status_of }
    }
}
