//! The management API: get, add, edit and remove credentials (docs/api.md).

use std::sync::OnceLock;

use bytes::{Bytes, BytesMut};
use http::{Method, Version};
use pingora_timeout::timeout;
use tracing::{Instrument, info_span};

use super::authorize;
use super::body::error::BodyError;
use super::body::pacing::Pace;
use super::client_session::ClientSession;
use super::cors;
use super::cross_site;
use super::error::Refusal;
use super::headers::answer::AnswerHead;
use super::peer::HttpPeer;
use super::proxy::exchange::{BrokenOff, Exchange, Side};
use super::quota::{QuotaLease, Use};
use super::refused::{log_refusal, status_of};
use super::request_quota;
use super::respond;
use super::service::{HttpService, Plan};
use super::target::{Target, ambiguous};
use crate::domain::{AccountError, CredentialId, RefusalReason, RequestId};
use crate::service::access::{HolderDecision, Peer};
use crate::service::credentials::{Addition, Edit, Manager};
use crate::service::{self, Credentials, Origin};
use crate::state::cluster::Unconfirmed;
use crate::wire::reply as text;
use crate::wire::{
    BasicBuffer, CallParameters, CallParametersError, CredentialsAction, CredentialsCall, FieldKind,
    PresentedCredential, ReadingKind, Readings, ReplyFormat, one_credential, unreserved,
};

/// The most bytes of a request's body. Its parameters need a fraction of them.
const BODY_LIMIT: usize = 64 * 1024;

/// The methods of all calls.
pub const METHODS: &str = "GET, POST";

/// The credentials that are read from the store at once for a list.
const PAGE: u32 = 1000;

/// Returns true if a request is for the management API. Such a request is never forwarded.
///
/// # Errors
/// 400 if the path belongs to it in one reading, and not in another.
pub fn is_for(target: &Target<'_>, readings: &Readings) -> Result<bool, Refusal> {
    let is_call = belongs(unreserved(&target.path).as_bytes());
    match readings
        .iter()
        .find(|reading| reading.kind != ReadingKind::Folded && belongs(&reading.path) != is_call)
    {
        Some(reading) => Err(ambiguous(readings.ambiguity(reading))),
        None => Ok(is_call),
    }
}

/// Returns true if a path belongs to the management API, even if no call has that name.
fn belongs(path: &[u8]) -> bool {
    const PREFIX: &[u8] = b"/api/credentials";
    path.len() >= PREFIX.len()
        && path[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
        && path.get(PREFIX.len()).is_none_or(|next| matches!(next, b'/' | b'.'))
}

/// A call of the management API.
pub struct Call<'a> {
    /// The entry that received it.
    pub site: &'a HttpService,
    /// The service that makes the changes.
    pub credentials: &'a Credentials,
    /// The client.
    pub client: &'a HttpPeer,
    /// The limits.
    pub plan: &'a Plan,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// Gets the username of the account holder, or of a credential that could not be checked.
    pub user: &'a OnceLock<String>,
}

