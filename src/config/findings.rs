//! The errors of one configuration file, as they are found.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::ConfigError;

/// The most errors of one file that are told.
const MOST: usize = 100;

/// The errors of one file so far, and the keys that were read.
#[derive(Default)]
pub(super) struct Findings {
    line_starts: Vec<usize>,
    errors: RefCell<Vec<NotedError>>,
    /// Every key that was asked for, whether present or not: the keys that the parser knows.
    asked: RefCell<BTreeSet<String>>,
    /// Every key that there is, for hints.
    known: Option<&'static BTreeSet<String>>,
}

/// An error as it is noted, before all are sorted by their place.
struct NotedError {
    error: ConfigError,
    /// The error concerns one value or key only, whatever else the file contains.
    is_local: bool,
}

impl Findings {
    /// None so far, in this text.
    pub(super) fn of(text: &str) -> Findings {
        let starts = text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1);
        Findings { line_starts: std::iter::once(0).chain(starts).collect(), ..Findings::default() }
    }

    /// Uses these keys for hints.
    pub(super) fn with_known(self, known: &'static BTreeSet<String>) -> Findings {
        Findings { known: Some(known), ..self }
    }

    /// Every key that there is; none while they are collected.
    pub(super) fn known(&self) -> &BTreeSet<String> {
        static NONE: BTreeSet<String> = BTreeSet::new();
        self.known.unwrap_or(&NONE)
    }

    /// The line of a byte of the text, from 1.
    pub(super) fn line_of(&self, offset: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Notes an error that concerns more than one value or key.
    pub(super) fn note(&self, line: usize, key: &str, reason: impl Into<String>) {
        self.push(line, key, reason.into(), false);
    }

    /// Notes an error that concerns one value or key only.
    pub(super) fn note_local(&self, line: usize, key: &str, reason: impl Into<String>) {
        self.push(line, key, reason.into(), true);
    }

    fn push(&self, line: usize, key: &str, reason: String, is_local: bool) {
        let error = ConfigError { line, key: key.to_owned(), reason };
        self.errors.borrow_mut().push(NotedError { error, is_local });
    }

    /// Notes that the parser knows this key.
    pub(super) fn note_asked(&self, key: &str) {
        self.asked.borrow_mut().insert(key.to_owned());
    }

    /// Drops errors that may only follow from invalid TOML at `line`: those from this line on, and those that concern more
    /// than one value.
    pub(super) fn keep_before(&self, line: usize) {
        self.errors.borrow_mut().retain(|found| found.is_local && found.error.line < line);
    }

    /// Drops errors that may only follow from the absence of `key`: those that concern its section as a whole.
    pub(super) fn drop_conclusions(&self, key: &str) {
        let section = key.rsplit_once('.').map_or("", |(section, _)| section);
        let is_within = |other: &str| other.rsplit_once('.').map_or("", |(section, _)| section) == section;
        self.errors.borrow_mut().retain(|found| found.is_local || !is_within(&found.error.key));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.errors.borrow().is_empty()
    }

    /// The first errors by their lines, and the number of the others in the last one.
    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        let mut errors: Vec<_> = self.errors.into_inner().into_iter().map(|found| found.error).collect();
        let more = errors.len().saturating_sub(MOST);
        if more > 0 {
            errors.sort_by_key(|error| error.line);
            errors.truncate(MOST);
            let line = errors.last().map_or(0, |error| error.line);
            let reason = format!("and {more} more errors from here on");
            errors.push(ConfigError { line, key: String::new(), reason });
        }
        errors
    }

    pub(super) fn into_asked(self) -> BTreeSet<String> {
        self.asked.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_many_errors_the_first_are_told() {
        let findings = Findings::of("");
        for line in (1..=200_000).rev() {
            findings.note_local(line, "api.listen", "wrong");
        }
        let errors = findings.into_errors();
        assert_eq!(errors.len(), MOST + 1);
        assert_eq!((errors[0].line, errors[MOST].line), (1, MOST));
        assert_eq!(errors[MOST].reason, "and 199900 more errors from here on");
    }

    #[test]
    fn offsets_have_lines() {
        let findings = Findings::of("a\nbc\n\nd");
        let lines: Vec<_> = (0..8).map(|offset| findings.line_of(offset)).collect();
        assert_eq!(lines, [1, 1, 2, 2, 2, 3, 4, 4]);
    }
}
