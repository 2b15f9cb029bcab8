//! Pages of the credentials of an account in the order of their names, with all that is shown of them. Each page reads a bounded part of
//! the index, whatever it finds there.

use super::credentials::credential;
use super::statement::Statement;
use super::{Row, Store, StoreError, now, sql};
use crate::domain::last_use::UNUSED_AFTER;
use crate::domain::{
    AccountId, Canonical, CredentialDetails, CredentialId, CredentialVersion, Entry, LatestUse, NameBound,
    Note, PageDirection, Permissions, UseState,
};

/// Names that a page with a filter reads at most.
const READ_AT_MOST: u32 = 2_000;

/// A filter of credentials. All that it names must be so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CredentialFilter {
    /// The permissions of which one is held, in effect or not; empty for any.
    pub holds: Permissions,
    /// The state by the last use.
    pub use_state: Option<UseState>,
    /// True for those with a note only.
    pub has_note: bool,
}

/// The names of a page before it is read: from a bound (included) to another one (excluded).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRange {
    /// The lower bound.
    pub lower: String,
    /// The upper bound.
    pub upper: String,
}

impl NameRange {
    /// The two parts before and after a bound within it.
    pub fn split_at(&self, bound: String) -> (NameRange, NameRange) {
        let before = NameRange { lower: self.lower.clone(), upper: bound.clone() };
        (before, NameRange { lower: bound, upper: self.upper.clone() })
    }
}

/// A page that was read.
#[derive(Clone, Debug)]
pub struct CredentialSlice {
    /// The credentials in the order of their names.
    pub credentials: Vec<CredentialDetails>,
    /// The bound at which reading ended, if there may be more beyond it.
    pub continues: Option<NameBound>,
}

impl Store {
    /// Reads a page from one end of a range: at most `limit` credentials that pass the filter.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential_page(
        &self,
        account: AccountId,
        range: &NameRange,
        direction: PageDirection,
        filter: &CredentialFilter,
        limit: u32,
    ) -> Result<CredentialSlice, StoreError> {
        let mut range = range.clone();
        let mut end = None;
        if *filter != CredentialFilter::default() {
            end = self.name_at(account, &range, direction, READ_AT_MOST.max(limit)).await?;
            match (direction, &end) {
                (PageDirection::Forwards, Some(name)) => range.upper = NameBound::after(*name).text(),
                (PageDirection::Backwards, Some(name)) => range.lower = NameBound::before(*name).text(),
                (_, None) => {}
            }
        }
        let sql = match direction {
            PageDirection::Forwards => sql::PAGE_FORWARDS,
            PageDirection::Backwards => sql::PAGE_BACKWARDS,
        };
        let statement = Statement::new(sql)
            .number(account.0)
            .text(&range.lower)
            .text(&range.upper)
            .number(filter.holds.bits().into())
            .number(filter.has_note.into())
            .number(filter.use_state.map_or(0, number_of))
            .number(now() - UNUSED_AFTER)
            .number(i64::from(limit) + 1);
        let rows = self.fetch_all(statement).await?;
        let mut found: Vec<(Canonical, CredentialDetails)> = Vec::with_capacity(rows.len());
        for row in &rows {
            let details = details(row)?;
            found.push((details.credential.name.canonical(), details));
        }
        found.sort_unstable_by(|one, other| one.0.as_str().cmp(other.0.as_str()));
        if found.len() > limit as usize {
            // One more than was asked for tells that there is more.
            match direction {
                PageDirection::Forwards => found.truncate(limit as usize),
                PageDirection::Backwards => drop(found.drain(..found.len() - limit as usize)),
            }
            end = match direction {
                PageDirection::Forwards => found.last(),
                PageDirection::Backwards => found.first(),
            }
            .map(|(name, _)| *name);
        }
        let continues = end.map(|name| match direction {
            PageDirection::Forwards => NameBound::after(name),
            PageDirection::Backwards => NameBound::before(name),
        });
        let credentials = found.into_iter().map(|(_, details)| details).collect();
        Ok(CredentialSlice { credentials, continues })
    }

    /// Returns true if the account has a credential in that range.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn has_credential_in(&self, account: AccountId, range: &NameRange) -> Result<bool, StoreError> {
        Ok(self.name_at(account, range, PageDirection::Forwards, 1).await?.is_some())
    }

    /// The name at a place of a range, counted from 1 from one end; `None` if it has fewer names.
    async fn name_at(
        &self,
        account: AccountId,
        range: &NameRange,
        direction: PageDirection,
        place: u32,
    ) -> Result<Option<Canonical>, StoreError> {
        let sql = match direction {
            PageDirection::Forwards => sql::BOUND_FORWARDS,
            PageDirection::Backwards => sql::BOUND_BACKWARDS,
        };
        let statement = Statement::new(sql).number(account.0).text(&range.lower).text(&range.upper);
        let Some(row) = self.fetch(statement.number(i64::from(place) - 1)).await? else { return Ok(None) };
        Ok(Some(row.username("bound")?.canonical()))
    }

    /// Reads the credential of that number, if the account has one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential_by_id(
        &self,
        account: AccountId,
        id: CredentialId,
    ) -> Result<Option<CredentialDetails>, StoreError> {
        let statement = Statement::new(sql::CREDENTIAL_BY_ID).number(account.0).number(id.0);
        self.fetch(statement).await?.as_ref().map(details).transpose()
    }

    /// Reads the credential of that name with all that is shown of it, if the account has one.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn credential_by_name(
        &self,
        account: AccountId,
        name: &Canonical,
    ) -> Result<Option<CredentialDetails>, StoreError> {
        let statement = Statement::new(sql::CREDENTIAL_BY_NAME).number(account.0).text(name.as_str());
        self.fetch(statement).await?.as_ref().map(details).transpose()
    }
}

/// The number of a state in the statements.
fn number_of(state: UseState) -> i64 {
    match state {
        UseState::Active => 1,
        UseState::Unused => 2,
        UseState::NeverUsed => 3,
    }
}

fn details(row: &Row) -> Result<CredentialDetails, StoreError> {
    let last_use = match row.optional_number("used_at")? {
        Some(used_at) => {
            let (entry, address) = (row.text("entry")?, row.text("address")?);
            let entry = Entry::ALL.into_iter().find(|known| known.as_str() == entry);
            Some(LatestUse { used_at, entry, address: address.parse().ok() })
        }
        None => None,
    };
    // A note that was written by another tool and breaks the rules is not shown.
    let note = row.optional_text("note")?.and_then(|text| Note::parse(&text).ok().flatten());
    let version = CredentialVersion(row.number("version")?);
    Ok(CredentialDetails { credential: credential(row)?, note, version, last_use })
}
