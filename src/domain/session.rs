//! Sessions of browsers: the token in a cookie, and what is known of a session by it.
//!
//! A session is found by a random token. Only the browser has it: the database holds a digest of it, so that a copy of the
//! database lets nobody in.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Entry, PrincipalId};

/// The length of a token in bytes.
pub const TOKEN_BYTES: usize = 32;
/// The length of a token as text.
const TOKEN_TEXT: usize = 43;
/// The most digits of a principal's number.
const MOST_DIGITS: usize = 19;
/// The purpose of the key that form tokens are derived by.
const FORM_TOKEN: &str = "Gatepost 2026-11-29 token of forms of a session";

/// The random token of a session. It prints as `…` and is wiped when dropped.
#[derive(Clone)]
pub struct SessionToken(Zeroizing<[u8; TOKEN_BYTES]>);

/// The digest of a token, by which a session is stored and found. Tokens are random, so it needs no key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionDigest([u8; 32]);

/// The permanent number of a session; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub i64);

/// The content of a session's cookie.
#[derive(Clone, Debug)]
pub struct SessionCookie {
    principal: PrincipalId,
    token: SessionToken,
}

/// The facts of a session that a decision was made by. Times are in seconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionFacts {
    /// The number.
    pub id: SessionId,
    /// The time of the login.
    pub created_at: i64,
    /// The last time that the password was given: at the login, or later to confirm a change.
    pub confirmed_at: i64,
    /// The time of its end, however much it is used.
    pub ends_at: i64,
}

/// A session in a listing. Times are in seconds since 1970 UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// The number.
    pub id: SessionId,
    /// The entry that it is for.
    pub entry: Entry,
    /// The time of the login.
    pub created_at: i64,
    /// The time of its last use, to about a minute.
    pub used_at: i64,
    /// The time of its end: sooner if it is not used.
    pub ends_at: i64,
    /// The address of the client at the login.
    pub source: IpAddr,
    /// The browser at the login, as it named itself, in printable characters.
    pub browser: String,
}

impl SessionToken {
    /// The token of these random bytes.
    pub fn new(bytes: Zeroizing<[u8; TOKEN_BYTES]>) -> SessionToken {
        SessionToken(bytes)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(…)")
    }
}

impl SessionDigest {
    /// The digest of these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> SessionDigest {
        SessionDigest(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The form in the database: 64 hexadecimal digits.
    pub fn to_hex(self) -> String {
        blake3::Hash::from_bytes(self.0).to_hex().to_string()
    }
}

impl fmt::Debug for SessionDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionDigest(…)")
    }
}

impl SessionCookie {
    /// The cookie of a principal's session.
    pub fn new(principal: PrincipalId, token: SessionToken) -> SessionCookie {
        SessionCookie { principal, token }
    }

    /// Parses the value of a cookie: the principal's number, a dot, and the token in base64url. `None` for any other text.
    pub fn parse(value: &[u8]) -> Option<SessionCookie> {
        let (number, token) = value.split_at_checked(value.len().checked_sub(TOKEN_TEXT)?)?;
        let digits = number.strip_suffix(b".").filter(|digits| digits.len() <= MOST_DIGITS)?;
        if digits.first().is_none_or(|first| *first == b'0') || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let principal = std::str::from_utf8(digits).ok()?.parse().ok()?;
        // The decoder asks for a little more room than it needs.
        let mut decoded = Zeroizing::new([0; TOKEN_BYTES + 1]);
        let length = URL_SAFE_NO_PAD.decode_slice(token, &mut *decoded).ok()?;
        let mut bytes = Zeroizing::new([0; TOKEN_BYTES]);
        bytes.copy_from_slice(&decoded[..TOKEN_BYTES]);
        (length == TOKEN_BYTES)
            .then(|| SessionCookie { principal: PrincipalId(principal), token: SessionToken(bytes) })
    }

    /// The value of the cookie.
    pub fn to_value(&self) -> Zeroizing<String> {
        // With room for all of it, so that no copy of a part is left behind.
        let mut value = Zeroizing::new(String::with_capacity(MOST_DIGITS + 1 + TOKEN_TEXT));
        value.push_str(&self.principal.0.to_string());
        value.push('.');
        URL_SAFE_NO_PAD.encode_string(self.token.0.as_slice(), &mut value);
        value
    }

    /// The principal that the cookie names. Only the session tells if that is true.
    pub fn principal(&self) -> PrincipalId {
        self.principal
    }

    /// The digest of its token.
    #[inline]
    pub fn digest(&self) -> SessionDigest {
        SessionDigest(*blake3::hash(&*self.token.0).as_bytes())
    }

    /// The token that forms of the session carry, so that another site can't send them. It tells nothing about the session's token.
    pub fn form_token(&self) -> String {
        URL_SAFE_NO_PAD.encode(blake3::derive_key(FORM_TOKEN, &*self.token.0))
    }