impl Call<'_> {
    /// Answers the call. Every error is answered in the call's own format, which the suffix of its path chooses.
    pub async fn answer(&self, session: &mut ClientSession, target: &Target<'_>) -> Exchange {
        let performed = match CredentialsCall::from_path(&unreserved(&target.path)) {
            Some(asked) => self.perform(session, target, &asked).await,
            None => Err(Refused::now(Refusal::NotFound(
                "Unknown API call: the calls are get, add, edit and remove, each with .json or .xml".into(),
            ))),
        };
        match performed {
            Ok(replied) => replied,
            Err(Refused { refusal: Refusal::ClientGone, .. }) => Exchange::ClientGone,
            Err(Refused { refusal, is_audited }) => {
                if !is_audited {
                    let source = self.client.source(session.head().fields(), &self.plan.trusted_proxies);
                    let user = self.user.get().map_or("", |user| user);
                    log_refusal(self.site, source, self.request_id, user, &refusal);
                }
                let format = ReplyFormat::of_path(&target.path);
                let refusal = refusal.of_places(self.plan.places_of_management());
                let request = session.head();
                let room = request_quota::take_for_refusal(self.site, self.plan, self.client, request);
                let Some(_room) = room else {
                    let within = self.plan.timeouts.write;
                    let (origins, id) = (&self.plan.cors_origins, self.request_id);
                    let whole = respond::refuse_without_body(session, &refusal, origins, id, within).await;
                    return ended(refusal.status(), whole);
                };
                respond::settle(session).await;
                let body = text::error(format, &refusal.reason());
                let replied = self.write(session, format, refusal.status(), body, Some(&refusal)).await;
                if matches!(replied, Exchange::Answered(_)) {
                    respond::drain(session).await;
                }
                replied
            }
        }
    }

    async fn perform(
        &self,
        session: &mut ClientSession,
        target: &Target<'_>,
        asked: &CredentialsCall,
    ) -> Result<Exchange, Refused> {
        if !matches!(*session.head().method(), Method::GET | Method::POST) {
            return Err(Refusal::Method(METHODS).into());
        }
        let mut parameters = CallParameters::with_credential_in(self.plan.places_of_management());
        if let Some(query) = &target.query {
            parameters.add_query(query).map_err(parameters_refused)?;
        }
        let has_body = !session.is_body_empty();
        let request = session.head();
        // A login in the header or the query doesn't share the quota of forms that may contain one.
        let purpose = match has_body && !request.fields().contains(FieldKind::Authorization) {
            true => Use::Form,
            false => Use::Login,
        };
        let mut room = request_quota::take(self.site, self.plan, self.client, request, purpose)?;
        if has_body {
            let body = self.read_body(session, &mut room).await?;
            let kind = session.head().fields().get(FieldKind::ContentType).unwrap_or_default();
            parameters.add_body(kind, &body).map_err(parameters_refused)?;
        }
        let manager = self.recognise(session, &parameters).await?;
        self.client.note_accepted();
        drop(room);
        let username = parameters.get("username").map_err(malformed)?;
        let permissions = parameters.permissions().map_err(|error| {
            let mut is_audited = false;
            if let CallParametersError::Permissions(why) = &error {
                let action = audited(asked.action);
                let refused = service::ManagementError::Permissions(why.clone());
                self.credentials.refused(&manager, action, username.unwrap_or_default(), &refused);
                is_audited = true;
            }
            Refused { refusal: malformed(error), is_audited }
        })?;
        let needed = || username.ok_or(Refusal::Malformed("username is missing".into()));
        let password = parameters.get("password").map_err(malformed)?;
        // On the heap, so that a login that waits for its check takes no memory for a change.
        let changed = match asked.action {
            CredentialsAction::Get => {
                return Box::pin(self.get(session, asked, &manager, username)).await;
            }
            CredentialsAction::Add => {
                let username = needed()?;
                let password = password.ok_or(Refusal::Malformed("password is missing".into()))?;
                let permissions = permissions.unwrap_or_default();
                let password = password.as_bytes();
                let addition = Addition { username, password, permissions, ..Addition::default() };
                Box::pin(self.credentials.add(&manager, addition)).await
            }
            CredentialsAction::Edit => {
                let permissions = permissions.unwrap_or_default();
                let (username, password) = (needed()?, password.map(str::as_bytes));
                let edit = Edit { username, password, permissions, ..Edit::default() };
                Box::pin(self.credentials.edit(&manager, edit)).await
            }
            CredentialsAction::Remove => Box::pin(self.credentials.remove(&manager, needed()?)).await,
        };
        let count = changed.map_err(Refused::by_service)?.count;
        Ok(self.write(session, asked.format, 200, text::success(asked.format, count), None).await)
    }

    /// Authenticates the account holder, who alone manages credentials.
    async fn recognise(
        &self,
        session: &ClientSession,
        parameters: &CallParameters,
    ) -> Result<Manager, Refusal> {
        let mut buffer = BasicBuffer::default();
        let source = self.client.source(session.head().fields(), &self.plan.trusted_proxies);
        let peer = Peer { source, request_id: self.request_id.as_str(), code: status_of };
        let access = &self.site.access;
        let places = self.plan.places_of_management();
        let basic = match places.basic {
            true => authorize::authorization(session.head(), &mut buffer),
            false => Ok(None),
        };
        if basic.as_ref().is_err_and(|refusal| *refusal == Refusal::BadCredential) {
            access.note_no_credential(self.site.entry, peer, RefusalReason::MalformedCredential.as_str());
        }
        let basic = basic?;
        let held = parameters.credential().map_err(malformed)?;
        let of_parameters = held.as_ref().map(PresentedCredential::presented);
        let presented = one_credential(basic, of_parameters).map_err(malformed)?;
        // A login that a browser may have added by itself, and no other credential.
        if let (Some(ambient), None) = (basic, &held) {
            let is_trusted = self.client.is_trusted(&self.plan.trusted_proxies);
            let origins = &self.plan.cors_origins;
            if let Some(reason) = cross_site::reason(session.head(), self.client, is_trusted, origins) {
                access.note_unchecked(ambient.username, self.site.entry, peer, reason);
                return Err(Refusal::CrossSite(places));
            }
        }
        let Some(presented) = presented else {
            access.note_no_credential(self.site.entry, peer, RefusalReason::NoCredential.as_str());
            return Err(Refusal::NoCredential);
        };
        let span = info_span!("request", id = peer.request_id);
        match access.authenticate_holder(presented, self.site.entry, peer).instrument(span).await {
            HolderDecision::Holder(granted) => {
                self.user.get_or_init(|| granted.name().as_str().to_owned());
                let request_id = peer.request_id.to_owned();
                let origin = Origin::Remote { source, request_id, entry: self.site.entry };
                Manager::holder(&granted, origin).ok_or(Refusal::NotHolder)
            }
            HolderDecision::NotHolder => Err(Refusal::NotHolder),
            HolderDecision::Denied(denial) => Err(denial.into()),
            HolderDecision::Unavailable(unavailable) => {
                self.user.get_or_init(|| String::from_utf8_lossy(presented.username).into_owned());
                Err(unavailable.into())
            }
        }
    }

    async fn read_body(
        &self,
        session: &mut ClientSession,
        room: &mut QuotaLease,
    ) -> Result<BytesMut, Refusal> {
        let mut body = BytesMut::new();
        let within = self.plan.timeouts.write;
        if session.head().expects_continue() && !session.say_continue(within).await {
            return Err(Refusal::ClientGone);
        }
        let mut pace = Pace::of_unknown(&self.plan.timeouts);
        loop {
            match pace.read(session, Some(room)).await {
                Ok(Some(piece)) if body.len() + piece.len() > BODY_LIMIT => return Err(Refusal::TooLarge),
                Ok(Some(piece)) => {
                    let before = body.len();
                    body.extend_from_slice(&piece);
                    if !room.cover_in_memory(before as u64, body.len() as u64) {
                        return Err(Refusal::Overloaded(request_quota::NO_ROOM.into()));
                    }
                }
                Ok(None) => return Ok(body),
                Err(BodyError::Refused(refusal)) => return Err(refusal),
                Err(BodyError::Gone) => return Err(Refusal::ClientGone),
            }
        }
    }

    async fn get(
        &self,
        session: &mut ClientSession,
        asked: &CredentialsCall,
        manager: &Manager,
        username: Option<&str>,
    ) -> Result<Exchange, Refused> {
        if let Some(username) = username {
            let credential = self.credentials.get(manager, username).await.map_err(Refused::by_service)?;
            let body = text::credential(asked.format, &credential);
            return Ok(self.write(session, asked.format, 200, body, None).await);
        }
        let mut list = text::CredentialList::new(asked.format);
        let mut piece = String::new();
        list.start(&mut piece);
        let mut last: Option<CredentialId> = None;
        let mut begun = false;
        loop {
            let page = self.credentials.list(manager, last, PAGE).await;
            let page = match page {
                Ok(page) => page,
                Err(refusal) if !begun => return Err(Refused::by_service(refusal)),
                Err(refusal) => {
                    let detail = refusal.to_string();
                    return Ok(Exchange::BrokenOff(BrokenOff { status: 200, by: Side::Gatepost, detail }));
                }
            };
            last = page.last().map(|credential| credential.id);
            let complete = page.len() < PAGE as usize;
            for credential in &page {
                list.push(&mut piece, credential);
            }
            if complete {
                list.end(&mut piece);
            }
            if complete && !begun {
                return Ok(self.write(session, asked.format, 200, piece, None).await);
            }
            let within = self.plan.timeouts.write;
            if !begun {
                begun = true;
                let answer = self.long_head(asked, session);
                if session.write_head(&answer, false).is_err() {
                    return Ok(ended(200, false));
                }
            }
            let written = session.write_body(Bytes::from(std::mem::take(&mut piece)), complete);
            let whole = matches!(timeout(within, written).await, Ok(Ok(())));
            if !whole || complete {
                return Ok(ended(200, whole));
            }
        }
    }

    /// The head of a list that is written while it is read. Over HTTP/1.0 the end of the connection ends it.
    fn long_head(&self, asked: &CredentialsCall, session: &mut ClientSession) -> AnswerHead {
        let mut answer = AnswerHead::new(200, asked.format.content_type(), None, self.request_id);
        match session.head().version() {
            Version::HTTP_11 => answer.set_chunked(),
            Version::HTTP_10 => session.close_afterwards(),
            _ => {}
        }
        cors::add_fields(&mut answer, session, &self.plan.cors_origins);
        answer
    }

    async fn write(
        &self,
        session: &mut ClientSession,
        format: ReplyFormat,
        status: u16,
        body: String,
        refusal: Option<&Refusal>,
    ) -> Exchange {
        let mut answer = AnswerHead::new(status, format.content_type(), Some(body.len()), self.request_id);
        if let Some(refusal) = refusal {
            respond::add_refusal_fields(&mut answer, refusal);
        }
        cors::add_fields(&mut answer, session, &self.plan.cors_origins);
        let whole = respond::write(session, &answer, Bytes::from(body), self.plan.timeouts.write).await;
        ended(status, whole)
    }
}

