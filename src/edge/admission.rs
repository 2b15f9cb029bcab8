//! Whether a request may go on: the credential is found, wherever it stands, and decided on.

use std::borrow::Cow;

use bytes::BytesMut;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Version};
use pingora_core::protocols::http::ServerSession;
use tokio::sync::SemaphorePermit;
use tracing::{Instrument, info_span};
use zeroize::Zeroizing;

use super::body::{Body, BodyError, Mask, Pace, form_refused, spool_failed};
use super::client::Client;
use super::headers::Framing;
use super::refusal::Refusal;
use super::site::{Plan, Site};
use super::spool::Spool;
use super::target::Target;
use crate::config::Need;
use crate::domain::{Entry, Permission, Presented};
use crate::service::access::{Decision, Granted};
use crate::wire::{
    BASIC_BUFFER, BasicError, BodyScanner, CredentialError, Gathered, Held, basic, take_credential,
};

/// What is asked whether a request may go on.
pub struct Admission<'a> {
    /// The entry it came in on.
    pub site: &'a Site,
    /// Whose request it is.
    pub client: &'a Client,
    /// Limits.
    pub plan: &'a Plan,
    /// Its number.
    pub request_id: &'a HeaderValue,
}

/// A request that may go on.
pub struct Admitted<'a> {
    /// By whom; none on a public route.
    pub granted: Option<Granted>,
    /// Its query without the credential.
    pub query: Option<Vec<u8>>,
    /// What it carries, with the credential blotted out.
    pub body: Body,
    /// Its place among the spooled.
    _room: Option<SemaphorePermit<'a>>,
}

impl<'a> Admission<'a> {
    /// Finds the credential, wherever it stands, and decides.
    ///
    /// # Errors
    /// The refusal that the client gets.
    pub async fn admit(
        &self,
        session: &mut ServerSession,
        target: &Target<'_>,
        need: Need,
    ) -> Result<Admitted<'a>, Refusal> {
        let mut buffer = Zeroizing::new([0; BASIC_BUFFER]);
        let mut gathered = Gathered::new();
        let request = session.req_header();
        if need != Need::Public
            && let Some(presented) =
                authorization(request.headers.get_all(header::AUTHORIZATION), &mut buffer)?
        {
            gathered.add(presented).map_err(ambiguous)?;
        }
        // A form's fields are the API's way; a dashboard knows Basic only, and its fields are its own.
        let is_api = self.site.entry == Entry::Api;
        let taken = match target.query {
            Some(query) if is_api => take_credential(query).map_err(ambiguous)?,
            _ => None,
        };
        if let Some(taken) = &taken {
            gathered.add(taken.held.presented()).map_err(ambiguous)?;
        }
        let query = match (&taken, target.query) {
            (Some(taken), _) if taken.rest.is_empty() => None,
            (Some(taken), _) => Some(taken.rest.clone()),
            (None, query) => query.map(<[u8]>::to_vec),
        };
        let has_body = !session.is_body_empty();
        let scanner = if is_api && has_body { form_scanner(&session.req_header().headers)? } else { None };
        let Need::Permission(permission) = need else {
            let mask = scanner.map(|scanner| Mask::new(scanner, None));
            return Ok(Admitted { granted: None, query, body: self.stream(session, mask), _room: None });
        };
        match (gathered.credential(), scanner) {
            (Some(presented), scanner) => {
                let granted = self.decide(session, presented, permission).await?;
                let mask = scanner.map(|scanner| Mask::new(scanner, Some(Held::copy_of(presented))));
                Ok(Admitted { granted: Some(granted), query, body: self.stream(session, mask), _room: None })
            }
            (None, Some(scanner)) => {
                let (held, spool, room) = self.spool(session, scanner).await?;
                let granted = self.decide(session, held.presented(), permission).await?;
                Ok(Admitted { granted: Some(granted), query, body: Body::spooled(spool), _room: Some(room) })
            }
            (None, None) => Err(Refusal::NoCredential),
        }
    }

    async fn decide(
        &self,
        session: &ServerSession,
        presented: Presented<'_>,
        permission: Permission,
    ) -> Result<Granted, Refusal> {
        let site = self.site;
        if let Some(granted) = site.access.check_cached(&presented, permission, site.entry) {
            return Ok(granted);
        }
        let source = self.client.source(&session.req_header().headers, &self.plan.trusted_proxies);
        // What the audit trail says of it carries the request's number.
        let span = info_span!("request", id = self.request_id.to_str().unwrap_or_default());
        match site.access.authorize(presented, permission, site.entry, source).instrument(span).await {
            Decision::Allowed(granted) => Ok(granted),
            Decision::Denied(denial) => Err(denial.into()),
            Decision::Unavailable(unavailable) => Err(unavailable.into()),
        }
    }

    fn stream(&self, session: &mut ServerSession, mask: Option<Mask>) -> Body {
        if session.is_body_empty() {
            return Body::empty();
        }
        Body::streamed(mask, self.plan.timeouts.body, expects_continue(session))
    }

    /// Reads a form to its end, since the credential may stand there.
    async fn spool(
        &self,
        session: &mut ServerSession,
        mut scanner: BodyScanner,
    ) -> Result<(Held, Spool, SemaphorePermit<'a>), Refusal> {
        let plan = self.plan;
        let limit = plan.forms.max_body;
        if let Framing::Length(length) = Framing::of(session.req_header(), false)
            && length > limit
        {
            return Err(Refusal::TooLarge);
        }
        let room = self
            .site
            .spools
            .try_acquire()
            .map_err(|_| Refusal::Overloaded("Too many large requests at once, try again"))?;
        if expects_continue(session) {
            session.write_continue_response().await.map_err(|_| Refusal::Timeout)?;
        }
        let mut spool = Spool::new(plan.forms.memory, plan.forms.directory.clone());
        let mut pace = Pace::new(plan.timeouts.body);
        let unspoolable = |e| refusal_of(spool_failed(e));
        while let Some(piece) = pace.read(session).await.map_err(refusal_of)? {
            if spool.length() + piece.len() as u64 > limit {
                return Err(Refusal::TooLarge);
            }
            let mut piece = BytesMut::from(piece);
            scanner.scan(&mut piece).map_err(|e| refusal_of(form_refused(e)))?;
            spool.write(&piece).await.map_err(unspoolable)?;
        }
        let held = scanner.finish().map_err(|e| refusal_of(form_refused(e)))?;
        spool.rewind().await.map_err(unspoolable)?;
        Ok((held.ok_or(Refusal::NoCredential)?, spool, room))
    }
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
fn form_scanner(headers: &HeaderMap) -> Result<Option<BodyScanner>, Refusal> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let Some(kind) = kinds.next() else { return Ok(None) };
    if kinds.next().is_some() {
        return Err(Refusal::Malformed("Content-Type is given twice".into()));
    }
    let scanner = BodyScanner::for_content_type(kind.as_bytes())
        .map_err(|e| Refusal::Malformed(e.to_string().into()))?;
    if scanner.is_some() && headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::Malformed("A form must not have a Content-Encoding".into()));
    }
    Ok(scanner)
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
