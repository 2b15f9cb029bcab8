//! The credentials of an account as they are shown: pages in the order of their names, with search and filter, and single ones.

use super::activity::now;
use super::credentials::{Credentials, Manager};
use super::mutation::ManagementError;
use crate::domain::{
    AccountError, Canonical, CredentialDetails, CredentialId, NamePrefix, PageCursor, PageDirection,
    PrincipalId,
};
use crate::state::store::{CredentialFilter, NameRange};

/// The most credentials of a page.
pub const LONGEST_PAGE: u32 = 200;

/// The credentials that are asked for.
#[derive(Clone, Debug, Default)]
pub struct CredentialPageQuery<'a> {
    /// The beginning of their names, in any case; empty for all.
    pub prefix: &'a str,
    /// The filter.
    pub filter: CredentialFilter,
    /// The cursor of another page; `None` for the first page.
    pub cursor: Option<PageCursor>,
    /// The length of the page: 1 to 200.
    pub limit: u32,
}

/// A page of credentials.
#[derive(Clone, Debug)]
pub struct CredentialPage {
    /// The credentials, in the order of their canonical names.
    pub credentials: Vec<CredentialDetails>,
    /// The cursor of the page before this one, unless this is the first.
    pub previous: Option<PageCursor>,
    /// The cursor of the page after this one, unless this is the last.
    pub next: Option<PageCursor>,
    /// True if the page has less than was asked for, and there may be more: what passes the filter is rare, and each page looks through a
    /// bounded number of credentials. The cursor in the direction of the page continues.
    pub is_short: bool,
}

impl Credentials {
    /// Returns a page of the credentials of an account. Its cost doesn't grow with the number of credentials, whatever passes the filter.
    ///
    /// # Errors
    /// [`ManagementError::Store`].
    pub async fn page(
        &self,
        by: &Manager,
        query: &CredentialPageQuery<'_>,
    ) -> Result<CredentialPage, ManagementError> {
        let read = self.read_page(by, query).await;
        read.or_else(|refusal| self.not_shown(by, "", refusal))
    }

    async fn read_page(
        &self,
        by: &Manager,
        query: &CredentialPageQuery<'_>,
    ) -> Result<CredentialPage, ManagementError> {
        let Some(prefix) = NamePrefix::of(query.prefix) else { return Ok(CredentialPage::empty()) };
        let (store, account) = (&self.mutations.store, by.account());
        let whole = NameRange { lower: prefix.lower().to_owned(), upper: prefix.upper() };
        let (mut range, mut beyond) = (whole.clone(), None);
        let direction = query.cursor.map_or(PageDirection::Forwards, |cursor| cursor.direction);
        if let Some(cursor) = query.cursor {
            // A cursor of another search begins at the nearest end of this one.
            let bound = cursor.bound.text().clamp(whole.lower.clone(), whole.upper.clone());
            let (before, after) = whole.split_at(bound);
            let (own, other) = match direction {
                PageDirection::Forwards => (after, before),
                PageDirection::Backwards => (before, after),
            };
            range = own;
            beyond = Some((other, cursor.bound));
        }
        let limit = query.limit.clamp(1, LONGEST_PAGE);
        let slice = store.credential_page(account, &range, direction, &query.filter, limit).await?;
        let continues = slice.continues.map(|bound| PageCursor { direction, bound });
        let back = match beyond {
            Some((other, bound)) if store.has_credential_in(account, &other).await? => Some(bound),
            _ => None,
        };
        let is_short = continues.is_some() && slice.credentials.len() < limit as usize;
        let (previous, next) = match direction {
            PageDirection::Forwards => (back.map(PageCursor::backwards), continues),
            PageDirection::Backwards => (continues, back.map(PageCursor::forwards)),
        };
        let (filter, now) = (&query.filter, now());
        let mut credentials = slice.credentials;
        for details in &mut credentials {
            self.show_latest_use(details);
        }
        // What this process knows of the last use may be newer than what the filter has seen.
        credentials.retain(|details| filter.use_state.is_none_or(|wanted| details.use_state(now) == wanted));
        Ok(CredentialPage { credentials, previous, next, is_short })
    }

    /// Returns the credential of that number.
    ///
    /// # Errors
    /// [`AccountError::NoSuchCredential`], also if it belongs to another account, and [`ManagementError::Store`].
    pub async fn by_id(&self, by: &Manager, id: CredentialId) -> Result<CredentialDetails, ManagementError> {
        let found = self.mutations.store.credential_by_id(by.account(), id).await;
        self.shown(by, &format!("id {}", id.0), found.map_err(ManagementError::from))
    }

    /// Does the same before a change. That there is no such credential is then true in every running gateway, too.
    ///
    /// # Errors
    /// As [`Credentials::by_id`], and [`ManagementError::Unconfirmed`].
    pub async fn by_id_for_change(
        &self,
        by: &Manager,
        id: CredentialId,
    ) -> Result<CredentialDetails, ManagementError> {
        self.mutations.find(self.by_id(by, id)).await
    }

    /// Returns the credential of that name, with all that may be shown of it.
    ///
    /// # Errors
    /// As [`Credentials::by_id`].
    pub async fn by_name(&self, by: &Manager, username: &str) -> Result<CredentialDetails, ManagementError> {
        let found = match Canonical::of(username.as_bytes()) {
            Some(name) => self.mutations.store.credential_by_name(by.account(), &name).await,
            None => Ok(None),
        };
        self.shown(by, username, found.map_err(ManagementError::from))
    }

    fn shown(
        &self,
        by: &Manager,
        subject: &str,
        found: Result<Option<CredentialDetails>, ManagementError>,
    ) -> Result<CredentialDetails, ManagementError> {
        match found.and_then(|found| found.ok_or(AccountError::NoSuchCredential.into())) {
            Ok(mut details) => {
                self.show_latest_use(&mut details);
                Ok(details)
            }
            Err(refusal) => self.not_shown(by, subject, refusal),
        }
    }

    fn show_latest_use(&self, details: &mut CredentialDetails) {
        let id = PrincipalId(details.credential.id.0);
        details.last_use = self.mutations.last_uses.latest(id, details.last_use);
    }
}

impl CredentialPage {
    fn empty() -> CredentialPage {
        CredentialPage { credentials: Vec::new(), previous: None, next: None, is_short: false }
    }
}
