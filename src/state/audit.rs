//! The audit trail: one structured line in the log, target `audit`, for each change and each denial, all of the same form.
//! It tells who, what, from where and with what outcome, and never contains a secret.

use std::fmt;

use serde::{Deserialize, Serialize};
use tracing::{debug, info, warn};

/// Names are cut at this many characters. No username is longer.
const LONGEST_NAME: usize = 64;

/// A line of the audit trail. A field that is `None` is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The requested action.
    pub action: &'a str,
    /// The actor: a username as it was presented, or the operator.
    pub actor: &'a str,
    /// The affected account or credential.
    pub subject: Option<&'a str>,
    /// The requested change, in words.
    pub change: Option<&'a str>,
    /// The entry.
    pub entry: Option<&'a str>,
    /// The origin: an address, or `command line`.
    pub source: &'a str,
    /// The request ID, as in the response and the rest of the log.
    pub request_id: Option<&'a str>,
    /// The status or SMTP code that the client is told.
    pub code: Option<&'a str>,
    /// The outcome, in one word.
    pub outcome: &'a str,
    /// The reason, if it was not done.
    pub reason: Option<&'a str>,
    /// The number of equal lines that were left out before it.
    pub repeated: Option<u64>,
}

/// The weight of a line, which decides its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// A failure of the store or the system.
    Trouble,
    /// A change or a denial.
    Plain,
    /// A line of many that are the same.
    Repeated,
}

impl Record<'_> {
    /// Writes the line.
    pub fn write(&self, weight: Weight) {
        let Record { action, subject, change, entry, source, code, outcome, reason, repeated, .. } = *self;
        let actor = shown(self.actor);
        let subject = subject.map(|subject| tracing::field::display(shown(subject)));
        let request_id = self.request_id.filter(|id| !id.is_empty());
        macro_rules! line {
            ($level:ident) => {
                $level!(target: "audit", action, %actor, subject, change, entry, source, request_id, code, outcome, reason, repeated)
            };
        }
        match weight {
            Weight::Trouble => line!(warn),
            Weight::Plain => line!(info),
            Weight::Repeated => line!(debug),
        }
    }
}

/// A name that a client presented, in a form that is safe for the log.
fn shown(text: &str) -> impl fmt::Display + fmt::Debug {
    let letters = text.chars().take(LONGEST_NAME);
    letters.map(|c| if c.is_control() { '?' } else { c }).collect::<String>()
}

/// A change that another process on the same store has made and cannot log where operators look for it, such as the command
/// line. A process that is told of it writes the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// The action.
    pub action: String,
    /// The actor.
    pub actor: String,
    /// The affected account or credential.
    pub subject: String,
    /// The change, in words.
    pub change: String,
    /// The origin.
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
