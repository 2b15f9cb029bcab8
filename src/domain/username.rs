//! Usernames: one namespace for accounts and credentials (docs/api.md, "Usernames").

use std::fmt;
use std::hash::{Hash, Hasher};

use thiserror::Error;

/// The username that nobody may take, in any case: clients of other services present keys under it.
pub const RESERVED: &str = "apikey";

const SHORTEST: usize = 3;
const LONGEST: usize = 64;

/// The byte as which each character of a username is compared; zero if it is not allowed.
const FOLDED: [u8; 256] = {
    let mut folded = [0; 256];
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            folded[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    let others = b"._-+@";
    let mut nth = 0;
    while nth < others.len() {
        folded[others[nth] as usize] = others[nth];
        nth += 1;
    }
    folded
};

/// A valid username, as its owner wrote it. Names that differ only in ASCII case are equal.
#[derive(Clone)]
pub struct Username(Box<str>);

impl Username {
    /// Parses a username: 3 to 64 ASCII letters, digits and `. _ - + @`, not all digits.
    ///
    /// # Errors
    /// The rule that is not met; the text is for the caller.
    pub fn parse(name: &str) -> Result<Username, UsernameError> {
        check(name.as_bytes())?;
        Ok(Username(name.into()))
    }

    /// Parses the username of an account or credential that is to be added, as [`Username::parse`] does. One that is stored
    /// already may have the reserved name.
    ///
    /// # Errors
    /// As [`Username::parse`], and for the name that is reserved.
    pub fn parse_new(name: &str) -> Result<Username, UsernameError> {
        let username = Username::parse(name)?;
        match name.eq_ignore_ascii_case(RESERVED) {
            true => Err(UsernameError::Reserved),
            false => Ok(username),
        }
    }

    /// Returns the name as its owner wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the form in which names are looked up and compared.
    pub fn canonical(&self) -> Canonical {
        Canonical::fold(self.0.as_bytes())
    }
}

impl PartialEq for Username {
    fn eq(&self, other: &Username) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Username {}

impl fmt::Debug for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A username in lower case, stored inline: the hot path creates one for each check without an allocation.
#[derive(Clone, Copy)]
pub struct Canonical {
    len: u8,
    bytes: [u8; LONGEST],
}

impl Canonical {
    /// Returns the canonical form of a presented name; `None` if it is not a valid username.
    pub fn of(presented: &[u8]) -> Option<Canonical> {
        if !(SHORTEST..=LONGEST).contains(&presented.len()) {
            return None;
        }
        let mut bytes = [0; LONGEST];
        let (mut allowed, mut all_digits) = (true, true);
        for (to, from) in bytes.iter_mut().zip(presented) {
            *to = FOLDED[usize::from(*from)];
            allowed &= *to != 0;
            all_digits &= to.is_ascii_digit();
        }
        (allowed && !all_digits).then_some(Canonical { len: presented.len() as u8, bytes })
    }

    /// Returns the name in lower case.
    pub fn as_str(&self) -> &str {
        // The name was checked, so it is ASCII.
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }

    /// Returns the name in lower case, as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    fn fold(name: &[u8]) -> Canonical {
        let mut bytes = [0; LONGEST];
        let len = name.len().min(LONGEST);
        bytes[..len].copy_from_slice(&name[..len]);
        bytes.make_ascii_lowercase();
        Canonical { len: len as u8, bytes }
    }
}

impl PartialEq for Canonical {
    fn eq(&self, other: &Canonical) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Canonical {}

impl Hash for Canonical {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl fmt::Debug for Canonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// The reason for which a username is invalid; the text is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UsernameError {
    /// A name shorter than 3 or longer than 64 characters.
    #[error("username must be 3 to 64 characters long")]
    Length,
    /// A name with a character other than letters, digits and `. _ - + @`.
    #[error("username may contain only letters, digits and . _ - + @")]
    Character,
    /// A name of digits only.
    #[error("username must not be all digits")]
    AllDigits,
    /// The name `apikey`.
    #[error("username apikey is reserved, choose another one")]
    Reserved,
}

fn check(name: &[u8]) -> Result<(), UsernameError> {
    if name.iter().any(|byte| FOLDED[usize::from(*byte)] == 0) {
        Err(UsernameError::Character)
    } else if !(SHORTEST..=LONGEST).contains(&name.len()) {
        Err(UsernameError::Length)
    } else if name.iter().all(u8::is_ascii_digit) {
        Err(UsernameError::AllDigits)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules() {
        for good in ["abc", "a.b_c-d+e@F9", "12a", &"x".repeat(64)] {
            assert!(Username::parse(good).is_ok(), "{good}");
        }
        let bad = [
            ("ab", UsernameError::Length),
            ("", UsernameError::Length),
            (&"x".repeat(65), UsernameError::Length),
            ("a b", UsernameError::Character),
            ("abc\0", UsernameError::Character),
            ("über", UsernameError::Character),
            ("abc/", UsernameError::Character),
            ("12345", UsernameError::AllDigits),
        ];
        for (name, expected) in bad {
            assert_eq!(Username::parse(name).unwrap_err(), expected, "{name}");
        }
    }

    #[test]
    fn the_reserved_name_is_not_given_out() {
        for name in ["apikey", "APIKEY", "ApiKey"] {
            assert_eq!(Username::parse_new(name).unwrap_err(), UsernameError::Reserved, "{name}");
            assert!(Username::parse(name).is_ok(), "{name}: one that is stored stays readable");
        }
        for name in ["apikey1", "api-key", "my.apikey"] {
            assert!(Username::parse_new(name).is_ok(), "{name}");
        }
        assert_eq!(Username::parse_new("ab").unwrap_err(), UsernameError::Length);
    }

    #[test]
    fn case_makes_no_other_name() {
        let one = Username::parse("John.Smith@Example").unwrap();
        assert_eq!(one.canonical(), Canonical::of(b"JOHN.smith@example").unwrap());
        assert_eq!(one.canonical().as_str(), "john.smith@example");
        assert_eq!(one.as_str(), "John.Smith@Example");
    }
}