/// The refusal of a call.
struct Refused {
    refusal: Refusal,
    /// True if it is in the audit trail.
    is_audited: bool,
}

impl Refused {
    fn now(refusal: Refusal) -> Refused {
        Refused { is_audited: refusal.is_audited(), refusal }
    }

    /// A refusal of the service, which has written the line of the audit trail.
    fn by_service(error: service::ManagementError) -> Refused {
        Refused { refusal: refusal_of(error), is_audited: true }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Refused {
        Refused::now(refusal)
    }
}

/// The outcome of a call that was answered with that status; `whole` is false where the client took no more of it.
fn ended(status: u16, whole: bool) -> Exchange {
    if whole { Exchange::Answered(status) } else { Exchange::BrokenOff(BrokenOff::by_client(status)) }
}

/// The table from the service's errors to answers.
fn refusal_of(refusal: service::ManagementError) -> Refusal {
    use service::ManagementError as E;
    match refusal {
        E::Username(_)
        | E::Password(_)
        | E::Permissions(_)
        | E::Note(_)
        | E::NotAllowed(AccountError::AboveRights(_) | AccountError::TooManyAtOnce) => {
            Refusal::Malformed(refusal.to_string().into())
        }
        // The holder lost its rights during the call.
        E::NotAllowed(AccountError::Suspended | AccountError::NoSuchAccount | AccountError::LoginChanged) => {
            Refusal::BadCredential
        }
        E::NotAllowed(AccountError::NoSuchCredential | AccountError::NoSuchSession) => {
            Refusal::NotFound(refusal.to_string().into())
        }
        E::NotAllowed(AccountError::NameTaken | AccountError::ConditionFailed) => {
            Refusal::Conflict(refusal.to_string().into())
        }
        E::Busy => Refusal::Overloaded("Temporarily unavailable, try again".into()),
        E::Store(_) => Refusal::Overloaded("The change was not made, try again".into()),
        E::Unconfirmed(Unconfirmed::Silent(_)) => {
            Refusal::Overloaded("The change is stored, but not yet in force everywhere, try again".into())
        }
        E::Unconfirmed(Unconfirmed::Unknown { within, .. }) => {
            let text = "It is unknown if the change was made. If so, it is in force everywhere within";
            let seconds = within.as_millis().div_ceil(1000);
            Refusal::Overloaded(format!("{text} {seconds} s at the latest. Try again").into())
        }
    }
}

/// The audit trail's name of the action.
fn audited(action: CredentialsAction) -> service::audit::AuditAction {
    match action {
        CredentialsAction::Get => service::audit::AuditAction::CredentialGet,
        CredentialsAction::Add => service::audit::AuditAction::CredentialAdd,
        CredentialsAction::Edit => service::audit::AuditAction::CredentialEdit,
        CredentialsAction::Remove => service::audit::AuditAction::CredentialRemove,
    }
}

fn parameters_refused(error: CallParametersError) -> Refusal {
    match error {
        CallParametersError::TooLarge => Refusal::TooLarge,
        error => malformed(error),
    }
}

fn malformed(error: impl std::fmt::Display) -> Refusal {
    Refusal::Malformed(error.to_string().into())
}
