//! Authorization of a request: finds the credential, in header, query or form, and has it decided on.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::BytesMut;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Version};
use pingora_core::protocols::http::ServerSession;
use tracing::{Instrument, info_span};
use zeroize::Zeroizing;

use super::body::error::{BodyError, form_refused, spool_failed};
use super::body::masking::Mask;
use super::body::pacing::Pace;
use super::body::source::Body;
use super::body::spool::{Spool, SpoolError};
use super::cross_site;
use super::error::Refusal;
use super::headers::request::Framing;
use super::peer::HttpPeer;
use super::quota::{QuotaLease, Use};
use super::request_quota;
use super::respond;
use super::router::Routed;
use super::service::{HttpService, Plan};
use super::target::Target;
use crate::config::Need;
use crate::domain::{Entry, Permission, Permissions, Presented};
use crate::service::access::{Decision, Granted, Peer};
use crate::wire::{
    BASIC_BUFFER, BasicError, BodyScanner, CredentialError, PresentedCredential, RequestCredential, basic,
    take_credential, without_credential,
};

/// What is asked whether a request may go on.
pub struct Admission<'a> {
    /// The entry it came in on.
    pub site: &'a HttpService,
    /// Whose request it is.
    pub client: &'a HttpPeer,
    /// Limits.
    pub plan: &'a Plan,
    /// Its number.
    pub request_id: &'a HeaderValue,
}

/// A request that may go on.
pub struct Admitted {
    /// By whom; none on a public route.
    pub granted: Option<Granted>,
    /// Its query without the credential.
    pub query: Option<Vec<u8>>,
    /// What it carries, with the credential blotted out.
    pub body: Body,
}

