//! Requests by the cookie of a session: each is decided anew, and one that may change something has to come from a page of the
//! dashboard's own origin.

use std::net::IpAddr;
use std::sync::OnceLock;

use crate::config::GateSettings;
use crate::domain::{Permission, Permissions, RefusalReason, RequestId, SessionCookie};
use crate::edge::http::client_session::ClientSession;
use crate::edge::http::cross_site;
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::origin::PageOrigin;
use crate::edge::http::pages::presented_session::PresentedSession;
use crate::edge::http::pages::site::PageSite;
use crate::edge::http::peer::HttpPeer;
use crate::edge::http::quota::Use;
use crate::edge::http::refused::status_of;
use crate::edge::http::request_quota;
use crate::edge::http::router::Routed;
use crate::edge::http::service::{HttpService, Plan};
use crate::service::access::{Granted, Peer, SessionDecision};
use crate::wire::{FieldKind, GATE_COOKIE, RequestHead, cookies};

/// The most cookies whose sessions one logout ends.
const MOST_COOKIES: usize = 4;

/// The decision on requests by cookie.
#[derive(Clone, Copy)]
pub struct SessionGuard<'a> {
    /// The entry that received the request.
    pub site: &'a HttpService,
    /// The rules and limits.
    pub plan: &'a Plan,
    /// The rules of the gate.
    pub gate: &'a GateSettings,
    /// The pages, whose origin is that of the dashboard.
    pub pages: &'a PageSite,
    /// The client.
    pub client: &'a HttpPeer,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username of a refused session.
    pub user: &'a OnceLock<String>,
}