    /// Returns true if a form carries the token of this session; in constant time.
    pub fn is_form_token(&self, presented: &[u8]) -> bool {
        self.form_token().as_bytes().ct_eq(presented).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cookie(principal: i64, bytes: [u8; TOKEN_BYTES]) -> SessionCookie {
        SessionCookie::new(PrincipalId(principal), SessionToken::new(Zeroizing::new(bytes)))
    }

    fn is_same(one: &SessionCookie, other: &SessionCookie) -> bool {
        one.principal == other.principal && one.token.0 == other.token.0
    }

    #[test]
    fn a_cookie_is_a_number_and_a_token() {
        let value = cookie(17, [0xff; TOKEN_BYTES]).to_value();
        assert_eq!(*value, format!("17.{}8", "_".repeat(42)));
        let parsed = SessionCookie::parse(value.as_bytes()).unwrap();
        assert!(is_same(&parsed, &cookie(17, [0xff; TOKEN_BYTES])) && parsed.principal() == PrincipalId(17));
        assert!(SessionCookie::parse(cookie(i64::MAX, [0; TOKEN_BYTES]).to_value().as_bytes()).is_some());
    }

    #[test]
    fn everything_else_is_none() {
        let token = "A".repeat(TOKEN_TEXT);
        let good = format!("17.{token}");
        assert!(SessionCookie::parse(good.as_bytes()).is_some());
        for bad in [
            String::new(),
            token.clone(),
            format!(".{token}"),
            format!("0.{token}"),
            format!("017.{token}"),
            format!("-17.{token}"),
            format!("+17.{token}"),
            format!(" 17.{token}"),
            format!("1 7.{token}"),
            format!("17{token}"),
            format!("17..{token}"),
            format!("9223372036854775808.{token}"),
            format!("99999999999999999999.{token}"),
            // Longer, shorter, padded, another alphabet.
            format!("17.{token}A"),
            format!("17.{}", &token[1..]),
            format!("17.{token}="),
            format!("17.{}=", &token[1..]),
            format!("17.+{}", &token[1..]),
            format!("17./{}", &token[1..]),
            // Bits behind the end: two texts must not stand for one token.
            format!("17.{}B", &token[1..]),
            format!("{good}\0"),
            format!("\"{good}\""),
            "1".repeat(100_000),
        ] {
            assert!(SessionCookie::parse(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn digest_and_form_token_are_of_the_token_alone_and_tell_nothing_about_each_other() {
        let (one, other) = (cookie(1, [7; TOKEN_BYTES]), cookie(1, [8; TOKEN_BYTES]));
        assert_eq!(one.digest(), cookie(2, [7; TOKEN_BYTES]).digest());
        assert_ne!(one.digest(), other.digest());
        assert_eq!(one.digest().to_hex().len(), 64);
        assert_eq!(SessionDigest::from_bytes(*one.digest().as_bytes()), one.digest());
        assert_eq!(one.form_token().len(), TOKEN_TEXT);
        assert!(one.is_form_token(one.form_token().as_bytes()));
        let digest = URL_SAFE_NO_PAD.encode(one.digest().as_bytes());
        let token = one.to_value();
        for wrong in
            [other.form_token(), digest, token[2..].to_owned(), String::new(), one.form_token() + "A"]
        {
            assert!(!one.is_form_token(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn nothing_prints_a_token() {
        let one = cookie(1, *b"0123456789abcdef0123456789abcdef");
        let printed = format!("{one:?} {:?}", one.digest());
        assert!(!printed.contains("0123") && !printed.contains("48, 49"), "{printed}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(principal in 1..=i64::MAX, bytes in any::<[u8; TOKEN_BYTES]>()) {
            let written = cookie(principal, bytes);
            let read = SessionCookie::parse(written.to_value().as_bytes()).unwrap();
            prop_assert!(is_same(&read, &written) && read.digest() == written.digest());
        }

        #[test]
        fn any_bytes_are_a_cookie_of_one_form_or_none(value in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(parsed) = SessionCookie::parse(&value) {
                let written = parsed.to_value();
                prop_assert_eq!(written.as_bytes(), &value[..]);
            }
        }

        #[test]
        fn a_changed_byte_makes_it_another_session_or_none(
            bytes in any::<[u8; TOKEN_BYTES]>(),
            place in 0..46_usize,
            byte in any::<u8>(),
        ) {
            let good = cookie(17, bytes);
            let mut value = good.to_value().as_bytes().to_vec();
            prop_assume!(value[place] != byte);
            value[place] = byte;
            if let Some(parsed) = SessionCookie::parse(&value) {
                prop_assert!(!is_same(&parsed, &good));
                prop_assert!(parsed.digest() != good.digest() || parsed.principal() != good.principal());
            }
        }
    }
}
