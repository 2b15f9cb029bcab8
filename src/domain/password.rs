//! Secrets and passwords, as types that do not print their content.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use super::common_password::is_common;

/// The longest possible password, in bytes: 128 characters of at most 4 bytes each.
pub const LONGEST_BYTES: usize = 512;

/// The number of characters from which on a password that a person has chosen needs neither a letter nor a digit.
const LONG: usize = 15;

/// A secret. It prints as `…` and is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes ownership of the secret.
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    /// Returns the secret itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A username and a secret as a client presented them, unchecked.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// The username as received.
    pub username: &'a [u8],
    /// The secret as received.
    pub secret: &'a [u8],
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}, …)", self.username.escape_ascii())
    }
}

/// A new password that meets the rules.
#[derive(Clone, Debug)]
pub struct NewPassword(Secret);

impl NewPassword {
    /// Parses a password: 8 to 128 characters, at least one letter and one digit, no control characters.
    ///
    /// # Errors
    /// The rule that is not met; the text is for the caller and never contains the password.
    pub fn parse(password: &[u8]) -> Result<NewPassword, PasswordError> {
        NewPassword::parse_of(password, usize::MAX)
    }

    /// Parses a password of at least `long` characters without the rule for letters and digits.
    fn parse_of(password: &[u8], long: usize) -> Result<NewPassword, PasswordError> {
        let text = std::str::from_utf8(password).map_err(|_| PasswordError::NotText)?;
        let length = text.chars().count();
        if text.chars().any(char::is_control) {
            Err(PasswordError::Control)
        } else if !(8..=128).contains(&length) {
            Err(PasswordError::Length)
        } else if length >= long {
            Ok(NewPassword(Secret::new(password.to_vec())))
        } else if !text.chars().any(char::is_alphabetic) {
            Err(PasswordError::NoLetter)
        } else if !text.chars().any(|c| c.is_ascii_digit()) {
            Err(PasswordError::NoDigit)
        } else {
            Ok(NewPassword(Secret::new(password.to_vec())))
        }
    }

    /// Parses a password that a person has chosen. From 15 characters on, it needs neither a letter nor a digit. One of the most common
    /// passwords is refused.
    ///
    /// # Errors
    /// As [`NewPassword::parse`], and [`PasswordError::Common`].
    pub fn parse_chosen(password: &[u8]) -> Result<NewPassword, PasswordError> {
        let parsed = NewPassword::parse_of(password, LONG)?;
        let text = std::str::from_utf8(password).unwrap_or_default();
        match is_common(text) {
            true => Err(PasswordError::Common),
            false => Ok(parsed),
        }
    }

    /// Returns the password, to be hashed.
    pub fn secret(&self) -> &Secret {
        &self.0
    }
}

/// The rules for new passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PasswordRules {
    /// The rules of the original API, which its programs rely on.
    #[default]
    OriginalApi,
    /// The rules for passwords that people choose.
    People,
}

impl PasswordRules {
    /// Parses a password by these rules.
    ///
    /// # Errors
    /// The rule that is not met.
    pub fn parse(self, password: &[u8]) -> Result<NewPassword, PasswordError> {
        match self {
            PasswordRules::OriginalApi => NewPassword::parse(password),
            PasswordRules::People => NewPassword::parse_chosen(password),
        }
    }
}

/// The reason for which a password is invalid; the text is for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PasswordError {
    /// A password shorter than 8 or longer than 128 characters.
    #[error("password must be 8 to 128 characters long")]
    Length,
    /// A password without a letter.
    #[error("password must contain at least one letter")]
    NoLetter,
    /// A password without a digit.
    #[error("password must contain at least one digit")]
    NoDigit,
    /// A password with a control character.
    #[error("password must not contain control characters")]
    Control,
    /// A password that is not UTF-8.
    #[error("password must be UTF-8 text")]
    NotText,
    /// A password that is found within few guesses.
    #[error("password is a common one or close to it, choose another one")]
    Common,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules() {
        let long = format!("{}1", "ä".repeat(127));
        for good in ["passw0rd", "ünïcode1", long.as_str()] {
            assert!(NewPassword::parse(good.as_bytes()).is_ok(), "{good}");
        }
        let cases: [(&[u8], PasswordError); 6] = [
            (b"short1a", PasswordError::Length),
            (&[b'a'; 129], PasswordError::Length),
            (b"12345678", PasswordError::NoLetter),
            (b"abcdefgh", PasswordError::NoDigit),
            (b"abcdefg1\n", PasswordError::Control),
            (b"abcdefg1\xff", PasswordError::NotText),
        ];
        for (password, expected) in cases {
            assert_eq!(NewPassword::parse(password).unwrap_err(), expected);
        }
    }

    // A letter and a digit: only for the original API, and for short passwords.
    #[test]
    fn a_long_password_of_a_person_needs_no_digit() {
        for (password, of_people, of_api) in [
            ("correct horse battery", None, Some(PasswordError::NoDigit)),
            ("8472 9016 3357 2", None, Some(PasswordError::NoLetter)),
            ("correcthorseba", Some(PasswordError::NoDigit), Some(PasswordError::NoDigit)),
            ("correct horse batt\n", Some(PasswordError::Control), Some(PasswordError::Control)),
            ("password1", Some(PasswordError::Common), None),
            ("short1a", Some(PasswordError::Length), Some(PasswordError::Length)),
        ] {
            for (rules, expected) in
                [(PasswordRules::People, of_people), (PasswordRules::OriginalApi, of_api)]
            {
                assert_eq!(rules.parse(password.as_bytes()).err(), expected, "{password}, {rules:?}");
            }
        }
    }

    #[test]
    fn nothing_prints_a_secret() {
        let secret = Secret::new(b"hunter22".to_vec());
        let presented = Presented { username: b"joe", secret: b"hunter22" };
        let new = NewPassword::parse(b"hunter22").unwrap();
        let printed = format!("{secret:?} {presented:?} {new:?}");
        assert!(!printed.contains("hunter"), "{printed}");
    }
}
