//! The eras of a database: between two of them, it may have lost what is not on its disk.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An era of a database: from one start of its primary to the next start or failover. Rows, numbers and trust of one era
/// mean nothing in another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Era {
    /// The identifier of the database cluster (`system_identifier`).
    pub system: i64,
    /// The timeline that is written, from the name of the current WAL file: a promotion increments it.
    pub timeline: u32,
    /// The start of the postmaster, in microseconds since 1970.
    pub started_at: i64,
}

/// Text that is not an era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not an era: expected SYSTEM.TIMELINE.MICROSECONDS")]
pub struct EraError;

impl fmt::Display for Era {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.system, self.timeline, self.started_at)
    }
}

impl FromStr for Era {
    type Err = EraError;

    fn from_str(text: &str) -> Result<Era, EraError> {
        let mut parts = text.split('.');
        let mut part = || parts.next().ok_or(EraError);
        let (system, timeline, started_at) = (part()?, part()?, part()?);
        let era = Era {
            system: system.parse().map_err(|_| EraError)?,
            timeline: timeline.parse().map_err(|_| EraError)?,
            started_at: started_at.parse().map_err(|_| EraError)?,
        };
        parts.next().is_none().then_some(era).ok_or(EraError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_era_is_read_as_it_is_written() {
        let era = Era { system: 7_300_000_000_000_000_001, timeline: 3, started_at: 1_796_000_000_000_000 };
        assert_eq!(era.to_string(), "7300000000000000001.3.1796000000000000");
        assert_eq!(era.to_string().parse(), Ok(era));
        for text in ["", "1", "1.2", "1.2.3.4", "1.-2.3", "a.2.3", "1.2."] {
            assert_eq!(text.parse::<Era>(), Err(EraError), "{text}");
        }
    }
}
