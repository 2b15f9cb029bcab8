//! Passwords that Gatepost makes up.

use zeroize::Zeroizing;

/// The characters: letters and digits, without those that are taken for others (0 and O, 1, I and l).
const ALPHABET: &[u8] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// The number of characters: 24 of an alphabet of 57 are 139 bits.
const LENGTH: usize = 24;

/// The most random bytes for one character. Each is used with a chance of 228 in 256.
const TRIES: usize = 64;

/// Makes a password of 24 letters and digits that meets the rules for passwords. `fill` fills its argument with random bytes.
///
/// # Errors
/// The errors of `fill`, and `None` of a source that is not random.
pub fn generated_password<E>(
    mut fill: impl FnMut(&mut [u8]) -> Result<(), E>,
) -> Result<Option<Zeroizing<String>>, E> {
    // One without a digit or a letter is thrown away: the chance is one in 40.
    for _ in 0..TRIES {
        let mut password = Zeroizing::new(String::with_capacity(LENGTH));
        let mut bytes = Zeroizing::new([0; LENGTH * 4]);
        fill(&mut *bytes)?;
        // A byte beyond the last multiple of 57 would make the first characters more likely.
        let whole = 256 / ALPHABET.len() * ALPHABET.len();
        let characters = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < whole);
        for byte in characters.take(LENGTH) {
            password.push(char::from(ALPHABET[byte % ALPHABET.len()]));
        }
        let has_digit = password.bytes().any(|byte| byte.is_ascii_digit());
        let has_letter = password.bytes().any(|byte| byte.is_ascii_alphabetic());
        if password.len() == LENGTH && has_digit && has_letter {
            return Ok(Some(password));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::convert::Infallible;

    use super::*;
    use crate::domain::NewPassword;

    /// Bytes of a generator that is even, and the same in each run (SplitMix64).
    fn even(state: &mut u64, bytes: &mut [u8]) {
        for byte in bytes {
            *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ (mixed >> 31)) as u8;
        }
    }

    #[test]
    fn they_meet_the_rules_and_are_even() {
        let (mut counts, mut seen) = (BTreeMap::<u8, u32>::new(), BTreeSet::new());
        let mut state = 0;
        let mut random = |bytes: &mut [u8]| {
            even(&mut state, bytes);
            Ok::<(), Infallible>(())
        };
        for _ in 0..2_000 {
            let password = generated_password(&mut random).unwrap().unwrap();
            assert!(NewPassword::parse(password.as_bytes()).is_ok() && password.len() == LENGTH);
            password.bytes().for_each(|byte| *counts.entry(byte).or_default() += 1);
            assert!(seen.insert(password.to_string()));
        }
        assert_eq!(counts.len(), ALPHABET.len());
        // 842 on average, with a deviation of 29.
        assert!(counts.values().all(|count| (642..1_042).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_source_that_fails_or_is_not_random_makes_none() {
        assert_eq!(generated_password(|_| Err(7)), Err(7));
        let stuck = |bytes: &mut [u8]| {
            bytes.fill(255);
            Ok::<(), Infallible>(())
        };
        assert_eq!(generated_password(stuck), Ok(None));
    }
}