impl<'a> SessionGuard<'a> {
    /// The guard of a plan with a gate.
    pub fn of(
        site: &'a HttpService,
        plan: &'a Plan,
        client: &'a HttpPeer,
        request_id: &'a RequestId,
        user: &'a OnceLock<String>,
    ) -> Option<SessionGuard<'a>> {
        let (gate, pages) = plan.gate.as_ref().zip(plan.pages.as_ref())?;
        Some(SessionGuard { site, plan, gate, pages, client, request_id, user })
    }

    /// The origin of the dashboard, as the browser sees it.
    pub fn origin<'r>(&self, request: &'r RequestHead) -> PageOrigin<'r>
    where
        'a: 'r,
    {
        self.pages.origin(request, self.client, self.client.is_trusted(&self.plan.trusted_proxies))
    }

    /// The session that a request presents.
    pub fn presented(&self, request: &RequestHead) -> PresentedSession {
        if !request.fields().contains(FieldKind::Cookie) {
            return PresentedSession::Absent;
        }
        let name = self.origin(request).cookie_name(GATE_COOKIE);
        name.map_or(PresentedSession::Absent, |name| PresentedSession::of(request, name))
    }

    /// Returns true if a request has a cookie of that name, also one without a session.
    pub fn has_cookie(&self, request: &RequestHead) -> bool {
        !matches!(self.presented(request), PresentedSession::Absent)
    }

    /// The cookies of sessions that a request has, also those that don't count beside others: for a logout, which ends them all.
    pub fn all_cookies(&self, request: &RequestHead) -> Vec<SessionCookie> {
        let Some(name) = self.origin(request).cookie_name(GATE_COOKIE) else { return Vec::new() };
        let values = cookies(request.fields().all(FieldKind::Cookie), name).take(MOST_COOKIES);
        values.filter_map(SessionCookie::parse).collect()
    }

    fn cookie(&self, request: &RequestHead) -> Option<SessionCookie> {
        self.presented(request).cookie()
    }

    /// Decides on a request by its cookie. `None` if it has no session: then it may have another credential.
    ///
    /// # Errors
    /// The session's principal lacks a permission, the request comes from a page of another origin, or there is no decision now.
    pub async fn admit(&self, session: &ClientSession, route: &Routed) -> Result<Option<Granted>, Refusal> {
        let Some(cookie) = self.cookie(session.head()) else { return Ok(None) };
        let mut granted = None;
        for permission in route.permissions().iter() {
            let Some(one) = self.decide(session, &cookie, permission).await? else { return Ok(None) };
            granted = Some(one);
        }
        let Some(granted) = granted else { return Ok(None) };
        self.check_source(session, route.permissions(), &granted)?;
        self.site.access.note_session(&granted);
        Ok(Some(granted))
    }

    async fn decide(
        &self,
        session: &ClientSession,
        cookie: &SessionCookie,
        permission: Permission,
    ) -> Result<Option<Granted>, Refusal> {
        let (site, memory) = (self.site, self.client.memory());
        if let Some(granted) = site.access.check_session(memory, cookie, permission, site.entry) {
            let is_due = !self.client.has_accepted() || memory.takes_use();
            if is_due || self.client.is_trusted(&self.plan.trusted_proxies) {
                site.access.note_use(&granted, site.entry, self.source(session));
            }
            self.client.note_accepted();
            return Ok(Some(granted));
        }
        // On the heap, since it is rare, and the future of every request would be larger otherwise.
        Box::pin(self.check(session, cookie, permission)).await
    }

    async fn check(
        &self,
        session: &ClientSession,
        cookie: &SessionCookie,
        permission: Permission,
    ) -> Result<Option<Granted>, Refusal> {
        let _room = request_quota::take(self.site, self.plan, self.client, session.head(), Use::Login)?;
        let (access, entry) = (&self.site.access, self.site.entry);
        match access.authorize_session(cookie, Some(permission), entry, self.peer(session)).await {
            SessionDecision::Allowed(granted) => {
                self.client.note_accepted();
                Ok(Some(granted))
            }
            SessionDecision::Lacks(permission, name) => {
                self.user.get_or_init(|| name.as_str().to_owned());
                Err(Refusal::Forbidden(permission))
            }
            SessionDecision::NoSession => Ok(None),
            SessionDecision::Unavailable(unavailable) => Err(unavailable.into()),
        }
    }

    /// The session of a request to one of the gate's own pages, with its cookie.
    ///
    /// # Errors
    /// There is no decision now.
    pub async fn current(
        &self,
        session: &ClientSession,
    ) -> Result<Option<(SessionCookie, Granted)>, Refusal> {
        match self.cookie(session.head()) {
            Some(cookie) => self.session_of(session, cookie).await,
            None => Ok(None),
        }
    }

    /// The session of a cookie that a request to one of the gate's own pages has.
    ///
    /// # Errors
    /// There is no decision now.
    pub async fn session_of(
        &self,
        session: &ClientSession,
        cookie: SessionCookie,
    ) -> Result<Option<(SessionCookie, Granted)>, Refusal> {
        let _room = request_quota::take(self.site, self.plan, self.client, session.head(), Use::Login)?;
        let entry = self.site.entry;
        match self.site.access.authorize_session(&cookie, None, entry, self.peer(session)).await {
            SessionDecision::Allowed(granted) => {
                self.site.access.note_session(&granted);
                Ok(Some((cookie, granted)))
            }
            SessionDecision::Unavailable(unavailable) => Err(unavailable.into()),
            SessionDecision::Lacks(..) | SessionDecision::NoSession => Ok(None),
        }
    }

    /// Refuses a request that a page of another origin has a browser send, if it may change something or sends mail.
    fn check_source(
        &self,
        session: &ClientSession,
        permissions: Permissions,
        granted: &Granted,
    ) -> Result<(), Refusal> {
        let request = session.head();
        let sends_mail = permissions.contains(Permission::Email);
        if !sends_mail && !cross_site::may_change_something(request) {
            return Ok(());
        }
        let (origin, allowed) = (self.origin(request), &self.gate.allowed_origins);
        // Browsers add cookies to the handshake of any page's WebSocket, which always has an `Origin`. They differ in what they say of its
        // site, so the own origin is enough.
        let is_socket = request.fields().contains(FieldKind::Upgrade);
        if origin.is_source_of(request, allowed) || is_socket && origin.is_origin_of(request, allowed) {
            return Ok(());
        }
        let reason = match request.fields().contains(FieldKind::SecFetchSite) {
            true => RefusalReason::CrossSiteFetch,
            false => RefusalReason::CrossSiteOrigin,
        };
        let name = granted.name().as_str();
        self.user.get_or_init(|| name.to_owned());
        let peer = self.peer(session);
        self.site.access.note_unchecked(name.as_bytes(), self.site.entry, peer, reason.as_str());
        Err(Refusal::OtherOrigin)
    }

    /// The client, for a decision.
    pub fn peer(&self, session: &ClientSession) -> Peer<'a> {
        Peer { source: self.source(session), request_id: self.request_id.as_str(), code: status_of }
    }

    /// The client's address.
    pub fn source(&self, session: &ClientSession) -> IpAddr {
        self.client.source(session.head().fields(), &self.plan.trusted_proxies)
    }
}
