//! Places in a list of credentials in the order of their names, where a page begins or ends.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use super::Canonical;

/// A byte below all those of usernames: a name with it added stands right after that name, and before every longer one.
const BELOW: char = '!';

/// A bound between two names: right before a name, or right after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameBound {
    name: Canonical,
    is_after: bool,
}

impl NameBound {
    /// The bound right before a name.
    pub fn before(name: Canonical) -> NameBound {
        NameBound { name, is_after: false }
    }

    /// The bound right after a name.
    pub fn after(name: Canonical) -> NameBound {
        NameBound { name, is_after: true }
    }

    /// The text at the bound: every name before it is less, and every name after it is greater or equal.
    pub fn text(&self) -> String {
        let mut text = self.name.as_str().to_owned();
        if self.is_after {
            text.push(BELOW);
        }
        text
    }
}

/// The direction of a page from its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageDirection {
    /// Names after the cursor.
    Forwards,
    /// Names before the cursor.
    Backwards,
}

/// A cursor: the page in this direction from this bound. Its text is for clients, which give it back as it is: `gt:john`, `ge:john`,
/// `lt:john` or `le:john`. It stays valid when the credential of that name is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// The direction.
    pub direction: PageDirection,
    /// The bound.
    pub bound: NameBound,
}

impl PageCursor {
    /// The page after the bound.
    pub fn forwards(bound: NameBound) -> PageCursor {
        PageCursor { direction: PageDirection::Forwards, bound }
    }

    /// The page before the bound.
    pub fn backwards(bound: NameBound) -> PageCursor {
        PageCursor { direction: PageDirection::Backwards, bound }
    }
}

impl fmt::Display for PageCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let relation = match (self.direction, self.bound.is_after) {
            (PageDirection::Forwards, true) => "gt",
            (PageDirection::Forwards, false) => "ge",
            (PageDirection::Backwards, true) => "le",
            (PageDirection::Backwards, false) => "lt",
        };
        write!(f, "{relation}:{}", self.bound.name.as_str())
    }
}

/// Returned for a text that is no cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("invalid cursor")]
pub struct PageCursorError;

impl FromStr for PageCursor {
    type Err = PageCursorError;

    fn from_str(text: &str) -> Result<PageCursor, PageCursorError> {
        let (relation, name) = text.split_once(':').ok_or(PageCursorError)?;
        let name = Canonical::of(name.as_bytes()).ok_or(PageCursorError)?;
        match relation {
            "gt" => Ok(PageCursor::forwards(NameBound::after(name))),
            "ge" => Ok(PageCursor::forwards(NameBound::before(name))),
            "le" => Ok(PageCursor::backwards(NameBound::after(name))),
            "lt" => Ok(PageCursor::backwards(NameBound::before(name))),
            _ => Err(PageCursorError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_its_text() {
        for text in ["gt:john", "ge:john", "le:j.o-h_n+@1", "lt:john"] {
            assert_eq!(text.parse::<PageCursor>().unwrap().to_string(), text);
        }
        assert_eq!("gt:JOHN".parse::<PageCursor>().unwrap().to_string(), "gt:john");
        for text in ["", "john", "gt:", "gt:jo", "eq:john", "gt:jo hn", "gt:john!", ":john", "gt:12345"] {
            assert_eq!(text.parse::<PageCursor>(), Err(PageCursorError), "{text}");
        }
    }

    #[test]
    fn a_bound_stands_between_names() {
        let of = |name: &str| Canonical::of(name.as_bytes()).unwrap();
        let (before, after) = (NameBound::before(of("john")).text(), NameBound::after(of("john")).text());
        for (name, is_before, is_after) in [
            ("joh", false, false),
            ("joh+", false, false),
            ("john", true, false),
            ("john+", true, true),
            ("johna", true, true),
            ("joi", true, true),
        ] {
            assert_eq!((name >= before.as_str(), name >= after.as_str()), (is_before, is_after), "{name}");
        }
    }
}
