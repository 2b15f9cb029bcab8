//! The outcomes of a removal of several credentials, in words.

use std::fmt;

use crate::domain::AccountError;
use crate::service::ManagementError;

/// The number of credentials with each outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemovalCounts {
    /// Removed, and refused everywhere.
    pub removed: usize,
    /// Removed before by somebody else.
    pub gone: usize,
    /// Perhaps removed, but not known to be refused on every node.
    pub unconfirmed: usize,
    /// Not removed.
    pub refused: usize,
}

impl RemovalCounts {
    /// Counts outcomes.
    pub fn of(outcomes: &[Result<(), ManagementError>]) -> RemovalCounts {
        let mut counts = RemovalCounts::default();
        for outcome in outcomes {
            let count = match outcome {
                Ok(()) => &mut counts.removed,
                Err(ManagementError::NotAllowed(AccountError::NoSuchCredential)) => &mut counts.gone,
                // A database that gave no answer may have removed it.
                Err(ManagementError::Unconfirmed(_) | ManagementError::Store(_)) => &mut counts.unconfirmed,
                Err(_) => &mut counts.refused,
            };
            *count += 1;
        }
        counts
    }

    /// Returns true if none of the credentials is left.
    pub const fn is_complete(&self) -> bool {
        self.unconfirmed == 0 && self.refused == 0
    }
}

impl fmt::Display for RemovalCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let mut sentences = Vec::new();
        if self.removed > 0 {
            sentences.push(format!("Removed {} credential{}.", self.removed, plural(self.removed)));
        }
        match self.gone {
            0 => {}
            1 => sentences.push("1 was removed already.".to_owned()),
            gone => sentences.push(format!("{gone} were removed already.")),
        }
        if self.unconfirmed > 0 {
            let count = self.unconfirmed;
            sentences.push(format!(
                "The removal of {count} credential{} is not confirmed. Sending this form again is safe.",
                plural(count)
            ));
        }
        match self.refused {
            0 => {}
            1 => sentences.push("1 was not removed.".to_owned()),
            refused => sentences.push(format!("{refused} were not removed.")),
        }
        f.write_str(&sentences.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::cluster::Unconfirmed;

    #[test]
    fn each_outcome_has_its_words() {
        let unconfirmed = || Err(Unconfirmed::Silent("process 7".into()).into());
        let counts = RemovalCounts::of(&[unconfirmed(), unconfirmed()]);
        let words = "The removal of 2 credentials is not confirmed. Sending this form again is safe.";
        assert_eq!((counts.to_string().as_str(), counts.is_complete()), (words, false));
        let gone = || Err(AccountError::NoSuchCredential.into());
        let counts = RemovalCounts::of(&[Ok(()), Ok(()), gone()]);
        let words = "Removed 2 credentials. 1 was removed already.";
        assert_eq!((counts.to_string().as_str(), counts.is_complete()), (words, true));
        let counts = RemovalCounts::of(&[Ok(()), Err(AccountError::Suspended.into())]);
        let words = "Removed 1 credential. 1 was not removed.";
        assert_eq!((counts.to_string().as_str(), counts.is_complete()), (words, false));
    }
}
