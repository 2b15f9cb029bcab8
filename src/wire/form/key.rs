//! The two parameter names that carry a credential, in every spelling that a backend could accept.

use crate::wire::percent::PercentDecoder;

/// The half of a credential that a parameter carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKey {
    /// `api_user`
    Username,
    /// `api_key`
    Secret,
}

/// Recognizes `api_user` and `api_key` byte by byte.
///
/// Backends are lenient, each in its own way. Every name that one of them reads as `api_user` or `api_key` counts, so that its
/// value is read, compared and masked. With blanks for white space, the rule is
///
/// - PHP drops leading blanks, reads `.`, a blank and an open `[` as `_`, ends the name at NUL, and takes `api_key[]` for an
///   array;
/// - Rack drops brackets in front, and ends the name at the first one after it, of either kind;
/// - qs, and with it Express, takes `[api_key]` for the name, and with `allowDots` `.api_key` and `api_key.x`;
/// - a `?` too many is dropped by URLSearchParams, a byte order mark by Express, and case by ASP.NET.
#[derive(Clone, Copy)]
pub(crate) struct KeyMatcher(KeyState);

#[derive(Clone, Copy)]
enum KeyState {
    /// Only bytes that are dropped before a name.
    Leading,
    /// The number of bytes of a byte order mark before a name.
    ByteOrderMark(usize),
    /// The number of bytes of `api_`.
    Common(usize),
    /// The number of bytes behind `api_` that belong to this key alone.
    Own(CredentialKey, usize),
    /// The whole name, then white space.
    Spaced(CredentialKey),
    /// The whole name, then a byte that ends names.
    Certain(CredentialKey),
    Other,
}

const COMMON: &[u8] = b"api_";
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

impl KeyMatcher {
    pub(crate) fn new() -> KeyMatcher {
        KeyMatcher(KeyState::Leading)
    }

    /// Processes one decoded byte of the name.
    pub(crate) fn feed(&mut self, byte: u8) {
        self.0 = match self.0 {
            KeyState::Leading if byte.is_ascii_whitespace() || b"[].?".contains(&byte) => KeyState::Leading,
            KeyState::Leading if byte == BYTE_ORDER_MARK[0] => KeyState::ByteOrderMark(1),
            KeyState::Leading => common(0, byte),
            KeyState::ByteOrderMark(at) if byte != BYTE_ORDER_MARK[at] => KeyState::Other,
            KeyState::ByteOrderMark(at) if at + 1 < BYTE_ORDER_MARK.len() => KeyState::ByteOrderMark(at + 1),
            KeyState::ByteOrderMark(_) => KeyState::Leading,
            KeyState::Common(at) if at < COMMON.len() => common(at, byte),
            KeyState::Common(_) => match byte {
                b'u' | b'U' => KeyState::Own(CredentialKey::Username, 1),
                b'k' | b'K' => KeyState::Own(CredentialKey::Secret, 1),
                _ => KeyState::Other,
            },
            KeyState::Own(key, at) => match own(key).get(at) {
                Some(expected) if byte.to_ascii_lowercase() == *expected => KeyState::Own(key, at + 1),
                Some(_) => KeyState::Other,
                None => after_the_name(key, byte),
            },
            KeyState::Spaced(key) => after_the_name(key, byte),
            certain @ (KeyState::Certain(_) | KeyState::Other) => certain,
        };
    }

    /// Returns true if no further bytes can make it a credential's name.
    pub(crate) fn is_other(self) -> bool {
        matches!(self.0, KeyState::Other)
    }

    /// The key that the complete name is.
    pub(crate) fn finish(self) -> Option<CredentialKey> {
        match self.0 {
            KeyState::Own(key, at) if at == own(key).len() => Some(key),
            KeyState::Spaced(key) | KeyState::Certain(key) => Some(key),
            _ => None,
        }
    }
}

impl CredentialKey {
    /// The key that an encoded name is.
    pub(crate) fn of_encoded(name: &[u8]) -> Option<CredentialKey> {
        let mut matcher = KeyMatcher::new();
        let mut decoder = PercentDecoder::of_names();
        name.iter().for_each(|byte| decoder.feed(*byte, |b| matcher.feed(b)));
        decoder.finish(|b| matcher.feed(b));
        matcher.finish()
    }

    /// The key at the start of urlencoded text, and the end of its name: at a `=`, a `&`, a `;` or the end of the text.
    pub(crate) fn at_start_of(encoded: &[u8]) -> Option<(CredentialKey, usize)> {
        let mut matcher = KeyMatcher::new();
        let mut decoder = PercentDecoder::of_names();
        let mut end = encoded.len();
        for (at, &byte) in encoded.iter().enumerate() {
            if matches!(byte, b'=' | b'&' | b';') {
                end = at;
                break;
            }
            decoder.feed(byte, |b| matcher.feed(b));
            if matcher.is_other() {
                return None;
            }
        }
        decoder.finish(|b| matcher.feed(b));
        matcher.finish().map(|key| (key, end))
    }
}

