//! The two parameter names that carry a credential, in every spelling that a backend could take for them.

use super::percent::Decoder;

/// Which half of a credential a parameter carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKey {
    /// `api_user`
    Username,
    /// `api_key`
    Secret,
}

/// Recognises `api_user` and `api_key` byte by byte.
///
/// Backends are lenient, each in its way: ASP.NET ignores case; PHP drops leading spaces, reads `.`, space and `[` as
/// `_`, cuts at NUL and takes `api_key[]` for an array of that name. All of these count as the same name here, so that
/// whatever any of them would read as a credential is captured, compared and masked as one.
#[derive(Clone, Copy)]
pub(crate) struct KeyMatcher(State);

#[derive(Clone, Copy)]
enum State {
    /// So many bytes of `api_` have come.
    Common(usize),
    /// So many bytes of what is this key's alone have come.
    Own(CredentialKey, usize),
    /// The whole name, then white space.
    Spaced(CredentialKey),
    /// The whole name, then something that ends names.
    Certain(CredentialKey),
    Other,
}

const COMMON: &[u8] = b"api_";

impl KeyMatcher {
    pub(crate) fn new() -> KeyMatcher {
        KeyMatcher(State::Common(0))
    }

    /// Takes one decoded byte of the name.
    pub(crate) fn feed(&mut self, byte: u8) {
        self.0 = match self.0 {
            State::Common(0) if byte.is_ascii_whitespace() => State::Common(0),
            State::Common(at) if at < COMMON.len() => {
                if fold(byte) == COMMON[at] {
                    State::Common(at + 1)
                } else {
                    State::Other
                }
            }
            State::Common(_) => match byte {
                b'u' | b'U' => State::Own(CredentialKey::Username, 1),
                b'k' | b'K' => State::Own(CredentialKey::Secret, 1),
                _ => State::Other,
            },
            State::Own(key, at) => match own(key).get(at) {
                Some(expected) if byte.to_ascii_lowercase() == *expected => State::Own(key, at + 1),
                Some(_) => State::Other,
                None => after_the_name(key, byte),
            },
            State::Spaced(key) => after_the_name(key, byte),
            certain @ (State::Certain(_) | State::Other) => certain,
        };
    }

    /// Whether nothing that may follow can make it a credential's name any more.
    pub(crate) fn is_other(self) -> bool {
        matches!(self.0, State::Other)
    }

    /// Which key the name is, now that it is complete.
    pub(crate) fn finish(self) -> Option<CredentialKey> {
        match self.0 {
            State::Own(key, at) if at == own(key).len() => Some(key),
            State::Spaced(key) | State::Certain(key) => Some(key),
            State::Common(_) | State::Own(..) | State::Other => None,
        }
    }
}

impl CredentialKey {
    /// The key that this decoded name is.
    pub(crate) fn of(name: &[u8]) -> Option<CredentialKey> {
        let mut matcher = KeyMatcher::new();
        for &byte in name {
            matcher.feed(byte);
            if matcher.is_other() {
                return None;
            }
        }
        matcher.finish()
    }

    /// The key at the start of urlencoded text, and where its name ends: at a `=`, a `&` or the end.
    pub(crate) fn at_start_of(encoded: &[u8]) -> Option<(CredentialKey, usize)> {
        let mut matcher = KeyMatcher::new();
        let mut decoder = Decoder::default();
        let mut end = encoded.len();
        for (at, &byte) in encoded.iter().enumerate() {
            if byte == b'=' || byte == b'&' {
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

fn fold(byte: u8) -> u8 {
    match byte {
        b'.' | b' ' | b'[' => b'_',
        _ => byte.to_ascii_lowercase(),
    }
}

fn after_the_name(key: CredentialKey, byte: u8) -> State {
    match byte {
        b'[' | 0 => State::Certain(key),
        _ if byte.is_ascii_whitespace() => State::Spaced(key),
        _ => State::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        use CredentialKey::*;
        let cases: [(&[u8], Option<CredentialKey>); 22] = [
            (b"api_user", Some(Username)),
            (b"api_key", Some(Secret)),
            (b"API_Key", Some(Secret)),
            (b"api.user", Some(Username)),
            (b"api user", Some(Username)),
            (b"api[user", Some(Username)),
            (b"  api_user", Some(Username)),
            (b"api_user \t", Some(Username)),
            (b"api_key[]", Some(Secret)),
            (b"api_key[x][y]", Some(Secret)),
            (b"api_key\0x", Some(Secret)),
            (b"api_key []", Some(Secret)),
            (b"", None),
            (b" ", None),
            (b"api", None),
            (b"api_", None),
            (b"api_use", None),
            (b"api_users", None),
            (b"api_key_id", None),
            (b"api_key x", None),
            (b"xapi_key", None),
            (b"apikey", None),
        ];
        for (name, expected) in cases {
            assert_eq!(CredentialKey::of(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn encoded_spellings() {
        use CredentialKey::*;
        let cases = [
            (&b"api_user=x"[..], Some((Username, 8))),
            (b"api_key&x", Some((Secret, 7))),
            (b"api_key", Some((Secret, 7))),
            (b"api%5Fkey=", Some((Secret, 9))),
            (b"%61pi%5fk%65y=", Some((Secret, 13))),
            (b"++api+user+=", Some((Username, 11))),
            (b"api_key%5B%5D=", Some((Secret, 13))),
            (b"api_ke%79%=", None),
        ];
        for (text, expected) in cases {
            assert_eq!(CredentialKey::at_start_of(text), expected, "{}", text.escape_ascii());
        }
    }
}
