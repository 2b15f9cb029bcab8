//! The frame of a console page: who is logged in, the navigation, and what was just done.

use super::site::Site;

/// The part of a page in the console that is the same on all of them.
pub struct ConsoleFrame<'a> {
    /// The entry's title and files.
    pub site: &'a Site,
    /// The username that is logged in.
    pub username: String,
    /// The account, if a credential is logged in; `None` for the account holder.
    pub account: Option<String>,
    /// The section that the page belongs to.
    pub section: Section,
    /// The token of the session for forms.
    pub token: String,
    /// The result of the change that led here.
    pub result: Option<ResultBanner>,
}

impl ConsoleFrame<'_> {
    /// Returns true for the account holder.
    pub fn is_holder(&self) -> bool {
        self.account.is_none()
    }

    /// Returns the links to the sections.
    pub fn links(&self) -> Vec<SectionLink> {
        let link =
            |section, address, text| SectionLink { address, text, is_current: self.section == section };
        let sessions = link(Section::Sessions, "/sessions", "Sessions");
        if self.is_holder() {
            let credentials = link(Section::Credentials, "/credentials", "Credentials");
            vec![credentials, link(Section::Activity, "/activity", "Activity"), sessions]
        } else {
            vec![link(Section::Own, "/own", "This credential"), sessions]
        }
    }

    /// Returns true on the page of the login itself.
    pub fn is_own(&self) -> bool {
        self.section == Section::Own
    }
}

/// A link of the navigation.
#[derive(Clone, Copy, Debug)]
pub struct SectionLink {
    /// The address.
    pub address: &'static str,
    /// The text.
    pub text: &'static str,
    /// True if the page belongs to the section.
    pub is_current: bool,
}

/// A section of the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// The credentials of an account.
    Credentials,
    /// Changes and denials of an account.
    Activity,
    /// Sessions of the principal that is logged in.
    Sessions,
    /// The login itself.
    Own,
}

/// The result of a change, above the page that follows it.
#[derive(Clone, Debug)]
pub struct ResultBanner {
    /// The change in words, such as `Removed acme-billing.`
    pub text: String,
    /// The words of [`effect_words`](super::effect_words()); empty if nothing changed.
    pub effect: String,
    /// False if the change was refused or did nothing, which `text` then says.
    pub is_done: bool,
}
