//! Authorization of a request: finds its credential in header, query or form, and has `service::access` decide on it.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::OnceLock;

use tracing::{Instrument, info_span};

use super::body::error::{BodyError, spool_failed};
use super::body::pacing::Pace;
use super::body::source::Body;
use super::body::spool::{Spool, SpoolError};
use super::client_session::ClientSession;
use super::cors;
use super::cross_site;
use super::error::Refusal;
use super::gate::refusal::leads_to_login;
use super::gate::requester::has_metadata;
use super::gate::session::SessionGuard;
use super::headers::request::Framing;
use super::masking::{BodyKind, FormReader, Mask, MaskedQuery};
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::refused::status_of;
use super::request_quota;
use super::router::Routed;
use super::service::{HttpService, Plan};
use super::target::Target;
use crate::config::Need;
use crate::domain::{Permission, Permissions, Presented, RefusalReason, RequestId};
use crate::service::access::{Decision, Granted, Peer};
use crate::wire::{
    BasicBuffer, BasicError, BodyScanner, CredentialError, FieldKind, PresentedCredential, RequestHead,
    basic, one_credential,
};

/// The authorization of one request.
pub struct Admission<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username of a credential that could not be checked.
    pub user: &'a OnceLock<String>,
}

/// A request that may be forwarded.
pub struct Admitted {
    /// The identity; none on a public route.
    pub granted: Option<Granted>,
    /// Its query without the credential.
    pub query: Option<Vec<u8>>,
    /// Its body, with the credential masked.
    pub body: Body,
}

