//! The audit trail: one structured line in the log, target `audit`, for each change and each denial, all of the same form.
//! It tells who, what, from where and with what outcome, and never contains a secret.

use serde::{Deserialize, Serialize};
use tracing::field::{Value, display};
use tracing::{debug, info, warn};

use crate::domain::{LONGEST_NAME, LONGEST_TEXT, shown};

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
        let name = |text: &str| shown(text.as_bytes(), LONGEST_NAME);
        let text = |text: &str| shown(text.as_bytes(), LONGEST_TEXT);
        let (actor, subject) = (name(self.actor), subject.map(name));
        let (change, reason) = (change.map(text), reason.map(text));
        let (plain_actor, plain_subject) = (display(&actor), subject.as_ref().map(display));
        let actor = if is_plain(&actor) { &plain_actor as &dyn Value } else { &actor };
        let subject = match (&subject, &plain_subject) {
            (Some(text), Some(plain)) if is_plain(text) => Some(plain as &dyn Value),
            (text, _) => text.as_ref().map(|text| text as &dyn Value),
        };
        let request_id = self.request_id.filter(|id| !id.is_empty());
        macro_rules! line {
            ($level:ident) => {
                $level!(target: "audit", action, actor, subject, change, entry, source, request_id, code, outcome, reason, repeated)
            };
        }
        match weight {
            Weight::Trouble => line!(warn),
            Weight::Plain => line!(info),
            Weight::Repeated => line!(debug),
        }
    }
}

/// Returns true if a name needs no quotes. In others, a blank would let a client write fields of its own.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte))
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

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    /// A log that is kept.
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line of a record with these names, for people and in JSON.
    fn lines(actor: &str, subject: &str) -> [String; 2] {
        let log = Arc::new(Mutex::new(Vec::new()));
        let out = log.clone();
        let format = tracing_subscriber::fmt().with_ansi(false).with_writer(move || Kept(out.clone()));
        let write = || Record { actor, subject: Some(subject), ..Record::default() }.write(Weight::Plain);
        let text = || String::from_utf8(std::mem::take(&mut *log.lock())).unwrap();
        tracing::subscriber::with_default(format.finish(), write);
        let for_people = text();
        let out = log.clone();
        let format = tracing_subscriber::fmt().json().with_writer(move || Kept(out.clone()));
        tracing::subscriber::with_default(format.finish(), write);
        [for_people, text()]
    }

    #[test]
    fn a_name_cannot_hold_a_field() {
        let [plain, json] = lines("bob+1@example.com", "j-o_e");
        assert!(plain.contains(" actor=bob+1@example.com subject=j-o_e "), "{plain}");
        assert!(json.contains(r#""actor":"bob+1@example.com","subject":"j-o_e""#), "{json}");
        let [quoted, json] = lines("bob source=203.0.113.9", "a\"b");
        assert!(quoted.contains(r#" actor="bob source=203.0.113.9" subject="a\"b" "#), "{quoted}");
        assert!(json.contains(r#""actor":"bob source=203.0.113.9","subject":"a\"b""#), "{json}");
        let [_, json] = lines("jürgen", "a\u{202e}b\n");
        assert!(json.contains(r#""actor":"jürgen","subject":"a\\u{202e}b\\n""#), "{json}");
    }
}
