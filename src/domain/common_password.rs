//! The most common passwords, and those that are as easily guessed.
//!
//! The crate zxcvbn has a list of 30,000 passwords by their frequency. About 4,300 of them meet the rules for passwords. It counts the
//! guesses that it takes to find a password by that list, by words and names, and by their usual variations: capitals, digits for
//! letters, repetitions, sequences, rows of keys, dates.

use zeroize::Zeroizing;
use zxcvbn::zxcvbn;

/// Passwords that take fewer guesses are refused: more than the list has, and each of the first half of it with a capital or a digit.
const FEW_GUESSES: u64 = 100_000;

/// The number of characters that are looked at at once, as many as the longest entry of the list has: the work grows faster than their
/// number.
const LOOKED_AT: usize = 20;

/// Characters other than letters and digits that may stand for letters.
const SYMBOLS: &[char] = &['@', '(', '{', '[', '<', '!', '|', '$', '+', '%'];

/// The most of these that are tried. The work doubles with each, and no common password has so many.
const MOST_SYMBOLS: usize = 3;

/// Returns true for a password that is found within few guesses. A long one is, if each part of 20 characters is. The work is bounded.
pub fn is_common(password: &str) -> bool {
    let characters: Zeroizing<Vec<char>> = Zeroizing::new(password.chars().collect());
    characters.chunks(LOOKED_AT).all(is_common_part)
}

fn is_common_part(part: &[char]) -> bool {
    let part: Zeroizing<String> = Zeroizing::new(part.iter().collect());
    let symbols = SYMBOLS.iter().filter(|symbol| part.contains(**symbol)).count();
    symbols <= MOST_SYMBOLS && zxcvbn(&part, &[]).guesses() < FEW_GUESSES
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{NewPassword, PasswordError};

    #[test]
    fn common_passwords_are_refused() {
        for common in [
            "password1",
            "Password1",
            "PASSWORD1",
            "passw0rd",
            "P4ssw0rd",
            "trustno1",
            "1qaz2wsx",
            "q1w2e3r4t5",
            "qwerty123",
            "abcd1234",
            "mercede1",
            "falcon01",
            "password1password1",
            "aaaaaaaaaaaaaaa1",
            "aaaaaaaaaaaaaaa",
            "123456789012345",
            "1234567890123456789012345678901234567890",
        ] {
            assert!(is_common(common), "{common}");
            let parsed = NewPassword::parse_chosen(common.as_bytes());
            assert_eq!(parsed.unwrap_err(), PasswordError::Common, "{common}");
        }
    }

    #[test]
    fn other_passwords_are_not() {
        for good in
            ["s3cret-pass", "hunter22-of-joe", "correct horse 1", "x7Kq2mP9", "ünïcode1", "tr0ub4dor&3"]
        {
            assert!(!is_common(good), "{good}");
            assert!(NewPassword::parse_chosen(good.as_bytes()).is_ok(), "{good}");
        }
    }

    #[test]
    fn a_long_password_is_judged_by_all_of_its_parts() {
        let other = "correct horse battery staple and more of them";
        let long = format!("{other}{}", "a".repeat(128 - other.len()));
        assert!(!is_common(&long));
        assert!(is_common(&"a".repeat(128)));
        // Random after a beginning that is not, and the other way round.
        for long in
            [format!("{}hQ7wzR2mVx9KpT4b", "a".repeat(20)), format!("hQ7wzR2mVx9KpT4bLc8n{}", "a".repeat(20))]
        {
            assert!(!is_common(&long), "{long}");
        }
        // Each of these could stand for a letter.
        assert!(!is_common(&"(4@{[<36!1|l7$50+%2z".repeat(6)));
    }
}
