//! The list of an account's credentials.

use askama::Template;

use super::credential_row::CredentialRow;
use super::frame::ConsoleFrame;

/// The list, a page at a time.
#[derive(Template)]
#[template(path = "credentials.html")]
pub struct CredentialsView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The credentials of this page.
    pub rows: Vec<CredentialRow>,
    /// The prefix that was searched for, as `q`; empty for none.
    pub search: String,
    /// The choices of `permission`. The first is for all credentials, and has the value "".
    pub permissions: Vec<ListChoice>,
    /// The choices of `state`. The first is for all credentials, and has the value "".
    pub states: Vec<ListChoice>,
    /// The number of rows a page, as `limit`.
    pub limit: u32,
    /// The numbers of rows a page, as links.
    pub limits: Vec<ListLink>,
    /// The address of the first page; `None` on it.
    pub first: Option<String>,
    /// The address of the previous page, if there is one.
    pub previous: Option<String>,
    /// The address of the next page, if there is one.
    pub next: Option<String>,
    /// The number of all credentials of the account in words, such as `10,000 credentials`; empty if it is not known.
    pub total: String,
    /// The reason for which `rows` is empty.
    pub empty: EmptyList,
    /// The command that adds a credential, shown where there is none.
    pub command: String,
}

impl CredentialsView<'_> {
    /// Returns true if there is more than this page.
    pub fn has_pages(&self) -> bool {
        self.first.is_some() || self.previous.is_some() || self.next.is_some()
    }

    /// Returns true if search or filters are set.
    pub fn is_narrowed(&self) -> bool {
        let chosen =
            |choices: &[ListChoice]| choices.iter().any(|one| one.is_current && !one.value.is_empty());
        !self.search.is_empty() || chosen(&self.permissions) || chosen(&self.states)
    }

    /// Returns true if the account has no credential at all.
    pub fn is_unused(&self) -> bool {
        self.rows.is_empty() && self.empty == EmptyList::NoneYet
    }
}

/// A value of a filter.
#[derive(Clone, Debug)]
pub struct ListChoice {
    /// The value in the address.
    pub value: &'static str,
    /// The text.
    pub text: &'static str,
    /// True if the list is filtered by it now.
    pub is_current: bool,
}

/// A link that chooses what a list shows.
#[derive(Clone, Debug)]
pub struct ListLink {
    /// The text.
    pub text: String,
    /// The address.
    pub address: String,
    /// True if the list shows this now.
    pub is_current: bool,
}

/// The reason for which a list is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmptyList {
    /// The account has no credentials.
    NoneYet,
    /// None matches search and filter.
    NoMatch,
    /// None matches among the 2,000 that were looked through, and there are more.
    NoneSoFar,
    /// The page is past the end, since credentials were removed.
    PastTheEnd,
}
