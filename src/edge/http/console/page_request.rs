//! A request of a principal that is logged in, as the pages get it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::answer::ConsoleAnswer;
use super::form_fault::{FormFault, FormField};
use super::notice;
use super::route::ConsoleRoute;
use super::services::Console;
use super::signed_text::{self, SignedPurpose};
use crate::domain::{Entry, PrincipalKind, RequestId, SessionCookie, SessionFacts};
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::views::{ConsoleFrame, FormErrors, ResultBanner, Section, Site, effect_words};
use crate::edge::http::refused::status_of;
use crate::wire::PageForm;
use crate::service::access::{Granted, Peer};
use crate::service::credentials::Manager;
use crate::service::sessions::{ConfirmOutcome, Effect};
use crate::service::{ManagementError, Origin};

/// The time after a login or a confirmation during which changes need no password, in seconds.
const CONFIRMED_FOR: i64 = 300;

/// The parameter of an address that fills in a form again.
pub const RESUMED: &str = "form";

/// A request by the cookie of a session.
pub struct PageRequest<'a> {
    /// The services.
    pub console: &'a Console,
    /// The title and the files of the pages.
    pub site: &'a Site,
    /// The principal, whose session was checked for this request.
    pub granted: Granted,
    /// The cookie.
    pub cookie: &'a SessionCookie,
    /// The token of the session's forms.
    pub form_token: String,
    /// The route.
    pub route: ConsoleRoute,
    /// The query.
    pub query: PageForm,
    /// The form that was sent; empty if there is none.
    pub form: PageForm,
    /// The time in seconds since 1970.
    pub now: i64,
    /// The address of the client.
    pub source: IpAddr,
    /// The request ID.
    pub request_id: &'a RequestId,
    /// True once the password was given with this request.
    pub is_confirmed: AtomicBool,
}

/// The reason for which there is no page.
#[derive(Debug)]
pub enum PageRefusal {
    /// The request itself.
    Request(Refusal),
    /// A form of another site.
    OtherSite,
    /// A page of the account holder, for a credential.
    NotHolder,
    /// A session that has ended while the request was answered.
    Ended,
    /// The store.
    Service(ManagementError),
}

impl From<Refusal> for PageRefusal {
    fn from(refusal: Refusal) -> PageRefusal {
        PageRefusal::Request(refusal)
    }
}

impl From<ManagementError> for PageRefusal {
    fn from(error: ManagementError) -> PageRefusal {
        PageRefusal::Service(error)
    }
}

/// The result of a page.
pub type PageResult = Result<ConsoleAnswer, PageRefusal>;

impl<'a> PageRequest<'a> {
    /// Returns the frame of a page in that section, with the result of the change that led here.
    pub fn frame(&self, section: Section) -> ConsoleFrame<'a> {
        let signed = self.query.get(notice::PARAMETER);
        let result = signed.and_then(|signed| notice::open(&self.form_token, signed, self.now));
        self.frame_with(section, result)
    }

    /// Returns the frame with that result.
    pub fn frame_with(&self, section: Section, result: Option<ResultBanner>) -> ConsoleFrame<'a> {
        let is_holder = self.granted.kind() == PrincipalKind::Holder;
        ConsoleFrame {
            site: self.site,
            username: self.granted.name().to_string(),
            account: (!is_holder).then(|| self.granted.account_name().to_string()),
            section,
            token: self.form_token.clone(),
            result,
        }
    }

    /// Leads to a page that says what was done, and how long it took until it was in effect.
    pub fn done(&self, page: ConsoleRoute, text: String, effect: &Effect) -> ConsoleAnswer {
        let effect = effect_words(effect.nodes, effect.took);
        let banner = ResultBanner { text, effect, is_done: true };
        ConsoleAnswer::see_other(notice::address(&page.path(), &self.form_token, &banner, self.now))
    }

    /// Returns the manager of the account's credentials.
    ///
    /// # Errors
    /// The principal is a credential.
    pub fn manager(&self) -> Result<Manager, PageRefusal> {
        Manager::holder(&self.granted, self.origin()).ok_or(PageRefusal::NotHolder)
    }

    /// Returns the origin of a change, for the audit trail.
    pub fn origin(&self) -> Origin {
        let (source, request_id) = (self.source, self.request_id.as_str().to_owned());
        Origin::Remote { entry: Entry::Console, source, request_id }
    }

    /// Returns the client, as the throttle and the audit trail see it.
    pub fn peer(&self) -> Peer<'_> {
        Peer { source: self.source, request_id: self.request_id.as_str(), code: status_of }
    }

    /// Returns the facts of the session.
    pub fn session(&self) -> Result<&SessionFacts, PageRefusal> {
        self.granted.session().ok_or(PageRefusal::Ended)
    }

    /// Returns true if a change needs the password again.
    pub fn asks_confirmation(&self) -> bool {
        let is_recent = |facts: &SessionFacts| self.now.saturating_sub(facts.confirmed_at) < CONFIRMED_FOR;
        !self.is_confirmed.load(Ordering::Relaxed) && !self.granted.session().is_some_and(is_recent)
    }

    /// Checks the token of the form, and the password where it is needed. Nothing may be changed before.
    ///
    /// # Errors
    /// The fault to be shown at the form.
    pub async fn check_form(&self) -> Result<(), FormFault> {
        let token = self.form.get("token").unwrap_or_default();
        if !self.cookie.is_form_token(token.as_bytes()) {
            return Err(FormFault::stale());
        }
        match self.asks_confirmation() {
            true => self.confirm(FormField::Confirm, self.form.get("confirm").unwrap_or_default()).await,
            false => Ok(()),
        }
    }

    /// Checks the password of the principal, which is in that field.
    ///
    /// # Errors
    /// The fault to be shown at the field.
    pub async fn confirm(&self, field: FormField, password: &str) -> Result<(), FormFault> {
        if password.is_empty() {
            return Err(FormFault::invalid(field, "Enter your password."));
        }
        match self.console.sessions.confirm(&self.granted, password.as_bytes(), self.peer()).await {
            ConfirmOutcome::Confirmed => {
                self.is_confirmed.store(true, Ordering::Relaxed);
                Ok(())
            }
            ConfirmOutcome::Denied(denial) => Err(FormFault::of_denial(field, denial)),
            ConfirmOutcome::NoSession => Err(FormFault::stale()),
            ConfirmOutcome::Unavailable(_) => Err(FormFault::unchecked(field)),
        }
    }

    /// Returns the values of a form that was sent after its session had ended, if the address has them.
    pub fn resumed(&self) -> Option<PageForm> {
        let signed = self.query.get(RESUMED)?;
        let text = signed_text::open(&self.form_token, SignedPurpose::ResumedForm, signed)?;
        PageForm::parse(&text).ok()
    }
}

/// Returns the errors of a form with this fault, if there is one.
pub fn errors(fault: Option<&FormFault>) -> FormErrors {
    let mut errors = FormErrors::default();
    if let Some(fault) = fault {
        errors.add(fault.field.id(), fault.text.clone());
    }
    errors
}