impl Admission<'_> {
    /// Finds the credential, wherever it stands, and decides.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn admit(
        &self,
        session: &mut ServerSession,
        target: &Target<'_>,
        route: &Routed,
    ) -> Result<Admitted, Refusal> {
        // A form's fields are the API's way; a dashboard knows Basic only, and its fields are its own.
        let is_api = self.site.entry == Entry::Api;
        let Need::Permission(permission) = route.need else {
            return self.admit_anybody(session, target, is_api);
        };
        let mut buffer = Zeroizing::new([0; BASIC_BUFFER]);
        let mut gathered = RequestCredential::new();
        let values = session.req_header().headers.get_all(header::AUTHORIZATION);
        let basic = authorization(values, &mut buffer);
        if basic.as_ref().is_err_and(|refusal| *refusal == Refusal::BadCredential) {
            self.note_no_credential(session, "malformed credential");
        }
        let basic = basic?;
        if let Some(presented) = basic {
            gathered.add(presented).map_err(ambiguous)?;
        }
        let taken = match target.query {
            Some(query) if is_api => take_credential(query).map_err(ambiguous)?,
            _ => None,
        };
        if let Some(taken) = &taken {
            gathered.add(taken.credential.presented()).map_err(ambiguous)?;
        }
        // Before anything is read or checked. A form's own credential comes too late to count.
        if let (Some(ambient), None) = (basic, &taken) {
            self.refuse_cross_site(session, ambient, route)?;
        }
        let query = match (&taken, target.query) {
            (Some(taken), _) if taken.rest.is_empty() => None,
            (Some(taken), _) => Some(taken.rest.clone()),
            (None, query) => query.map(<[u8]>::to_vec),
        };
        let has_body = !session.is_body_empty();
        let form = if is_api && has_body { Form::of(&session.req_header().headers)? } else { Form::None };
        match (gathered.credential(), form) {
            (Some(presented), form) => {
                let granted = self.decide(session, presented, permission, route.also, Room::ForLogin).await?;
                let mask =
                    form.scanner().map(|scanner| Mask::new(scanner, PresentedCredential::copy_of(presented)));
                Ok(Admitted { granted: Some(granted), query, body: self.stream(session, mask, None) })
            }
            (None, Form::Declared(scanner)) => {
                let (held, mut spool) = self.spool(session, scanner).await?;
                let presented = held.presented();
                let granted = self.decide(session, presented, permission, route.also, Room::Taken).await?;
                spool.accept();
                Ok(Admitted { granted: Some(granted), query, body: Body::spooled(spool) })
            }
            (None, Form::None | Form::Undeclared(_)) => {
                self.note_no_credential(session, "no credential");
                Err(Refusal::NoCredential)
            }
        }
    }

    /// Refuses a request that another site had a browser send, where it may change something or sends mail. Its credential is
    /// `ambient`: the browser adds it by itself, and the request carries none of its own.
    fn refuse_cross_site(
        &self,
        session: &ServerSession,
        ambient: Presented<'_>,
        route: &Routed,
    ) -> Result<(), Refusal> {
        let request = session.req_header();
        let sends_mail = route.permissions().contains(Permission::Email);
        if !sends_mail && !cross_site::may_change_something(request) {
            return Ok(());
        }
        let is_trusted = self.client.is_trusted(&self.plan.trusted_proxies);
        let Some(reason) = cross_site::reason(request, self.client, is_trusted) else { return Ok(()) };
        let (access, entry) = (&self.site.access, self.site.entry);
        access.note_unchecked(ambient.username, entry, self.peer(session), reason);
        Err(Refusal::CrossSite(entry))
    }

    /// Where nobody has to present a credential, one that is there all the same is kept from the backend. It isn't judged:
    /// `api_key` may be the name of somebody else's parameter.
    fn admit_anybody(
        &self,
        session: &mut ServerSession,
        target: &Target<'_>,
        is_api: bool,
    ) -> Result<Admitted, Refusal> {
        let query = target.query.map(|query| match is_api {
            true => without_credential(query).unwrap_or_else(|| query.to_vec()),
            false => query.to_vec(),
        });
        let form = match is_api && !session.is_body_empty() {
            true => Form::of(&session.req_header().headers)?,
            false => Form::None,
        };
        let mask = form.scanner().map(Mask::lenient);
        let room = match session.is_body_empty() {
            true => None,
            false => Some(self.take(session, Use::Upload)?),
        };
        Ok(Admitted {
            granted: None,
            query: query.filter(|query| !query.is_empty()),
            body: self.stream(session, mask, room),
        })
    }

    async fn decide(
        &self,
        session: &ServerSession,
        presented: Presented<'_>,
        permission: Permission,
        also: Permissions,
        room: Room,
    ) -> Result<Granted, Refusal> {
        let granted = self.decide_on(session, presented, permission, room).await?;
        if also.is_empty() {
            return Ok(granted);
        }
        // On the heap, since it is rare, and every request would carry the room for it.
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
        session: &ServerSession,
        presented: Presented<'_>,
        permission: Permission,
        room: Room,
    ) -> Result<Granted, Refusal> {
        let site = self.site;
        if let Some(granted) = site.access.check_cached(&presented, permission, site.entry) {
            self.client.note_accepted();
            return Ok(granted);
        }
        // The check may wait for others.
        let _room = match room {
            Room::Taken => None,
            Room::ForLogin => Some(self.take(session, Use::Login)?),
        };
        let peer = self.peer(session);
        // What else is logged of it carries the request's number.
        let span = info_span!("request", id = peer.request_id);
        match site.access.authorize(presented, permission, site.entry, peer).instrument(span).await {
            Decision::Allowed(granted) => {
                self.client.note_accepted();
                Ok(granted)
            }
            Decision::Denied(denial) => Err(denial.into()),
            Decision::Unavailable(unavailable) => Err(unavailable.into()),
        }
    }

    fn note_no_credential(&self, session: &ServerSession, reason: &str) {
        self.site.access.note_no_credential(self.site.entry, self.peer(session), reason);
    }

    fn peer(&self, session: &ServerSession) -> Peer<'_> {
        let source = self.source(session);
        Peer { source, request_id: self.request_id.to_str().unwrap_or_default() }
    }

    fn source(&self, session: &ServerSession) -> IpAddr {
        self.client.source(&session.req_header().headers, &self.plan.trusted_proxies)
    }

    fn take(&self, session: &ServerSession, purpose: Use) -> Result<QuotaLease, Refusal> {
        request_quota::take(self.site, self.plan, self.client, session.req_header(), purpose)
    }

    /// `room` is held until the body ends.
    fn stream(&self, session: &mut ServerSession, mask: Option<Mask>, room: Option<QuotaLease>) -> Body {
        if session.is_body_empty() {
            return Body::empty();
        }
        let timeouts = &self.plan.timeouts;
        let wants_continue = expects_continue(session).then_some(timeouts.write);
        Body::streamed(mask, timeouts.body, wants_continue, room)
    }

    /// Reads a form to its end, since the credential may stand there.
    async fn spool(
        &self,
        session: &mut ServerSession,
        mut scanner: BodyScanner,
    ) -> Result<(PresentedCredential, Spool), Refusal> {
        let plan = self.plan;
        let lease = self.take(session, Use::Form)?;
        let limit = plan.forms.max_body;
        if let Framing::Length(length) = Framing::of(session.req_header(), false)
            && length > limit
        {
            return Err(Refusal::TooLarge);
        }
        if expects_continue(session) && !respond::say_continue(session, plan.timeouts.write).await {
            return Err(Refusal::Timeout);
        }
        let mut spool = Spool::new(&plan.forms, lease);
        let mut pace = Pace::of_unknown(&plan.timeouts);
        let unspoolable = |e| refusal_of(spool_failed(e));
        while let Some(piece) = pace.read(session, Some(spool.lease())).await.map_err(refusal_of)? {
            if spool.length() + piece.len() as u64 > limit {
                return Err(Refusal::TooLarge);
            }
            let mut piece = BytesMut::from(piece);
            scanner.scan(&mut piece).map_err(|e| refusal_of(form_refused(e)))?;
            spool.write(&piece).await.map_err(|error| match error {
                SpoolError::Io(error) => unspoolable(error),
                SpoolError::NoRoom => Refusal::Overloaded("Too many large requests at once, try again"),
            })?;
        }
        let held = scanner.finish().map_err(|e| refusal_of(form_refused(e)))?;
        spool.rewind().await.map_err(unspoolable)?;
        let Some(held) = held else {
            self.note_no_credential(session, "no credential");
            return Err(Refusal::NoCredential);
        };
        Ok((held, spool))
    }
}

