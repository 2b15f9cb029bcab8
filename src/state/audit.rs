//! The audit trail: one structured line in the log, target `audit`, for each change and each denial, all of the same form.
//! A line has actor, action, source and outcome, and never a secret.

use std::fmt;

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

/// Names of what was asked for are cut at this many characters: nobody has a longer one.
const LONGEST_NAME: usize = 64;

/// One line. What is `None` isn't in it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The action.
    pub action: &'a str,
    /// The actor: a username as presented, or the operator.
    pub actor: &'a str,
    /// To whom.
    pub subject: Option<&'a str>,
    /// The requested change, in words.
    pub change: Option<&'a str>,
    /// Where it came in.
    pub entry: Option<&'a str>,
    /// From where: an address, or `command line`.
    pub source: &'a str,
    /// As in the response and the rest of the log.
    pub request_id: Option<&'a str>,
    /// The outcome, in one word.
    pub outcome: &'a str,
    /// Why, where it wasn't done.
    pub reason: Option<&'a str>,
    /// The number of identical lines that were left out before it.
    pub repeated: Option<u64>,
}

/// The importance of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The store's or the system's trouble.
    Trouble,
    /// An ordinary line.
    Plain,
    /// One of many that are the same.
    Repeated,
}

impl Record<'_> {
    /// Writes the line.
    pub fn write(&self, weight: Weight) {
        let Record { action, subject, change, entry, source, outcome, reason, repeated, .. } = *self;
        let actor = shown(self.actor);
        let subject = subject.map(|subject| tracing::field::display(shown(subject)));
        let request_id = self.request_id.filter(|id| !id.is_empty());
        macro_rules! line {
            ($level:ident) => {
                $level!(target: "audit", action, %actor, subject, change, entry, source, request_id, outcome, reason, repeated)
            };
        }
        match weight {
            Weight::Trouble => line!(warn),
            Weight::Plain => line!(info),
            Weight::Repeated => line!(debug),
        }
    }
}

/// Formats a presented name so that it is harmless in a log.
fn shown(text: &str) -> impl fmt::Display + fmt::Debug {
    let letters = text.chars().take(LONGEST_NAME);
    letters.map(|c| if c.is_control() { '?' } else { c }).collect::<String>()
}

/// A change that another process on the same store has made and can't log where operators look for it, such as the command
/// line: whoever hears of it writes the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The action.
    pub action: String,
    /// The actor.
    pub actor: String,
    /// To whom.
    pub subject: String,
    /// The change, in words.
    pub change: String,
    /// From where.
    pub source: String,
}

impl News {
    /// Writes the line.
    pub fn write(&self) {
        let record = Record {
            action: &self.action,
            actor: &self.actor,
            subject: Some(&self.subject),
            change: Some(&self.change),
            source: &self.source,
            outcome: "done",
            ..Record::default()
        };
        record.write(Weight::Plain);
    }
}
