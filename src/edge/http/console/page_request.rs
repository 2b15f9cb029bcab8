//! A request of a principal that is logged in, as the pages get it.

use std::time::Duration;

use super::answer::ConsoleAnswer;
use super::form_fault::{FaultField, FormFault};
use super::notice;
use super::route::ConsoleRoute;
use super::services::Console;
use super::signed_text::{self, SignedPurpose};
use crate::domain::{Entry, PrincipalKind, RequestId, SessionCookie, SessionFacts};
use crate::edge::http::error::Refusal;
use crate::edge::http::pages::views::{ConsoleFrame, FormErrors, ResultBanner, Section, Site, effect_words};
use crate::service::access::{Granted, Peer};
use crate::service::credentials::Manager;
use crate::service::sessions::{ConfirmOutcome, SessionTerms};
use crate::service::{Effect, ManagementError, Origin};
use crate::wire::PageForm;

/// The time after a login or a confirmation during which changes need no password.
const CONFIRMED_FOR: Duration = Duration::from_secs(300);

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
    /// True if a form was sent.
    pub is_sent: bool,
    /// The time in seconds since 1970.
    pub now: i64,
    /// The client, as the throttle and the audit trail see it.
    pub peer: Peer<'a>,
    /// The browser, as it names itself.
    pub browser: &'a str,
    /// The times of a session.
    pub terms: SessionTerms,
    /// The request ID.
    pub request_id: &'a RequestId,
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

    /// Returns the frame of a page with this fault. One of the whole form stands above the page, since it may be that something was changed.
    pub fn frame_for(&self, section: Section, fault: Option<&FormFault>) -> ConsoleFrame<'a> {
        let Some(fault) = fault else { return self.frame(section) };
        let text = if fault.is_above_page() { &fault.text } else { &fault.explanation };
        let banner = ResultBanner { text: text.clone(), effect: String::new(), is_done: false };
        self.frame_with(section, (!text.is_empty()).then_some(banner))
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
        let effect = self.effect_words(effect);
        self.leading_to(page, &ResultBanner { text, effect, is_done: true })
    }

    /// Returns the words for the effect of a change.
    pub fn effect_words(&self, effect: &Effect) -> String {
        effect_words(effect.nodes, self.console.has_other_nodes, effect.took)
    }

    /// Leads to a page with that result.
    pub fn leading_to(&self, page: ConsoleRoute, banner: &ResultBanner) -> ConsoleAnswer {
        ConsoleAnswer::see_other(notice::address(&page.path(), &self.form_token, banner, self.now))
    }

    /// Returns the manager of the account's credentials.
    ///
    /// # Errors
    /// The principal is a credential.
    pub fn manager(&self) -> Result<Manager, PageRefusal> {
        let manager = Manager::holder(&self.granted, self.origin()).ok_or(PageRefusal::NotHolder)?;
        Ok(manager.with_rules_for_people())
    }

    /// Returns the origin of a change, for the audit trail.
    pub fn origin(&self) -> Origin {
        let (source, request_id) = (self.peer.source, self.request_id.as_str().to_owned());
        Origin::Remote { entry: Entry::Console, source, request_id }
    }

    /// Returns true if a change needs the password again.
    pub fn asks_confirmation(&self) -> bool {
        let within = i64::try_from(CONFIRMED_FOR.as_secs()).unwrap_or(i64::MAX);
        let is_recent = |facts: SessionFacts| self.now.saturating_sub(facts.confirmed_at) < within;
        !self.granted.session().is_some_and(is_recent)
    }

    /// Asks the store if the password was given by way of another node, where this one knows of nothing.
    ///
    /// # Errors
    /// The store is unavailable.
    pub async fn look_for_confirmation(&self) -> Result<(), ManagementError> {
        self.console.sessions.is_confirmed(&self.granted, CONFIRMED_FOR).await.map(drop)
    }

    /// Returns true if the form has the token of the session.
    pub fn has_token(&self) -> bool {
        self.cookie.is_form_token(self.form.get("token").unwrap_or_default().as_bytes())
    }

    /// Checks the token of the form, and the password where it is needed. Nothing may be changed before.
    ///
    /// # Errors
    /// The fault to be shown at the form.
    pub async fn check_form(&self) -> Result<(), FormFault> {
        if !self.has_token() {
            return Err(FormFault::stale());
        }
        match self.asks_confirmation() {
            true => self.confirm(FaultField::Confirm, self.form.get("confirm").unwrap_or_default()).await,
            false => Ok(()),
        }
    }

    /// Checks the password of the principal, which is in that field.
    ///
    /// # Errors
    /// The fault to be shown at the field.
    pub async fn confirm(&self, field: FaultField, password: &str) -> Result<(), FormFault> {
        if password.is_empty() {
            return Err(FormFault::invalid(field, "Enter your password."));
        }
        match self.console.sessions.confirm(&self.granted, password.as_bytes(), self.peer).await {
            ConfirmOutcome::Confirmed => Ok(()),
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

/// Returns the errors of a form with this fault, unless it stands above the page.
pub fn errors(fault: Option<&FormFault>) -> FormErrors {
    let mut errors = FormErrors::default();
    let faults = fault.into_iter().flat_map(|fault| std::iter::once(fault).chain(&fault.others));
    for fault in faults.filter(|fault| !fault.is_above_page()) {
        errors.add(fault.field.id(), fault.text.clone());
    }
    errors
}
