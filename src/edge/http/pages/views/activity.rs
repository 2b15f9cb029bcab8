//! The newest changes and denials of an account.

use askama::Template;

use super::credentials::ListLink;
use super::frame::ConsoleFrame;
use super::stamp::Stamp;

/// The newest events of an account, in the memory of this process.
#[derive(Template)]
#[template(path = "activity.html")]
pub struct ActivityView<'a> {
    /// The frame.
    pub frame: ConsoleFrame<'a>,
    /// The events, the newest first.
    pub rows: Vec<ActivityRow>,
    /// The filters, such as all, changes, denials; empty for none.
    pub filters: Vec<ListLink>,
    /// The start of what is remembered.
    pub since: Stamp,
    /// True if there are several nodes, each of which remembers the denials that it made.
    pub is_of_one_node: bool,
}

/// An event.
#[derive(Clone, Debug)]
pub struct ActivityRow {
    /// The time; of the newest, if there are several.
    pub when: Stamp,
    /// The kind of event.
    pub outcome: Outcome,
    /// The event in words, such as `Credential removed` or `Wrong password`.
    pub what: String,
    /// The username that it is about.
    pub subject: String,
    /// Details in words, such as `api granted`; empty for none.
    pub detail: String,
    /// The username that made a change; empty for a denial.
    pub by: String,
    /// The entry in words: `mail`, `API`, `dashboard`, `console` or `command line`.
    pub entry: String,
    /// The client's address; empty if there is none.
    pub source: String,
    /// The number of equal events; at least 1.
    pub count: u64,
}

/// The kind of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A change was made.
    Changed,
    /// A login or a request was denied.
    Denied,
    /// A change was refused. Nothing has changed.
    Refused,
    /// A change of which it is not known if it was made, or if it is in effect.
    NotConfirmed,
}
