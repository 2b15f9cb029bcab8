//! The stored forms of passwords: making one, and comparing a secret with one.
//!
//! bcrypt reads at most 72 bytes, and repeats its input with a NUL in between: `abc` and `abc NUL abc` are one password to
//! it. Here no two passwords are the same:
//!
//! - a password of up to 71 bytes is stored as plain bcrypt, `$2b$…`;
//! - a longer one is hashed with SHA-256 and written in base64 first (44 characters), and stored as `$gp-sha256$2b$…`;
//! - a secret with a NUL matches nothing, because no password contains control characters;
//! - a secret beyond [`LONGEST_BYTES`] matches nothing.
//!
//! Hashes that were made elsewhere (`htpasswd -B` and the like: `$2a$`, `$2b$`, `$2y$`) verify as they do there, by the
//! first 72 bytes. If such a hash belongs to a longer password, all secrets with the same beginning match it. The first one
//! that does is hashed again as a whole, and is the only match from then on. Another process that has verified a variant
//! accepts it as long as its cache does. A client that presents a variant knows the 72 bytes that were the whole password
//! until then, so it gains nothing.
//!
//! Every rejected check costs as much work as the most expensive stored hash, even if its own hash is cheaper or the name
//! does not exist. So the time of an answer does not show which names exist.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bcrypt::{HashParts, Version};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::domain::StoredHash;
use crate::domain::password::LONGEST_BYTES;

const LONG_TAG: &str = "$gp-sha256";
/// The longest password that bcrypt reads together with the NUL that ends it.
const LONGEST_PLAIN: usize = 71;
/// The lowest cost of bcrypt.
pub const LOWEST_COST: u32 = 4;
/// The highest cost of a stored hash. A higher one would occupy a thread for more than ten seconds, and counts as damaged.
pub const HIGHEST_COST: u32 = 17;

/// Makes the stored form of a password, with a salt of its own.
///
/// # Errors
/// The system has no random numbers, or the cost is not within 4 to 31.
pub fn hash(password: &[u8], cost: u32) -> Result<StoredHash, bcrypt::BcryptError> {
    let text = if password.len() > LONGEST_PLAIN {
        format!("{LONG_TAG}{}", bcrypt::hash(shortened(password).as_slice(), cost)?)
    } else {
        bcrypt::hash(password, cost)?
    };
    Ok(StoredHash::new(text))
}

/// The result of comparing a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compared {
    /// True if it is the password.
    pub right: bool,
    /// The rounds of bcrypt that were computed, 2^cost for each hash.
    pub rounds: u64,
}

/// Compares `secret` with the stored password. A failure takes the work of `cost` or of the cost of the stored hash, whichever is
/// greater. The same applies to a right secret if `refused` is true. A stored hash that cannot be read takes as much work, and
/// fails.
pub fn verify(stored: &StoredHash, secret: &[u8], cost: u32, refused: bool) -> Compared {
    let Some(parsed) = ParsedHash::of(stored) else {
        tracing::error!("stored password hash is damaged: no password can match it");
        return Compared { right: false, rounds: work(LOWEST_COST, cost) };
    };
    // The work is done for a secret that cannot match as well, so that it takes the same time.
    let possible = secret.len() <= LONGEST_BYTES && !secret.contains(&0);
    let matches = if parsed.long {
        bcrypt::verify(shortened(secret).as_slice(), parsed.bcrypt)
    } else {
        bcrypt::verify(secret, parsed.bcrypt)
    };
    let right = possible && matches.unwrap_or(false);
    let more = if right && !refused { 0 } else { work(parsed.cost, cost) };
    Compared { right, rounds: (1 << parsed.cost) + more }
}

/// Returns true if a hash that `secret` has just matched should be replaced: it has another cost, or was made elsewhere from the
/// beginning of a longer password.
pub fn is_outdated(stored: &StoredHash, secret: &[u8], cost: u32) -> bool {
    ParsedHash::of(stored)
        .is_some_and(|parsed| parsed.cost != cost || (!parsed.long && secret.len() > LONGEST_PLAIN))
}

/// A stored form that takes `cost` to verify, and for which no password is known.
pub fn decoy(random: &[u8; 39], cost: u32) -> StoredHash {
    let encode = |bytes: &[u8]| bcrypt::BASE_64.encode(bytes);
    StoredHash::new(format!("$2b${cost:02}${}{}", encode(&random[..16]), encode(&random[16..])))
}

struct ParsedHash<'a> {
    long: bool,
    bcrypt: &'a str,
    cost: u32,
}

impl ParsedHash<'_> {
    fn of(stored: &StoredHash) -> Option<ParsedHash<'_>> {
        let text = stored.expose();
        let (long, bcrypt) = match text.strip_prefix(LONG_TAG) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let known = [Version::TwoA, Version::TwoB, Version::TwoY].iter().any(|version| {
            bcrypt.strip_prefix('$').is_some_and(|rest| rest.starts_with(&version.to_string()))
        });
        let cost = bcrypt.parse::<HashParts>().ok()?.get_cost();
        (known && (LOWEST_COST..=HIGHEST_COST).contains(&cost)).then_some(ParsedHash { long, bcrypt, cost })
    }
}

/// SHA-256 in base64: 44 characters and no NUL.
fn shortened(secret: &[u8]) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(STANDARD.encode(Sha256::digest(secret)).into_bytes())
}