fn own(key: CredentialKey) -> &'static [u8] {
    match key {
        CredentialKey::Username => b"user",
        CredentialKey::Secret => b"key",
    }
}

fn common(at: usize, byte: u8) -> KeyState {
    let folded = match byte {
        b'.' | b' ' | b'[' => b'_',
        _ => byte.to_ascii_lowercase(),
    };
    if folded == COMMON[at] { KeyState::Common(at + 1) } else { KeyState::Other }
}

fn after_the_name(key: CredentialKey, byte: u8) -> KeyState {
    match byte {
        b'[' | b']' | b'.' | 0 => KeyState::Certain(key),
        _ if byte.is_ascii_whitespace() => KeyState::Spaced(key),
        _ => KeyState::Other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key_of(name: &str) -> Option<CredentialKey> {
        let mut matcher = KeyMatcher::new();
        name.bytes().for_each(|byte| matcher.feed(byte));
        matcher.finish()
    }

    #[test]
    fn spellings_of_either_key() {
        let spellings = [
            "{}",
            "  {}",
            "\t\n{}",
            "{} \t",
            "{}[]",
            "{}[x][y]",
            "{}[x]y",
            "{}[",
            "{}[x",
            "{} []",
            "{}\0x",
            "{}\0[x]",
            "[{}",
            "[{}]",
            "[[{}]]",
            "]{}",
            "[]{}",
            "{}]",
            "{}]x",
            ".{}",
            "{}.x",
            "?{}",
            "??{}",
            "\u{feff}{}",
            "\u{feff}[{}",
        ];
        for (key, names) in [
            (CredentialKey::Username, ["api_user", "API_User", "api.user", "api user", "api[user"]),
            (CredentialKey::Secret, ["api_key", "API_Key", "api.key", "api key", "api[key"]),
        ] {
            for name in names {
                for spelling in spellings {
                    let name = spelling.replace("{}", name);
                    assert_eq!(key_of(&name), Some(key), "{name:?}");
                }
            }
        }
    }

    #[test]
    fn other_names() {
        for name in [
            "",
            " ",
            "[",
            "api",
            "api_",
            "api_use",
            "api_users",
            "api_user_id",
            "my_api_user",
            "x[api_user]",
            "[x][api_user]",
            "[x]api_user",
            "api_key_id",
            "api_key x",
            "xapi_key",
            "apikey",
            "api__key",
            "api-key",
            "api]key",
            "api\0_key",
            "api_[key]",
            "{api_key}",
            "api_key}",
            "\u{a0}api_key",
            "api\u{ff3f}key",
        ] {
            assert_eq!(key_of(name), None, "{name:?}");
        }
    }

    #[test]
    fn encoded_spellings() {
        use CredentialKey::*;
        let cases = [
            (&b"api_user=x"[..], Some((Username, 8))),
            (b"api_key&x", Some((Secret, 7))),
            (b"api_key[;x=", Some((Secret, 8))),
            (b"api_key", Some((Secret, 7))),
            (b"api%5Fkey=", Some((Secret, 9))),
            (b"%61pi%5fk%65y=", Some((Secret, 13))),
            (b"++api+user+=", Some((Username, 11))),
            (b"api_key%5B%5D=", Some((Secret, 13))),
            (b"api_key%5D=", Some((Secret, 10))),
            (b"%u0061pi%u005fuser=", Some((Username, 18))),
            (b"%ef%BB%bfapi_key=", Some((Secret, 16))),
            (b"api_ke%79%=", None),
            (b"api_key%u00=", None),
            (b"api%255Fkey=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(CredentialKey::at_start_of(text), expected, "{}", text.escape_ascii());
        }
    }
    /// The rule, implemented independently.
    fn is_username(name: &str) -> bool {
        let rest = name.trim_start_matches(['[', ']', '.', '?', ' ', '\t', '\u{feff}']).to_ascii_lowercase();
        let rest = rest.strip_prefix("api").and_then(|rest| rest.strip_prefix(['_', '.', ' ', '[']));
        let after = rest.and_then(|rest| rest.strip_prefix("user"));
        let after = after.map(|after| after.trim_start_matches([' ', '\t']));
        after.is_some_and(|after| after.is_empty() || after.starts_with(['[', ']', '.', '\0']))
    }

    proptest! {
        #[test]
        fn the_rule(name in "[\\[\\]. ?\t\u{feff}x]{0,3}[aA]pi[._\\[\\] x]{1,2}use[rR][\\[\\]. \0\tsx]{0,3}") {
            prop_assert_eq!(key_of(&name), is_username(&name).then_some(CredentialKey::Username));
            let encoded: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
            prop_assert_eq!(CredentialKey::of_encoded(encoded.as_bytes()), key_of(&name));
            let wide: String = name.chars().map(|c| format!("%u{:04x}", u32::from(c))).collect();
            prop_assert_eq!(CredentialKey::of_encoded(wide.as_bytes()), key_of(&name));
        }
    }
}