/// A request's room.
#[derive(Clone, Copy)]
enum Room {
    /// Room that was taken before.
    Taken,
    /// Room to be taken if the login has to be checked.
    ForLogin,
}

/// The credential of the `Authorization` header; another scheme than Basic presents none.
pub fn authorization<'b>(
    values: header::GetAll<'_, HeaderValue>,
    buffer: &'b mut [u8; BASIC_BUFFER],
) -> Result<Option<Presented<'b>>, Refusal> {
    let mut values = values.iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::Malformed("Authorization is given twice".into()));
    }
    match basic(value.as_bytes(), buffer) {
        Ok(presented) => Ok(Some(presented)),
        Err(BasicError::OtherScheme) => Ok(None),
        Err(BasicError::TooLong | BasicError::Malformed) => Err(Refusal::BadCredential),
    }
}

/// What looks for the credential in a body, where that is a form. It has to see what the backend sees.
enum Form {
    /// It is none.
    None,
    /// It says that it is one: the credential may stand there.
    Declared(BodyScanner),
    /// It says nothing, so that some backends take it for one and others for bytes. Nobody is asked to present a credential
    /// there, and so such a body is never read ahead; one that stands there must still not contradict the header.
    Undeclared(BodyScanner),
}

impl Form {
    fn of(headers: &HeaderMap) -> Result<Form, Refusal> {
        let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
        let kind = kinds.next().map_or(&b""[..], |kind| kind.as_bytes().trim_ascii());
        if kinds.next().is_some() {
            return Err(Refusal::Malformed("Content-Type is given twice".into()));
        }
        if kind.is_empty() {
            return Ok(Form::Undeclared(BodyScanner::for_untyped()));
        }
        let scanner =
            BodyScanner::for_content_type(kind).map_err(|e| Refusal::Malformed(e.to_string().into()))?;
        if scanner.is_some() && headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::Malformed("A form must not have a Content-Encoding".into()));
        }
        Ok(scanner.map_or(Form::None, Form::Declared))
    }

    fn scanner(self) -> Option<BodyScanner> {
        match self {
            Form::None => None,
            Form::Declared(scanner) | Form::Undeclared(scanner) => Some(scanner),
        }
    }
}

/// Whether the client waits for a 100 before it sends its body (RFC 9110 section 10.1.1).
pub fn expects_continue(session: &ServerSession) -> bool {
    session.req_header().version != Version::HTTP_10
        && session
            .get_header(header::EXPECT)
            .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

fn ambiguous(error: CredentialError) -> Refusal {
    Refusal::Malformed(Cow::Owned(error.to_string()))
}

fn refusal_of(error: BodyError) -> Refusal {
    match error {
        BodyError::Refused(refusal) => refusal,
        // Nobody reads it any more.
        BodyError::Gone => Refusal::Timeout,
    }
}