/// Adds the work that a hash of cost `done` lacks compared with one of cost `wanted`. Each step doubles the work, so the
/// hashes of cost `done`, `done + 1` and so on below `wanted` add up to the difference. Returns the number of rounds.
fn work(done: u32, wanted: u32) -> u64 {
    let mut rounds = 0;
    for cost in done..wanted {
        std::hint::black_box(bcrypt::bcrypt(cost, [0; 16], b"work\0"));
        rounds += 1 << cost;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u32 = 4;

    fn matches(stored: &StoredHash, secret: &[u8]) -> bool {
        verify(stored, secret, COST, false).right
    }

    fn right(stored: &str, secret: &[u8]) -> bool {
        matches(&StoredHash::new(stored.to_owned()), secret)
    }

    #[test]
    fn what_was_hashed_elsewhere_verifies() {
        // htpasswd -nbB -C 4, and the same hash under the other two names of the same algorithm.
        let rest = bcrypt::hash("hunter22", COST).unwrap();
        for version in ["$2a", "$2b", "$2y"] {
            let stored = rest.replacen("$2b", version, 1);
            assert!(right(&stored, b"hunter22"), "{stored}");
            assert!(!right(&stored, b"hunter23"), "{stored}");
            assert!(!is_outdated(&StoredHash::new(stored), b"hunter22", COST));
        }
        // From the test vectors of crypt_blowfish.
        assert!(right("$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW", b"U*U"));
        assert!(right("$2y$05$/OK.fbVrR/bpIqNJ5ianF.Sa7shbm4.OzKpvFnX1pQLmQW96oUlCq", b"\xa3"));
    }

    #[test]
    fn no_two_passwords_are_one() {
        for len in [8, 70, 71, 72, 73, 100, 128, 500] {
            let password = "a1".repeat(len)[..len].to_owned();
            let stored = hash(password.as_bytes(), COST).unwrap();
            assert_eq!(stored.expose().starts_with(LONG_TAG), len > 71, "{len}");
            assert!(matches(&stored, password.as_bytes()), "{len}");
            assert!(!is_outdated(&stored, password.as_bytes(), COST), "{len}");
            for other in [
                format!("{password}x"),
                password[..len - 1].to_owned(),
                format!("{}x", &password[..len - 1]),
                format!("{password}\0{password}"),
                format!("{password}\0"),
                String::from_utf8(shortened(password.as_bytes()).to_vec()).unwrap(),
                String::new(),
            ] {
                assert!(!matches(&stored, other.as_bytes()), "{len}: {other:?}");
            }
        }
    }

    #[test]
    fn a_long_password_hashed_elsewhere_is_renewed_whole() {
        let (one, other) = ("p4ssword".repeat(10), format!("{}x", "p4ssword".repeat(10)));
        let elsewhere = StoredHash::new(bcrypt::hash(&one, COST).unwrap());
        assert!(matches(&elsewhere, one.as_bytes()) && matches(&elsewhere, other.as_bytes()));
        assert!(is_outdated(&elsewhere, one.as_bytes(), COST));
        let ours = hash(one.as_bytes(), COST).unwrap();
        assert!(matches(&ours, one.as_bytes()) && !matches(&ours, other.as_bytes()));
    }

    #[test]
    fn another_cost_is_outdated() {
        let stored = hash(b"hunter22", 5).unwrap();
        assert!(verify(&stored, b"hunter22", 4, false).right && is_outdated(&stored, b"hunter22", 4));
        assert!(verify(&stored, b"hunter22", 6, false).right && is_outdated(&stored, b"hunter22", 6));
    }

    #[test]
    fn damaged_hashes_match_nothing() {
        let good = hash(b"hunter22", COST).unwrap();
        for damaged in [
            String::new(),
            "hunter22".to_owned(),
            good.expose().replacen("$2b", "$2x", 1),
            good.expose().replacen("$04", "$31", 1),
            good.expose().replacen("$04", "$03", 1),
            good.expose()[..59].to_owned(),
            format!("{LONG_TAG}{LONG_TAG}{}", good.expose()),
            "ä".repeat(30),
        ] {
            assert!(!right(&damaged, b"hunter22"), "{damaged}");
        }
    }

    #[test]
    fn a_decoy_is_a_hash_that_nothing_matches() {
        let stored = decoy(&[0xa5; 39], COST);
        assert_eq!(ParsedHash::of(&stored).map(|parsed| parsed.cost), Some(COST));
        assert!(!matches(&stored, b"hunter22"));
    }

    #[test]
    fn what_is_refused_costs_the_same_whatever_is_stored() {
        let rounds = |stored: &StoredHash, secret: &[u8], refused| verify(stored, secret, 7, refused).rounds;
        for cost in [4, 5, 7] {
            let stored = hash(b"hunter22", cost).unwrap();
            assert_eq!(rounds(&stored, b"hunter23", false), 1 << 7, "{cost}: wrong");
            assert_eq!(rounds(&stored, b"hunter22", true), 1 << 7, "{cost}: right, and refused");
            assert_eq!(rounds(&stored, b"hunter22", false), 1 << cost, "{cost}: right");
        }
        assert_eq!(rounds(&decoy(&[0xa5; 39], 5), b"hunter22", false), 1 << 7, "nobody");
    }
}
