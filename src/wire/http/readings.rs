//! The readings of an unusual path: the paths that servers could take it for.
//!
//! `steps` has what single servers do with a path. One request may pass several servers, so the steps are combined, in any order,
//! until nothing new comes of it. `cause` names the sequence in a path that leads to a reading.
//!
//! Ends that a server drops (`/send.php/x`, `/send.json`), and case, are not here: see
//! [`RoutePattern`](super::route::RoutePattern).

mod cause;
mod steps;

use std::collections::HashSet;

use steps::{STRUCTURAL, Step, behind_scripts};
use thiserror::Error;

use super::pattern_segment::count_steps;

/// The most readings of a path.
const MOST_READINGS: usize = 256;

/// The bytes of the longest unusual path.
const LONGEST_PATH: usize = 8 * 1024;

/// The bytes of all readings of a path. It bounds the time, which is linear in this.
const MOST_BYTES: usize = 128 * 1024;

/// The readings of a path besides the path itself. Most paths have none.
#[derive(Debug, Default)]
pub struct Readings {
    /// The client's path.
    written: Vec<u8>,
    /// The forwarded path, then what follows from it and from the client's.
    all: Vec<Reading>,
}

/// A path that a server could read.
#[derive(Debug)]
pub struct Reading {
    /// The bytes of the path. It begins with `/`.
    pub path: Vec<u8>,
    /// The kind of servers that read it.
    pub kind: ReadingKind,
    /// The reading that it was made of, and how.
    from: Option<(usize, Step)>,
}

/// A kind of readings, by what is least common in the steps to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadingKind {
    /// A reading of servers of any kind.
    Common,
    /// The rest behind a script's name. Such a name is usual in the paths of some products, so only what is named is compared.
    BehindScript,
    /// A reading of servers that fold Unicode letters. It adds to what a request needs, and is no ambiguity.
    Folded,
}

impl Readings {
    /// The readings of a path, in the client's form and in the normalized one, which is forwarded.
    ///
    /// # Errors
    /// [`AmbiguousPath`] if there are too many, or the path is too long.
    pub fn of(raw: &[u8], forwarded: &str) -> Result<Readings, AmbiguousPath> {
        if raw.len() > LONGEST_PATH || forwarded.len() > LONGEST_PATH {
            return Err(AmbiguousPath::TooLong);
        }
        let mut search = Search::default();
        search.add(forwarded.as_bytes().to_vec(), None, ReadingKind::Common)?;
        if is_judged_unresolved(raw) {
            search.add(raw.to_vec(), Some((0, Step::Unresolved)), ReadingKind::Common)?;
        }
        search.follow(0)?;
        // Each kind after the one before it, so that a reading has the first kind that is possible.
        let common = search.all.len();
        for at in 0..common {
            search.follow_scripts(at, ReadingKind::BehindScript)?;
        }
        search.follow(common)?;
        let unfolded = search.all.len();
        for at in 0..unfolded {
            if let Some(folded) = Step::UnicodeFold.take(&search.all[at].path) {
                search.add(folded, Some((at, Step::UnicodeFold)), ReadingKind::Folded)?;
            }
        }
        search.follow(unfolded)?;
        Ok(Readings { written: raw.to_vec(), all: search.all })
    }

    /// Each reading besides the forwarded path.
    pub fn iter(&self) -> impl Iterator<Item = &Reading> {
        self.all.iter().skip(1)
    }

    /// The error for a reading that needs something else than the path as it was written. It names the sequence that leads to it.
    pub fn ambiguity(&self, reading: &Reading) -> AmbiguousPath {
        let mut steps = Vec::new();
        let mut from = reading.from;
        while let Some((at, step)) = from {
            steps.push(step);
            from = self.all[at].from;
        }
        steps.reverse();
        AmbiguousPath::Sequence(cause::sequence(&self.written, &steps))
    }
}

/// Returns true if what precedes a removed dot segment could have more meanings than one: `/x;/../send`, but not `/x/../send`.
fn is_judged_unresolved(raw: &[u8]) -> bool {
    let has_dots = || raw.split(|byte| *byte == b'/').any(|segment| super::path::dots(segment).is_some());
    let unclear = |(at, byte): (usize, &u8)| match byte {
        b'%' => super::pattern_segment::escaped(&raw[at..])
            .is_none_or(|byte| !(byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))),
        b'/' => raw.get(at + 1) == Some(&b'/'),
        byte => b";\\&:".contains(byte),
    };
    raw.iter().enumerate().any(unclear) && has_dots()
}

/// A search for readings.
#[derive(Default)]
struct Search {
    all: Vec<Reading>,
    seen: HashSet<Vec<u8>>,
    bytes: usize,
}

impl Search {
    /// Takes all steps from the readings from the one at `start` on, and from those that follow. They have the same kind.
    fn follow(&mut self, start: usize) -> Result<(), AmbiguousPath> {
        let mut at = start;
        while let Some(reading) = self.all.get(at) {
            let (path, kind) = (reading.path.clone(), reading.kind);
            count_steps(path.len() * (STRUCTURAL.len() + 1));
            for step in STRUCTURAL {
                if let Some(next) = step.take(&path) {
                    self.add(next, Some((at, step)), kind)?;
                }
            }
            if kind != ReadingKind::Common {
                self.follow_scripts(at, kind)?;
            }
            at += 1;
        }
        Ok(())
    }

    fn follow_scripts(&mut self, at: usize, kind: ReadingKind) -> Result<(), AmbiguousPath> {
        let path = self.all[at].path.clone();
        for rest in behind_scripts(&path) {
            self.add(rest.to_vec(), Some((at, Step::ScriptName)), kind)?;
        }
        Ok(())
    }

    fn add(
        &mut self,
        path: Vec<u8>,
        from: Option<(usize, Step)>,
        kind: ReadingKind,
    ) -> Result<(), AmbiguousPath> {
        if self.seen.contains(&path) {
            return Ok(());
        }
        self.bytes += path.len();
        if self.all.len() > MOST_READINGS || self.bytes > MOST_BYTES {
            return Err(AmbiguousPath::TooMany);
        }
        self.seen.insert(path.clone());
        self.all.push(Reading { path, kind, from });
        Ok(())
    }
}

/// The reason why a path is refused that servers read in different ways, with the text for the client.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AmbiguousPath {
    /// A sequence with which some servers read a path that needs something else.
    #[error(
        "Ambiguous path: because of `{0}` in it, some servers read it as another path, for which another permission, other backends \
         or other places of credentials are configured. Send the path without this sequence."
    )]
    Sequence(String),
    /// More readings than are compared.
    #[error(
        "Ambiguous path: servers read it in too many ways to compare them (more than {MOST_READINGS}, or very long ones). \
         Send it with fewer escapes and fewer of `;`, `&`, `//` and `\\`."
    )]
    TooMany,
    /// More bytes than are compared.
    #[error(
        "Ambiguous path: it is longer than {LONGEST_PATH} bytes and contains an escape or another sequence that servers read in \
         different ways. Send a shorter one."
    )]
    TooLong,
}

#[cfg(test)]
mod tests;
