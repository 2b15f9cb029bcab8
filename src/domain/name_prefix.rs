//! The beginning of usernames, as a search gives it.

/// A byte above all those of usernames.
const ABOVE: char = '~';

/// The longest prefix that a username can have.
const LONGEST: usize = 64;

/// The beginning of usernames in lower case; empty for all names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamePrefix(String);

impl NamePrefix {
    /// The prefix that is asked for, in any case and with spaces around it; `None` if no username begins so.
    pub fn of(asked: &str) -> Option<NamePrefix> {
        let asked = asked.trim_matches(' ');
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+@".contains(&byte);
        let fits = asked.len() <= LONGEST && asked.bytes().all(is_allowed);
        fits.then(|| NamePrefix(asked.to_ascii_lowercase()))
    }

    /// The least text that a name with this prefix can be.
    pub fn lower(&self) -> &str {
        &self.0
    }

    /// A text above all names with this prefix, and below or equal to all others that are above them.
    pub fn upper(&self) -> String {
        format!("{}{ABOVE}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_has_the_names_that_begin_with_it() {
        let prefix = NamePrefix::of(" Jo.hn ").unwrap();
        let upper = prefix.upper();
        for (name, is_within) in [
            ("jo.hn", true),
            ("jo.hn+a", true),
            ("jo.hnz", true),
            ("jo.hn_z", true),
            ("jo.hm", false),
            ("jo.ho", false),
        ] {
            assert_eq!(name >= prefix.lower() && name < upper.as_str(), is_within, "{name}");
        }
        assert_eq!(NamePrefix::of(""), Some(NamePrefix::default()));
        for asked in ["jo hn", "jo%", "jö", "jo!", &"x".repeat(65)] {
            assert_eq!(NamePrefix::of(asked), None, "{asked}");
        }
    }
}