impl Admission<'_> {
    /// Finds the credential in one of the places of its route, has it decided on, and masks it. What stands elsewhere isn't read.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn admit(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
        route: &Routed,
    ) -> Result<Admitted, Refusal> {
        let Need::Permission(permission) = route.need else {
            return self.admit_anybody(session, target, route);
        };
        let places = route.credentials;
        if let Some(guard) = self.guard()
            && let Some(granted) = guard.admit(session, route).await?
        {
            // An `Authorization` field is the backend's then.
            let query = MaskedQuery::untouched(target.query.as_deref());
            let body = self.stream(session, None, route, None);
            return Ok(Admitted { granted: Some(granted), query: query.rest, body });
        }
        let mut buffer = BasicBuffer::default();
        let basic = match places.basic && !self.is_of_ended_session(session.head()) {
            true => authorization(session.head(), &mut buffer),
            false => Ok(None),
        };
        if basic.as_ref().is_err_and(|refusal| *refusal == Refusal::BadCredential) {
            self.note_no_credential(session, RefusalReason::MalformedCredential);
        }
        let basic = basic?;
        let query = match places.query {
            true => MaskedQuery::read(target.query.as_deref()).map_err(ambiguous)?,
            false => MaskedQuery::untouched(target.query.as_deref()),
        };
        let of_query = query.held.as_ref().map(PresentedCredential::presented);
        let presented = one_credential(basic, of_query).map_err(ambiguous)?;
        // Asked before anything is checked.
        let foreign = match (basic, &query.held) {
            (Some(ambient), None) => self.cross_site(session, route).map(|reason| (ambient, reason)),
            _ => None,
        };
        let has_body = !session.is_body_empty();
        let kind = match places.form && has_body {
            true => BodyKind::of(session.head().fields())?,
            false => BodyKind::Other,
        };
        let rest = query.rest;
        match (presented.filter(|_| foreign.is_none()), kind) {
            (Some(presented), kind) => {
                let granted =
                    self.decide(session, presented, permission, route.also, CheckRoom::ForLogin).await?;
                let mask = kind.mask(presented);
                let body = self.stream(session, mask, route, None);
                Ok(Admitted { granted: Some(granted), query: rest, body })
            }
            // A credential in a form was meant by its sender, whatever the browser has added.
            (None, BodyKind::Form(scanner)) => {
                let (held, mut spool) = self.spool(session, scanner).await?;
                let Some(held) = held else { return Err(self.refuse_unpresented(session, route, foreign)) };
                let presented = held.presented();
                one_credential(basic, Some(presented)).map_err(ambiguous)?;
                let granted =
                    self.decide(session, presented, permission, route.also, CheckRoom::Taken).await?;
                spool.accept();
                Ok(Admitted { granted: Some(granted), query: rest, body: Body::spooled(spool) })
            }
            (None, BodyKind::Other | BodyKind::Undeclared(_)) => {
                Err(self.refuse_unpresented(session, route, foreign))
            }
        }
    }

    /// Returns true if a page of the dashboard sent a request after its session had ended. An `Authorization` field is the backend's then,
    /// as it was before, and says nothing about a login here.
    fn is_of_ended_session(&self, request: &RequestHead) -> bool {
        self.guard().is_some_and(|guard| guard.has_cookie(request)) && has_metadata(request)
    }

    /// The guard of requests by cookie; on an entry with a gate only.
    fn guard(&self) -> Option<SessionGuard<'_>> {
        SessionGuard::of(self.site, self.plan, self.client, self.request_id, self.user)
    }

    /// The reason that a request counts as one that a page of another site had a browser send, if it may change something or sends mail.
    fn cross_site(&self, session: &ClientSession, route: &Routed) -> Option<&'static str> {
        let request = session.head();
        let sends_mail = route.permissions().contains(Permission::Email);
        if !sends_mail && !cross_site::may_change_something(request) {
            return None;
        }
        let is_trusted = self.client.is_trusted(&self.plan.trusted_proxies);
        cross_site::reason(request, self.client, is_trusted, &self.plan.cors_origins)
    }

    /// The refusal of a request without a credential, or with an ambient one alone, which the browser of a `foreign` page has added.
    fn refuse_unpresented(
        &self,
        session: &ClientSession,
        route: &Routed,
        foreign: Option<(Presented<'_>, &'static str)>,
    ) -> Refusal {
        let Some((ambient, reason)) = foreign else {
            let request = session.head();
            let has_cookie = || self.guard().is_some_and(|guard| guard.has_cookie(request));
            let reason = match () {
                () if cors::is_preflight(request) => RefusalReason::Preflight,
                () if has_cookie() => RefusalReason::NoSession,
                () => RefusalReason::NoCredential,
            };
            if !leads_to_login(self.plan, session) {
                self.note_no_credential(session, reason);
            }
            return Refusal::NoCredential;
        };
        let (access, entry) = (&self.site.access, self.site.entry);
        access.note_unchecked(ambient.username, entry, self.peer(session), reason);
        Refusal::CrossSite(route.credentials)
    }

    /// Admits a request on a public route. A credential that it contains is kept from the backend, and isn't checked: `api_key` may be
    /// another service's parameter.
    fn admit_anybody(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
        route: &Routed,
    ) -> Result<Admitted, Refusal> {
        let query = match route.credentials.query {
            true => MaskedQuery::of_public_route(target.query.as_deref()),
            false => MaskedQuery::untouched(target.query.as_deref()),
        };
        let kind = match route.credentials.form && !session.is_body_empty() {
            true => BodyKind::of(session.head().fields())?,
            false => BodyKind::Other,
        };
        let mask = kind.mask_of_public_route();
        let room = match session.is_body_empty() {
            true => None,
            false => Some(self.take(session, Use::Upload)?),
        };
        Ok(Admitted { granted: None, query: query.rest, body: self.stream(session, mask, route, room) })
    }

    async fn decide(
        &self,
        session: &ClientSession,
        presented: Presented<'_>,
        permission: Permission,
        also: Permissions,
        room: CheckRoom,
    ) -> Result<Granted, Refusal> {
        let granted = self.decide_on(session, presented, permission, room).await?;
        if also.is_empty() {
            return Ok(granted);
        }
        // Boxed, since it is rare, and the future of every request would be larger otherwise.
        Box::pin(async {
            for permission in also.iter() {
                self.decide_on(session, presented, permission, room).await?;
            }
            Ok(granted)
        })
        .await
    }

    async fn decide_on(
        &self,
        session: &ClientSession,
        presented: Presented<'_>,
        permission: Permission,
        room: CheckRoom,
    ) -> Result<Granted, Refusal> {
        let (site, memory) = (self.site, self.client.memory());
        if let Some(granted) = site.access.check_remembered(memory, &presented, permission, site.entry) {
            // Once in a while for a connection of the client itself. Those of a trusted proxy are of many clients.
            let is_due = !self.client.has_accepted() || memory.takes_use();
            if is_due || self.client.is_trusted(&self.plan.trusted_proxies) {
                site.access.note_use(&granted, site.entry, self.source(session));
            }
            self.client.note_accepted();
            return Ok(granted);
        }
        // On the heap, because the future of every request would be larger otherwise.
        Box::pin(self.check(session, presented, permission, room)).await
    }

    /// Decides on a credential that isn't remembered.
    async fn check(
        &self,
        session: &ClientSession,
        presented: Presented<'_>,
        permission: Permission,
        room: CheckRoom,
    ) -> Result<Granted, Refusal> {
        let site = self.site;
        // The check may wait for others.
        let _room = match room {
            CheckRoom::Taken => None,
            CheckRoom::ForLogin => Some(self.take(session, Use::Login)?),
        };
        let peer = self.peer(session);
        // Other log lines about it have the request ID.
        let span = info_span!("request", id = peer.request_id);
        match site.access.authorize(presented, permission, site.entry, peer).instrument(span).await {
            Decision::Allowed(granted) => {
                self.client.note_accepted();
                Ok(granted)
            }
            Decision::Denied(denial) => Err(denial.into()),
            Decision::Unavailable(unavailable) => {
                self.user.get_or_init(|| String::from_utf8_lossy(presented.username).into_owned());
                Err(unavailable.into())
            }
        }
    }

    fn note_no_credential(&self, session: &ClientSession, reason: RefusalReason) {
        self.site.access.note_no_credential(self.site.entry, self.peer(session), reason.as_str());
    }

    fn peer(&self, session: &ClientSession) -> Peer<'_> {
        let source = self.source(session);
        Peer { source, request_id: self.request_id.as_str(), code: status_of }
    }

    fn source(&self, session: &ClientSession) -> IpAddr {
        self.client.source(session.head().fields(), &self.plan.trusted_proxies)
    }

    fn take(&self, session: &ClientSession, purpose: Use) -> Result<QuotaLease, Refusal> {
        request_quota::take(self.site, self.plan, self.client, session.head(), purpose)
    }

    /// The body as the client sends it. `room` is held until it ends.
    fn stream(
        &self,
        session: &mut ClientSession,
        mask: Option<Mask>,
        route: &Routed,
        room: Option<QuotaLease>,
    ) -> Body {
        if session.is_body_empty() {
            return Body::empty();
        }
        let timeouts = self.plan.groups[route.group].timeouts();
        let wants_continue = session.head().expects_continue().then_some(timeouts.write);
        Body::streamed(mask, timeouts.body, wants_continue, room)
    }

    /// Reads a form to its end for its credential.
    async fn spool(
        &self,
        session: &mut ClientSession,
        scanner: BodyScanner,
    ) -> Result<(Option<PresentedCredential>, Spool), Refusal> {
        let plan = self.plan;
        let lease = self.take(session, Use::Form)?;
        let limit = plan.forms.max_body;
        let expected = match Framing::of(session.head(), false) {
            Framing::Length(length) if length > limit => return Err(Refusal::TooLarge),
            Framing::Length(length) => Some(length),
            _ => None,
        };
        if session.head().expects_continue() && !session.say_continue(plan.timeouts.write).await {
            return Err(Refusal::ClientGone);
        }
        let mut form = FormReader::new(scanner);
        let mut spool = Spool::new(&plan.forms, lease, expected);
        let mut pace = Pace::of_unknown(&plan.timeouts);
        let unspoolable = |e| refusal_of(spool_failed(e));
        while let Some(piece) = pace.read(session, Some(spool.lease())).await.map_err(refusal_of)? {
            if spool.length() + piece.len() as u64 > limit {
                return Err(Refusal::TooLarge);
            }
            let piece = form.mask(piece).map_err(refusal_of)?;
            spool.write(piece).await.map_err(|error| match error {
                SpoolError::Io(error) => unspoolable(error),
                SpoolError::NoRoom => {
                    Refusal::Overloaded("Too many large requests at once, try again".into())
                }
            })?;
        }
        let held = form.finish().map_err(refusal_of)?;
        spool.rewind().await.map_err(unspoolable)?;
        Ok((held, spool))
    }
}

/// The room for a check.
#[derive(Clone, Copy)]
enum CheckRoom {
    /// Room that was taken before.
    Taken,
    /// Room to be taken if the login has to be checked.
    ForLogin,
}

/// The credential of the `Authorization` header. Only the scheme Basic presents one.
pub fn authorization<'b>(
    request: &RequestHead,
    buffer: &'b mut BasicBuffer,
) -> Result<Option<Presented<'b>>, Refusal> {
    let mut values = request.fields().all(FieldKind::Authorization);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Malformed("More than one Authorization header".into()));
    }
    match basic(value, buffer) {
        Ok(presented) => Ok(Some(presented)),
        Err(BasicError::OtherScheme) => Ok(None),
        Err(BasicError::TooLong | BasicError::Malformed) => Err(Refusal::BadCredential),
    }
}

fn ambiguous(error: CredentialError) -> Refusal {
    Refusal::Malformed(Cow::Owned(error.to_string()))
}

fn refusal_of(error: BodyError) -> Refusal {
    match error {
        BodyError::Refused(refusal) => refusal,
        BodyError::Gone => Refusal::ClientGone,
    }
}
